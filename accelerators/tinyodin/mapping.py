"""A spiking network on tinyODIN: what is refused, who sits where, what is computed, its cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from accelerators.tinyodin.cost import cost_of, holdings_of
from accelerators.tinyodin.footprint import ByUpdate, effect_rows
from accelerators.tinyodin.program import CYCLES, LAYOUT
from accelerators.tinyodin.words import DISABLE, NEURONS, BitFault, neuron_words
from codesign.accelerator import AcceleratorGraph
from codesign.effects import Effects
from codesign.errors import CapacityError, FaultError, MappingError, UnsupportedError
from codesign.events import EventCoding, EventProgram, Population
from codesign.faults import FaultModel, Faults
from codesign.formats import NumberFormat
from codesign.guards import Guard
from codesign.mapping import Activity, Assignment, Cost, Footprint, Holding, Placement
from codesign.network import Flatten, Input, Lif, Linear, NetworkGraph

if TYPE_CHECKING:
    from accelerators.tinyodin.family import TinyOdin

__all__ = ["OdinLayer", "TinyOdinMapping", "layers_of", "place"]

WEIGHT = NumberFormat(4)
HIGHEST_THRESHOLD = 2047  # a potential has 12 bits in two's complement
HIGHEST_LEAK = 127
PLACE_OF_PART = {
    ("neurons", "memory"): "neuron_memory",
    ("neurons", "read_register"): "neuron_register",
    ("neurons", "write_bus"): "write_bus",
    ("neurons", "weight"): "weight",
    ("neurons", "extended_weight"): "extended_weight",
    ("neurons", "address"): "neuron_address",
    ("synapses", "memory"): "synapse_memory",
    ("synapses", "read_register"): "synapse_register",
    ("synapses", "address"): "synapse_address",
}


@dataclass(frozen=True, eq=False)
class OdinLayer:
    """One `Linear` with its `Lif`."""

    linear: Linear
    lif: Lif

    @property
    def size(self) -> int:
        """Neurons."""
        return int(self.linear.weight.shape[0])

    @property
    def threshold(self) -> NDArray[np.int64]:
        """``[n]`` potential from which on a neuron fires."""
        return np.broadcast_to(self.lif.threshold + self.lif.strict, (self.size,))

    @property
    def leak(self) -> int:
        """What a leak takes."""
        return self.lif.leak.amount if self.lif.leak.kind == "subtract" else 0


@dataclass(frozen=True, eq=False)
class Placed:
    """Where a network sits.

    Attributes:
        neurons: Neuron number of each neuron, layer after layer.
        inputs: Axon of each input.
    """

    neurons: tuple[int, ...]
    inputs: tuple[int, ...]

    @property
    def scan(self) -> int:
        """Neurons that every event updates."""
        return max(self.neurons) + 1


def layers_of(network: NetworkGraph) -> tuple[OdinLayer, ...]:
    """The layers of a network that this chip can run.

    Raises:
        MappingError: Naming the layer, what is expected, what came, and what to do.
    """
    found: list[OdinLayer] = []
    chain = [layer for layer in network if not isinstance(layer, Flatten)]
    first = chain.pop(0)
    if not isinstance(first, Input) or (first.format.bits, first.format.signed) != (1, False):
        raise MappingError(
            f"{first.name}: tinyODIN reads spikes, and the input has codes of more than one bit; "
            "use rate or latency coding"
        )
    while chain:
        linear, lif = chain.pop(0), chain.pop(0) if chain else None
        if not isinstance(linear, Linear) or not isinstance(lif, Lif):
            came = linear if not isinstance(linear, Linear) else lif
            raise MappingError(
                f"{came.name if came else linear.name}: tinyODIN runs a chain of Linear layers, "
                f"each with a Lif behind it; came {type(came).__name__ if came else 'no Lif'}"
            )
        if len(lif.inputs) != 1 or len(linear.inputs) != 1 or linear.inputs[0].delay_steps:
            raise MappingError(f"{linear.name}: tinyODIN runs a chain: no branches, no delays")
        _check_linear(network, linear)
        _check_lif(lif)
        found.append(OdinLayer(linear, lif))
    if not found:
        raise MappingError(f"{network.name}: there is no layer to run")
    if len({_leak_place(x.lif) for x in found if x.leak}) > 1:
        raise MappingError(f"{network.name}: all layers leak at once, and their orders disagree")
    return tuple(found)


def _check_linear(network: NetworkGraph, layer: Linear) -> None:
    if network.mac_shape(layer.name)[0] != 1:
        raise MappingError(f"{layer.name}: tinyODIN has no positions; expected a plain vector")
    if not WEIGHT.holds(layer.weight):
        worst = int(np.abs(layer.weight).max())
        raise MappingError(
            f"{layer.name}: tinyODIN's weights have 4 bits (-8 to 7), came up to {worst}; "
            "train with weight_bits 4"
        )
    if layer.bias.any():
        raise MappingError(f"{layer.name}: tinyODIN adds no bias; train without")
    if layer.requantise is not None:
        raise MappingError(f"{layer.name}: tinyODIN does not requantise sums")


def _check_lif(lif: Lif) -> None:
    name = lif.name
    if lif.reset != "zero":
        raise MappingError(f"{name}: tinyODIN resets to zero, came {lif.reset!r}")
    if lif.leak.kind not in ("none", "subtract") or lif.leak.amount > HIGHEST_LEAK:
        raise MappingError(
            f"{name}: tinyODIN leaks by subtracting 0 to {HIGHEST_LEAK}, "
            f"came {lif.leak.kind} {lif.leak.amount}"
        )
    low, high = int(lif.threshold.min()) + lif.strict, int(lif.threshold.max()) + lif.strict
    if low < 0 or high > HIGHEST_THRESHOLD:
        raise MappingError(
            f"{name}: a neuron fires from 0 to {HIGHEST_THRESHOLD} on, came {low} to {high}; "
            "scale weights and thresholds"
        )
    if lif.leak.kind == "subtract" and not _leak_place(lif):
        raise MappingError(f"{name}: tinyODIN leaks before or after a step, came {lif.order}")
    if [x for x in lif.order if x != "leak"] != ["integrate", "fire", "reset"]:
        raise MappingError(f"{name}: tinyODIN integrates, fires, resets; came {lif.order}")


def _leak_place(lif: Lif) -> Literal["", "first", "last"]:
    return "first" if lif.order[0] == "leak" else "last" if lif.order[3] == "leak" else ""


def place(network: NetworkGraph, layers: tuple[OdinLayer, ...], placement: Placement) -> Placed:
    """Neurons in the order of ``placement.columns``, inputs on what is left of its ``rows``.

    Raises:
        MappingError: The placement names what is not there.
        CapacityError: Too many neurons, or inputs.
    """
    for name in ("rows", "columns"):
        if any(not 0 <= i < NEURONS for i in getattr(placement, name)):
            raise MappingError(f"placement.{name}: tinyODIN has 0 to {NEURONS - 1}")
    if any(len(i) != 1 or not 0 <= i[0] < NEURONS for i in placement.forbidden):
        raise MappingError(f"placement.forbidden: expected (neuron,), came {placement.forbidden}")
    free = [n for n in placement.columns or range(NEURONS) if (n,) not in placement.forbidden]
    needed = sum(layer.size for layer in layers)
    if needed > len(free):
        raise CapacityError(
            f"{network.name}: {needed} neurons, tinyODIN has {len(free)} to use; "
            "choose smaller layers"
        )
    neurons = tuple(free[:needed])
    axons = [a for a in placement.rows or range(NEURONS) if a not in set(neurons)]
    inputs = prod(network.shapes[network.layers[0].name])
    if inputs > len(axons):
        raise CapacityError(
            f"{network.layers[0].name}: {inputs} inputs, {len(axons)} axons are left beside "
            f"{needed} neurons; choose a smaller input or smaller layers"
        )
    return Placed(neurons, tuple(axons[:inputs]))


@dataclass(frozen=True, eq=False)
class TinyOdinMapping:
    """A network on the chip of `accelerators.tinyodin.family.TinyOdin`.

    Attributes:
        sheet: The chip's datasheet.
        network: What is computed.
        layers: Of the chip.
        placed: Where they sit.
    """

    sheet: TinyOdin
    network: NetworkGraph
    layers: tuple[OdinLayer, ...]
    placed: Placed

    @cached_property
    def accelerator(self) -> AcceleratorGraph:
        """The chip."""
        return self.sheet.build()

    def program(self, guards: tuple[Guard, ...]) -> EventProgram:
        """What the chip computes for this network.

        Raises:
            UnsupportedError: There are guards.
        """
        if guards:
            raise UnsupportedError(
                f"{self.sheet.name} works off events, and programs of events take no guards yet; "
                f"came {guards[0]}"
            )
        sheet, leaks = self.sheet, [x for x in self.layers if x.leak]
        leak = _leak_place(leaks[0].lif) if leaks else ""
        coding = EventCoding(
            self.placed.inputs,
            self.network.steps,
            leak or "none",
            self.sheet.waits,
            self.network.layers[0].name,
        )
        last = self.layers[-1].size
        cycles = replace(CYCLES, idle=sheet.idle_cycles, time_out=sheet.time_out_cycles)
        return EventProgram(
            self._words(),
            self._weights(),
            LAYOUT,
            WEIGHT.bits,
            self.placed.scan,
            True,
            128,
            cycles,
            self.placed.neurons[-last:],
            coding,
            tuple(self._populations()),
        )

    def _populations(self) -> Iterator[Population]:
        at = 0
        for layer in self.layers:
            neurons = self.placed.neurons[at : at + layer.size]
            yield Population(layer.lif.name, layer.linear.name, neurons)
            at += layer.size

    def _words(self) -> NDArray[np.int64]:
        """Neuron words; neurons that nobody uses are disabled and never reach their threshold."""
        words = np.full(NEURONS, int(neuron_words(0, 4095, 0, 1)) | DISABLE)
        threshold = np.concatenate([layer.threshold for layer in self.layers])
        leak = np.concatenate([np.full(layer.size, layer.leak) for layer in self.layers])
        words[list(self.placed.neurons)] = neuron_words(0, threshold, leak)
        return words

    def _weights(self) -> NDArray[np.int64]:
        weights = np.zeros((NEURONS, NEURONS), dtype=np.int64)
        sources, at = np.array(self.placed.inputs), 0
        for layer in self.layers:
            targets = np.array(self.placed.neurons[at : at + layer.size])
            weights[np.ix_(sources, targets)] = layer.linear.weight.T
            sources, at = targets, at + layer.size
        return weights

    def assignments(self) -> tuple[Assignment, ...]:
        """Who is where; in updates, of an inference whose inputs all spike in every step.

        How many events there really are depends on the sample.
        """
        leaks = any(layer.leak for layer in self.layers)
        last = self.network.steps * (len(self.placed.inputs) + leaks) * self.placed.scan
        found = []
        for layer in self.layers:
            terms = layer.linear.weight.shape[1]
            box = ((0, 1, 1), (0, terms, 1), (0, layer.size, 1))
            found.append(Assignment(layer.linear.name, "neurons", (), *box, 0, last))
        return tuple(found)

    def exposures(self, unit: str, component: str) -> tuple[int, ...]:
        """Both memories are written before an inference: their contents stand from update 0 on.

        Raises:
            FaultError: No such unit or component.
        """
        self.accelerator.unit(unit).component(component)
        return (0,)

    def footprint(self, faults: Faults, inferences: int) -> Footprint:
        """What faults touch; a window's time is (inference, update).

        Raises:
            FaultError: A fault or a window that cannot exist on this chip.
            UnsupportedError: Faults of the queue, and stuck bits that come or go.
        """
        faults.check(self.accelerator)
        parts = [PLACE_OF_PART.get((u.name, c.name)) for u, c in self.accelerator.components()]
        rows: list[dict[str, object]] = []
        struck = np.zeros(faults.trials, dtype=np.int64)
        idle = np.zeros(faults.trials, dtype=np.int64)
        for i, fault in enumerate(faults.table):
            trial, inference = int(fault["trial"]), int(fault["first"][0])
            bit = self._bit(faults, i, parts)
            moment = ByUpdate(int(fault["first"][1]), self.placed.scan)
            mine = [] if inference >= inferences else effect_rows(bit, moment, inference)
            rows += [row | {"trial": trial, "event": int(fault["event"])} for row in mine]
            struck[trial] += 1
            idle[trial] += not mine
        return Footprint(Effects.of(rows, faults.trials), struck, idle)

    def _bit(self, faults: Faults, i: int, parts: list[str | None]) -> BitFault:
        fault = faults.fault(i, self.accelerator)
        place = parts[int(faults.table["part"][i])] if fault.site.component != "*" else None
        if place is None:
            raise UnsupportedError(f"{fault.site}: tinyODIN's model claims no faults there")
        if fault.model is FaultModel.flip:
            bus = place in ("write_bus", "weight", "extended_weight") or "address" in place
            if bus:
                raise FaultError(f"{fault.site}: a net stores nothing and cannot flip; use stuck0")
            return BitFault(place, fault.site.word, fault.site.bit, "flip")
        if fault.window.first != (0, 0) or fault.window.last is not None:
            raise UnsupportedError(f"{fault.site}: stuck bits that come or go are not modelled")
        kind: Literal["sa0", "sa1"] = "sa1" if fault.model is FaultModel.stuck1 else "sa0"
        return BitFault(place, fault.site.word, fault.site.bit, kind)

    def holdings(self) -> tuple[Holding, ...]:
        """What stands in the words of both memories."""
        return tuple(holdings_of(self))

    def cost(self, activity: Activity, guards: tuple[Guard, ...]) -> Cost:
        """What one inference costs; see `accelerators.tinyodin.cost`."""
        return cost_of(self, activity, guards)
