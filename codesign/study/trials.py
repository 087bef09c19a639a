"""The loop of a campaign: run the trials that the store lacks, and store them.

Running again is resuming, and asking for more extends. The rows that come out depend on the jobs
alone, not on workers, chunks, order, or on how often the run was killed.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from codesign.errors import StoreError, StudyError
from codesign.study.progress import Progress
from codesign.study.results import Results
from codesign.study.rows import TrialRow
from codesign.study.schedule import Chunk, Job, Outcome, Schedule, StopRule
from codesign.study.workers import Crew, Work

__all__ = ["Job", "Outcome", "Progress", "StopRule", "Work", "run_trials"]

CHUNKS_PER_WORKER = 2  # one being computed, one waiting beside it
DEATHS_OF_A_SUSPECT = 2  # a chunk that was there when this many crews broke runs by itself
DEATHS_ALONE = 2  # once may be anybody's kill
MOST_DEADLY_TRIALS = 3  # then it is not the trials


def run_trials(
    results: Results,
    jobs: Sequence[Job],
    make_worker: Callable[[], Work],
    *,
    workers: int = 1,
    chunk: int = 16,
    most: int | None = None,
    stop: StopRule | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Run what the store lacks of the jobs, and store it, each chunk in one commit.

    A worker process that dies is replaced, and what it held is run again. What was there twice
    when one died is run trial by trial, alone; a trial that then kills its process twice is left
    out, and named when all others are done. On Ctrl-C, and on any error, what is finished is
    stored first.

    Args:
        results: Open for writing. This process alone writes.
        jobs: Tasks, how many trials of each, and when to look.
        make_worker: Makes what computes the rows; once in each process, and not at all if nothing
            is missing. For more than one worker it is sent to other processes: a function at the
            top of a module, or `functools.partial` of one. It also sets the torch threads.
        workers: Processes; with 1, this one.
        chunk: How many trials a worker gets at a time, at most. Rows do not depend on it.
        most: Up to how many it gets where they take less than a second; none: ``chunk``.
        stop: Asked at the looks of each job, with trials 0 … n-1 in index order.
        progress: Told how far it is; without, nothing is written.

    Returns:
        How each job ended, in the order of the jobs.

    Raises:
        StudyError: A trial kills the process that runs it, or workers cannot start; or two jobs
            are one task.
        StoreError: Rows cannot be stored, or a trial came out differently than before.
    """
    if workers < 1 or chunk < 1:
        raise StudyError(f"workers={workers}, chunk={chunk}: expected at least 1 of each")
    schedule = Schedule(results, jobs, chunk, stop, most)
    loop = _Loop(results, schedule, make_worker, progress or Progress(quiet=True))
    loop.progress.start(schedule.done, schedule.left)
    try:
        if workers == 1:
            loop.run_here()
        else:
            loop.run_in_crews(workers)
    finally:
        loop.progress.stop()
    return schedule.outcomes()


