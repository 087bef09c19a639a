"""Single outputs, term by term: the exact last resort for whatever is not said of whole blocks.

The outputs are a flat list of (step, sample, m, n). All terms of an output lie side by side, so
that operands and products are corrupted wherever rows meet them, and running sums take any number
of terms at once that cannot saturate on the way.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.effects import At
from codesign.engine.dense_chain import SumRows, chain
from codesign.engine.dense_formulas import corrupt_flat
from codesign.engine.dense_guards import pass_weights
from codesign.engine.dense_mac import MacPlan, Weights
from codesign.engine.dense_moment import Boxes
from codesign.engine.dense_numbers import Value, ends_of, fit_long, within_long
from codesign.engine.dense_rows import Rows, Span, expand, spans
from codesign.engine.dense_stack import Stack
from codesign.formats import NumberFormat

__all__ = ["count_term_by_term", "pair_totals", "special_weights", "touched"]

Ints = NDArray[np.int64]
MOST_TERMS = 1 << 21  # side by side at once


def touched(boxes: Boxes, chosen: Ints) -> Ints:
    """Ascending numbers of the outputs that chosen rows touch."""
    return np.unique(boxes.keys(chosen)[1])


def pair_totals(
    plan: MacPlan, boxes: Boxes, keys: Ints, flat: Value, weights: Weights, plain: Ints
) -> Tensor:
    """Totals ``[outputs]`` int64.

    Args:
        plan: Of the layer.
        boxes: Of all its rows.
        keys: ``[outputs]`` ascending.
        flat: ``[steps or 1, samples, elements]`` padded, flattened input.
        weights: Under the plain rows alone.
        plain: Rows that act on weights for every output, always.
    """
    size = max(1, MOST_TERMS // plan.shape[1])
    parts = [keys[i : i + size] for i in range(0, len(keys), size)]
    return torch.cat([_Pairs(plan, boxes, part, flat, weights, plain).totals() for part in parts])


def count_term_by_term(plan: MacPlan, boxes: Boxes, keys: Ints, flat: Value) -> int:
    """Writes to running sums and totals of these outputs that did not fit, without rows."""
    size = max(1, MOST_TERMS // plan.shape[1])
    none = np.zeros(0, dtype=np.int64)
    count = 0
    for i in range(0, len(keys), size):
        pairs = _Pairs(plan, boxes, keys[i : i + size], flat, plan.golden_weights, none)
        pairs.counting = True
        pairs.totals()
        count += pairs.overflows
    return count


def special_weights(
    plan: MacPlan, rows: Rows, plain: Ints, names: Ints, entries: tuple[Ints, Ints]
) -> Ints:
    """Weights as they are read for single terms, from their pristine codes on.

    Args:
        plan: Of the layer.
        rows: Of the layer.
        plain: Rows that act on weights for every output, always.
        names: ``[terms]`` weight (n · K + k) of each term.
        entries: Other rows and the terms that they meet: (row, position in ``names``).
    """
    also, where = _plain_hits(plan, rows, plain, names)
    owner, entry = np.concatenate([entries[0], also]), np.concatenate([entries[1], where])
    order = np.argsort(owner, kind="stable")
    pristine = np.asarray(plan.layer.weight, dtype=np.int64).ravel()[names]
    values = pristine.copy()
    corrupt_flat(values, rows, owner[order], entry[order])
    return pass_weights(pristine, values, plan.guards)[0]


def _plain_hits(plan: MacPlan, rows: Rows, plain: Ints, names: Ints) -> tuple[Ints, Ints]:
    """Which plain rows meet which weights (n · K + k): (row, position)."""
    mine, (_, terms, channels) = rows[plain], plan.shape
    owner, (n, k) = expand([spans(mine, "n", channels), spans(mine, "k", terms)])
    name = n * terms + k
    order = np.argsort(name, kind="stable")
    first, last = (np.searchsorted(name[order], names, side) for side in ("left", "right"))
    where, (at,) = expand([Span(first, last - first, np.ones_like(first))])
    return plain[owner[order[at]]], where


class _Pairs:
    """Some outputs at work: `codesign.engine.dense_chain.Work`."""

    def __init__(
        self,
        plan: MacPlan,
        boxes: Boxes,
        keys: Ints,
        flat: Value,
        weights: Weights,
        plain: Ints,
    ) -> None:
        self.plan, self.boxes, self.keys, self.form = plan, boxes, keys, plan.arithmetic.inner
        self.t, self.s, self.m, self.n = boxes.split(keys)
        self.rows, self.device = boxes.rows, plan.device
        self.counting, self.overflows = False, 0
        self._place = np.argsort(plan.order)
        at = self.rows["at"]
        special = np.setdiff1d(np.flatnonzero(at == At.weight), plain)
        x = self._operands(flat)
        self._corrupt_terms(x, np.flatnonzero(at == At.input))
        w = self._weights(weights, plain, special)
        bound = int(x.abs().max()) * int(w.abs().max()) * plan.shape[1]
        within_long(-bound, bound, "a sum of terms")
        self.products = x * w
        self._corrupt_terms(self.products, np.flatnonzero(at == At.product))
        self.sums = SumRows(self.rows)
        accumulators = np.flatnonzero((at >= At.load) & (at <= At.total))
        self._owner, self._hit = boxes.hits(accumulators, keys)
        self._stacks: dict[bytes, Stack] = {}

    def totals(self) -> Tensor:
        """``[outputs]`` int64."""
        return chain(self.plan, self.sums, self, self._bias(), self.n)

    # -- operands

    def _operands(self, flat: Value) -> Tensor:
        """``[outputs, K]`` int64 inputs in the order of terms."""
        steps, samples, elements = flat.data.shape
        row = (self.t if steps > 1 else 0) * samples + self.s
        start = row * elements + self.plan.start[self.m]
        offset = self.plan.offset[:, self.plan.order]
        index = start[:, None] + offset[self.plan.group_of(self.n)]
        where = torch.from_numpy(index.ravel()).to(self.device)
        return flat.data.reshape(-1).index_select(0, where).long().reshape(index.shape)

    def _terms(self, chosen: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Terms that chosen rows meet: (row, output, k, number of the term)."""
        owner, hit = self.boxes.hits(chosen, self.keys)
        terms = self.plan.shape[1]
        entry, (k,) = expand([spans(self.rows[owner], "k", terms)])
        hit = hit[entry]
        return owner[entry], hit, k, hit * terms + self._place[k]

    def _corrupt_terms(self, values: Tensor, chosen: Ints) -> None:
        if len(chosen) == 0:
            return
        owner, _, _, element = self._terms(chosen)
        stack = Stack(self.rows, owner, element, self.device)
        ends = ends_of(values)
        stack.reach(*ends)
        stack.apply_(values.view(1, 1, -1), ends)

    def _weights(self, weights: Weights, plain: Ints, special: Ints) -> Tensor:
        """``[outputs, K]`` int64; where special rows meet a weight, from its pristine code on."""
        codes = weights.codes[:, self.plan.order]
        table = torch.from_numpy(codes).to(self.device)
        found = table.index_select(0, torch.from_numpy(self.n).to(self.device))
        if len(special):
            owner, hit, k, element = self._terms(special)
            element, first, entry = np.unique(element, return_index=True, return_inverse=True)
            names = self.n[hit[first]] * self.plan.shape[1] + k[first]
            values = special_weights(self.plan, self.rows, plain, names, (owner, entry.ravel()))
            index = torch.from_numpy(element).to(self.device)
            found.view(-1).index_copy_(0, index, torch.from_numpy(values).to(self.device))
        return found

    def _bias(self) -> Tensor:
        """``[outputs]`` int64."""
        layer_bias = np.asarray(self.plan.layer.bias, dtype=np.int64)
        values = layer_bias[self.n] if layer_bias.ndim == 1 else layer_bias[self.m, self.n]
        chosen = np.flatnonzero(self.rows["at"] == At.bias)
        owner, hit = self.boxes.hits(chosen, self.keys)
        corrupt_flat(values, self.rows, owner, hit)
        return torch.from_numpy(values).to(self.device)

    # -- at work

    def pieces(self, segment: int, terms: int) -> list[int]:
        """Ends of the pieces of a segment: single terms where overflows are counted."""
        return list(range(1, terms + 1)) if self.counting else self.sums.pieces(segment, terms)

    def add(self, acc: Tensor, start: int, stop: int) -> Tensor:
        """The running sum after the terms of positions start to stop."""
        part = self.products[:, start:stop]
        result = acc + part.sum(1)
        if self.form.overflow == "wrap" or stop - start == 1:
            return self.fit(result, self.form)
        rising = acc + part.clamp(min=0).sum(1)
        falling = acc + part.clamp(max=0).sum(1)
        at = ((rising > self.form.high) | (falling < self.form.low)).nonzero().ravel()
        if len(at):
            result[at] = self._slowly(acc[at], part[at])
        return fit_long(result, self.form)

    def _slowly(self, acc: Tensor, part: Tensor) -> Tensor:
        for j in range(part.shape[1]):
            acc = fit_long(acc + part[:, j], self.form)
        return acc

    def corrupt(self, acc: Tensor, chosen: Ints, ends: tuple[int, int] | None) -> Tensor:
        """A sum of a range, if it is known, after chosen rows."""
        if len(chosen) == 0:
            return acc
        key = chosen.tobytes()
        if key not in self._stacks:
            mine = np.isin(self._owner, chosen)
            owner, hit = self._owner[mine], self._hit[mine]
            self._stacks[key] = Stack(self.rows, owner, hit, self.device)
        stack, acc = self._stacks[key], acc.clone()
        ends = ends or ends_of(acc)
        stack.reach(*ends)
        stack.apply_(acc.view(1, 1, -1), ends)
        return acc

    def fit(self, total: Tensor, form: NumberFormat) -> Tensor:
        """A sum written to its place, overflows counted."""
        fitted = fit_long(total, form)
        if self.counting:
            self.overflows += int((fitted != total).sum())
        return fitted
