"""Hardware time → steps: which of an event's repetitions lie in a window.

An *event* happens once in every step, at a fixed offset. Its repetitions are numbered through the
run: number ``inference · steps + step``. A half-open range of numbers is what a fault touches; as
selectors of effects it is at most three rectangles of inferences × steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelerators.cores.schedule import CLEAR_CYCLES, Schedule
from codesign.errors import FaultError

__all__ = ["EVER", "Clock", "rectangles"]

EVER = np.int64(2**62)  # the end of what never ends

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Clock:
    """The periods of a schedule.

    Attributes:
        steps: Of an inference.
        step_cycles: Period of an event.
        inference_cycles: Cycles of an inference.
        inferences: Of the run.
    """

    steps: int
    step_cycles: int
    inference_cycles: int
    inferences: int

    @staticmethod
    def of(schedule: Schedule, inferences: int) -> Clock:
        """The clock of a run."""
        return Clock(schedule.steps, schedule.step_cycles, schedule.inference_cycles, inferences)

    @property
    def repetitions(self) -> int:
        """How often each event happens in the run."""
        return self.inferences * self.steps

    def absolute(self, when: Ints, *, end: bool = False) -> Ints:
        """``[faults]`` cycles from the beginning of the run of ``[faults, 2]`` (inference, cycle).

        Args:
            when: (-1, -1) is for ever.
            end: Whether these are ends of windows, which may stand behind the last cycle.

        Raises:
            FaultError: There is no such cycle.
        """
        inference, cycle = when[:, 0], when[:, 1]
        ever = inference < 0
        bad = ~ever & ((cycle < 0) | (cycle >= self.inference_cycles + end))
        if bad.any():
            raise FaultError(
                f"a window names cycle {cycle[bad][0]}; an inference of this mapping has cycles "
                f"0..{self.inference_cycles - 1}"
            )
        return np.where(ever, EVER, inference * self.inference_cycles + cycle)

    def number(self, time: Ints, offset: Ints | int) -> Ints:
        """The first repetition at or after a time, at most `repetitions`.

        >>> Clock(steps=2, step_cycles=10, inference_cycles=21, inferences=3).number(
        ...     np.array([0, 4, 5, 14, 15, 24]), offset=4).tolist()
        [0, 0, 1, 1, 2, 2]
        """
        time = np.minimum(time, self.inferences * self.inference_cycles)
        inference, cycle = np.divmod(time, self.inference_cycles)
        step = np.clip(-((offset - cycle) // self.step_cycles), 0, self.steps)
        return np.minimum(inference * self.steps + step, self.repetitions)

    def start(self, number: Ints) -> Ints:
        """Cycle to which offsets of step 0 are added to give a repetition's own cycle."""
        inference, step = np.divmod(number, self.steps)
        return inference * self.inference_cycles + step * self.step_cycles

    def number_after_write(self, time: Ints, offset: int) -> Ints:
        """The first step whose membrane was written at or after a time.

        Membranes are cleared in cycle 0 of an inference, and then written once a step: what step t
        reads was written in step t - 1.
        """
        time = np.minimum(time, self.inferences * self.inference_cycles)
        inference, cycle = np.divmod(time, self.inference_cycles)
        later = np.maximum(-((offset - cycle) // self.step_cycles), 0)
        step = np.where(cycle < CLEAR_CYCLES, 0, np.minimum(1 + later, self.steps))
        return np.minimum(inference * self.steps + step, self.repetitions)


def rectangles(clock: Clock, first: Ints, last: Ints) -> tuple[Ints, Ints, Ints]:
    """Ranges of repetitions as rectangles.

    Args:
        clock: Of the run.
        first: ``[ranges]`` first repetition.
        last: ``[ranges]`` the one after the last; greater than ``first``.

    Returns:
        ``[rectangles]`` which range it belongs to, ``[rectangles, 2]`` inferences and
        ``[rectangles, 2]`` steps, half open, -1 for "to the end".

    >>> clock = Clock(steps=4, step_cycles=9, inference_cycles=37, inferences=5)
    >>> which, inferences, steps = rectangles(clock, np.array([2, 8]), np.array([14, 20]))
    >>> which.tolist(), inferences.tolist(), steps.tolist()
    ([0, 0, 0, 1], [[0, 1], [1, 3], [3, 4], [2, -1]], [[2, -1], [0, -1], [0, 2], [0, -1]])
    """
    head, head_step = np.divmod(first, clock.steps)
    tail, tail_step = np.divmod(last, clock.steps)
    zero = np.zeros_like(first)
    within = head == tail
    middle = head + (head_step > 0)
    end = np.where(within, tail_step, clock.steps)
    parts = [
        (within | (head_step > 0), head, head + 1, head_step, end),
        (~within & (middle < tail), middle, tail, zero, zero + clock.steps),
        (~within & (tail_step > 0), tail, tail + 1, zero, tail_step),
    ]
    which = np.concatenate([np.flatnonzero(part[0]) for part in parts])
    columns = [np.concatenate([part[i][part[0]] for part in parts]) for i in range(1, 5)]
    order = np.argsort(which, kind="stable")
    inferences = np.stack([columns[0], columns[1]], axis=1)[order]
    steps = np.stack([columns[2], columns[3]], axis=1)[order]
    inferences[inferences[:, 1] == clock.inferences, 1] = -1
    steps[steps[:, 1] == clock.steps, 1] = -1
    return which[order], inferences, steps
