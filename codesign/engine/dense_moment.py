"""Which samples and steps are computed, and what rows touch there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.effects import EFFECT
from codesign.engine.dense_rows import Rows, Span, covers, expand, spans, windows

__all__ = ["NO_ROWS", "Boxes", "Flags", "Moment", "distinct_windows"]

Ints = NDArray[np.int64]
NO_ROWS = np.zeros(0, dtype=EFFECT)


@dataclass(frozen=True, eq=False)
class Moment:
    """A run of steps of some samples.

    Attributes:
        samples: Ascending numbers of the samples.
        first: First step.
        last: Step behind the last.
        size: Samples and steps there are at all: what "to the end" means.
    """

    samples: Ints
    first: int
    last: int
    size: tuple[int, int]

    def share(self, rows: Rows) -> NDArray[np.int8]:
        """``[2, rows]`` how much of the samples and of the steps a row acts at: none, some, all."""
        steps = np.arange(self.first, self.last)
        return np.stack(
            [
                covers(*windows(rows, "samples", self.size[0]), self.samples),
                covers(*windows(rows, "steps", self.size[1]), steps),
            ]
        )


@dataclass(frozen=True, eq=False)
class Flags:
    """Which samples saw a guard speak.

    Attributes:
        corrected: ``[samples]``.
        detected: ``[samples]``.
    """

    corrected: NDArray[np.bool_]
    detected: NDArray[np.bool_]

    @staticmethod
    def none(samples: int) -> Flags:
        """No guard spoke."""
        return Flags(np.zeros(samples, dtype=bool), np.zeros(samples, dtype=bool))

    def at(self, samples: Ints) -> Flags:
        """Of some samples."""
        return Flags(self.corrected[samples], self.detected[samples])

    def add_(self, other: Flags | None, samples: Ints | slice = slice(None)) -> None:
        """Take over what others saw of some samples, in place."""
        if other is not None:
            self.corrected[samples] |= other.corrected
            self.detected[samples] |= other.detected

    def clear_(self, samples: Ints) -> None:
        """Forget what was seen of some samples, in place."""
        self.corrected[samples] = self.detected[samples] = False


def distinct_windows(rows: Rows) -> tuple[Rows, Ints]:
    """One row for each distinct pair of windows, and which of them each row has."""
    if len(rows) == 0:
        return rows, np.zeros(0, dtype=np.int64)
    columns = np.concatenate([rows["samples"], rows["steps"]], axis=1)
    if (columns == columns[0]).all():
        return rows[:1], np.zeros(len(rows), dtype=np.int64)
    _, first, which = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    return rows[first], which.ravel()


@dataclass(frozen=True, eq=False)
class Boxes:
    """What rows touch of one layer at a moment.

    Attributes:
        rows: Of the layer.
        axes: Spans of steps and samples (positions in the moment), m and n.
        size: (steps, samples, M, N).
    """

    rows: Rows
    axes: tuple[Span, Span, Span, Span]
    size: tuple[int, int, int, int]

    @staticmethod
    def at(rows: Rows, moment: Moment, steps: int, grid: tuple[int, int]) -> Boxes:
        """Of rows at a moment of which ``steps`` are told apart (1: all are the same)."""
        positions, channels = grid
        s0, s1 = np.searchsorted(moment.samples, windows(rows, "samples", moment.size[0]))
        t0, t1 = np.clip(
            np.stack(windows(rows, "steps", moment.size[1])) - moment.first,
            0,
            moment.last - moment.first,
        )
        if steps == 1 and moment.last - moment.first > 1:
            t0, t1 = np.zeros_like(t0), np.minimum(t1 - t0, 1)
        one = np.ones(len(rows), dtype=np.int64)
        axes = (
            Span(t0, t1 - t0, one),
            Span(s0, s1 - s0, one),
            spans(rows, "m", positions),
            spans(rows, "n", channels),
        )
        return Boxes(rows, axes, (steps, len(moment.samples), positions, channels))

    def part(self, chosen: Ints) -> list[Span]:
        """The four spans of chosen rows."""
        return [Span(a.start[chosen], a.count[chosen], a.step[chosen]) for a in self.axes]

    def keys(self, chosen: Ints) -> tuple[Ints, Ints]:
        """Outputs that chosen rows touch: (row of each, its number)."""
        owner, (t, s, m, n) = expand(self.part(chosen))
        _, samples, positions, channels = self.size
        return chosen[owner], ((t * samples + s) * positions + m) * channels + n

    def split(self, keys: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """(t, s, m, n) of output numbers."""
        rest, n = np.divmod(keys, self.size[3])
        rest, m = np.divmod(rest, self.size[2])
        t, s = np.divmod(rest, self.size[1])
        return t, s, m, n

    def hits(self, chosen: Ints, keys: Ints) -> tuple[Ints, Ints]:
        """Which chosen rows meet which of ascending outputs: (row, position), rows ascending."""
        counts = np.prod([a.count for a in self.part(chosen)], axis=0, dtype=np.int64)
        wide = counts > len(keys)
        owner, key = self.keys(chosen[~wide])
        at = np.searchsorted(keys, key)
        there = keys[np.minimum(at, len(keys) - 1)] == key
        owners, places = [owner[there]], [at[there]]
        coordinates = self.split(keys)
        for row in chosen[wide].tolist():
            inside = np.ones(len(keys), dtype=bool)
            for axis, index in zip(self.part(np.array([row])), coordinates, strict=True):
                inside &= axis.hold(index)[0]
            places.append(np.flatnonzero(inside))
            owners.append(np.full(len(places[-1]), row))
        owner, place = np.concatenate(owners), np.concatenate(places)
        order = np.argsort(owner, kind="stable")
        return owner[order], place[order]
