"""What faults in the processing elements touch: registers, products and sums of the generic array.

The closed forms follow from the cycles in `accelerators.systolic.schedule`. Everything but a
resting (*held*) operand moves one PE a cycle, so a component of the PE in row r and column c meets
the streamed position s of a fold at a delay that depends on r + c alone. Subtracting that delay
from hardware time makes all PEs alike, and the position is then the cycle within the fold.

A bit that is stuck for a while stays wrong in a register until the register is written again.
A dead PE multiplies to zero; what flows through it flows on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.systolic.effects import EffectRows, Place, Windows, repeated
from accelerators.systolic.hits import Hits, Strike
from accelerators.systolic.lines import Reach
from accelerators.systolic.schedule import LayerPlan, Pieces
from accelerators.systolic.store import REGISTER_LEVEL
from codesign.effects import At, Kind

__all__ = ["Widths", "strike_array"]

Ints: TypeAlias = NDArray[np.int64]
Operand: TypeAlias = Literal["weight", "input"]


@dataclass(frozen=True)
class Widths:
    """Widths of a processing element's parts, in bits.

    Attributes:
        weight, input, psum: Of the registers; weights and sums are two's complement.
        signed_inputs: By layer name, whether input codes are two's complement.
    """

    weight: int
    input: int
    psum: int
    signed_inputs: dict[str, bool]


def strike_array(component: str, strike: Strike, widths: Widths, rows: EffectRows) -> None:
    """Add to ``rows`` what faults of one component (``*``: dead PEs) touch."""
    if component in ("product", "*"):
        _add_products(strike, widths, rows, dead=component == "*")
    elif component in ("mac_out", "psum_register"):
        _add_sums(strike, widths, rows, late=int(component == "psum_register"))
    else:
        _add_operands(strike, widths, rows, "weight" if component == "weight_register" else "input")


def _add(
    rows: EffectRows,
    strike: Strike,
    hits: Hits,
    place: Place,
    level: Ints | int,
    **columns: Ints | int,
) -> None:
    where = {"layer": hits.plan.index, "samples": hits.samples, **hits.boxes, **columns}
    rows.add_(strike.struck.which[hits.which], place, where, level)


def _delay(strike: Strike) -> Ints:
    """Cycles from a fold's first until its first position is multiplied in the PEs struck."""
    return strike.row + strike.col + strike.schedule.layers[0].timing.first


# ------------------------------------------------------------------------------ operands and terms


def _add_products(strike: Strike, widths: Widths, rows: EffectRows, *, dead: bool) -> None:
    """The multiplier's output, or zero instead of it."""
    place = Place(Kind.term, At.product, widths.weight + widths.input)
    for hits in _met(strike, "at", "at"):
        _add(rows, strike, hits, place, int(dead))


def _add_operands(strike: Strike, widths: Widths, rows: EffectRows, operand: Operand) -> None:
    """A register that operands rest in, or pass on their way to the PEs behind it."""
    bits = widths.weight if operand == "weight" else widths.input
    if operand == strike.schedule.held:
        found, station = _held(strike), strike.row
    elif operand == "weight" and not strike.schedule.held:
        found, station = _met(strike, "from", "at"), strike.row
    else:
        found, station = _met(strike, "at", "from"), strike.col
    for hits in found:
        signed = operand == "weight" or widths.signed_inputs[hits.plan.name]
        place = Place(Kind.operand, At[operand], bits, signed)
        _add(rows, strike, hits, place, REGISTER_LEVEL + station[hits.which])


def _met(strike: Strike, row_reach: Reach, col_reach: Reach) -> Iterator[Hits]:
    """What a part meets that sees one position of the stream each cycle."""
    windows = strike.windows(_delay(strike))
    yield from strike.everywhere(windows, row_reach, col_reach)
    for plan, pieces in strike.pieces(windows):
        yield strike.in_folds(plan, pieces, row_reach, col_reach)


def _held(strike: Strike) -> Iterator[Hits]:
    """What a register meets in which an operand rests after those of the rows below passed."""
    windows = strike.windows(0)
    yield from strike.everywhere(windows, "from", "at")
    for plan, pieces in strike.pieces(windows):
        for some, rows in (_passing(strike, plan, pieces), _resting(strike, plan, pieces)):
            yield strike.in_folds(plan, some, "at", "at", rows)


