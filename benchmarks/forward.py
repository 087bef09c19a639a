"""One forward pass of a network without neurons: integers carried in float32.

Exact, and with a strike, it is `ours-dense` and the oracle of all engines. With the cheaper
requantisation it is denominator A: what anybody pays who runs the network once for every fault.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from benchmarks.rounding import FLOAT32_INTEGERS, Rounder
from benchmarks.strikes import Strike, xor
from codesign.formats import NumberFormat
from codesign.layers import (
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Input,
    Layer,
    Lif,
    Linear,
    MaxPool2d,
    Pad,
    Slice,
    is_mac,
)
from codesign.program import Program

__all__ = ["Forward", "Summed", "plain", "round_code", "summed"]

Summed = Callable[[Layer, Tensor], Tensor]  # the sums of a layer for what it reads


class Forward:
    """A program of one step, ready to run.

    Args:
        program: Its sums must not leave their formats without faults.
        channels_last: Memory order of images.
        exact: False for requantisation in float32 everywhere; see `benchmarks.rounding`.
        sums: How sums are made where no weight is struck; float32 convolutions if left out.

    Raises:
        NotImplementedError: A layer or rounding that the benchmark's networks do not have, or sums
            that float32 does not hold.
    """

    def __init__(
        self,
        program: Program,
        *,
        channels_last: bool = False,
        exact: bool = True,
        sums: Summed | None = None,
    ) -> None:
        self.program, self.network = program, program.network
        self.order = torch.channels_last if channels_last else torch.contiguous_format
        self.weights = {x.name: as_float(x, self.order) for x in self.network if is_mac(x)}
        self.largest = {x.name: largest_input(program, x) for x in self.network if is_mac(x)}
        self.rounders = rounders(program, exact=exact)
        self.sums = sums or self._sums
        for name in self.weights:
            _require_float32(program, name, self._bound(name, self.weights[name][0]))

    def run(self, codes: Tensor, batch: int, strike: Strike | None = None) -> Tensor:
        """Outputs ``[samples, classes]`` of codes ``[samples, ...]``, a batch at a time."""
        with torch.inference_mode():
            parts = [
                self._some(codes[i : i + batch], i, strike) for i in range(0, len(codes), batch)
            ]
            return torch.cat(parts)

    def ready(self, codes: np.ndarray) -> Tensor:
        """Codes as `run` takes them."""
        values = torch.from_numpy(np.asarray(codes, dtype=np.float32))
        return values.contiguous(memory_format=self.order) if values.dim() == 4 else values

    def _some(self, codes: Tensor, first: int, strike: Strike | None) -> Tensor:
        values: dict[str, Tensor] = {}
        for layer in self.network:
            read = [values[edge.source] for edge in layer.inputs]
            if is_mac(layer):
                y = self._summed(layer, read[0], strike)
            else:
                y = codes if isinstance(layer, Input) else plain(layer, read)
            y = self._struck(strike.sums, layer, y, first) if strike else y
            y = round_code(self.rounders, layer, y)
            y = self._struck(strike.stored, layer, y, first) if strike else y
            values[layer.name] = y
        return y.flatten(1)

    def _struck(self, strikes: dict, layer: Layer, y: Tensor, first: int) -> Tensor:
        if layer.name not in strikes:
            return y
        y = y.clone(memory_format=torch.contiguous_format)
        for element in strikes[layer.name]:
            element.strike_(y, first)
        return y.contiguous(memory_format=self.order) if y.dim() == 4 else y

    def _summed(self, layer: Layer, x: Tensor, strike: Strike | None) -> Tensor:
        if strike is None or layer.name not in strike.weights:
            return self.sums(layer, x)
        flat, mask = strike.weights[layer.name]
        weight, bias = self.weights[layer.name]
        # One layer's weights are copied, not the network's.
        struck = weight.clone(memory_format=torch.contiguous_format)
        values = struck.view(-1)
        values[flat] = xor(values[flat], mask, strike.weight_bits[layer.name], True)
        bound = self._bound(layer.name, struck)
        if bound >= FLOAT32_INTEGERS:
            y = summed(layer, x.double(), struck.double(), bias.double())
        else:
            y = summed(layer, x, struck, bias)
        return _fit(self.program.arithmetic[layer.name].outer, y, bound).float()

    def _sums(self, layer: Layer, x: Tensor) -> Tensor:
        return summed(layer, x, *self.weights[layer.name])

    def _bound(self, name: str, weight: Tensor) -> float:
        """No sum of any of the terms exceeds it."""
        most = float(weight.flatten(1).abs().sum(1, dtype=torch.float64).max())
        return most * self.largest[name] + float(self.weights[name][1].abs().max())


def summed(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Sums of a convolution or a linear layer."""
    if isinstance(layer, Linear):
        return functional.linear(x, weight, bias)
    assert isinstance(layer, Conv2d)
    x, padding = padded(layer, x)
    return functional.conv2d(x, weight, bias, layer.stride, padding, 1, layer.groups)


