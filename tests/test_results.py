"""The results file: what is stored comes back, and whatever is wrong with it says what to do."""

from __future__ import annotations

import csv
import errno
import fcntl
import functools
import hashlib
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.errors import StoreError, UnsupportedError
from codesign.study.results import (
    OUTCOMES,
    CandidateRow,
    Results,
    Task,
    TrialRow,
    canonical_json,
)

ROOT = Path(__file__).parents[1]
TASK = Task.of("ecc at 1e-3", {"design": "9f", "rate": 0.001, "seed": 1}, {"scenario": "upsets"})
OTHER = Task.of("plain at 1e-3", {"design": "0a", "rate": 0.001, "seed": 1}, {"rate": 0.001})


def row(trial: int, task: Task = TASK, **changes: Any) -> TrialRow:
    columns: dict[str, Any] = {
        "samples": 10, "correct": 7, "masked": 4, "tolerated": 1, "sdc": 2, "corrected": 1,
        "detected": 1, "hang": 1, "drawn": 9, "could_act": 5, "acted": 3, "collapsed": 2,
        "proven": 4, "faults_digest": f"{trial:08x}",
    }  # fmt: skip
    return TrialRow(task=task.digest, trial=trial, **{**columns, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study" / "results.sqlite"


@pytest.fixture
def filled(path: Path) -> Path:
    with Results(path) as results:
        results.add_task(TASK)
        results.add_task(OTHER)
        for task in (TASK, OTHER):
            results.add_rows([row(trial, task, extra=f'{{"a":{trial}}}') for trial in range(200)])
        results.put_note("golden/9f", {"accuracy": 0.5})
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


# Files that are not as they should be


def refused(path: Path, message: str, **how: Any) -> None:
    """Both a reader and a writer refuse the file, and leave no lock."""
    for readonly in (True, False):
        with pytest.raises(StoreError, match=f"{path.name}.*: {message}"):
            Results(path, readonly=readonly, **how)


def test_a_reader_of_nothing_is_told_what_makes_results(path: Path) -> None:
    with pytest.raises(StoreError, match="there are no results yet; `codesign run` makes them"):
        Results(path, readonly=True)
    assert not path.parent.exists()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "it is a folder; give the results.sqlite in it")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.sqlite").touch()
    refused(tmp_path / "r.sqlite", "the file has 0 bytes: a copy that failed, perhaps; restore it")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.sqlite").write_text("trial,sdc\n0,3\n" * 200)
    refused(tmp_path / "r.sqlite", "it is not a results file; give the study another folder")


def test_a_database_of_another_program_is_refused_and_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photographs (name TEXT)")
    connection.close()
    before = path.read_bytes()
    refused(path, "it is an SQLite file of another program")
    assert path.read_bytes() == before


def change(path: Path, sql: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(sql)
    connection.close()


def test_a_newer_layout_asks_for_a_newer_codesign(filled: Path) -> None:
    change(filled, "UPDATE meta SET schema_version = 7, created_by = 'codesign 9.1'")
    refused(filled, r"it was written by codesign 9.1 in layout 7.*knows layouts up to 1: upgrade")


def test_a_layout_that_never_was_is_refused(filled: Path) -> None:
    change(filled, "UPDATE meta SET schema_version = 0")
    refused(filled, "layout 0 was never one of ours")


def test_a_truncated_file_is_refused_at_every_length(filled: Path) -> None:
    whole = filled.read_bytes()
    for length in range(1, len(whole), len(whole) // 40):
        filled.write_bytes(whole[:length])
        refused(filled, "(it is damaged or truncated; keep a copy|the file has)")


def test_a_flipped_bit_is_an_error_that_says_what_to_do_or_no_error(filled: Path) -> None:
    whole, rng = filled.read_bytes(), random.Random(1)
    refusals = 0
    for _ in range(120):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        filled.write_bytes(damaged)
        for leftover in ("-wal", "-shm"):
            filled.with_name(filled.name + leftover).unlink(missing_ok=True)
        try:
            with Results(filled, readonly=True) as results:
                assert all(len(results.rows(task.digest)) <= 200 for task in results.tasks())
                results.notes()
        except StoreError:
            refusals += 1
    assert refusals > 10


def test_a_changed_description_is_noticed(filled: Path) -> None:
    change(filled, """UPDATE tasks SET description = '{"design":"ff"}' WHERE rowid = 1""")
    with (
        Results(filled, readonly=True) as results,
        pytest.raises(StoreError, match=rf"the description of task {TASK.digest} \(ecc at 1e-3\)"),
    ):
        results.tasks()


def test_a_changed_row_is_noticed(filled: Path) -> None:
    change(filled, "UPDATE trials SET acted = 99 WHERE trial = 7")
    with (
        Results(filled, readonly=True) as results,
        pytest.raises(StoreError, match=r"not one that was written: .*trial 7: expected acted <="),
    ):
        results.rows(TASK.digest)


def test_the_file_itself_holds_the_outcomes_to_their_sum(filled: Path) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
        change(filled, "UPDATE trials SET masked = 5")


def test_a_log_without_its_file_is_not_thrown_away(filled: Path) -> None:
    log = filled.with_name("results.sqlite-wal")
    log.write_bytes(b"the last trials")
    filled.rename(filled.with_name("moved.sqlite"))
    with pytest.raises(StoreError, match=r"its log results.sqlite-wal is there.*put the file back"):
        Results(filled)
    log.unlink()
    Results(filled).close()


def test_an_unfinished_creation_is_no_obstacle(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("results.sqlite.new").write_bytes(b"half a file")
    path.with_name("results.sqlite.new-journal").write_bytes(b"half a journal")
    with Results(path) as results:
        results.add_task(TASK)
    assert sorted(os.listdir(path.parent)) == ["results.sqlite", "results.sqlite.lock"]


def test_an_sqlite_without_strict_tables_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StoreError, match=r"too old for .*: expected 3.37 or newer"):
        Results(path)


# Several programs, one file


def test_a_second_writer_in_this_process_is_refused_with_its_pid(filled: Path) -> None:
    with Results(filled) as first:
        with pytest.raises(StoreError, match=f"process {os.getpid()} is writing this study"):
            Results(filled)
        first.add_rows([row(300)])
    Results(filled).close()


def test_the_pid_of_an_earlier_writer_is_forgotten(filled: Path) -> None:
    filled.with_name("results.sqlite.lock").write_text("1234567890")
    with Results(filled), pytest.raises(StoreError, match=f"process {os.getpid()} is writing"):
        Results(filled)


def test_a_second_writer_is_refused_with_the_pid_of_the_first(filled: Path) -> None:
    with in_a_process(filled, "results = Results(path); say(os.getpid()); wait()") as first:
        assert first.stdout is not None
        pid = int(first.stdout.readline())
        with pytest.raises(StoreError, match=f"process {pid} is writing this study; wait for it"):
            Results(filled)
        with Results(filled, readonly=True) as reader:
            assert len(reader.rows(TASK.digest)) == 200
    Results(filled).close()  # the lock went with its process


def test_a_reader_sees_what_a_writer_has_committed(filled: Path) -> None:
    with Results(filled) as writer, Results(filled, readonly=True) as reader:
        assert len(reader.missing(TASK.digest, 202)) == 2
        writer.add_rows([row(200), row(201)])
        assert reader.missing(TASK.digest, 202) == []


def test_a_closed_file_stands_alone_and_can_be_copied(filled: Path, tmp_path: Path) -> None:
    assert sorted(os.listdir(filled.parent)) == ["results.sqlite", "results.sqlite.lock"]
    shutil.copy(filled, tmp_path / "copy.sqlite")
    with Results(tmp_path / "copy.sqlite", readonly=True) as results:
        assert results.missing(TASK.digest, 200) == []


def test_closing_twice_is_no_harm(path: Path) -> None:
    with Results(path) as results:
        results.close()
    Results(path).close()


def test_a_writer_stopped_half_way_is_undone_by_the_next_one(filled: Path) -> None:
    """A closed file has no log, so another program that is killed in it leaves a journal."""
    half_way = """
import sqlite3
shell = sqlite3.connect(path, isolation_level=None)
shell.execute("PRAGMA cache_size = 1")  # so that changes reach the file before their commit
shell.execute("BEGIN")
shell.execute("UPDATE trials SET faults_digest = 'half'")
os.kill(os.getpid(), 9)
"""
    with in_a_process(filled, half_way) as process:
        process.communicate(timeout=20)
    with pytest.raises(StoreError, match=r"stopped half-way; open it once for writing, with"):
        Results(filled, readonly=True)
    Results(filled).close()
    with Results(filled, readonly=True) as results:
        assert {found.faults_digest for found in results.rows(TASK.digest)} == {
            f"{trial:08x}" for trial in range(200)
        }


def test_a_reader_does_not_write(filled: Path) -> None:
    with Results(filled, readonly=True) as results:
        with pytest.raises(StoreError, match="opened for reading only"):
            results.add_rows([row(300)])
        with pytest.raises(StoreError, match="opened for reading only"):
            results.put_note("a", 1)


def test_a_file_that_another_program_locks_is_named(filled: Path) -> None:
    shell = sqlite3.connect(filled, isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"another program holds it .a shell, a backup.*BUSY"):
        Results(filled, timeout_seconds=0.05)
    shell.execute("ROLLBACK")
    shell.close()
    Results(filled).close()


def test_a_file_system_without_locks_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StoreError, match=r"cannot lock .No locks available.; keep .* local disk"):
        Results(path)


class WithoutLog(sqlite3.Connection):
    """A connection on a file system that has no shared memory: it stays with its journal."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("journal_mode = WAL", "journal_mode = DELETE"), *values)


def test_a_file_system_without_shared_memory_is_named(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = functools.partial(sqlite3.connect, factory=WithoutLog)
    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(StoreError, match=r"cannot hold a write-ahead log; keep .* local disk"):
        Results(filled)


# Disks that do not take it


@pytest.fixture
def limited_files() -> Iterator[None]:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


def fill(results: Results) -> int:
    """Store batches until the disk refuses one; how many rows were stored."""
    stored = 0

    def add_all() -> None:
        nonlocal stored
        while stored < 100_000:
            results.add_rows([row(trial) for trial in range(stored, stored + 20)])
            stored += 20

    with pytest.raises(StoreError, match=r"all that was stored is kept.*SQLITE_(IOERR|FULL)"):
        add_all()
    return stored


@pytest.mark.usefixtures("limited_files")
def test_a_limit_on_file_size_loses_nothing_that_was_stored(path: Path) -> None:
    with Results(path) as results:
        results.add_task(TASK)
        stored = fill(results)
        assert stored > 100
        assert results.missing(TASK.digest, stored) == []
    with Results(path) as results:
        assert results.rows(TASK.digest) == [row(trial) for trial in range(stored)]


FULL_DISK = """
from test_results import TASK, Results, fill
results = Results(path)
results.add_task(TASK)
stored = fill(results)
results.close()
with Results(path) as results:
    assert stored > 100, stored
    assert results.missing(TASK.digest, stored) == [], "lost"
    assert len(results.rows(TASK.digest)) == stored
say("kept")
"""


def test_a_full_disk_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    disk = f"mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec "
    shell = ["unshare", "--mount", "--map-root-user", "sh", "-c", disk + '"$@"', "sh"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*shell, "true"], capture_output=True).returncode
    ):
        pytest.skip("needs a small disk of its own: unshare with mount namespaces")
    with in_a_process(tmp_path / "results.sqlite", FULL_DISK, shell) as process:
        printed, _ = process.communicate(timeout=60)
    assert printed == "kept\n"


@pytest.fixture
def readonly_folder() -> Iterator[Path]:
    """A folder with results that an ordinary user may read and not write."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    with Results(folder / "results.sqlite") as results:
        results.add_task(TASK)
        results.add_rows([row(trial) for trial in range(50)])
    (folder / "results.sqlite").chmod(0o444)
    (folder / "results.sqlite.lock").chmod(0o666)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


AS_NOBODY = """
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
"""
WRITE = """
from codesign.errors import StoreError
try:
    Results(path)
except StoreError as error:
    say(error)
"""


def test_a_readonly_file_is_named(readonly_folder: Path) -> None:
    path = readonly_folder / "results.sqlite"
    with in_a_process(path, AS_NOBODY + WRITE) as process:
        printed, _ = process.communicate(timeout=20)
    assert "results.sqlite: it is read-only; make it and its folder writable" in printed


def test_a_folder_that_may_not_be_written_is_named(readonly_folder: Path) -> None:
    with in_a_process(readonly_folder / "new.sqlite", AS_NOBODY + WRITE) as process:
        printed, _ = process.communicate(timeout=20)
    assert f"cannot write in {readonly_folder}: Permission denied; choose a folder" in printed


def test_a_readonly_folder_can_be_read(readonly_folder: Path) -> None:
    read = f"say(len(Results(path, readonly=True).rows('{TASK.digest}')))"
    with in_a_process(readonly_folder / "results.sqlite", AS_NOBODY + read) as process:
        printed, _ = process.communicate(timeout=20)
    assert printed == "50\n"


def test_what_a_killed_writer_left_can_be_read_in_a_readonly_folder(readonly_folder: Path) -> None:
    path = readonly_folder / "results.sqlite"
    readonly_folder.chmod(0o755)
    path.chmod(0o644)
    write = """
from test_results import row
results = Results(path)
results.add_rows([row(trial) for trial in range(50, 60)])
os.kill(os.getpid(), 9)
"""
    with in_a_process(path, write) as process:
        process.communicate(timeout=20)
    assert path.with_name("results.sqlite-wal").stat().st_size > 0
    readonly_folder.chmod(0o555)
    read = f"say(len(Results(path, readonly=True).rows('{TASK.digest}')))"
    with in_a_process(path, AS_NOBODY + read) as process:
        printed, _ = process.communicate(timeout=20)
    assert printed == "60\n"


def test_a_file_that_may_not_be_read_is_named(readonly_folder: Path) -> None:
    path = readonly_folder / "results.sqlite"
    path.chmod(0)
    read = WRITE.replace("(path)", "(path, readonly=True)")
    with in_a_process(path, AS_NOBODY + read) as process:
        printed, _ = process.communicate(timeout=20)
    assert "it cannot be opened; look at the permissions" in printed


class in_a_process:  # noqa: N801
    """Another Python that runs ``code`` on the file; ended with the block."""

    def __init__(self, path: Path, code: str, shell: list[str] | None = None) -> None:
        start = (
            "import os, sys\nfrom pathlib import Path\nfrom codesign.study.results import Results\n"
            f"path = Path({str(path)!r})\nsay = lambda what: print(what, flush=True)\n"
            "wait = sys.stdin.read\n"
        )
        folders = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self.process = subprocess.Popen(
            [*(shell or []), sys.executable, "-c", start + code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": folders},
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
