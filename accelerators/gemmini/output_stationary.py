"""What faults in an output-stationary mesh touch; the datapath stands in `gemmini.program`.

Requests since a toggle form a group, which sums up in one register; its terms are those of the
slots of its requests in order. The group's result is the response to the next request that toggles,
last row first: response row i comes from array row R - 1 - i. The response to a request that does
not toggle is the D of the request before, likewise. For the PE in row r and slot j of request q:

- ``a``: a term of row r in columns c and behind; ``b``: its weight in rows r and below;
  ``product``: that term; ``mac_out``: the sum after it.
- The active register: the sum before that term, or the start value in slot 0 of a group. In slot 0
  of the next request, if idle by then, it still holds the sum, all 32 bits; the bubble belongs to
  that slot.
- The idle register: what leaves row r - j, and after those the D of row R - j + r of request q, on
  its way to be a start value or the next response. ``d``: likewise of row r - 1 - j, and
  R - 1 - j + r.
- ``out_c``: row j of the response on its way out. ``out_b`` carries B out of the mesh.
- A stuck register in row r corrupts what comes from rows above it on its way out, what goes to rows
  below on its way in, and what rests in it.

Values are clipped to 20 bits at every step down. The engine clips a result once, on its way out; a
start value that a 32-bit register corrupts beyond 20 bits is an end of the range one row further
down, and is computed here from the golden start value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelerators.gemmini.slots import Ints, Met, Slots, run
from accelerators.systolic.effects import EffectRows, Place, Struck, repeated, single
from codesign.effects import At, Kind, Op
from codesign.errors import UnsupportedError
from codesign.formats import NumberFormat

if TYPE_CHECKING:
    from accelerators.gemmini.program import RequestProgram

__all__ = ["refuse_clipped_twice", "strike_output_stationary"]

SUM, REGISTER, PORT = 20, 32, 8  # bits of what moves, of c1 and c2, and of what enters in row 0


def strike_output_stationary(
    program: RequestProgram, component: str, faults: Struck, effects: EffectRows
) -> None:
    """Add to ``effects`` what faults of one component touch."""
    slots = Slots.of(program, component, faults, effects)
    if component in ("a", "b", "product", "mac_out"):
        _strike_terms(slots, component)
    elif component in ("c1", "c2"):
        _strike_register(slots, int(component[1]))
    elif component == "d":
        _strike_d(slots)
    elif component == "out_c":
        met = slots.streamed()
        level = 2 * program.rows
        slots.add(met, Place(Kind.accumulator, At.out, SUM), _column(slots, met), level)


def _strike_terms(slots: Slots, component: str) -> None:
    """Operands, products and sums of single terms."""
    program, seen = slots.program, slots.streamed()
    before = program.rows * (seen.response - program.groups[seen.response])
    met = Met(seen.index, program.results[seen.response], seen.index, seen.index)
    k = run(before + seen.first, before + seen.last)
    exists = met.response < program.requests
    met, k = _response_rows(slots, met, below=component == "b").take(exists), k[exists]
    col = slots.col[met.index]
    if component == "a":
        columns = {"k": k, "n": run(col, program.rows)}
        slots.add(met, Place(Kind.operand, At.input, 8), columns, col)
    elif component == "b":
        columns = {"k": k, "n": single(col)}
        slots.add(met, Place(Kind.operand, At.weight, 8), columns, slots.row[met.index])
    elif component == "product":
        slots.add(met, Place(Kind.term, At.product, 16), {"k": k, "n": single(col)})
    else:
        place = Place(Kind.accumulator, At.every, SUM)
        stuck = slots.stuck[met.index] & (k[:, 0] == 0)  # said once for all terms
        slots.add(met.take(stuck), place, {"n": single(col[stuck])})
        flip = ~slots.stuck[met.index]
        after = {"segment": k[:, 0] * 0, "after": k[:, 1], "n": single(col)}
        flips = {name: value[flip] for name, value in after.items()}
        slots.add(met.take(flip), Place(Kind.accumulator, At.after, SUM), flips)


def _response_rows(slots: Slots, met: Met, *, below: bool) -> Met:
    """The response row of the PEs struck, or of theirs and those below."""
    own = slots.program.rows - 1 - slots.row[met.index]
    return Met(met.index, met.response, own * (not below), own + 1)


# ------------------------------------------------------------------------------------ c1 and c2


def _strike_register(slots: Slots, number: int) -> None:
    """A register that sums up in one group and shifts in the next."""
    _strike_stuck_register(slots, number)
    program, size = slots.program, slots.program.rows
    bubble = slots.slot == size
    request, slot = slots.request + bubble, np.where(bubble, 0, slots.slot)
    flip = ~slots.stuck & (request < program.requests)
    now = np.minimum(request, program.requests - 1)
    is_active = program.active[now] == number
    row, result, loads = slots.row, program.results[now], _loads(program)[now]
    summed = size * (now - program.groups[now]) + slot

    def met(some: NDArray[np.bool_], response: Ints, array_row: Ints) -> Met:
        i = np.flatnonzero(flip & some & (response < program.requests))
        at = size - 1 - array_row[i]
        return Met(i, response[i], at, at + 1)

    running = met(is_active & (summed > 0), result, row)
    _add_sum(slots, running, summed[running.index])
    _add_start(slots, met(is_active & (summed == 0), result, row), at_rest=True)
    rested = met(~is_active & (slot == 0), request, row)
    _add_sum(slots, rested, program.terms[rested.response])
    leaving = ~is_active & (slot > 0) & (row >= slot)
    _add_out(slots, met(leaving, request, row - slot), REGISTER)
    entering = ~is_active & (slot > 0) & (row < slot)
    _add_start(slots, met(entering, loads, size - slot + row), at_rest=False)


def _loads(program: RequestProgram) -> Ints:
    """``[requests]`` the response that starts from the D of a request; their number: none."""
    following = np.append(np.arange(1, program.requests), program.requests)
    last = np.minimum(following, program.requests - 1)
    return np.where(program.toggles[last], program.results[last], following)


def _strike_stuck_register(slots: Slots, number: int) -> None:
    program, size = slots.program, slots.program.rows
    served = np.flatnonzero(program.active != number)  # idle while the response leaves
    stuck = np.flatnonzero(slots.stuck)
    index, response = np.repeat(stuck, len(served)), np.tile(served, len(stuck))
    own = size - 1 - slots.row[index]
    here = Met(index, response, own, own + 1)
    sums = program.toggles[response] & (response > 0)
    summed, rested = here.take(sums), here.take(~sums)
    slots.add(summed, Place(Kind.accumulator, At.every, REGISTER), _column(slots, summed), 1)
    _add_sum(slots, rested, program.terms[rested.response])
    _add_start(slots, summed, at_rest=True)
    _add_out(slots, Met(index, response, own + 1, own * 0 + size), REGISTER)
    # Start values pass that were loaded, one element at a time because they may be clipped.
    loaded = np.flatnonzero(program.loaded[response] >= 0)
    again, at = repeated(own[loaded])
    i = loaded[again]
    _add_start(slots, Met(index[i], response[i], at, at + 1), at_rest=False)


def _add_sum(slots: Slots, met: Met, after: Ints) -> None:
    """Sums in a register, after so many terms each."""
    columns = _column(slots, met) | {"after": after, "segment": met.index * 0}
    slots.add(met, Place(Kind.accumulator, At.after, REGISTER), columns, 1)


def _add_out(slots: Slots, met: Met, bits: int) -> None:
    met = met.take(met.first < met.last)
    level = 2 * slots.row[met.index] + (bits == REGISTER)
    slots.add(met, Place(Kind.accumulator, At.out, bits), _column(slots, met), level)


def _add_start(slots: Slots, met: Met, *, at_rest: bool) -> None:
    """Start values in a register; beyond the upper bits they are clipped when they move on."""
    level = 2 * slots.row[met.index] + 1
    place = Place(Kind.accumulator, At.load, REGISTER)
    if at_rest:
        slots.add(met, place, _column(slots, met), level)
        return
    upper = slots.bit[met.index] >= SUM - 1
    slots.add(met.take(~upper), place, _column(slots, met.take(~upper)), level[~upper])
    met = met.take(upper)
    golden = np.array([slots.program.start(p) for p in range(slots.program.requests)])
    value = golden[met.response, met.first, slots.col[met.index]]
    moved = _clipped(value, slots, met.index)
    columns = _column(slots, met) | {"op": np.full(len(value), Op.replace), "value": moved}
    slots.add(met, place, columns, level[upper])


def _clipped(value: Ints, slots: Slots, index: Ints) -> Ints:
    """What a start value is one row further down, after a bit of the register was wrong."""
    mask = np.int64(1) << slots.bit[index]
    pattern = value & ((1 << REGISTER) - 1)
    wrong = np.select(
        [~slots.stuck[index], slots.high[index]], [pattern ^ mask, pattern | mask], pattern & ~mask
    )
    register, sums = NumberFormat(REGISTER), NumberFormat(SUM)
    return sums.fit(register.decode(wrong))


# --------------------------------------------------------------------------------------------- d


def _strike_d(slots: Slots) -> None:
    """The register between the rows, which passes results out and start values in."""
    program, size = slots.program, slots.program.rows
    row, request, slot = slots.row, slots.request, slots.slot
    flip = ~slots.stuck & (request >= 0) & (request < program.requests) & (slot < size)
    i = np.flatnonzero(flip & (row > slot))
    at = size - row[i] + slot[i]
    _add_out(slots, Met(i, request[i], at, at + 1), SUM)
    loads = _loads(program)[np.clip(request, 0, program.requests - 1)]
    i = np.flatnonzero(flip & (row <= slot) & (loads < program.requests))
    at = slot[i] - row[i]
    entering = [Met(i, loads[i], at, at + 1)]
    responses = np.arange(program.requests)
    stuck = np.flatnonzero(slots.stuck)
    index, response = np.repeat(stuck, len(responses)), np.tile(responses, len(stuck))
    _add_out(slots, Met(index, response, size - row[index], index * 0 + size), SUM)
    loaded = Met(index, response, index * 0, size - row[index])
    entering.append(loaded.take(program.loaded[response] >= 0))
    for met in entering:
        first = slots.row[met.index] == 0
        for some, bits in ((first, PORT), (~first, SUM)):
            here = met.take(some)
            level = 2 * slots.row[here.index]
            slots.add(here, Place(Kind.accumulator, At.load, bits), _column(slots, here), level)


def _column(slots: Slots, met: Met) -> dict[str, Ints]:
    return {"n": single(slots.col[met.index])}


def refuse_clipped_twice(table: NDArray[np.void]) -> None:
    """Refuse values that are clipped between two faults on their way in or out of the mesh.

    Raises:
        UnsupportedError: A trial wants that.
    """
    ways = table[np.isin(table["at"], (At.load, At.out))]
    upper = (ways["bits"] == REGISTER) & (ways["mask"] >= 1 << (SUM - 1))
    key = np.stack([ways["trial"], ways["layer"], ways["n"][:, 0], ways["at"]], axis=1)
    suspects = {tuple(row) for row in key[upper].tolist()}
    for suspect in suspects:
        same = ways[(key == suspect).all(axis=1)]
        is_upper = (same["bits"] == REGISTER) & (same["mask"] >= 1 << (SUM - 1))
        for i in np.flatnonzero(is_upper):
            start = np.maximum(same["m"][:, 0], same["m"][i, 0])
            stop = np.minimum(same["m"][:, 1], same["m"][i, 1])
            if (start < stop).sum() > 1:
                raise UnsupportedError(
                    f"trial {suspect[0]}: a bit above {SUM - 2} of c1 or c2 and another fault on "
                    "the same value's way through the mesh: it is clipped in between, which is "
                    "not modelled"
                )