def _passing(strike: Strike, plan: LayerPlan, pieces: Pieces) -> tuple[Pieces, Ints]:
    """While a tile is loaded, row q's operand stands in row r < q at t = H - 1 - q + r."""
    last = strike.schedule.rows.count - 1
    row = strike.row[pieces.which]
    low = np.maximum(row + 1, last + row - pieces.stop + 1)
    high = np.minimum(last, last + row - pieces.start)
    piece, step = repeated(np.maximum(high - low + 1, 0))
    some = pieces.take(piece)
    start = np.zeros(len(piece), dtype=np.int64)
    return replace(some, start=start, stop=start + plan.stream), low[piece] + step


def _resting(strike: Strike, plan: LayerPlan, pieces: Pieces) -> tuple[Pieces, Ints]:
    """From t = H - 1 on the row's own operand stands there, multiplied one position a cycle."""
    last = strike.schedule.rows.count - 1
    row, col = strike.row[pieces.which], strike.col[pieces.which]
    first = np.maximum(pieces.start - last - row - col, 0)
    stop = np.where(pieces.stop > last, plan.stream, 0)
    return replace(pieces, start=first, stop=stop), row


# --------------------------------------------------------------------------------------- sums


def _add_sums(strike: Strike, widths: Widths, rows: EffectRows, late: int) -> None:
    """The adder's output or, a cycle later, the register behind it."""
    windows = strike.windows(_delay(strike) + late)
    if not strike.schedule.held:
        for hits, at, after in _resting_sums(strike, windows):
            place = Place(Kind.accumulator, at, widths.psum)
            every = -1 if at is At.every else 0
            _add(rows, strike, hits, place, late, segment=every, after=after)
        return
    for hits, segment in _passing_sums(strike, windows):
        summed, used = _summed(strike, hits), hits.plan.rows.used(hits.row_tile)
        level = 2 * strike.row + late
        for at, met in (
            (At.load, summed == 0),
            (At.after, (summed > 0) & (summed < used)),
            (At.out, summed == used),
        ):
            i = np.flatnonzero(met)
            some = hits.take(i)
            after = summed[i] * (at is At.after)
            place = Place(Kind.accumulator, at, widths.psum)
            _add(rows, strike, some, place, level[some.which], segment=segment[i], after=after)


def _passing_sums(strike: Strike, windows: Windows) -> Iterator[tuple[Hits, Ints]]:
    """Sums on their way down, with the segment they belong to; -1: in all at the same place."""
    for hits in strike.everywhere(windows, "any", "at"):
        tiles = hits.plan.rows.tiles
        spread = hits.take(np.repeat(np.arange(len(hits.which)), tiles))
        spread = replace(spread, row_tile=np.tile(np.arange(tiles), len(hits.which)))
        summed = _summed(strike, spread)
        ends = (summed == 0, summed == hits.plan.rows.used(spread.row_tile))
        alike = np.any([end.reshape(-1, tiles).all(axis=1) for end in ends], axis=0)
        once = np.flatnonzero(alike)
        yield spread.take(once * tiles), np.full(len(once), -1)
        several = np.flatnonzero(np.repeat(~alike, tiles))
        yield spread.take(several), spread.row_tile[several]
    for plan, pieces in strike.pieces(windows):
        hits = strike.in_folds(plan, pieces, "any", "at")
        yield hits, hits.row_tile


def _summed(strike: Strike, hits: Hits) -> Ints:
    """``[hits]`` terms in a sum that has passed the row struck."""
    tiling, lines = hits.plan.rows, strike.schedule.rows
    row = strike.row[hits.which]
    last = hits.row_tile == tiling.tiles - 1
    return np.where(last, lines.passed(tiling.last)[row], lines.passed(tiling.width)[row])


def _resting_sums(strike: Strike, windows: Windows) -> Iterator[tuple[Hits, At, Ints]]:
    """Sums that stay in their PE: after every term, or after each term of a window."""
    for hits in strike.everywhere(windows, "at", "at"):
        yield hits, At.every, np.zeros(len(hits.which), dtype=np.int64)
    for plan, pieces in strike.pieces(windows):
        piece, step = repeated(np.maximum(np.minimum(pieces.stop, plan.stream) - pieces.start, 0))
        term = pieces.start[piece] + step
        one_by_one = replace(pieces.take(piece), start=term, stop=term + 1)
        hits = strike.in_folds(plan, one_by_one, "at", "at")
        yield hits.without("k"), At.after, hits.first + 1
