"""How large values and sums can become, so that the kernels' integers surely hold them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from codesign.formats import NumberFormat, Requantise
from codesign.network import Add, AvgPool2d, Concat, Conv2d, Input, Layer, Linear, MaxPool2d
from codesign.program import MacArithmetic, Program

__all__ = ["BY_TERMS", "PLAIN", "WRAPS", "Limits", "limits"]

PLAIN, WRAPS, BY_TERMS = 0, 1, 2  # how a sum's difference may be added up
CARRIED = 1 << 29  # what 32 bits hold with room for a difference
MOST_EXCESS = 1 << 12
Range = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Limits:
    """Bounds of a program.

    Attributes:
        ranges: ``[layers, 2]`` of what each layer stores, if no stored code is struck.
        modes: By index of a multiply-accumulate layer: `PLAIN` where no sum can overflow, `WRAPS`
            where every overflow is modulo the last format, `BY_TERMS` elsewhere.
        room: By index, by how much faulty weights and biases may change a plain sum.
        inputs: By index, the largest absolute input; and that after the most excess.
        most_excess: See `codesign.engine.sparse_cnn_data.Plan`; so `most_carried`.
        most_carried: 0 where not even golden values are carried.
    """

    ranges: NDArray[np.int64]
    modes: dict[int, int]
    room: dict[int, int]
    inputs: dict[int, tuple[int, int]]
    most_excess: int
    most_carried: int


def limits(program: Program) -> Limits:
    """The bounds of a program without spiking layers."""
    network = program.network
    number = {layer.name: i for i, layer in enumerate(network.layers)}
    ranges: list[Range] = []
    gains: list[int] = []  # by what an excess of one grows on its way, at most
    modes: dict[int, int] = {}
    slack: dict[int, int] = {}
    carried, excess = CARRIED, MOST_EXCESS
    for i, layer in enumerate(network.layers):
        sources = [number[edge.source] for edge in layer.inputs]
        incoming = [ranges[s] for s in sources]
        gain = max([1, *(gains[s] for s in sources)])
        if isinstance(layer, Conv2d | Linear):
            reach, room, mode = _sums(layer, incoming[0], program.arithmetic[layer.name])
            modes[i], slack[i] = mode, room
            heaviest = max(1, int(np.abs(layer.weight).max()))
            if mode == PLAIN:
                excess = min(excess, room // 2 // (heaviest * gain))
            gain *= heaviest * layer.weight.size
        else:
            reach = _reach(layer, incoming)
            gain = _grown(layer, gain)
        requantise = getattr(layer, "requantise", None)
        q = requantise if isinstance(requantise, Requantise) else None
        largest = max(abs(v) for v in reach)
        if isinstance(layer, Add) or q is None:
            carried = min(carried, (CARRIED - largest) // gain)
        ranges.append((q.low, q.high) if q else reach)
        gains.append(1 if q or isinstance(layer, Input) else gain)
    carried = max(0, carried) if all(max(abs(a), abs(b)) < CARRIED for a, b in ranges) else 0
    excess = max(0, min(excess, carried))
    widest = {i: max(map(abs, ranges[number[network.layers[i].inputs[0].source]])) for i in modes}
    grown = {i: max(1, gains[number[network.layers[i].inputs[0].source]]) for i in modes}
    return Limits(
        ranges=np.array(ranges, dtype=np.int64).reshape(-1, 2),
        modes=modes,
        room={i: max(0, room // 2) for i, room in slack.items()},
        inputs={i: (widest[i], widest[i] + excess * grown[i]) for i in modes},
        most_excess=excess,
        most_carried=carried,
    )


def _sums(
    layer: Conv2d | Linear, incoming: Range, arithmetic: MacArithmetic
) -> tuple[Range, int, int]:
    """Range of the total, room to the nearest overflow, and how differences may be added up."""
    low, high = min(incoming[0], 0), max(incoming[1], 0)
    weight = layer.weight.reshape(len(layer.weight), -1)
    bias = layer.bias.reshape(-1, layer.bias.shape[-1])
    if max(-low, high) * max(1, int(np.abs(weight).max())) * weight.shape[1] >= 1 << 62:
        weight, bias = weight.astype(object), bias.astype(object)  # of any size
    most = np.maximum(weight * low, weight * high).sum(axis=1)
    least = np.minimum(weight * low, weight * high).sum(axis=1)
    # A prefix takes some of the terms, and the bias may be in it or not.
    highest, lowest = (
        int((np.maximum(bias, 0) + most).max()),
        int((np.minimum(bias, 0) + least).min()),
    )
    room = min(
        *(_room(form, lowest, highest) for form in (arithmetic.inner, arithmetic.outer)),
        CARRIED - highest,
        CARRIED + lowest,
    )
    total = int((bias + least).min()), int((bias + most).max())
    inner, outer = arithmetic.inner, arithmetic.outer
    if arithmetic.readout is None and room >= 0:
        return total, room, PLAIN
    wraps = inner.overflow == outer.overflow == "wrap" and inner.bits >= outer.bits
    if arithmetic.readout is None and wraps and outer.bits <= 32 - (not outer.signed):
        return (outer.low, outer.high), 0, WRAPS
    return (outer.low, outer.high), 0, BY_TERMS


def _room(form: NumberFormat, low: int, high: int) -> int:
    return min(form.high - high, low - form.low)


def _reach(layer: Layer, incoming: list[Range]) -> Range:
    """Range of what a layer without weights gives before its requantisation."""
    if isinstance(layer, Input):
        return layer.format.low, layer.format.high
    if isinstance(layer, Add):
        ends = [(k * a, k * b) for k, (a, b) in zip(layer.multipliers, incoming, strict=True)]
        # Differences are added up without what is golden: any of the inputs may be missing.
        return sum(min(a, 0) for a, _ in ends), sum(max(b, 0) for _, b in ends)
    if isinstance(layer, AvgPool2d):
        area = prod(layer.kernel)
        return min(incoming[0][0], 0) * area, max(incoming[0][1], 0) * area
    if isinstance(layer, Concat):
        after = [
            (q.low, q.high) if q else r for q, r in zip(layer.requantise, incoming, strict=True)
        ]
        return min(a for a, _ in after), max(b for _, b in after)
    low, high = incoming[0]
    return (low, high) if isinstance(layer, MaxPool2d) else (min(low, 0), max(high, 0))


def _grown(layer: Layer, gain: int) -> int:
    if isinstance(layer, Add):
        return gain * max(1, sum(layer.multipliers))
    if isinstance(layer, AvgPool2d | MaxPool2d):
        return gain * prod(layer.kernel)
    return gain * len(layer.inputs) if isinstance(layer, Concat) else gain
