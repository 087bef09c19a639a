"""What the memories of a systolic array hold, when it is written, and what faults there touch.

An element (weight, code, sum) takes as many bits as its register; element e of a memory stands in
word ``e // per_word`` from bit ``e % per_word · width`` on. All times are those of
`accelerators.systolic.schedule`.

- dram: the weights of all layers, ``weight[n, k]`` flat, each layer from a new word on. Never
  written.
- weight_sram: the same, if it fits; then it is written once, before the first inference. Otherwise
  the layer at work, from word 0 on; and if that does not fit, as many whole column tiles (input
  stationary: groups) as do. What is not there is written in the first cycle of the first fold that
  needs it, in every inference.
- activation_sram: feature maps that are read later, flat; which and where, says
  `accelerators.systolic.maps`. Written in the first cycle of the layer with weights that follows
  the map's own.
- psum_sram: sums of the column tile at work. Streamed position s of physical column c is element
  ``s · W + c`` (output stationary: PE (r, c) is ``r · W + c``). Written at the end of the cycle in
  which a sum leaves the array; a finished sum is taken out of its cell at that moment.

A flip lasts until its element is written again. A bit that is stuck for a while stays wrong after
that until its element is written; a flip of a bit that is stuck at that moment changes nothing. In
every cycle dram is struck before loads, the other memories after them, and all before registers
take what they read. A dead memory gives zeros, whatever else is wrong in it. Under re-execution
time runs within each execution alone, as if each had its state loaded again: a fault of execution e
is met by execution e of the inferences in its window.

A layer that is struck while it runs reads some operands before the strike and some after it. Those
*operands* are then said to be wrong, not the stored element, so guards that stand where stored
activations are read do not see it. Wrong addresses are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from accelerators.systolic.effects import EffectRows, Place, Struck
from accelerators.systolic.maps import FeatureMap
from accelerators.systolic.schedule import Schedule
from accelerators.systolic.store import DRAM_LEVEL, SRAM_LEVEL, Store
from accelerators.systolic.stored import strike_maps, strike_sums
from accelerators.systolic.weights import WeightPlan, strike_weights
from codesign.effects import At, Kind
from codesign.errors import CapacityError, UnsupportedError
from codesign.network import NetworkGraph

__all__ = ["Memories"]


@dataclass(frozen=True, eq=False)
class Memories:
    """The four memories under one network.

    Attributes:
        network: What is computed.
        schedule: Of the network on the array.
        weights: Where weights stand, and when.
        maps: Where feature maps stand, and when.
        activation: Geometry of activation_sram.
        psum: Geometry of psum_sram.

    Raises:
        CapacityError: The sums of one column tile do not fit psum_sram.
    """

    network: NetworkGraph
    schedule: Schedule
    weights: WeightPlan
    maps: tuple[FeatureMap, ...]
    activation: Store
    psum: Store

    def __post_init__(self) -> None:
        for plan in self.schedule.layers:
            resting = plan.dataflow == "output_stationary"
            lines = self.schedule.rows.count if resting else plan.stream
            needed = self.psum.words_for(lines * self.schedule.cols.count)
            if needed > self.psum.words:
                raise CapacityError(
                    f"psum_sram: {plan.name} needs {needed} words for {lines} sums in each of "
                    f"{self.schedule.cols.count} columns; it has {self.psum.words}; "
                    "a larger psum_sram helps"
                )

    def strike(self, unit: str, faults: Struck, inferences: int, rows: EffectRows) -> None:
        """Add to ``rows`` what faults in a memory's words touch."""
        if unit == "activation_sram":
            strike_maps(
                *(self.network, self.schedule, self.maps, self.activation),
                *(faults, inferences, rows),
            )
        elif unit == "psum_sram":
            strike_sums(self.schedule, self.psum, faults, inferences, rows)
        else:
            store = self.weights.sram if unit == "weight_sram" else self.weights.dram
            strike_weights(self.weights, store, faults, inferences, rows)

    def refuse_address(self, unit: str) -> NoReturn:
        """Refuse a wrong address.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            f"{unit}.row_address: address decoders are not claimed on arrays. A wrong address "
            "makes one element read another's live value; programs that run layer after layer "
            "would need an alias of operands for that, which is no kind of effect. Strike "
            f"{unit}.words or {unit}.* (dead) instead"
        )

    def strike_dead(self, unit: str, faults: Struck, inferences: int, rows: EffectRows) -> None:
        """Add to ``rows`` what a memory touches that is dead for good.

        Raises:
            UnsupportedError: It is dead for a while only.
        """
        cycles = self.schedule.cycles
        if (faults.start > 0).any() or (faults.stop < cycles * inferences).any():
            raise UnsupportedError(
                f"{unit}: a memory that is dead for a while is not modelled; dead for good is"
            )
        which = faults.which
        if unit == "activation_sram":
            place = Place(Kind.activation, At.stored, self.activation.width)
            for stored in self.maps:
                for reader, _, _ in stored.readers:
                    rows.add_(which, place, {"layer": stored.index, "reader": reader})
            return
        kind, at, store = {
            "psum_sram": (Kind.accumulator, At.total, self.psum),
            "weight_sram": (Kind.operand, At.weight, self.weights.sram),
            "dram": (Kind.operand, At.weight, self.weights.dram),
        }[unit]
        for plan in self.schedule.layers:
            level = DRAM_LEVEL if unit == "dram" else SRAM_LEVEL
            rows.add_(which, Place(kind, at, store.width), {"layer": plan.index}, level)

    def exposures(self, unit: str) -> tuple[int, ...]:
        """Cycles of an inference in which something is written to a memory, or (0,)."""
        starts = [plan.first_cycle for plan in self.schedule.layers] + [self.schedule.cycles]
        if unit == "weight_sram" and not self.weights.resident:
            return tuple(load.written for load in self.weights.loads)
        if unit == "activation_sram":
            return tuple(sorted({starts[stored.written] for stored in self.maps}))
        if unit == "psum_sram":
            # A pass's sums all stand there when the next pass begins.
            layer, fold = self.schedule.owners.T
            tiles = np.array([p.segments for p in self.schedule.layers])[layer]
            later = (layer >= 0) & (fold % tiles > 0)
            return tuple(self.schedule.starts[later].tolist()) or (0,)
        return (0,)
