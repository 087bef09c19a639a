"""A network on Gemmini's mesh, weight stationary: what faults in its registers and nets touch.

The datapath is that of `gemmini.program`; a fold of a tile is a run of requests, each of R
positions and a bubble, of which the first toggles. Every tile is loaded by the last request before
its fold; before the first fold of an inference stands one request that does nothing else, and that
toggles as well if the number of folds is odd, so that every inference begins alike. B is zero: the
passes over K and the bias are added up in psum_sram. With t counted from a fold's first cycle, PE
(r, c) meets position m at ``t = m + m // R + r + c``, and the weight of row q enters row 0 of
column c at ``t = -2 - q + c``.

Rows without a term are not switched off. Their weights and inputs are zeros, so one wrong operand
is multiplied by zero; a product that is stuck or flips is added to what passes. A trial in which a
wrong weight and a wrong input would meet there is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.systolic.effects import EffectRows, Place, repeated
from accelerators.systolic.hits import Hits, Strike
from accelerators.systolic.lines import Reach
from accelerators.systolic.schedule import LayerPlan, Pieces, Schedule
from accelerators.systolic.store import REGISTER_LEVEL
from codesign.effects import At, Kind, Op
from codesign.errors import UnsupportedError

__all__ = ["active_register", "refuse_meetings", "strike_mesh"]

Ints: TypeAlias = NDArray[np.int64]

OPERAND, SUM = 8, 20
# On a sum's way past a row; what is added to it makes it wrap before mac_out.
STATIONS = {"b": 0, "out_b": 0, "product": 1, "wrap": 2, "mac_out": 3}


def strike_mesh(component: str, strike: Strike, rows: EffectRows) -> None:
    """Add to ``rows`` what faults of one component of the mesh touch.

    Faults of out_b and out_c stand in a row below the last.
    """
    if component == "a":
        place = Place(Kind.operand, At.input, OPERAND)
        for hits in _met(strike, "at", "from"):
            _add(rows, strike, hits, place, REGISTER_LEVEL + strike.col[hits.which])
    elif component in ("c1", "c2", "d"):
        place = Place(Kind.operand, At.weight, OPERAND)
        level = REGISTER_LEVEL + 2 * strike.row + (component != "d")
        low = np.flatnonzero(strike.struck.bit < OPERAND)
        some = replace(strike, struck=strike.struck.take(low))
        for hits in _weights(some, component):
            _add(rows, some, hits, place, level[low][hits.which])
    elif component == "product":
        for hits in _met(strike, "at", "at"):
            _add(rows, strike, hits, Place(Kind.term, At.product, 2 * OPERAND), 0)
        _add_idle_products(strike, rows)
    elif component != "out_c":
        for hits, segment in _sums(strike, component):
            _add_sums(rows, strike, hits, segment, component, STATIONS[component])


def active_register(schedule: Schedule) -> Ints:
    """``[entries of Schedule.starts]`` 1 or 2; entry 0 is the request before the first fold."""
    entries = np.arange(len(schedule.starts))
    return 1 + (len(schedule.starts) - 1 + entries) % 2


def refuse_meetings(table: NDArray[np.void], parts: dict[int, str], schedule: Schedule) -> None:
    """Refuse trials in which a wrong weight and a wrong input can meet in a row without a term.

    Args:
        table: Of faults.
        parts: Component of the mesh by part number.
        schedule: Of the network.

    Raises:
        UnsupportedError: There is one.
    """
    logical = schedule.rows.logical
    last = min(plan.rows.last for plan in schedule.layers)
    idle = (logical < 0) | (logical >= last)
    names = np.array([parts.get(int(part), "") for part in table["part"]])
    row, col = np.divmod(table["instance"], schedule.cols.count)
    inputs = np.flatnonzero((names == "a") & idle[np.minimum(row, len(idle) - 1)])
    weights = np.isin(names, ("c1", "c2", "d")) & (table["bit"] < OPERAND)
    for i in inputs:
        same = weights & (table["trial"] == table["trial"][i])
        if (same & (row <= row[i]) & (col >= col[i])).any():
            raise UnsupportedError(
                f"trial {table['trial'][i]}: a wrong input in row {row[i]}, which some layer "
                "leaves without a term, can meet a wrong weight there; that is not modelled"
            )


def _add(
    rows: EffectRows,
    strike: Strike,
    hits: Hits,
    place: Place,
    level: Ints | int,
    **more: Ints | int,
) -> None:
    columns = {"layer": hits.plan.index, "samples": hits.samples, **hits.boxes, **more}
    rows.add_(strike.struck.which[hits.which], place, columns, level)


def _met(strike: Strike, row_reach: Reach, col_reach: Reach) -> Iterator[Hits]:
    """What a part meets that sees one slot each cycle."""
    windows = strike.windows(strike.row + strike.col)
    yield from strike.everywhere(windows, row_reach, col_reach)
    for plan, pieces in strike.pieces(windows):
        yield strike.in_folds(plan, _positions(plan, pieces), row_reach, col_reach)


def _positions(plan: LayerPlan, pieces: Pieces) -> Pieces:
    """The slots of pieces as positions."""
    before = plan.timing.positions_before
    return replace(pieces, start=before(pieces.start), stop=before(pieces.stop))


# ----------------------------------------------------------------------------------------- sums


def _sums(strike: Strike, component: str = "") -> Iterator[tuple[Hits, Ints]]:
    """Sums that pass, pass by pass over K, with their segment.

    With a component given, -1 for all segments at once where its place is the same in all.
    """
    windows = strike.windows(strike.row + strike.col)
    for hits in strike.everywhere(windows, "any", "at"):
        tiles = hits.plan.rows.tiles
        spread = hits.take(np.repeat(np.arange(len(hits.which)), tiles))
        tile = np.tile(np.arange(tiles), len(hits.which))
        spread = replace(spread, row_tile=tile)
        alike = np.zeros(len(hits.which), dtype=bool)
        if component:
            summed, used = _summed(strike, spread, component)
            ends = (summed == 0, summed == used)
            alike = np.any([end.reshape(-1, tiles).all(axis=1) for end in ends], axis=0)
        once = np.flatnonzero(alike)
        yield spread.take(once * tiles), np.full(len(once), -1)
        several = np.flatnonzero(np.repeat(~alike, tiles))
        yield spread.take(several), tile[several]
    for plan, pieces in strike.pieces(windows):
        hits = strike.in_folds(plan, _positions(plan, pieces), "any", "at")
        yield hits, hits.row_tile


def _summed(strike: Strike, hits: Hits, component: str) -> tuple[Ints, Ints]:
    """(terms in a sum where a component stands, terms of the pass)."""
    row = strike.row[hits.which] + (component == "mac_out")  # rows that were summed
    tiling, lines = hits.plan.rows, strike.schedule.rows
    full, last = (np.append(0, lines.passed(n)) for n in (tiling.width, tiling.last))
    is_last = hits.row_tile == tiling.tiles - 1
    return np.where(is_last, last[row], full[row]), tiling.used(hits.row_tile)


def _add_sums(
    rows: EffectRows,
    strike: Strike,
    hits: Hits,
    segment: Ints,
    component: str,
    station: int,
    **more: Ints,
) -> None:
    """Corrupt sums above a row (b, and out_b below the last), in it, or behind it."""
    row = strike.row[hits.which]
    summed, used = _summed(strike, hits, component)
    entering = (row == 0) & (component == "b")  # 8 bits, and the sign above them
    exists = ~entering | (strike.struck.bit[hits.which] < OPERAND)
    for at, met in (
        (At.load, summed == 0),
        (At.after, (summed > 0) & (summed < used)),
        (At.out, summed == used),
    ):
        for bits, some in ((OPERAND, met & exists & entering), (SUM, met & exists & ~entering)):
            i = np.flatnonzero(some)
            columns = {"segment": segment[i], "after": summed[i] * (at is At.after)}
            columns |= {name: value[i] for name, value in more.items()}
            place = Place(Kind.accumulator, at, bits)
            _add(rows, strike, hits.take(i), place, 4 * row[i] + station, **columns)


def _add_idle_products(strike: Strike, rows: EffectRows) -> None:
    """Products of rows without a term: what is wrong in them is added to the sum that passes."""
    weight = np.int64(1) << strike.struck.bit
    weight = np.where(strike.struck.bit == 2 * OPERAND - 1, -weight, weight)
    adds = rows.flips(strike.struck.which) | rows.stuck_high(strike.struck.which)
    logical = strike.schedule.rows.logical[strike.row]
    for hits, segment in _sums(strike):
        line = logical[hits.which]
        idle = (line < 0) | (line >= hits.plan.rows.used(hits.row_tile))
        i = np.flatnonzero(idle & adds[hits.which])
        some, where = hits.take(i), segment[i]
        add = {"op": np.full(len(i), int(Op.add)), "value": weight[some.which]}
        _add_sums(rows, strike, some, where, "product", STATIONS["product"], **add)
        # Two flips of one bit change nothing but wrap the sum to its 20 bits.
        wrap = {"op": np.full(len(i), int(Op.xor)), "mask": np.ones(len(i), dtype=np.int64)}
        for _ in range(2):
            _add_sums(rows, strike, some, where, "product", STATIONS["wrap"], **wrap)


# -------------------------------------------------------------------------------------- weights


def _weights(strike: Strike, component: str) -> Iterator[Hits]:
    """Weights that rest in the active register, or pass on their way to rows below."""
    number = 0 if component == "d" else int(component[1])
    windows = strike.windows(strike.row + strike.col)
    samples = np.zeros((len(strike.struck), 2), dtype=np.int64)
    samples[windows.whole] = windows.samples
    for plan, pieces in _all_folds(strike.schedule, windows.whole, number):
        hits = strike.in_folds(plan, pieces, "from", "at")
        yield replace(hits, samples=samples[hits.which])
    found = strike.schedule.pieces(windows.start, windows.stop)
    found = replace(found, which=windows.part[found.which])
    for pieces, row in (_at_rest(strike, found, number), _passing(strike, found, number)):
        for layer in np.unique(pieces.layer):
            mine = np.flatnonzero(pieces.layer == layer)
            plan = strike.schedule.layers[layer]
            yield strike.in_folds(plan, pieces.take(mine), "at", "at", row[mine])


def _entry(schedule: Schedule, pieces: Pieces) -> Ints:
    """Entry of `Schedule.starts` of each piece."""
    firsts = np.cumsum([0] + [plan.folds for plan in schedule.layers])
    return np.where(pieces.layer < 0, 0, 1 + firsts[np.maximum(pieces.layer, 0)] + pieces.fold)


def _all_folds(schedule: Schedule, which: Ints, number: int) -> Iterator[tuple[LayerPlan, Pieces]]:
    """Whole folds whose tile stands in a register (0: in any), for each of some faults."""
    active = active_register(schedule)
    for layer, plan in enumerate(schedule.layers):
        mine = (schedule.owners[:, 0] == layer) & ((active == number) | (number == 0))
        folds = schedule.owners[mine, 1]
        fault, fold = np.repeat(which, len(folds)), np.tile(folds, len(which))
        none = np.zeros(len(fault), dtype=np.int64)
        yield plan, Pieces(fault, none, none + layer, fold, none, none + plan.stream)


def _at_rest(strike: Strike, found: Pieces, number: int) -> tuple[Pieces, Ints]:
    """The active register: positions that are still to come in the fold."""
    active = active_register(strike.schedule)[_entry(strike.schedule, found)]
    some = found.take(np.flatnonzero((active == number) & (found.layer >= 0)))
    timing = strike.schedule.layers[0].timing
    stream = np.array([plan.stream for plan in strike.schedule.layers], dtype=np.int64)
    first = timing.positions_before(some.start)
    return replace(some, start=first, stop=stream[some.layer]), strike.row[some.which]


def _passing(strike: Strike, found: Pieces, number: int) -> tuple[Pieces, Ints]:
    """The idle register, or d: the tile of the next fold, in the last request before it."""
    schedule, size = strike.schedule, strike.schedule.rows.count
    entry = _entry(schedule, found)
    lengths = np.diff(np.append(schedule.starts, schedule.cycles))
    idle = (active_register(schedule)[entry] != number) | (number == 0)
    some = np.flatnonzero(idle & (entry + 1 < len(schedule.starts)))
    found, entry = found.take(some), entry[some]
    # Slot j of that request: d carries the weight of row R - 1 - (j - r), the register R - (j - r).
    late = size - 1 if number == 0 else size
    row = strike.row[found.which]
    into = lengths[entry] - (size + 1)
    high = np.minimum(size - 1, late + row - np.maximum(found.start - into, 0))
    low = np.maximum(row, late + row - (found.stop - 1 - into))
    piece, step = repeated(np.maximum(high - low + 1, 0))
    owner = schedule.owners[entry[piece] + 1]
    stream = np.array([plan.stream for plan in schedule.layers], dtype=np.int64)
    some_pieces = replace(
        found.take(piece),
        layer=owner[:, 0],
        fold=owner[:, 1],
        start=np.zeros(len(piece), dtype=np.int64),
        stop=stream[owner[:, 0]],
    )
    return some_pieces, low[piece] + step
