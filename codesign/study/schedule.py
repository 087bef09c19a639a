"""Which trials to compute next, so that what is computed depends on the jobs alone.

A job advances in legs, from one planned look to the next. No trial of a leg is handed out before
the look that ends the leg before has decided: so the trials that a job computes do not depend on
how many workers there are, how large their chunks are, or who is faster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from codesign.errors import StudyError
from codesign.study.results import Results
from codesign.study.rows import Task, TrialRow

__all__ = ["Chunk", "Job", "Outcome", "Schedule", "StopRule"]

CHUNK_SECONDS = 1.0  # from handing out to storing, where trials are fast enough to be many

StopRule = Callable[[str, list[TrialRow]], bool]
"""Whether a task, named by its digest, needs no more trials than these, which are 0, 1, … n-1."""


@dataclass(frozen=True)
class Job:
    """A task and how many of its trials are wanted.

    Attributes:
        task: What a trial depends on.
        trials: How many, at most; at least 1.
        looks: Numbers of trials, rising, after which the stop rule is asked; planned before the
            first trial runs. Those from ``trials`` on are not reached.
    """

    task: Task
    trials: int
    looks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise StudyError(f"{self.task.name}: trials={self.trials}, expected at least 1")
        if list(self.looks) != sorted(set(self.looks)) or any(look < 1 for look in self.looks):
            raise StudyError(
                f"{self.task.name}: looks={self.looks}, expected rising numbers from 1 on"
            )


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        task: Digest of the task.
        trials: How many trials count: the first so many. The store may hold more, of a longer run.
        stopped: Whether the stop rule ended it.
    """

    task: str
    trials: int
    stopped: bool


@dataclass(frozen=True)
class Chunk:
    """Trials of one job that are handed out together.

    Attributes:
        job: Number of the job.
        task: Digest of its task.
        name: Its name.
        trials: Indices, rising.
    """

    job: int
    task: str
    name: str
    trials: tuple[int, ...]

    def alone(self) -> list[Chunk]:
        """The same trials, one by one."""
        return [Chunk(self.job, self.task, self.name, (trial,)) for trial in self.trials]

    def __str__(self) -> str:
        first, last = self.trials[0], self.trials[-1]
        which = f"trial {first}" if first == last else f"trials {first} to {last}"
        return f"{which} of {self.name} (task {self.task})"


class Schedule:
    """Hands out chunks of what is missing, and learns what has been stored.

    Every job gets a turn in each round. A turn is one chunk in the first round, two in the second,
    four in the third: all jobs show something soon, and a worker that keeps what belongs to one
    job does not have to change it often.

    Args:
        results: Where trials are stored.
        jobs: What is wanted; no task twice.
        chunk: How many trials to hand out together, at most.
        stop: Asked at each planned look.
        most: Up to how many to hand out together where a trial takes little; none: ``chunk``.
    """

    def __init__(
        self,
        results: Results,
        jobs: Sequence[Job],
        chunk: int,
        stop: StopRule | None,
        most: int | None = None,
    ) -> None:
        _require_different(jobs)
        self._courses = [_Course(results, job, stop, chunk) for job in jobs]
        self._chunk, self._most = chunk, max(chunk, most or chunk)
        self._turns = self._take_turns()
        self._again: deque[Chunk] = deque()

    @property
    def done(self) -> int:
        """Trials that are stored, of those wanted."""
        return sum(course.done for course in self._courses)

    @property
    def left(self) -> int:
        """Trials that are wanted and not stored; fewer when a job stops early."""
        return sum(course.left for course in self._courses)

    def next_chunk(self) -> Chunk | None:
        """The next chunk; None if nothing can be handed out before more is stored."""
        if self._again:
            return self._again.popleft()
        return next(self._turns, None)

    def stored(self, chunk: Chunk, seconds: float) -> None:
        """All of the chunk is in the store, so long after it was handed out."""
        fitting = int(len(chunk.trials) * CHUNK_SECONDS / max(seconds, 1e-9))
        course = self._courses[chunk.job]
        course.chunk = min(max(self._chunk, fitting), self._most)
        course.stored(len(chunk.trials))

    def lost(self, chunk: Chunk) -> None:
        """Nothing came of the chunk: it is the next one to be handed out again."""
        self._again.appendleft(chunk)

    def outcomes(self) -> list[Outcome]:
        """How each job ended, in the order of the jobs."""
        return [course.outcome() for course in self._courses]

    def _take_turns(self) -> Iterator[Chunk | None]:
        turn = 1
        while True:
            handed = False
            for number, course in enumerate(self._courses):
                for _ in range(turn):
                    trials = course.take()
                    if not trials:
                        break
                    handed = True
                    yield Chunk(number, course.task, course.name, trials)
            if handed:
                turn *= 2
            else:
                yield None


class _Course:
    """One job on its way from look to look."""

    def __init__(self, results: Results, job: Job, stop: StopRule | None, chunk: int) -> None:
        self.chunk = chunk
        self.task = results.add_task(job.task)
        self.name = job.task.name
        self.left = len(results.missing(self.task, job.trials))
        self.done = job.trials - self.left
        self._results = results
        self._stop = stop
        looks = job.looks if stop is not None else ()
        self._ends = deque([*(look for look in looks if look < job.trials), job.trials])
        self._waiting: deque[int] = deque()
        self._running = 0
        self._over = self._stopped = False
        self._begin_leg()
        self._settle()

    def take(self) -> tuple[int, ...]:
        """A chunk of the present leg; no trials if all of it is handed out."""
        count = min(self.chunk, len(self._waiting))
        self._running += count
        return tuple(self._waiting.popleft() for _ in range(count))

    def stored(self, count: int) -> None:
        """So many of those taken are in the store."""
        self._running -= count
        self.done += count
        self.left -= count
        self._settle()

    def outcome(self) -> Outcome:
        return Outcome(self.task, self._end, self._stopped)

    def _begin_leg(self) -> None:
        self._end = self._ends.popleft()
        self._waiting.extend(self._results.missing(self.task, self._end))

    def _settle(self) -> None:
        """While all of the leg is stored: decide, and begin the next one."""
        while not (self._waiting or self._running or self._over):
            if not self._ends:
                self._over = True
            elif self._stop and self._stop(self.task, self._results.rows(self.task, self._end)):
                self._over = self._stopped = True
                self.done, self.left = self._end, 0
            else:
                self._begin_leg()


def _require_different(jobs: Sequence[Job]) -> None:
    names: dict[str, str] = {}
    for job in jobs:
        if job.task.digest in names:
            raise StudyError(
                f"{names[job.task.digest]!r} and {job.task.name!r} are the same task "
                f"({job.task.digest}): equal in all that their trials depend on; ask for it once"
            )
        names[job.task.digest] = job.task.name
