"""Layers: what a network is made of. Each is data; its equation stands in its docstring.

In the equations, m, n and k are the numbers by which `codesign.network` addresses elements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codesign.errors import DataError
from codesign.formats import NumberFormat, Requantise, read_only

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
    "Pad",
    "Slice",
    "is_mac",
]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Edge:
    """Where a layer reads from: a layer's output now, or ``delay_steps`` time steps ago."""

    source: str
    delay_steps: int = 0


@dataclass(frozen=True, eq=False)
class Layer:
    """What every layer has: a name and the edges it reads, in order."""

    name: str
    inputs: tuple[Edge, ...]

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """Shape of the output (without samples and steps) for given input shapes."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Input(Layer):
    """y = the sample's codes. The one layer without edges."""

    shape: Shape = ()
    format: NumberFormat = NumberFormat(8, signed=False)

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        return self.shape


@dataclass(frozen=True, eq=False)
class Conv2d(Layer):
    """y[n, m] = q(bias[n] + Σ_k weight[n, k] · x[m, k]); x[m, k] is zero outside the image.

    Attributes:
        weight: ``[n, c / groups, kh, kw]`` int64 codes.
        bias: ``[n]`` int64 in units of the sum.
        stride: (y, x).
        padding: (top, bottom, left, right), with zeros.
        groups: Output channel n reads input channels of group ``n // (N / groups)``.
        weight_format: Format of a stored weight.
        requantise: q; None leaves the sum (a current, or logits).
    """

    weight: NDArray[np.int64] = field(default_factory=lambda: read_only(np.zeros((1, 1, 1, 1))))
    bias: NDArray[np.int64] = field(default_factory=lambda: read_only(np.zeros(1)))
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    weight_format: NumberFormat = NumberFormat(8)
    requantise: Requantise | None = None

    def __post_init__(self) -> None:
        _freeze_weights(self)
        if self.weight.ndim != 4 or self.weight.shape[0] % self.groups:
            raise DataError(f"{self.name}: weight {self.weight.shape} with {self.groups} groups")

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        (channels, height, width) = shapes[0]
        n, per_group, kh, kw = self.weight.shape
        if channels != per_group * self.groups:
            raise DataError(
                f"{self.name}: expected {per_group * self.groups} input channels, came {channels}"
            )
        top, bottom, left, right = self.padding
        rows = (height + top + bottom - kh) // self.stride[0] + 1
        cols = (width + left + right - kw) // self.stride[1] + 1
        if rows < 1 or cols < 1:
            raise DataError(f"{self.name}: kernel {kh}x{kw} does not fit {height}x{width}")
        return (n, rows, cols)


@dataclass(frozen=True, eq=False)
class Linear(Layer):
    """y[m, n] = q(bias[m, n] + Σ_k weight[n, k] · x[m, k]) over the last axis of x.

    Attributes:
        weight: ``[n, k]`` int64 codes.
        bias: ``[n]`` or ``[m, n]`` int64 in units of the sum.
        weight_format: Format of a stored weight.
        requantise: q; None leaves the sum.
    """

    weight: NDArray[np.int64] = field(default_factory=lambda: read_only(np.zeros((1, 1))))
    bias: NDArray[np.int64] = field(default_factory=lambda: read_only(np.zeros(1)))
    weight_format: NumberFormat = NumberFormat(8)
    requantise: Requantise | None = None

    def __post_init__(self) -> None:
        _freeze_weights(self)
        if self.weight.ndim != 2:
            raise DataError(f"{self.name}: a linear weight is [n, k], came {self.weight.shape}")

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        n, k = self.weight.shape
        if not shapes[0] or shapes[0][-1] != k:
            raise DataError(f"{self.name}: expected {k} input features, came shape {shapes[0]}")
        return (*shapes[0][:-1], n)


@dataclass(frozen=True, eq=False)
class MaxPool2d(Layer):
    """y[c, y, x] = the largest code in the window; padding never wins.

    Attributes:
        kernel: (height, width). stride: (y, x). padding: (top, bottom, left, right).
    """

    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        return _pooled(self.name, shapes[0], self.kernel, self.stride, self.padding)


@dataclass(frozen=True, eq=False)
class AvgPool2d(Layer):
    """y = q(Σ codes in the window); the division is in q's multiplier. Padding counts as zeros.

    Attributes:
        kernel: (height, width). stride: (y, x). padding: (top, bottom, left, right).
        requantise: q; None leaves the sum of the window.
    """

    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    requantise: Requantise | None = None

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        return _pooled(self.name, shapes[0], self.kernel, self.stride, self.padding)


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """y = q(Σ_i multipliers[i] · x_i), element by element: a residual connection.

    Attributes:
        multipliers: One integer for each input, 0..32767.
        requantise: q; its multiplier is 1.
    """

    multipliers: tuple[int, ...] = (1, 1)
    requantise: Requantise | None = None

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        if len(set(shapes)) != 1 or len(shapes) != len(self.multipliers):
            raise DataError(f"{self.name}: adds inputs of one shape, came {shapes}")
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Concat(Layer):
    """y = the inputs behind one another along the first axis, input i after its own q_i.

    Attributes:
        requantise: One `Requantise` (or None for unchanged codes) for each input.
    """

    requantise: tuple[Requantise | None, ...] = ()

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        if len({s[1:] for s in shapes}) != 1 or len(self.requantise) != len(shapes):
            raise DataError(f"{self.name}: cannot concatenate {shapes}")
        return (sum(s[0] for s in shapes), *shapes[0][1:])


