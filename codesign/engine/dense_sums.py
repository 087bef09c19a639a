"""One multiply-accumulate layer under effects: the cheapest exact way for every output.

- *Plain* rows (a weight as every output position reads it, at all times) change the weights, bias
  rows the biases; then all outputs are one product, where bounds prove that nothing overflows.
- *Broad* rows of other kinds are worked off in blocks of outputs (`codesign.engine.dense_blocks`).
- Outputs that any other row touches, or where a running sum may have saturated, are computed again
  term by term, with all rows (`codesign.engine.dense_pairs`).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.effects import At
from codesign.engine.dense_blocks import Block, block_totals, blocks, whole
from codesign.engine.dense_codes import requantise
from codesign.engine.dense_deltas import additive, block_delta, pair_deltas
from codesign.engine.dense_mac import (
    Bias,
    MacPlan,
    Safety,
    Weights,
    bias_of,
    safety,
    weights_of,
)
from codesign.engine.dense_moment import NO_ROWS, Boxes, Flags, Moment, distinct_windows
from codesign.engine.dense_numbers import Value, carrier, ends_of, fit, fit_long
from codesign.engine.dense_pairs import count_term_by_term, pair_totals, touched
from codesign.engine.dense_product import linear_sums
from codesign.engine.dense_rows import Rows, spans, take
from codesign.engine.dense_weight_flags import weight_flags

__all__ = ["MacRows", "mac_layer", "overflow_count"]

Ints = NDArray[np.int64]
BROAD = 1 << 17  # terms that a row must touch to be worth a block


class MacRows:
    """The rows of one layer in one trial, prepared once for each way in which samples meet them."""

    def __init__(self, plan: MacPlan, rows: Rows) -> None:
        self.plan, self._rows = plan, rows
        self._distinct, self._which = distinct_windows(rows)
        self._acting: dict[bytes, Acting] = {}

    def at(self, moment: Moment) -> Acting:
        """The rows that act at some of the samples and steps of a moment."""
        share = moment.share(self._distinct)
        key = share.tobytes()
        if key not in self._acting:
            here = (share.min(axis=0) > 0)[self._which]
            rows = take(self._rows, here)
            self._acting[key] = Acting(self.plan, rows, share[:, self._which[here]])
        return self._acting[key]


class Acting:
    """Rows that act, sorted by what they need.

    Attributes:
        plan: Of the layer.
        rows: In the order of the table.
        plain: Numbers of the rows that only change weights.
        special: Numbers of the rows that are more than a changed weight or bias.
        by_step: Whether some row acts at some of the steps only.
        always: ``[rows]`` whether a row acts at all samples and steps.
    """

    def __init__(self, plan: MacPlan, rows: Rows, share: NDArray[np.int8]) -> None:
        self.plan, self.rows = plan, rows
        self.by_step = bool((share[1] == 1).any())
        self.always = share.min(axis=0) == 2
        every_m = spans(rows, "m", plan.shape[0]).count == plan.shape[0]
        plain = self.always & (rows["at"] == At.weight) & every_m
        self._added = self.always & (rows["at"] == At.bias)
        self.plain = np.flatnonzero(plain)
        self._plain_rows = take(rows, plain)
        self.special = np.flatnonzero(~plain & ~self._added)
        self._weights: dict[bytes, Weights] = {}
        self._blocks: dict[bytes, list[Block] | None] = {}
        self._safety: dict[tuple[int, int], Safety] = {}

    @cached_property
    def weights(self) -> Weights:
        """Under the plain rows."""
        return self._weights_under(self._plain_rows)

    @cached_property
    def bias(self) -> Bias:
        """Under the bias rows that always act."""
        return bias_of(self.plan, take(self.rows, self._added))

    def block_weights(self, block: Block) -> Weights:
        """As a block reads them."""
        own = block.chosen[self.rows["at"][block.chosen] == At.weight]
        if len(own) == 0:
            return self.weights
        key = own.tobytes()
        if key not in self._weights:
            chosen = np.sort(np.concatenate([self.plain, own]))
            self._weights[key] = self._weights_under(self.rows[chosen])
        return self._weights[key]

    def _weights_under(self, rows: Rows) -> Weights:
        return weights_of(self.plan, rows) if len(rows) else self.plan.golden_weights

    def bound(self, x: Value) -> Safety:
        """What bounds prove for inputs of a range."""
        if (x.low, x.high) not in self._safety:
            self._safety[x.low, x.high] = safety(self.plan, self.weights, self.bias, x)
        return self._safety[x.low, x.high]

    def blocks(self, batch: int) -> tuple[list[Block], Ints]:
        """Blocks of outputs that broad rows touch, and the special rows that are not broad."""
        rows, (positions, terms, channels) = self.rows[self.special], self.plan.shape
        axes = (("m", positions), ("n", channels), ("k", terms))
        size = np.prod([spans(rows, axis, count).count for axis, count in axes], axis=0)
        broad = self.special[(size * batch >= BROAD) & self.always[self.special]]
        key = broad.tobytes()
        if key not in self._blocks:
            self._blocks[key] = blocks(self.plan, self.rows, broad) if len(broad) else []
        found = self._blocks[key]
        return ([], self.special) if found is None else (found, np.setdiff1d(self.special, broad))


def mac_layer(mine: MacRows, x: Value, moment: Moment) -> tuple[Value, Flags | None]:
    """What the layer stores, and which samples saw a weight corrected or detected.

    Args:
        mine: Plan and rows of the layer.
        x: ``[steps or 1, samples, *input_shape]`` as the layer reads it.
        moment: Of the computation.
    """
    plan, acting = mine.plan, mine.at(moment)
    bound = acting.bound(x)
    if bound.linear and len(acting.special) == 0:
        total = _linear(acting, x, bound)
    else:
        total = _Mixed(acting, x, moment, bound).total()
    q = plan.layer.requantise
    stored = total if q is None else requantise(total, q, plan.channel_axis)
    return stored, weight_flags(plan, acting.rows, acting.plain, moment, acting.weights)


def _linear(acting: Acting, x: Value, bound: Safety) -> Value:
    sums = linear_sums(acting.plan, acting.weights, acting.bias, x, bound)
    return Value(*fit(sums.data, sums.low, sums.high, acting.plan.arithmetic.outer))


class _Mixed:
    """Totals of a layer for which one product is not enough."""

    def __init__(self, acting: Acting, x: Value, moment: Moment, bound: Safety) -> None:
        self.acting, self.x, self.bound, self.plan = acting, x, bound, acting.plan
        self.steps = moment.last - moment.first if acting.by_step else x.data.shape[0]
        self.samples = len(moment.samples)
        flat = self.plan.flat_operands(x.data.flatten(0, 1)).unflatten(0, x.data.shape[:2])
        self.flat = Value(flat, x.low, x.high)
        self.boxes = Boxes.at(
            acting.rows, moment, self.steps, (self.plan.shape[0], self.plan.shape[2])
        )
        self.suspects: list[Ints] = []

    def total(self) -> Value:
        """``[steps or 1, samples, *output_shape]``."""
        found, narrow = self.acting.blocks(self.steps * self.samples)
        deltas = [(block, self._delta(block)) for block in found]
        chained = [block for block, delta in deltas if delta is None]
        total = self._base(covered=sum(len(b.m) * len(b.n) for b in chained))
        for block, delta in deltas:
            total = self._put_block(total, block, delta)
        total, hard = self._add_singly(total, narrow, alone=not found)
        keys = np.unique(np.concatenate([touched(self.boxes, hard), *self.suspects]))
        if len(keys):
            weights, plain = self.acting.weights, self.acting.plain
            sums = pair_totals(self.plan, self.boxes, keys, self.flat, weights, plain)
            total = self._put(total, keys, sums)
        return total

    def _base(self, covered: int) -> Value:
        """Totals of the outputs outside of blocks; zeros if there are none."""
        outputs = self.plan.shape[0] * self.plan.shape[2]
        if covered < outputs and self.bound.linear:
            total = _linear(self.acting, self.x, self.bound)
            shape = (self.steps, *total.data.shape[1:])
            return Value(total.data.expand(shape).contiguous(), total.low, total.high)
        shape = (self.steps, self.samples, *self.plan.output_shape)
        total = Value(torch.zeros(shape, device=self.plan.device), 0, 0)
        if covered < outputs:
            for block in whole(self.plan):
                total = self._put_block(total, block, None)
        return total

    def _delta(self, block: Block) -> Tensor | None:
        """What a block's rows add to its totals, or None if they must be told in full."""
        if not additive(self.acting.rows[block.chosen]).all():
            return None
        operands = self._batch, self.acting.weights, self.acting.block_weights(block)
        return block_delta(self.plan, block, self.acting.rows, operands, self.bound)

    @cached_property
    def _batch(self) -> Value:
        """Flat input ``[batch, elements]``."""
        return Value(self.flat.data.flatten(0, 1), self.flat.low, self.flat.high)

    def _put_block(self, total: Value, block: Block, delta: Tensor | None) -> Value:
        """Add a difference to a block's totals, or compute them."""
        shape = self.flat.data.shape[:2]
        index = self.plan.element(block.m[:, None], block.n[None]).ravel()
        at = torch.from_numpy(index).to(self.plan.device)
        if delta is None:
            operands = self._batch, self.acting.block_weights(block), self.acting.bias
            sums, suspect = block_totals(
                self.plan, block, self.acting.rows, operands, self.bound.inner
            )
            if suspect is not None:
                self._suspect(suspect.unflatten(0, shape), block)
            sums = sums.unflatten(0, shape).flatten(2)
        else:
            before = total.data.view(self.steps, self.samples, -1).index_select(2, at)
            sums = before.long() + delta.unflatten(0, shape).flatten(2)
            sums = fit_long(sums, self.plan.arithmetic.outer)
        total = _widened(total, sums)
        values = sums.expand(self.steps, *sums.shape[1:]).to(total.data.dtype)
        total.data.view(self.steps, self.samples, -1).index_copy_(2, at, values)
        return total

    def _add_singly(self, total: Value, narrow: Ints, alone: bool) -> tuple[Value, Ints]:
        """Add the differences of narrow additive rows; the rows that must be told in full."""
        soft = narrow[additive(self.acting.rows[narrow])]
        hard = np.setdiff1d(narrow, soft)
        if not (alone and len(soft) and self.bound.linear) or self._meet(soft, hard):
            return total, narrow
        operands = self.flat, self.acting.weights
        found = pair_deltas(self.plan, self.boxes, soft, operands, self.acting.plain)
        if found is None or not self.bound.room_for(self.plan.arithmetic, found[2]):
            return total, narrow
        keys, delta, _ = found
        at = torch.from_numpy(self._flat_index(keys)).to(delta.device)
        before = total.data.view(-1).index_select(0, at).long()
        sums = fit_long(before + delta, self.plan.arithmetic.outer)
        return self._put(total, keys, sums), hard

    def _meet(self, soft: Ints, hard: Ints) -> bool:
        """Whether rows of two kinds touch one output."""
        if len(hard) == 0:
            return False
        keys = touched(self.boxes, hard)
        return len(self.boxes.hits(soft, keys)[0]) > 0

    def _put(self, total: Value, keys: Ints, sums: Tensor) -> Value:
        """With the totals of single outputs."""
        total = _widened(total, sums)
        at = torch.from_numpy(self._flat_index(keys)).to(sums.device)
        total.data.view(-1).index_copy_(0, at, sums.to(total.data.dtype))
        return total

    def _suspect(self, suspect: Tensor, block: Block) -> None:
        where = suspect.expand(self.steps, *suspect.shape[1:]).nonzero().cpu().numpy()
        t, s, m, n = where.T
        _, samples, positions, channels = self.boxes.size
        self.suspects.append(((t * samples + s) * positions + block.m[m]) * channels + block.n[n])

    def _flat_index(self, keys: Ints) -> Ints:
        t, s, m, n = self.boxes.split(keys)
        outputs = self.plan.shape[0] * self.plan.shape[2]
        return (t * self.samples + s) * outputs + self.plan.element(m, n)


def _widened(total: Value, sums: Tensor) -> Value:
    """A total in a float that can take these int64 sums too."""
    low, high = ends_of(sums)
    low, high = min(low, total.low), max(high, total.high)
    return Value(total.data.to(carrier(low, high, "a total")), low, high)


def overflow_count(plan: MacPlan, x: Value, moment: Moment) -> int:
    """Golden writes to running sums and totals that did not fit, in the steps that ``x`` has."""
    bound = safety(plan, plan.golden_weights, plan.golden_bias, x)
    if bound.never:
        return 0
    mixed = _Mixed(MacRows(plan, NO_ROWS).at(moment), x, moment, bound)
    keys = np.arange(int(np.prod(mixed.boxes.size)))
    return count_term_by_term(plan, mixed.boxes, keys, mixed.flat)
