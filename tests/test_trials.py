"""The loop of a campaign: what it stores depends on the jobs alone, whatever happens meanwhile."""

from __future__ import annotations

import functools
import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from toy_trials import (
    make_corpse,
    make_counted,
    make_dying,
    make_failing,
    make_mortal,
    make_nothing,
    make_slow,
    make_toy,
    make_wrong,
    toy_row,
    toy_task,
    toy_work,
)

from codesign.errors import StoreError, StudyError
from codesign.study.progress import Progress
from codesign.study.results import Added, Results, TrialRow
from codesign.study.trials import Job, Outcome, Work, run_trials

ROOT = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


def jobs(trials: Sequence[int], looks: tuple[int, ...] = ()) -> list[Job]:
    return [Job(toy_task(number), count, looks) for number, count in enumerate(trials)]


def stored(path: Path) -> dict[str, list[TrialRow]]:
    with Results(path, readonly=True) as results:
        return {task.name: results.rows(task.digest) for task in results.tasks()}


def expected(trials: Sequence[int]) -> dict[str, list[TrialRow]]:
    """What a campaign must hold, from the definition of a toy trial."""
    return {
        toy_task(number).name: [toy_row(toy_task(number).digest, i) for i in range(count)]
        for number, count in enumerate(trials)
    }


def unneeded() -> Work:
    raise AssertionError("nothing is missing, so no worker is needed")


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


# Workers that die


@pytest.mark.parametrize("trials", [[0], [3, 12, 17, 38]])
def test_a_worker_that_is_killed_now_and_then_costs_nothing(
    trials: list[int], path: Path, tmp_path: Path
) -> None:
    said = io.StringIO()
    make = functools.partial(make_mortal, tmp_path, trials)
    with Results(path) as results:
        run_trials(
            results, jobs([40, 40]), make, workers=2, chunk=5, progress=Progress(stream=said)
        )
    assert len([name for name in os.listdir(tmp_path) if name.startswith("died")]) == 2 * len(
        trials
    )
    assert stored(path) == expected([40, 40])
    assert "a worker process died; running trials " in said.getvalue()


def test_a_kill_that_meets_a_suspect_alone_does_not_condemn_it(path: Path, tmp_path: Path) -> None:
    make = functools.partial(make_mortal, tmp_path, [12], 3)  # twice in a crew, and once alone
    with Results(path) as results:
        run_trials(results, jobs([20]), make, workers=2, chunk=5)
    assert len([name for name in os.listdir(tmp_path) if name.startswith("died")]) == 3
    assert stored(path) == expected([20])


def test_a_trial_that_kills_its_worker_is_named_and_all_others_are_stored(path: Path) -> None:
    bad = toy_task(1)
    with Results(path) as results:
        with pytest.raises(StudyError, match="dies, also alone") as caught:
            run_trials(
                results,
                jobs([20, 20, 20]),
                functools.partial(make_dying, bad.digest, [13]),
                workers=2,
                chunk=4,
            )
        assert results.missing(bad.digest, 20) == [13]
        assert results.missing(toy_task(0).digest, 20) == []
        assert results.missing(toy_task(2).digest, 20) == []
    assert f"trial 13 of toy 1 (task {bad.digest}) (exit code -9)" in str(caught.value)


def test_when_many_trials_kill_their_worker_it_does_not_try_them_all(path: Path) -> None:
    make = functools.partial(make_dying, toy_task(0).digest, range(1000), signal.SIGSEGV)
    with Results(path) as results, pytest.raises(StudyError, match="dies, also alone") as caught:
        run_trials(results, jobs([1000]), make, workers=2, chunk=10)
    assert str(caught.value).count("(exit code -11)") == 3


def test_workers_that_die_while_they_are_made_are_not_blamed_on_a_trial(path: Path) -> None:
    with Results(path) as results, pytest.raises(StudyError, match="dies before it runs any trial"):
        run_trials(results, jobs([9]), make_corpse, workers=2)


# Mistakes


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_worker_raises_arrives_and_names_its_trials(workers: int, path: Path) -> None:
    make = functools.partial(make_failing, toy_task(0).digest, 13)
    with Results(path) as results:
        with pytest.raises(ZeroDivisionError, match="a mistake in the engine") as caught:
            run_trials(results, jobs([20]), make, workers=workers, chunk=4)
        assert f"while running trials 12 to 15 of toy 0 (task {toy_task(0).digest})" in (
            caught.value.__notes__
        )
        assert set(results.missing(toy_task(0).digest, 20)) >= {12, 13, 14, 15}
        if workers == 1:
            assert results.missing(toy_task(0).digest, 20) == list(range(12, 20))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_making_a_worker_raises_arrives(workers: int, path: Path) -> None:
    with Results(path) as results, pytest.raises(LookupError, match="the weights are gone"):
        run_trials(results, jobs([9]), make_nothing, workers=workers)


def test_a_worker_that_cannot_be_sent_says_what_can(path: Path) -> None:
    with Results(path) as results, pytest.raises(StudyError, match="a function at the top of a mo"):
        run_trials(results, jobs([9]), lambda: toy_work, workers=2)


@pytest.mark.parametrize("how", [{"workers": 0}, {"chunk": 0}, {"workers": -1}])
def test_no_workers_and_empty_chunks_are_refused(how: dict[str, int], path: Path) -> None:
    with Results(path) as results, pytest.raises(StudyError, match="expected at least 1 of each"):
        run_trials(
            results, jobs([9]), unneeded, workers=how.get("workers", 1), chunk=how.get("chunk", 1)
        )


