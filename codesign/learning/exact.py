"""Integer arithmetic carried in float tensors, exactly, with gradients that pass straight through.

A float32 holds integers exactly below 2**24, a float64 below 2**53; whoever calls these functions
has proved the bound. Each gives integers forwards, and backwards the slope of the same function
without its rounding, zero where it clips.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

__all__ = ["FLOAT32_INTEGERS", "leak", "requantise", "round_to", "type_for"]

FLOAT32_INTEGERS = 1 << 24  # every integer up to this is a float32


def type_for(bound: float) -> torch.dtype:
    """The narrowest float type in which integers up to a bound, and their sums, are exact.

    >>> type_for(1 << 24), type_for((1 << 24) + 1)
    (torch.float32, torch.float64)
    """
    return torch.float32 if bound <= FLOAT32_INTEGERS else torch.float64


def round_to(values: Tensor, low: float, high: float) -> Tensor:
    """Nearest integers (ties to even) within low..high, in the tensor's type.

    >>> round_to(torch.tensor([0.5, 1.5, 9.0]), -3, 3).tolist()
    [0.0, 2.0, 3.0]
    """
    result: Tensor = _Round.apply(values, low, high)
    return result


def requantise(sums: Tensor, multiplier: Tensor | int, shift: int, low: int, high: int) -> Tensor:
    """``clip(floor(sums · multiplier / 2**shift + 1/2), low, high)`` as float32: half up, exactly.

    Args:
        sums: Integers below 2**37 in size.
        multiplier: Integers below 2**15, of a shape that meets the sums'; float64 or one int.
        shift: Right shift.
        low: Smallest code.
        high: Largest code.

    >>> requantise(torch.tensor([2.0, -5.0, 1000.0]), 3, 2, 0, 127).tolist()
    [2.0, 0.0, 127.0]
    """
    result: Tensor = _Requantise.apply(sums, multiplier, shift, low, high)
    return result


def leak(membranes: Tensor, kind: str, amount: int, factor: int) -> Tensor:
    """One step's leak of integer membranes, as `codesign.network.Leak` has it.

    >>> leak(torch.tensor([-3.0, 3.0]), "multiply", 1, 1).tolist()
    [-1.0, 2.0]
    """
    if kind == "none":
        return membranes
    result: Tensor = _Leak.apply(membranes, kind, amount, factor)
    return result


class _Round(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward((values >= low - 0.5) & (values <= high + 0.5))
        return values.round().clamp(low, high)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None, None


class _Requantise(Function):
    @staticmethod
    def forward(
        ctx: Any, sums: Tensor, multiplier: Tensor | int, shift: int, low: int, high: int
    ) -> Tensor:
        # A product below 2**52 and a power of two: nothing here rounds but the floor.
        exact = sums.double() * multiplier * 2.0**-shift
        ctx.save_for_backward((exact >= low - 0.5) & (exact <= high + 0.5))
        ctx.slope = multiplier * 2.0**-shift
        ctx.type = sums.dtype
        return (exact + 0.5).floor_().clamp_(low, high).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (inside,) = ctx.saved_tensors
        slope = ctx.slope.to(ctx.type) if isinstance(ctx.slope, Tensor) else ctx.slope
        return (grads[0] * inside).to(ctx.type) * slope, None, None, None, None


class _Leak(Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, kind: str, amount: int, factor: int) -> Tensor:
        if kind == "multiply":
            ctx.slope = factor / 2**amount
            return (v.double() * factor * 2.0**-amount + 0.5).floor_().to(v.dtype)
        if kind == "shift":
            ctx.slope = 1 - 1 / 2**amount
            return v - (v * 2.0**-amount).floor()
        ctx.slope = 1.0
        return v.sign() * (v.abs() - amount).clamp(min=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0] * ctx.slope, None, None, None
