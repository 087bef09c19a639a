"""The wires between memories and the generic array, and what faults on them touch.

Each *lane* of a bus carries one word a cycle. What is wrong is what goes over a lane in the cycles
of the fault's window, and nothing before or after: a wire holds nothing, so a flip is a pulse of
one cycle. With t, r and c as in `accelerators.systolic.schedule`:

- The operand that rests (weights, input stationary: inputs) enters on a lane a column, in the
  cycles in which a tile is loaded: lane c carries the operand of row q at ``t = H - 1 - q``.
- An operand that streams enters on a lane a row, in the cycle in which its register in column 0
  takes it (output stationary, weights: a lane a column, the register in row 0).
- ``sum_bus`` carries what leaves the array to psum_sram, on a lane a column, in the cycle in which
  it is added there: ``t = 2H - 1 + m + c``, output stationary ``t = K + r + c``.

An operand that goes over a wire once and is then used many times is wrong in all these uses. A dead
lane carries zeros, whatever else is wrong on it. The zeros of the padding go over the wires too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.systolic.effects import EffectRows, Place, Struck, repeated
from accelerators.systolic.hits import Hits, Strike
from accelerators.systolic.lines import Reach
from accelerators.systolic.registers import Operand, Widths
from accelerators.systolic.schedule import LayerPlan, Pieces, Schedule
from accelerators.systolic.store import WIRE_LEVEL
from codesign.accelerator import Component, Unit
from codesign.effects import At, Kind

if TYPE_CHECKING:
    from accelerators.systolic.family import Systolic

__all__ = ["BUSES", "bus_units", "strike_bus"]

BUSES = ("weight_bus", "activation_bus", "sum_bus")

Ints: TypeAlias = NDArray[np.int64]


def bus_units(sheet: Systolic) -> tuple[Unit, ...]:
    """The buses of a generic array, one instance a lane."""
    turned = sheet.dataflow == "input_stationary"
    lanes = (
        (sheet.rows if turned else sheet.cols, Component("wire", sheet.weight_bits, "link")),
        (
            sheet.cols if turned else sheet.rows,
            Component("wire", sheet.input_bits, "link", signed=False),
        ),
        (sheet.cols, Component("wire", sheet.psum_bits, "link")),
    )
    return tuple(
        Unit(name, "link", (count,), (wire,))
        for name, (count, wire) in zip(BUSES, lanes, strict=True)
    )


def strike_bus(
    unit: str,
    schedule: Schedule,
    faults: Struck,
    widths: Widths,
    inferences: int,
    rows: EffectRows,
    *,
    dead: bool,
) -> None:
    """Add to ``rows`` what faults on the wires of a bus (or its dead lanes) touch."""
    if unit == "sum_bus":
        _add_sums(schedule, faults, widths, inferences, rows, dead=dead)
        return
    operand: Operand = "weight" if unit == "weight_bus" else "input"
    bits = widths.weight if operand == "weight" else widths.input
    for hits, which in _operands(schedule, operand, faults, inferences):
        signed = operand == "weight" or widths.signed_inputs[hits.plan.name]
        where = {"layer": hits.plan.index, "samples": hits.samples, **hits.boxes}
        rows.add_(which, Place(Kind.operand, At[operand], bits, signed), where, WIRE_LEVEL + dead)


def _operands(
    schedule: Schedule, operand: Operand, faults: Struck, inferences: int
) -> Iterator[tuple[Hits, Ints]]:
    """What enters the array on a lane, and the faults that meet it."""
    width = schedule.cols.count
    across = operand == schedule.held or (operand == "weight" and not schedule.held)
    struck = faults if across else replace(faults, instance=faults.instance * width)
    strike = Strike(schedule, struck, inferences)
    found = _loaded(strike) if operand == schedule.held else _streamed(strike, down=across)
    for hits in found:
        yield hits, faults.which[hits.which]


def _streamed(strike: Strike, *, down: bool) -> Iterator[Hits]:
    """Operands on their way into the first register of a row (of a column: ``down``)."""
    windows = strike.windows(strike.row + strike.col + strike.schedule.layers[0].timing.first)
    rows: Reach = "from" if down else "at"
    cols: Reach = "at" if down else "from"
    yield from strike.everywhere(windows, rows, cols)
    for plan, pieces in strike.pieces(windows):
        yield strike.in_folds(plan, pieces, rows, cols)


def _loaded(strike: Strike) -> Iterator[Hits]:
    """Resting operands on their way into a column, last row first."""
    windows = strike.windows(0)
    yield from strike.everywhere(windows, "any", "at")
    for plan, pieces in strike.pieces(windows):
        some, row = _entering(strike, plan, pieces)
        yield strike.in_folds(plan, some, "at", "at", row)


def _entering(strike: Strike, plan: LayerPlan, pieces: Pieces) -> tuple[Pieces, Ints]:
    """Row q's operand is on the wire at t = H - 1 - q."""
    last = strike.schedule.rows.count - 1
    low, high = np.maximum(last - pieces.stop + 1, 0), last - pieces.start
    piece, step = repeated(np.maximum(high - low + 1, 0))
    some = pieces.take(piece)
    start = np.zeros(len(piece), dtype=np.int64)
    return replace(some, start=start, stop=start + plan.stream), low[piece] + step


def _add_sums(
    schedule: Schedule,
    faults: Struck,
    widths: Widths,
    inferences: int,
    rows: EffectRows,
    *,
    dead: bool,
) -> None:
    """Sums on their way out."""
    place = Place(Kind.accumulator, At.out, widths.psum)
    level = 2 * schedule.rows.count + dead  # behind every register that a sum passes
    found = _passing_out if schedule.held else _resting_out
    for hits, which, segment in found(schedule, faults, inferences):
        where = {"layer": hits.plan.index, "samples": hits.samples, "segment": segment}
        rows.add_(which, place, where | hits.boxes, level)


def _passing_out(
    schedule: Schedule, faults: Struck, inferences: int
) -> Iterator[tuple[Hits, Ints, Ints | int]]:
    """Sums that leave the last row of a column, one position after the other."""
    strike = Strike(schedule, faults, inferences)
    delay = schedule.layers[0].timing.first + schedule.rows.count + strike.col
    windows = strike.windows(delay)
    for hits in strike.everywhere(windows, "any", "at"):
        yield hits, faults.which[hits.which], -1
    for plan, pieces in strike.pieces(windows):
        hits = strike.in_folds(plan, pieces, "any", "at")
        yield hits, faults.which[hits.which], hits.row_tile


def _resting_out(
    schedule: Schedule, faults: Struck, inferences: int
) -> Iterator[tuple[Hits, Ints, Ints | int]]:
    """Output stationary: the elements of a column hand their sums over one after the other."""
    height, width = schedule.rows.count, schedule.cols.count
    each = np.repeat(np.arange(len(faults)), height)
    row = np.tile(np.arange(height), len(faults))
    spread = faults.take(each)
    strike = Strike(schedule, replace(spread, instance=row * width + spread.instance), inferences)
    windows = strike.windows(strike.row + strike.col + 1)
    for hits in strike.everywhere(windows, "at", "at"):
        yield hits, spread.which[hits.which], -1
    for plan, pieces in strike.pieces(windows):
        last = plan.stream - 1
        taken = pieces.take(np.flatnonzero((pieces.start <= last) & (pieces.stop > last)))
        hits = strike.in_folds(plan, replace(taken, stop=taken.start + 1), "at", "at")
        hits = hits.without("k")
        yield hits, spread.which[hits.which], 0