def test_no_trials_are_refused() -> None:
    with pytest.raises(StudyError, match="toy 3: trials=0, expected at least 1"):
        Job(toy_task(3), 0)


@pytest.mark.parametrize("looks", [(0, 5), (5, 5), (9, 5)])
def test_looks_that_do_not_rise_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(StudyError, match=r"toy 3: looks=.*expected rising numbers from 1 on"):
        Job(toy_task(3), 10, looks)


def test_one_task_twice_is_refused(path: Path) -> None:
    with Results(path) as results, pytest.raises(StudyError, match="'toy 1' and 'toy 1' are the s"):
        run_trials(results, [*jobs([9, 9]), Job(toy_task(1), 5)], unneeded)


def test_a_trial_that_comes_out_differently_stops_the_campaign(path: Path) -> None:
    task = toy_task(0).digest

    def twice(of: str, trials: Sequence[int]) -> list[TrialRow]:
        with_other = toy_row(task, 2)
        results.add_rows([with_other])  # as another run would have, had it not been for the lock
        rows = toy_work(of, trials)
        object.__setattr__(rows[2], "faults_digest", "other")
        return rows

    with (
        Results(path) as results,
        pytest.raises(StoreError, match="determinism is broken: trial 2"),
    ):
        run_trials(results, jobs([4]), lambda: twice)


# Ctrl-C


class Interrupted(Results):
    """Results that a Ctrl-C meets just before, or just after, a chunk is stored."""

    when = ""
    calls = 0

    def add_rows(self, rows: Sequence[TrialRow]) -> Added:
        self.calls += 1
        if self.calls == 3 and self.when == "before":
            raise KeyboardInterrupt
        added = super().add_rows(rows)
        if self.calls == 3 and self.when == "after":
            raise KeyboardInterrupt
        return added


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_amid_storing_loses_nothing(when: str, path: Path) -> None:
    with Interrupted(path) as results:
        results.when = when
        with pytest.raises(KeyboardInterrupt):
            run_trials(results, jobs([40]), make_toy, chunk=5)
        assert results.missing(toy_task(0).digest, 40) == list(range(15, 40))
    with Results(path) as results:
        run_trials(results, jobs([40]), make_toy)
    assert stored(path) == expected([40])


class InterruptedOnce(Progress):
    """A Ctrl-C that comes after the first chunk is stored, when three more are finished."""

    calls = 0

    def advance(self, new: int, left: int) -> None:
        self.calls += 1
        if self.calls == 1:
            time.sleep(1.0)
            raise KeyboardInterrupt


def test_an_interrupt_stores_what_is_finished_first(path: Path) -> None:
    with Results(path) as results:
        with pytest.raises(KeyboardInterrupt):
            run_trials(
                results, jobs([99]), make_toy, workers=2, chunk=2, progress=InterruptedOnce()
            )
        assert results.missing(toy_task(0).digest, 99) == list(range(8, 99))


def test_an_interrupt_ends_workers_amid_their_trials_at_once(path: Path) -> None:
    main = threading.main_thread().ident
    assert main is not None
    interrupt = threading.Timer(1.5, signal.pthread_kill, (main, signal.SIGINT))
    with Results(path) as results:
        interrupt.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run_trials(results, jobs([8]), functools.partial(make_slow, 60.0), workers=2, chunk=1)
        assert time.monotonic() - started < 10
    interrupt.join()
    with Results(path) as results:  # and the file is free, and whole
        run_trials(results, jobs([8]), make_toy)
    assert stored(path) == expected([8])


CTRL_C = """
import functools
from pathlib import Path
from codesign.study.results import Results
from codesign.study.trials import run_trials
from toy_trials import *
if __name__ == "__main__":
    import sys
    with Announcing(Path(sys.argv[1])) as results:
        say("begin")
        make = functools.partial(make_slow, 0.02)
        run_trials(results, [Job(toy_task(0), 100000)], make, workers=int(sys.argv[2]), chunk=3)
"""


@pytest.mark.parametrize(
    ("workers", "lines", "seconds"),
    [("1", 20, 0.0), ("2", 20, 0.0), ("2", 1, 0.05), ("2", 1, 0.15)],  # the last: workers start
)
def test_ctrl_c_on_a_terminal_keeps_what_is_said_to_be_stored(
    workers: str, lines: int, seconds: float, path: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(CTRL_C)
    said = tmp_path / "said"
    with said.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, str(script), str(path), workers],
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        )
    while said.read_text().count("\n") < lines:
        time.sleep(0.01)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to parent and workers alike
    _, errors = process.communicate(timeout=20)
    lines_said = said.read_text().splitlines()
    trials = {int(line.split()[2]) for line in lines_said if line.startswith("stored")}
    assert process.returncode == -signal.SIGINT
    assert errors.count("KeyboardInterrupt") == 1  # the workers have nothing to say to it
    rows = stored(path).get("toy 0", [])
    assert {row.trial for row in rows} == trials
    assert rows == [toy_row(toy_task(0).digest, trial) for trial in sorted(trials)]


# What a script must know


def test_a_script_without_a_guard_is_told_about_it(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom codesign.study.results import Results\n"
        "from codesign.study.trials import run_trials\nfrom toy_trials import *\n"
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
