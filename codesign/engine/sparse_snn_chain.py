"""Which programs the sparse engine for spiking networks runs: chains of synapses and neurons."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codesign.formats import NumberFormat
from codesign.network import Flatten, Input, Layer, Lif, Linear
from codesign.program import Program

__all__ = ["LINES", "MOST", "NEURONS", "SUMS", "Chain", "Role", "Stage", "chain_of"]

Ints = NDArray[np.int64]
LINES, SUMS, NEURONS = 1, 2, 3  # roles of layers, as the kernels number them
MOST = 1 << 30  # magnitude of currents and thresholds that 32-bit lanes add up safely
LONGEST_SHIFT = 30
INT32 = (1 << 31) - 1
OUTSIDE = -2  # the reader of the network's output


@dataclass(frozen=True, eq=False)
class Stage:
    """Synapses and the neurons behind them.

    Attributes:
        sums: The layer of synapses.
        neurons: The layer of neurons.
        form: Of the membranes.
        low: Smallest input value.
        high: Largest input value.
        peak: No sum of any of the terms exceeds it in magnitude, whatever the inputs.
        headroom: Magnitude that may come on top before a sum can leave its formats.
        slack: Magnitude that may come on top before a membrane can leave its format; -1 if it can
            without.
        wide: Whether 32 bits do not hold every intermediate result.
    """

    sums: Linear
    neurons: Lif
    form: NumberFormat
    low: int
    high: int
    peak: int
    headroom: int
    slack: int
    wide: bool


@dataclass(frozen=True)
class Role:
    """What a layer is in a chain.

    Attributes:
        role: ``LINES`` (inputs of a stage), ``SUMS`` or ``NEURONS``.
        stage: Which; of lines, the one that reads them.
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
        stages: In order.
        roles: Of every layer, by index.
        steps: Time steps.
    """

    stages: tuple[Stage, ...]
    roles: tuple[Role, ...]
    steps: int


def chain_of(program: Program) -> Chain | None:
    """The chain that a program is, or None: then the dense engine has to run it.

    A chain has no guards; each layer reads the one before it, now; fully connected layers without
    requantisation whose sums cannot leave their formats alternate with leaky neurons; layers that
    flatten may stand between; neurons come last.
    """
    network = program.network
    if program.guards or not _is_line(network.layers):
        return None
    stages: list[Stage] = []
    roles: list[Role] = []
    low, high = _input_range(network.layers[0])
    pending: Linear | None = None
    for index, layer in enumerate(network.layers):
        reader = index + 1 if index + 1 < len(network.layers) else OUTSIDE
        grid = network.grid(layer.name)
        strides = network.element(layer.name, 1, 0), network.element(layer.name, 0, 1)
        role = LINES
        if isinstance(layer, Linear):
            role, pending = SUMS, layer
        elif isinstance(layer, Lif):
            stage = _stage(program, pending, layer, low, high)
            if stage is None:
                return None
            role, pending, low, high = NEURONS, None, 0, 1
            stages.append(stage)
        elif pending is not None:
            return None
        if (stages or role != LINES) and grid[0] != 1:
            return None
        number = len(stages) - (role == NEURONS)
        roles.append(Role(role, number, reader, grid, strides))
    if not stages or pending is not None or not -(1 << 15) <= low <= high < 1 << 15:
        return None
    return Chain(tuple(stages), tuple(roles), network.steps)


def _is_line(layers: tuple[Layer, ...]) -> bool:
    """Whether each layer reads the one before it at the same step, and is of a kind known here."""
    for before, layer in pairwise(layers):
        if len(layer.inputs) != 1 or layer.inputs[0].delay_steps:
            return False
        if layer.inputs[0].source != before.name or not isinstance(layer, Flatten | Linear | Lif):
            return False
        if isinstance(layer, Lif) != isinstance(before, Linear):
            return False
    return len(layers) > 2


def _input_range(layer: Layer) -> tuple[int, int]:
    assert isinstance(layer, Input)
    form = layer.format
    return (form.low, form.high) if form.bits <= 15 else (-MOST, MOST)


def _stage(
    program: Program, sums: Linear | None, neurons: Lif, low: int, high: int
) -> Stage | None:
    if sums is None or sums.requantise is not None or not _plain_rule(neurons):
        return None
    peak = _peak(sums, low, high)
    headroom = _headroom(program, sums, peak)
    form = program.membrane(neurons.name)
    if headroom < 0 or form.bits > 31 + form.signed:
        return None
    per_weight = (1 << sums.weight_format.bits) * max(-low, high)
    steps, slack = program.network.steps, -1
    for more in (0, 4 * per_weight):
        if _stays(neurons, form, peak + more, steps):
            slack = more
    wide = slack < 0 and _reach(neurons, form, peak) >= INT32
    return Stage(sums, neurons, form, low, high, peak, headroom, slack, wide)


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


def _peak(layer: Linear, low: int, high: int) -> int:
    ends = np.stack([layer.weight * min(low, 0), layer.weight * max(high, 0)])
    highest, lowest = ends.max(0).sum(1), ends.min(0).sum(1)
    bias = np.abs(layer.bias).reshape(-1, layer.bias.shape[-1]).max(0)
    return int((bias + np.maximum(highest, -lowest)).max())


def _headroom(program: Program, layer: Linear, peak: int) -> int:
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


def _after(operation: str, layer: Lif, current: int, low: int, high: int) -> tuple[int, int]:
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
