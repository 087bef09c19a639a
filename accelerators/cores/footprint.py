"""What faults in cores touch: which terms, sums, neurons and spikes, at which steps.

One function a component. Each goes over the runs of the schedule (what a core does for one group of
neurons), never over faults: all faults of a core are taken together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelerators.cores.currents import strike_currents
from accelerators.cores.graph import OPERATIONS
from accelerators.cores.packets import HANDLERS
from accelerators.cores.rows import Box, EffectRows, Place, Span, Struck, each
from accelerators.cores.schedule import Run, Schedule, Tile
from accelerators.cores.times import Clock
from codesign.effects import At, Effects, Kind
from codesign.errors import UnsupportedError
from codesign.faults import FaultModel, Faults
from codesign.formats import NumberFormat
from codesign.mapping import Footprint
from codesign.network import Layer, Lif

if TYPE_CHECKING:
    from accelerators.cores.mapping import CoresMapping

__all__ = ["footprint_of"]

Ints = NDArray[np.int64]

# Where faults stand on a weight's or input's way, in order; packets are before registers.
MEMORY, MEMORY_DEAD, REGISTER, DEAD = 0, 1, 3, 4


def footprint_of(mapping: CoresMapping, faults: Faults, inferences: int) -> Footprint:
    """Effects of faults; see `codesign.mapping.Mapping.footprint`."""
    chip = mapping.accelerator
    faults.check(chip)
    clock = Clock.of(mapping.schedule, inferences)
    rows = EffectRows(faults.table, clock)
    first = clock.absolute(faults.table["first"])
    last = clock.absolute(faults.table["last"], end=True)
    parts = chip.components()
    for part in faults.parts():
        index = np.flatnonzero(faults.table["part"] == part)
        unit = parts[part][0] if part >= 0 else chip.units[-1 - part]
        name = parts[part][1].name if part >= 0 else "*"
        form = None
        if part >= 0 and parts[part][1].role != "operation":
            form = NumberFormat(parts[part][1].bits, parts[part][1].signed)
        struck = _struck(faults.table, index, unit.shape, first, last, form)
        _HANDLERS[unit.name, name](mapping, struck, rows)
    counts = np.bincount(faults.table["trial"], minlength=faults.trials)
    idle = np.bincount(faults.table["trial"][~rows.touched], minlength=faults.trials)
    effects = Effects(rows.finish(), faults.trials)
    return Footprint(effects, counts.astype(np.int64), idle.astype(np.int64))


def _struck(
    table: NDArray[np.void],
    index: Ints,
    shape: tuple[int, ...],
    first: Ints,
    last: Ints,
    form: NumberFormat | None,
) -> Struck:
    """The faults of one component."""
    mine = table[index]
    start = first[index]
    end = np.where(mine["model"] == FaultModel.flip, start + 1, last[index])
    instance = np.stack(np.unravel_index(mine["instance"], shape), axis=1)
    bit = mine["bit"].astype(np.int64)
    return Struck(index, instance, mine["word"], bit, mine["model"], start, end, form)


# ------------------------------------------------------------------------------------- when it acts


def _held(clock: Clock, struck: Struck, read: Ints | int, write: Ints | int) -> Span:
    """Reads of what is written anew before each read."""
    return Span(clock.number(struck.first, read), clock.number(struck.last - 1, write))


def _kept(clock: Clock, struck: Struck, read: Ints | int) -> Span:
    """Reads of what is never written again."""
    return Span(clock.number(struck.first, read), np.full(len(struck), clock.repetitions))


def _during(clock: Clock, struck: Struck, at: Ints | int) -> Span:
    """Uses of what is broken in its window only."""
    return Span(clock.number(struck.first, at), clock.number(struck.last, at))


def _copied(clock: Clock, struck: Struck) -> Span:
    """All reads of resident weights, for faults that are there when they are copied."""
    there = np.where(struck.first == 0, 0, clock.repetitions)
    return Span(there, np.full(len(struck), clock.repetitions))


# ------------------------------------------------------------------------------------------ weights


def _weight_register(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for run, mine in _on_runs(mapping.schedule, struck):
        column = run.column_at(mapping.sheet.columns)[mine.instance[:, 2]]
        for tile in run.tiles:
            row = mapping.schedule.room.row_at(mapping.sheet.axons)[mine.instance[:, 1]]
            _on_weights(mapping, run, tile, mine, row, column, rows)


def _on_weights(
    mapping: CoresMapping,
    run: Run,
    tile: Tile,
    struck: Struck,
    row: Ints,
    column: Ints,
    rows: EffectRows,
) -> None:
    """Faults of crosspoints (row, column) of a tile, -1 for none."""
    synapse = _synapse(run, tile, row, column)
    struck, row, column = struck.take(synapse), row[synapse], column[synapse]
    read = tile.integrate + row
    if struck.form is None:
        span, stage = _during(rows.clock, struck, read), DEAD
    elif mapping.schedule.resident:
        span, stage = _kept(rows.clock, struck, read), REGISTER
    else:
        span, stage = _held(rows.clock, struck, read, tile.load + row), REGISTER
    _add_weights(run, tile, struck, row, column, span, stage, rows)


def _weights(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for run, mine in _on_runs(mapping.schedule, struck):
        for tile in run.tiles:
            row, column = np.divmod(mine.word - tile.base, run.width)
            synapse = _synapse(run, tile, row, column)
            here, row, column = mine.take(synapse), row[synapse], column[synapse]
            if mapping.schedule.resident:
                span = _copied(rows.clock, here)
            else:
                span = _kept(rows.clock, here, tile.load + row)
            _add_weights(run, tile, here, row, column, span, MEMORY, rows)


def _dead_memory(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for run, mine in _on_runs(mapping.schedule, struck):
        for tile in run.tiles:
            band, row = np.nonzero(tile.terms >= 0)
            here = mine.take(np.repeat(np.arange(len(mine)), len(band)))
            band, row = np.tile(band, len(mine)), np.tile(row, len(mine))
            if mapping.schedule.resident:
                span = _copied(rows.clock, here)
            else:
                span = _during(rows.clock, here, tile.load + row)
            box = _band_box(run, band, tile.terms[band, row])
            rows.add(Place(Kind.operand, At.weight, run.layer.index, MEMORY_DEAD), here, span, box)


def _synapse(run: Run, tile: Tile, row: Ints, column: Ints) -> Ints:
    """Which (row, column) are synapses of a tile."""
    inside = np.flatnonzero((row >= 0) & (row < tile.rows) & (column >= 0) & (column < run.width))
    return inside[tile.terms[run.bands.of[column[inside]], row[inside]] >= 0]


def _add_weights(
    run: Run,
    tile: Tile,
    struck: Struck,
    row: Ints,
    column: Ints,
    span: Span,
    stage: int,
    rows: EffectRows,
) -> None:
    k = tile.terms[run.bands.of[column], row]
    box: Box = {"m": each(run.m[column]), "n": each(run.n[column]), "k": each(k)}
    rows.add(Place(Kind.operand, At.weight, run.layer.index, stage), struck, span, box)


# ------------------------------------------------------------------------------------------- inputs


def _axon_register(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for run, mine in _on_runs(mapping.schedule, struck):
        for tile in run.tiles:
            row = mapping.schedule.room.row_at(mapping.sheet.axons)[mine.instance[:, 1]]
            inside = np.flatnonzero((row >= 0) & (row < tile.rows))
            fault, band = np.nonzero(tile.terms[:, row[inside]].T >= 0)
            here, row = mine.take(inside[fault]), row[inside[fault]]
            read = tile.integrate + row
            if struck.form is None:
                span, stage = _during(rows.clock, here, read), DEAD
            else:
                span, stage = _held(rows.clock, here, read, tile.deliver), REGISTER
            box = _band_box(run, band, tile.terms[band, row])
            rows.add(Place(Kind.operand, At.input, run.layer.index, stage), here, span, box)


def _band_box(run: Run, band: Ints, k: Ints) -> Box:
    """Terms k of all channels of a band."""
    n = run.bands.n[band]
    return {"m": each(run.bands.m[band]), "n": (n[:, 0], n[:, 1]), "k": each(k)}


# ------------------------------------------------------------------------------------------ neurons


def _current_register(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for run, mine in _on_runs(mapping.schedule, struck):
        column = run.column_at(mapping.sheet.columns)[mine.instance[:, 1]]
        here = np.flatnonzero(column >= 0)
        strike_currents(run, mine.take(here), column[here], rows)


def _bias(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for run, mine, box in _on_neurons(mapping, struck, slots=True):
        span = _kept(rows.clock, mine, run.tiles[0].deliver)
        rows.add(Place(Kind.parameter, At.bias, run.layer.index), mine, span, box)


def _threshold(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for run, mine, box in _on_neurons(mapping, struck, slots=True):
        if run.layer.lif is not None:
            span = _kept(rows.clock, mine, run.fire)
            rows.add(Place(Kind.parameter, At.threshold, run.layer.lif), mine, span, box)


def _membrane(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    """A stuck cell acts whenever the word is read; what it does to the written word is not seen."""
    for run, mine, box in _on_neurons(mapping, struck, slots=True):
        if run.layer.lif is None:
            continue
        written = run.fire + len(OPERATIONS) - 1
        last = rows.clock.number_after_write(mine.last - 1, written)
        span = Span(rows.clock.number(mine.first, run.fire), last)
        for at, chosen in ((At.cell, mine.flips), (At.read, ~mine.flips)):
            part = Span(span.first, np.where(chosen, span.last, span.first))
            rows.add(Place(Kind.state, at, run.layer.lif), mine, part, box)


def _operation(name: str) -> Handler:
    def strike(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
        for run, mine, box in _on_neurons(mapping, struck):
            if run.layer.lif is None:
                continue
            span = _during(rows.clock, mine, run.operation(name))
            idle = _never_matters(mapping.network.layers[run.layer.lif], name, mine)
            part = Span(span.first, np.where(idle, span.first, span.last))
            rows.add(Place(Kind.operation, At[name], run.layer.lif), mine, part, box)

    return strike


def _never_matters(lif: Layer, name: str, struck: Struck) -> NDArray[np.bool_]:
    """What is done anyway cannot be done always, and what does nothing cannot be skipped."""
    empty = isinstance(lif, Lif) and {"leak": lif.leak.kind, "reset": lif.reset}.get(name) == "none"
    always = (struck.model == FaultModel.always) & (name in ("integrate", "leak"))
    return always | empty


def _spike_line(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for run, mine, box in _on_neurons(mapping, struck):
        if run.layer.lif is not None:
            span = _during(rows.clock, mine, run.send)
            rows.add(Place(Kind.spike, At.line, run.layer.lif), mine, span, box)


def _dead_neuron(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for run, mine in _on_runs(mapping.schedule, struck):
        column = run.column_at(mapping.sheet.columns)[mine.instance[:, 1]]
        here = np.flatnonzero(column >= 0)
        _silence(run, mine.take(here), column[here], rows)


def _dead_core(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for run, mine in _on_runs(mapping.schedule, struck):
        columns = np.tile(np.arange(run.width), len(mine))
        _silence(run, mine.take(np.repeat(np.arange(len(mine)), run.width)), columns, rows)


def _silence(run: Run, struck: Struck, column: Ints, rows: EffectRows) -> None:
    """Columns that send zeros: spikes, the readout, or partial sums for another core."""
    box: Box = {"m": each(run.m[column]), "n": each(run.n[column])}
    layer = run.layer
    if not run.home:
        place = Place(Kind.accumulator, At.out, layer.index, DEAD)
        sent: Ints | int = run.gathered(run.segment, column)
        box["segment"] = run.segment
    elif layer.lif is None:
        place, sent = Place(Kind.accumulator, At.total, layer.index, DEAD), run.send
        box["segment"] = run.others
    else:
        place, sent = Place(Kind.spike, At.line, layer.lif, DEAD), run.send
    rows.add(place, struck, _during(rows.clock, struck, sent), box)


# -------------------------------------------------------------------------------------------- where


def _on_runs(schedule: Schedule, struck: Struck) -> Iterator[tuple[Run, Struck]]:
    """Every run with the faults of its core."""
    by_core = struck.by_core()
    for run in schedule.runs:
        if run.core in by_core:
            yield run, by_core[run.core]


def _on_neurons(
    mapping: CoresMapping, struck: Struck, *, slots: bool = False
) -> Iterator[tuple[Run, Struck, Box]]:
    """Every group of neurons with the faults of its columns (and of its words), and their boxes."""
    for run, mine in _on_runs(mapping.schedule, struck):
        if run.home:
            column = run.column_at(mapping.sheet.columns)[mine.instance[:, 1]]
            here = column >= 0
            if slots:
                here &= mine.word == run.slot
            column = column[here]
            box: Box = {"m": each(run.m[column]), "n": each(run.n[column])}
            yield run, mine.take(np.flatnonzero(here)), box


def _packet(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    raise UnsupportedError(
        f"{mapping.sheet.name}: where a broken packet of core.packet goes is not claimed; "
        "strike port.axon or port.code (packets as they arrive), mesh_link.* or router.* (packets "
        "lost on their way), neuron.spike_line (a spike too many or too few) or core.* (dead)"
    )


Handler = Callable[["CoresMapping", Struck, EffectRows], None]

_HANDLERS: dict[tuple[str, str], Handler] = {
    ("weight_memory", "weights"): _weights,
    ("weight_memory", "*"): _dead_memory,
    ("axon_in", "axon_register"): _axon_register,
    ("axon_in", "*"): _axon_register,
    ("crossbar", "weight_register"): _weight_register,
    ("crossbar", "*"): _weight_register,
    ("neuron", "current_register"): _current_register,
    ("neuron", "bias"): _bias,
    ("neuron", "membrane"): _membrane,
    ("neuron", "threshold"): _threshold,
    ("neuron", "spike_line"): _spike_line,
    ("neuron", "*"): _dead_neuron,
    ("core", "packet"): _packet,
    ("core", "*"): _dead_core,
    **{("neuron", name): _operation(name) for name in OPERATIONS},
    **HANDLERS,
}
