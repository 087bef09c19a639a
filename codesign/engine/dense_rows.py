"""Effect rows as arrays: boxes spread out to elements, windows of samples and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "Span", "covers", "expand", "spans", "take", "windows"]

Rows = NDArray[np.void]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """For each row, the indices start, start + step, … of one axis, ``count`` of them."""

    start: Ints
    count: Ints
    step: Ints

    def hold(self, index: Ints) -> NDArray[np.bool_]:
        """``[rows, indices]`` whether a row's span holds an index."""
        offset = index[None, :] - self.start[:, None]
        step = self.step[:, None]
        return (offset >= 0) & (offset < self.count[:, None] * step) & (offset % step == 0)


def spans(rows: Rows, axis: str, size: int) -> Span:
    """Of a box column (``m``, ``k`` or ``n``) on an axis of a size."""
    start, stop, step = (np.ascontiguousarray(rows[axis][:, i]) for i in range(3))
    stop = np.where(stop < 0, size, stop)
    return Span(start, np.maximum(-((start - stop) // step), 0), step)


def take(rows: Rows, mask: NDArray[np.bool_]) -> Rows:
    """Rows of a mask, in order; a view where they lie together (a row is 166 bytes)."""
    count = int(np.count_nonzero(mask))
    if count == 0:
        return rows[:0]
    first = int(mask.argmax())
    if mask[first : first + count].all():
        return rows[first : first + count]
    return rows[mask]


def windows(rows: Rows, axis: str, size: int) -> tuple[Ints, Ints]:
    """First and last (half open) sample or step of each row, clipped to 0..size."""
    first, last = rows[axis][:, 0], rows[axis][:, 1]
    first = np.clip(first, 0, size)
    return first, np.maximum(np.where(last < 0, size, np.minimum(last, size)), first)


def covers(first: Ints, last: Ints, present: Ints) -> NDArray[np.int8]:
    """How much of ascending samples or steps each window holds: 0 nothing, 1 some, 2 all."""
    low, high = np.searchsorted(present, first), np.searchsorted(present, last)
    share = (high > low).astype(np.int8)
    return share + ((high - low == len(present)) & (high > low))


def expand(axes: Sequence[Span]) -> tuple[Ints, list[Ints]]:
    """All index tuples of boxes given by their spans: (row of each, coordinate along each axis)."""
    counts = [axis.count for axis in axes]
    sizes = np.prod(counts, axis=0, dtype=np.int64)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    if len(owner) == len(sizes) and (sizes == 1).all():
        return owner, [axis.start for axis in axes]
    local = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    coordinates = []
    for axis in reversed(axes):
        count = axis.count[owner]
        coordinates.append(axis.start[owner] + axis.step[owner] * (local % count))
        local = local // count
    return owner, coordinates[::-1]
