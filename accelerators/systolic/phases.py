"""What the cycles of a layer on a systolic array are spent on.

A cycle of a fold is *compute* from the first product to the last (elements without work between
them included: the wave front), *load* before, *drain* after. With H × W elements, all in use, and
T streamed positions:

=============================== ======= =============== ======= ==========
dataflow                        load    compute         drain   in all
=============================== ======= =============== ======= ==========
weight and input stationary     H - 1   T + H + W - 2   1       2H + W + T - 2
output stationary               0       T + H + W - 2   0       H + W + T - 2
=============================== ======= =============== ======= ==========

SCALE-Sim 3.0.0 has the same sums; it counts one cycle more as load and none as drain, for its
elements have no register behind their sum. A fold that fills only some rows and columns ends its
products sooner and drains longer.

On Gemmini's mesh loading and draining hide behind other requests, so a fold has a slot a position;
the bubble behind every H slots, and slots of its last request without a position, are *stall*. What
precedes the first fold, when the first tile comes in, is *load* that belongs to no layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from codesign.mapping import Phases

if TYPE_CHECKING:
    from accelerators.systolic.lines import Lines, Tiling
    from accelerators.systolic.schedule import LayerPlan, Schedule

__all__ = ["phases_of"]


def phases_of(schedule: Schedule) -> dict[str, Phases]:
    """The cycles of each layer of one execution, and under ``*`` those before the first."""
    found = {plan.name: _of_layer(schedule, plan) for plan in schedule.layers}
    if schedule.preload:
        found["*"] = Phases(load=schedule.preload)
    return found


def _of_layer(schedule: Schedule, plan: LayerPlan) -> Phases:
    if plan.timing.burst:
        computed = plan.folds * plan.m
        return Phases(compute=computed, stall=plan.folds * plan.fold_cycles - computed)
    load = compute = 0
    for down, (top, bottom) in _seats(plan.rows, schedule.rows):
        for across, (left, right) in _seats(plan.cols, schedule.cols):
            folds = plan.groups * down * across
            load += folds * (plan.timing.first + top + left)
            compute += folds * (plan.stream + bottom - top + right - left)
    return Phases(load, compute, plan.folds * plan.fold_cycles - load - compute)


def _seats(tiling: Tiling, lines: Lines) -> Iterator[tuple[int, tuple[int, int]]]:
    """(how many tiles of a group, first and last physical line in use): full tiles, the last."""
    last = tiling.tiles - 1
    for count, tile in ((last, 0), (1, last)):
        if count:
            seats = lines.physical[: int(tiling.used(np.array(tile)))]
            yield count, (min(seats), max(seats))
