"""Annotations of frozen dataclasses and of callables → what a YAML file may say there."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from codesign.errors import StudyError
from codesign.field_types import (
    Anything,
    Choice,
    Field,
    FieldType,
    FilePath,
    Flag,
    Many,
    Maybe,
    Named,
    OneOf,
    Physical,
    Real,
    Record,
    Row,
    Rules,
    Text,
    Untyped,
    Unwritable,
    Whole,
    english,
)
from codesign.quantities import GRADES, Quantity, dimension, units_like
from codesign.yaml_nodes import Node, Table

__all__ = ["Plain", "documented", "fields_of", "quantity_fields", "rules_of", "spec", "type_of"]

Plain: TypeAlias = Node
"""Annotation of a field whose meaning is decided later: the node as written, with its positions."""

TAG_KEYS = ("kind", "use")  # the keys that may tell the members of a union apart
_METADATA_KEY = "codesign"
_NO_RULES = Rules()


def spec(
    *,
    doc: str = "",
    default: object = MISSING,
    default_factory: Callable[[], object] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[str | int] = (),
    unit: str | Sequence[str] = (),
    exists: bool = False,
    non_empty: bool = False,
    non_finite: bool = False,
    rest: bool = False,
    paths: bool = False,
) -> Any:
    """Declare a dataclass field with what is allowed in it and what it is for.

    Bounds hold for each number of a list or mapping; ``non_empty`` for the outermost text, list or
    mapping; ``unit`` names the unit a `Quantity` is converted to, one for each dimension allowed.
    A field without ``default`` and ``default_factory`` is required, but for the one with
    ``rest``. The other words are those of `Rules`.
    """
    units = (unit,) if isinstance(unit, str) else tuple(unit)
    rules = Rules(
        low, high, above, below, tuple(choices), units, exists, non_empty, non_finite, rest, paths
    )
    metadata = {_METADATA_KEY: rules, "doc": doc}
    if rest and default is MISSING:
        default = Table()
    if default_factory is not None:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def rules_of(declared: dataclasses.Field[Any]) -> Rules:
    """The rules of a dataclass field, none where it was not declared by `spec`."""
    rules: Rules = declared.metadata.get(_METADATA_KEY, _NO_RULES)
    return rules


@cache
def fields_of(cls: type) -> tuple[Field, ...]:
    """The fields of a dataclass, in order.

    Raises:
        TypeError: The class contradicts itself: a rule its type has no use for, a quantity
            without a unit, a default that one written key would lose.
    """
    hints = typing.get_type_hints(cls)
    docs = documented(cls)
    found = []
    for declared in dataclasses.fields(cls):
        if not declared.init:
            continue
        rules = rules_of(declared)
        where = f"{cls.__qualname__}.{declared.name}"
        try:
            kind = type_of(hints[declared.name], rules)
            default = _default_of(declared)
            _check_default(kind, default)
        except TypeError as error:
            raise TypeError(f"{where}: {error}") from error
        doc = declared.metadata.get("doc") or docs.get(declared.name, "")
        required = default is MISSING
        found.append(
            Field(declared.name, kind, required, None if required else default, doc, rules.rest)
        )
    return tuple(found)


@cache
def quantity_fields(units: tuple[str, ...]) -> tuple[Field, ...]:
    """The four keys of a `Quantity` that may be written in these units or in units like them."""
    docs = documented(Quantity)
    written = tuple(other for unit in units for other in units_like(unit))
    kinds: dict[str, FieldType] = {
        "value": Real(),
        "unit": Choice(written),
        "source": Text(Rules(non_empty=True)),
        "grade": Choice(GRADES),
    }
    return tuple(Field(name, kind, doc=docs[name]) for name, kind in kinds.items())


def type_of(annotation: object, rules: Rules = _NO_RULES) -> FieldType:
    """What an annotation means in YAML.

    Raises:
        TypeError: The annotation and the rules contradict each other.

    >>> type_of(tuple[bool, ...])
    Many(item=Flag(), container=<class 'tuple'>, non_empty=False)
    """
    if rules.rest and annotation is not Table:
        raise TypeError("rest=True needs the type Table")
    if annotation == Plain or (rules.rest and annotation is Table):
        return _leaf(Anything(), rules, {"rest"})
    if typing.get_origin(annotation) is typing.Annotated:
        return type_of(typing.get_args(annotation)[0], rules)
    leaf = _leaf_type(annotation, rules)
    if leaf is not None:
        return leaf
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _leaf(Record(annotation), rules, set())
    return _compound_type(annotation, rules)


def documented(thing: object) -> dict[str, str]:
    """What the ``Attributes:`` or ``Args:`` section of a Google-style docstring says of each name.

    >>> documented(Rules)["low"]
    'Smallest number allowed.'
    """
    docs: dict[str, str] = {}
    name = ""
    inside = False
    for line in inspect.cleandoc(thing.__doc__ or "").splitlines():
        indent = len(line) - len(line.lstrip())
        if line in ("Attributes:", "Args:"):
            inside = True
        elif not line.strip() or indent == 0:
            inside = False
        elif inside and indent == 4 and ":" in line:
            name, _, text = line.strip().partition(":")
            docs[name] = text.strip()
        elif inside and name:
            docs[name] += " " + line.strip()
    return docs


def _leaf_type(annotation: object, rules: Rules) -> FieldType | None:
    bounds = {"low", "high", "above", "below"}
    if annotation is bool:
        return _leaf(Flag(), rules, set())
    if annotation is int:
        return _leaf(Whole(_without_container(rules)), rules, bounds | {"choices"})
    if annotation is float:
        return _leaf(Real(rules), rules, bounds | {"non_finite"})
    if annotation is str:
        return _leaf(Text(rules), rules, {"choices", "non_empty"})
    if annotation is Path:
        return _leaf(FilePath(rules), rules, {"exists"})
    if annotation is Quantity:
        if not rules.units:
            raise TypeError("a Quantity needs spec(unit=...)")
        _check_units(rules.units)
        return _leaf(Physical(rules), rules, bounds | {"units"})
    if annotation in (Any, object):
        return _leaf(Untyped(), rules, set())
    return None


def _compound_type(annotation: object, rules: Rules) -> FieldType:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    inner = _without_container(rules)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, rules)
    if origin is Literal and all(type(option) in (str, int) for option in arguments):
        return _leaf(Choice(arguments), rules, set())
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return Many(type_of(arguments[0], inner), tuple, rules.non_empty)
    if origin is tuple and arguments and Ellipsis not in arguments:
        return Row(tuple(type_of(argument, rules) for argument in arguments))
    if origin in (list, Sequence) and arguments:
        container = list if origin is list else tuple
        return Many(type_of(arguments[0], inner), container, rules.non_empty)
    if origin is dict and arguments[0] is str:
        return Named(type_of(arguments[1], inner), rules.non_empty, rules.paths)
    return Unwritable(getattr(annotation, "__name__", None) or str(annotation))


def _union(members: tuple[object, ...], rules: Rules) -> FieldType:
    rest = tuple(member for member in members if member is not type(None))
    if len(rest) < len(members):
        return Maybe(type_of(typing.Union[rest], rules))  # noqa: UP007  built at run time
    literals = [member for member in rest if typing.get_origin(member) is Literal]
    others = [member for member in rest if typing.get_origin(member) is not Literal]
    if literals and len(others) <= 1:
        options = tuple(option for literal in literals for option in typing.get_args(literal))
        return Choice(options, type_of(others[0], rules) if others else None)
    if all(dataclasses.is_dataclass(member) for member in rest):
        return _leaf(_one_of(typing.cast("tuple[type, ...]", rest)), rules, set())
    return Unwritable(" | ".join(getattr(member, "__name__", str(member)) for member in rest))


def _one_of(members: tuple[type, ...]) -> OneOf:
    """The union of dataclasses that each have a Literal field ``kind`` or ``use``."""
    for key in TAG_KEYS:
        tags = [(tag, member) for member in members for tag in _tags(member, key)]
        covered = {member for _, member in tags} == set(members)
        if covered and len({tag for tag, _ in tags}) == len(tags):
            return OneOf(key, tuple(tags))
    names = ", ".join(member.__name__ for member in members)
    raise TypeError(f"nothing tells {names} apart: each needs its own kind: Literal[...]")


def _tags(member: type, key: str) -> tuple[str, ...]:
    hint = typing.get_type_hints(member).get(key)
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def _leaf(kind: FieldType, rules: Rules, allowed: set[str]) -> FieldType:
    unused = rules.used() - allowed
    if unused:
        raise TypeError(f"{english(kind)} has no use for {', '.join(sorted(unused))}")
    return kind


def _without_container(rules: Rules) -> Rules:
    return dataclasses.replace(rules, non_empty=False, paths=False)


def _default_of(declared: dataclasses.Field[Any]) -> object:
    if declared.default_factory is not MISSING:
        return declared.default_factory()
    return declared.default


def _check_default(kind: FieldType, default: object) -> None:
    inner = kind.inner if isinstance(kind, Maybe) else kind
    if isinstance(inner, FilePath) and isinstance(default, Path) and not default.is_absolute():
        raise TypeError("a relative default path is relative to nothing; use None")
    if not isinstance(inner, Record) or not isinstance(default, inner.cls):
        return
    # Whoever writes one key of it gets the class's own defaults for the others.
    for declared in dataclasses.fields(inner.cls):
        own = _default_of(declared)
        if own is not MISSING and getattr(default, declared.name) != own:
            raise TypeError(f"the default sets {declared.name} otherwise than its class does")


def _check_units(units: tuple[str, ...]) -> None:
    try:
        measured = [dimension(unit) for unit in units]
    except StudyError as error:
        raise TypeError(str(error)) from error
    if len(set(measured)) < len(measured):
        raise TypeError(f"of {', '.join(units)} two measure the same")
