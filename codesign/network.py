"""NetworkGraph: a network as data; the equation of each layer is in its docstring.

Every output element of a layer is addressed by two numbers, ``(m, n)``: position and channel.
For an output ``[channels, height, width]`` n is the channel and m the pixel ``y · width + x``; for
``[..., features]`` of a `Linear` n is the feature and m the leading position (0 for a plain
vector).
A multiply-accumulate layer sums K terms for each element: term k of output (m, n) is
``weight[n, k] · x[m, k]``, k running over (input channel of the group, ky, kx), the last fastest.
These three numbers are how mappings, faults and engines speak of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

from codesign.digests import digest
from codesign.errors import DataError, nearest
from codesign.layers import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Edge,
    Flatten,
    Input,
    Layer,
    Leak,
    Lif,
    Linear,
    MaxPool2d,
    Pad,
    Slice,
    is_mac,
)
from codesign.samples import InputCoding

__all__ = [
    "Add",
    "AvgPool2d",
    "Concat",
    "Conv2d",
    "Edge",
    "Flatten",
    "Input",
    "Layer",
    "Leak",
    "Lif",
    "Linear",
    "MaxPool2d",
    "NetworkGraph",
    "Pad",
    "Slice",
    "is_mac",
]

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class NetworkGraph:
    """Layers in an order in which every undelayed edge points backwards.

    The network's output is the last layer's, summed over the time steps: logits of a CNN
    (one step), spike counts of an SNN. The prediction is the first largest output.

    Attributes:
        name: For reports.
        layers: The first is the `Input`.
        steps: Time steps; 1 for a CNN.
        coding: How raw samples become input codes.
    """

    name: str
    layers: tuple[Layer, ...]
    steps: int = 1
    coding: InputCoding = InputCoding()

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise DataError(f"{self.name}: a network has at least one step, came {self.steps}")
        inputs = [layer.name for layer in self.layers if isinstance(layer, Input)]
        if len(inputs) != 1 or not isinstance(self.layers[0], Input):
            raise DataError(f"{self.name}: the first layer, and no other, is the input")
        if len({layer.name for layer in self.layers}) != len(self.layers):
            raise DataError(f"{self.name}: two layers share a name")
        self.shapes  # noqa: B018  (checks every edge and shape)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> Layer:
        return self.layers[self.index(name)]

    def index(self, name: str) -> int:
        """Position of a layer.

        Raises:
            DataError: No such layer.
        """
        for i, layer in enumerate(self.layers):
            if layer.name == name:
                return i
        raise DataError(
            f"{self.name} has no layer {name!r}{nearest(name, (x.name for x in self.layers))}"
        )

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Output shape of every layer, without samples and steps."""
        shapes: dict[str, Shape] = {}
        for layer in self.layers:
            for edge in layer.inputs:
                if edge.source not in shapes and edge.delay_steps == 0:
                    raise DataError(
                        f"{self.name}: {layer.name} reads {edge.source!r} before it exists"
                    )
            known = tuple(shapes[e.source] for e in layer.inputs if e.source in shapes)
            shapes[layer.name] = layer.output_shape(known)
        return shapes

    def mac_shape(self, name: str) -> tuple[int, int, int]:
        """(M, K, N) of a layer that sums: positions, terms of one output, output channels."""
        layer = self[name]
        if isinstance(layer, Conv2d):
            n, rows, cols = self.shapes[name]
            return rows * cols, prod(layer.weight.shape[1:]), n
        if isinstance(layer, Linear):
            n, k = layer.weight.shape
            return prod(self.shapes[name][:-1]), k, n
        raise DataError(f"{name} is a {type(layer).__name__}: only Conv2d and Linear have terms")

    def grid(self, name: str) -> tuple[int, int]:
        """(M, N) of any layer's output: positions and channels."""
        shape = self.shapes[name]
        if len(shape) == 1:
            return 1, shape[0]
        layer = self[name]
        source = layer.inputs[0].source if isinstance(layer, Lif) else name
        if isinstance(self[source], Linear):
            return prod(shape[:-1]), shape[-1]
        return prod(shape[1:]), shape[0]

    def element(self, name: str, m: int, n: int) -> int:
        """Flat index of output element (m, n)."""
        positions, channels = self.grid(name)
        layer = self[name]
        source = layer.inputs[0].source if isinstance(layer, Lif) else name
        if isinstance(self[source], Linear):
            return m * channels + n
        return n * positions + m

    def readers(self, name: str) -> tuple[str, ...]:
        """Layers that read this one, in order."""
        return tuple(x.name for x in self.layers if name in {e.source for e in x.inputs})

    @cached_property
    def digest(self) -> str:
        """Content digest: two networks with equal layers, weights and coding are one network."""
        return digest((self.layers, self.steps, self.coding))
