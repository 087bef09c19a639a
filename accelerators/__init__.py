"""Hardware families: each module builds an accelerator graph and maps networks onto it.

`__all__` is the catalogue. A new entry is a name there and its module in `_HOME`; both stay
literals, because `codesign list` reads them without importing anything.
"""

from importlib import import_module
from typing import Any

__all__: list[str] = ["Cores", "Systolic", "TinyOdin"]

_HOME: dict[str, str] = {
    "Cores": "cores.family",
    "Systolic": "systolic.family",
    "TinyOdin": "tinyodin.family",
}


def __getattr__(name: str) -> Any:
    """The catalogue entry `name`, whose module is imported when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
