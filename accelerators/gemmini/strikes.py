"""Faults of single bits in a mesh, and how they strike many copies of it at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from codesign.errors import FaultError, nearest

__all__ = ["PLACES", "MeshFault", "Place", "Strikes"]


@dataclass(frozen=True)
class Place:
    """A register or net of a mesh.

    Attributes:
        array: The array of the model that holds it.
        bits: Its width.
        signed: Whether it is in two's complement.
        below: It stands below the last row, one a column.
        cols: Columns that have one; 0: all.
    """

    array: str
    bits: int
    signed: bool = True
    below: bool = False
    cols: int = 0


# PE.scala, Mesh.scala; below the mesh only the control of column 0 is read.
PLACES = {
    "a": Place("a", 8),
    "b": Place("b", 20),
    "d": Place("d", 20),
    "c1": Place("c1", 32),
    "c2": Place("c2", 32),
    "propagate": Place("propagate", 1, signed=False),
    "valid": Place("valid", 1, signed=False),
    "dataflow": Place("dataflow", 1, signed=False),
    "shift": Place("shift", 5, signed=False),
    "last_s": Place("last_s", 1, signed=False),
    "id": Place("id", 3, signed=False),
    "last": Place("last", 1, signed=False),
    "out_b": Place("b", 20, below=True),
    "out_c": Place("d", 20, below=True),
    "out_valid": Place("valid", 1, signed=False, below=True, cols=1),
    "out_control_dataflow": Place("dataflow", 1, signed=False, below=True, cols=1),
    "out_id": Place("id", 3, signed=False, below=True, cols=1),
    "out_last": Place("last", 1, signed=False, below=True, cols=1),
    "product": Place("product", 16),
    "mac_out": Place("mac_out", 20),
}
NETS = ("product", "mac_out")
PORT_BITS = {"b": 8, "d": 8}  # in row 0, where they enter; the sign stands above


@dataclass(frozen=True)
class MeshFault:
    """One wrong bit.

    Attributes:
        place: A name of `PLACES`.
        row: Of the PE; of what stands below the mesh, its number of rows.
        col: Column.
        bit: 0 is the least significant.
        kind: A flip in one cycle, or stuck at 0 or 1 in all.
        cycle: Of the flip: it strikes what the register holds after so many clock edges.
    """

    place: str
    row: int
    col: int
    bit: int
    kind: Literal["flip", "sa0", "sa1"]
    cycle: int = 0

    def bits(self, rows: int) -> int:
        """Width of what is struck, in a mesh of so many rows and columns.

        Raises:
            FaultError: It does not exist there.
        """
        if self.place not in PLACES:
            raise FaultError(f"no place {self.place!r} in a mesh{nearest(self.place, PLACES)}")
        place = PLACES[self.place]
        bits = PORT_BITS.get(self.place, place.bits) if self.row == 0 else place.bits
        in_rows = self.row == rows if place.below else 0 <= self.row < rows
        if not in_rows or not 0 <= self.col < (place.cols or rows) or not 0 <= self.bit < bits:
            raise FaultError(
                f"{self.place}[{self.row}][{self.col}] bit {self.bit}: a mesh of {rows} rows has "
                f"{'row ' + str(rows) if place.below else f'rows 0 to {rows - 1}'}, columns 0 to "
                f"{(place.cols or rows) - 1}, and {bits} bits there"
            )
        if self.kind not in ("flip", "sa0", "sa1"):
            raise FaultError(f"{self.place}: a bit flips or is stuck (sa0, sa1), not {self.kind!r}")
        if self.cycle < 0:
            raise FaultError(f"{self.place}: cycle {self.cycle} is before power-up")
        return bits


@dataclass(frozen=True, eq=False)
class _Cells:
    """Words of one array that are struck together: flipped, then forced."""

    where: tuple[NDArray[np.int64], ...]  # row, column, copy
    bits: NDArray[np.int64]
    flips: NDArray[np.int64]
    ones: NDArray[np.int64]
    zeros: NDArray[np.int64]
    signed: bool

    def strike_(self, values: NDArray[Any]) -> None:
        raw = values[self.where].astype(np.int64)
        full = np.int64(1) << self.bits
        raw = (((raw & (full - 1)) ^ self.flips) | self.ones) & ~self.zeros
        if self.signed:
            raw = np.where(raw >= full >> 1, raw - full, raw)
        values[self.where] = raw.astype(values.dtype)


class Strikes:
    """The faults of many copies of a mesh, by array and cycle.

    Args:
        faults: By copy.
        rows: Of the mesh.
    """

    def __init__(self, faults: Sequence[Sequence[MeshFault]], rows: int) -> None:
        words: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for trial, listed in enumerate(faults):
            for fault in listed:
                when = fault.cycle if fault.kind == "flip" else None
                array = PLACES[fault.place].array if fault.place in PLACES else fault.place
                bits = fault.bits(rows)
                word = words[array, when, fault.row, fault.col, trial]
                word[0] = bits
                mask = 1 << fault.bit
                if fault.kind == "flip":
                    word[1] ^= mask
                else:
                    word[2 if fault.kind == "sa1" else 3] |= mask
        self.cells: dict[str, dict[int | None, _Cells]] = defaultdict(dict)
        grouped: dict[tuple[str, int | None], list[list[int]]] = defaultdict(list)
        for (array, when, *where), masks in words.items():
            grouped[array, when].append([*where, *masks])
        for (array, when), listed_words in grouped.items():
            row, col, trial, bits_, flips, ones, zeros = np.array(listed_words).T
            signed = PLACES[array].signed
            self.cells[array][when] = _Cells((row, col, trial), bits_, flips, ones, zeros, signed)

    def strike_(self, array: str, t: int, values: NDArray[Any]) -> None:
        """Corrupt an array ``[rows, cols, trials]`` in cycle ``t``; stuck wins over flipped."""
        for when in (t, None):
            if array in self.cells and when in self.cells[array]:
                self.cells[array][when].strike_(values)
