"""Worker processes that end with their parent, and a pool of them that can be given up at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from codesign.errors import StudyError
from codesign.study.rows import TrialRow

__all__ = ["Crew", "Work"]

Work = Callable[[str, Sequence[int]], list[TrialRow]]
"""Computes trials of a task, named by its digest: one row for each index asked for."""

# What a worker process is, set by _enlist and _prepare; untouched in the parent.
_maker: bytes = b""
_work: Work | None = None


class Crew:
    """A pool of worker processes; a context manager.

    The processes are spawned, not forked: a fork hangs if a threaded torch operation ran before.
    Each holds the end of a pipe whose other end only the parent has. When the parent dies, however
    it dies, the pipe closes and the worker ends at once, in the middle of its work.

    Args:
        make_worker: Makes the `Work` of a process, once in each; it must be picklable.
        workers: How many.

    Raises:
        StudyError: ``make_worker`` cannot be sent to another process.
    """

    def __init__(self, make_worker: Callable[[], Work], workers: int) -> None:
        try:
            maker = pickle.dumps(make_worker)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise StudyError(
                f"workers={workers}: {make_worker!r} cannot be sent to a worker process ({error}); "
                "expected a function at the top of a module, or functools.partial of one with "
                "picklable arguments; workers=1 needs neither"
            ) from error
        context = multiprocessing.get_context("spawn")
        self._refused = False
        self._unanswered: set[Future[list[TrialRow]]] = set()
        self._workers_end, self._lifeline = context.Pipe(duplex=False)
        self._children_before = multiprocessing.active_children()
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=_enlist,
            initargs=(maker, self._workers_end),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self._is_broken():
            self._pool.shutdown(wait=True)
        # Whoever still works stops here, also a process that was being started when another one
        # died: the pool does not know it when it ends its processes, and waits for it in vain.
        self._lifeline.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._workers_end.close()

    def submit(self, task: str, trials: Sequence[int]) -> Future[list[TrialRow]]:
        """Have trials of a task computed.

        Raises:
            BrokenProcessPool: A worker died; so does the future. The crew is of no more use.
        """
        try:
            with _ctrl_c_held_back():
                future = self._pool.submit(_compute, task, trials)
        except BrokenProcessPool:
            self._refused = True
            raise
        self._unanswered.add(future)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Future[list[TrialRow]]) -> None:
        if future.cancelled() or future.exception() is None:
            self._unanswered.discard(future)

    def _is_broken(self) -> bool:
        # Not noted by a callback: those run after whoever waits for the future goes on.
        done = [f for f in tuple(self._unanswered) if f.done() and not f.cancelled()]
        return self._refused or any(isinstance(f.exception(), BrokenProcessPool) for f in done)

    def greet(self) -> list[multiprocessing.process.BaseProcess]:
        """Have one worker made ready; the processes that there are then.

        Raises:
            StudyError: It died of that.
        """
        try:
            with _ctrl_c_held_back():
                ready = self._pool.submit(_prepare)
            ready.result()
        except BrokenProcessPool as error:
            raise StudyError(
                "a worker process dies before it runs any trial; what it said stands above. "
                "Frequent reasons: a script without `if __name__ == '__main__':` around what it "
                "does, or too little memory; workers=1 starts none"
            ) from error
        now = multiprocessing.active_children()
        return [process for process in now if process not in self._children_before]


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C, from their first instruction: they inherit this."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _enlist(maker: bytes, lifeline: Connection) -> None:
    """Become a worker process: end with the parent, and leave Ctrl-C to it."""
    global _maker
    _maker = maker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # and not only held back, as it is until here
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _prepare() -> None:
    # Not in _enlist: what an initializer raises is lost, what a task raises reaches the parent.
    global _work
    if _work is None:
        _work = pickle.loads(_maker)()


def _compute(task: str, trials: Sequence[int]) -> list[TrialRow]:
    _prepare()
    assert _work is not None
    return _work(task, trials)