class _Loop:
    """What the ways of running share: where chunks come from and where rows go."""

    def __init__(
        self,
        results: Results,
        schedule: Schedule,
        make_worker: Callable[[], Work],
        progress: Progress,
    ) -> None:
        self.results = results
        self.schedule = schedule
        self.make_worker = make_worker
        self.progress = progress
        self.deadly: list[str] = []
        self.handed_out: dict[Chunk, float] = {}

    def run_here(self) -> None:
        """Run everything in this process."""
        work = None
        while chunk := self.schedule.next_chunk():
            work = work or self.make_worker()
            self.handed_out[chunk] = time.monotonic()
            with _naming(chunk):
                rows = work(chunk.task, list(chunk.trials))
            self.keep(chunk, rows)

    def run_in_crews(self, workers: int) -> None:
        """Run everything in worker processes: a new crew whenever one of them died.

        Raises:
            StudyError: A trial kills every process that runs it.
        """
        deaths: Counter[Chunk] = Counter()
        while True:
            with Crew(self.make_worker, workers) as crew:
                lost = self.run_until_broken(crew, CHUNKS_PER_WORKER * workers)
            if not lost:
                break
            deaths.update(lost)
            for chunk in lost:
                self.progress.say(f"a worker process died; running {chunk} again")
                if deaths[chunk] < DEATHS_OF_A_SUSPECT:
                    self.schedule.lost(chunk)
                else:
                    self.run_alone(chunk)
        if self.deadly:
            raise StudyError(self.obituary())

    def run_until_broken(self, crew: Crew, most: int) -> list[Chunk]:
        """Keep a crew busy until nothing is left, or one of it dies: the chunks lost by that."""
        running: dict[Future[list[TrialRow]], Chunk] = {}
        lost: list[Chunk] = []
        try:
            while True:
                while not lost and len(running) < most and (chunk := self.schedule.next_chunk()):
                    self.handed_out[chunk] = time.monotonic()
                    try:
                        running[crew.submit(chunk.task, list(chunk.trials))] = chunk
                    except BrokenProcessPool:
                        lost.append(chunk)
                if not running:
                    return lost
                done, _ = wait(running, self.progress.every_seconds, FIRST_COMPLETED)
                self.progress.tick()
                for future in done:
                    lost += self.collect(future, running.pop(future))
        except StoreError:
            raise  # nothing more can be stored
        except BaseException:
            for future, chunk in running.items():
                if future.done() and not future.cancelled() and not future.exception():
                    self.keep(chunk, future.result())
            raise

    def collect(self, future: Future[list[TrialRow]], chunk: Chunk) -> list[Chunk]:
        """Store what came of a chunk; the chunk itself if its worker died."""
        try:
            with _naming(chunk):
                rows = future.result()
        except BrokenProcessPool:
            return [chunk]
        self.keep(chunk, rows)
        return []

    def run_alone(self, chunk: Chunk) -> None:
        """Run the trials of a suspect one by one, with nothing beside them."""
        trials = deque(chunk.alone())
        deaths: Counter[Chunk] = Counter()
        while trials:
            with Crew(self.make_worker, 1) as crew:
                processes = crew.greet()
                died = self.run_until_one_dies(crew, trials)
            if died is None:
                return
            deaths[died] += 1
            if deaths[died] < DEATHS_ALONE:
                trials.appendleft(died)
                continue
            ends = ", ".join(str(process.exitcode) for process in processes)
            self.deadly.append(f"{died} (exit code {ends})")
            if len(self.deadly) >= MOST_DEADLY_TRIALS:
                raise StudyError(self.obituary())

    def run_until_one_dies(self, crew: Crew, trials: deque[Chunk]) -> Chunk | None:
        """Run trials one by one, taking them from the left: the one that kills its process."""
        while trials:
            trial = trials.popleft()
            self.handed_out[trial] = time.monotonic()
            if self.collect(crew.submit(trial.task, list(trial.trials)), trial):
                return trial
        return None

    def obituary(self) -> str:
        """Which trials kill their process."""
        return (
            f"{'; '.join(self.deadly)}: the process that runs this dies, also alone. Exit code -9 "
            "is often too little memory (take fewer samples), -11 a mistake in compiled code. "
            "All trials that finished are stored"
        )

    def keep(self, chunk: Chunk, rows: list[TrialRow]) -> None:
        """Store the rows of a chunk, and tell."""
        came = [(row.task, row.trial) for row in rows]
        if sorted(came) != [(chunk.task, trial) for trial in chunk.trials]:
            raise RuntimeError(f"{chunk} asked for, but the worker gave rows of {came}")
        try:
            self.results.add_rows(rows)
        except KeyboardInterrupt:
            self.results.add_rows(rows)  # undone or done: what is there already does no harm
            raise
        self.schedule.stored(chunk, time.monotonic() - self.handed_out.pop(chunk))
        self.progress.advance(len(rows), self.schedule.left)


@contextmanager
def _naming(chunk: Chunk) -> Iterator[None]:
    """Say in the trace of an error which trials ran."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while running {chunk}")
        raise
