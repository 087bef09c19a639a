"""Results to be stored, and other programs that work on their file: for tests of the store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codesign.errors import StoreError
from codesign.study.results import Results, Task, TrialRow

__all__ = ["OTHER", "TASK", "fill", "in_a_process", "row", "write_two_tasks"]

ROOT = Path(__file__).parents[1]
TASK = Task.of("ecc at 1e-3", {"design": "9f", "rate": 0.001, "seed": 1}, {"scenario": "upsets"})
OTHER = Task.of("plain at 1e-3", {"design": "0a", "rate": 0.001, "seed": 1}, {"rate": 0.001})


def row(trial: int, task: Task = TASK, **changes: Any) -> TrialRow:
    """A row whose counts add up, with some columns changed."""
    columns: dict[str, Any] = {
        "samples": 10, "correct": 7, "masked": 4, "tolerated": 1, "sdc": 2, "corrected": 1,
        "detected": 1, "hang": 1, "drawn": 9, "could_act": 5, "acted": 3, "collapsed": 2,
        "proven": 4, "faults_digest": f"{trial:08x}",
    }  # fmt: skip
    return TrialRow(task=task.digest, trial=trial, **{**columns, **changes})


def write_two_tasks(path: Path) -> None:
    """Make a results file of two tasks with 200 trials each, and a note."""
    with Results(path) as results:
        results.add_task(TASK)
        results.add_task(OTHER)
        for task in (TASK, OTHER):
            results.add_rows([row(trial, task, extra=f'{{"a":{trial}}}') for trial in range(200)])
        results.put_note("golden/9f", {"accuracy": 0.5})


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
