"""Arrays on disk by digest, atomically: trained weights, golden runs.

A digest names what the arrays were made from, so a stored file never goes stale. A file is whole
or absent, whatever kills the process; a file that a disk or a copy has damaged is refused.
"""

from __future__ import annotations

import fcntl
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from codesign.errors import StoreError

__all__ = ["ArrayStore", "Arrays"]

Arrays = dict[str, np.ndarray]

DIGEST = re.compile(r"[0-9A-Za-z_-]{8,128}")  # no dot and no slash: it becomes a file name


@dataclass(frozen=True)
class ArrayStore:
    """A folder of ``<digest>.npz`` files, which `numpy.load` reads too.

    Safe for several processes and threads at once: one of them makes what is missing, the others
    wait for it and load it.

    Attributes:
        folder: Made when the first arrays come.
    """

    folder: Path

    def path(self, digest: str) -> Path:
        """Where the arrays of a digest stand, or would.

        >>> ArrayStore(Path("cache")).path("0123abcd").as_posix()
        'cache/0123abcd.npz'
        """
        if not DIGEST.fullmatch(digest):
            raise StoreError(
                f"{digest!r} is not a digest: expected 8 to 128 letters, digits, '-' or '_'"
            )
        return Path(self.folder) / f"{digest}.npz"

    def get(self, digest: str) -> Arrays:
        """The arrays of a digest, read-only, in the order they were stored.

        Raises:
            StoreError: There are none, or their file is damaged.
        """
        arrays = self._find(digest)
        if arrays is None:
            raise StoreError(f"{self.path(digest)}: nothing is stored under this digest")
        return arrays

    def put(self, digest: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays under a digest, in the place of any that are there.

        Raises:
            StoreError: An array holds Python objects, or the disk does not take the file.
        """
        with self._alone(digest):
            self._write(digest, arrays)

    def get_or_make(self, digest: str, make: Callable[[], Mapping[str, np.ndarray]]) -> Arrays:
        """The arrays of a digest; made and stored first where they are absent or damaged.

        Damage is reported as a warning, and so is a wait for another process that makes them.
        ``make`` must not ask for the same digest: it would wait for itself.

        Raises:
            StoreError: The disk does not give or take the file. What ``make`` raises passes.
        """
        try:
            arrays = self._find(digest)
        except _DamagedError as error:
            warnings.warn(f"{error}; it is made anew", RuntimeWarning, stacklevel=2)
            arrays = None
        if arrays is None:
            with self._alone(digest):
                # Another process may have made it while we waited.
                arrays = self._find_whole(digest)
                if arrays is None:
                    self._write(digest, make())
                    arrays = self.get(digest)
        return arrays

    def _find(self, digest: str) -> Arrays | None:
        path = self.path(digest)
        try:
            return _read(path, digest)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _disk_error(path, error) from error

    def _find_whole(self, digest: str) -> Arrays | None:
        try:
            return self._find(digest)
        except _DamagedError:
            return None

    def _write(self, digest: str, arrays: Mapping[str, np.ndarray]) -> None:
        path = self.path(digest)
        for name, array in arrays.items():
            if np.asarray(array).dtype.hasobject:
                raise StoreError(
                    f"{path}: array {name!r} holds Python objects; store numbers, booleans or text"
                )
        # We are alone with this digest, so what a kill leaves is overwritten by the next attempt.
        unfinished = path.with_name(f".{digest}.unfinished")
        try:
            with unfinished.open("wb") as stream:
                _write_zip(stream, digest, arrays)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(unfinished, path)
            _sync_folder(path.parent)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise _disk_error(path, error) from error

    @contextmanager
    def _alone(self, digest: str) -> Iterator[None]:
        """Hold the lock of a digest; it dies with its process, so a kill leaves none behind."""
        path = self.path(digest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path.with_name(f".{digest}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise _disk_error(path, error) from error
        try:
            _lock(lock, path)
            yield
        finally:
            os.close(lock)


class _DamagedError(StoreError):
    """The file is there, but it is not what was written."""


def _lock(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"{path}: waiting for another process or thread that makes it"
        warnings.warn(message, RuntimeWarning, stacklevel=5)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise _disk_error(path, error) from error


def _write_zip(stream: IO[bytes], digest: str, arrays: Mapping[str, np.ndarray]) -> None:
    # Not np.savez: it takes no array named "file", and its zip does not say what it is of.
    with zipfile.ZipFile(stream, "w") as archive:
        archive.comment = _comment(digest, len(arrays))
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def _comment(digest: str, arrays: int) -> bytes:
    """Whose arrays these are, and how many: what the checksums of a zip leave out."""
    return f"{digest} {arrays}".encode()


def _read(path: Path, digest: str) -> Arrays:
    arrays: Arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if archive.comment != _comment(digest, len(names)):
                raise ValueError(f"{len(names)} arrays, labelled {archive.comment!r}")
            for name in names:
                with archive.open(name) as entry:
                    array = np.lib.format.read_array(entry, allow_pickle=False)
                array.setflags(write=False)
                arrays[name.removesuffix(".npy")] = array
    except OSError:
        raise
    except Exception as error:  # zipfile and numpy raise six kinds for what a flipped bit can do
        raise _DamagedError(f"{path}: the file is damaged ({error})") from error
    return arrays


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_error(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: {error.strerror or error}; choose another folder, or mend its disk or "
        "permissions, and run again"
    )
