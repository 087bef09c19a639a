"""Arithmetic of `oracles_cores`: registers, leaks and the layers beside the cores.

All on arrays ``[trials, ...]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.formats import NumberFormat
from codesign.network import AvgPool2d, Concat, Flatten, MaxPool2d

Ints = NDArray[np.int64]


def leaked(leak: Any, v: Ints) -> Any:
    """Membranes after a leak, before they are fitted."""
    if leak.kind == "shift":
        return v - v // 2**leak.amount
    if leak.kind == "multiply":
        return (2 * v * leak.factor + 2**leak.amount) // 2 ** (leak.amount + 1)
    if leak.kind == "subtract":
        return np.sign(v) * np.maximum(abs(v) - leak.amount, 0)
    return v


def fit(form: NumberFormat, v: Any) -> Any:
    """What a register of a format holds after a result is written."""
    low = -(2 ** (form.bits - 1)) if form.signed else 0
    high = low + 2**form.bits - 1
    if form.overflow == "saturate":
        return np.minimum(np.maximum(v, low), high)
    return (v - low) % 2**form.bits + low


def _windows(layer: Any, x: Ints, combine: Any, outside: int) -> Ints:
    top, bottom, left, right = layer.padding
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=outside)
    (kh, kw), (sy, sx) = layer.kernel, layer.stride
    rows, cols = (x.shape[2] - kh) // sy + 1, (x.shape[3] - kw) // sx + 1
    out = np.zeros((*x.shape[:2], rows, cols), dtype=np.int64)
    for y in range(rows):
        for z in range(cols):
            window = x[:, :, y * sy : y * sy + kh, z * sx : z * sx + kw]
            out[:, :, y, z] = combine(window, axis=(2, 3))
    return out


PLAIN: dict[type, Callable[..., Ints]] = {
    Flatten: lambda layer, x: x[0].reshape(len(x[0]), -1),
    MaxPool2d: lambda layer, x: _windows(layer, x[0], np.max, -(2**40)),
    AvgPool2d: lambda layer, x: _windows(layer, x[0], np.sum, 0),
    Concat: lambda layer, x: np.concatenate(x, axis=1),
}
