"""The results file: what is stored comes back, and what cannot be stored is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_results import OTHER, TASK, row, write_two_tasks

from codesign.errors import StoreError, UnsupportedError
from codesign.study.results import (
    OUTCOMES,
    CandidateRow,
    Results,
    Task,
    TrialRow,
    canonical_json,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study" / "results.sqlite"


@pytest.fixture
def filled(path: Path) -> Path:
    write_two_tasks(path)
    return path


# Identity


def test_the_digest_of_a_task_is_the_sha256_of_its_canonical_text() -> None:
    text = '{"design":"9f","rate":0.001,"seed":1}'
    assert TASK.digest == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_name_and_labels_are_no_part_of_the_identity(path: Path) -> None:
    renamed = Task.of("hamming", json.loads(TASK.description), {"scenario": "beam"})
    with Results(path) as results:
        assert results.add_task(TASK) == results.add_task(renamed)
        assert results.tasks() == [renamed]


@pytest.mark.parametrize("text", ["[1]", "{", '{"b":1,"a":2}', '{"a": 1}', "NaN", '{"a":NaN}'])
def test_a_description_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected the text of canonical_json|JSON|Expecting"):
        Task("name", text)


def test_a_label_cannot_hide_a_column() -> None:
    with pytest.raises(ValueError, match="label 'samples' is the name of a column"):
        Task.of("name", {}, {"samples": 3, "scenario": "beam"})


def test_tasks_come_back_in_the_order_they_came(path: Path) -> None:
    tasks = [Task.of(f"task {number}", {"number": number}) for number in (5, 3, 9, 1)]
    with Results(path) as results:
        for task in tasks:
            results.add_task(task)
        assert results.tasks() == tasks


# Rows


@st.composite
def trial_rows(draw: st.DrawFn) -> TrialRow:
    counts = st.integers(0, 2**40)
    finite = st.floats(allow_nan=False, allow_infinity=False)
    outcomes = {name: draw(counts) for name in OUTCOMES} | {"masked": draw(st.integers(1, 9))}
    samples = sum(outcomes.values())
    acted, more, most = draw(counts), draw(counts), draw(counts)
    collapsed = draw(st.integers(0, acted))
    return TrialRow(
        task=TASK.digest,
        trial=draw(st.integers(0, 2**62)),
        weight=draw(st.floats(0, allow_infinity=False)),
        samples=samples,
        correct=draw(st.integers(0, samples)),
        **outcomes,
        acted=acted,
        could_act=acted + more,
        drawn=acted + more + most,
        collapsed=collapsed,
        proven=draw(st.integers(0, acted - collapsed)),
        faults_digest=draw(st.text("0123456789abcdef")),
        extra=canonical_json(draw(st.dictionaries(st.text(), finite | counts))),
    )


@given(row=trial_rows())
def test_every_row_comes_back_equal(
    row: TrialRow, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("study") / "results.sqlite"
    with Results(path) as results:
        results.add_task(TASK)
        results.add_rows([row])
    with Results(path, readonly=True) as results:
        assert results.rows(TASK.digest) == [row]


def test_rows_come_back_in_index_order_whatever_order_they_came_in(path: Path) -> None:
    with Results(path) as results:
        results.add_task(TASK)
        for trial in (7, 2, 9, 0, 4):
            results.add_rows([row(trial)])
        assert [found.trial for found in results.rows(TASK.digest)] == [0, 2, 4, 7, 9]
        assert [found.trial for found in results.rows(TASK.digest, 7)] == [0, 2, 4]
        assert results.rows(OTHER.digest) == []


def test_missing_is_what_lies_between_and_behind_the_stored(path: Path) -> None:
    with Results(path) as results:
        results.add_task(TASK)
        results.add_rows([row(trial) for trial in (0, 3, 4, 100)])
        assert results.missing(TASK.digest, 7) == [1, 2, 5, 6]
        assert results.missing(TASK.digest, 0) == []
        assert results.missing(OTHER.digest, 2) == [0, 1]


def test_numpy_integers_are_stored_as_integers(path: Path) -> None:
    with Results(path) as results:
        results.add_task(TASK)
        given_row = row(np.int64(3), weight=np.float32(0.5), samples=np.int32(10))  # type: ignore[arg-type]
        results.add_rows([given_row])
        assert results.rows(TASK.digest) == [row(3, weight=0.5)]
    with sqlite3.connect(path) as connection:
        kinds = connection.execute("SELECT typeof(trial), typeof(weight) FROM trials").fetchall()
    connection.close()
    assert kinds == [("integer", "real")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masked": 5}, r"masked 5 \+ .* = 11, expected samples=10"),
        ({"samples": 0, **dict.fromkeys(OUTCOMES, 0), "correct": 0}, "samples=0, at least 1"),
        ({"hang": -1}, "hang=-1 is negative"),
        ({"correct": 11}, "correct=11 of samples=10"),
        ({"acted": 6}, r"acted <= could_act <= drawn, came 6, 5, 9"),
        ({"drawn": 4}, r"acted <= could_act <= drawn, came 3, 5, 4"),
        ({"proven": 8}, r"collapsed 2 \+ proven 8 > drawn 9"),
        ({"weight": float("nan")}, "weight=nan is not finite"),
        ({"weight": float("inf")}, "weight=inf is not finite"),
        ({"weight": -0.5}, "weight=-0.5 is not finite and >= 0"),
        ({"extra": "[]"}, "extra: expected the text of canonical_json"),
    ],
)
def test_a_row_that_does_not_add_up_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"task {TASK.digest} trial 8: .*{message}"):
        row(8, **changes)


def test_a_count_that_is_not_an_integer_is_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        row(0, masked=4.0)


def test_the_same_row_again_is_counted_and_changes_nothing(path: Path) -> None:
    rows = [row(trial) for trial in range(6)]
    with Results(path) as results:
        results.add_task(TASK)
        assert results.add_rows(rows[:4]) == (4, 0)
        assert results.add_rows(rows) == (2, 4)
        assert results.add_rows([row(8), row(8)]) == (1, 1)
        assert results.add_rows([]) == (0, 0)
        assert results.rows(TASK.digest) == [*rows, row(8)]


def test_the_same_trial_with_another_result_breaks_determinism(path: Path) -> None:
    with Results(path) as results:
        results.add_task(TASK)
        results.add_rows([row(0), row(5)])
        changed = row(5, masked=3, sdc=3)
        with pytest.raises(StoreError, match="determinism is broken") as caught:
            results.add_rows([row(6), changed])
        assert f"trial 5 of task {TASK.digest} (ecc at 1e-3)" in str(caught.value)
        assert "masked was 4, is now 3; sdc was 2, is now 3." in str(caught.value)
        assert results.rows(TASK.digest) == [row(0), row(5)]  # and not row 6 of the same batch
        results.add_rows([row(6)])  # no transaction is left open


def test_a_row_of_an_unknown_task_is_refused(path: Path) -> None:
    with Results(path) as results, pytest.raises(ValueError, match="never added; add_task first"):
        results.add_rows([row(0)])


def test_a_row_of_a_wrong_type_is_not_stored_as_something_else(path: Path) -> None:
    with Results(path) as results:
        results.add_task(TASK)
        with pytest.raises(sqlite3.IntegrityError, match="cannot store BLOB value in TEXT column"):
            results.add_rows([row(0, faults_digest=b"\x00")])
        assert results.rows(TASK.digest) == []


# Notes and candidates


def test_notes_come_back_by_prefix(path: Path) -> None:
    with Results(path) as results:
        results.put_note("golden/9f", {"accuracy": 0.9731, "samples": 512})
        results.put_note("golden/0a", None)
        results.put_note("cost/9f", [1, "é"])
    with Results(path, readonly=True) as results:
        golden = {"golden/0a": None, "golden/9f": {"accuracy": 0.9731, "samples": 512}}
        assert results.notes("golden/") == golden
        assert results.notes() == {"cost/9f": [1, "é"], **golden}
        assert results.notes("GOLDEN") == {}


def test_another_note_under_the_same_key_is_refused_unless_it_replaces(path: Path) -> None:
    with Results(path) as results:
        results.put_note("golden", 0.5)
        results.put_note("golden", 0.5)
        with pytest.raises(StoreError, match=r"note 'golden' was 0.5, is now 0.6"):
            results.put_note("golden", 0.6)
        assert results.notes() == {"golden": 0.5}
        results.put_note("golden", 0.6, replace=True)
        assert results.notes() == {"golden": 0.6}


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}, np.arange(3)])
def test_a_note_that_json_cannot_say_is_refused(value: object, path: Path) -> None:
    with Results(path) as results, pytest.raises(StoreError, match=r"'golden': .*null for what"):
        results.put_note("golden", value)


def candidate(number: int = 0, **changes: Any) -> CandidateRow:
    return replace(CandidateRow(search="5e", number=number, parameters='{"rows":8}'), **changes)


def test_a_candidate_is_asked_then_told(path: Path) -> None:
    told = candidate(objectives='{"energy_pj":3.5}', attrs='{"generation":1}', state="told")
    with Results(path) as results:
        results.put_candidate(candidate(1))
        results.put_candidate(candidate(0))
        results.put_candidate(told)
        results.put_candidate(told)
        assert results.candidates("5e") == [told, candidate(1)]
        assert results.candidates("0f") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": '{"rows":16}', "state": "told", "objectives": '{"energy_pj":3.5}'},
        {"state": "told", "objectives": '{"energy_pj":4.5}'},
        {"state": "failed"},
        {"state": "asked"},
    ],
)
def test_a_told_candidate_does_not_change(changes: dict[str, Any], path: Path) -> None:
    with Results(path) as results:
        results.put_candidate(candidate(state="told", objectives='{"energy_pj":3.5}'))
        with pytest.raises(StoreError, match=r"candidate 0 of search 5e is stored as .*3\.5"):
            results.put_candidate(candidate(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "running"}, "expected one of asked, told, failed"),
        ({"state": "told"}, "exactly the told ones have some"),
        ({"objectives": '{"a":1}'}, "'asked' with objectives"),
        ({"attrs": "7"}, "attrs: expected the text of canonical_json"),
    ],
)
def test_a_candidate_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        candidate(**changes)


# Tables


def test_the_frame_has_a_row_for_every_trial(filled: Path) -> None:
    with Results(filled, readonly=True) as results:
        frame = results.frame()
    assert len(frame) == 400
    assert list(frame.columns[:6]) == ["task", "name", "scenario", "rate", "trial", "weight"]
    assert frame.groupby("name")["sdc"].sum().to_dict() == {TASK.name: 400, OTHER.name: 400}
    assert frame["samples"].dtype == np.int64


def test_without_pandas_the_frame_says_what_to_install(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with Results(filled, readonly=True) as results:
        with pytest.raises(UnsupportedError, match=r"pip install 'codesign\[frame\]'"):
            results.frame()
        assert results.export_csv(filled.parent / "tables")


def test_the_csv_files_hold_what_the_store_holds(filled: Path, tmp_path: Path) -> None:
    with Results(filled) as results:
        results.put_candidate(candidate())
        paths = results.export_csv(tmp_path / "new" / "tables")
    assert [path.name for path in paths] == [
        "trials.csv", "tasks.csv", "notes.csv", "candidates.csv"
    ]  # fmt: skip
    tables = {path.stem: list(csv.DictReader(path.open(newline=""))) for path in paths}
    assert [len(table) for table in tables.values()] == [400, 2, 1, 1]
    first = tables["trials"][0]
    assert first["name"] == "ecc at 1e-3"
    assert (first["scenario"], first["rate"]) == ("upsets", "")
    assert (first["trial"], first["weight"], first["sdc"]) == ("0", "1.0", "2")
    assert tables["tasks"][0]["description"] == TASK.description
    assert tables["notes"] == [{"key": "golden/9f", "value": '{"accuracy":0.5}'}]
    assert tables["candidates"][0]["parameters"] == '{"rows":8}'


def test_tables_that_cannot_be_written_say_so(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with (
        Results(filled, readonly=True) as results,
        pytest.raises(StoreError, match="cannot write the tables: File exists"),
    ):
        results.export_csv(tmp_path / "taken")
