"""One sum the way a program tells it: segments, pieces, corruptions between them, readout, totals.

A *piece* is a run of terms between two places where something can happen to the running sum; its
terms are added at once where the format allows that. Who adds and who corrupts differs: whole
blocks of outputs (`codesign.engine.dense_blocks`) or single ones (`codesign.engine.dense_pairs`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from codesign.effects import At
from codesign.engine.dense_codes import requantise_long
from codesign.engine.dense_formulas import Formulas
from codesign.engine.dense_mac import MacPlan
from codesign.engine.dense_numbers import ends_of, widest, within_long
from codesign.engine.dense_rows import Rows
from codesign.formats import NumberFormat, Requantise

__all__ = ["SumRows", "Work", "chain"]

Ints = NDArray[np.int64]
NONE = np.zeros(0, dtype=np.int64)


class SumRows:
    """The accumulator rows of a layer, by place.

    Attributes:
        rows: Any rows of the layer.
        formulas: Their numbers.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows, self.formulas = rows, Formulas(rows)
        places = (At.load, At.every, At.after, At.out, At.total)
        self._at = {at: np.flatnonzero(rows["at"] == at) for at in places}
        self._segment, self._after = rows["segment"], rows["after"]

    def at(self, place: At, segment: int) -> Ints:
        """Rows that act at a place of a segment, ascending."""
        return self._here(self._at[place], segment)

    def behind(self, segment: int, terms: int) -> Ints:
        """Rows that act on a segment's running sum when so many terms are in it, ascending."""
        after = self._at[At.after]
        after = after[self._after[after] == terms] if len(after) else after
        return np.sort(np.concatenate([self._here(after, segment), self.at(At.every, segment)]))

    def pieces(self, segment: int, terms: int) -> list[int]:
        """Ends of the pieces of a segment, ascending; the last is its number of terms."""
        if len(self.at(At.every, segment)):
            return list(range(1, terms + 1))
        cuts = self._after[self.at(At.after, segment)].tolist()
        return sorted({*cuts, terms})

    def _here(self, rows: Ints, segment: int) -> Ints:
        if len(rows) == 0:
            return NONE
        at = self._segment[rows]
        return rows[(at == -1) | (at == segment)]


class Work(Protocol):
    """What differs between blocks and single outputs."""

    def pieces(self, segment: int, terms: int) -> list[int]:
        """Ends of the pieces of a segment."""
        ...

    def add(self, acc: Tensor, start: int, stop: int) -> Tensor:
        """The running sum after the terms of positions start to stop in the order of terms."""
        ...

    def corrupt(self, acc: Tensor, chosen: Ints, ends: tuple[int, int] | None) -> Tensor:
        """A sum of a range, if it is known, after chosen rows."""
        ...

    def fit(self, total: Tensor, form: NumberFormat) -> Tensor:
        """A total written to its place."""
        ...


def chain(plan: MacPlan, rows: SumRows, work: Work, bias: Tensor, channel: Ints) -> Tensor:
    """Totals before requantisation.

    Args:
        plan: Of the layer.
        rows: That act on running sums and totals.
        work: Who adds and corrupts.
        bias: Int64, of the shape of the sums.
        channel: Output channel n along the last axis of the sums.
    """
    arithmetic = plan.arithmetic
    readout = arithmetic.readout and _of_channels(arithmetic.readout, channel)
    loaded = arithmetic.bias_in == "load"
    inner, outer = ((f.low, f.high) for f in (arithmetic.inner, arithmetic.outer))
    read = (readout.low, readout.high) if readout else None
    total = work.fit(bias * (not loaded), arithmetic.outer)
    for s, (start, stop) in enumerate(arithmetic.segments):
        acc = work.corrupt(bias * (s == 0 and loaded), rows.at(At.load, s), None)
        done = 0
        for end in work.pieces(s, stop - start):
            acc = work.add(acc, start + done, start + end)
            acc = work.corrupt(acc, rows.behind(s, end), inner)
            done = end
        if readout:
            acc = _read_out(acc, readout)
        acc = work.corrupt(acc, rows.at(At.out, s), read)
        if readout:
            acc = acc.clamp(readout.low, readout.high)
        total = work.fit(total + acc, arithmetic.outer)
        total = work.corrupt(total, rows.at(At.total, s), outer)
    return total


def _of_channels(q: Requantise, channel: Ints) -> Requantise:
    """A readout whose multipliers, if they differ, stand for these channels."""
    multiplier = np.asarray(q.multiplier, dtype=np.int64).ravel()
    return q if len(multiplier) == 1 else replace(q, multiplier=multiplier[channel])


def _read_out(acc: Tensor, readout: Requantise) -> Tensor:
    low, high = ends_of(acc)
    within_long(0, widest(low, high) * int(np.max(readout.multiplier)) >> 1, "a readout product")
    return requantise_long(acc, readout, acc.ndim - 1)
