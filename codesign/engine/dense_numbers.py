"""Integers carried in floats: values with a proved range, and the arithmetic of formats on tensors.

A float32 holds every integer up to 2^24, a float64 up to 2^53, and sums, products and comparisons
of such integers are exact as long as no intermediate result is larger, in any order of summation.
So every value travels with its range, and the range decides what carries it. What no float64 could
carry is refused by name; nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from codesign.errors import UnsupportedError
from codesign.formats import NumberFormat

__all__ = [
    "Value",
    "carrier",
    "ends_of",
    "exact_floats",
    "fit",
    "fit_long",
    "popcount",
    "widest",
    "within_long",
]

FLOAT32_BITS, FLOAT64_BITS = 24, 53  # integers that a float holds without a gap
LONG_BITS = 61  # of a number that may be added to another such in int64


@dataclass(frozen=True, eq=False)
class Value:
    """A layer's integers at a run of steps.

    Attributes:
        data: ``[steps, samples, *shape]`` float32 or float64; one step where all are the same.
        low: No element is smaller.
        high: No element is larger.
    """

    data: Tensor
    low: int
    high: int

    @property
    def constant(self) -> bool:
        """Whether every step has the same elements."""
        return self.data.shape[0] == 1


def widest(low: int, high: int) -> int:
    """The largest magnitude in a range."""
    return max(abs(low), abs(high))


def within_long(low: int, high: int, what: str = "a corrupted value") -> tuple[int, int]:
    """The range itself.

    Raises:
        UnsupportedError: Int64 could not hold it with room for a sum.
    """
    if widest(low, high) > 1 << LONG_BITS:
        raise UnsupportedError(
            f"{what} may reach {low}..{high}, beyond {LONG_BITS} bits; corrupt by smaller "
            "numbers or evaluate with codesign.engine.reference"
        )
    return low, high


def ends_of(data: Tensor) -> tuple[int, int]:
    """The smallest and the largest of some integers."""
    low, high = data.aminmax()
    return int(low), int(high)


def carrier(low: int, high: int, what: str) -> torch.dtype:
    """The narrowest float that holds every integer of a range.

    Raises:
        UnsupportedError: The range is wider than 53 bits.

    >>> carrier(-5, 1 << 24, "sums"), carrier(0, 1 << 30, "sums")
    (torch.float32, torch.float64)
    """
    reach = widest(low, high)
    if reach <= 1 << FLOAT32_BITS:
        return torch.float32
    if reach <= 1 << FLOAT64_BITS:
        return torch.float64
    raise UnsupportedError(
        f"{what} may reach {reach}, and this engine carries integers up to 2^{FLOAT64_BITS}; "
        "corrupt fewer bits or evaluate with codesign.engine.reference"
    )


@contextmanager
def exact_floats(device: torch.device) -> Iterator[None]:
    """Float arithmetic without shortcuts: no bfloat16, no TF32, no Winograd, no autocast.

    Raises:
        UnsupportedError: This device rounds all the same.
    """
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.inference_mode(),
            torch.backends.nnpack.flags(enabled=False),
            torch.autocast(device.type, enabled=False),
        ):
            _prove(device)
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def _prove(device: torch.device) -> None:
    """A product that needs all 24 bits: (2^12 - 1)(2^12 + 1) + 1 = 2^24, in every element."""
    left = torch.zeros(64, 64, device=device)
    left[:, 0], left[:, 1] = 4095, 1
    right = torch.zeros(64, 64, device=device)
    right[0], right[1] = 4097, 1
    if not bool((left @ right == 1 << FLOAT32_BITS).all()):
        raise UnsupportedError(
            f"float32 products on {device} are rounded below 24 bits; "
            "switch reduced-precision matrix products off"
        )


# ----------------------------------------------------------------------------- formats


def fit(data: Tensor, low: int, high: int, form: NumberFormat) -> tuple[Tensor, int, int]:
    """Floats of a range after they are written to a place, and their range then."""
    if form.low <= low and high <= form.high:
        return data, low, high
    if form.overflow == "saturate":
        low, high = (min(max(end, form.low), form.high) for end in (low, high))
        return data.clamp(low, high), low, high
    wrapped = fit_long(data.long(), form)
    return wrapped.to(carrier(form.low, form.high, "a wrapped sum")), form.low, form.high


def fit_long(data: Tensor, form: NumberFormat) -> Tensor:
    """Int64 results after they are written to a place.

    >>> fit_long(torch.tensor([7, 8, -9]), NumberFormat(4, overflow="wrap")).tolist()
    [7, -8, 7]
    """
    if form.overflow == "saturate":
        return data.clamp(form.low, form.high)
    pattern = data & ((1 << form.bits) - 1)
    if not form.signed:
        return pattern
    sign = 1 << (form.bits - 1)
    return (pattern ^ sign) - sign


def popcount(patterns: Tensor) -> Tensor:
    """Number of ones in the low 48 bits of int64 patterns.

    >>> popcount(torch.tensor([0, 5, -1])).tolist()
    [0, 2, 48]
    """
    v = patterns & ((1 << 48) - 1)
    v = v - ((v >> 1) & 0x555555555555)
    v = (v & 0x333333333333) + ((v >> 2) & 0x333333333333)
    v = (v + (v >> 4)) & 0x0F0F0F0F0F0F
    v = v + (v >> 8)
    v = v + (v >> 16)
    return (v + (v >> 32)) & 0x7F
