"""Which programs the sparse engine for spiking networks runs: chains of synapses and neurons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codesign.formats import NumberFormat
from codesign.network import (
    AvgPool2d,
    Conv2d,
    Flatten,
    Input,
    Layer,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
    is_mac,
)
from codesign.program import Program

__all__ = [
    "CURRENTS",
    "LINES",
    "MOST",
    "NEURONS",
    "SPIKES",
    "SUMS",
    "Chain",
    "Pool",
    "Role",
    "Stage",
    "chain_of",
]

Ints = NDArray[np.int64]
LINES, SUMS, NEURONS, CURRENTS, SPIKES = 1, 2, 3, 4, 5  # roles, as the kernels number them
MOST = 1 << 30  # magnitude of currents and thresholds that 32-bit lanes add up safely
LONGEST_SHIFT = 30
LARGEST_WINDOW = 64
MOST_STAGES = 62
INT32 = (1 << 31) - 1
OUTSIDE = -2  # the reader of the network's output

Pool = MaxPool2d | AvgPool2d
Range = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Stage:
    """Synapses and the neurons behind them.

    Attributes:
        sums: The layer of synapses.
        neurons: The layer of neurons.
        form: Of the membranes.
        low: Smallest input value.
        high: Largest input value.
        peak: No current exceeds it in magnitude, whatever the inputs.
        headroom: Magnitude that may come on top before a sum can leave its formats.
        slack: Magnitude that may come on top of a current before a membrane can leave its format;
            -1 if it can without.
        wide: Whether 32 bits do not hold every intermediate result.
        read: What pools the spikes of the stage before, if anything does.
        pool: What pools the sums into currents, if anything does.
    """

    sums: Conv2d | Linear
    neurons: Lif
    form: NumberFormat
    low: int
    high: int
    peak: int
    headroom: int
    slack: int
    wide: bool
    read: Pool | None
    pool: Pool | None


@dataclass(frozen=True)
class Role:
    """What a layer is in a chain.

    Attributes:
        role: ``LINES`` (inputs of a stage), ``SUMS``, ``CURRENTS`` (pooled sums), ``NEURONS``, or
            ``SPIKES`` of a stage on their way to the next.
        stage: Which.
        reader: Index of the layer that reads it, or -2 for the outside.
        grid: (positions, channels).
        strides: Of its flat elements by position and by channel.
    """

    role: int
    stage: int
    reader: int
    grid: tuple[int, int]
    strides: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Chain:
    """A network that is a chain of stages.

    Attributes:
        network: The network.
        stages: In order.
        roles: Of every layer, by index.
        steps: Time steps.
    """

    network: NetworkGraph
    stages: tuple[Stage, ...]
    roles: tuple[Role, ...]
    steps: int


def chain_of(program: Program) -> Chain | None:
    """The chain that a program is, or None: then the dense engine has to run it.

    A chain has no guards; each layer reads the one before it, now. Layers of synapses
    (convolutions, or fully connected ones with one position), without requantisation and with sums
    that cannot leave their formats, alternate with leaky neurons. One pooling layer may stand
    between synapses and neurons, and one between neurons and synapses; layers that flatten may
    stand before synapses; neurons come last.
    """
    network = program.network
    if program.guards or not _is_line(network.layers):
        return None
    builder = _Builder(program, *_input_range(network.layers[0]))
    if not all(builder.take(layer) for layer in network.layers):
        return None
    if not 0 < len(builder.stages) <= MOST_STAGES or builder.sums or builder.read:
        return None
    return Chain(network, tuple(builder.stages), tuple(builder.roles), network.steps)


class _Builder:
    """A chain of which not all layers have come."""

    def __init__(self, program: Program, low: int, high: int) -> None:
        self.program = program
        self.stages: list[Stage] = []
        self.roles: list[Role] = []
        self.low, self.high = low, high  # of the lines of the stage to come
        self.read: Pool | None = None
        self.sums: Conv2d | Linear | None = None
        self.pool: Pool | None = None

    def take(self, layer: Layer) -> bool:
        """Whether a layer goes on with the chain."""
        network, number = self.program.network, len(self.stages)
        if isinstance(layer, Conv2d | Linear):
            if isinstance(layer, Linear) and network.grid(layer.name)[0] != 1:
                return False
            role, self.sums = SUMS, layer
        elif isinstance(layer, Lif):
            stage = _stage(self, layer)
            if stage is None:
                return False
            role = NEURONS
            self.stages.append(stage)
            self.sums = self.read = self.pool = None
            self.low, self.high = 0, 1
        elif isinstance(layer, Pool):
            role = CURRENTS if self.sums else LINES
            if not self._pools(layer):
                return False
        elif self.sums is not None:
            return False
        else:
            spikes = number > 0 and self.read is None
            role, number = (SPIKES, number - 1) if spikes else (LINES, number)
        reader = len(self.roles) + 1
        strides = network.element(layer.name, 1, 0), network.element(layer.name, 0, 1)
        outside = reader == len(network.layers)
        grid = network.grid(layer.name)
        self.roles.append(Role(role, number, OUTSIDE if outside else reader, grid, strides))
        return True

    def _pools(self, layer: Pool) -> bool:
        """Whether a layer may pool sums or, in front of a stage, spikes."""
        if not _fits(self.program.network, layer):
            return False
        if self.sums is not None:
            free, self.pool = self.pool is None, layer
            return free
        free, self.read = bool(self.stages) and self.read is None, layer
        self.low, self.high = _pooled(layer, self.low, self.high)
        return free


def _is_line(layers: tuple[Layer, ...]) -> bool:
    """Whether each layer reads the one before it at the same step, and is of a kind known here."""
    known = Flatten | Linear | Conv2d | Lif | MaxPool2d | AvgPool2d
    for before, layer in pairwise(layers):
        if len(layer.inputs) != 1 or layer.inputs[0].delay_steps:
            return False
        if layer.inputs[0].source != before.name or not isinstance(layer, known):
            return False
        if isinstance(layer, Lif) and not (is_mac(before) or isinstance(before, Pool)):
            return False
    return len(layers) > 2


def _fits(network: NetworkGraph, layer: Pool) -> bool:
    """Whether every window of a pooling layer holds something, and not too much."""
    _, height, width = network.shapes[layer.inputs[0].source]
    for size, pad, kernel, stride, many in zip(
        (height, width),
        (layer.padding[0], layer.padding[2]),
        layer.kernel,
        layer.stride,
        network.shapes[layer.name][1:],
        strict=True,
    ):
        starts = np.arange(many) * stride - pad
        if (starts + kernel <= 0).any() or (starts >= size).any():
            return False
    return layer.kernel[0] * layer.kernel[1] <= LARGEST_WINDOW


def _input_range(layer: Layer) -> Range:
    assert isinstance(layer, Input)
    form = layer.format
    return (form.low, form.high) if form.bits <= 15 else (-MOST, MOST)


def _pooled(layer: Pool | None, low: int, high: int) -> Range:
    """Range of what a layer makes of values in a range."""
    if not isinstance(layer, AvgPool2d):
        return low, high
    area = layer.kernel[0] * layer.kernel[1]
    if layer.requantise is not None:
        return layer.requantise.low, layer.requantise.high
    return min(low, 0) * area, max(high, 0) * area


def _stage(now: _Builder, neurons: Lif) -> Stage | None:
    program, sums, low, high = now.program, now.sums, now.low, now.high
    if sums is None or sums.requantise is not None or not _plain_rule(neurons):
        return None
    if not -(1 << 15) <= low <= high < 1 << 15:
        return None
    most = _peak(sums, low, high)
    headroom = _headroom(program, sums, most)
    area = now.pool.kernel[0] * now.pool.kernel[1] if isinstance(now.pool, AvgPool2d) else 1
    headroom = min(headroom, MOST // area - most)
    form = program.membrane(neurons.name)
    ends = _pooled(now.pool, -most, most)
    peak = max(-ends[0], ends[1])
    if headroom < 0 or form.bits > 31 + form.signed or peak >= MOST:
        return None
    stage = Stage(
        sums, neurons, form, low, high, peak, headroom, -1, False, now.read, now.pool
    )  # fmt: skip
    per_weight = (1 << sums.weight_format.bits) * max(-low, high) * area
    steps, slack = program.network.steps, -1
    for more in (0, 4 * per_weight):
        if _stays(neurons, form, peak + more, steps):
            slack = more
    wide = slack < 0 and _reach(neurons, form, peak) >= INT32
    return replace(stage, slack=slack, wide=wide)


def _plain_rule(layer: Lif) -> bool:
    """Whether the kernels' lanes hold the numbers of a neuron's rule."""
    leak = layer.leak
    if leak.kind in ("shift", "multiply") and not 0 <= leak.amount <= LONGEST_SHIFT:
        return False
    if leak.kind == "multiply" and not 0 <= leak.factor < 1 << 15:
        return False
    if leak.kind == "subtract" and not 0 <= leak.amount < MOST:
        return False
    return bool(np.abs(layer.threshold).max() < MOST)


def _peak(layer: Conv2d | Linear, low: int, high: int) -> int:
    weight = layer.weight.reshape(len(layer.weight), -1)
    ends = np.stack([weight * min(low, 0), weight * max(high, 0)])
    highest, lowest = ends.max(0).sum(1), ends.min(0).sum(1)
    bias = np.abs(layer.bias).reshape(-1, layer.bias.shape[-1]).max(0)
    return int((bias + np.maximum(highest, -lowest)).max())


def _headroom(program: Program, layer: Conv2d | Linear, peak: int) -> int:
    """Magnitude left in the narrowest place of the sums; negative if one can overflow."""
    arithmetic = program.arithmetic[layer.name]
    ends = [MOST, arithmetic.inner.high, -arithmetic.inner.low]
    ends += [arithmetic.outer.high, -arithmetic.outer.low]
    readout = arithmetic.readout
    if readout is not None:
        if np.ndim(readout.multiplier) or readout.multiplier != 1 or readout.shift != 0:
            return -1
        ends += [readout.high, -readout.low]
    return min(ends) - peak


def _stays(layer: Lif, form: NumberFormat, current: int, steps: int) -> bool:
    """Whether no membrane can leave its format, and no result 32 bits, under any such currents."""
    low = high = 0
    for _ in range(steps):
        before = low, high
        for operation in layer.order:
            low, high = _after(operation, layer, current, low, high)
            if not (form.low <= low and high <= form.high) or max(-low, high) >= MOST:
                return False
        if (low, high) == before:
            return True
        low, high = min(low, before[0]), max(high, before[1])
    return True


def _after(operation: str, layer: Lif, current: int, low: int, high: int) -> Range:
    """Range of membranes after one operation; beyond every format if 32 bits do not hold it."""
    leak = layer.leak
    if operation == "integrate":
        return low - current, high + current
    if operation == "leak" and leak.kind == "multiply":
        ends = [v * leak.factor + ((1 << leak.amount) >> 1) for v in (low, high)]
        if max(map(abs, ends)) >= INT32:
            return -INT32, INT32
        low, high = (v >> leak.amount for v in ends)
    elif operation == "reset" and layer.reset == "subtract":
        return min(low, low - int(layer.threshold.max())), max(
            high, high - int(layer.threshold.min())
        )
    elif operation == "fire":
        return low, high
    return min(low, 0), max(high, 0)


def _reach(layer: Lif, form: NumberFormat, current: int) -> int:
    """Largest magnitude of any intermediate result where every write is fitted."""
    v = max(-form.low, form.high)
    leak = layer.leak
    leaked = v * leak.factor + (1 << leak.amount) if leak.kind == "multiply" else v + leak.amount
    return max(leaked, v + current, v + int(np.abs(layer.threshold).max()))
