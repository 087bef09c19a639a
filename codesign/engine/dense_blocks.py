"""Blocks of outputs that meet the same rows: rectangles of positions × channels, for all samples.

Within a block every row meets every output, so that corruptions are one formula for the whole block
and the terms between two of them one matrix product.
"""

from __future__ import annotations

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
    fit_long,
    widest,
    within_long,
)
from codesign.engine.dense_rows import Rows, Stack, corrupt_all, expand, spans
from codesign.formats import NumberFormat

__all__ = ["Block", "block_totals", "blocks", "whole"]

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
        operands: Flat input ``[1, batch, elements]``, weights as the block reads them, biases.
        safe: Whether golden running sums are proved to stay in their format.
    """
    x, weights, bias = operands
    work = BlockSums(plan, block, rows[block.chosen], weights, safe)
    at = plan.start[block.m][:, None] + plan.offset[plan.group_of(block.n[0])][plan.order]
    index = torch.from_numpy(at).to(x.data.device)
    codes = bias.at(block.m[:, None], block.n[None, :])
    added = torch.from_numpy(np.broadcast_to(codes, (len(block.m), len(block.n))).copy())
    added = added.to(x.data.device)
    batch = max(1, MOST_OPERANDS // (len(block.m) * work.width))
    totals, suspects = [], []
    for part in x.data[0].split(batch):
        total = work.totals(Value(part[:, index], x.low, x.high), added)
        totals.append(total)
        suspects.append(work.suspect)
    found = [s for s in suspects if s is not None]
    return torch.cat(totals), torch.cat(found) if found else None


class BlockSums:
    """One block at work: `codesign.engine.dense_chain.Work`.

    Attributes:
        width: How many numbers one (sample, position) takes.
        suspect: ``[batch, m, n]`` where a running sum may have saturated within a piece, or None.
    """

    def __init__(
        self, plan: MacPlan, block: Block, rows: Rows, weights: Weights, safe: bool
    ) -> None:
        self.plan, self.channel = plan, block.n
        self.form = plan.arithmetic.inner
        self.careful = self.form.overflow == "saturate" and not (safe and len(rows) == 0)
        self.weights = weights.codes[block.n][:, plan.order]
        self.largest = int(np.abs(self.weights).sum(axis=1).max())
        self.sums = SumRows(rows)
        self.pieces = self.sums.pieces
        self.inputs = _Terms(plan, rows[rows["at"] == At.input])
        self.terms = _Terms(plan, rows[rows["at"] == At.product])
        self.width = plan.shape[1] + len(block.n) * int(self.terms.met.sum())
        self.suspect: Tensor | None = None

    def totals(self, x: Value, bias: Tensor) -> Tensor:
        """``[batch, m, n]`` of operands ``[batch, m, K]`` in the order of terms."""
        low, high, data = x.low, x.high, x.data
        if len(self.inputs.rows):
            stack = self.inputs.everywhere(data.device)
            low, high = stack.reach(low, high)
            data = data.to(_carrier(low, high))
            stack.apply_(data)
        bound = max(widest(low, high), 1) * max(self.largest, 1)
        dtype = _carrier(*within_long(-bound, bound, "a sum of terms"))
        self.x, self.x_low = data.to(dtype), low
        self.matrix = torch.from_numpy(self.weights.T.copy()).to(self.x)
        self.suspect = None
        start = bias.expand(len(data), *bias.shape)
        return chain(self.plan, self.sums, self, start, self.channel)

    def add(self, acc: Tensor, start: int, stop: int) -> Tensor:
        """The running sum after the terms of positions start to stop."""
        met = self.terms.met[start:stop]
        at: slice | Tensor = slice(start, stop)
        parts = []
        if met.any():
            parts.append(self._changed(start, stop))
            at = torch.from_numpy(start + np.flatnonzero(~met)).to(acc.device)
        x, matrix = self.x[:, :, at], self.matrix[at]
        if self.careful and stop - start > 1:
            self._look(acc, x, matrix, parts)
        result = acc + _matmul(x, matrix)
        for products in parts:
            result = result + products.sum(-1)
        return fit_long(result, self.form)

    def _changed(self, start: int, stop: int) -> Tensor:
        """``[batch, m, n, terms]`` int64 products of the terms that rows corrupt."""
        at = torch.from_numpy(start + np.flatnonzero(self.terms.met[start:stop])).to(self.x.device)
        x, weights = self.x[:, :, at].long(), self.matrix[at].long().T
        products = x[:, :, None, :] * weights
        stack = self.terms.within(start, stop, products.device)
        stack.reach(*(int(end) for end in products.aminmax()))
        stack.apply_(products.flatten(0, 1))
        return products

    def _look(self, acc: Tensor, x: Tensor, matrix: Tensor, parts: list[Tensor]) -> None:
        """Mark where the sum of the positive or of the negative terms alone leaves the format."""
        rising = _matmul(x.clamp(min=0), matrix.clamp(min=0))
        falling = _matmul(x.clamp(min=0), matrix.clamp(max=0))
        if self.x_low < 0:
            rising = rising + _matmul(x.clamp(max=0), matrix.clamp(max=0))
            falling = falling + _matmul(x.clamp(max=0), matrix.clamp(min=0))
        for products in parts:
            rising = rising + products.clamp(min=0).sum(-1)
            falling = falling + products.clamp(max=0).sum(-1)
        found = (acc + rising > self.form.high) | (acc + falling < self.form.low)
        self.suspect = found if self.suspect is None else self.suspect | found

    def corrupt(self, acc: Tensor, chosen: Ints) -> Tensor:
        """A sum after chosen rows."""
        return corrupt_all(acc, self.sums.rows[chosen]) if len(chosen) else acc

    def fit(self, total: Tensor, form: NumberFormat) -> Tensor:
        """A total written to its place."""
        return fit_long(total, form)


class _Terms:
    """Rows that act along the terms of every output of a block.

    Attributes:
        rows: Of one place.
        met: ``[K]`` positions that some row meets.
    """

    def __init__(self, plan: MacPlan, rows: Rows) -> None:
        self.rows = rows
        owner, (k,) = expand([spans(rows, "k", plan.shape[1])])
        self._owner, self._position = owner, np.argsort(plan.order)[k]
        self.met = np.zeros(plan.shape[1], dtype=bool)
        self.met[self._position] = True
        self._stacks: dict[tuple[int, int], Stack] = {}

    def everywhere(self, device: torch.device) -> Stack:
        """Corruptions of all K positions."""
        return Stack(self.rows, self._owner, self._position, device)

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


def _matmul(x: Tensor, matrix: Tensor) -> Tensor:
    """Int64 sums of terms."""
    if x.dtype == torch.int64:  # no device but the CPU multiplies int64 matrices
        return torch.stack([(x * column).sum(-1) for column in matrix.T], -1)
    return (x @ matrix).long()
