"""`kill -9` at any moment, for real: what was said to be stored stays, and running again heals."""

from __future__ import annotations

import functools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_trials import make_toy, toy_row, toy_task

from codesign.errors import StoreError
from codesign.study.results import Results
from codesign.study.trials import Job, run_trials

TESTS = Path(__file__).parent
TOY = [str(TESTS / "toy_trials.py")]

# A store that says that rows are stored as soon as it has them, and commits them later.
TOO_EARLY = """
from toy_trials import Added, Announcing, Results, announce, main

class TooEarly(Results):
    kept = []

    def add_rows(self, rows):
        self.kept += rows
        announce(rows)
        if len(self.kept) >= 100:
            super().add_rows(self.kept)
            self.kept.clear()
        return Added(len(rows), 0)

    def close(self):
        super().add_rows(self.kept)
        super().close()

main(TooEarly)
"""


@dataclass(frozen=True)
class Campaign:
    """A toy campaign that runs in a process of its own, again and again."""

    path: Path
    tasks: int
    trials: int
    chunk: int
    workers: int = 1
    seconds: float = 0.0
    program: Sequence[str] = tuple(TOY)

    @property
    def said(self) -> Path:
        """What the runs have said; a file, so that nothing stays in a pipe."""
        return self.path.with_suffix(".said")

    def start(self) -> subprocess.Popen[str]:
        """Run the campaign until it is finished or killed."""
        options = {name: getattr(self, name) for name in ("tasks", "trials", "chunk", "workers")}
        with self.said.open("w") as said:
            return subprocess.Popen(
                [
                    sys.executable,
                    *self.program,
                    str(self.path),
                    *(f"--{name}={value}" for name, value in options.items()),
                    f"--seconds={self.seconds}",
                ],
                stdout=said,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])},
            )

    def run_and_kill(self, after: str, seconds: float) -> bool:
        """Run, and kill so long after a word; whether it was still running."""
        process = self.start()
        while after not in self.said.read_text() and process.poll() is None:
            time.sleep(0.002)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        # Everybody who holds the other end of this pipe has ended when it closes: no orphans.
        _, errors = process.communicate(timeout=10)
        assert process.returncode in (0, -signal.SIGKILL), errors
        return process.returncode != 0

    def lost(self) -> set[tuple[str, int]]:
        """Trials that the last run said to be stored, and that are not."""
        heard = self.said.read_text().split("\n")[:-1]  # the kill may have cut the last line
        announced = {
            (task, int(trial))
            for word, task, trial in (line.split() for line in heard if line.count(" ") == 2)
            if word == "stored"
        }
        with self.opened() as results:
            digests = [toy_task(number).digest for number in range(self.tasks)]
            return announced & {
                (task, trial) for task in digests for trial in results.missing(task, self.trials)
            }

    def opened(self) -> Results:
        """What the last run left; a kill in the instant of closing leaves work for a writer."""
        try:
            return Results(self.path, readonly=True)
        except StoreError as error:
            if "stopped half-way; open it once for writing" not in str(error):
                raise
            return Results(self.path)

    def was_storing(self) -> bool:
        """Whether the last run was killed between the beginning and the end of a commit."""
        return self.said.read_text().endswith("storing\n")

    def finish(self) -> None:
        """Run to the end, in this process."""
        with Results(self.path) as results:
            run_trials(
                results,
                [Job(toy_task(number), self.trials) for number in range(self.tasks)],
                make_toy,
                chunk=self.chunk,
            )

    def require_whole(self) -> None:
        """Every row is there once, and is what an uninterrupted run would have made it."""
        with Results(self.path, readonly=True) as results:
            assert {task.name for task in results.tasks()} == {
                toy_task(number).name for number in range(self.tasks)
            }
            for number in range(self.tasks):
                task = toy_task(number).digest
                assert results.rows(task) == [
                    right_row(task, trial) for trial in range(self.trials)
                ]


right_row = functools.cache(toy_row)


def test_fifty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Nearly all the time of these runs goes into commits, so that the kills meet many of them."""
    rng = random.Random(20261124)
    kills = while_storing = 0
    while kills < 50:
        path = tmp_path / f"{kills}.sqlite"
        campaign = Campaign(path, tasks=2, trials=2000, chunk=rng.choice([1, 8]))
        for _ in range(4):
            if not campaign.run_and_kill("open", 0.02 + 0.38 * rng.random() ** 2):
                break
            kills += 1
            while_storing += campaign.was_storing()
            assert campaign.lost() == set()
        assert campaign.lost() == set()
        campaign.finish()
        campaign.require_whole()
    assert while_storing >= 10


def test_kills_with_workers_lose_nothing_and_leave_no_orphans(tmp_path: Path) -> None:
    rng = random.Random(7)
    campaign = Campaign(
        tmp_path / "results.sqlite", tasks=3, trials=1000, chunk=4, workers=2, seconds=0.01
    )
    for _ in range(6):
        assert campaign.run_and_kill("worker", rng.uniform(0.0, 0.4))
        assert campaign.lost() == set()
    campaign.finish()
    campaign.require_whole()


def test_workers_amid_a_long_trial_end_with_their_killed_parent(tmp_path: Path) -> None:
    campaign = Campaign(
        tmp_path / "results.sqlite", tasks=1, trials=9, chunk=1, workers=2, seconds=60.0
    )
    started = time.monotonic()
    assert campaign.run_and_kill("worker", 0.3)  # waits for the pipe that they hold to close
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("milliseconds", range(0, 40, 4))
def test_a_kill_while_the_file_is_made_is_no_obstacle(milliseconds: int, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "results.sqlite", tasks=1, trials=50, chunk=10)
    campaign.run_and_kill("begin", milliseconds / 1000)
    campaign.finish()
    campaign.require_whole()
    assert sorted(os.listdir(tmp_path)) == [
        "results.said", "results.sqlite", "results.sqlite.lock"
    ]  # fmt: skip


def test_these_tests_notice_a_store_that_speaks_too_early(tmp_path: Path) -> None:
    rng = random.Random(3)
    program = ["-c", TOO_EARLY]
    lost = 0
    for number in range(10):
        campaign = Campaign(
            tmp_path / f"{number}.sqlite", tasks=3, trials=100_000, chunk=8, program=program
        )
        assert campaign.run_and_kill("stored", rng.uniform(0.02, 0.1))
        lost += bool(campaign.lost())
        if lost == 2:
            return
    raise AssertionError(f"{lost} of 10 kills lost something")


def test_these_tests_notice_a_row_that_is_lost_or_changed(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "results.sqlite", tasks=2, trials=20, chunk=5)
    assert not campaign.run_and_kill("end", 20.0)
    campaign.require_whole()
    assert campaign.lost() == set()
    _sql(campaign.path, "UPDATE trials SET faults_digest = 'other' WHERE trial = 7")
    with pytest.raises(AssertionError):
        campaign.require_whole()
    _sql(campaign.path, "DELETE FROM trials WHERE trial = 7")
    with pytest.raises(AssertionError):
        campaign.require_whole()
    assert campaign.lost() == {(toy_task(number).digest, 7) for number in range(2)}


def _sql(path: Path, change: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
