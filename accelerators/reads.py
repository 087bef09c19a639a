"""Which input elements the terms of a layer read, for every family that counts or routes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codesign.layers import Conv2d, Linear
from codesign.network import NetworkGraph

__all__ = ["input_elements"]


def input_elements(network: NetworkGraph, layer: Conv2d | Linear) -> NDArray[np.int64]:
    """``[M, groups, K]`` which element of its source each term of a layer reads, -1 for padding."""
    positions, terms, _ = network.mac_shape(layer.name)
    if isinstance(layer, Linear):
        return np.arange(positions * terms).reshape(positions, 1, terms)
    _, height, width = network.shapes[layer.inputs[0].source]
    _, rows, cols = network.shapes[layer.name]
    _, per_group, kh, kw = layer.weight.shape
    m, k = np.arange(rows * cols)[:, None, None], np.arange(terms)[None, None, :]
    group = np.arange(layer.groups)[None, :, None]
    channel = group * per_group + k // (kh * kw)
    y = m // cols * layer.stride[0] + k // kw % kh - layer.padding[0]
    x = m % cols * layer.stride[1] + k % kw - layer.padding[2]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return np.where(inside, (channel * height + y) * width + x, -1)
