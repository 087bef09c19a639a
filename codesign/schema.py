"""Strict loading: YAML → frozen dataclasses, and every mistake at once, with its place.

The type of a field decides what its text means, so ``1e-3`` is a number where a number is
expected, and ``on`` is never true. What a class may say stands in `codesign.annotations`. The
other direction is `dump`; `describe` and `json_schema` tell people and editors what to write.

    loaded = load(Path("study.yaml"), StudySpec, overrides=("effort.trials=500",))
    raise_all([loaded.problem("designs.a.network", "no network 'mlpp'")])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, overload

from codesign.annotations import Plain, spec, type_of
from codesign.digests import digest
from codesign.errors import nearest
from codesign.overrides import Override, override
from codesign.quantities import Quantity
from codesign.schema_docs import describe, json_schema
from codesign.yaml_nodes import Position, Problem, SchemaErrors, Table, compose
from codesign.yaml_reader import Reader
from codesign.yaml_writer import dump

__all__ = [
    "Loaded",
    "Plain",
    "Position",
    "Problem",
    "Quantity",
    "SchemaErrors",
    "Table",
    "describe",
    "digest",
    "dump",
    "json_schema",
    "load",
    "raise_all",
    "spec",
]

BYTES_MAX = 10_000_000  # a study has thousands

T = TypeVar("T")


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """A configuration, and where each of its values stands.

    Attributes:
        value: What was read.
        folder: The folder that its relative paths are relative to; absolute.
        positions: The place of every value that is written, by dotted path (``faults.0.rate``).
    """

    value: T
    folder: Path
    positions: dict[str, Position] = field(repr=False)

    def where(self, path: str) -> Position:
        """Where a value stands, or the nearest thing around it that is written."""
        while path not in self.positions and path:
            path = path.rpartition(".")[0]
        return self.positions[path]

    def problem(self, path: str, message: str) -> Problem:
        """What is wrong with a value for a reason that its type could not know."""
        return Problem.at(self.where(path), path, message)


@overload
def load(
    source: Path | str,
    cls: type[T],
    *,
    name: str | None = ...,
    overrides: Sequence[Override] = ...,
    folder: Path | None = ...,
) -> Loaded[T]: ...
@overload
def load(
    source: Path | str,
    cls: object,
    *,
    name: str | None = ...,
    overrides: Sequence[Override] = ...,
    folder: Path | None = ...,
) -> Loaded[Any]: ...
def load(
    source: Path | str,
    cls: object,
    *,
    name: str | None = None,
    overrides: Sequence[Override] = (),
    folder: Path | None = None,
) -> Loaded[Any]:
    """Read a YAML file, or a YAML text, as an instance of a dataclass.

    Args:
        source: A Path is read; a str is the text itself.
        cls: A frozen dataclass, or a union of them that a key tells apart.
        name: What to call the source in messages; the path as given, or ``text``.
        overrides: ``path=value`` each, applied in order; or a path and a node, which keeps its
            place in the file it came from.
        folder: What relative paths in it are relative to; the file's folder, or the working one.

    Raises:
        SchemaErrors: All that is wrong, one line each: ``file:line:column: path: what``.
    """
    file = name or (str(source) if isinstance(source, Path) else "text")
    if isinstance(source, Path):
        folder = folder or source.parent
        source = _read(source, file)
    root, problems = compose(source, file)
    if root is None:
        raise SchemaErrors(problems)
    for given in overrides:
        try:
            root = override(root, given)
        except SchemaErrors as error:
            problems += error.problems
    reader = Reader((folder or Path()).absolute())
    value = reader.read(type_of(cls), root, "")
    raise_all([*problems, *reader.problems])
    return Loaded(cast(Any, value), reader.folder, reader.positions)


def raise_all(problems: Iterable[Problem]) -> None:
    """Report every problem at once.

    Raises:
        SchemaErrors: There is at least one.
    """
    found = tuple(problems)
    if found:
        raise SchemaErrors(found)


def _read(path: Path, file: str) -> str:
    try:
        if path.is_dir():
            raise SchemaErrors([Problem(file, 0, 0, "", "expected a file, came a folder")])
        with path.open("rb") as stream:
            content = stream.read(BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise SchemaErrors([Problem(file, 0, 0, "", f"no such file{_beside(path)}")]) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SchemaErrors([Problem(file, 0, 0, "", f"cannot be read: {reason}")]) from error
    if len(content) > BYTES_MAX:
        raise SchemaErrors([Problem(file, 0, 0, "", f"longer than {BYTES_MAX} bytes")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].split(b"\n")
        message = f"the byte 0x{error.object[error.start]:02x} is not UTF-8; save it as UTF-8"
        problem = Problem(file, len(before), len(before[-1]) + 1, "", message)
        raise SchemaErrors([problem]) from error


def _beside(path: Path) -> str:
    """The nearest name of a YAML file in the same folder."""
    try:
        return nearest(path.name, (other.name for other in path.parent.glob("*.yaml")))
    except OSError:
        return ""
