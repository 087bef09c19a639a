"""How far a long job is: a bar on a terminal, one plain line every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

__all__ = ["Progress", "duration"]


class Progress:
    """Counts things done, tells how fast they go and how long the rest will take.

    Results go to standard output, so this goes to standard error. The rate is of what was done
    since the start: what an earlier run left done does not make this one look fast.

    Args:
        things: What is counted.
        stream: Where to write; standard error.
        quiet: Count and write nothing.
        every_seconds: How often to write a line where there is no terminal.
        clock: Seconds since any moment.
    """

    def __init__(
        self,
        things: str = "trials",
        stream: TextIO | None = None,
        *,
        quiet: bool = False,
        every_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.things = things
        self.every_seconds = every_seconds
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._clock = clock
        self._bar: Any = None
        self._done = self._new = self._left = 0
        self._started = self._written = clock()

    def start(self, done: int, left: int) -> None:
        """Begin, with so many done by earlier runs and so many left."""
        self._done, self._new, self._left = done, 0, left
        self._started = self._written = self._clock()
        if not self._quiet and self._stream.isatty():
            from tqdm import tqdm  # only a terminal needs it, and a worker process has none

            total = done + left
            self._bar = tqdm(
                total=total, initial=done, unit=f" {self.things}", file=self._stream, leave=True
            )

    def advance(self, new: int, left: int) -> None:
        """So many more are done, and so many are left: fewer than before by more, if some stop."""
        self._done, self._new, self._left = self._done + new, self._new + new, left
        if self._bar is not None:
            self._bar.total = self._done + left
            self._bar.update(new)
        self.tick()

    def tick(self) -> None:
        """Write a line if it is time for one. Call it while waiting, too."""
        if self._bar is None and self._clock() - self._written >= self.every_seconds:
            self._written = self._clock()
            self._write(self.line())

    def say(self, text: str) -> None:
        """Write something that should not wait."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            self._write(text)

    def stop(self) -> None:
        """End, with a last line if anything was done since the start."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif self._new:
            self._write(self.line())

    def line(self) -> str:
        """Done, total, rate and time left, in one line."""
        total = self._done + self._left
        seconds = self._clock() - self._started
        percent = f"{100 * self._done // total} %" if total else "nothing to do"
        parts = [f"{self._done}/{total} {self.things} ({percent})"]
        if self._new and seconds > 0:
            rate = self._new / seconds
            parts.append(f"{rate:.3g}/s")
            parts.append(
                f"{duration(self._left / rate)} left" if self._left else f"in {duration(seconds)}"
            )
        return ", ".join(parts)

    def _write(self, text: str) -> None:
        if not self._quiet:
            print(text, file=self._stream, flush=True)


def duration(seconds: float) -> str:
    """A time that a person can take in.

    >>> [duration(seconds) for seconds in (0.4, 59.6, 3599, 7260, 200_000)]
    ['0 s', '1 min', '1 h', '2 h 1 min', '55 h 33 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(whole / 60), 60)
    text = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    return text.removesuffix(" 0 min")
