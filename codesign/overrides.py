"""Overrides from the command line, ``effort.trials=500``, applied to nodes before they are read."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from codesign.yaml_nodes import (
    Entry,
    Items,
    Node,
    Position,
    Problem,
    Scalar,
    SchemaErrors,
    Table,
    compose,
    moved,
)
from codesign.yaml_scalars import came

__all__ = ["Override", "override"]

Override: TypeAlias = str | tuple[str, Node]


def override(root: Node, given: Override) -> Node:
    """Put a value where a dotted path says; the number of a list item is a name like any other.

    A text is read as in the file, so lists and mappings may be given too. A key that the file
    does not mention is added: whether it exists is for the reader of the nodes to say, who then
    blames the override.

    Args:
        root: The nodes of the file.
        given: ``path=value``, or a path and a node of another file, whose place is then blamed.

    Raises:
        SchemaErrors: The text has no ``=``, its value is not YAML, or the path leads through
            a value that has no parts.

    >>> root = Table((Entry("rates", Items((Scalar("1", False), Scalar("2", False)))),))
    >>> override(root, "rates.1=1e-3").get("rates").items[1].text
    '1e-3'
    """
    if isinstance(given, str):
        path, value = _read(given)
    else:
        path, value = given
    return _replaced(root, path.split("."), 0, value, value.position)


def _read(text: str) -> tuple[str, Node]:
    position = Position(f"override {text!r}")
    path, equals, written = text.partition("=")
    path = path.strip()
    if not equals or not all(path.split(".")):
        message = "expected path=value, for example effort.trials=500"
        raise SchemaErrors([Problem.at(position, "", message)])
    if not written.strip():
        raise SchemaErrors([Problem.at(position, path, "nothing stands behind the =")])
    value, problems = compose(written, position.file)
    if value is None or problems:
        raise SchemaErrors(Problem.at(position, path, problem.message) for problem in problems)
    return path, moved(value, position)


def _replaced(node: Node, keys: list[str], done: int, value: Node, position: Position) -> Node:
    if done == len(keys):
        return value
    path, key = ".".join(keys[:done]), keys[done]
    match node:
        case Table(entries):
            index = next((i for i, entry in enumerate(entries) if entry.key == key), None)
            if index is None:
                return replace(node, entries=(*entries, _new(keys, done, value, position)))
            inner = _replaced(entries[index].value, keys, done + 1, value, position)
            changed = replace(entries[index], value=inner)
            return replace(node, entries=(*entries[:index], changed, *entries[index + 1 :]))
        case Items(items):
            numbers = [str(index) for index in range(len(items))]
            if key not in numbers:
                message = f"no item {key!r} in {came(node)}; items are counted from 0"
                raise SchemaErrors([Problem.at(position, path, message)])
            index = numbers.index(key)
            inner = _replaced(items[index], keys, done + 1, value, position)
            return replace(node, items=(*items[:index], inner, *items[index + 1 :]))
        case Scalar():
            message = f"{came(node)} has no {key!r}; override the whole of it, as {path}=..."
            raise SchemaErrors([Problem.at(position, path, message)])


def _new(keys: list[str], done: int, value: Node, position: Position) -> Entry:
    """The entry for a key that is not there yet, with what hangs below it."""
    for key in reversed(keys[done + 1 :]):
        value = Table((Entry(key, value, True, position),), position)
    return Entry(keys[done], value, True, position, is_implied=done + 1 < len(keys))
