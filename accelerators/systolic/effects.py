"""Effect rows from many faults at once: windows of hardware time, ranks, the table's columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.effects import ALL, EFFECT, At, Kind, Op
from codesign.errors import FaultError
from codesign.faults import FaultModel

__all__ = ["FOR_EVER", "EffectRows", "Place", "Struck", "Windows"]
__all__ += ["alone", "onwards", "overruled", "repeated", "single", "struck"]

FOR_EVER = 1 << 40  # beyond every cycle of a run; ranks count time below it

_OPS = {
    FaultModel.flip: Op.xor,
    FaultModel.stuck0: Op.stuck,
    FaultModel.stuck1: Op.stuck,
    FaultModel.dead: Op.replace,
}


@dataclass(frozen=True, eq=False)
class Struck:
    """Faults of one component, in columns.

    Attributes:
        which: ``[faults]`` row of the fault table.
        instance: ``[faults]`` flat in the unit's shape.
        word, bit: ``[faults]``.
        start, stop: ``[faults]`` global cycles (inference · cycles + cycle), half open. A flip is a
            window of one cycle; what it leaves behind is for the component to know.
    """

    which: NDArray[np.int64]
    instance: NDArray[np.int64]
    word: NDArray[np.int64]
    bit: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.which)

    def take(self, index: NDArray[np.int64]) -> Struck:
        """Some of them."""
        columns = (self.which, self.instance, self.word, self.bit, self.start, self.stop)
        return Struck(*(column[index] for column in columns))


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows cut into whole inferences and the parts of an inference before and after.

    Attributes:
        whole: ``[w]`` index of the windows that hold whole inferences.
        samples: ``[w, 2]`` those inferences, half open; -1 as stop means to the end.
        part: ``[p]`` index of the window that a part belongs to.
        start, stop: ``[p]`` global cycles of the part.
    """

    whole: NDArray[np.int64]
    samples: NDArray[np.int64]
    part: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @staticmethod
    def cut(
        start: NDArray[np.int64], stop: NDArray[np.int64], cycles: int, inferences: int
    ) -> Windows:
        """Cut ``[windows]`` at the borders of inferences.

        >>> cut = Windows.cut(np.array([7]), np.array([35]), cycles=10, inferences=4)
        >>> cut.samples.tolist(), cut.start.tolist(), cut.stop.tolist()
        ([[1, 3]], [7, 30], [10, 35])
        """
        start = np.maximum(start, 0)
        stop = np.minimum(stop, cycles * inferences)
        first, last = -(-start // cycles), stop // cycles
        whole = np.flatnonzero(first < last)
        samples = np.stack([first[whole], last[whole]], axis=1)
        samples[:, 1] = np.where(samples[:, 1] == inferences, -1, samples[:, 1])
        head_stop = np.minimum(stop, first * cycles)
        head = np.flatnonzero(start < head_stop)
        tail = np.flatnonzero((last >= first) & (last * cycles < stop))
        return Windows(
            whole,
            samples,
            np.concatenate([head, tail]),
            np.concatenate([start[head], last[tail] * cycles]),
            np.concatenate([head_stop[head], stop[tail]]),
        )


def struck(
    table: NDArray[np.void], which: NDArray[np.int64], cycles: int, inferences: int
) -> Struck:
    """Faults ``table[which]`` with their windows in global cycles.

    Raises:
        FaultError: A window begins in a cycle or an inference that the run does not have.
    """
    rows = table[which]
    first, last = rows["first"], rows["last"]
    outside = (first[:, 0] >= inferences) | (first[:, 1] >= cycles)
    if outside.any():
        inference, cycle = first[outside][0].tolist()
        raise FaultError(
            f"a fault begins in inference {inference}, cycle {cycle}; the run has inferences "
            f"0..{inferences - 1} of cycles 0..{cycles - 1}"
        )
    start = first[:, 0] * cycles + first[:, 1]
    stop = np.where(last[:, 0] < 0, FOR_EVER, last[:, 0] * cycles + last[:, 1])
    stop = np.where(rows["model"] == FaultModel.flip, start + 1, stop)
    return Struck(which, rows["instance"], rows["word"], rows["bit"].astype(np.int64), start, stop)


@dataclass(frozen=True)
class Place:
    """Where effects act, and how wide it is.

    Attributes:
        kind: Of the effects.
        at: The place.
        bits: Its width.
        signed: Whether it is two's complement.
    """

    kind: Kind
    at: At
    bits: int
    signed: bool = True


class EffectRows:
    """Collects effect rows of the faults of one table.

    Attributes:
        hits: ``[faults]`` bool, the faults that have met something so far.
    """

    def __init__(self, table: NDArray[np.void], cycles: int) -> None:
        self.hits = np.zeros(len(table), dtype=bool)
        self._table = table
        self._parts: list[NDArray[np.void]] = []
        begin = table["first"][:, 0] * cycles + table["first"][:, 1]
        end = np.where(
            table["last"][:, 0] < 0, FOR_EVER, table["last"][:, 0] * cycles + table["last"][:, 1]
        )
        # In one place a stuck bit has the last word while it lasts, so it counts by its end.
        self._time = np.where(table["model"] == FaultModel.flip, begin, end - 1)

    def add_(
        self,
        which: NDArray[np.int64],
        place: Place,
        columns: dict[str, Any],
        level: NDArray[np.int64] | int = 0,
        bit: NDArray[np.int64] | None = None,
    ) -> None:
        """Add one row for each of ``which`` (rows of the fault table).

        Args:
            which: ``[rows]``.
            place: Of all of them.
            columns: Other columns of `EFFECT`, ``[rows, …]`` or one for all; they win.
            level: ``[rows]`` station on the value's way through the place; time decides within one.
            bit: ``[rows]`` of the place; the faults' own if None.
        """
        faults = self._table[which]
        rows = np.zeros(len(which), dtype=EFFECT)
        for axis in ("m", "k", "n"):
            rows[axis] = ALL
        rows["segment"], rows["reader"], rows["samples"], rows["steps"] = -1, -1, (0, -1), (0, -1)
        for name in ("trial", "event", "execution"):
            rows[name] = faults[name]
        rows["kind"], rows["at"] = place.kind, place.at
        rows["bits"], rows["signed"] = place.bits, place.signed
        for model, op in _OPS.items():
            rows["op"][faults["model"] == model] = op
        mask = np.int64(1) << (faults["bit"].astype(np.int64) if bit is None else bit)
        rows["mask"] = np.where(faults["model"] == FaultModel.dead, 0, mask)
        rows["value"] = np.where(faults["model"] == FaultModel.stuck1, mask, 0)
        rows["rank"] = np.asarray(level) * FOR_EVER + self._time[which]
        for name, value in columns.items():
            rows[name] = value
        self._parts.append(rows)
        self.hits[which] = True

    def flips(self, which: NDArray[np.int64]) -> NDArray[np.bool_]:
        """``[rows]`` which of some faults are flips."""
        return np.asarray(self._table["model"][which] == FaultModel.flip)

    def stuck_high(self, which: NDArray[np.int64]) -> NDArray[np.bool_]:
        """``[rows]`` which of some faults are bits stuck at 1."""
        return np.asarray(self._table["model"][which] == FaultModel.stuck1)

    def table(self) -> NDArray[np.void]:
        """All rows, in the order they were added."""
        return np.concatenate([np.zeros(0, dtype=EFFECT), *self._parts])


def overruled(
    table: NDArray[np.void], cycles: int, dead_parts: dict[int, int]
) -> NDArray[np.bool_]:
    """``[faults]`` faults that another one makes meaningless.

    A flip of a bit that is stuck at that moment, and whatever is wrong in a memory that is dead.

    Args:
        table: Of `codesign.faults.FAULT`.
        cycles: Of one inference.
        dead_parts: By part number of a memory's words, the part number of the whole memory.
    """
    result = np.zeros(len(table), dtype=bool)
    for part, whole in dead_parts.items():
        dead = table["trial"][table["part"] == whole]
        result |= (table["part"] == part) & np.isin(table["trial"], dead)
    model = table["model"]
    flips = np.flatnonzero(model == FaultModel.flip)
    stuck = np.flatnonzero((model == FaultModel.stuck0) | (model == FaultModel.stuck1))
    if len(flips) == 0 or len(stuck) == 0:
        return result
    site = ["trial", "part", "instance", "word", "bit"]
    sites = np.stack([table[name].astype(np.int64) for name in site], axis=1)
    _, number = np.unique(sites, axis=0, return_inverse=True)
    number = number.reshape(-1)
    stuck = stuck[np.argsort(number[stuck], kind="stable")]
    low, high = (np.searchsorted(number[stuck], number[flips], side) for side in ("left", "right"))
    flip, nth = repeated(high - low)
    one, other = table[flips[flip]], table[stuck[low[flip] + nth]]
    when = one["first"] @ [cycles, 1]
    last = np.where(other["last"][:, 0] < 0, FOR_EVER, other["last"] @ [cycles, 1])
    held = (other["first"] @ [cycles, 1] <= when) & (when < last)
    held &= (other["execution"] == -1) | (other["execution"] == one["execution"])
    result[flips[flip[held]]] = True
    return result


def repeated(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number counted things: (``[total]`` which one, ``[total]`` 0, 1, … within it).

    >>> [x.tolist() for x in repeated(np.array([2, 0, 1]))]
    [[0, 0, 2], [0, 1, 0]]
    """
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)


def single(at: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[rows, 3]`` boxes of one position each."""
    return np.stack([at, at + 1, np.ones_like(at)], axis=1)


def alone(inference: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[rows, 2]`` samples: one inference each."""
    return np.stack([inference, inference + 1], axis=1)


def onwards(inference: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[rows, 2]`` samples: an inference and all after it."""
    return np.stack([inference, np.full_like(inference, -1)], axis=1)
