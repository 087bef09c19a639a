"""Corruptions as numbers: one formula for all rows, and the order of rows in one value.

All five corruptions of a value are one formula with six integers for each row, so that rows of
different kinds need no branch::

    v → (((((v · factor + term) & keep) ^ flip) & full) ^ sign) - sign

Where all rows flip or hold bits of one format and the value lies in it, two integers do::

    v → (v & keep) ^ flip          with the masks' sign bits extended

Rows that meet in one element act one after the other, by (rank, stuck last, order of the table):
the first row of every element makes the first *wave*, the second rows the second wave, and so on;
within a wave no element is met twice.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.effects import Op
from codesign.engine.dense_numbers import within_long
from codesign.engine.dense_rows import Rows
from codesign.formats import NumberFormat

__all__ = ["Formulas", "corrupt_flat", "full", "order_of", "reach", "short", "waves"]

Ints = NDArray[np.int64]


class Formulas:
    """The numbers of some rows.

    Attributes:
        rows: In the order of the table.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @cached_property
    def stuck(self) -> NDArray[np.bool_]:
        """``[rows]`` whether a row holds bits: it acts last at its rank."""
        return np.asarray(self.rows["op"] == Op.stuck)

    @cached_property
    def form(self) -> NumberFormat | None:
        """The format whose bits every row flips or holds, or None if there is none."""
        rows = self.rows
        if len(rows) == 0 or not (self.stuck | (rows["op"] == Op.xor)).all():
            return None
        bits, signed = int(rows["bits"][0]), bool(rows["signed"][0])
        same = (rows["bits"] == bits).all() and (rows["signed"] == signed).all()
        return NumberFormat(bits, signed) if same else None

    @cached_property
    def full(self) -> Ints:
        """``[6, rows]`` factor, term, keep, flip, full, sign."""
        rows, (op, mask, value) = self.rows, (self.rows[name] for name in ("op", "mask", "value"))
        bits = rows["bits"].astype(np.int64)
        xor = op == Op.xor
        by_bits = xor | self.stuck
        found = np.zeros((6, len(rows)), dtype=np.int64)
        found[0] = np.where(op == Op.scale, value, op != Op.replace)
        found[1] = np.where((op == Op.replace) | (op == Op.add), value, 0)
        found[2] = np.where(self.stuck, ~mask, -1)
        found[3] = np.where(by_bits, np.where(xor, mask, value & mask), 0)
        found[4] = np.where(by_bits, (1 << bits) - 1, -1)
        found[5] = np.where(by_bits & rows["signed"], 1 << np.maximum(bits - 1, 0), 0)
        return found

    @cached_property
    def short(self) -> Ints:
        """``[2, rows]`` keep and flip; only where `form` is one."""
        keep, flip, sign = self.full[2], self.full[3], self.full[5]
        mask = np.where(self.stuck, ~keep, 0)
        return np.stack([~((mask ^ sign) - sign) if sign.any() else ~mask, (flip ^ sign) - sign])

    def inside(self, ends: tuple[int, int] | None) -> bool:
        """Whether the short formula serves values of a range."""
        form = self.form
        return form is not None and ends is not None and form.holds(ends)


def full(values: Any, c: Any) -> Any:
    """The formula with six numbers, of int64 arrays or tensors."""
    moved = values * c[0] + c[1]
    return ((((moved & c[2]) ^ c[3]) & c[4]) ^ c[5]) - c[5]


def short(values: Any, c: Any) -> Any:
    """The formula with two numbers, of integer arrays or tensors."""
    return (values & c[0]) ^ c[1]


def reach(rows: Rows, low: int, high: int) -> tuple[int, int]:
    """A range that holds every value of a range, before and after rows that do not meet each other.

    >>> from codesign.effects import Effects
    >>> reach(Effects.of([dict(op="xor", bits=4, mask=1), dict(op="add", value=9)], 1).table, 0, 3)
    (-8, 12)
    """
    ends = [low, high]
    op = rows["op"]
    by_bits = (op == Op.xor) | (op == Op.stuck)
    if by_bits.any():
        for bits, signed in {*zip(rows["bits"][by_bits], rows["signed"][by_bits], strict=True)}:
            form = NumberFormat(int(bits), bool(signed))
            ends += [form.low, form.high]
    if by_bits.all():
        return min(ends), max(ends)
    for kind, effect in _LINEAR.items():
        values = rows["value"][op == kind]
        for value in {int(values.min()), int(values.max())} if len(values) else ():
            ends += effect(value, low, high)
    return min(ends), max(ends)


_LINEAR = {
    Op.replace: lambda value, low, high: [value],
    Op.add: lambda value, low, high: [low + value, high + value],
    Op.scale: lambda value, low, high: [low * value, high * value],
}


def order_of(rows: Rows) -> Ints:
    """Numbers of rows that all meet one value, in the order in which they act."""
    return np.lexsort((rows["op"] == Op.stuck, rows["rank"]))


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
    formulas = Formulas(rows)
    if formulas.form is not None and not formulas.stuck.any():
        _flip(values, formulas, owner, element)
        return
    low, high = int(values.min()), int(values.max())
    for wave in waves(element, rows["rank"][owner], formulas.stuck[owner]):
        low, high = within_long(*reach(rows, low, high))
        values[element[wave]] = full(values[element[wave]], formulas.full[:, owner[wave]])


def _flip(values: Ints, formulas: Formulas, owner: Ints, element: Ints) -> None:
    """Flips of bits of one format: their order does not matter."""
    assert formulas.form is not None
    flips = np.zeros(len(values), dtype=np.int64)
    np.bitwise_xor.at(flips, element, formulas.rows["mask"][owner])
    met = np.zeros(len(values), dtype=bool)
    met[element] = True
    low_bits = (1 << formulas.form.bits) - 1
    values[met] = formulas.form.decode((values[met] & low_bits) ^ flips[met])
