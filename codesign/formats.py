"""Number formats: what a place in hardware can hold, and how a sum becomes a code again.

A format belongs to the *place* (a register, an accumulator), never to the tensor.
All arithmetic here is on int64 arrays; formats are at most 48 bits wide, so that the product
with a 15-bit multiplier still fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codesign.errors import DataError

__all__ = ["MAX_BITS", "NumberFormat", "Quantizer", "Requantise", "read_only", "shift_right"]

MAX_BITS = 48  # int64 less a 15-bit requantisation multiplier and a sign: a bound of this library

Rounding = Literal["half_up", "half_even", "floor"]


def read_only(values: ArrayLike, dtype: str = "int64") -> NDArray[np.int64]:
    """A C-contiguous copy that nobody can write to: what nouns hold (int64 unless said).

    >>> read_only([1, 2]).flags.writeable
    False
    """
    array = np.array(values, dtype=dtype, order="C", copy=True)
    array.flags.writeable = False
    return array


def rows_by_trial(table: NDArray[np.void], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """Rows sorted by their ``trial`` that nobody can write to; a copy unless they are so already.

    Large tables are handed on without being copied: whoever makes one and takes away its write
    flag gives it up.
    """
    given = table.dtype == dtype and table.flags.owndata and not table.flags.writeable
    rows = table if given else np.array(table, dtype=dtype, copy=True)
    if (np.diff(rows["trial"]) < 0).any():
        rows = rows[np.argsort(rows["trial"], kind="stable")]
    rows.flags.writeable = False
    return rows


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """Integers in two's complement (or unsigned) of a given width.

    Attributes:
        bits: Width, 1 to 48.
        signed: Two's complement if true; the sign bit then weighs ``-2**(bits - 1)``.
        overflow: What happens to a result that does not fit: ``wrap`` modulo ``2**bits``, or
            ``saturate`` at the nearest end.
    """

    bits: int
    signed: bool = True
    overflow: Literal["wrap", "saturate"] = "saturate"

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise DataError(f"a number format has 1 to {MAX_BITS} bits, came {self.bits}")
        if self.overflow not in ("wrap", "saturate"):
            raise DataError(f"overflow is 'wrap' or 'saturate', came {self.overflow!r}")

    @property
    def low(self) -> int:
        """Smallest value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def fit(self, values: ArrayLike) -> NDArray[np.int64]:
        """What this place holds after a result of any size is written to it.

        >>> NumberFormat(4, overflow="wrap").fit([7, 8, -9]).tolist()
        [7, -8, 7]
        >>> NumberFormat(4).fit([7, 8, -9]).tolist()
        [7, 7, -8]
        """
        array = np.asarray(values, dtype=np.int64)
        if self.overflow == "saturate":
            return np.clip(array, self.low, self.high)
        return self.decode(array & ((1 << self.bits) - 1))

    def holds(self, values: ArrayLike) -> bool:
        """Whether every value is representable."""
        array = np.asarray(values, dtype=np.int64)
        return bool(array.size == 0 or (array.min() >= self.low and array.max() <= self.high))

    def encode(self, values: ArrayLike) -> NDArray[np.int64]:
        """Bit patterns (0 to ``2**bits - 1``) of representable values.

        Raises:
            DataError: A value does not fit.

        >>> NumberFormat(8).encode([-1, 5]).tolist()
        [255, 5]
        """
        array = np.asarray(values, dtype=np.int64)
        if not self.holds(array):
            raise DataError(
                f"values {array.min()}..{array.max()} do not fit {self.bits} bits "
                f"({self.low}..{self.high})"
            )
        return array & ((1 << self.bits) - 1)

    def decode(self, patterns: ArrayLike) -> NDArray[np.int64]:
        """Values of bit patterns.

        >>> NumberFormat(8).decode([255, 5]).tolist()
        [-1, 5]
        """
        array = np.asarray(patterns, dtype=np.int64)
        if not self.signed:
            return array
        sign = np.int64(1 << (self.bits - 1))
        return (array ^ sign) - sign


