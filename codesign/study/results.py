"""The results of one study: one SQLite file, written by one process, readable by all.

Every commit survives the death of the process, `kill -9` included. A power cut can cost the last
commits, never the file: `synchronous=NORMAL` trades that for two hundred times the speed, and a
lost trial is computed again. The file needs a local disk: its write-ahead log does not work over
NFS. Copy it with `sqlite3 results.sqlite "VACUUM INTO 'copy.sqlite'"`, not with `cp`, while
`results.sqlite-wal` stands beside it.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from codesign.errors import StoreError, UnsupportedError
from codesign.study.rows import OUTCOMES, CandidateRow, Task, TrialRow, canonical_json
from codesign.study.sqlitefile import ResultsFile

if TYPE_CHECKING:
    import pandas

__all__ = ["OUTCOMES", "Added", "CandidateRow", "Results", "Task", "TrialRow", "canonical_json"]

TRIAL_COLUMNS = tuple(field.name for field in fields(TrialRow))
CANDIDATE_COLUMNS = tuple(field.name for field in fields(CandidateRow))
# Ten times as fast as dataclasses.astuple, which copies what cannot change.
trial_values = attrgetter(*TRIAL_COLUMNS)
candidate_values = attrgetter(*CANDIDATE_COLUMNS)
LARGEST = 2**63 - 1  # of an SQLite integer


class Added(NamedTuple):
    """How many rows were new, and how many the file held already, equal in every column."""

    new: int
    duplicates: int


class Results:
    """An open results file; a context manager.

    A writer holds the file's lock until it closes: a second one is refused. Readers need no lock
    and may read while a writer writes. What a method wrote is on its way to the disk for good when
    it returns, all of it or nothing.

    Args:
        path: The file, ``results.sqlite``. A writer creates it, and its folder, where it is absent.
        readonly: Open for reading only.
        timeout_seconds: How long to wait for another program that holds the file.

    Raises:
        StoreError: The file is foreign, newer, empty, damaged, read-only or locked, or its disk is
            full. Every method raises it too.
    """

    def __init__(
        self, path: Path | str, *, readonly: bool = False, timeout_seconds: float = 30.0
    ) -> None:
        self.path = Path(path)
        self._file = ResultsFile(self.path, readonly, timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Fold the log into the file, close it, and let the next writer in."""
        self._file.close()

    # Tasks

    def add_task(self, task: Task) -> str:
        """Make the task known, or bring its name and labels up to date; its digest."""
        with self._file.transaction() as run:
            run(
                "INSERT INTO tasks VALUES (?, ?, ?, ?) ON CONFLICT (task) "
                "DO UPDATE SET name = excluded.name, labels = excluded.labels",
                (task.digest, task.name, task.description, task.labels),
            )
        return task.digest

    def tasks(self) -> list[Task]:
        """Every task, in the order they came."""
        found = []
        for digest, *columns in self._query(
            "SELECT task, name, description, labels FROM tasks ORDER BY rowid"
        ):
            task = self._row(Task, ("name", "description", "labels"), columns)
            if task.digest != digest:
                raise StoreError(
                    f"{self.path}: the description of task {digest} ({task.name}) was changed: it "
                    f"is now that of {task.digest}; restore the file or start a new one"
                )
            found.append(task)
        return found

    # Trials

    def add_rows(self, rows: Sequence[TrialRow]) -> Added:
        """Store rows, all or none; the same row again is counted, not stored twice.

        Raises:
            StoreError: A trial came out twice with different results.
            ValueError: The task of a row was never added.
        """
        values = [trial_values(row) for row in rows]
        marks = ", ".join("?" * len(TRIAL_COLUMNS))
        with self._file.transaction() as run:
            before = self._file.connection.total_changes
            try:
                self._file.connection.executemany(
                    f"INSERT INTO trials VALUES ({marks}) ON CONFLICT (task, trial) DO NOTHING",
                    values,
                )
            except sqlite3.IntegrityError as error:
                if error.sqlite_errorname != "SQLITE_CONSTRAINT_FOREIGNKEY":
                    raise
                raise ValueError("rows of a task that was never added; add_task first") from error
            new = self._file.connection.total_changes - before
            if new < len(rows):
                for row in rows:
                    self._require_equal(row, run)
        return Added(new, len(rows) - new)

    def _require_equal(self, row: TrialRow, run: Any) -> None:
        stored = run(
            "SELECT * FROM trials WHERE task = ? AND trial = ?", (row.task, row.trial)
        ).fetchone()
        differences = [
            f"{name} was {old!r}, is now {new!r}"
            for name, old, new in zip(TRIAL_COLUMNS, stored, trial_values(row), strict=True)
            if old != new
        ]
        if differences:
            (name,) = run("SELECT name FROM tasks WHERE task = ?", (row.task,)).fetchone()
            raise StoreError(
                f"{self.path}: determinism is broken: trial {row.trial} of task {row.task} "
                f"({name}) came out twice, differently: {'; '.join(differences)}. The code, the "
                "network or a library changed without changing the task, or a result depends on "
                "something that is not in it (threads, time, order). Find which, or start a new "
                "results file: these rows and new ones do not belong together"
            )

    def rows(self, task: str, first: int | None = None) -> list[TrialRow]:
        """The stored trials of a task in index order; only those below index ``first`` if given."""
        found = self._query(
            "SELECT * FROM trials WHERE task = ? AND trial < ? ORDER BY trial",
            (task, LARGEST if first is None else first),
        )
        return [self._row(TrialRow, TRIAL_COLUMNS, values) for values in found]

    def missing(self, task: str, trials: int) -> list[int]:
        """Which of the trials 0 … ``trials`` - 1 of a task are not stored, in order."""
        found = self._query("SELECT trial FROM trials WHERE task = ? AND trial < ?", (task, trials))
        stored = {trial for (trial,) in found}
        return [trial for trial in range(trials) if trial not in stored]

    # Notes

    def put_note(self, key: str, value: object, *, replace: bool = False) -> None:
        """Keep a small result as JSON: a golden accuracy, the cost of a design.

        Raises:
            StoreError: The value is not JSON, or another one is kept under this key and
                ``replace`` is false.
        """
        try:
            text = canonical_json(value)
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"{self.path}: note {key!r}: {error}; write numbers that are finite, text, lists "
                "and dictionaries, and null for what is unknown"
            ) from error
        with self._file.transaction() as run:
            kept = run("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
            if kept and kept != (text,) and not replace:
                raise StoreError(
                    f"{self.path}: note {key!r} was {_short(kept[0])}, is now {_short(text)}: what "
                    "it describes changed without changing its key; start a new results file"
                )
            run("INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, text))

    def notes(self, prefix: str = "") -> dict[str, Any]:
        """Every note whose key starts so, by key."""
        found = self._query(
            "SELECT key, value FROM notes WHERE substr(key, 1, ?) = ? ORDER BY key",
            (len(prefix), prefix),
        )
        return {key: json.loads(text) for key, text in found}

    # Candidates

    def put_candidate(self, candidate: CandidateRow) -> None:
        """Store a candidate when it is asked, and again when it is told or failed.

        Raises:
            StoreError: Its number is another point already, or came to another end.
        """
        with self._file.transaction() as run:
            columns = run(
                "SELECT * FROM candidates WHERE search = ? AND number = ?",
                (candidate.search, candidate.number),
            ).fetchone()
            if columns:
                stored = self._row(CandidateRow, CANDIDATE_COLUMNS, columns)
                other_point = stored.parameters != candidate.parameters
                other_end = stored.state != "asked" and stored != candidate
                if other_point or other_end:
                    raise StoreError(
                        f"{self.path}: determinism is broken: candidate {candidate.number} of "
                        f"search {candidate.search} is stored as {_short(str(stored))}, came as "
                        f"{_short(str(candidate))}; continue a search from what is stored, or "
                        "start a new results file"
                    )
            marks = ", ".join("?" * len(CANDIDATE_COLUMNS))
            run(f"INSERT OR REPLACE INTO candidates VALUES ({marks})", candidate_values(candidate))

    def candidates(self, search: str) -> list[CandidateRow]:
        """The candidates of a search in the order they were asked."""
        found = self._query("SELECT * FROM candidates WHERE search = ? ORDER BY number", (search,))
        return [self._row(CandidateRow, CANDIDATE_COLUMNS, values) for values in found]

    # Tables

    def frame(self) -> pandas.DataFrame:
        """Every trial as a row of a table: task, name, labels, and the columns of `TrialRow`.

        Raises:
            UnsupportedError: pandas is not installed.
        """
        try:
            import pandas  # an extra: nothing else needs it
        except ImportError as error:
            raise UnsupportedError(
                "frame() needs pandas: pip install 'codesign[frame]'; export_csv() needs nothing"
            ) from error
        header, rows = self._table()
        return pandas.DataFrame.from_records(list(rows), columns=header)

    def export_csv(self, folder: Path | str) -> list[Path]:
        """Write trials.csv, tasks.csv, notes.csv and candidates.csv; their paths.

        Files of these names are overwritten.
        """
        tables: dict[str, tuple[list[str], Iterable[Sequence[Any]]]] = {"trials": self._table()}
        for name, header in (
            ("tasks", ["task", "name", "description", "labels"]),
            ("notes", ["key", "value"]),
            ("candidates", list(CANDIDATE_COLUMNS)),
        ):
            tables[name] = header, self._query(f"SELECT * FROM {name} ORDER BY rowid")
        paths = []
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for name, (header, rows) in tables.items():
                paths.append(Path(folder) / f"{name}.csv")
                with paths[-1].open("w", newline="", encoding="utf-8") as stream:
                    csv.writer(stream).writerows([header, *rows])
        except OSError as error:
            raise StoreError(f"{folder}: cannot write the tables: {error.strerror}") from error
        return paths

    def _table(self) -> tuple[list[str], Iterator[Sequence[Any]]]:
        labels = {task.digest: json.loads(task.labels) for task in self.tasks()}
        names = {task.digest: task.name for task in self.tasks()}
        columns = list(dict.fromkeys(key for found in labels.values() for key in found))
        trials = self._query(
            "SELECT trials.* FROM trials JOIN tasks USING (task) ORDER BY tasks.rowid, trial"
        )
        rows = (
            (task, names[task], *(labels[task].get(key) for key in columns), *values)
            for task, *values in trials
        )
        return ["task", "name", *columns, *TRIAL_COLUMNS[1:]], rows

    # SQL

    def _query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._file.explained():
            return self._file.connection.execute(sql, values).fetchall()

    def _row(self, kind: Any, names: Sequence[str], values: Sequence[Any]) -> Any:
        try:
            return kind(**dict(zip(names, values, strict=True)))
        except ValueError as error:
            raise StoreError(
                f"{self.path}: a stored row is not one that was written: {error}; restore the file "
                "or start a new one"
            ) from error


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"
