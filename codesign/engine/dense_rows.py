"""Effect rows as arrays: boxes spread out to elements, and many corruptions applied at once.

All five corruptions of a value are one formula with six integers for each row, so that rows of
different kinds need no branch::

    v → (((((v · factor + term) & keep) ^ flip) & full) ^ sign) - sign

Rows that meet in one element act one after the other, by (rank, stuck last, order of the table):
the first row of every element makes the first *wave*, the second rows the second wave, and so on;
within a wave no element is met twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.effects import Op
from codesign.engine.dense_numbers import within_long

__all__ = [
    "Rows",
    "Span",
    "Stack",
    "corrupt_all",
    "corrupt_flat",
    "covers",
    "expand",
    "reach",
    "spans",
    "take",
    "waves",
    "windows",
]

Rows = NDArray[np.void]
Ints = NDArray[np.int64]
BROAD_WINDOWS = 16  # more windows than this in a wave are spread out element by element


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


# ----------------------------------------------------------------------------- the one formula

FACTOR, TERM, KEEP, FLIP, FULL, SIGN = range(6)


def _formula(rows: Rows) -> Ints:
    """``[6, rows]`` factor, term, keep, flip, full, sign."""
    op, mask, value = rows["op"], rows["mask"], rows["value"]
    bits = rows["bits"].astype(np.int64)
    by_bits = (op == Op.xor) | (op == Op.stuck)
    found = np.empty((6, len(rows)), dtype=np.int64)
    found[FACTOR] = np.select([op == Op.replace, op == Op.scale], [0, value], 1)
    found[TERM] = np.where((op == Op.replace) | (op == Op.add), value, 0)
    found[KEEP] = np.where(op == Op.stuck, ~mask, -1)
    found[FLIP] = np.select([op == Op.xor, op == Op.stuck], [mask, value & mask], 0)
    found[FULL] = np.where(by_bits, (1 << bits) - 1, -1)
    found[SIGN] = np.where(by_bits & rows["signed"], 1 << np.maximum(bits - 1, 0), 0)
    return found


def _apply(values: Any, c: Any) -> Any:
    """Of int64 arrays or tensors."""
    moved = values * c[FACTOR] + c[TERM]
    return ((((moved & c[KEEP]) ^ c[FLIP]) & c[FULL]) ^ c[SIGN]) - c[SIGN]


def reach(rows: Rows, low: int, high: int) -> tuple[int, int]:
    """A range that holds every value of a range, before and after rows that do not meet each other.

    >>> from codesign.effects import Effects
    >>> reach(Effects.of([dict(op="xor", bits=4, mask=1), dict(op="add", value=9)], 1).table, 0, 3)
    (-8, 12)
    """
    ends = [low, high]
    by_bits = (rows["op"] == Op.xor) | (rows["op"] == Op.stuck)
    for bits in set(rows["bits"][by_bits & rows["signed"]].tolist()):
        ends += [-(1 << (bits - 1)), (1 << (bits - 1)) - 1]
    for bits in set(rows["bits"][by_bits & ~rows["signed"]].tolist()):
        ends += [0, (1 << bits) - 1]
    for op in (Op.replace, Op.add, Op.scale):
        values = rows["value"][rows["op"] == op]
        for value in {int(values.min()), int(values.max())} if len(values) else ():
            ends += {
                Op.replace: [value],
                Op.add: [low + value, high + value],
                Op.scale: [low * value, high * value],
            }[op]
    return min(ends), max(ends)


def waves(element: Ints, rank: Ints, last: NDArray[np.bool_]) -> list[Ints]:
    """Entries of each wave; entries come in the order of the table.

    Args:
        element: ``[entries]`` what each entry corrupts.
        rank: ``[entries]`` of its row.
        last: ``[entries]`` whether it acts last at its rank (a stuck bit).
    """
    if len(element) == 0:
        return []
    order = np.lexsort((last, rank, element))
    ordered = element[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    if new.all():
        return [np.arange(len(order))]
    at = np.arange(len(order))
    number = at - np.maximum.accumulate(np.where(new, at, 0))
    return [order[number == i] for i in range(int(number.max()) + 1)]


def corrupt_flat(values: Ints, rows: Rows, owner: Ints, element: Ints) -> None:
    """Corrupt ``values[element]`` by the rows that own the entries, in place."""
    if len(element) == 0:
        return
    if _flips_of_one_width(rows):
        _flip(values, rows, owner, element)
        return
    formula = _formula(rows)
    low, high = int(values.min()), int(values.max())
    for wave in waves(element, rows["rank"][owner], (rows["op"] == Op.stuck)[owner]):
        low, high = within_long(*reach(rows, low, high))
        values[element[wave]] = _apply(values[element[wave]], formula[:, owner[wave]])


def _flips_of_one_width(rows: Rows) -> bool:
    """Whether every row flips bits of one format: then their order does not matter."""
    first = rows[0]
    return bool(
        (rows["op"] == Op.xor).all()
        and (rows["bits"] == first["bits"]).all()
        and (rows["signed"] == first["signed"]).all()
    )


def _flip(values: Ints, rows: Rows, owner: Ints, element: Ints) -> None:
    flips = np.zeros(len(values), dtype=np.int64)
    np.bitwise_xor.at(flips, element, rows["mask"][owner])
    met = np.zeros(len(values), dtype=bool)
    met[element] = True
    form = _formula(rows[:1])[:, 0]
    values[met] = (((values[met] & form[FULL]) ^ flips[met]) ^ form[SIGN]) - form[SIGN]


def corrupt_all(values: Tensor, rows: Rows) -> Tensor:
    """Int64 values after rows that meet every one of them, in the order of rank."""
    order = np.lexsort((rows["op"] == Op.stuck, rows["rank"]))
    low, high = (int(end) for end in values.aminmax())
    for i in order.tolist():
        low, high = within_long(*reach(rows[i : i + 1], low, high))
        values = _apply(values, _formula(rows[i : i + 1]).ravel().tolist())
    return values


# ----------------------------------------------------------------------------- corrupting tensors


@dataclass(frozen=True)
class _Wave:
    element: Ints
    coefficients: Tensor  # [6, entries]
    window: Ints  # [4, entries]: first and last sample, first and last step


class Stack:
    """The corruptions of one place, ready for tensors ``[steps, samples, elements]``."""

    def __init__(
        self,
        rows: Rows,
        owner: Ints,
        element: Ints,
        device: torch.device,
        window: Ints | None = None,
    ) -> None:
        """Arrange entries in waves.

        Args:
            rows: Effect rows.
            owner: ``[entries]`` row of each entry.
            element: ``[entries]`` what it corrupts.
            device: Of the tensors.
            window: ``[4, rows]`` first and last sample, first and last step of each row; without,
                rows act on everything.
        """
        self.rows = rows
        self._waves: list[_Wave] = []
        if len(element) == 0:
            return
        formula = _formula(rows)
        stuck = rows["op"] == Op.stuck
        for wave in waves(element, rows["rank"][owner], stuck[owner]):
            mine = owner[wave]
            found = torch.from_numpy(np.ascontiguousarray(formula[:, mine])).to(device)
            when = np.empty((4, 0), dtype=np.int64) if window is None else window[:, mine]
            self._waves.append(_Wave(element[wave], found, when))

    def __len__(self) -> int:
        return len(self._waves)

    def reach(self, low: int, high: int) -> tuple[int, int]:
        """Range of values of a range afterwards."""
        for _ in self._waves:
            low, high = within_long(*reach(self.rows, low, high))
        return low, high

    def apply_(self, data: Tensor, samples: Ints | None = None, first_step: int = 0) -> None:
        """Corrupt ``[steps, samples, elements]`` in place.

        Args:
            data: Integers in any dtype that holds the results.
            samples: Ascending numbers of the samples that are there (for rows with windows).
            first_step: Number of the first step that is there.
        """
        for wave in self._waves:
            if wave.window.shape[1] == 0:
                _corrupt(data, wave.element, wave.coefficients)
            else:
                self._windowed(data, wave, samples, first_step)

    def _windowed(self, data: Tensor, wave: _Wave, samples: Ints | None, first_step: int) -> None:
        present = np.arange(data.shape[1]) if samples is None else samples
        window = np.empty_like(wave.window)
        window[:2] = np.searchsorted(present, wave.window[:2])
        window[2:] = np.clip(wave.window[2:] - first_step, 0, data.shape[0])
        distinct, which = np.unique(window, axis=1, return_inverse=True)
        if distinct.shape[1] > BROAD_WINDOWS:
            _corrupt_scattered(data, wave, window)
            return
        for i, (s0, s1, t0, t1) in enumerate(distinct.T.tolist()):
            mine = np.flatnonzero(which.ravel() == i)
            if s1 > s0 and t1 > t0:
                chosen = wave.coefficients[:, torch.from_numpy(mine).to(data.device)]
                _corrupt(data[t0:t1, s0:s1], wave.element[mine], chosen)


def _corrupt(data: Tensor, element: Ints, coefficients: Tensor) -> None:
    index = torch.from_numpy(np.ascontiguousarray(element)).to(data.device)
    values = data.index_select(2, index).long()
    data.index_copy_(2, index, _apply(values, coefficients).to(data.dtype))


def _corrupt_scattered(data: Tensor, wave: _Wave, window: Ints) -> None:
    """A wave whose entries have windows of their own: spread out to single elements."""
    s0, s1, t0, t1 = window
    one = np.ones_like(s0)
    owner, (t, s) = expand([Span(t0, t1 - t0, one), Span(s0, s1 - s0, one)])
    flat = (t * data.shape[1] + s) * data.shape[2] + wave.element[owner]
    index = torch.from_numpy(flat).to(data.device)
    values = data.view(-1).index_select(0, index).long()
    chosen = wave.coefficients[:, torch.from_numpy(owner).to(data.device)]
    data.view(-1).index_copy_(0, index, _apply(values, chosen).to(data.dtype))