@dataclass(frozen=True, eq=False)
class Flatten(Layer):
    """y = all of x in one row, last axis fastest (or reshaped to ``shape`` if given)."""

    shape: Shape = ()

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        if self.shape and prod(self.shape) != prod(shapes[0]):
            raise DataError(f"{self.name}: cannot reshape {shapes[0]} to {self.shape}")
        return self.shape or (prod(shapes[0]),)


@dataclass(frozen=True, eq=False)
class Slice(Layer):
    """y = x[start:stop:step] on every axis: subsampling and selection.

    Attributes:
        slices: One (start, stop, step) for each axis, non-negative.
    """

    slices: tuple[tuple[int, int, int], ...] = ()

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        if len(self.slices) != len(shapes[0]):
            raise DataError(f"{self.name}: {len(self.slices)} slices for shape {shapes[0]}")
        sizes = (range(n)[slice(*s)] for n, s in zip(shapes[0], self.slices, strict=True))
        return tuple(len(size) for size in sizes)


@dataclass(frozen=True, eq=False)
class Pad(Layer):
    """y = x with zeros around it.

    Attributes:
        widths: One (before, after) for each axis.
    """

    widths: tuple[tuple[int, int], ...] = ()

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        if len(self.widths) != len(shapes[0]):
            raise DataError(f"{self.name}: {len(self.widths)} pad widths for shape {shapes[0]}")
        return tuple(n + a + b for n, (a, b) in zip(shapes[0], self.widths, strict=True))


@dataclass(frozen=True, slots=True)
class Leak:
    """What one step's leak does to a membrane v.

    - ``none``: v
    - ``shift``: v - (v >> amount), arithmetic shift
    - ``multiply``: round_half_up(v · factor / 2**amount), ``factor`` below ``2**15``
    - ``subtract``: v moved towards zero by ``amount``, not past it
    """

    kind: Literal["none", "shift", "multiply", "subtract"] = "none"
    amount: int = 0
    factor: int = 0


@dataclass(frozen=True, eq=False)
class Lif(Layer):
    """A leaky integrate-and-fire neuron for each element of the summed inputs I.

    Each step performs the four operations once, in ``order``::

        leak       v = leak(v)
        integrate  v = fit(v + I)
        fire       f = v > threshold   (or >=)
        reset      if f: v = 0 (zero) or v = fit(v - threshold) (subtract)

    ``f`` is remembered between steps, so an order with ``reset`` before ``fire`` is a neuron that
    resets one step late, as snntorch's ``reset_delay=True`` does. v and f start at 0.
    The output is the spike f of this step, 0 or 1. ``fit`` is the membrane's format.

    Attributes:
        threshold: int64 scalar array or ``[n]``, one for each channel.
        leak: See `Leak`.
        reset: ``zero``, ``subtract`` or ``none``.
        strict: Fire at v > threshold; otherwise at v >= threshold.
        order: The four operations in the order they are done.
        format: Of the membrane.
    """

    threshold: NDArray[np.int64] = field(default_factory=lambda: read_only(1))
    leak: Leak = Leak()
    reset: Literal["zero", "subtract", "none"] = "subtract"
    strict: bool = True
    order: tuple[str, str, str, str] = ("leak", "integrate", "fire", "reset")
    format: NumberFormat = NumberFormat(24)

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", read_only(self.threshold))
        if sorted(self.order) != ["fire", "integrate", "leak", "reset"]:
            raise DataError(f"{self.name}: order names the four operations once, came {self.order}")

    def output_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """See `Layer.output_shape`."""
        if len(set(shapes)) != 1:
            raise DataError(f"{self.name}: currents of different shapes {shapes}")
        return shapes[0]


def is_mac(layer: Layer) -> bool:
    """Whether a layer multiplies and accumulates (has weights)."""
    return isinstance(layer, Conv2d | Linear)


def _freeze_weights(layer: Conv2d | Linear) -> None:
    """Make weights and bias read-only and check that the stored weights fit their format."""
    for name in ("weight", "bias"):
        object.__setattr__(layer, name, read_only(getattr(layer, name)))
    if not layer.weight_format.holds(layer.weight):
        raise DataError(f"{layer.name}: weights do not fit {layer.weight_format.bits} bits")
    if layer.bias.shape[-1] != layer.weight.shape[0]:
        raise DataError(
            f"{layer.name}: bias {layer.bias.shape} for {layer.weight.shape[0]} output channels"
        )


def _pooled(
    name: str, shape: Shape, kernel: Shape, stride: Shape, padding: tuple[int, int, int, int]
) -> Shape:
    """Output shape of a pooling window sliding over [c, h, w]."""
    if len(shape) != 3:
        raise DataError(f"{name}: pools [channels, height, width], came {shape}")
    rows = (shape[1] + padding[0] + padding[1] - kernel[0]) // stride[0] + 1
    cols = (shape[2] + padding[2] + padding[3] - kernel[1]) // stride[1] + 1
    if rows < 1 or cols < 1:
        raise DataError(f"{name}: window {kernel} does not fit {shape}")
    return (shape[0], rows, cols)
