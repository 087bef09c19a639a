"""Layers without weights or state, for the reference engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codesign.engine.reference_numbers import Values, requantise, window
from codesign.network import Add, AvgPool2d, Concat, Flatten, Layer, MaxPool2d, Pad, Slice

__all__ = ["PLAIN"]


def _max_pool(layer: MaxPool2d, inputs: list[Values], shape: tuple[int, ...]) -> Values:
    x = inputs[0]
    return {at: max(x[c] for c in window(layer, at) if c in x) for at in np.ndindex(shape)}


def _avg_pool(layer: AvgPool2d, inputs: list[Values], shape: tuple[int, ...]) -> Values:
    x = inputs[0]
    result = {}
    for at in np.ndindex(shape):
        total = sum(x.get(c, 0) for c in window(layer, at))
        q = layer.requantise
        result[at] = total if q is None else requantise(q, total, at[0])
    return result


def _add(layer: Add, inputs: list[Values], shape: tuple[int, ...]) -> Values:
    result = {}
    for at in inputs[0]:
        total = sum(k * x[at] for k, x in zip(layer.multipliers, inputs, strict=True))
        result[at] = (
            total if layer.requantise is None else requantise(layer.requantise, total, at[0])
        )
    return result


def _concat(layer: Concat, inputs: list[Values], shape: tuple[int, ...]) -> Values:
    result: Values = {}
    offset = 0
    for i, q in enumerate(layer.requantise):
        x = inputs[i]
        for at, value in x.items():
            moved = (at[0] + offset, *at[1:])
            result[moved] = value if q is None else requantise(q, value, at[0])
        offset += max(at[0] for at in x) + 1
    return result


def _flatten(layer: Flatten, inputs: list[Values], shape: tuple[int, ...]) -> Values:
    x = inputs[0]
    return dict(zip(np.ndindex(shape), (x[at] for at in sorted(x)), strict=True))


def _slice(layer: Slice, inputs: list[Values], shape: tuple[int, ...]) -> Values:
    x = inputs[0]
    return {
        at: x[tuple(a + i * c for i, (a, _, c) in zip(at, layer.slices, strict=True))]
        for at in np.ndindex(shape)
    }


def _pad(layer: Pad, inputs: list[Values], shape: tuple[int, ...]) -> Values:
    x = inputs[0]
    return {
        at: x.get(tuple(i - a for i, (a, _) in zip(at, layer.widths, strict=True)), 0)
        for at in np.ndindex(shape)
    }


PLAIN: dict[type[Layer], Callable[..., Values]] = {
    MaxPool2d: _max_pool,
    AvgPool2d: _avg_pool,
    Add: _add,
    Concat: _concat,
    Flatten: _flatten,
    Slice: _slice,
    Pad: _pad,
}
