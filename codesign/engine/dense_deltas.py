"""What corrupted operands and products add to sums in which nothing overflows.

There the order of the terms does not matter, and a total is the total without the corruption plus
the differences of the corrupted terms: only these are looked at.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.effects import At
from codesign.engine.dense_blocks import Block, BlockSums
from codesign.engine.dense_mac import MacPlan, Safety, Weights
from codesign.engine.dense_moment import Boxes
from codesign.engine.dense_numbers import Value, ends_of, within_long
from codesign.engine.dense_pairs import special_weights
from codesign.engine.dense_rows import Rows, expand, spans
from codesign.engine.dense_stack import Stack

__all__ = ["additive", "block_delta", "pair_deltas"]

Ints = NDArray[np.int64]
MOST_ENTRIES = 1 << 22  # terms that are looked at one by one


def additive(rows: Rows) -> NDArray[np.bool_]:
    """``[rows]`` whether a row changes terms only."""
    at = rows["at"]
    return np.asarray((at == At.weight) | (at == At.input) | (at == At.product))


def block_delta(
    plan: MacPlan,
    block: Block,
    rows: Rows,
    operands: tuple[Value, Weights, Weights],
    bound: Safety,
) -> Tensor | None:
    """Differences ``[batch, m, n]`` int64 of a block's totals, or None if they could overflow.

    Args:
        plan: Of the layer.
        block: Its outputs; only additive rows meet them.
        rows: ``block.chosen`` are numbers of these.
        operands: Flat input ``[batch, elements]``, weights under plain rows and as the block reads
            them.
        bound: Of the sums under plain rows.
    """
    x, before, after = operands
    mine = rows[block.chosen]
    _, (k,) = expand([spans(mine, "k", plan.shape[1])])
    met = np.unique(k)
    changed = BlockSums(plan, block, mine, after, met, safe=True)
    plain = BlockSums(plan, block, mine[:0], before, met, safe=True)
    if not bound.room_for(plan.arithmetic, changed.reach(x) + plain.reach(x)):
        return None
    found = []
    for part in changed.parts(x):
        changed.load(part)
        plain.load(part)
        found.append(changed.total(0, len(met)) - plain.total(0, len(met)))
    return torch.cat(found)


def pair_deltas(
    plan: MacPlan,
    boxes: Boxes,
    chosen: Ints,
    operands: tuple[Value, Weights],
    plain: Ints,
) -> tuple[Ints, Tensor, int] | None:
    """Differences of the totals of single outputs, or None if there are too many terms.

    Args:
        plan: Of the layer.
        boxes: Of all its rows.
        chosen: Additive rows; no other row meets their outputs but plain ones.
        operands: Flat input ``[steps or 1, samples, elements]`` and weights under plain rows.
        plain: Rows that act on weights for every output, always.

    Returns:
        Ascending outputs, ``[outputs]`` int64 differences, and a bound on what any running sum of
        one output differs by.
    """
    terms = plan.shape[1]
    counts = spans(boxes.rows[chosen], "k", terms).count
    sizes = np.prod([a.count for a in boxes.part(chosen)], axis=0, dtype=np.int64)
    if int((counts * sizes).sum()) > MOST_ENTRIES:
        return None
    owner, output = boxes.keys(chosen)
    entry, (k,) = expand([spans(boxes.rows[owner], "k", terms)])
    owner, term = owner[entry], output[entry] * terms + k
    term, which = np.unique(term, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    entries = owner[order], which.ravel()[order]
    before, after = _products(plan, boxes, term, entries, operands, plain)
    keys, position = np.unique(term // terms, return_inverse=True)
    at = torch.from_numpy(position.ravel()).to(plan.device)
    delta = after - before
    sums = torch.zeros((2, len(keys)), dtype=torch.int64, device=plan.device)
    sums.index_add_(1, at, torch.stack([delta, delta.abs()]))
    return keys, sums[0], int(sums[1].max())


def _products(
    plan: MacPlan,
    boxes: Boxes,
    term: Ints,
    entries: tuple[Ints, Ints],
    operands: tuple[Value, Weights],
    plain: Ints,
) -> tuple[Tensor, Tensor]:
    """Products of single terms without and with the rows of the entries."""
    flat, weights = operands
    output, k = np.divmod(term, plan.shape[1])
    t, s, m, n = boxes.split(output)
    steps, samples, elements = flat.data.shape
    row = (t if steps > 1 else 0) * samples + s
    where = row * elements + plan.start[m] + plan.offset[plan.group_of(n), k]
    index = torch.from_numpy(where).to(plan.device)
    x = flat.data.reshape(-1).index_select(0, index).long()
    w = torch.from_numpy(weights.codes[n, k]).to(plan.device)
    place = boxes.rows["at"][entries[0]]
    struck_x, struck_w = x, w
    if (place == At.weight).any():
        mine = tuple(column[place == At.weight] for column in entries)
        met, where = np.unique(mine[1], return_inverse=True)
        names = n[met] * plan.shape[1] + k[met]
        values = special_weights(plan, boxes.rows, plain, names, (mine[0], where.ravel()))
        struck_w = w.index_copy(
            0, torch.from_numpy(met).to(plan.device), torch.from_numpy(values).to(plan.device)
        )
    if (place == At.input).any():
        struck_x = _struck(x, boxes.rows, entries, place == At.input)
    reach = int(struck_x.abs().max()) * int(struck_w.abs().max())
    within_long(-reach, reach, "a product")
    product = struck_x * struck_w
    if (place == At.product).any():
        product = _struck(product, boxes.rows, entries, place == At.product)
    return x * w, product


def _struck(
    values: Tensor, rows: Rows, entries: tuple[Ints, Ints], mine: NDArray[np.bool_]
) -> Tensor:
    """Values after some of the entries."""
    stack = Stack(rows, entries[0][mine], entries[1][mine], values.device)
    ends = ends_of(values)
    stack.reach(*ends)
    found = values.clone()
    stack.apply_(found.view(1, 1, -1), ends)
    return found
