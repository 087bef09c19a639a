"""Layers without weights, on values ``[steps, samples, *shape]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from codesign.engine.dense_codes import requantise
from codesign.engine.dense_numbers import Value, carrier
from codesign.formats import Requantise
from codesign.network import Add, AvgPool2d, Concat, Flatten, Layer, MaxPool2d, Pad, Slice

__all__ = ["plain_layer"]


def plain_layer(layer: Layer, inputs: list[Value], shape: tuple[int, ...]) -> Value:
    """What a layer stores for what it reads; ``shape`` of its output."""
    return _PLAIN[type(layer)](layer, inputs, shape)


def _max_pool(layer: MaxPool2d, inputs: list[Value], shape: tuple[int, ...]) -> Value:
    x = inputs[0]
    images = _padded(x.data.flatten(0, 1), layer.padding, float("-inf"))
    pooled = functional.max_pool2d(images, layer.kernel, layer.stride)
    return Value(pooled.unflatten(0, x.data.shape[:2]), x.low, x.high)


def _avg_pool(layer: AvgPool2d, inputs: list[Value], shape: tuple[int, ...]) -> Value:
    x, area = inputs[0], layer.kernel[0] * layer.kernel[1]
    low, high = min(x.low, 0) * area, max(x.high, 0) * area
    images = x.data.flatten(0, 1).to(carrier(low, high, f"sums of {layer.name}"))
    images = _padded(images, layer.padding, 0.0)
    sums = functional.avg_pool2d(images, layer.kernel, layer.stride, divisor_override=1)
    total = Value(sums.unflatten(0, x.data.shape[:2]), low, high)
    return _coded(total, layer.requantise)


def _add(layer: Add, inputs: list[Value], shape: tuple[int, ...]) -> Value:
    ends = [
        (factor * x.low, factor * x.high)
        for factor, x in zip(layer.multipliers, inputs, strict=True)
    ]
    reach = sum(max(abs(low), abs(high)) for low, high in ends)
    dtype = carrier(0, reach, f"sums of {layer.name}")
    total: Tensor | None = None
    for factor, x in zip(layer.multipliers, inputs, strict=True):
        part = x.data.to(dtype) * factor if factor != 1 else x.data.to(dtype)
        total = part if total is None else total + part
    assert total is not None
    low, high = sum(low for low, _ in ends), sum(high for _, high in ends)
    return _coded(Value(total, low, high), layer.requantise)


def _concat(layer: Concat, inputs: list[Value], shape: tuple[int, ...]) -> Value:
    parts = [_coded(x, q) for x, q in zip(inputs, layer.requantise, strict=True)]
    low, high = min(p.low for p in parts), max(p.high for p in parts)
    dtype = carrier(low, high, f"codes of {layer.name}")
    steps = max(p.data.shape[0] for p in parts)
    data = [p.data.to(dtype).expand(steps, *p.data.shape[1:]) for p in parts]
    return Value(torch.cat(data, dim=2), low, high)


def _flatten(layer: Flatten, inputs: list[Value], shape: tuple[int, ...]) -> Value:
    x = inputs[0]
    return Value(x.data.reshape(*x.data.shape[:2], *shape), x.low, x.high)


def _slice(layer: Slice, inputs: list[Value], shape: tuple[int, ...]) -> Value:
    x = inputs[0]
    picked = (slice(None), slice(None), *(slice(*s) for s in layer.slices))
    return Value(x.data[picked], x.low, x.high)


def _pad(layer: Pad, inputs: list[Value], shape: tuple[int, ...]) -> Value:
    x = inputs[0]
    widths = [width for pair in reversed(layer.widths) for width in pair]
    return Value(functional.pad(x.data, widths), min(x.low, 0), max(x.high, 0))


def _coded(value: Value, q: Requantise | None) -> Value:
    """Behind a requantisation whose channels are the first axis of a sample."""
    return value if q is None else requantise(value, q, 2)


def _padded(images: Tensor, padding: tuple[int, int, int, int], value: float) -> Tensor:
    top, bottom, left, right = padding
    if not any(padding):
        return images
    return functional.pad(images, (left, right, top, bottom), value=value)


_PLAIN: dict[type[Layer], Callable[[Any, list[Value], tuple[int, ...]], Value]] = {
    MaxPool2d: _max_pool,
    AvgPool2d: _avg_pool,
    Add: _add,
    Concat: _concat,
    Flatten: _flatten,
    Slice: _slice,
    Pad: _pad,
}
