"""Blocks of outputs that meet the same rows: rectangles of positions × channels, for all samples.

Within a block every row meets every output, so that corruptions are one formula for the whole block
and the terms between two of them one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.effects import At
from codesign.engine.dense_chain import SumRows, chain
from codesign.engine.dense_mac import Bias, MacPlan, Weights
from codesign.engine.dense_numbers import (
    FLOAT32_BITS,
    FLOAT64_BITS,
    Value,
    ends_of,
    fit_long,
    widest,
    within_long,
)
from codesign.engine.dense_rows import Rows, expand, spans
from codesign.engine.dense_stack import Stack, corrupt_all
from codesign.formats import NumberFormat

__all__ = ["Block", "BlockSums", "block_totals", "blocks", "classes", "matmul", "whole"]

Ints = NDArray[np.int64]
MOST_BLOCKS = 512  # more are cheaper output by output
MOST_OPERANDS = 1 << 23  # gathered at once


@dataclass(frozen=True)
class Block:
    """Outputs m × n of one group of channels, and the numbers of the rows that meet all of them."""

    m: Ints
    n: Ints
    chosen: Ints


def blocks(plan: MacPlan, rows: Rows, broad: Ints) -> list[Block] | None:
    """The outputs that broad rows touch, in blocks; None if there would be too many."""
    positions, _, channels = plan.shape
    on_m = spans(rows[broad], "m", positions).hold(np.arange(positions))
    on_n = spans(rows[broad], "n", channels).hold(np.arange(channels))
    m_classes = classes(on_m, np.zeros(positions, dtype=np.int64))
    n_classes = classes(on_n, plan.group_of(np.arange(channels)))
    if len(m_classes) * len(n_classes) > 8 * MOST_BLOCKS:
        return None
    found = []
    for m in m_classes:
        for n in n_classes:
            meets = on_m[:, m[0]] & on_n[:, n[0]]
            if meets.any():
                found.append(Block(m, n, broad[meets]))
    return found if len(found) <= MOST_BLOCKS else None


def whole(plan: MacPlan) -> list[Block]:
    """All outputs, without rows."""
    positions, _, channels = plan.shape
    none = np.zeros(0, dtype=np.int64)
    groups = np.split(np.arange(channels), plan.groups)
    return [Block(np.arange(positions), n, none) for n in groups]


def classes(member: NDArray[np.bool_], extra: Ints) -> list[Ints]:
    """Indices of an axis with the same membership in every row (and the same extra number)."""
    packed = np.concatenate([np.packbits(member, axis=0).astype(np.int64), extra[None]])
    _, which = np.unique(packed, axis=1, return_inverse=True)
    which = which.ravel()
    order = np.argsort(which, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(which[order])) + 1)


def block_totals(
    plan: MacPlan, block: Block, rows: Rows, operands: tuple[Value, Weights, Bias], safe: bool
) -> tuple[Tensor, Tensor | None]:
    """Totals ``[batch, m, n]`` int64, and where to recompute them term by term.

    Args:
        plan: Of the layer.
        block: Its outputs.
        rows: ``block.chosen`` are numbers of these.
        operands: Flat input ``[batch, elements]``, weights as the block reads them, biases.
        safe: Whether golden running sums are proved to stay in their format.
    """
    x, weights, bias = operands
    work = BlockSums(plan, block, rows[block.chosen], weights, plan.order, safe)
    codes = bias.at(block.m[:, None], block.n[None, :])
    added = torch.from_numpy(np.broadcast_to(codes, (len(block.m), len(block.n))).copy())
    added = added.to(plan.device)
    totals, suspects = [], []
    for part in work.parts(x):
        work.load(part)
        start = added.expand(len(part.data), *added.shape)
        totals.append(chain(plan, work.sums, work, start, block.n))
        suspects.append(work.suspect)
    found = [s for s in suspects if s is not None]
    return torch.cat(totals), torch.cat(found) if found else None


class BlockSums:
    """Some terms of one block at work: `codesign.engine.dense_chain.Work`.

    Attributes:
        sums: Rows on running sums and totals.
        suspect: ``[batch, m, n]`` where a running sum may have saturated within a piece, or None.
    """

    def __init__(
        self,
        plan: MacPlan,
        block: Block,
        rows: Rows,
        weights: Weights,
        order: Ints,
        safe: bool,
    ) -> None:
        """Prepare a block.

        Args:
            plan: Of the layer.
            block: Its outputs.
            rows: That meet all of them.
            weights: As the block reads them.
            order: ``[terms]`` the terms in question, in their order.
            safe: Whether golden running sums are proved to stay in their format.
        """
        self.form = plan.arithmetic.inner
        self.careful = self.form.overflow == "saturate" and not (safe and len(rows) == 0)
        self.weights = weights.codes[block.n][:, order]
        self.largest = int(np.abs(self.weights).sum(axis=1).max(initial=0))
        self.sums = SumRows(rows)
        self.pieces = self.sums.pieces
        position = np.full(plan.shape[1], -1)
        position[order] = np.arange(len(order))
        self.inputs = BlockTerms(rows[rows["at"] == At.input], position, len(order))
        self.terms = BlockTerms(rows[rows["at"] == At.product], position, len(order))
        self.suspect: Tensor | None = None
        group = plan.group_of(block.n[0])
        self._index = (plan.start[block.m][:, None] + plan.offset[group][order]).astype(np.int64)
        width = len(order) + len(block.n) * (1 + int(self.terms.met.sum()))
        self._batch = max(1, MOST_OPERANDS // (len(block.m) * width))

    def parts(self, flat: Value) -> Iterator[Value]:
        """Operands ``[batch, m, terms]`` of the flat input ``[batch, elements]``, part by part."""
        at = torch.from_numpy(self._index.ravel()).to(flat.data.device)
        for part in flat.data.split(self._batch):
            operands = part.index_select(1, at).view(len(part), *self._index.shape)
            yield Value(operands, flat.low, flat.high)

    def reach(self, x: Value) -> int:
        """A bound on the magnitude of all terms of one output together, corrupted ones included."""
        low, high = self.inputs.stack(x.data.device).reach(x.low, x.high)
        single = widest(low, high) * int(np.abs(self.weights).max(initial=0))
        low, high = self.terms.stack(x.data.device).reach(-single, single)
        return self.weights.shape[1] * widest(low, high)

    def load(self, x: Value) -> None:
        """Take operands, and corrupt them."""
        low, high, data = x.low, x.high, x.data
        if len(self.inputs.rows):
            stack = self.inputs.stack(data.device)
            low, high = stack.reach(low, high)
            data = data.to(_carrier(low, high), copy=True)
            stack.apply_(data, (x.low, x.high))
        bound = max(widest(low, high), 1) * max(self.largest, 1)
        dtype = _carrier(*within_long(-bound, bound, "a sum of terms"))
        self.x, self.x_low = data.to(dtype), low
        self.matrix = torch.from_numpy(self.weights.T.copy()).to(self.x)
        self.suspect = None

    def total(self, start: int, stop: int, acc: Tensor | None = None) -> Tensor:
        """``[batch, m, n]`` int64 sum of the terms of positions start to stop.

        Args:
            start: First position.
            stop: Position behind the last.
            acc: The running sum before, if saturation on the way is to be looked for.
        """
        met = self.terms.met[start:stop]
        at: slice | Tensor = slice(start, stop)
        parts = []
        if met.any():
            parts.append(self._changed(start, stop))
            at = torch.from_numpy(start + np.flatnonzero(~met)).to(self.x.device)
        x, matrix = self.x[:, :, at], self.matrix[at]
        if acc is not None:
            self._look(acc, x, matrix, parts)
        result = matmul(x, matrix)
        for products in parts:
            result = result + products.sum(-1)
        return result

    def add(self, acc: Tensor, start: int, stop: int) -> Tensor:
        """The running sum after the terms of positions start to stop."""
        look = self.careful and stop - start > 1
        return fit_long(acc + self.total(start, stop, acc if look else None), self.form)

    def _changed(self, start: int, stop: int) -> Tensor:
        """``[batch, m, n, terms]`` int64 products of the terms that rows corrupt."""
        at = torch.from_numpy(start + np.flatnonzero(self.terms.met[start:stop])).to(self.x.device)
        x, weights = self.x[:, :, at].long(), self.matrix[at].long().T
        products = x[:, :, None, :] * weights
        stack = self.terms.within(start, stop, products.device)
        ends = ends_of(products)
        stack.reach(*ends)
        stack.apply_(products.flatten(0, 1), ends)
        return products

    def _look(self, acc: Tensor, x: Tensor, matrix: Tensor, parts: list[Tensor]) -> None:
        """Mark where the sum of the positive or of the negative terms alone leaves the format."""
        rising = matmul(x.clamp(min=0), matrix.clamp(min=0))
        falling = matmul(x.clamp(min=0), matrix.clamp(max=0))
        if self.x_low < 0:
            rising = rising + matmul(x.clamp(max=0), matrix.clamp(max=0))
            falling = falling + matmul(x.clamp(max=0), matrix.clamp(min=0))
        for products in parts:
            rising = rising + products.clamp(min=0).sum(-1)
            falling = falling + products.clamp(max=0).sum(-1)
        found = (acc + rising > self.form.high) | (acc + falling < self.form.low)
        self.suspect = found if self.suspect is None else self.suspect | found

    def corrupt(self, acc: Tensor, chosen: Ints, ends: tuple[int, int] | None) -> Tensor:
        """A sum of a range, if it is known, after chosen rows."""
        if len(chosen) == 0:
            return acc
        return corrupt_all(acc, self.sums.formulas, chosen, ends or ends_of(acc))

    def fit(self, total: Tensor, form: NumberFormat) -> Tensor:
        """A total written to its place."""
        return fit_long(total, form)


class BlockTerms:
    """Rows that act along the terms of every output of a block.

    Attributes:
        rows: Of one place.
        met: ``[terms]`` positions that some row meets.
    """

    def __init__(self, rows: Rows, position: Ints, terms: int) -> None:
        """Find what rows meet.

        Args:
            rows: Of one place.
            position: ``[K]`` position of each term, -1 where it is not looked at.
            terms: How many positions there are.
        """
        self.rows = rows
        owner, (k,) = expand([spans(rows, "k", len(position))])
        here = position[k] >= 0
        self._owner, self._position = owner[here], position[k][here]
        self.met = np.zeros(terms, dtype=bool)
        self.met[self._position] = True
        self._stacks: dict[tuple[int, int], Stack] = {}

    def stack(self, device: torch.device) -> Stack:
        """Corruptions of all positions."""
        if (-1, -1) not in self._stacks:
            self._stacks[-1, -1] = Stack(self.rows, self._owner, self._position, device)
        return self._stacks[-1, -1]

    def within(self, start: int, stop: int, device: torch.device) -> Stack:
        """Corruptions of the met positions from start to stop, numbered from 0."""
        if (start, stop) not in self._stacks:
            number = np.cumsum(self.met) - 1 - int(self.met[:start].sum())
            here = (self._position >= start) & (self._position < stop)
            element = number[self._position[here]]
            self._stacks[start, stop] = Stack(self.rows, self._owner[here], element, device)
        return self._stacks[start, stop]


def _carrier(low: int, high: int) -> torch.dtype:
    reach = widest(low, high)
    if reach <= 1 << FLOAT64_BITS:
        return torch.float32 if reach <= 1 << FLOAT32_BITS else torch.float64
    return torch.int64


def matmul(x: Tensor, matrix: Tensor) -> Tensor:
    """Int64 sums of terms."""
    if x.dtype == torch.int64:  # no device but the CPU multiplies int64 matrices
        return torch.stack([(x * column).sum(-1) for column in matrix.T], -1)
    return (x @ matrix).long()
