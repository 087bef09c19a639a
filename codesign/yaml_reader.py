"""Nodes → values of the type a field states; every mistake is collected with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from codesign.annotations import fields_of, quantity_fields
from codesign.errors import CodesignError, nearest
from codesign.field_types import (
    Anything,
    Choice,
    Field,
    FieldType,
    FilePath,
    Many,
    Maybe,
    Named,
    OneOf,
    Physical,
    Record,
    Row,
    Text,
    Untyped,
    Unwritable,
    english,
    listed,
)
from codesign.quantities import Quantity, units_like
from codesign.yaml_leaves import Leaf, bounded, read_leaf, suggestion
from codesign.yaml_nodes import Entry, Items, Node, Position, Problem, Scalar, Table
from codesign.yaml_scalars import (
    came,
    is_null,
    read_plain,
)

__all__ = ["FAILED", "Reader"]


class _Failed:
    """Stands for a value that could not be read; the reader holds the reasons."""


FAILED: Final = _Failed()


class Reader:
    """Reads nodes as field types.

    Attributes:
        folder: What relative paths are relative to; absolute.
        problems: What was wrong so far.
        positions: Where each value stands, by its dotted path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []
        self.positions: dict[str, Position] = {}

    def read(self, kind: FieldType, node: Node, path: str) -> object:
        """The value of a node, or `FAILED` with at least one problem more."""
        self.positions[path] = node.position
        match kind:
            case Maybe(inner):
                return None if is_null(node) else self.read(inner, node, path)
            case Choice():
                return self._choice(kind, node, path)
            case Many(item, container, non_empty):
                return self._many(item, container, non_empty, node, path)
            case Row(items):
                return self._row(items, node, path)
            case Named():
                return self._named(kind, node, path)
            case Anything():
                return self._anything(node, path)
            case Untyped():
                return self._untyped(node, path)
            case Unwritable(name):
                return self.blame(node.position, path, f"is a {name}, which a YAML file cannot say")
            case Record() | OneOf() | Physical():
                return self._mapping(kind, node, path)
            case _:
                return self._leaf(kind, node, path)

    def read_fields(
        self, fields: tuple[Field, ...], table: Table, path: str, *, word: str = "key"
    ) -> dict[str, object] | _Failed:
        """The values of the keys that are given; unknown and missing ones are problems.

        Args:
            fields: What may be given.
            table: What is given.
            path: Where the table stands.
            word: What to call a key in messages.
        """
        known = {field.name: field for field in fields if not field.rest}
        rest = next((field for field in fields if field.rest), None)
        values: dict[str, object] = {}
        left: list[Entry] = []
        for entry in table.entries:
            if entry.key in known:
                field = known[entry.key]
                values[entry.key] = self.read(field.type, entry.value, _join(path, entry.key))
            elif rest is not None:
                left.append(entry)
            else:
                message = f"unknown {word} {entry.key!r}{nearest(entry.key, known)}"
                inner = _join(path, entry.key)
                values[entry.key] = self.blame(entry.position, inner, message)
        if rest is not None:
            values[rest.name] = self._anything(Table(tuple(left), table.position), path)
        for name, field in known.items():
            if field.required and name not in values:
                values[name] = self.blame(table.position, path, _missing(field, word))
        return FAILED if FAILED in values.values() else values

    def build(
        self,
        make: Callable[..., object],
        values: dict[str, object] | _Failed,
        node: Node,
        path: str,
    ) -> object:
        """Call with the values; what the callable finds wrong with them is a problem here."""
        if isinstance(values, _Failed):
            return FAILED
        try:
            return make(**values)
        except (ValueError, CodesignError) as error:
            return self.blame(node.position, path, str(error) or type(error).__name__)

    def blame(self, position: Position, path: str, message: str) -> _Failed:
        """Note a problem."""
        self.problems.append(Problem.at(position, path, message))
        return FAILED

    def _leaf(self, kind: Leaf, node: Node, path: str) -> object:
        try:
            return read_leaf(kind, node, self.folder)
        except ValueError as error:
            return self.blame(node.position, path, str(error))

    def _choice(self, kind: Choice, node: Node, path: str) -> object:
        if isinstance(node, Scalar):
            for option in kind.options:
                is_meant = isinstance(option, str) or not node.is_text
                if is_meant and node.text == str(option):
                    return option
        is_text = isinstance(node, Scalar) and node.is_text
        if kind.otherwise is not None and is_text <= isinstance(kind.otherwise, Text | FilePath):
            return self.read(kind.otherwise, node, path)
        hint = suggestion(node, kind.options)
        return self.blame(node.position, path, f"expected {english(kind)}, came {came(node)}{hint}")

    def _many(
        self, item: FieldType, container: type, non_empty: bool, node: Node, path: str
    ) -> object:
        if not isinstance(node, Items):
            hint = f"; write [{node.text}]" if isinstance(node, Scalar) and node.text else ""
            return self.blame(node.position, path, f"expected a list, came {came(node)}{hint}")
        if non_empty and not node.items:
            return self.blame(node.position, path, "expected at least one item, came an empty list")
        values = [self.read(item, inner, _join(path, str(i))) for i, inner in enumerate(node.items)]
        return FAILED if FAILED in values else container(values)

    def _row(self, items: tuple[FieldType, ...], node: Node, path: str) -> object:
        if not isinstance(node, Items) or len(node.items) != len(items):
            message = f"expected a list of {len(items)}, came {came(node)}"
            return self.blame(node.position, path, message)
        pairs = enumerate(zip(items, node.items, strict=True))
        values = [self.read(item, inner, _join(path, str(i))) for i, (item, inner) in pairs]
        return FAILED if FAILED in values else tuple(values)

    def _named(self, kind: Named, node: Node, path: str) -> object:
        if not isinstance(node, Table):
            return self.blame(node.position, path, f"expected a mapping, came {came(node)}")
        if kind.non_empty and not node.entries:
            message = "expected at least one entry, came an empty mapping"
            return self.blame(node.position, path, message)
        written = [entry.key for entry in node.entries if not entry.is_implied]
        values = {
            entry.key: self._named_entry(kind, entry, path, written) for entry in node.entries
        }
        return FAILED if FAILED in values.values() else values

    def _named_entry(self, kind: Named, entry: Entry, path: str, written: list[str]) -> object:
        inner = _join(path, entry.key)
        if entry.is_implied:
            message = f"no {entry.key!r} to override{nearest(entry.key, written)}"
            return self.blame(entry.position, inner, message)
        if not kind.key_pattern.fullmatch(entry.key):
            also = ", with dots between" if kind.paths else ""
            message = f"the name {entry.key!r} is not words of letters, digits, _, + and -{also}"
            return self.blame(entry.position, inner, message)
        if not entry.is_text:
            message = f'expected a name, came {entry.key}; quote it: "{entry.key}"'
            return self.blame(entry.position, inner, message)
        return self.read(kind.value, entry.value, inner)

    def _mapping(self, kind: Record | OneOf | Physical, node: Node, path: str) -> object:
        if not isinstance(node, Table):
            return self.blame(node.position, path, _expected_mapping(kind, node))
        match kind:
            case Record(cls):
                return self.build(cls, self.read_fields(fields_of(cls), node, path), node, path)
            case Physical(rules):
                values = self.read_fields(quantity_fields(rules.units), node, path)
                quantity = self.build(Quantity, values, node, path)
                return self._converted(kind, quantity, node, path)
            case OneOf(key, members):
                member = self._member(key, dict(members), node, path)
                return FAILED if member is None else self.read(Record(member), node, path)

    def _member(self, key: str, members: dict[str, type], node: Table, path: str) -> type | None:
        tag = node.get(key)
        names = tuple(members)
        if tag is None:
            message = f"missing key {key!r}; expected {listed(names)}"
            self.blame(node.position, path, message)
        elif not isinstance(tag, Scalar) or tag.text not in members:
            message = f"expected {listed(names)}, came {came(tag)}{suggestion(tag, names)}"
            self.blame(tag.position, _join(path, key), message)
        else:
            return members[tag.text]
        return None

    def _converted(self, kind: Physical, quantity: object, node: Table, path: str) -> object:
        if not isinstance(quantity, Quantity):
            return FAILED
        for unit in kind.rules.units:
            if unit == quantity.unit or unit in units_like(quantity.unit):
                quantity = quantity.to(unit)
        try:
            bounded(quantity.value, kind.rules, english(kind), node)
        except ValueError:
            message = f"expected {english(kind)}, came {quantity.value:g} {quantity.unit}"
            return self.blame(node.position, path, message)
        return quantity

    def _anything(self, node: Node, path: str) -> Node | _Failed:
        """The node itself; only an empty place is refused."""
        self.positions[path] = node.position
        inner: list[Node | _Failed] = []
        match node:
            case Scalar(text, is_text):
                if not text and not is_text:
                    message = "expected a value, came nothing; write null if nothing is meant"
                    return self.blame(node.position, path, message)
            case Items(items):
                inner = [self._anything(item, _join(path, str(i))) for i, item in enumerate(items)]
            case Table(entries):
                inner = [self._anything(e.value, _join(path, e.key)) for e in entries]
        return FAILED if FAILED in inner else node

    def _untyped(self, node: Node, path: str) -> object:
        """The value that the node looks like."""
        self.positions[path] = node.position
        match node:
            case Items(items):
                values = [self._untyped(item, _join(path, str(i))) for i, item in enumerate(items)]
                return FAILED if FAILED in values else values
            case Table(entries):
                named = {e.key: self._untyped(e.value, _join(path, e.key)) for e in entries}
                return FAILED if FAILED in named.values() else named
        try:
            return read_plain(node)
        except ValueError as error:
            return self.blame(node.position, path, str(error))


def _missing(field: Field, word: str) -> str:
    doc = f" ({field.doc.rstrip('.')})" if field.doc else ""
    return f"missing {word} {field.name!r}; expected {english(field.type)}{doc}"


def _expected_mapping(kind: Record | OneOf | Physical, node: Node) -> str:
    match kind:
        case Physical(rules):
            value = node.text if isinstance(node, Scalar) and not node.is_text else "…"
            return (
                f"a physical number carries value, unit, source and grade, came {came(node)}; "
                f"write {{value: {value}, unit: {rules.units[0]}, source: …, grade: …}}"
            )
        case OneOf():
            return f"expected {english(kind)}, came {came(node)}"
        case Record(cls):
            keys = [field.name for field in fields_of(cls) if not field.rest]
            keys = keys[:8] + ["…"] * (len(keys) > 8)
            return f"expected a mapping with {', '.join(keys)}, came {came(node)}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
