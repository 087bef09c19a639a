"""The layers of `codesign.layers` written again in numpy integers: an oracle for learning.

Written from the docstrings, with exact int64 arithmetic and no code of the package but its data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codesign.formats import Requantise
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Flatten,
    Input,
    Layer,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
    Pad,
    Slice,
)
from codesign.samples import Samples

Ints = NDArray[np.int64]


def outputs(network: NetworkGraph, raw: Samples) -> Ints:
    """``[samples, classes]`` of raw samples, summed over the steps."""
    last = network.layers[-1].name
    return sum(step[last].reshape(len(raw), -1) for step in every_value(network, raw))  # type: ignore[return-value]


def every_value(network: NetworkGraph, raw: Samples) -> list[dict[str, Ints]]:
    """``[steps]`` of ``[samples, ...]`` by layer; membranes under ``<name>.membrane``."""
    coded = network.coding.apply(raw)
    codes = np.asarray(coded.inputs, dtype=np.int64)
    history: list[dict[str, Ints]] = []
    for t in range(network.steps):
        now: dict[str, Ints] = {}
        before = history[-1] if history else {}
        for layer in network:
            read = []
            for edge in layer.inputs:
                if edge.delay_steps == 0:
                    read.append(now[edge.source])
                elif edge.delay_steps <= t:
                    read.append(history[t - edge.delay_steps][edge.source])
                else:
                    shape = (len(codes), *network.shapes[edge.source])
                    read.append(np.zeros(shape, dtype=np.int64))
            if isinstance(layer, Input):
                now[layer.name] = codes[:, t] if coded.timed else codes
            elif isinstance(layer, Lif):
                v = before.get(f"{layer.name}.membrane", np.zeros_like(read[0]))
                f = before.get(f"{layer.name}.fired", np.zeros_like(read[0]))
                v, f = _lif(layer, v, f, sum(read))  # type: ignore[arg-type]
                now[f"{layer.name}.membrane"] = v
                now[layer.name] = now[f"{layer.name}.fired"] = f
            else:
                now[layer.name] = _plain(layer, read)
        history.append(now)
    return history


def _plain(layer: Layer, read: list[Ints]) -> Ints:
    x = read[0]
    if isinstance(layer, Conv2d):
        return _requantised(layer.requantise, _conv(layer, x), 1)
    if isinstance(layer, Linear):
        return _requantised(layer.requantise, x @ layer.weight.T + layer.bias, -1)
    if isinstance(layer, MaxPool2d):
        return _windows(layer, x, -(2**40)).max((-2, -1))
    if isinstance(layer, AvgPool2d):
        return _requantised(layer.requantise, _windows(layer, x, 0).sum((-2, -1)), 1)
    if isinstance(layer, Add):
        total = sum(k * v for k, v in zip(layer.multipliers, read, strict=True))
        return _requantised(layer.requantise, total, 1)  # type: ignore[arg-type]
    if isinstance(layer, Concat):
        parts = zip(layer.requantise, read, strict=True)
        return np.concatenate([_requantised(q, v, 1) for q, v in parts], axis=1)
    if isinstance(layer, Flatten):
        return x.reshape(len(x), *(layer.shape or (-1,)))
    if isinstance(layer, Slice):
        return x[(slice(None), *(slice(a, b, c) for a, b, c in layer.slices))]
    assert isinstance(layer, Pad)
    return np.pad(x, [(0, 0), *layer.widths])


def _windows(layer: MaxPool2d | AvgPool2d, x: Ints, fill: int) -> Ints:
    top, bottom, left, right = layer.padding
    x = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)], constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(x, layer.kernel, axis=(2, 3))
    return seen[:, :, :: layer.stride[0], :: layer.stride[1]]


def _conv(layer: Conv2d, x: Ints) -> Ints:
    top, bottom, left, right = layer.padding
    x = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])
    n, per_group, kh, kw = layer.weight.shape
    seen = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3))
    seen = seen[:, :, :: layer.stride[0], :: layer.stride[1]]
    each = n // layer.groups
    parts = []
    for g in range(layer.groups):
        inside = seen[:, g * per_group : (g + 1) * per_group]
        samples, _, rows, cols, _, _ = inside.shape
        terms = inside.transpose(0, 2, 3, 1, 4, 5).reshape(samples * rows * cols, -1)
        weight = layer.weight[g * each : (g + 1) * each].reshape(each, -1)
        # float64 is exact here: below 2**53 for any sum that 32 bits are meant to hold.
        sums = (terms.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)
        parts.append(sums.reshape(samples, rows, cols, each).transpose(0, 3, 1, 2))
    return np.concatenate(parts, axis=1) + layer.bias.reshape(1, -1, 1, 1)


def _requantised(q: Requantise | None, sums: Ints, axis: int) -> Ints:
    if q is None:
        return sums
    multiplier = np.asarray(q.multiplier)
    if multiplier.ndim and axis == 1:
        multiplier = multiplier.reshape(-1, *[1] * (sums.ndim - 2))
    assert q.rounding == "half_up"
    half = (1 << q.shift) >> 1
    return np.clip((sums * multiplier + half) >> q.shift, q.low, q.high)


def _lif(layer: Lif, v: Ints, f: Ints, current: Ints) -> tuple[Ints, Ints]:
    low, high = -(1 << (layer.format.bits - 1)), (1 << (layer.format.bits - 1)) - 1
    threshold = layer.threshold
    if threshold.ndim:
        threshold = threshold.reshape(-1, *[1] * (v.ndim - 2))
    for operation in layer.order:
        if operation == "leak":
            if layer.leak.kind == "multiply":
                half = (1 << layer.leak.amount) >> 1
                v = (v * layer.leak.factor + half) >> layer.leak.amount
            elif layer.leak.kind == "shift":
                v = v - (v >> layer.leak.amount)
            else:
                assert layer.leak.kind == "none"
        elif operation == "integrate":
            v = np.clip(v + current, low, high)
        elif operation == "fire":
            f = (v > threshold).astype(np.int64)
        elif layer.reset == "zero":
            v = v * (1 - f)
        elif layer.reset == "subtract":
            v = np.clip(v - f * threshold, low, high)
    return v, f
