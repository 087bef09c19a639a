"""Codes of sums on tensors: multiply and shift, in the cheapest arithmetic that is exact.

``clip(round(sum · multiplier / 2^shift), low, high)`` climbs from low to high as the sum grows,
and so does the float32 line ``clip(floor(sum · slope + offset))``, rounding included: each float32
operation keeps the order of its operands. Two such stairs are equal everywhere if they are equal on
both sides of every step. There are few steps, so this is tested for every channel, once; channels
for which no line passes are computed in float64, where products of up to 51 bits are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.engine.dense_numbers import (
    FLOAT32_BITS,
    FLOAT64_BITS,
    Value,
    carrier,
    widest,
    within_long,
)
from codesign.formats import Requantise

__all__ = ["Lines", "lines_of", "requantise", "requantise_long"]

Ints = NDArray[np.int64]
MOST_STEPS = 1 << 10  # of a staircase that is worth a test
NUDGES = (0, 1, -1, 2, -2)  # of a slope, in units of its last place
FEW = 4  # at most one in so many channels may be left to float64


def requantise(value: Value, q: Requantise, axis: int) -> Value:
    """Codes of sums; a per-channel multiplier runs along an axis of ``value.data``."""
    multipliers = np.asarray(q.multiplier, dtype=np.int64).ravel()
    reach = widest(value.low, value.high) * int(multipliers.max())
    extremes = {int(multipliers.min()), int(multipliers.max())}
    ends = [_code(q, end, m) for end in (value.low, value.high) for m in extremes]
    low, high = min(ends), max(ends)
    dtype = carrier(low, high, "codes")
    if reach >= 1 << (FLOAT64_BITS - 2):
        within_long(0, reach >> 1, "a requantisation product")
        return Value(requantise_long(value.data.long(), q, axis).to(dtype), low, high)
    if value.data.dtype == torch.float32:
        if reach < 1 << (FLOAT32_BITS - 2) and q.shift < FLOAT32_BITS - 2:
            return Value(_in_floats(value.data, q, axis).to(dtype), low, high)
        lines = lines_of(q, value.data.device)
        if lines is not None:
            return Value(_along_lines(value.data, q, axis, lines).to(dtype), low, high)
    return Value(_in_floats(value.data.double(), q, axis).to(dtype), low, high)


def _in_floats(sums: Tensor, q: Requantise, axis: int) -> Tensor:
    """Codes in the dtype of the sums, in which the products are exact."""
    data = sums * _scale(q, axis, sums)
    if q.shift and q.rounding == "half_up":
        data.add_(0.5).floor_()
    elif q.shift:
        data = data.round_() if q.rounding == "half_even" else data.floor_()
    return data.clamp_(q.low, q.high)


# ----------------------------------------------------------------------------- lines


@dataclass(frozen=True, eq=False)
class Lines:
    """Float32 lines that equal a requantisation on all sums of up to 24 bits.

    Attributes:
        slope: ``[channels]`` float32.
        offset: ``[channels]`` float32.
        others: Channels that no line equals.
    """

    slope: Tensor
    offset: Tensor
    others: Tensor


def _along_lines(sums: Tensor, q: Requantise, axis: int, lines: Lines) -> Tensor:
    shape = [1] * sums.ndim
    shape[axis] = -1
    data = sums * lines.slope.view(shape)
    data.add_(lines.offset.view(shape)).floor_().clamp_(q.low, q.high)
    if len(lines.others):
        some = sums.index_select(axis, lines.others).double()
        per_channel = np.asarray(q.multiplier, dtype=np.int64)[lines.others.cpu().numpy()]
        exact = _in_floats(some, replace(q, multiplier=per_channel), axis)
        data.index_copy_(axis, lines.others, exact.float())
    return data


@lru_cache(maxsize=4096)
def lines_of(q: Requantise, device: torch.device) -> Lines | None:
    """The lines of a requantisation, or None if they would not pay."""
    multiplier = np.asarray(q.multiplier, dtype=np.int64).ravel()
    if q.high - q.low > MOST_STEPS or not multiplier.all():
        return None
    codes = np.arange(q.low + 1, q.high + 1)
    first = _first_sums(q, multiplier, codes)
    slopes = multiplier / 2.0**q.shift
    slope, offset = slopes.astype(np.float32), np.zeros(len(slopes), dtype=np.float32)
    good = np.zeros(len(slopes), dtype=bool)
    for nudge in NUDGES:
        trial = slopes.astype(np.float32)
        trial += nudge * np.spacing(trial)
        middle = _middle(trial.astype(np.float64)[:, None], first, codes).astype(np.float32)
        passed = _equal(trial, middle, first, codes, device) & ~good
        slope[passed], offset[passed] = trial[passed], middle[passed]
        good |= passed
    if FEW * int((~good).sum()) > len(good):
        return None
    others = torch.from_numpy(np.flatnonzero(~good)).to(device)
    return Lines(torch.from_numpy(slope).to(device), torch.from_numpy(offset).to(device), others)


def _first_sums(q: Requantise, multiplier: Ints, codes: Ints) -> Ints:
    """``[channels, codes]`` the smallest sum that gives each code or a larger one."""
    product = codes << q.shift
    if q.rounding != "floor":
        product = product - ((1 << q.shift) >> 1)
    if q.rounding == "half_even" and q.shift:
        product = product + (codes & 1)  # half below an odd code is rounded down, to the even one
    return -(-product // multiplier[:, None])


def _middle(slope: NDArray[np.float64], first: Ints, codes: Ints) -> NDArray[np.float64]:
    """Offset of the line that leaves most room below and above the steps it must separate."""
    at = np.abs(first) < 1 << FLOAT32_BITS
    least = np.where(at, first * slope - codes, np.inf).min(axis=1, initial=0.0)
    most = np.where(at, (first - 1) * slope - codes, -np.inf).max(axis=1, initial=-1.0)
    return -(least + most) / 2


def _equal(
    slope: NDArray[np.float32],
    offset: NDArray[np.float32],
    first: Ints,
    codes: Ints,
    device: torch.device,
) -> NDArray[np.bool_]:
    """``[channels]`` whether a line takes every step where it should, on the device itself."""
    end = 1 << FLOAT32_BITS
    lines = [torch.from_numpy(x)[:, None].to(device) for x in (slope, offset)]

    def line(sums: Ints) -> Ints:
        data = torch.from_numpy(np.clip(sums, -end, end)).to(device, torch.float32) * lines[0]
        return data.add_(lines[1]).floor_().long().cpu().numpy()

    above = (line(first) >= codes) | (first > end)
    below = (line(first - 1) < codes) | (first <= -end)
    return np.asarray((above & below).all(axis=1))


# ----------------------------------------------------------------------------- integers


def requantise_long(sums: Tensor, q: Requantise, axis: int) -> Tensor:
    """Codes of int64 sums whose products fit 63 bits."""
    product = sums * _along(q.multiplier, axis, sums)
    if q.shift:
        floor = product >> q.shift
        rest = product & ((1 << q.shift) - 1)
        half = 1 << (q.shift - 1)
        if q.rounding == "half_up":
            floor = floor + (rest >= half)
        elif q.rounding == "half_even":
            floor = floor + ((rest > half) | ((rest == half) & (floor & 1 == 1)))
        product = floor
    return product.clamp(q.low, q.high)


def _scale(q: Requantise, axis: int, like: Tensor) -> Tensor | float:
    """Multiplier / 2^shift, exact in a float."""
    along = _along(q.multiplier, axis, like)
    if isinstance(along, int):
        return along / 2.0**q.shift
    return (along.double() / 2.0**q.shift).to(like.dtype)


def _along(multiplier: object, axis: int, like: Tensor) -> Tensor | int:
    """A multiplier ready to be multiplied along one axis of a tensor."""
    flat = np.asarray(multiplier, dtype=np.int64).ravel()
    if len(flat) == 1:
        return int(flat[0])
    shape = [1] * like.ndim
    shape[axis] = len(flat)
    return torch.from_numpy(flat.copy()).to(like.device).reshape(shape)


def _code(q: Requantise, total: int, multiplier: int) -> int:
    """Of one sum, in Python's integers."""
    product = total * multiplier
    whole, rest = product >> q.shift, product & ((1 << q.shift) - 1)
    half = (1 << q.shift) >> 1
    up = q.shift > 0 and (
        (q.rounding == "half_up" and rest >= half)
        or (q.rounding == "half_even" and (rest, whole & 1) > (half, 0))
    )
    return min(max(whole + up, q.low), q.high)
