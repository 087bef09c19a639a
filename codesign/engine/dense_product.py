"""Sums in which nothing can overflow: one matrix product or convolution a layer.

Where bounds prove that no running sum and no total leaves its format, the order of the terms does
not matter.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from codesign.engine.dense_mac import Bias, MacPlan, Safety, Weights
from codesign.engine.dense_numbers import FLOAT32_BITS, Value, carrier, widest
from codesign.network import Conv2d, Linear

__all__ = ["linear_sums"]

Ints = NDArray[np.int64]


def linear_sums(plan: MacPlan, weights: Weights, bias: Bias, x: Value, bound: Safety) -> Value:
    """Bias and all terms, ``[steps, samples, *output_shape]``; no format applied."""
    batch = x.data.flatten(0, 1)
    vector = bias.codes if bias.codes.ndim == 1 else None
    if widest(bound.low, bound.high) <= 1 << FLOAT32_BITS:
        sums = _product(plan, weights.tensor(torch.float32), batch.float(), vector)
    else:
        dtype = carrier(bound.low, bound.high, f"sums of {plan.layer.name}")
        split = _split_product(plan, weights, batch, widest(x.low, x.high))
        whole = _product(plan, weights.tensor(dtype), batch.to(dtype)) if split is None else split
        sums = whole if vector is None else whole + _per_channel(plan, vector, whole)
    if vector is None:
        sums = sums + _per_output(plan, bias.codes, sums)
    return Value(sums.unflatten(0, x.data.shape[:2]), bound.low, bound.high)


def _product(plan: MacPlan, weight: Tensor, x: Tensor, bias: Ints | None = None) -> Tensor:
    """Weights times inputs ``[batch, *input_shape]`` in the dtype of both."""
    layer = plan.layer
    added = None if bias is None else torch.from_numpy(np.array(bias)).to(x)
    if isinstance(layer, Linear):
        return functional.linear(x, weight, added)
    top, bottom, left, right = layer.padding
    padding = (top, left)
    if (top, left) != (bottom, right):
        x, padding = functional.pad(x, (left, right, top, bottom)), (0, 0)
    if x.device.type == "cpu":
        return functional.conv2d(x, weight, added, layer.stride, padding, groups=layer.groups)
    # Elsewhere a library may choose Winograd, which rounds: multiply matrices instead.
    columns = functional.unfold(x, weight.shape[2:], padding=padding, stride=layer.stride)
    columns = columns.unflatten(1, (layer.groups, -1))
    sums = weight.reshape(layer.groups, -1, columns.shape[2]) @ columns
    sums = sums.reshape(len(x), *plan.output_shape)
    return sums if added is None else sums + added[:, None, None]


def _split_product(plan: MacPlan, weights: Weights, x: Tensor, reach: int) -> Tensor | None:
    """A product in float32 parts that are added up in float64, or None if no split is small enough.

    Float64 convolutions are an order of magnitude slower than float32 ones.
    """
    if plan.groups > 1:
        return None
    whole = weights.tensor(torch.float32)
    channels = whole.shape[1]
    magnitude = np.abs(weights.codes).reshape(len(weights.codes), channels, -1).sum(axis=2)
    for parts in (2, 3, 4, 6, 8):
        cuts = np.linspace(0, channels, min(parts, channels) + 1).astype(int).tolist()
        sums = [magnitude[:, a:b].sum(axis=1).max() for a, b in pairwise(cuts)]
        if int(max(sums)) * reach <= 1 << FLOAT32_BITS:
            break
    else:
        return None
    axis = 1 if isinstance(plan.layer, Conv2d) else x.ndim - 1
    pieces = [
        _product(
            plan,
            whole.narrow(1, a, b - a).contiguous(),
            x.narrow(axis, a, b - a).float(),
        ).double()
        for a, b in pairwise(cuts)
    ]
    return torch.stack(pieces).sum(0)


def _per_channel(plan: MacPlan, vector: Ints, like: Tensor) -> Tensor:
    added = torch.from_numpy(np.array(vector)).to(like)
    return added[:, None, None] if isinstance(plan.layer, Conv2d) else added


def _per_output(plan: MacPlan, matrix: Ints, like: Tensor) -> Tensor:
    """``[M, N]`` biases in the layer's own shape."""
    turned = matrix.T if isinstance(plan.layer, Conv2d) else matrix
    return torch.from_numpy(np.array(turned)).to(like).reshape(plan.output_shape)
