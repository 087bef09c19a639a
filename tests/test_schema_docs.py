"""What people and editors are told about a configuration is what the loader does."""

from __future__ import annotations

import json
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from schema_example import CoreArray, Strike, Study, Systolic

from codesign.schema import describe, json_schema, spec

NAME = "[A-Za-z0-9_][A-Za-z0-9_+-]*(?: [A-Za-z0-9_+-]+)*"


@dataclass(frozen=True)
class Tree:
    """A class inside itself."""

    children: tuple[Tree, ...] = spec(default=(), doc="what hangs below")


@dataclass(frozen=True)
class Limits:
    """One field of each kind with bounds."""

    level: int = spec(choices=(1, 2, 4), doc="a power of two")
    name: str = spec(default="", doc="may be empty")
    share: float = spec(default=0.5, above=0, high=1, doc="a share")
    ceiling: float = spec(default=float("inf"), non_finite=True, doc="no bound by itself")
    file: Path | None = spec(default=None, doc="a file")
    mode: Literal["auto"] | int = spec(default="auto", doc="how")
    pair: tuple[int, bool] = spec(default=(1, True), doc="two")
    tags: dict[str, str] = spec(default_factory=dict, doc="remarks")
    more: tuple[str, ...] = spec(default=("a",), non_empty=True, doc="at least one")


def test_describe_tells_path_type_default_and_purpose_of_every_key() -> None:
    told = [(line.path, line.type, line.default, line.doc) for line in describe(Study)]
    assert told[0] == ("name", "a text, not empty", None, "what to call it")
    assert ("effort.trials", "a whole number, at least 1", "100", "fault draws") in told
    assert ("faults.<i>.rate", "a number from 0 to 1", None, "probability per bit") in told
    assert (
        "accelerators.<name>(kind=systolic).energy",
        "a quantity in pJ, above 0",
        None,
        "energy of one multiply",
    ) in told
    # Documented in the docstring of the class, over two lines.
    assert (
        "accelerators.<name>(kind=core_array).mesh",
        "a list of 2: a whole number; a whole number",
        None,
        "Rows and columns of the mesh.",
    ) in told
    assert ("network.<key>", "any value", "{}", "its arguments") in told


def test_describe_words_every_kind_of_field() -> None:
    assert [(line.path, line.type, line.default) for line in describe(Limits)] == [
        ("level", "a whole number, one of 1, 2, 4", None),
        ("name", "a text", '""'),
        ("share", "a number, above 0 and at most 1", "0.5"),
        ("ceiling", "a number", ".inf"),
        ("file", "a path, or null", "null"),
        ("mode", "auto, or a whole number", "auto"),
        ("pair", "a list of 2: a whole number; true or false", "[1, true]"),
        ("tags", "a mapping from names, each a text", "{}"),
        ("more", "a list, not empty, each a text", "[a]"),
    ]


def test_a_class_inside_itself_is_described_once() -> None:
    assert [line.path for line in describe(Tree)] == ["children"]
    assert json_schema(Tree)["$defs"]["Tree"]["properties"]["children"]["items"] == {
        "$ref": "#/$defs/Tree"
    }


def test_the_json_schema_of_a_class_is_what_one_would_write_by_hand() -> None:
    def told(doc: str, **more: Any) -> dict[str, Any]:
        return {"description": doc, **more}

    integer, text = {"type": "integer"}, {"type": "string"}
    assert json_schema(Limits) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/$defs/Limits",
        "$defs": {
            "Limits": {
                "type": "object",
                "properties": {
                    "level": told("a power of two", type="integer", enum=[1, 2, 4]),
                    "name": told("may be empty", type="string", default=""),
                    "share": told(
                        "a share", type="number", exclusiveMinimum=0, maximum=1, default=0.5
                    ),
                    "ceiling": told("no bound by itself", type="number"),
                    "file": told(
                        "a file",
                        anyOf=[{"type": "string", "minLength": 1}, {"type": "null"}],
                        default=None,
                    ),
                    "mode": told("how", anyOf=[{"enum": ["auto"]}, integer], default="auto"),
                    "pair": told(
                        "two",
                        type="array",
                        prefixItems=[integer, {"type": "boolean"}],
                        minItems=2,
                        maxItems=2,
                        default=[1, True],
                    ),
                    "tags": told(
                        "remarks",
                        type="object",
                        propertyNames={"pattern": f"^{NAME}$"},
                        additionalProperties=text,
                        default={},
                    ),
                    "more": told(
                        "at least one", type="array", items=text, minItems=1, default=["a"]
                    ),
                },
                "required": ["level"],
                "additionalProperties": False,
            }
        },
    }


def test_the_members_of_a_union_must_name_their_kind() -> None:
    schema = json_schema(Systolic | CoreArray)
    assert schema["oneOf"] == [
        {"$ref": "#/$defs/Systolic", "required": ["kind"]},
        {"$ref": "#/$defs/CoreArray", "required": ["kind"]},
    ]
    energy = schema["$defs"]["Systolic"]["properties"]["energy"]
    assert energy["required"] == ["value", "unit", "source", "grade"]
    assert energy["properties"]["unit"]["enum"] == ["aJ", "fJ", "pJ", "nJ", "uJ", "mJ", "J"]


def test_the_schema_is_json_and_the_same_each_time() -> None:
    text = json.dumps(json_schema(Study), allow_nan=False)
    assert json.loads(text) == json_schema(Study)
    assert json_schema(Study)["$defs"]["Model"]["additionalProperties"] is True


def test_two_classes_of_one_name_cannot_share_a_schema() -> None:
    def another() -> type:
        @dataclass(frozen=True)
        class Strike:
            kind: Literal["other"]

        return Strike

    fields = [("one", Strike), ("two", another())]
    with pytest.raises(TypeError, match="two of these classes share a name: Both, Strike"):
        json_schema(make_dataclass("Both", fields, frozen=True))


@dataclass(frozen=True)
class HoldsASet:
    names: set[int]


def test_a_type_that_yaml_cannot_say_has_no_schema() -> None:
    with pytest.raises(TypeError, match="a YAML file cannot say a set"):
        json_schema(HoldsASet)
