"""Overrides from the command line follow the rules of the file, and are blamed by their text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from schema_example import MINIMAL, Effort, Strike, Study, Systolic

from codesign.schema import Plain, Quantity, SchemaErrors, dump, load, spec

FILE = (
    MINIMAL + "faults: [{model: flip, rate: 0.5}, {model: stuck, rate: 1}]\nnetwork: {use: 'a:b'}\n"
)


@dataclass(frozen=True)
class Changes:
    """Changes over another file."""

    change: dict[str, Plain] = spec(paths=True, doc="dotted path: value")


def study_with(*overrides: str) -> Study:
    return load(FILE, Study, overrides=overrides).value


def problems_with(*overrides: str) -> list[str]:
    with pytest.raises(SchemaErrors) as caught:
        load(FILE, Study, name="s.yaml", overrides=overrides)
    return str(caught.value).split("\n")


def test_an_override_replaces_what_is_written() -> None:
    assert study_with("name=second").name == "second"
    small = study_with("accelerators.small.rows=16").accelerators["small"]
    assert isinstance(small, Systolic)
    assert small.rows == 16
    assert study_with("faults.0.rate=1e-3").faults[0] == Strike("flip", 0.001)


def test_an_override_adds_what_is_not_written() -> None:
    assert study_with("effort.trials=500").effort == Effort(trials=500)
    assert study_with("effort.trials=500", "effort.batch=4").effort == Effort(500, None, 4)
    network = study_with("network.width=16").network
    assert network is not None
    assert [entry.key for entry in network.arguments.entries] == ["width"]


def test_an_override_may_be_a_list_or_a_mapping() -> None:
    assert study_with("notes=[a, '12']").notes == ("a", "12")
    assert study_with("faults=[]").faults == ()
    grown = study_with("accelerators.big={kind: core_array, mesh: [1, 2]}").accelerators
    assert list(grown) == ["small", "big"]
    energy = "{value: 3, unit: fJ, source: book, grade: assumed}"
    small = study_with(f"accelerators.small.energy={energy}").accelerators["small"]
    assert isinstance(small, Systolic)
    assert small.energy == Quantity(0.003, "pJ", "book", "assumed")


def test_the_last_override_wins_and_earlier_text_may_hold_an_equals_sign() -> None:
    assert study_with("name=a", "name=b=c").name == "b=c"


def test_the_rules_of_the_file_hold_and_quotes_do_too() -> None:
    assert study_with('name="12"').name == "12"
    assert problems_with("name=12") == [
        "override 'name=12': name: expected text, came 12; quote it: \"12\""
    ]


def test_an_override_from_another_file_is_blamed_where_it_is_written() -> None:
    other = load("{change: {effort.trials: 5, resume: on}}", Changes, name="other.yaml").value
    with pytest.raises(SchemaErrors) as caught:
        load(FILE, Study, name="s.yaml", overrides=tuple(other.change.items()))
    assert str(caught.value) == (
        "other.yaml:1:37: resume: expected true or false, came on; write true"
    )
    trials = ("effort.trials", other.change["effort.trials"])
    assert load(FILE, Study, overrides=(trials,)).value.effort == Effort(trials=5)


def test_keys_that_are_paths_may_have_dots() -> None:
    changes = load("{change: {a.b c.0: 1, d: [2]}}", Changes).value
    assert list(changes.change) == ["a.b c.0", "d"]
    assert load(dump(changes), Changes).value == changes
    with pytest.raises(SchemaErrors) as caught:
        load("{change: {a..b: 1}}", Changes)
    assert str(caught.value) == (
        "text:1:11: change.a..b: "
        "the name 'a..b' is not words of letters, digits, _, + and -, with dots between"
    )


def test_a_name_of_several_words_can_be_overridden() -> None:
    text = FILE.replace("small:", "very small-2:")
    chips = load(text, Study, overrides=["accelerators.very small-2.rows=3"]).value.accelerators
    assert [getattr(chip, "rows", None) for chip in chips.values()] == [3]
    assert list(chips) == ["very small-2"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("effort.trails=5", "effort.trails: unknown key 'trails'; did you mean 'trials'?"),
        ("efort.trials=5", "efort: unknown key 'efort'; did you mean 'effort'?"),
        ("effort.trials=ten", "effort.trials: expected a whole number, came the text 'ten'"),
        ("effort.trials=0", "effort.trials: expected a whole number, at least 1, came 0"),
        (
            "accelerators.smal.rows=8",
            "accelerators.smal: no 'smal' to override; did you mean 'small'?",
        ),
        (
            "accelerators.small.rows.x=8",
            "accelerators.small.rows: 8 has no 'x'; override the whole",
        ),
        ("faults.2.rate=0", "faults: no item '2' in a list of 2; items are counted from 0"),
        ("faults.-1.rate=0", "faults: no item '-1' in a list of 2; items are counted from 0"),
        ("faults.first.rate=0", "faults: no item 'first' in a list of 2; items are counted from 0"),
        ("faults.00.rate=0", "faults: no item '00' in a list of 2; items are counted from 0"),
        ("notes.0=a", "notes: expected a list, came a mapping"),
        ("effort.trials", "expected path=value, for example effort.trials=500"),
        ("=5", "expected path=value, for example effort.trials=500"),
        ("effort..trials=5", "expected path=value, for example effort.trials=500"),
        ("", "expected path=value, for example effort.trials=500"),
        ("effort.trials=", "effort.trials: nothing stands behind the ="),
        ("effort.trials= ", "effort.trials: nothing stands behind the ="),
        ("name=[a", "name: not YAML: while parsing a flow sequence, expected ',' or ']'"),
        ("name=&a b", "name: the anchor &a is not read; leave it out"),
        ("effort={trials: 1, trials: 2}", "effort: duplicate key 'trials'; it stands in line 1"),
    ],
)
def test_a_wrong_override_is_blamed_by_its_text(override: str, message: str) -> None:
    problems = problems_with(override)
    assert len(problems) == 1
    assert problems[0].startswith(f"override {override!r}: {message}")


def test_problems_of_file_and_overrides_come_together() -> None:
    assert [line.split(": ")[0] for line in problems_with("resume=on", "nonsense", "name=1")] == [
        "override 'name=1'",
        "override 'nonsense'",
        "override 'resume=on'",
    ]


@dataclass(frozen=True)
class Sheet:
    """Something with a path."""

    folder: Path = spec(doc="somewhere")


def test_a_path_in_an_override_is_relative_to_where_it_is_typed(tmp_path, monkeypatch):
    file, here = tmp_path / "sheets" / "sheet.yaml", tmp_path / "here"
    file.parent.mkdir()
    here.mkdir()
    file.write_text("folder: data\n")
    monkeypatch.chdir(here)
    assert load(file, Sheet).value.folder == file.parent / "data"
    assert load(file, Sheet, overrides=["folder=data"]).value.folder == here / "data"
