"""Where weights stand in dram and weight_sram, when they are loaded, and what faults there touch.

The rules stand in `accelerators.systolic.memories`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.systolic.effects import EffectRows, Place, Struck, Windows, alone, onwards, single
from accelerators.systolic.schedule import LayerPlan, Schedule
from accelerators.systolic.store import DRAM_LEVEL, SRAM_LEVEL, Store, first_weight_read
from codesign.effects import At, Kind
from codesign.errors import CapacityError, UnsupportedError

__all__ = ["WeightLoad", "WeightPlan", "strike_weights"]

Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class WeightLoad:
    """Weights that are written to weight_sram at one moment.

    Attributes:
        layer: Index of the layer's plan.
        channel: First channel.
        channels: Number of channels.
        element: Where the first weight stands in weight_sram.
        source: Where it stands in dram.
        written: Cycle of the inference.
        replaced: Cycle of the next load, or the inference's end.
    """

    layer: int
    channel: int
    channels: int
    element: int
    source: int
    written: int
    replaced: int


@dataclass(frozen=True, eq=False)
class WeightPlan:
    """Where the weights of all layers stand, and when.

    Attributes:
        schedule: Of the network on the array.
        sram: Geometry of weight_sram.
        dram: Geometry of dram.

    Raises:
        CapacityError: The network does not fit dram, or one column tile not weight_sram.
        UnsupportedError: A mesh still reads weights when those after them are written over them.
    """

    schedule: Schedule
    sram: Store
    dram: Store

    def __post_init__(self) -> None:
        needed = self._bases(self.dram)[1]
        if needed > self.dram.words:
            raise CapacityError(
                f"dram: the network's weights need {needed} words of {self.dram.words}; "
                "a larger dram helps"
            )
        _ = self.loads

    @property
    def resident(self) -> bool:
        """Whether all weights fit into weight_sram and are written once for all."""
        return self._bases(self.sram)[1] <= self.sram.words

    @cached_property
    def loads(self) -> tuple[WeightLoad, ...]:
        """What is written to weight_sram, in order."""
        sources, _ = self._bases(self.dram)
        if self.resident:
            bases, _ = self._bases(self.sram)
            return tuple(
                WeightLoad(i, 0, p.n, bases[i], sources[i], 0, self.schedule.cycles)
                for i, p in enumerate(self.schedule.layers)
            )
        found: list[WeightLoad] = []
        for i, layer in enumerate(self.schedule.layers):
            found += self._layer_loads(i, layer, sources[i])
        for load in found[1:]:
            self._refuse_early(load)
        ends = [load.written for load in found[1:]] + [self.schedule.cycles]
        return tuple(replace(a, replaced=end) for a, end in zip(found, ends, strict=True))

    def _refuse_early(self, load: WeightLoad) -> None:
        """Refuse weights written before the last column of a mesh has read those before them.

        It reads the last one C - 3 cycles after a fold begins: `systolic.gemmini_network`.
        """
        schedule = self.schedule
        if not schedule.preload:
            return
        next_fold = int(np.searchsorted(schedule.starts, load.written + schedule.preload))
        last_read = int(schedule.starts[next_fold - 1]) + schedule.cols.count - 3
        if last_read >= load.written:
            layer = schedule.layers[load.layer].name
            raise UnsupportedError(
                f"weight_sram: weights of {layer}, from channel {load.channel} on, are written in "
                f"cycle {load.written} over others that the mesh reads until cycle {last_read}; "
                "a weight_sram that holds all weights, or a layer before them with more positions "
                "than the mesh has rows, helps"
            )

    def _bases(self, store: Store) -> tuple[tuple[int, ...], int]:
        """First element of each layer when all stand behind one another, and the words taken."""
        words = [store.words_for(p.n * p.k) for p in self.schedule.layers]
        starts = np.concatenate([[0], np.cumsum(words)])
        return tuple((starts[:-1] * store.per_word).tolist()), int(starts[-1])

    def _layer_loads(self, index: int, layer: LayerPlan, source: int) -> list[WeightLoad]:
        """As many whole column tiles (input stationary: groups) at once as fit."""
        per_group = layer.n // layer.groups
        by_tile = self.schedule.roles[1] == "n"
        step, tiles = (layer.cols.width, layer.cols.tiles) if by_tile else (per_group, 1)
        folds = layer.folds // (layer.groups * tiles)
        room = self.sram.elements // layer.k
        loads: list[WeightLoad] = []
        for number in range(layer.groups * tiles):
            channel = number // tiles * per_group + number % tiles * step
            stop = min(channel + step, (number // tiles + 1) * per_group)
            if stop - channel > room:
                raise CapacityError(
                    f"weight_sram: {layer.name} needs "
                    f"{self.sram.words_for((stop - channel) * layer.k)} words at once, for "
                    f"{stop - channel} channels of {layer.k} weights; it has {self.sram.words}; "
                    "a larger weight_sram or fewer columns help"
                )
            if loads and stop - loads[-1].channel <= room:
                loads[-1] = replace(loads[-1], channels=stop - loads[-1].channel)
            else:
                at = layer.first_cycle + number * folds * layer.fold_cycles - self.schedule.preload
                where = source + channel * layer.k
                loads.append(WeightLoad(index, channel, stop - channel, 0, where, at, 0))
        return loads


@dataclass(frozen=True, eq=False)
class _Cells:
    """Faults in the weights of one load."""

    layer: LayerPlan
    store: Store
    faults: Struck
    n: Ints
    k: Ints
    bit: Ints

    def add(
        self,
        rows: EffectRows,
        some: Ints,
        samples: Ints,
        first: Ints | int = 0,
    ) -> None:
        """Add rows for faults ``some``: the weight as read for positions ``first`` and later."""
        m = np.tile(np.array([0, self.layer.m, 1]), (len(some), 1))
        m[:, 0] = first
        columns = {
            "layer": self.layer.index,
            "samples": samples,
            "m": m,
            "k": single(self.k[some]),
            "n": single(self.n[some]),
        }
        place = Place(Kind.operand, At.weight, self.store.width)
        level = DRAM_LEVEL if self.store.unit == "dram" else SRAM_LEVEL
        rows.add_(self.faults.which[some], place, columns, level, self.bit[some])


def strike_weights(
    plan: WeightPlan, store: Store, faults: Struck, inferences: int, rows: EffectRows
) -> None:
    """Add to ``rows`` what faults in the words of weight_sram or of dram touch."""
    element, bit = store.place(faults)
    for load in plan.loads:
        layer = plan.schedule.layers[load.layer]
        offset = element - (load.source if store.unit == "dram" else load.element)
        mine = np.flatnonzero((offset >= 0) & (offset < load.channels * layer.k))
        n, k = np.divmod(offset[mine] + load.channel * layer.k, layer.k)
        cells = _Cells(layer, store, faults.take(mine), n, k, bit[mine])
        if store.unit == "dram":
            _strike_dram(plan, load, cells, inferences, rows)
        elif plan.resident:
            _strike_resident(plan, cells, inferences, rows)
        else:
            _strike_loaded(plan, load, cells, inferences, rows)


def _strike_dram(
    plan: WeightPlan, load: WeightLoad, cells: _Cells, inferences: int, rows: EffectRows
) -> None:
    """What is struck there is loaded ever after."""
    inference, cycle = np.divmod(cells.faults.start, plan.schedule.cycles)
    late = cycle > load.written
    never = np.full(len(late), inferences)
    first = np.where(cells.faults.start, never, 0) if plan.resident else inference + late
    some = np.flatnonzero(first < inferences)
    cells.add(rows, some, onwards(first[some]))


def _strike_resident(plan: WeightPlan, cells: _Cells, inferences: int, rows: EffectRows) -> None:
    """What is written once is wrong from the strike on."""
    inference, cycle = np.divmod(cells.faults.start, plan.schedule.cycles)
    first = first_weight_read(plan.schedule, cells.layer, cells.n, cells.k, cycle)
    whole = np.flatnonzero(first == 0)
    part = np.flatnonzero((first > 0) & (first < cells.layer.m))
    later = np.flatnonzero((first > 0) & (inference + 1 < inferences))
    cells.add(rows, whole, onwards(inference[whole]))
    cells.add(rows, part, alone(inference[part]), first[part])
    cells.add(rows, later, onwards(inference[later] + 1))


def _strike_loaded(
    plan: WeightPlan, load: WeightLoad, cells: _Cells, inferences: int, rows: EffectRows
) -> None:
    """What is loaded anew in every inference is wrong until it is replaced."""
    cycles = plan.schedule.cycles
    windows = Windows.cut(cells.faults.start, cells.faults.stop, cycles, inferences)
    cells.add(rows, windows.whole, windows.samples)
    inference = windows.start // cycles
    start, stop = windows.start - inference * cycles, windows.stop - inference * cycles
    begin, part = np.maximum(start, load.written), windows.part
    first = first_weight_read(plan.schedule, cells.layer, cells.n[part], cells.k[part], begin)
    met = (start < load.replaced) & (stop > load.written) & (first < cells.layer.m)
    some = np.flatnonzero(met)
    cells.add(rows, part[some], alone(inference[some]), first[some])
