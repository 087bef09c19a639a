"""Which layers of a spiking network run on cores, and which inputs each of their neurons reads.

A core takes a multiply-accumulate layer together with the `Lif` behind it, or the last layer alone
(its currents are the readout). Layers without weights run beside the cores, in the spike path.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelerators.reads import input_elements
from codesign.errors import MappingError
from codesign.formats import NumberFormat, Requantise
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Input,
    Layer,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
    is_mac,
)

if TYPE_CHECKING:
    from accelerators.cores.family import Cores

__all__ = ["CoreLayer", "core_layers"]


@dataclass(frozen=True, eq=False)
class CoreLayer:
    """One multiply-accumulate layer on cores. Neuron ``m · N + n`` is output (m, n).

    Attributes:
        name: Of the multiply-accumulate layer.
        index: Its number in the network.
        lif: Number of the `Lif` that reads it, or None for a readout.
        order: The neuron's operations in the order they are done, () for a readout.
        positions, channels, terms: (M, N, K) of the layer.
        groups: Channel n reads the inputs of group ``n // (N / groups)``.
        spikes: Whether its inputs are 0 and 1 only.
        elements: ``[M, groups, K]`` flat index of the source's element that term k reads, -1 for a
            zero of the padding, which a crossbar does not have.
    """

    name: str
    index: int
    lif: int | None
    order: tuple[str, ...]
    positions: int
    channels: int
    terms: int
    groups: int
    spikes: bool
    elements: NDArray[np.int64]

    @property
    def neurons(self) -> int:
        """Columns that the layer needs."""
        return self.positions * self.channels


def core_layers(network: NetworkGraph, sheet: Cores) -> tuple[CoreLayer, ...]:
    """The layers that run on cores, in the network's order.

    Raises:
        MappingError: A layer that cores cannot run, by name, with what to do.
    """
    if not any(isinstance(layer, Lif) for layer in network):
        raise MappingError(
            f"{network.name} has no spiking layer, and {sheet.name} computes with spikes only; "
            "put a Lif behind its layers, or choose an array of multipliers"
        )
    ranges = _code_ranges(network)
    _check_formats(network, sheet, ranges)
    found = []
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Lif):
            _check_lif(network, layer)
        if isinstance(layer, Conv2d | Linear):
            lif = _reader(network, layer, sheet)
            spikes = ranges[layer.inputs[0].source] in ((0, 0), (0, 1))
            found.append(_core_layer(network, index, layer, lif, spikes))
    return tuple(found)


def _core_layer(
    network: NetworkGraph, index: int, layer: Conv2d | Linear, lif: Lif | None, spikes: bool
) -> CoreLayer:
    positions, terms, channels = network.mac_shape(layer.name)
    return CoreLayer(
        layer.name,
        index,
        None if lif is None else network.index(lif.name),
        () if lif is None else lif.order,
        positions,
        channels,
        terms,
        layer.groups if isinstance(layer, Conv2d) else 1,
        spikes,
        input_elements(network, layer),
    )


def _reader(network: NetworkGraph, layer: Conv2d | Linear, sheet: Cores) -> Lif | None:
    """The `Lif` fed by a layer's currents, None for the readout."""
    if layer.requantise is not None:
        raise MappingError(
            f"{layer.name} requantises its sums, and neurons of {sheet.name} take them as they "
            "are; lower it without requantisation"
        )
    readers = network.readers(layer.name)
    if not readers and network.layers[-1] is layer:
        return None
    if len(readers) == 1:
        lif = network[readers[0]]
        if isinstance(lif, Lif):
            return lif
    named = ", ".join(f"{r} ({type(network[r]).__name__})" for r in readers) or "nothing"
    raise MappingError(
        f"{layer.name} is read by {named}; on {sheet.name} the currents of a layer feed exactly "
        "one Lif, or are the network's output: put a Lif behind it"
    )


def _check_lif(network: NetworkGraph, layer: Lif) -> None:
    edges = ", ".join(
        edge.source + (f" {edge.delay_steps} steps ago" if edge.delay_steps else "")
        for edge in layer.inputs
    )
    if len(layer.inputs) != 1 or layer.inputs[0].delay_steps or not is_mac(_source(network, layer)):
        raise MappingError(
            f"{layer.name} reads {edges}; a neuron has one current register, written in the same "
            "step by one Conv2d or Linear: give it one such input (residual and recurrent currents "
            "cannot be added here)"
        )


def _source(network: NetworkGraph, layer: Layer) -> Layer:
    return network[layer.inputs[0].source]


def _check_formats(network: NetworkGraph, sheet: Cores, ranges: dict[str, tuple[int, int]]) -> None:
    """Refuse weights, biases, thresholds and input codes that the registers do not hold."""
    for layer in network:
        if isinstance(layer, Conv2d | Linear):
            codes = ranges[layer.inputs[0].source]
            codes = (min(codes[0], 0), max(codes[1], 0))
            _hold(f"inputs of {layer.name}", codes, sheet.axon, "axon", "rate coding")
            _hold(f"weights of {layer.name}", layer.weight, sheet.weight, "weight", "fewer bits")
            _hold(f"biases of {layer.name}", layer.bias, sheet.current, "current", "a wider one")
        if isinstance(layer, Lif):
            form = sheet.threshold
            _hold(f"thresholds of {layer.name}", layer.threshold, form, "threshold", "a wider one")


def _hold(what: str, values: object, form: NumberFormat, register: str, knob: str) -> None:
    array = np.asarray(values)
    if not form.holds(array):
        raise MappingError(
            f"{what} are {array.min()}..{array.max()}, and the {form.bits} bits of {register} "
            f"hold {form.low}..{form.high}; use {knob}, or change the datasheet"
        )


def _code_ranges(network: NetworkGraph) -> dict[str, tuple[int, int]]:
    """Smallest and largest code of each layer's output that is not a current."""
    ranges: dict[str, tuple[int, int]] = {}
    for layer in network:
        incoming = [ranges.get(edge.source, (0, 1)) for edge in layer.inputs]
        low, high = (
            min((r[0] for r in incoming), default=0),
            max((r[1] for r in incoming), default=0),
        )
        if isinstance(layer, Input):
            low, high = layer.format.low, layer.format.high
        elif isinstance(layer, Lif):
            low, high = 0, 1
        elif isinstance(layer, AvgPool2d):
            area = prod(layer.kernel)
            low, high = _after(layer.requantise, min(low, 0) * area, max(high, 0) * area)
        elif isinstance(layer, Add):
            pairs = list(zip(layer.multipliers, incoming, strict=True))
            sums = (sum(k * r[0] for k, r in pairs), sum(k * r[1] for k, r in pairs))
            low, high = _after(layer.requantise, *sums)
        elif isinstance(layer, Concat):
            after = [_after(q, *r) for q, r in zip(layer.requantise, incoming, strict=True)]
            low, high = min(a for a, _ in after), max(b for _, b in after)
        elif not isinstance(layer, MaxPool2d):
            low, high = min(low, 0), max(high, 0)
        ranges[layer.name] = (low, high)
    return ranges


def _after(requantise: Requantise | None, low: int, high: int) -> tuple[int, int]:
    return (low, high) if requantise is None else (requantise.low, requantise.high)
