"""YAML text → nodes that know where they stand. Nothing is constructed, no type is guessed.

What a text *means* is decided later, by the type of the field it stands in (`codesign.schema`).
Here only the form is judged: one document, no duplicate keys, no aliases, merge keys or tags,
bounded size and depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import yaml

from codesign.errors import StudyError

__all__ = [
    "Entry",
    "Items",
    "Node",
    "Position",
    "Problem",
    "Scalar",
    "SchemaErrors",
    "Table",
    "compose",
    "looks_like_text",
    "moved",
]

NODES_MAX = 100_000  # PyYAML reads about 10,000 nodes a second; real studies have hundreds
DEPTH_MAX = 64  # far below the recursion limit, far above any study

# What other YAML readers take for a number although PyYAML reads text: 1e-3, 08, 0o10.
_NUMBER_LIKE = re.compile(
    r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9_]+)(?:[eE][-+]?[0-9]+)?|0o[0-7]+"
)
_PRINTABLE_PATH = re.compile(r"(?:[\w.<>/+-]+(?: [\w.<>/+-]+)*)?")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_RESOLVER = yaml.resolver.Resolver()


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands: a file, line and column from 1, or line 0 for a place without lines.

    >>> str(Position("study.yaml", 3, 5)), str(Position("override 'a.b=1'"))
    ('study.yaml:3:5', "override 'a.b=1'")
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend: where it stands, the dotted path of the value, and what to do.

    >>> print(Problem("study.yaml", 3, 5, "effort.trials", "expected a whole number, came 1.5"))
    study.yaml:3:5: effort.trials: expected a whole number, came 1.5
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    @classmethod
    def at(cls, position: Position, path: str, message: str) -> Problem:
        """Make the problem of a position."""
        return cls(position.file, position.line, position.column, path, message)

    def __str__(self) -> str:
        where = Position(self.file, self.line, self.column)
        path = self.path if _PRINTABLE_PATH.fullmatch(self.path) else repr(self.path)
        message = " ".join(self.message.splitlines())  # a problem is one line
        return ": ".join(part for part in (str(where), path, message) if part)


class SchemaErrors(StudyError):  # noqa: N818  it is all of them
    """Everything that is wrong with a file, one line for each problem.

    Attributes:
        problems: What is wrong, in the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        # Line 0 (overrides) sorts first by itself; what the user typed last is read last.
        by_place = sorted(
            dict.fromkeys(problems), key=lambda p: (p.line == 0, p.file, p.line, p.column)
        )
        self.problems: tuple[Problem, ...] = tuple(by_place)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text as written.

    Attributes:
        text: The characters, without quotes.
        is_text: Quoted, or nothing but text to any YAML reader; False for what could also be a
            number, true or false, a date or nothing.
        position: Where it begins.
    """

    text: str
    is_text: bool
    position: Position = field(default=Position(""), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Items:
    """A list of nodes."""

    items: tuple[Node, ...]
    position: Position = field(default=Position(""), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value.

    Attributes:
        key: The text of the key; unique within its table.
        value: The node behind the colon.
        is_text: As for a scalar: False for an unquoted ``on``, ``12``, ``null``.
        position: Where the key begins.
        is_implied: Made by an override on its way to something deeper.
    """

    key: str
    value: Node
    is_text: bool = True
    position: Position = field(default=Position(""), compare=False, repr=False)
    is_implied: bool = field(default=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping, in the order of the file."""

    entries: tuple[Entry, ...] = ()
    position: Position = field(default=Position(""), compare=False, repr=False)

    def get(self, key: str) -> Node | None:
        """The value of a key, or None where there is no such key."""
        return next((entry.value for entry in self.entries if entry.key == key), None)


Node: TypeAlias = Scalar | Items | Table


def looks_like_text(text: str) -> bool:
    """Whether every YAML reader takes this unquoted text for text.

    >>> [looks_like_text(text) for text in ("systolic", "1e-3", "010", "on", "2026-11-24", "")]
    [True, False, False, False, False, False]
    """
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))
    return tag.endswith(":str") and not _NUMBER_LIKE.fullmatch(text)


def compose(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """Read the nodes of a YAML text.

    Args:
        text: One YAML document.
        file: The name to blame.

    Returns:
        The root node and what is wrong with the form. Without a root the text could not be read
        any further; with one, reading may go on to find more problems.
    """
    composer = _Composer(file)
    try:
        root = composer.document(text)
    except _UnreadableError as error:
        return None, [*composer.problems, error.problem]
    return root, composer.problems


class _UnreadableError(Exception):
    """The text cannot be read any further."""

    def __init__(self, position: Position, message: str) -> None:
        super().__init__(message)
        self.problem = Problem.at(position, "", message)


class _Composer:
    """Makes our nodes from PyYAML's events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.nodes = 0

    def document(self, text: str) -> Node:
        loader: yaml.SafeLoader | None = None
        try:
            loader = yaml.SafeLoader(text)
            return self._document(loader)
        except yaml.reader.ReaderError as error:
            place = self._place_of(text, int(error.position))
            message = f"the character {_shown(error.character)} cannot stand in a YAML file"
            raise _UnreadableError(place, message) from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            assert mark is not None  # PyYAML gives every such error a mark
            raise _UnreadableError(self._at(mark), _explain(error)) from error
        except RecursionError as error:  # the caller's own stack was nearly full
            message = f"nested too deep: more than {DEPTH_MAX} levels"
            raise _UnreadableError(Position(self.file, 1, 1), message) from error
        except (ValueError, OverflowError) as error:
            # "\UFFFFFFFF" and "%YAML 1.<5000 digits>" fail inside PyYAML's scanner like this.
            assert loader is not None
            message = "not YAML: an escape or a version number here is out of range"
            raise _UnreadableError(self._at(loader.get_mark()), message) from error
        finally:
            if loader is not None:
                loader.dispose()

    def _document(self, loader: yaml.SafeLoader) -> Node:
        loader.get_event()  # the start of the stream
        if loader.check_event(yaml.StreamEndEvent):
            raise _UnreadableError(Position(self.file, 1, 1), "empty: nothing is written here")
        loader.get_event()  # the start of the document
        root = self._node(loader, "", 0)
        loader.get_event()  # the end of the document
        if not loader.check_event(yaml.StreamEndEvent):
            place = self._at(loader.peek_event().start_mark)
            raise _UnreadableError(
                place, "a second document begins; expected one document in the file"
            )
        return root

    def _node(self, loader: yaml.SafeLoader, path: str, depth: int) -> Node:
        event = loader.get_event()
        place = self._at(event.start_mark)
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise _UnreadableError(place, f"too long: more than {NODES_MAX} values")
        if depth > DEPTH_MAX:
            raise _UnreadableError(place, f"nested too deep: more than {DEPTH_MAX} levels")
        if isinstance(event, yaml.AliasEvent):
            message = f"the alias *{event.anchor} is not read; write the value out"
            raise _UnreadableError(place, message)
        if event.anchor is not None:
            self._blame(place, path, f"the anchor &{event.anchor} is not read; leave it out")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._blame(place, path, f"the tag {tag} is not read; leave it out")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._items(loader, place, path, depth)
        return self._table(loader, place, path, depth)

    def _scalar(self, event: yaml.ScalarEvent, place: Position) -> Scalar:
        bad = _UNPRINTABLE.search(event.value)
        if bad:
            raise _UnreadableError(
                place, f"the text holds the character {_shown(bad[0])}; leave it out"
            )
        is_text = event.style is not None or looks_like_text(event.value)
        return Scalar(event.value, is_text, place)

    def _items(self, loader: yaml.SafeLoader, place: Position, path: str, depth: int) -> Items:
        items: list[Node] = []
        while not loader.check_event(yaml.SequenceEndEvent):
            items.append(self._node(loader, _join(path, str(len(items))), depth + 1))
        loader.get_event()
        return Items(tuple(items), place)

    def _table(self, loader: yaml.SafeLoader, place: Position, path: str, depth: int) -> Table:
        entries: dict[str, Entry] = {}
        while not loader.check_event(yaml.MappingEndEvent):
            key = self._node(loader, path, depth + 1)
            name = key.text if isinstance(key, Scalar) else ""
            value = self._node(loader, _join(path, name), depth + 1)
            if not isinstance(key, Scalar):
                self._blame(key.position, path, "a key is a single word; came a list or a mapping")
            elif name == "<<" and not key.is_text:
                self._blame(key.position, path, "the merge key << is not read; write the keys out")
            elif name in entries:
                first = entries[name].position.line
                message = f"duplicate key {name!r}; it stands in line {first} already"
                self._blame(key.position, _join(path, name), message)
            else:
                entries[name] = Entry(name, value, key.is_text, key.position)
        loader.get_event()
        return Table(tuple(entries.values()), place)

    def _blame(self, place: Position, path: str, message: str) -> None:
        self.problems.append(Problem.at(place, path, message))

    def _at(self, mark: yaml.Mark) -> Position:
        return Position(self.file, mark.line + 1, mark.column + 1)

    def _place_of(self, text: str, index: int) -> Position:
        lines = text[:index].split("\n")
        return Position(self.file, len(lines), len(lines[-1]) + 1)


def moved(node: Node, position: Position) -> Node:
    """The same node, all of it standing at one position."""
    match node:
        case Scalar():
            return replace(node, position=position)
        case Items(items):
            return Items(tuple(moved(item, position) for item in items), position)
        case Table(entries):
            return Table(
                tuple(
                    replace(entry, value=moved(entry.value, position), position=position)
                    for entry in entries
                ),
                position,
            )


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem, context = error.problem or "", error.context or ""
    if "'\\t'" in problem:
        return "a tab stands here; YAML indents with spaces"
    if problem == "mapping values are not allowed here":
        return "not YAML: a colon cannot stand here; indent otherwise, or quote the text"
    begin, end = error.context_mark, error.problem_mark
    if context and begin is not None and end is not None and begin.line < end.line:
        context += f" that begins in line {begin.line + 1}"
    return f"not YAML: {', '.join(part for part in (context, problem) if part)}"


def _shown(character: str | int) -> str:
    code = character if isinstance(character, int) else ord(character[0])
    return f"U+{code:04X}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
