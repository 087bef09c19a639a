"""The loop of a campaign: what it stores depends on the jobs alone, whatever happens meanwhile."""

from __future__ import annotations

import functools
import io
import os
import pty
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from toy_trials import (
    expected,
    jobs,
    make_counted,
    make_toy,
    make_wrong,
    stored,
    toy_row,
    toy_task,
    toy_work,
    unneeded,
)

from codesign.study.progress import Progress
from codesign.study.results import Results, TrialRow
from codesign.study.trials import Outcome, run_trials

ROOT = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


# What is stored


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_rows_do_not_depend_on_workers_or_chunks(workers: int, chunk: int, path: Path) -> None:
    with Results(path) as results:
        outcomes = run_trials(results, jobs([20, 3, 41]), make_toy, workers=workers, chunk=chunk)
    assert stored(path) == expected([20, 3, 41])
    assert [(outcome.trials, outcome.stopped) for outcome in outcomes] == [
        (20, False), (3, False), (41, False)
    ]  # fmt: skip


def test_rows_do_not_depend_on_the_order_of_jobs(path: Path) -> None:
    with Results(path) as results:
        outcomes = run_trials(results, jobs([20, 3, 41])[::-1], make_toy)
    assert [outcome.trials for outcome in outcomes] == [41, 3, 20]
    assert stored(path) == expected([20, 3, 41])


def test_running_again_runs_nothing(path: Path) -> None:
    with Results(path) as results:
        first = run_trials(results, jobs([9, 9]), make_toy)
        assert run_trials(results, jobs([9, 9]), unneeded) == first
        assert run_trials(results, jobs([9, 9]), unneeded, workers=2) == first


def test_asking_for_more_runs_only_the_rest(path: Path, tmp_path: Path) -> None:
    with Results(path) as results:
        run_trials(results, jobs([9, 9]), make_toy, chunk=4)
        run_trials(results, jobs([15, 9]), functools.partial(make_counted, tmp_path), chunk=4)
    ran = sorted(name for name in os.listdir(tmp_path) if name.startswith("ran"))
    assert ran == sorted(f"ran {toy_task(0).digest} {trial}" for trial in range(9, 15))
    assert stored(path) == expected([15, 9])


def test_gaps_are_filled(path: Path) -> None:
    with Results(path) as results:
        task = results.add_task(toy_task(0))
        results.add_rows(toy_work(task, [3, 4, 11, 30]))
        run_trials(results, jobs([20]), make_toy, chunk=6)
        assert results.missing(task, 31) == list(range(20, 30))


def test_every_task_progresses_before_any_is_finished(path: Path) -> None:
    order = []

    def work(task: str, trials: Sequence[int]) -> list[TrialRow]:
        order.append(task)
        return toy_work(task, trials)

    with Results(path) as results:
        run_trials(results, jobs([80] * 5), lambda: work, chunk=5)
    digests = [toy_task(number).digest for number in range(5)]
    assert order[:5] == digests  # one chunk each, then two, then four
    assert order[5:15] == [digest for digest in digests for _ in range(2)]
    changes = sum(a != b for a, b in pairwise(order))
    assert changes < 25  # of 80 chunks: a worker that keeps what one task needs is not fooled


def test_trials_that_take_little_are_handed_out_many_at_a_time(path: Path) -> None:
    sizes: dict[str, list[int]] = {}

    def work(task: str, trials: Sequence[int]) -> list[TrialRow]:
        sizes.setdefault(task, []).append(len(trials))
        if task == toy_task(1).digest:
            time.sleep(0.4)  # for two trials: no more than five take a second
        return toy_work(task, trials)

    with Results(path) as results:
        run_trials(results, jobs([50, 9]), lambda: work, chunk=2, most=16)
    assert sizes[toy_task(0).digest][:2] == [2, 16]
    assert sizes[toy_task(1).digest][0] == 2
    assert max(sizes[toy_task(1).digest]) <= 5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_is_made_once_in_each_process(workers: int, path: Path, tmp_path: Path) -> None:
    make = functools.partial(make_counted, tmp_path)
    with Results(path) as results:
        run_trials(results, jobs([30, 30]), make, workers=workers, chunk=2)
    made = [name for name in os.listdir(tmp_path) if name.startswith("made")]
    assert 1 <= len(made) <= workers
    assert (f"made {os.getpid()}" in made) == (workers == 1)


def test_only_the_chunk_asked_for_is_accepted(path: Path) -> None:
    with Results(path) as results:
        with pytest.raises(RuntimeError, match=r"trials 0 to 3 of toy 0 .* but the worker gave"):
            run_trials(results, jobs([4]), functools.partial(make_wrong, 1))
        assert results.rows(toy_task(0).digest) == []


# Stopping early


class Rule:
    """Stops at the first look with enough correct samples, and remembers what it was shown."""

    def __init__(self, enough: int) -> None:
        self.enough = enough
        self.asked: dict[str, list[int]] = {}

    def __call__(self, task: str, rows: list[TrialRow]) -> bool:
        assert rows == [toy_row(task, trial) for trial in range(len(rows))]
        self.asked.setdefault(task, []).append(len(rows))
        return sum(row.correct for row in rows) >= self.enough


LOOKS = (5, 10, 20, 40)


def stops_at(task: str, trials: int, enough: int) -> int:
    """By hand: the first look below ``trials`` with enough, or ``trials``."""
    for look in LOOKS:
        correct = sum(toy_row(task, trial).correct for trial in range(look))
        if look < trials and correct >= enough:
            return look
    return trials


