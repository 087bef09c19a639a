"""Workers that die, mistakes and Ctrl-C: nothing stored is lost, and the culprit is named."""

from __future__ import annotations

import functools
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from toy_trials import (
    expected,
    jobs,
    make_corpse,
    make_deaf,
    make_dying,
    make_failing,
    make_mortal,
    make_nothing,
    make_slow,
    make_toy,
    stored,
    toy_row,
    toy_task,
    toy_work,
    unneeded,
)

from codesign.errors import StoreError, StudyError
from codesign.study.progress import Progress
from codesign.study.results import Added, Results, TrialRow
from codesign.study.trials import Job, run_trials

ROOT = Path(__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


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


def test_nobody_waits_for_a_worker_that_outlives_the_end_of_its_crew(
    path: Path, tmp_path: Path
) -> None:
    # What is being started when another worker dies is not told to end either.
    make = functools.partial(make_deaf, tmp_path, 0, 9)
    with Results(path) as results:
        run_trials(results, jobs([10]), make, workers=2, chunk=5)
    assert stored(path) == expected([10])


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
