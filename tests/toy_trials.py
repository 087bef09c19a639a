"""Trials that cost nothing and are known beforehand: for tests of the loop and of the store.

As a program it runs a campaign of them and says, after each commit, what is stored, so that a
test can kill it at any moment and know what it must find.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from codesign.study.results import Added, Results, Task, TrialRow
from codesign.study.trials import Job, Work, run_trials


def toy_task(number: int) -> Task:
    """Task ``number``."""
    return Task.of(f"toy {number}", {"toy": number})


def toy_row(task: str, trial: int) -> TrialRow:
    """The one right row of a trial: numbers from a hash of its identity."""
    numbers = hashlib.sha256(f"{task} {trial}".encode()).digest()
    outcomes = dict(
        zip(
            ("masked", "tolerated", "sdc", "corrected", "detected", "hang"),
            (numbers[0] + 1, *numbers[1:6]),
            strict=True,
        )
    )
    return TrialRow(
        task=task,
        trial=trial,
        weight=numbers[6] / 256,
        samples=sum(outcomes.values()),
        correct=numbers[0],
        **outcomes,
        drawn=256 + numbers[7],
        could_act=numbers[7],
        acted=numbers[7] // 2,
        collapsed=numbers[8] // 2,
        proven=numbers[9] // 2,
        faults_digest=numbers.hex(),
    )


def toy_work(task: str, trials: Sequence[int]) -> list[TrialRow]:
    """Rows of trials, without ado."""
    return [toy_row(task, trial) for trial in trials]


def make_toy() -> Work:
    """A worker that works."""
    return toy_work


def make_slow(seconds: float, said: str = "") -> Work:
    """A worker that takes its time for each chunk, and may say that it is there."""
    if said:
        say(f"{said} {os.getpid()}")

    def work(task: str, trials: Sequence[int]) -> list[TrialRow]:
        time.sleep(seconds)
        return toy_work(task, trials)

    return work


def make_counted(folder: Path) -> Work:
    """A worker that leaves a file for every process that it is made in, and for every chunk."""
    (folder / f"made {os.getpid()}").touch(exist_ok=False)

    def work(task: str, trials: Sequence[int]) -> list[TrialRow]:
        for trial in trials:
            (folder / f"ran {task} {trial}").touch(exist_ok=False)
        return toy_work(task, trials)

    return work


def make_dying(task: str, trials: Sequence[int], how: int = signal.SIGKILL) -> Work:
    """A worker that dies of some trials."""

    def work(of: str, asked: Sequence[int]) -> list[TrialRow]:
        if of == task and set(asked) & set(trials):
            os.kill(os.getpid(), how)
        return toy_work(of, asked)

    return work


def make_mortal(folder: Path, trials: Sequence[int], times: int = 1) -> Work:
    """A worker that dies of each of some trials, but only the first so many times."""

    def work(task: str, asked: Sequence[int]) -> list[TrialRow]:
        for trial in set(trials) & set(asked):
            died = [folder / f"died {task} {trial} {number}" for number in range(times)]
            alive = next((path for path in died if not path.exists()), None)
            if alive:
                alive.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return toy_work(task, asked)

    return work


def make_deaf(folder: Path, mortal: int, sleeper: int) -> Work:
    """A worker that dies of one trial and sleeps over another, once each; it ends by no signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    work = make_mortal(folder, [mortal])

    def drowsy(task: str, asked: Sequence[int]) -> list[TrialRow]:
        slept = folder / "slept"
        if sleeper in asked and not slept.exists():
            slept.touch()
            time.sleep(120)
        patience = time.monotonic() + 20  # both may have come to one worker
        while mortal in asked and not slept.exists() and time.monotonic() < patience:
            time.sleep(0.01)
        return work(task, asked)

    return drowsy


def make_failing(task: str, trial: int) -> Work:
    """A worker that raises at one trial."""

    def work(of: str, trials: Sequence[int]) -> list[TrialRow]:
        if of == task and trial in trials:
            raise ZeroDivisionError("a mistake in the engine")
        return toy_work(of, trials)

    return work


def make_wrong(offset: int) -> Work:
    """A worker that answers for other trials than those asked for."""

    def work(task: str, trials: Sequence[int]) -> list[TrialRow]:
        return toy_work(task, [trial + offset for trial in trials])

    return work


def make_nothing() -> Work:
    """A worker that cannot be made."""
    raise LookupError("the weights are gone")


def make_corpse() -> Work:
    """A worker that dies when it is made."""
    os.kill(os.getpid(), signal.SIGKILL)
    return toy_work


def jobs(trials: Sequence[int], looks: tuple[int, ...] = ()) -> list[Job]:
    """A job of so many trials for each of toy 0, toy 1 and so on."""
    return [Job(toy_task(number), count, looks) for number, count in enumerate(trials)]


def stored(path: Path) -> dict[str, list[TrialRow]]:
    """What a results file holds, by the names of its tasks."""
    with Results(path, readonly=True) as results:
        return {task.name: results.rows(task.digest) for task in results.tasks()}


def expected(trials: Sequence[int]) -> dict[str, list[TrialRow]]:
    """What a campaign must hold, from the definition of a toy trial."""
    return {
        toy_task(number).name: [toy_row(toy_task(number).digest, i) for i in range(count)]
        for number, count in enumerate(trials)
    }


def unneeded() -> Work:
    """A worker that nobody may ask for."""
    raise AssertionError("nothing is missing, so no worker is needed")


def say(text: str) -> None:
    """One line on standard output, whole, even if the process is killed in the next instant."""
    os.write(1, f"{text}\n".encode())


class Announcing(Results):
    """Results that say when they begin to store, and what is stored after it is."""

    def add_rows(self, rows: Sequence[TrialRow]) -> Added:
        """Store, then say so."""
        say("storing")
        added = super().add_rows(rows)
        announce(rows)
        return added


def announce(rows: Sequence[TrialRow]) -> None:
    """Say that the rows are stored."""
    say("\n".join(f"stored {row.task} {row.trial}" for row in rows))


def main(open_results: Callable[[Path], Results] = Announcing) -> None:
    """Run a toy campaign and say what is stored."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.0)
    asked = parser.parse_args()
    make = functools.partial(make_slow, asked.seconds, "worker") if asked.seconds else make_toy
    say("begin")
    with open_results(asked.path) as results:
        say("open")
        run_trials(
            results,
            [Job(toy_task(number), asked.trials) for number in range(asked.tasks)],
            make,
            workers=asked.workers,
            chunk=asked.chunk,
        )
    say("end")


if __name__ == "__main__":
    main()
