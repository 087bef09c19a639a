"""Strict loading: the field's type decides what a text means; what is dumped loads back equal."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from schema_example import MINIMAL, CoreArray, Effort, Model, Strike, Study, Systolic

from codesign.quantities import GRADES
from codesign.schema import Plain, Position, Quantity, SchemaErrors, dump, load, spec
from codesign.yaml_nodes import Items, Scalar, Table
from codesign.yaml_writer import node_of

ENERGY = Quantity(0.2, "pJ", "Horowitz 2014", "published")

FULL = f"""\
{MINIMAL}\
  big: {{kind: core_array, mesh: [8, 16], gains: [1, .inf, -.inf, 1e-3, 1.5e3, -0.5, +.5]}}
faults:
  - {{model: flip, rate: 1e-3, bits: [0, +7]}}
  - model: stuck
    rate: 1
effort: {{trials: 500, half_width: 1e-2, batch: 16}}
network: {{use: networks:Mlp, width: 16, on: ["5e-2", null]}}
resume: true
notes: ["12", 'on', plain words, "ü\\n"]
"""


def test_every_type_of_field_is_read_as_it_is_meant() -> None:
    arguments = node_of({"width": 16, "on": ["5e-2", None]})
    assert isinstance(arguments, Table)
    expected = Study(
        name="first",
        accelerators={
            "small": Systolic("systolic", 8, ENERGY),
            "big": CoreArray(
                "core_array", (8, 16), (1.0, math.inf, -math.inf, 0.001, 1500.0, -0.5, 0.5)
            ),
        },
        faults=(Strike("flip", 0.001, (0, 7)), Strike("stuck", 1.0)),
        effort=Effort(500, 0.01, 16),
        network=None,
        resume=True,
        notes=("12", "on", "plain words", "ü\n"),
    )
    study = load(FULL, Study).value
    assert study.network is not None
    assert study.network.use == "networks:Mlp"
    assert [entry.key for entry in study.network.arguments.entries] == ["width", "on"]
    assert [e.value for e in study.network.arguments.entries] == [
        entry.value for entry in arguments.entries
    ]
    assert Study(**{**vars(study), "network": None}) == expected


def test_what_is_not_written_has_the_default_of_the_class() -> None:
    study = load(MINIMAL, Study).value
    assert study == Study("first", {"small": Systolic("systolic", 8, ENERGY)})
    assert load("{use: a}", Model).value == Model("a", Table())


def test_null_must_be_written_and_stands_for_nothing() -> None:
    assert load(MINIMAL + "network: null\nweights: ~\n", Study).value == load(MINIMAL, Study).value
    with pytest.raises(SchemaErrors, match="network: expected a mapping with use, came nothing"):
        load(MINIMAL + "network:\n", Study)


def test_a_path_is_relative_to_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "w.npz").write_bytes(b"")
    file = tmp_path / "studies" / "a.yaml"
    file.write_text(MINIMAL + "weights: ../w.npz\n")
    monkeypatch.chdir(tmp_path)
    for named in (file, Path("studies/a.yaml")):
        weights = load(named, Study).value.weights
        assert weights is not None
        assert weights.is_absolute()
        assert weights.samefile(tmp_path / "w.npz")


def test_a_place_is_remembered_for_every_value_that_is_written() -> None:
    loaded = load(FULL, Study, name="s.yaml", overrides=["faults.1.rate=0.5"])
    assert loaded.where("faults.0.bits.1") == Position("s.yaml", 9, 41)
    assert loaded.where("network.width") == Position("s.yaml", 13, 37)
    assert loaded.where("accelerators.big") == Position("s.yaml", 7, 8)
    assert loaded.where("faults.1.rate") == Position("override 'faults.1.rate=0.5'")
    # What is not written stands where the thing around it does.
    assert loaded.where("accelerators.small.overflow") == loaded.where("accelerators.small")
    assert loaded.where("no.such.thing") == Position("s.yaml", 1, 1)


@dataclass(frozen=True)
class Choices:
    mode: Literal["on", "off"]
    level: Literal[0, 1]
    label: str


def test_the_same_text_means_what_each_field_says() -> None:
    assert load("{mode: on, level: 1, label: '1'}", Choices).value == Choices("on", 1, "1")
    with pytest.raises(SchemaErrors) as caught:
        load("{mode: 'yes', level: '1', label: 1}", Choices)
    assert str(caught.value).split("\n") == [
        "text:1:8: mode: expected one of on, off, came the text 'yes'",
        "text:1:22: level: expected one of 0, 1, came the text '1'; remove the quotes",
        'text:1:34: label: expected text, came 1; quote it: "1"',
    ]


@dataclass(frozen=True)
class Loose:
    """Types that only parts use.

    Attributes:
        anything: A value of no stated type.
        numbers: A list that stays a list.
        more: A sequence.
        plain: As written.
        bounded: With a remark.
        pair: Both kinds of number.
        wide: A seed.
    """

    anything: Any = None
    numbers: list[float] = field(default_factory=list)
    more: Sequence[int] = ()
    plain: Plain | None = None
    bounded: Annotated[int, "a remark"] = 0
    pair: tuple[int, float] | None = None
    wide: int = spec(default=0, low=0, high=2**64 - 1)


def test_loose_types_are_read_too() -> None:
    text = (
        "{anything: {a: [1, 2.5, true, null, b]}, numbers: [1], more: [2], plain: [on],"
        " bounded: 3, pair: [1, 2], wide: 18446744073709551615}"
    )
    loose = load(text, Loose).value
    assert loose.anything == {"a": [1, 2.5, True, None, "b"]}
    assert (loose.numbers, loose.more, loose.bounded, loose.pair) == ([1.0], (2,), 3, (1, 2.0))
    assert isinstance(loose.pair, tuple)
    assert [type(item) for item in loose.pair] == [int, float]
    assert loose.wide == 2**64 - 1
    assert loose.plain == Items((Scalar("on", is_text=False),))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("on", 'expected a value, came on; if it is text, quote it: "on"'),
        ("010", 'expected a value, came 010; if it is text, quote it: "010"'),
        ("2026-11-24", 'expected a value, came 2026-11-24; if it is text, quote it: "2026-11-24"'),
        ("1e999", "expected a number below 1.8e308, came 1e999"),
    ],
)
def test_a_value_of_no_type_must_mean_one_thing_to_every_reader(written: str, message: str) -> None:
    with pytest.raises(SchemaErrors) as caught:
        load(f"anything: {written}", Loose)
    assert str(caught.value) == f"text:1:11: anything: {message}"


def test_an_empty_place_is_found_deep_inside_a_value_of_no_type() -> None:
    message = "expected a value, came nothing; write null if nothing is meant"
    for key in ("anything", "plain"):
        with pytest.raises(SchemaErrors) as caught:
            load(f"{key}: [1, {{a: }}]", Loose)
        assert str(caught.value) == f"text:1:{len(key) + 10}: {key}.1.a: {message}"


def test_a_union_may_be_the_root() -> None:
    text = "{kind: core_array, mesh: [1, 2]}"
    assert load(text, Systolic | CoreArray).value == CoreArray("core_array", (1, 2))


# What a class may not say: mistakes of the author of the class, not of the user.


@dataclass(frozen=True)
class BoundedText:
    name: str = spec(low=1)


@dataclass(frozen=True)
class BareQuantity:
    energy: Quantity


@dataclass(frozen=True)
class UnknownUnit:
    energy: Quantity = spec(unit="pj")


@dataclass(frozen=True)
class TwoEnergies:
    energy: Quantity = spec(unit=("pJ", "nJ"))


@dataclass(frozen=True)
class RelativeDefault:
    weights: Path = Path("w.npz")


@dataclass(frozen=True)
class LosesTrials:
    effort: Effort = spec(default=Effort(trials=5))


@dataclass(frozen=True)
class Indistinct:
    both: Strike | Effort


@dataclass(frozen=True)
class TypedRest:
    rest: Plain = spec(rest=True)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (BoundedText, "BoundedText.name: a text has no use for low"),
        (BareQuantity, "BareQuantity.energy: a Quantity needs spec(unit=...)"),
        (UnknownUnit, "UnknownUnit.energy: unknown unit 'pj'; known: FIT, FIT/Mbit, GE, "),
        (TwoEnergies, "TwoEnergies.energy: of pJ, nJ two measure the same"),
        (
            RelativeDefault,
            "RelativeDefault.weights: a relative default path is relative to nothing; use None",
        ),
        (LosesTrials, "LosesTrials.effort: the default sets trials otherwise than its class does"),
        (
            Indistinct,
            "Indistinct.both: nothing tells Strike, Effort apart: "
            "each needs its own kind: Literal[...]",
        ),
        (TypedRest, "TypedRest.rest: rest=True needs the type Table"),
    ],
)
def test_a_class_that_contradicts_itself_is_told_to_its_author(cls: type, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        load("{}", cls)
    assert str(caught.value).startswith(message)


@dataclass(frozen=True)
class HoldsASet:
    names: set[int] = field(default_factory=set)


def test_a_type_that_yaml_cannot_say_is_refused_only_where_it_is_written() -> None:
    assert load("{}", HoldsASet).value == HoldsASet()
    with pytest.raises(SchemaErrors) as caught:
        load("names: [1]", HoldsASet)
    assert str(caught.value) == "text:1:8: names: is a set, which a YAML file cannot say"


# Dumping

texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[chr(i) for i in range(32)]),
    max_size=20,
) | st.sampled_from(
    ["on", "12", "1e-3", "null", "", " ", "a: b", "# c", "- x", "y", "é\t\n", "0x1", ".5e3"]
)
texts = texts.filter(lambda text: "\x7f" not in text)
names = st.text(string.ascii_letters + string.digits + "_-", max_size=8).map(lambda t: "n" + t)
finite = st.floats(allow_nan=False, allow_infinity=False)
quantities = st.builds(
    Quantity,
    st.floats(1e-9, 1e9),
    st.just("pJ"),
    texts.filter(lambda text: bool(text.strip())),
    st.sampled_from(GRADES),
)
nodes = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
).map(node_of)
studies = st.builds(
    Study,
    name=texts.filter(lambda text: bool(text.strip())),
    accelerators=st.dictionaries(
        names,
        st.builds(
            Systolic,
            kind=st.just("systolic"),
            rows=st.integers(1, 1024),
            energy=quantities,
            overflow=st.sampled_from(["wrap", "saturate"]),
        )
        | st.builds(
            CoreArray,
            kind=st.just("core_array"),
            mesh=st.tuples(st.integers(1, 8), st.integers(1, 16)),
            gains=st.lists(st.floats(allow_nan=False)).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ),
    faults=st.lists(
        st.builds(
            Strike,
            model=st.just("stuck"),
            rate=st.floats(0, 1),
            bits=st.lists(st.integers(0, 31), max_size=3).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    effort=st.builds(
        Effort,
        trials=st.integers(1, 2**63 - 1),
        half_width=st.none() | st.floats(1e-6, 0.5),
        batch=st.just("auto") | st.integers(1, 99),
    ),
    weights=st.none(),
    network=st.none()
    | st.builds(Model, use=texts, arguments=st.dictionaries(names, nodes, max_size=3).map(node_of)),
    resume=st.booleans(),
    notes=st.lists(texts, max_size=4).map(tuple),
)


@given(studies)
def test_what_is_dumped_loads_back_equal(study: Study) -> None:
    text = dump(study)
    assert load(text, Study).value == study
    assert dump(load(text, Study).value) == text


@given(studies)
def test_what_is_dumped_is_the_same_to_another_reader_of_yaml(study: Study) -> None:
    seen = yaml.safe_load(dump(study))
    assert seen["name"] == study.name
    assert seen["notes"] == list(study.notes)
    assert seen["effort"]["trials"] == study.effort.trials
    assert seen["effort"]["half_width"] == study.effort.half_width
    assert [fault["rate"] for fault in seen["faults"]] == [fault.rate for fault in study.faults]


def test_a_dump_writes_all_defaults_in_the_order_of_the_fields() -> None:
    assert dump(load(MINIMAL, Study).value) == (
        "name: first\n"
        "accelerators:\n"
        "  small:\n"
        "    kind: systolic\n"
        "    rows: 8\n"
        '    energy: {value: 0.2, unit: pJ, source: "Horowitz 2014", grade: published}\n'
        "    overflow: wrap\n"
        "    area: null\n"
        "faults: []\n"
        "effort: {trials: 100, half_width: null, batch: auto}\n"
        "weights: null\n"
        "network: null\n"
        "resume: false\n"
        "notes: []\n"
    )


def test_a_dump_writes_paths_relative_to_the_folder_it_will_stand_in(tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(b"")
    study = load(MINIMAL + "weights: w.npz\n", Study, folder=tmp_path).value
    text = dump(study, folder=tmp_path)
    assert "\nweights: w.npz\n" in text
    assert load(text, Study, folder=tmp_path).value == study
    assert load(dump(study), Study).value == study


def test_what_yaml_cannot_say_is_not_dumped() -> None:
    with pytest.raises(TypeError, match="a YAML file cannot say a set"):
        dump(HoldsASet({1}))
    with pytest.raises(TypeError, match="a key in YAML is a text, came 1"):
        node_of({1: 2})
