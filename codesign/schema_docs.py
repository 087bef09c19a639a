"""What a configuration may say, for people (`describe`) and for editors (`json_schema`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from codesign.annotations import fields_of, quantity_fields, type_of
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
from codesign.yaml_nodes import Items, Node, Scalar, Table
from codesign.yaml_scalars import read_plain
from codesign.yaml_writer import node_of

__all__ = ["Line", "describe", "json_schema"]

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One key of a configuration.

    Attributes:
        path: Where it stands: ``<name>`` for a name of the user's, ``<i>`` for an item of a list,
            ``(kind=systolic)`` where only one kind of thing has it.
        type: What may stand there, in words.
        default: What stands there otherwise, as YAML; None where it must be given.
        doc: What it is.
    """

    path: str
    type: str
    default: str | None
    doc: str


def describe(cls: object) -> list[Line]:
    """Every key that a configuration may have, in the order of the fields.

    Args:
        cls: A dataclass, or a union of them that a key tells apart.
    """
    return list(_inside(type_of(cls), "", ()))


def json_schema(cls: object) -> Json:
    """The JSON Schema (draft 2020-12) of a configuration, for an editor that completes YAML.

    Args:
        cls: A dataclass, or a union of them that a key tells apart.

    Raises:
        TypeError: A field is of a type that a YAML file cannot say, or two classes share a name.
    """
    definitions: dict[type, Json] = {}
    root = _schema(type_of(cls), definitions)
    named = {member.__name__: schema for member, schema in definitions.items()}
    if len(named) < len(definitions):
        raise TypeError(f"two of these classes share a name: {', '.join(sorted(named))}")
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **root, "$defs": named}


def _inside(kind: FieldType, path: str, around: tuple[type, ...]) -> Iterator[Line]:
    """The keys below a value; a class inside itself is told once."""
    match kind:
        case Maybe(inner):
            yield from _inside(inner, path, around)
        case Many(item):
            yield from _inside(item, _join(path, "<i>"), around)
        case Row(items):
            for index, item in enumerate(items):
                yield from _inside(item, _join(path, str(index)), around)
        case Named(value):
            yield from _inside(value, _join(path, "<name>"), around)
        case OneOf(key, members):
            for tag, member in members:
                yield from _inside(Record(member), f"{path}({key}={tag})", around)
        case Record(cls) if cls not in around:
            for field in fields_of(cls):
                inner_path = _join(path, "<key>" if field.rest else field.name)
                default = None if field.required else _shown(field.default)
                yield Line(inner_path, english(field.type), default, field.doc)
                yield from _inside(field.type, inner_path, (*around, cls))


def _shown(value: object) -> str:
    return _flow(node_of(value))


def _flow(node: Node) -> str:
    match node:
        case Scalar(text, is_text):
            return text if not is_text or text else '""'
        case Items(items):
            return f"[{', '.join(_flow(item) for item in items)}]"
        case Table(entries):
            return f"{{{', '.join(f'{e.key}: {_flow(e.value)}' for e in entries)}}}"


def _schema(kind: FieldType, definitions: dict[type, Json]) -> Json:  # noqa: C901  one case each
    match kind:
        case Flag():
            return {"type": "boolean"}
        case Whole(rules):
            return {"type": "integer", **_bounds(rules)}
        case Real(rules):
            return {"type": "number", **_bounds(rules)}
        case Text(rules):
            return {"type": "string", **_bounds(rules)}
        case FilePath():
            return {"type": "string", "minLength": 1}
        case Choice(options, otherwise):
            known: Json = {"enum": list(options)}
            return {"anyOf": [known, _schema(otherwise, definitions)]} if otherwise else known
        case Maybe(inner):
            return {"anyOf": [_schema(inner, definitions), {"type": "null"}]}
        case Many(item, _, non_empty):
            some = {"minItems": 1} if non_empty else {}
            return {"type": "array", "items": _schema(item, definitions), **some}
        case Row(items):
            return {
                "type": "array",
                "prefixItems": [_schema(item, definitions) for item in items],
                "minItems": len(items),
                "maxItems": len(items),
            }
        case Named(value, non_empty):
            return {
                "type": "object",
                "propertyNames": {"pattern": f"^{kind.key_pattern.pattern}$"},
                "additionalProperties": _schema(value, definitions),
                **({"minProperties": 1} if non_empty else {}),
            }
        case Record(cls):
            if cls not in definitions:
                definitions[cls] = {}  # a class may stand inside itself
                definitions[cls].update(_object(fields_of(cls), definitions))
            return {"$ref": f"#/$defs/{cls.__name__}"}
        case OneOf(key, members):
            refs = (_schema(Record(member), definitions) for _, member in members)
            return {"oneOf": [{**ref, "required": [key]} for ref in refs]}
        case Physical(rules):
            return _object(quantity_fields(rules.units), definitions)
        case Anything() | Untyped():
            return {}
        case Unwritable(name):
            raise TypeError(f"a YAML file cannot say a {name}")


def _object(fields: tuple[Field, ...], definitions: dict[type, Json]) -> Json:
    keys = [field for field in fields if not field.rest]
    return {
        "type": "object",
        "properties": {field.name: _property(field, definitions) for field in keys},
        "required": [field.name for field in keys if field.required],
        "additionalProperties": len(keys) < len(fields),
    }


def _property(field: Field, definitions: dict[type, Json]) -> Json:
    schema = dict(_schema(field.type, definitions))
    if field.doc:
        schema["description"] = field.doc
    is_finite = not isinstance(field.default, float) or math.isfinite(field.default)
    if not field.required and is_finite:  # JSON has no word for infinity
        schema["default"] = read_plain(node_of(field.default))
    return schema


def _bounds(rules: Rules) -> Json:
    found = {
        "minimum": rules.low,
        "maximum": rules.high,
        "exclusiveMinimum": rules.above,
        "exclusiveMaximum": rules.below,
        "enum": list(rules.choices) or None,
        "minLength": 1 if rules.non_empty else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
