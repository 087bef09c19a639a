"""Sums by torch's int8 operators, used only where they prove right on this processor.

They are internal operators of torch, and without VNNI instructions some give wrong sums without a
word: products of two bytes are added in pairs in 16 bits. So every layer is first tried with the
largest codes that it can read and the extreme weights, and with random ones; a layer that fails,
or that the operators cannot run, is summed in float32.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.forward import as_float, padded, read_range, summed
from codesign.layers import Conv2d, Layer, Linear, is_mac
from codesign.program import Program

__all__ = ["Int8Sums"]

Ints = NDArray[np.int64]
Operator = Callable[[Tensor], Tensor]
EXTREMES = (127, -127, -128)
TRIED = 17  # samples; the matrix product takes no fewer


class Int8Sums:
    """How a program's layers are summed.

    Attributes:
        exact: Layers that the int8 operators sum.
        wrong: Layers for which they were tried, ran, and gave wrong sums.
    """

    def __init__(self, program: Program) -> None:
        self.weights = {
            x.name: as_float(x, torch.channels_last) for x in program.network if is_mac(x)
        }
        self.operators: dict[str, Operator] = {}
        self.exact: list[str] = []
        self.wrong: list[str] = []
        for layer in program.network:
            if isinstance(layer, Conv2d | Linear):
                self._try(program, layer)

    def __call__(self, layer: Layer, x: Tensor) -> Tensor:
        """Sums of a layer, float32."""
        operator = self.operators.get(layer.name)
        if operator is None:
            return summed(layer, x, *self.weights[layer.name])
        return operator(x)

    def _try(self, program: Program, layer: Conv2d | Linear) -> None:
        low, high = read_range(program, layer)
        if low < 0 or high > 255 or (isinstance(layer, Conv2d) and layer.groups != 1):
            return
        shape = program.network.shapes[layer.inputs[0].source]
        try:
            right = _is_right(layer, shape, high)
            operator = _operator(layer, layer.weight, layer.bias, shape, high)
        except (RuntimeError, AttributeError, TypeError):  # this torch has no such operator
            return
        if right:
            self.operators[layer.name] = operator
        (self.exact if right else self.wrong).append(layer.name)


def _is_right(layer: Conv2d | Linear, shape: tuple[int, ...], high: int) -> bool:
    """Whether the operator sums extreme codes as integers do."""
    draw = torch.Generator().manual_seed(1)
    random = torch.randint(-128, 128, layer.weight.shape, generator=draw, dtype=torch.int64)
    weights = [torch.full(layer.weight.shape, extreme) for extreme in EXTREMES] + [random]
    codes = [
        torch.full((TRIED, *shape), high),
        torch.randint(0, high + 1, (TRIED, *shape), generator=draw),
    ]
    bias = np.zeros(len(layer.bias), dtype=np.int64)
    for weight in weights:
        operator = _operator(layer, weight.numpy(), bias, shape, high)
        for x in codes:
            wanted = summed(layer, x.double(), weight.double(), torch.zeros(len(bias)).double())
            if not torch.equal(operator(x.float()).double(), wanted):
                return False
    return True


def _operator(
    layer: Conv2d | Linear, weight: Ints, bias: Ints, shape: tuple[int, ...], high: int
) -> Operator:
    """Sums of codes 0..high, float32."""
    codes = torch.from_numpy(weight.astype(np.int8))
    offsets = torch.from_numpy(bias.astype(np.float32))
    if isinstance(layer, Conv2d):
        padding = padded(layer, torch.zeros(1, *shape))[1]
        convolve = _convolution(codes, offsets, layer.stride, padding)
        return lambda x: convolve(padded(layer, x)[0])
    if high <= 127:
        matrix = codes.t().contiguous()
        return lambda x: torch._int_mm(x.to(torch.int8), matrix).float().add_(offsets)
    pixel = _convolution(codes[:, :, None, None], offsets, (1, 1), (0, 0))
    return lambda x: pixel(x[:, :, None, None]).flatten(1)


def _convolution(
    weight: Tensor, bias: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Operator:
    onednn, count = torch.ops.onednn, len(weight)
    ones, zeros = torch.ones(count), torch.zeros(count, dtype=torch.int32)
    around = list(stride), list(padding), [1, 1], 1
    packed = onednn.qconv_prepack(weight, ones, 1.0, 0, *around, None)

    def run(x: Tensor) -> Tensor:
        codes = x.to(torch.uint8).contiguous(memory_format=torch.channels_last)
        result: Tensor = onednn.qconv2d_pointwise(
            codes, 1.0, 0, packed, ones, zeros, bias, *around, 1.0, 0, torch.float32, "none", [], ""
        )
        return result

    return run
