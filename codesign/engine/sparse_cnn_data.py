"""What the kernels of conventional networks are handed: ctypes structures like those in cnn_data.h.

Every field has 64 bits. Arrays that a structure points to are kept alive by `Plan`.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codesign.effects import EFFECT
from codesign.errors import UnsupportedError
from codesign.formats import NumberFormat, Requantise

__all__ = ["Kept", "Plan", "check_sizes", "format_of", "requantise_of"]

WHOLE, POINTER = ctypes.c_int64, ctypes.c_void_p
ROUNDINGS = {"half_up": 0, "half_even": 1, "floor": 2}
LANES = 16  # channels are padded to whole vectors
FRACTION_BITS = 51  # of a double, less what the half and the lowest code need
SMALL = 1 << 14  # codes from -SMALL to SMALL - 1 differ by 16 bits
IN_DOUBLES, EACH_ALONE, IN_PRODUCTS, BY_SHIFT = 1, 2, 3, 4  # how codes are made of sums


def _fields(numbers: str, pointers: str = "") -> list[tuple[str, type]]:
    """Fields in order; those named in ``pointers`` are pointers."""
    places = set(pointers.split())
    return [(name, POINTER if name in places else WHOLE) for name in numbers.split()]


class CFormat(ctypes.Structure):
    """`codesign.formats.NumberFormat`."""

    _fields_ = _fields("low high wraps")


class CRequantise(ctypes.Structure):
    """`codesign.formats.Requantise`, its multipliers by channel."""

    _fields_ = _fields(
        "is_there shift low high rounding multiplier factor narrow", "multiplier factor narrow"
    )


class CValue(ctypes.Structure):
    """What a layer stores, or another layout of it."""

    _fields_ = _fields(
        "pixels channels height width wide at kept type stride by_m by_n last_reader", "kept"
    )


class CNode(ctypes.Structure):
    """A layer, or a change of layout before one."""

    _fields_ = [
        *_fields("kind layer out inputs in multipliers maps each", "in multipliers maps each"),
        *_fields("keeps_order"),
        ("requantise", CRequantise),
        *_fields(
            "kh kw sy sx top left groups terms padded packed packed16 weight bias bias_by_m "
            "bias_at_load mode largest_weight room",
            "packed packed16 weight bias",
        ),
        ("inner", CFormat),
        ("outer", CFormat),
        *_fields("splits segments order place", "splits order place"),
        ("readout", CRequantise),
        *_fields("sums largest_input struck_input small", "sums"),
    ]


class CPlan(ctypes.Structure):
    """A program and its golden run."""

    _fields_ = _fields(
        "nodes values layers classes samples bytes largest outside_wide node value node_of "
        "positions",
        "node value node_of positions",
    )


class Kept:
    """Arrays that structures point to."""

    def __init__(self) -> None:
        self.things: list[object] = []

    def array(self, values: NDArray[np.generic]) -> int:
        """The address of an array that stays."""
        held = np.ascontiguousarray(values)
        self.things.append(held)
        return int(held.ctypes.data)

    def structures(self, made: list[ctypes.Structure], kind: type[ctypes.Structure]) -> int:
        """The address of a copy of structures one behind another."""
        held = (kind * max(1, len(made)))(*made)
        self.things.append(held)
        return ctypes.addressof(held)


@dataclass(frozen=True, eq=False)
class Plan:
    """A program and its golden run, as the kernels read them.

    Attributes:
        c: The structure.
        kept: What it points to.
        most_excess: How far stored codes may leave their range, summed over a trial's elements, so
            that sums can still be added up as differences.
        most_carried: How far, so that 32 bits carry every value.
        ranges: ``[layers, 2]`` lowest and highest value that each stores, if no stored code is
            struck.
        sums_only: ``[layers]`` layers that pass on sums (no requantisation) to other layers: faults
            within them are left to the dense engine.
        terms: ``[layers]`` products of one output; 0 where nothing is summed.
        products: Of the whole network.
    """

    c: CPlan
    kept: Kept = field(repr=False)
    most_excess: int
    most_carried: int
    ranges: NDArray[np.int64]
    sums_only: NDArray[np.bool_]
    terms: NDArray[np.int64]
    products: int


def format_of(form: NumberFormat) -> CFormat:
    """A number format."""
    return CFormat(form.low, form.high, form.overflow == "wrap")


def requantise_of(q: Requantise | None, channels: int, kept: Kept) -> CRequantise:
    """A requantisation with a multiplier for each channel; ``is_there`` says how it is done."""
    if q is None:
        return CRequantise()
    multipliers = np.zeros(channels + LANES, dtype=np.int64)
    multipliers[:channels] = q.multiplier
    largest = int(multipliers.max())
    if q.rounding != "half_even" and largest <= 1 << q.shift:
        way = IN_PRODUCTS  # no code has more bits than its sum
    else:
        fine = q.shift + int(max(-q.low, q.low, q.high)).bit_length() > FRACTION_BITS
        way = EACH_ALONE if fine else IN_DOUBLES
    return CRequantise(
        way,
        q.shift,
        q.low,
        q.high,
        ROUNDINGS[q.rounding],
        kept.array(multipliers),
        kept.array(multipliers / 2.0**q.shift),
        kept.array(multipliers.astype(np.int32)),
    )


def check_sizes(library: ctypes.CDLL) -> None:
    """Refuse kernels whose structures are not these."""
    ours = [ctypes.sizeof(kind) for kind in (CPlan, CNode, CValue, CRequantise)]
    ours.append(EFFECT.itemsize)
    library.codesign_cnn_size.restype = WHOLE
    library.codesign_cnn_size.argtypes = [WHOLE]
    theirs = [library.codesign_cnn_size(i) for i in range(len(ours))]
    if ours != theirs:
        raise UnsupportedError(f"the kernels' structures have {theirs} bytes, expected {ours}")
