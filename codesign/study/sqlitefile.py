"""A results file as SQLite sees it: opened, checked, locked, and its failures explained."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from codesign import __version__
from codesign.errors import StoreError

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "ResultsFile"]

APPLICATION_ID = 0x436F4465  # "CoDe": how we know that an SQLite file is ours
SCHEMA_VERSION = 1
SMALLEST_PAGE = 512  # bytes; SQLite takes a file of less for a new, empty one
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables: https://sqlite.org/stricttables.html

# Task and trial make the row: a trial stands in the file once, whoever writes it.
SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
BEGIN;
CREATE TABLE meta (
    schema_version INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    sqlite_version TEXT NOT NULL
) STRICT;
CREATE TABLE tasks (
    task TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    labels TEXT NOT NULL
) STRICT;
CREATE TABLE trials (
    task TEXT NOT NULL REFERENCES tasks (task),
    trial INTEGER NOT NULL,
    weight REAL NOT NULL,
    samples INTEGER NOT NULL,
    correct INTEGER NOT NULL,
    masked INTEGER NOT NULL,
    tolerated INTEGER NOT NULL,
    sdc INTEGER NOT NULL,
    corrected INTEGER NOT NULL,
    detected INTEGER NOT NULL,
    hang INTEGER NOT NULL,
    drawn INTEGER NOT NULL,
    could_act INTEGER NOT NULL,
    acted INTEGER NOT NULL,
    collapsed INTEGER NOT NULL,
    proven INTEGER NOT NULL,
    faults_digest TEXT NOT NULL,
    extra TEXT NOT NULL,
    PRIMARY KEY (task, trial),
    CHECK (masked + tolerated + sdc + corrected + detected + hang = samples)
) STRICT, WITHOUT ROWID;
CREATE TABLE notes (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE candidates (
    search TEXT NOT NULL,
    number INTEGER NOT NULL,
    parameters TEXT NOT NULL,
    objectives TEXT NOT NULL,
    attrs TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (search, number)
) STRICT;
INSERT INTO meta VALUES ({SCHEMA_VERSION}, 'codesign {__version__}', sqlite_version());
COMMIT;
"""

# What to do, by the start of SQLite's name for the failure: https://sqlite.org/rescode.html
ADVICE = {
    "SQLITE_BUSY": "another program holds it (a shell, a backup); close that and run again",
    "SQLITE_CANTOPEN": "it cannot be opened; look at the permissions of the file and its folder",
    "SQLITE_CORRUPT": "it is damaged or truncated; keep a copy, save what is readable with "
    "`sqlite3 FILE .recover`, move it away and run again: lost trials are computed anew",
    "SQLITE_FULL": "the disk is full; all that was stored is kept, free some space and run again",
    "SQLITE_IOERR": "the disk did not read or write (a quota, a limit on file size, a failing "
    "disk); all that was stored is kept, mend that and run again",
    "SQLITE_NOTADB": "it is not a results file; give the study another folder, or move it away",
    "SQLITE_READONLY_ROLLBACK": "its writer was stopped half-way; open it once for writing, with "
    "`codesign run`, and it is whole again",
    "SQLITE_READONLY": "it is read-only; make it and its folder writable, or copy it elsewhere",
}


