"""What faults in current registers touch: a running sum, between which two of its writes.

In a step a register is written first with the bias or 0 (*loaded*), then once for each term of its
column that has a synapse, then, at home, once for each further segment. Value p is what stands
after p of these later writes: 0 is the load, then partial sums, then totals. It stands until it is
read for the next write, the last value until the current is consumed (or sent home); from then to
the next load the register is dead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelerators.cores.rows import Box, EffectRows, Place, Span, Struck, each
from accelerators.cores.schedule import Run
from accelerators.cores.times import Clock
from codesign.effects import At, Kind

__all__ = ["strike_currents"]

Ints = NDArray[np.int64]


def strike_currents(run: Run, struck: Struck, column: Ints, rows: EffectRows) -> None:
    """Effects of faults in the current registers of one run.

    Args:
        run: A group's sum on a core.
        struck: Faults on this core, in columns that it uses.
        column: ``[faults]`` column of the group.
        rows: Where effects go.
    """
    sums = _Sums.of(run)
    clock = rows.clock
    _whole_steps(run, sums, struck, column, rows)
    loaded, consumed = sums.loaded, sums.consumed(column)
    first = clock.number(struck.first, consumed)
    last = clock.number(struck.last, loaded + 1)
    whole = _whole(clock, sums, struck, column)
    # Steps that a window covers in part: at most the first and the last that it touches.
    head = first < np.where(struck.flips, last, np.minimum(whole.first, last))
    tail = ~struck.flips & (whole.last >= first) & (whole.last < last)
    tail &= ~(head & (last - 1 == first))
    for number, chosen in ((first, head), (last - 1, tail)):
        here = np.flatnonzero(chosen)
        _within_a_step(run, sums, struck.take(here), column[here], number[here], rows)


@dataclass(frozen=True, eq=False)
class _Sums:
    """When the sums of a run are read and written, as offsets of step 0.

    Attributes:
        run: The run.
        loaded: Cycle in which registers are loaded.
        starts: ``[bands + 1]`` where each band's terms begin in the two lists.
        terms: ``[terms]`` terms with a synapse, band after band, ascending.
        cycles: ``[terms]`` when each is added.
    """

    run: Run
    loaded: int
    starts: Ints
    terms: Ints
    cycles: Ints

    @staticmethod
    def of(run: Run) -> _Sums:
        """Tabulate a run."""
        terms = np.concatenate([tile.terms for tile in run.tiles], axis=1)
        cycles = np.concatenate([tile.integrate + np.arange(tile.rows) for tile in run.tiles])
        band, place = np.nonzero(terms >= 0)
        starts = np.r_[0, np.cumsum(np.bincount(band, minlength=len(terms)))]
        return _Sums(run, run.tiles[0].deliver, starts, terms[band, place], cycles[place])

    def count(self, column: Ints) -> Ints:
        """``[faults]`` terms of each column."""
        band = self.run.bands.of[column]
        return self.starts[band + 1] - self.starts[band]

    def consumed(self, column: Ints) -> Ints:
        """``[faults]`` cycle of the last read."""
        if self.run.home:
            return np.full(len(column), self.run.consumed)
        return self.run.gathered(self.run.segment, column)

    def value_at(self, column: Ints, cycle: Ints) -> Ints:
        """``[faults]`` number of the value that stands at the beginning of a cycle of step 0."""
        band = self.run.bands.of[column]
        period = np.int64(self.run.send + 2)
        keys = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts)) * period
        found = np.searchsorted(keys + self.cycles, band * period + np.minimum(cycle, period - 1))
        added = -((self.run.gathered(1, column) - cycle) // self.run.gather_width)
        return found - self.starts[band] + np.clip(added, 0, self.run.others)

    def term(self, column: Ints, value: Ints) -> Ints:
        """``[faults]`` the term whose addition made a value (from 1, no total)."""
        return self.terms[self.starts[self.run.bands.of[column]] + value - 1]

    def first_read(self, column: Ints) -> Ints:
        """``[faults]`` cycle in which the loaded value is read."""
        count = self.count(column)
        start = self.starts[self.run.bands.of[column]]
        first = self.consumed(column)
        if self.run.others:
            first = self.run.gathered(1, column)
        some = count > 0
        first[some] = self.cycles[start[some]]
        return first

    def last_written(self, column: Ints) -> Ints:
        """``[faults]`` the first cycle in which the last value stands."""
        count = self.count(column)
        last = np.full(len(column), self.loaded)
        some = count > 0
        last[some] = self.cycles[self.starts[self.run.bands.of[column[some]] + 1] - 1]
        if self.run.others:
            last = self.run.gathered(self.run.others, column)
        return last + 1


def _whole(clock: Clock, sums: _Sums, struck: Struck, column: Ints) -> Span:
    """Steps of which a window touches every value."""
    first = clock.number(struck.first, sums.first_read(column))
    return Span(first, clock.number(struck.last, sums.last_written(column)))


def _whole_steps(run: Run, sums: _Sums, struck: Struck, column: Ints, rows: EffectRows) -> None:
    """Stuck bits: the loaded value and every later one. A flip is never in all of them."""
    span = _whole(rows.clock, sums, struck, column)
    span = Span(span.first, np.where(struck.flips, span.first, span.last))
    box: Box = {"m": each(run.m[column]), "n": each(run.n[column]), "segment": run.segment}
    for at in (At.load, At.every):
        rows.add(Place(Kind.accumulator, at, run.layer.index), struck, span, box)
    if run.others:
        totals = Place(Kind.accumulator, At.total, run.layer.index)
        rows.add(totals, struck, span, {**box, "segment": -1})


def _within_a_step(
    run: Run, sums: _Sums, struck: Struck, column: Ints, number: Ints, rows: EffectRows
) -> None:
    """The values of one step that a window touches, each by its own effect."""
    start = rows.clock.start(number)
    low = np.maximum(struck.first - start, sums.loaded + 1)
    high = np.minimum(struck.last - 1 - start, sums.consumed(column))
    first, last = sums.value_at(column, low), sums.value_at(column, high)
    counts = np.maximum(last - first + 1, 0)
    fault = np.repeat(np.arange(len(struck)), counts)
    within = np.arange(len(fault)) - np.repeat(np.cumsum(counts) - counts, counts)
    value, column = first[fault] + within, column[fault]
    struck, number = struck.take(fault), number[fault]
    terms = sums.count(column)
    layer, origin = run.layer.index, run.tiles[0].start
    for at, chosen in (
        (At.load, value == 0),
        (At.after, (value > 0) & (value <= terms)),
        (At.total, value > terms),
    ):
        here = np.flatnonzero(chosen)
        box: Box = {"m": each(run.m[column[here]]), "n": each(run.n[column[here]])}
        box["segment"] = run.segment if at is not At.total else value[here] - terms[here]
        if at is At.after:
            box["after"] = sums.term(column[here], value[here]) - origin + 1
        span = Span(number[here], number[here] + 1)
        rows.add(Place(Kind.accumulator, at, layer), struck.take(here), span, box)
