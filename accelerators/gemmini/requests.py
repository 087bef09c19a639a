"""Requests to Gemmini's mesh with all their control fields, and the rows that enter the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codesign.errors import DataError, UnsupportedError
from codesign.formats import read_only

__all__ = ["MeshRequests"]

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

DATAFLOW, PROPAGATE, SHIFT, A_TRANSPOSE, ROWS, FLUSH = range(6)
LARGEST_SHIFT = 31  # the shift register has 5 bits
OPERANDS = (-128, 127)  # a, b and d enter with 8 bits


@dataclass(frozen=True, eq=False)
class MeshRequests:
    """What a mesh is asked to do from power-up on, with the control fields of every request.

    The host presents a request as soon as it is accepted, and one row of A, B and D a cycle from
    the cycle after. A host that keeps to this leaves one bubble between requests.

    Attributes:
        a: ``[requests, rows, rows]`` int64 codes of 8 bits, the row of each slot as presented.
        b: Likewise.
        d: Likewise.
        weight_stationary: ``[requests]`` bool; the others are output stationary.
        toggles: ``[requests]`` bool, which requests exchange the active and the idle registers.
        shift: ``[requests]`` int64, right shift of the results that leave during a request.
        transpose: ``[requests]`` bool, the ``a_transpose`` field: A passes the transposer of a
            weight-stationary request that asks for it, and of an output-stationary one that
            does not.
        slots: ``[requests]`` int64, rows presented.

    Raises:
        DataError: Shapes or values that no request can have.
    """

    a: Ints
    b: Ints
    d: Ints
    weight_stationary: Bools
    toggles: Bools
    shift: Ints
    transpose: Bools
    slots: Ints

    def __post_init__(self) -> None:
        for name in ("a", "b", "d", "shift", "slots"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        for name in ("weight_stationary", "toggles", "transpose"):
            object.__setattr__(self, name, read_only(getattr(self, name), "bool"))
        shapes = {self.a.shape, self.b.shape, self.d.shape}
        if len(shapes) != 1 or self.a.ndim != 3 or self.a.shape[1] != self.a.shape[2]:
            raise DataError(f"a, b and d are [requests, rows, rows], came {sorted(shapes)}")
        for name in ("weight_stationary", "toggles", "shift", "transpose", "slots"):
            if getattr(self, name).shape != self.a.shape[:1]:
                raise DataError(f"{name} is [requests], came {getattr(self, name).shape}")
        self._check_range("slots", 1, self.rows)
        self._check_range("shift", 0, LARGEST_SHIFT)
        for name in ("a", "b", "d"):
            self._check_range(name, *OPERANDS)

    def _check_range(self, name: str, low: int, high: int) -> None:
        values = getattr(self, name)
        if values.size and (values.min() < low or values.max() > high):
            came = f"{values.min()} to {values.max()}"
            raise DataError(f"{name} of a request is {low} to {high}, came {came}")

    @staticmethod
    def of(control: Ints, a: Ints, b: Ints, d: Ints) -> MeshRequests:
        """From the fields of requests as they are recorded.

        Args:
            control: ``[requests, 6]`` dataflow (1: weight stationary), propagate, shift,
                a_transpose, rows, flush.
            a: ``[requests, rows, rows]``.
            b: Likewise.
            d: Likewise.

        Raises:
            UnsupportedError: A request that flushes the mesh.
        """
        control = np.asarray(control, dtype=np.int64)
        if control.ndim != 2 or control.shape[1] != 6:
            raise DataError(f"control is [requests, 6], came {control.shape}")
        flushing = np.flatnonzero(control[:, FLUSH])
        if len(flushing):
            raise UnsupportedError(f"request {flushing[0]} flushes the mesh: not modelled")
        return MeshRequests(
            np.asarray(a, dtype=np.int64),
            np.asarray(b, dtype=np.int64),
            np.asarray(d, dtype=np.int64),
            weight_stationary=control[:, DATAFLOW] == 1,
            toggles=control[:, PROPAGATE] == 1,
            shift=control[:, SHIFT],
            transpose=control[:, A_TRANSPOSE] == 1,
            slots=control[:, ROWS],
        )

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.a)

    @property
    def rows(self) -> int:
        """Rows and columns of the mesh."""
        return self.a.shape[1]

    @cached_property
    def propagates(self) -> Bools:
        """``[requests]`` what the toggles add up to."""
        propagates: Bools = np.cumsum(self.toggles) % 2 == 1
        return propagates

    @cached_property
    def transposes(self) -> Bools:
        """``[requests]`` whether A of a request comes out of the transposer."""
        transposes: Bools = self.transpose == self.weight_stationary
        return transposes

    @cached_property
    def first_rows(self) -> Ints:
        """``[requests + 1]`` number of rows presented before each request, and in all."""
        return read_only(np.cumsum([0, *self.slots]))

    def presented(self, operand: Ints) -> Ints:
        """``[rows of all requests + 1, rows]`` rows in order; the last is power-up's zeros."""
        kept = [operand[request, :slots] for request, slots in enumerate(self.slots)]
        return np.concatenate([*kept, np.zeros((1, self.rows), dtype=np.int64)])

    @cached_property
    def transposed(self) -> Ints:
        """``[rows of all requests + 1, rows]`` what the transposer shows after so many rows.

        Its cells are pushed left or up by each row that enters, in turns of as many rows as the
        mesh has; what it shows is the column or row that the next push drops.
        """
        cells = np.zeros((self.rows, self.rows), dtype=np.int64)
        shown, entered, left = [], 0, True
        for request, slots in enumerate(self.slots):
            for slot in range(int(slots)):
                shown.append(cells[:, 0] if left else cells[0])
                if not self.transposes[request]:
                    continue
                row = self.a[request, slot]
                pushed = np.concatenate([cells[:, 1:], row[:, None]], axis=1)
                cells = pushed if left else np.concatenate([cells[1:], row[None]])
                entered += 1
                left ^= entered % self.rows == 0
        return np.stack([*shown, cells[:, 0] if left else cells[0]])