@pytest.mark.parametrize(("workers", "chunk"), [(1, 1), (1, 3), (1, 50), (2, 2), (2, 7)])
def test_stopping_depends_on_nothing_but_the_rows(workers: int, chunk: int, path: Path) -> None:
    wanted = [60, 60, 33, 5, 60, 60]
    digests = [toy_task(number).digest for number in range(len(wanted))]
    ends = [stops_at(task, n, 2500) for task, n in zip(digests, wanted, strict=True)]
    assert len(set(ends)) >= 3  # the case has early, late and never
    rule = Rule(2500)
    with Results(path) as results:
        outcomes = run_trials(
            results, jobs(wanted, LOOKS), make_toy, workers=workers, chunk=chunk, stop=rule
        )
    assert outcomes == [
        Outcome(task, end, end < n) for task, end, n in zip(digests, ends, wanted, strict=True)
    ]
    assert stored(path) == expected(ends)  # and not one trial beyond the look that stopped it
    for task, end, n in zip(digests, ends, wanted, strict=True):
        looked = [look for look in LOOKS if look < n and look <= end]
        assert rule.asked.get(task, []) == looked


def test_trials_of_a_longer_run_do_not_change_where_a_job_stops(path: Path) -> None:
    task = toy_task(0).digest
    end = stops_at(task, 60, 2500)
    with Results(path) as results:
        run_trials(results, jobs([60]), make_toy)
        assert run_trials(results, jobs([60], LOOKS), unneeded, stop=Rule(2500)) == [
            Outcome(task, end, True)
        ]


def test_a_killed_run_stops_where_the_whole_one_would(path: Path) -> None:
    task = toy_task(0).digest
    with Results(path) as results:
        results.add_task(toy_task(0))
        results.add_rows(toy_work(task, [0, 1, 2, 3, 7, 8]))
        outcomes = run_trials(results, jobs([60], LOOKS), make_toy, stop=Rule(2500))
    assert outcomes == [Outcome(task, stops_at(task, 60, 2500), True)]


# What a script must know


def test_a_script_without_a_guard_is_told_about_it(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom codesign.study.results import Results\n"
        "from codesign.study.trials import Job, run_trials\nfrom toy_trials import *\n"
        "with Results(Path(sys.argv[1]).with_suffix(f'.{__name__}')) as results:\n"
        "    run_trials(results, [Job(toy_task(0), 9)], make_toy, workers=2)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
    )
    assert done.returncode == 1
    assert "without `if __name__ == '__main__':` around what it does" in done.stderr


def test_the_loop_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(['torch', 'numpy', 'scipy', 'pandas']))\n"
        "import toy_trials\n"
    )
    folders = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": folders})


# Progress


class Clock:
    """Seconds that a test turns."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_line_every_half_minute_where_there_is_no_terminal() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream=stream, clock=clock)
    progress.start(done=100, left=300)
    for _ in range(11):  # ten trials in ten seconds, eleven times
        clock.seconds += 10
        progress.advance(10, 300 - 10)
    assert len(stream.getvalue().splitlines()) == 3
    assert "\r" not in stream.getvalue()


def test_rate_and_time_left_are_of_this_run() -> None:
    clock = Clock()
    progress = Progress(stream=io.StringIO(), clock=clock)
    progress.start(done=100, left=300)
    clock.seconds += 40
    progress.advance(60, 240)  # 1.5 a second, so 160 s to go
    assert progress.line() == "160/400 trials (40 %), 1.5/s, 2 min 40 s left"
    clock.seconds += 20
    progress.advance(0, 90)  # a job stopped early
    assert progress.line() == "160/250 trials (64 %), 1/s, 1 min 30 s left"
    progress.advance(90, 0)
    assert progress.line() == "250/250 trials (100 %), 2.5/s, in 1 min"


def test_waiting_writes_too_and_the_end_writes_a_line() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress("candidates", stream, clock=clock, every_seconds=5)
    progress.start(0, 10)
    clock.seconds += 6
    progress.tick()
    progress.tick()
    progress.advance(1, 9)
    progress.stop()
    assert stream.getvalue().splitlines() == [
        "0/10 candidates (0 %)",
        "1/10 candidates (10 %), 0.167/s, 54 s left",
    ]


def test_nothing_done_is_nothing_said() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    progress.start(0, 0)
    progress.stop()
    assert stream.getvalue() == ""
    assert progress.line() == "0/0 trials (nothing to do)"


def test_quiet_counts_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=True, every_seconds=0)
    progress.start(0, 2)
    progress.advance(1, 1)
    progress.say("something")
    progress.stop()
    assert progress.line().startswith("1/2 trials (50 %)")
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_standard_error(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Results(path) as results:
        run_trials(results, jobs([9]), make_toy, progress=Progress())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("9/9 trials (100 %), ")


def test_a_terminal_gets_a_bar() -> None:
    ours, terminals = pty.openpty()
    with os.fdopen(terminals, "w") as stream:
        progress = Progress(stream=stream, every_seconds=0)
        progress.start(done=10, left=30)
        progress.advance(10, 10)  # ten done, and ten fewer needed
        progress.say("a worker process died")
        progress.stop()
        stream.flush()
        shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "20/30" in shown
    assert " trials/s" in shown
    assert "a worker process died\r\n" in shown
