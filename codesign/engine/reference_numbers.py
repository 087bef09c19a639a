"""Arithmetic of the reference engine, on plain Python integers, shared with no other engine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from codesign.effects import Op
from codesign.formats import NumberFormat, Requantise
from codesign.network import AvgPool2d, Conv2d, Lif, Linear, MaxPool2d
from codesign.program import Program

__all__ = [
    "Values",
    "corrupt",
    "divide",
    "fit",
    "leak",
    "nested",
    "picks",
    "position",
    "requantise",
    "terms",
    "vote",
    "window",
    "within",
]

Values = dict[tuple[int, ...], int]  # output index → value


def fit(form: NumberFormat, value: int) -> int:
    """A value of any size after it was written to a place."""
    low = -(2 ** (form.bits - 1)) if form.signed else 0
    high = low + 2**form.bits - 1
    if form.overflow == "saturate":
        return min(max(value, low), high)
    return (value - low) % 2**form.bits + low


def window(layer: MaxPool2d | AvgPool2d, at: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Input indices under a pooling window, padding included."""
    top, _, left, _ = layer.padding
    for dy in range(layer.kernel[0]):
        for dx in range(layer.kernel[1]):
            yield (at[0], at[1] * layer.stride[0] + dy - top, at[2] * layer.stride[1] + dx - left)


def terms(layer: Conv2d | Linear, x: Values, at: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Input operands and weights of one output element, by k."""
    if isinstance(layer, Linear):
        lead, n = at[:-1], at[-1]
        weights = [int(w) for w in layer.weight[n]]
        return [x[(*lead, k)] for k in range(len(weights))], weights
    n, oy, ox = at
    channels, per_group, kh, kw = layer.weight.shape
    group = n // (channels // layer.groups)
    inputs, weights = [], []
    for c in range(per_group):
        for ky in range(kh):
            for kx in range(kw):
                y = oy * layer.stride[0] + ky - layer.padding[0]
                z = ox * layer.stride[1] + kx - layer.padding[2]
                inputs.append(x.get((group * per_group + c, y, z), 0))
                weights.append(int(layer.weight[n, c, ky, kx]))
    return inputs, weights


def position(program: Program, name: str, at: tuple[int, ...]) -> tuple[int, int]:
    """(m, n) of an output index: how `codesign.network` addresses elements."""
    network = program.network
    shape = network.shapes[name]
    if len(shape) == 1:
        return 0, at[0]
    layer = network[name]
    source = network[layer.inputs[0].source] if isinstance(layer, Lif) else layer
    if isinstance(source, Linear):
        m = 0
        for i, size in zip(at[:-1], shape[:-1], strict=True):
            m = m * size + i
        return m, at[-1]
    m = 0
    for i, size in zip(at[1:], shape[1:], strict=True):
        m = m * size + i
    return m, at[0]


def picks(selector: NDArray[np.int64], index: int) -> bool:
    """Whether a (start, stop, step) selector picks an index."""
    start, stop, step = (int(v) for v in selector)
    return index >= start and (stop < 0 or index < stop) and (index - start) % step == 0


def within(window: NDArray[np.int64], now: int) -> bool:
    """Whether a half-open window (-1: no end) holds a moment."""
    return bool(window[0] <= now and (window[1] < 0 or now < window[1]))


def corrupt(value: int, rows: list[np.void]) -> int:
    """A value after the rows that meet it, in order of rank, stuck bits last among equals."""
    for row in sorted(rows, key=lambda r: (int(r["rank"]), r["op"] == Op.stuck)):
        number, mask, bits = int(row["value"]), int(row["mask"]), int(row["bits"])
        if row["op"] == Op.replace:
            value = number
        elif row["op"] == Op.add:
            value = value + number
        elif row["op"] == Op.scale:
            value = value * number
        else:
            pattern = value % 2**bits
            if row["op"] == Op.xor:
                pattern ^= mask
            else:
                pattern = (pattern & ~mask) | (number & mask)
            negative = bool(row["signed"]) and pattern >= 2 ** (bits - 1)
            value = pattern - 2**bits if negative else pattern
    return value


def requantise(q: Requantise, total: int, channel: int) -> int:
    """Multiply, divide by a power of two with rounding, clip: in exact fractions of integers."""
    per_channel = np.ravel(q.multiplier).tolist()
    multiplier = per_channel[channel] if len(per_channel) > 1 else per_channel[0]
    code = divide(total * multiplier, 2**q.shift, q.rounding)
    return min(max(code, q.low), q.high)


def divide(number: int, divisor: int, rounding: str) -> int:
    """A quotient of integers, rounded as said."""
    whole, rest = divmod(number, divisor)
    if rounding == "floor" or 2 * rest < divisor:
        return whole
    if 2 * rest == divisor and rounding == "half_even":
        return whole + whole % 2
    return whole + 1


def leak(layer: Lif, v: int) -> int:
    """A membrane after one step's leak."""
    leak = layer.leak
    if leak.kind == "shift":
        return v - v // 2**leak.amount
    if leak.kind == "multiply":
        return divide(v * leak.factor, 2**leak.amount, "half_up")
    if leak.kind == "subtract":
        return max(v - leak.amount, 0) if v > 0 else min(v + leak.amount, 0)
    return v


def vote(outputs: list[list[int]]) -> tuple[list[int], str]:
    """The majority's outputs, and what the comparison noticed."""
    if all(o == outputs[0] for o in outputs):
        return outputs[0], "agreed"
    for candidate in outputs:
        if 2 * sum(o == candidate for o in outputs) > len(outputs):
            return candidate, "corrected"
    return outputs[0], "detected"


def nested(values: Values, shape: tuple[int, ...]) -> list[object]:
    """Values as nested lists of a shape."""
    array = np.zeros(shape, dtype=np.int64)
    for at, value in values.items():
        array[at] = value
    nested: list[object] = array.tolist()
    return nested
