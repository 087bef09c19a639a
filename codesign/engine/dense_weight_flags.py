"""Which samples read a weight that an error-correcting code corrected, or saw broken.

Where all rows of a weight act always and for every output, the weight itself says it. A weight that
reads differently at some samples, steps or positions is looked at once in every *context*: a class
of samples × steps × positions that the rows do not tell apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codesign.effects import At
from codesign.engine.dense_blocks import classes
from codesign.engine.dense_formulas import corrupt_flat
from codesign.engine.dense_guards import pass_weights
from codesign.engine.dense_mac import MacPlan, Weights
from codesign.engine.dense_moment import Boxes, Flags, Moment
from codesign.engine.dense_rows import Rows, expand, spans
from codesign.guards import Correct

__all__ = ["weight_flags"]

Ints = NDArray[np.int64]


def weight_flags(
    plan: MacPlan, rows: Rows, plain: Ints, moment: Moment, weights: Weights
) -> Flags | None:
    """Flags of ``moment.samples``, or None if no guard of the weights can speak.

    Args:
        plan: Of the layer.
        rows: That act at the moment.
        plain: Numbers of those that act on weights for every output, always.
        moment: Of the computation.
        weights: Under the plain rows.
    """
    if not any(isinstance(g, Correct) for g in plan.guards):
        return None
    flags = Flags.none(len(moment.samples))
    corrected, detected = weights.corrected.ravel(), weights.detected.ravel()
    special = np.setdiff1d(np.flatnonzero(rows["at"] == At.weight), plain)
    if len(special):
        names = np.unique(_names(plan, rows[special])[1])
        corrected, detected = corrected.copy(), detected.copy()
        corrected[names] = detected[names] = False
        _in_contexts(plan, rows, (plain, special), moment, names, flags)
    flags.corrected[:] |= corrected.any()
    flags.detected[:] |= detected.any()
    return flags


def _names(plan: MacPlan, rows: Rows) -> tuple[Ints, Ints]:
    """Weights (n · K + k) that rows touch: (row, weight)."""
    _, terms, channels = plan.shape
    owner, (n, k) = expand([spans(rows, "n", channels), spans(rows, "k", terms)])
    return owner, n * terms + k


def _in_contexts(
    plan: MacPlan,
    rows: Rows,
    numbers: tuple[Ints, Ints],
    moment: Moment,
    names: Ints,
    flags: Flags,
) -> None:
    """Flags of weights that read differently in different contexts."""
    plain, special = numbers
    grid = plan.shape[0], plan.shape[2]
    boxes = Boxes.at(rows[special], moment, moment.last - moment.first, grid)
    members = [a.hold(np.arange(size)) for a, size in zip(boxes.axes, boxes.size, strict=True)]
    kinds = [classes(member, np.zeros(member.shape[1], dtype=np.int64)) for member in members[:3]]
    steps, _, positions = kinds
    owner, name = _names(plan, rows[special])
    always, plain_name = _names(plan, rows[plain])
    kept = np.isin(plain_name, names)
    always, plain_name = plain[always[kept]], plain_name[kept]
    pristine = np.asarray(plan.layer.weight, dtype=np.int64).ravel()[names]
    for some in kinds[1]:
        meets = members[1][:, some[0]]
        for t in steps:
            for m in positions:
                here = (meets & members[0][:, t[0]] & members[2][:, m[0]])[owner]
                who = np.concatenate([always, special[owner[here]]])
                what = np.searchsorted(names, np.concatenate([plain_name, name[here]]))
                order = np.argsort(who, kind="stable")
                values = pristine.copy()
                corrupt_flat(values, rows, who[order], what[order])
                _, corrected, detected = pass_weights(pristine, values, plan.guards)
                flags.corrected[some] |= corrected.any()
                flags.detected[some] |= detected.any()