class ResultsFile:
    """The connection to one results file, checked when opened.

    Attributes:
        path: The file.
        connection: In autocommit mode; write only inside `transaction`.
    """

    def __init__(self, path: Path, readonly: bool, timeout_seconds: float) -> None:
        self.path = path
        self.readonly = readonly
        self._lock: int | None = None
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreError(
                f"SQLite {sqlite3.sqlite_version} is too old for {path}: expected 3.37 or newer; "
                "install a newer Python"
            )
        if not readonly:
            self._lock = _take_lock(path)
        try:
            if not readonly and not path.exists():
                _create(path)
            self.connection = self._open(timeout_seconds)
        except BaseException:
            self._release()
            raise

    def _open(self, timeout_seconds: float) -> sqlite3.Connection:
        _require_content(self.path)
        mode = "ro" if self.readonly else "rw"  # never rwc: it makes an empty file of a typing slip
        uri = f"file:{quote(str(self.path.absolute()))}?mode={mode}"
        with self.explained():
            connection = sqlite3.connect(
                uri, uri=True, timeout=timeout_seconds, isolation_level=None
            )
            try:
                _require_ours(self.path, connection)
                if not self.readonly:
                    _prepare_writing(self.path, connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def close(self) -> None:
        """Fold the log into the file, close it, give the lock back; twice is no harm."""
        if not self.readonly:
            # Without its log the file can be read in a folder that one may not write, and copied.
            # It stays with its log when a reader has it open, and this fails when it is closed.
            with suppress(sqlite3.Error):
                self.connection.execute("PRAGMA busy_timeout = 0")
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self.connection.execute("PRAGMA journal_mode = DELETE")
        self.connection.close()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """All that the body executes, committed when it ends and undone when it raises."""
        if self.readonly:
            raise StoreError(f"{self.path}: it was opened for reading only; open it for writing")
        with self.explained():
            try:
                # A deferred BEGIN fails at its first write, whatever the timeout.
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection.execute
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say what to do about a failure of the file; a mistake of ours passes as it is."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            name = getattr(error, "sqlite_errorname", "")
            if "decode" in str(error):  # text that is not UTF-8: Python finds it, SQLite does not
                name = "SQLITE_CORRUPT"
            for start, advice in ADVICE.items():
                if name.startswith(start):
                    raise StoreError(f"{self.path}: {advice} ({name}: {error})") from error
            raise


def _take_lock(path: Path) -> int:
    """Lock the side file: a lock dies with its process, so a kill leaves none behind."""
    side = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(side, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot write in {path.parent}: {error.strerror}; choose a folder that you "
            "may write, or open the results for reading only"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode() or "unknown"
        os.close(lock)
        raise StoreError(
            f"{path}: process {holder} is writing this study; wait for it or stop it, and run "
            "again: what it stored is kept"
        ) from error
    except OSError as error:
        os.close(lock)
        raise StoreError(
            f"{side}: this file system cannot lock ({error.strerror}); keep the results on a "
            "local disk"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _create(path: Path) -> None:
    """Make an empty results file under another name and rename it: a kill leaves it or nothing."""
    log = path.with_name(path.name + "-wal")
    if log.exists():
        raise StoreError(
            f"{path}: it is gone, but its log {log.name} is there, with the last results in it; "
            "put the file back beside it, or delete the log to start anew"
        )
    fresh = path.with_name(path.name + ".new")
    try:
        for leftover in (fresh, fresh.with_name(fresh.name + "-journal")):
            leftover.unlink(missing_ok=True)
        with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(SCHEMA)
        os.replace(fresh, path)
        _sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"{path}: it cannot be created ({error}); is the disk full? Free some space, or "
            "choose another folder"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_content(path: Path) -> None:
    """Refuse what SQLite would open without a word: nothing, a folder, an empty file."""
    if path.is_dir():
        raise StoreError(f"{path}: it is a folder; give the results.sqlite in it")
    if not path.exists():
        raise StoreError(f"{path}: there are no results yet; `codesign run` makes them")
    if (size := path.stat().st_size) < SMALLEST_PAGE:
        raise StoreError(
            f"{path}: the file has {size} bytes: a copy that failed, perhaps; restore it, or "
            "delete it and run again"
        )


def _require_ours(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA trusted_schema = OFF")
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise StoreError(
            f"{path}: it is an SQLite file of another program; give the study another folder"
        )
    layout = _layout(connection)
    # Costs 0.8 s for a million trials, and finds what a copy or a disk did to them.
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict == "ok" and "meta" in layout:
        _require_known(path, connection)
    if verdict == "ok" and not _our_layout().items() <= layout.items():
        verdict = "its tables are not laid out as they were made"
    if verdict != "ok":
        raise StoreError(f"{path}: {ADVICE['SQLITE_CORRUPT']} ({verdict})")


def _layout(connection: sqlite3.Connection) -> dict[str, str]:
    """What made each table, by its name."""
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'"))


def _our_layout() -> dict[str, str]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        return _layout(connection)


def _require_known(path: Path, connection: sqlite3.Connection) -> None:
    # By position: the first two columns of meta are the same in every layout there will be.
    version, author, *_ = connection.execute("SELECT * FROM meta").fetchone() or (0, "nobody")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: it was written by {author} in layout {version}; this is codesign "
            f"{__version__}, which knows layouts up to {SCHEMA_VERSION}: upgrade codesign"
        )
    if version < 1:
        raise StoreError(f"{path}: layout {version} was never one of ours; restore the file")


def _prepare_writing(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")  # the first moment at which a read-only file shows
    connection.execute("ROLLBACK")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            f"{path}: its file system cannot hold a write-ahead log; keep the results on a local "
            "disk"
        )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
