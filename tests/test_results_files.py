"""Results files that are broken, or shared by several programs: whatever is wrong is named."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sample_results import TASK, in_a_process, row, write_two_tasks

from codesign.errors import StoreError
from codesign.study.results import Results


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study" / "results.sqlite"


@pytest.fixture
def filled(path: Path) -> Path:
    write_two_tasks(path)
    return path


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