@dataclass(frozen=True, eq=False)
class Quantizer:
    """Real value = scale · (step · code + offset): linear, symmetric, asymmetric, mid-rise, binary.

    Attributes:
        scale: Positive float, or an array ``[channels]`` along the first axis.
        format: The codes' format.
        step: Integer step of the grid (2 with offset -1 makes binary codes {0, 1} mean -1, +1).
        offset: Integer offset of the grid.
    """

    scale: float | NDArray[np.float64]
    format: NumberFormat
    step: int = 1
    offset: int = 0

    def value(self, codes: ArrayLike) -> NDArray[np.float64]:
        """Real values ``[...]`` of codes ``[...]``.

        >>> Quantizer(0.5, NumberFormat(1, signed=False), step=2, offset=-1).value([0, 1]).tolist()
        [-0.5, 0.5]
        """
        grid = self.step * np.asarray(codes, dtype=np.float64) + self.offset
        return self._per_channel(grid.ndim) * grid

    def code(self, values: ArrayLike) -> NDArray[np.int64]:
        """Nearest codes (ties to even, as numpy rounds), saturated at the format's ends.

        >>> Quantizer(0.5, NumberFormat(4)).code([0.9, -9.0]).tolist()
        [2, -8]
        """
        array = np.asarray(values, dtype=np.float64)
        grid = np.rint((array / self._per_channel(array.ndim) - self.offset) / self.step)
        return np.clip(grid, self.format.low, self.format.high).astype(np.int64)

    def _per_channel(self, ndim: int) -> NDArray[np.float64]:
        scale = np.asarray(self.scale, dtype=np.float64)
        return scale.reshape(scale.shape + (1,) * (ndim - 1)) if scale.ndim else scale


@dataclass(frozen=True, eq=False)
class Requantise:
    """Sum to code as hardware does it: ``clip(round(sum · multiplier / 2**shift), low, high)``.

    Multiply and shift in integers with a stated rounding; a ReLU is ``low = 0``.

    Attributes:
        multiplier: Integer 0..2**15 - 1, or an int64 array ``[channels]``.
        shift: Right shift, 0 to 47.
        low: Smallest code.
        high: Largest code.
        rounding: ``half_up`` adds half and shifts (the usual hardware), ``half_even``, ``floor``.
    """

    multiplier: int | NDArray[np.int64]
    shift: int
    low: int
    high: int
    rounding: Rounding = "half_up"

    def __post_init__(self) -> None:
        multiplier = np.asarray(self.multiplier)
        if multiplier.size == 0 or multiplier.min() < 0 or multiplier.max() >= 1 << 15:
            raise DataError("a requantisation multiplier has 15 bits: 0 to 32767")
        if not 0 <= self.shift < 48:
            raise DataError(f"a requantisation shift is 0 to 47, came {self.shift}")
        if self.low > self.high:
            raise DataError(f"requantisation low {self.low} is above high {self.high}")
        if multiplier.ndim:
            object.__setattr__(self, "multiplier", read_only(multiplier))

    def code(self, sums: ArrayLike, channel_axis: int = 0) -> NDArray[np.int64]:
        """Codes of sums; a per-channel multiplier runs along ``channel_axis``.

        >>> Requantise(multiplier=3, shift=2, low=0, high=127).code([2, -5, 1000]).tolist()
        [2, 0, 127]
        """
        array = np.asarray(sums, dtype=np.int64)
        multiplier = np.asarray(self.multiplier, dtype=np.int64)
        if multiplier.ndim:
            shape = [1] * array.ndim
            shape[channel_axis] = -1
            multiplier = multiplier.reshape(shape)
        return np.clip(
            shift_right(array * multiplier, self.shift, self.rounding), self.low, self.high
        )


def shift_right(values: ArrayLike, shift: int, rounding: Rounding) -> NDArray[np.int64]:
    """``values / 2**shift`` in integers, rounded as said (floor is the arithmetic shift).

    >>> [int(shift_right(v, 1, "half_up")) for v in (-3, -1, 1, 3)]
    [-1, 0, 1, 2]
    >>> [int(shift_right(v, 1, "half_even")) for v in (-3, -1, 1, 3)]
    [-2, 0, 0, 2]
    """
    array = np.asarray(values, dtype=np.int64)
    if shift == 0:
        return array
    floor = array >> shift
    if rounding == "floor":
        return floor
    half = np.int64(1) << np.int64(shift - 1)
    rest = array & ((np.int64(1) << np.int64(shift)) - 1)
    up = (
        rest >= half
        if rounding == "half_up"
        else (rest > half) | ((rest == half) & (floor & 1 == 1))
    )
    return floor + up.astype(np.int64)
