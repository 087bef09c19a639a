"""Disks that are full, limited or read-only: nothing stored is lost, and what to do is said."""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_results import TASK, fill, in_a_process, row

from codesign.study.results import Results


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study" / "results.sqlite"


@pytest.fixture
def limited_files() -> Iterator[None]:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


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
from sample_results import TASK, fill
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
from sample_results import row
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
