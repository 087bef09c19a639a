"""An installation with a toy shelf and a stranger's package, for the tests of `use:` paths."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from codesign import shipped

TOYS = '''
"""Toy parts."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, overload

from codesign.schema import Quantity, spec
from elsewhere import Base

Mode = Literal["fast", "slow"]
MOST = 64


class Mlp:
    """Takes everything in its constructor."""

    @overload
    def __init__(self, width: str) -> None: ...
    def __init__(self, width: int, rate: float = 0.5, *, mode: Mode = "fast",
                 hidden: "tuple[int, ...]" = (), name: str | None = None) -> None:
        self.said = (width, rate, mode, hidden, name)
        if width == 13:
            raise ValueError("13 brings bad luck")


@dataclass(frozen=True)
class Chip:
    """A dataclass with bounds."""

    kinds: ClassVar[int] = 3
    rows: int = spec(low=1, high=MOST, doc="rows")
    area: Quantity | None = spec(default=None, unit="um2", doc="area")
    file: Path | None = spec(default=None, exists=True, doc="a file")
    tags: dict[str, float] = field(default_factory=dict)
    hidden: int = field(default=0, init=False)


@dataclass(frozen=True)
class Bigger(Chip):
    """Inherits."""

    columns: Annotated[int, "a remark"] = 8


@dataclass(frozen=True)
class Foreign(Base):
    """Inherits from a class whose source is not here."""

    own: int = 0


class Silent:
    """Takes nothing."""


@cache
def build(depth: int, plan: "Base" = None, loose=None, anything: Any = 1) -> Any:
    """Make something.

    Args:
        depth: How deep.
    """
    return ("built", depth, plan, loose, anything)


def takes_all(depth: int = 1, **more: object) -> object:
    """Take what comes."""
    return (depth, more)


def positional(depth, /):
    """Cannot be given by name."""


listed = [1, 2]
'''

INIT = """
from importlib import import_module
__all__: list[str] = {names!r}
_HOME: dict[str, str] = {home!r}
def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(name)
    return getattr(import_module(f"{{__name__}}.{{_HOME[name]}}"), name)
"""

NAMES = ["Bigger", "Chip", "Foreign", "Mlp", "Silent", "build", "listed", "positional", "takes_all"]


def write(file: Path, text: str) -> None:
    """Write a source file, and its folder where needed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dedent(text))


@contextmanager
def installed_toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation whose shelf `networks` holds toys, and a stranger's package beside it."""
    for shelf in shipped.SHELVES:
        names = NAMES if shelf == "networks" else []
        init = INIT.format(names=names, home=dict.fromkeys(names, "toys"))
        write(tmp_path / shelf / "__init__.py", init)
    write(tmp_path / "networks" / "toys.py", TOYS)
    write(tmp_path / "elsewhere.py", "class Base:\n    def __init__(self): pass\n")
    write(
        tmp_path / "codesign" / "scenarios.py",
        """
        from typing import Protocol
        __all__ = ["Scenario", "Strikes", "helper"]
        class Scenario(Protocol): ...
        class Strikes: ...
        def helper(): ...
        """,
    )
    write(tmp_path / "my_lab" / "__init__.py", "")
    write(
        tmp_path / "my_lab" / "rram.py",
        """
        class Drift:
            def __init__(self, rate: float, levels: list[int] = (), device: "Unseen" = None):
                self.said = (rate, levels, device)
        constant = 5
        """,
    )
    write(tmp_path / "my_lab" / "broken.py", "def (:")
    write(tmp_path / "my_lab" / "needy.py", "import not_there_at_all")
    write(tmp_path / "my_lab" / "old.py", "from my_lab.rram import Gone")
    ours = {*shipped.SHELVES, "elsewhere", "my_lab"}
    saved = {name: m for name, m in sys.modules.items() if name.split(".")[0] in ours}
    for name in saved:
        del sys.modules[name]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "codesign")
    try:
        yield tmp_path
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in ours]:
            del sys.modules[name]
        sys.modules.update(saved)


def imported(*packages: str) -> set[str]:
    """The modules of these packages that are imported now."""
    return {name for name in sys.modules if name.split(".")[0] in packages}
