"""A memory's geometry, and what an array that is struck in mid-layer still has to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.systolic.effects import Struck
from accelerators.systolic.schedule import LayerPlan, Schedule

__all__ = ["DRAM_LEVEL", "REGISTER_LEVEL", "SRAM_LEVEL", "WIRE_LEVEL", "Store"]
__all__ += ["first_input_read", "first_weight_read"]

Ints: TypeAlias = NDArray[np.int64]

# Stations on an operand's way: a dead wire one more, rows and columns of registers add theirs.
DRAM_LEVEL, SRAM_LEVEL, WIRE_LEVEL, REGISTER_LEVEL = 0, 1, 2, 4


@dataclass(frozen=True)
class Store:
    """A memory's geometry: element e stands in word ``e // per_word``, lowest bits first.

    Attributes:
        unit: Its name.
        words: Of the memory.
        per_word: Elements of a word.
        width: Bits of an element.
    """

    unit: str
    words: int
    per_word: int
    width: int

    @property
    def elements(self) -> int:
        """Elements that fit."""
        return self.words * self.per_word

    def words_for(self, elements: int) -> int:
        """Words that some elements take.

        >>> Store("sram", words=4, per_word=16, width=8).words_for(17)
        2
        """
        return -(-elements // self.per_word)

    def place(self, struck: Struck) -> tuple[Ints, Ints]:
        """(element, bit of it) of faults."""
        within, bit = np.divmod(struck.bit, self.width)
        return struck.word * self.per_word + within, bit


def first_weight_read(schedule: Schedule, plan: LayerPlan, n: Ints, k: Ints, cycle: Ints) -> Ints:
    """First position m for which weights (n, k) are read in or after a cycle; M if for none."""
    group, channel = np.divmod(n, plan.n // plan.groups)
    rows, cols = np.array(schedule.rows.physical), np.array(schedule.cols.physical)
    timing = plan.timing
    if plan.dataflow == "output_stationary":  # once for each row tile
        tile, line = np.divmod(channel, plan.cols.width)
        fold = (group * plan.cols.tiles + tile) * plan.rows.tiles
        late = cycle - _at(plan, fold, k + cols[line])
        return np.minimum(np.maximum(-(-late // plan.fold_cycles), 0) * plan.rows.width, plan.m)
    tile, line = np.divmod(k, plan.rows.width)
    if plan.dataflow == "weight_stationary":  # once
        across = channel // plan.cols.width
        fold = (group * plan.cols.tiles + across) * plan.rows.tiles + tile
        entered = timing.load - rows[line] + timing.skew * cols[channel % plan.cols.width]
        return np.where(_at(plan, fold, entered) >= cycle, 0, plan.m)
    fold = group * plan.cols.tiles * plan.rows.tiles + tile  # once for each column tile
    late = cycle - _at(plan, fold, timing.first + timing.cycle_of(channel) + rows[line])
    tiles = np.maximum(-(-late // (plan.rows.tiles * plan.fold_cycles)), 0)
    return np.minimum(tiles * plan.cols.width, plan.m)


def first_input_read(
    schedule: Schedule, plan: LayerPlan, m: Ints, k: Ints, group: Ints, cycle: Ints
) -> Ints:
    """First channel of a group for which inputs (m, k) are read in or after a cycle.

    Counted within the group; the group's number of channels if there is none.
    """
    rows, timing = np.array(schedule.rows.physical), plan.timing
    channels = plan.n // plan.groups
    if plan.dataflow == "input_stationary":  # once
        across = m // plan.cols.width
        tile, line = np.divmod(k, plan.rows.width)
        fold = (group * plan.cols.tiles + across) * plan.rows.tiles + tile
        return np.where(_at(plan, fold, timing.load - rows[line]) >= cycle, 0, channels)
    weights_rest = plan.dataflow == "weight_stationary"
    tile, line = np.divmod(k if weights_rest else m, plan.rows.width)
    within = timing.first + timing.cycle_of(m if weights_rest else k) + rows[line]
    fold = group * plan.cols.tiles * plan.rows.tiles + tile  # once for each column tile
    late = cycle - _at(plan, fold, within)
    tiles = np.maximum(-(-late // (plan.rows.tiles * plan.fold_cycles)), 0)
    return np.minimum(tiles * plan.cols.width, channels)


def _at(plan: LayerPlan, fold: Ints, within: Ints) -> Ints:
    """Cycle of an inference."""
    return plan.first_cycle + fold * plan.fold_cycles + within
