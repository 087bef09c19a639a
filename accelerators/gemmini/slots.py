"""Faults of a mesh in requests and slots, and their effects on responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.systolic.effects import FOR_EVER, EffectRows, Place, Struck
from codesign.errors import UnsupportedError

if TYPE_CHECKING:
    from accelerators.gemmini.program import RequestProgram

__all__ = ["FIRST_SLOT", "Met", "Slots", "run"]

Ints: TypeAlias = NDArray[np.int64]

FIRST_SLOT = 3  # cycle at which PE (0, 0) meets slot 0 of request 0


@dataclass(frozen=True, eq=False)
class Met:
    """Responses that faults meet, in columns.

    Attributes:
        index: ``[met]`` fault among those of `Slots`.
        response: ``[met]``.
        first: ``[met]`` first row of the response that is met.
        last: ``[met]`` row behind the last.
    """

    index: Ints
    response: Ints
    first: Ints
    last: Ints

    def take(self, index: Ints | NDArray[np.bool_]) -> Met:
        """Some of them."""
        columns = (self.index, self.response, self.first, self.last)
        return Met(*(column[index] for column in columns))

    @property
    def rows(self) -> Ints:
        """``[met, 3]`` the rows as boxes."""
        return run(self.first, self.last)


@dataclass(frozen=True, eq=False)
class Slots:
    """Faults of one component of a mesh.

    Attributes:
        program: The requests.
        which: ``[faults]`` row of the fault table.
        row: ``[faults]`` of the PE; of what stands below the mesh, its number of rows.
        col: ``[faults]``.
        bit: ``[faults]``.
        stuck: ``[faults]`` bool: for good; the others are flips.
        high: ``[faults]`` bool: stuck at 1.
        request: ``[faults]`` of a flip; -1 before the first.
        slot: ``[faults]`` of a flip; the number of rows is the bubble.
        effects: Where rows go.
    """

    program: RequestProgram
    which: Ints
    row: Ints
    col: Ints
    bit: Ints
    stuck: NDArray[np.bool_]
    high: NDArray[np.bool_]
    request: Ints
    slot: Ints
    effects: EffectRows

    @staticmethod
    def of(program: RequestProgram, component: str, faults: Struck, effects: EffectRows) -> Slots:
        """Place faults in requests and slots.

        Raises:
            UnsupportedError: A bit that is stuck for a while.
        """
        size = program.rows
        below = component in ("out_b", "out_c")
        row, col = (
            (faults.instance * 0 + size, faults.instance)
            if below
            else np.divmod(faults.instance, size)
        )
        flips = effects.flips(faults.which)
        lasting = (faults.start == 0) & (faults.stop == FOR_EVER)
        if not (flips | lasting).all():
            raise UnsupportedError(
                f"{component}: a bit of the mesh that is stuck for a while is not modelled"
            )
        request, slot = np.divmod(faults.start - FIRST_SLOT - row - col, size + 1)
        before = request < 0
        request, slot = np.where(before, -1, request), np.where(before, size, slot)
        kinds = (~flips, effects.stuck_high(faults.which))
        return Slots(program, faults.which, row, col, faults.bit, *kinds, request, slot, effects)

    def streamed(self) -> Met:
        """The response row of each slot that a fault stands in."""
        size, requests = self.program.rows, self.program.requests
        flip = np.flatnonzero(
            ~self.stuck & (self.slot < size) & (self.request >= 0) & (self.request < requests)
        )
        stuck = np.repeat(np.flatnonzero(self.stuck), requests)
        slot = self.slot[flip]
        return Met(
            np.concatenate([flip, stuck]),
            np.concatenate(
                [self.request[flip], np.tile(np.arange(requests), len(stuck) // requests)]
            ),
            np.concatenate([slot, np.zeros_like(stuck)]),
            np.concatenate([slot + 1, np.full_like(stuck, size)]),
        )

    def add(self, met: Met, place: Place, columns: dict[str, Ints], level: Ints | int = 0) -> None:
        """Add effect rows; faults in bits that the place does not have meet nothing."""
        exists = self.bit[met.index] < place.bits
        met = met.take(exists)
        layers = np.array(
            [self.program.network.index(f"r{i}") for i in range(self.program.requests)]
        )
        kept = {name: value[exists] for name, value in columns.items()}
        kept |= {"layer": layers[met.response], "m": met.rows}
        level = np.broadcast_to(level, exists.shape)[exists]
        self.effects.add_(self.which[met.index], place, kept, level)


def run(first: Ints, last: Ints | int) -> Ints:
    """``[rows, 3]`` boxes of neighbours."""
    return np.stack([first, np.broadcast_to(last, first.shape), np.ones_like(first)], axis=1)
