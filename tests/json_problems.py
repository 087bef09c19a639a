"""The part of JSON Schema that our schemas use, checked by hand: enough to see a breach."""

from __future__ import annotations

from typing import Any

__all__ = ["problems"]

Schema = dict[str, Any]

KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
KNOWN = {
    *("$schema", "$defs", "title", "description", "type", "const", "enum", "minimum"),
    *("properties", "required", "additionalProperties", "items", "prefixItems"),
    *("minItems", "maxItems"),
}


def problems(schema: Schema, value: object) -> list[str]:
    """What a value breaks, each with its place.

    Raises:
        ValueError: The schema has a keyword that is not known here.
    """
    return _check(schema, value, schema, "")


def _check(schema: Schema, value: object, root: Schema, at: str) -> list[str]:
    if "$ref" in schema:
        return _check(root["$defs"][schema["$ref"].split("/")[-1]], value, root, at)
    if "anyOf" in schema:
        tried = [_check(one, value, root, at) for one in schema["anyOf"]]
        return [] if [] in tried else min(tried, key=len)
    if not set(schema) <= KNOWN:
        raise ValueError(f"{at}: unknown keywords {set(schema) - KNOWN}")
    kind = schema.get("type")
    if kind and not _is(value, kind):
        return [f"{at}: {value!r} is no {kind}"]
    if isinstance(value, dict):
        return _of_object(schema, value, root, at)
    if isinstance(value, list):
        return _of_array(schema, value, root, at)
    return _of_scalar(schema, value, at)


def _is(value: object, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _of_scalar(schema: Schema, value: object, at: str) -> list[str]:
    found = []
    if value != schema.get("const", value) or value not in schema.get("enum", [value]):
        found.append(f"{at}: {value!r} is not allowed")
    if isinstance(value, int | float) and value < schema.get("minimum", value):
        found.append(f"{at}: {value!r} is too small")
    return found


def _of_object(schema: Schema, value: dict[str, Any], root: Schema, at: str) -> list[str]:
    found = [f"{at}: {key} is missing" for key in schema.get("required", []) if key not in value]
    for key, item in value.items():
        rest = schema.get("additionalProperties", True)
        inner = schema.get("properties", {}).get(key, rest)
        if inner is False:
            found.append(f"{at}: {key} is unknown")
        elif inner is not True:
            found += _check(inner, item, root, f"{at}.{key}")
    return found


def _of_array(schema: Schema, value: list[Any], root: Schema, at: str) -> list[str]:
    found = []
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        found.append(f"{at}: {len(value)} items")
    first = schema.get("prefixItems", [])
    for i, item in enumerate(value):
        inner = first[i] if i < len(first) else schema.get("items", {})
        found += _check(inner, item, root, f"{at}[{i}]")
    return found
