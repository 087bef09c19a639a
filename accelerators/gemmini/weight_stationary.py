"""What faults in a weight-stationary mesh touch; the datapath stands in `gemmini.program`.

For the PE in row r and slot j of request q:

- ``a``: row j of response q, term r, in columns c and behind; ``product``: that term in column c.
- ``b``: the sum of row j in column c before the term of row r; ``mac_out``: after it; ``out_b``: at
  the end. ``out_c`` carries weights out of the mesh.
- The active register: the weight of row r for rows j and behind, and for the requests that follow
  without a toggle. ``d`` carries the weight of row R - 1 - (j - r) of the tile that request q
  loads, the idle register that of row R - (j - r), or what is left over. For c1 and c2 the bubble
  belongs to the next slot 0.
- A stuck register on their way corrupts all weights that pass it: those of rows r and below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from accelerators.gemmini.slots import Ints, Met, Slots, run
from accelerators.systolic.effects import EffectRows, Place, Struck, single
from accelerators.systolic.lines import Ragged
from codesign.effects import At, Kind

if TYPE_CHECKING:
    from accelerators.gemmini.program import RequestProgram

__all__ = ["strike_weight_stationary"]


def strike_weight_stationary(
    program: RequestProgram, component: str, faults: Struck, effects: EffectRows
) -> None:
    """Add to ``effects`` what faults of one component touch."""
    slots = Slots.of(program, component, faults, effects)
    if component in ("c1", "c2", "d"):
        _strike_weights(slots, component)
    elif component == "a":
        met = slots.streamed()
        row, col = slots.row[met.index], slots.col[met.index]
        columns = {"k": single(row), "n": run(col, program.rows)}
        slots.add(met, Place(Kind.operand, At.input, 8), columns, level=col)
    elif component == "product":
        met = slots.streamed()
        columns = {"k": single(slots.row[met.index]), "n": single(slots.col[met.index])}
        slots.add(met, Place(Kind.term, At.product, 16), columns)
    elif component != "out_c":
        _strike_sums(slots, component)


def _strike_sums(slots: Slots, component: str) -> None:
    met, size = slots.streamed(), slots.program.rows
    summed = slots.row[met.index] + (component == "mac_out")
    for at, some in (
        (At.load, summed == 0),
        (At.after, (summed > 0) & (summed < size)),
        (At.out, summed == size),
    ):
        here, after = met.take(some), summed[some] * (at is At.after)
        columns = {"n": single(slots.col[here.index]), "segment": after * 0, "after": after}
        place = Place(Kind.accumulator, at, 8 if at is At.load else 20)  # B enters with 8 bits
        slots.add(here, place, columns, level=int(component != "mac_out"))


def _strike_weights(slots: Slots, component: str) -> None:
    parts = [_stuck(slots, component), _on_their_way(slots, component)]
    if component != "d":
        parts.append(_at_rest(slots, component))
    for met, rows in parts:
        level = 2 * slots.row[met.index] + (component != "d")
        columns = {"k": rows, "n": single(slots.col[met.index])}
        slots.add(met, Place(Kind.operand, At.weight, 8), columns, level)


def _stuck(slots: Slots, component: str) -> tuple[Met, Ints]:
    """All tiles that pass or rest: weights of a row and below; of power-up's only its own."""
    program, size = slots.program, slots.program.rows
    loaded = program.tiles >= 0
    served = loaded if component == "d" else program.active == int(component[1])
    responses = np.flatnonzero(served)
    stuck = np.flatnonzero(slots.stuck)
    index, response = np.repeat(stuck, len(responses)), np.tile(responses, len(stuck))
    row = slots.row[index]
    met = Met(index, response, index * 0, index * 0 + size)
    return met, run(row, np.where(loaded[response], size, row + 1))


def _on_their_way(slots: Slots, component: str) -> tuple[Met, Ints]:
    """A weight that moves down with a flipped bit, in d or in the idle register."""
    program, size = slots.program, slots.program.rows
    request, slot = _stations(slots, component)
    target = size - (component == "d") - (slot - slots.row)
    here = ~slots.stuck & (request >= 0) & (request < program.requests)
    here &= (slots.row <= target) & (target < size) & (slot < size)
    if component != "d":
        here &= program.active[np.clip(request, 0, program.requests - 1)] != int(component[1])
    flips = np.flatnonzero(here)
    again, response = _users(program).expand(request[flips])
    index = flips[again]
    return Met(index, response[:, 0], index * 0, index * 0 + size), single(target[index])


def _at_rest(slots: Slots, component: str) -> tuple[Met, Ints]:
    """The active register: rows that are still to come, and later requests on the same tile."""
    program, size = slots.program, slots.program.rows
    request, slot = _stations(slots, component)
    here = ~slots.stuck & (request < program.requests)
    here &= program.active[np.minimum(request, program.requests - 1)] == int(component[1])
    flips = np.flatnonzero(here)
    again, response = _followers(program).expand(request[flips])
    index = flips[again]
    first = np.where(response[:, 0] == request[index], slot[index], 0)
    return Met(index, response[:, 0], first, index * 0 + size), single(slots.row[index])


def _stations(slots: Slots, component: str) -> tuple[Ints, Ints]:
    """(request, slot) of flips; in c1 and c2 the bubble belongs to the next slot 0."""
    if component == "d":
        return slots.request, slots.slot
    bubble = slots.slot == slots.program.rows
    return slots.request + bubble, np.where(bubble, 0, slots.slot)


def _users(program: RequestProgram) -> Ragged:
    """By request: the responses computed on the tile that it loads."""
    tiles = program.tiles
    return Ragged.of(
        ([(int(q),) for q in np.flatnonzero(tiles == tile)] for tile in range(program.requests)), 1
    )


def _followers(program: RequestProgram) -> Ragged:
    """By request: itself and the later ones computed on the same tile."""
    tiles = program.tiles
    return Ragged.of(
        (
            [(int(q),) for q in np.flatnonzero(tiles == tiles[request]) if q >= request]
            for request in range(program.requests)
        ),
        1,
    )