def padded(layer: Conv2d, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """An input, and the symmetric padding that is left to the convolution."""
    top, bottom, left, right = layer.padding
    if top == bottom and left == right:
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom)), (0, 0)


def plain(layer: Layer, read: list[Tensor]) -> Tensor:
    """A layer without weights, before its requantisation."""
    if isinstance(layer, Add):
        first, *rest = zip(read, layer.multipliers, strict=True)
        y = first[0] * float(first[1])
        for x, multiplier in rest:
            y = y.add_(x, alpha=float(multiplier))
        return y
    if isinstance(layer, MaxPool2d | AvgPool2d):
        if any(layer.padding):
            raise NotImplementedError(f"{layer.name}: pooling with padding")
        if isinstance(layer, MaxPool2d):
            return functional.max_pool2d(read[0], layer.kernel, layer.stride)
        # Divided by one: the sum of the window.
        return functional.avg_pool2d(read[0], layer.kernel, layer.stride, divisor_override=1)
    if isinstance(layer, Flatten) and not layer.shape:
        return read[0].flatten(1)
    if isinstance(layer, Slice):
        return read[0][(slice(None), *(slice(*s) for s in layer.slices))]
    if isinstance(layer, Pad):
        return functional.pad(read[0], [w for axis in layer.widths[::-1] for w in axis])
    raise NotImplementedError(f"{layer.name}: a {type(layer).__name__} in a benchmark")


def round_code(rounders: dict[str, Rounder], layer: Layer, y: Tensor) -> Tensor:
    """Codes of sums, which are overwritten; other values as they are."""
    rounder = rounders.get(layer.name)
    return y if rounder is None else rounder(y)


def rounders(program: Program, *, exact: bool = True) -> dict[str, Rounder]:
    """The requantisation of every layer that has one."""
    network = program.network
    found = {}
    for layer in network:
        if isinstance(layer, Conv2d | Linear | Add | AvgPool2d) and layer.requantise is not None:
            shape = network.shapes[layer.name]
            found[layer.name] = Rounder(layer.requantise, shape[0], 1 + len(shape), exact=exact)
    return found


def as_float(layer: Layer, order: torch.memory_format) -> tuple[Tensor, Tensor]:
    """Weights and biases of a layer as float32."""
    assert isinstance(layer, Conv2d | Linear)
    if layer.bias.ndim != 1:
        raise NotImplementedError(f"{layer.name}: a bias for each position")
    weight = torch.from_numpy(layer.weight.astype(np.float32))
    if weight.dim() == 4:
        weight = weight.contiguous(memory_format=order)
    return weight, torch.from_numpy(layer.bias.astype(np.float32))


def read_range(program: Program, layer: Layer) -> tuple[int, int]:
    """The smallest and the largest code that a layer can read, struck codes included."""
    network = program.network
    source = network[layer.inputs[0].source]
    while isinstance(source, Flatten | MaxPool2d | Slice | Pad):
        source = network[source.inputs[0].source]
    if isinstance(source, Input):
        return source.format.low, source.format.high
    if isinstance(source, Lif):
        return 0, 1
    rule = getattr(source, "requantise", None)
    if rule is None:
        raise NotImplementedError(f"{layer.name} reads sums")
    form = NumberFormat(program.stored_bits(source.name, "activation"), rule.low < 0)
    return form.low, form.high


def largest_input(program: Program, layer: Layer) -> int:
    """The largest magnitude that a layer can read, struck codes included."""
    low, high = read_range(program, layer)
    return max(-low, high)


def _fit(form: NumberFormat, y: Tensor, bound: float) -> Tensor:
    if bound <= form.high:
        return y
    if form.overflow != "wrap":
        raise NotImplementedError("sums that saturate")
    size = float(1 << form.bits)
    return (y - form.low).remainder_(size).add_(form.low)


def _require_float32(program: Program, name: str, bound: float) -> None:
    outer = program.arithmetic[name].outer
    if bound >= min(FLOAT32_INTEGERS, outer.high):
        raise NotImplementedError(f"{name}: sums up to {bound:.0f} do not surely fit {outer}")
