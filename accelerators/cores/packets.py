"""What faults of the network between cores touch: routers, links and the ports of cores.

**Routers and links** die; every packet whose route passes one in the cycle in which it travels is
lost, and whoever should have got it reads 0. Spikes travel in the *send* cycle of their round,
input codes in the first cycle of a step, other cores' sums when they are gathered, the currents of
a readout when they are sent. A packet that arrives twice sets its register twice and changes
nothing, so nothing is duplicated here.

What is lost has to be 0 for its reader: where a value is made of several packets (pooling and the
like) and only some of them are lost, it depends on the others, which no kind of effect says.

**Ports.** In *deliver*, a core's axon registers are cleared and each code other than 0 comes in as
a packet (axon, code). With a wrong ``axon`` it sets another register: lost if the tile has no input
there, otherwise refused, as that register's value depends on two codes. A wrong ``code`` is claimed
as far as a code of 0, which is no packet, stays 0: spikes, and bits stuck at 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelerators.cores.routes import Senders, crossed, late, origins
from accelerators.cores.rows import Box, EffectRows, Place, Span, Struck, each
from accelerators.cores.schedule import Run, Tile
from codesign.effects import At, Kind
from codesign.errors import UnsupportedError
from codesign.faults import FaultModel

if TYPE_CHECKING:
    from accelerators.cores.footprint import Handler
    from accelerators.cores.mapping import CoresMapping

__all__ = ["HANDLERS", "LINK", "PORT", "PORT_DEAD"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LINK, PORT, PORT_DEAD = range(3)  # where faults stand on an input's way, before its register
SENT = 4  # behind every register: as late as what a dead core does to the sums it sends


def _at(rows: EffectRows, struck: Struck, when: Ints | int) -> Span:
    """What happens in the cycles of a window only."""
    return Span(rows.clock.number(struck.first, when), rows.clock.number(struck.last, when))


# ------------------------------------------------------------------------------- routers and links


def _dead_router(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for router, mine in _by_instance(struck):
        _lose(mapping, crossed(mapping.sheet, router[0]), mine, rows)


def _dead_link(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    for link, mine in _by_instance(struck):
        _lose(mapping, crossed(mapping.sheet, link[0], link[1]), mine, rows)


def _by_instance(struck: Struck) -> list[tuple[list[int], Struck]]:
    instances, which = np.unique(struck.instance, axis=0, return_inverse=True)
    which = which.reshape(-1)
    return [
        (instance, struck.take(np.flatnonzero(which == i)))
        for i, instance in enumerate(instances.tolist())
    ]


def _lose(mapping: CoresMapping, gone: Bools, struck: Struck, rows: EffectRows) -> None:
    """Lose all packets between pairs of cores ``[cores, cores]``."""
    _lose_sums(mapping, gone, struck, rows)
    network, host = mapping.network, mapping.sheet.host
    senders = Senders.of(network, mapping.schedule, host)
    made = origins(network, senders.base)
    for run in mapping.schedule.runs:
        edge = network.layers[run.layer.index].inputs[0]
        read = late(made[edge.source], edge.delay_steps)
        for tile in run.tiles:
            band, row = np.nonzero(tile.terms >= 0)
            k = tile.terms[band, row]
            packets = read[run.layer.elements[run.bands.m[band], run.bands.inputs[band], k]]
            n = run.bands.n[band]
            box = np.stack([run.bands.m[band], k, n[:, 0], n[:, 1]], axis=1)
            place = Place(Kind.operand, At.input, run.layer.index, LINK)
            _lose_packets(senders, gone[:, run.core], packets, place, box, struck, rows)
    last = network.layers[-1]
    positions, channels = network.grid(last.name)
    m, n = (i.reshape(-1) for i in np.indices((positions, channels)))
    flat = [network.element(last.name, a, b) for a, b in zip(m.tolist(), n.tolist(), strict=True)]
    box = np.stack([m, np.full_like(m, -1), n, n + 1], axis=1)
    place = Place(Kind.activation, At.stored, len(network.layers) - 1, LINK)
    if _lose_packets(senders, gone[:, host], made[last.name][flat], place, box, struck, rows):
        _check_output(mapping)


def _check_output(mapping: CoresMapping) -> None:
    last = mapping.network.layers[-1].name
    readers = mapping.network.readers(last)
    if readers:
        raise UnsupportedError(
            f"{mapping.sheet.name}: packets of {last} to the host are lost, which {readers[0]} "
            "reads too: an output that is lost for the host alone is not claimed; put a layer "
            f"behind {last} that nothing reads"
        )


def _lose_packets(
    senders: Senders,
    gone: Bools,
    packets: Ints,
    place: Place,
    box: Ints,
    struck: Struck,
    rows: EffectRows,
) -> bool:
    """Lose what arrives at one reader; whether anything was.

    Args:
        senders: Of the network.
        gone: ``[cores]`` whether packets from there to the reader are lost.
        packets: ``[values, origins, 2]`` what each value it reads is made of.
        place: Of the values.
        box: ``[values, 4]`` m, k, and channels from n to n.
        struck: Faults that lose them, in their windows.
        rows: Where effects go.
    """
    there = packets[..., 0] >= 0
    who = packets[..., 0]
    lost = there & gone[senders.core[who]]
    touched = np.flatnonzero(lost.any(axis=1))
    if not len(touched):
        return False
    there, lost, delay = there[touched], lost[touched], packets[touched, :, 1]
    sent, box = senders.sent[who[touched]], box[touched]
    first, line = lost.argmax(axis=1), np.arange(len(touched))
    at, steps = sent[line, first], delay[line, first]
    whole = (lost == there).all(axis=1)
    alike = whole & ((sent == at[:, None]) & (delay == steps[:, None]) | ~there).all(axis=1)
    _refuse_parts(sent[~alike], lost[~alike], whole[~alike], struck, rows)
    added = False
    for time, later in np.unique(np.stack([at, steps], axis=1), axis=0).tolist():
        span = _at(rows, struck, time)
        ever = (span.first == 0) & (span.last == rows.clock.repetitions)
        mine = (at == time) & (steps == later)
        # What is lost in all steps is so however late it is read: before it comes, all read 0.
        for faults, values, delayed in (
            (ever, mine, 0),
            (~ever & (span.first < span.last), mine & alike, later),
        ):
            some, elements = np.flatnonzero(faults), np.flatnonzero(values)
            fault, value = np.repeat(some, len(elements)), np.tile(elements, len(some))
            part = Span(span.first[fault], span.last[fault])
            where = _where(place, box[value])
            rows.add(place, struck.take(fault), part, where, delay_steps=delayed)
            added |= len(fault) > 0
    return added


def _where(place: Place, box: Ints) -> Box:
    m, k, low, high = box.T
    found: Box = {"m": each(m), "n": (low, high)}
    if place.kind is Kind.operand:
        found["k"] = each(k)
    return found


def _refuse_parts(sent: Ints, lost: Bools, whole: Bools, struck: Struck, rows: EffectRows) -> None:
    """Refuse steps in which some packets of one value are lost and some arrive.

    Args:
        sent: ``[values, origins]`` when each packet travels.
        lost: ``[values, origins]`` whether it is lost while a fault lasts.
        whole: ``[values]`` whether all of a value's are.
        struck: The faults.
        rows: For their clock.
    """
    for time in np.unique(sent[lost]).tolist():
        span = _at(rows, struck, time)
        ever = (span.first == 0) & (span.last == rows.clock.repetitions)
        concerned = (lost & (sent == time)).any(axis=1)
        acts = span.first < span.last
        if (acts.any() and (concerned & ~whole).any()) or (
            (acts & ~ever).any() and concerned.any()
        ):
            raise UnsupportedError(
                "packets are lost of which a pooled (or added) value is made together with packets "
                "that arrive: what is left depends on those, and no kind of effect says that; "
                "strike neuron.spike_line, or place the layers so that these packets take one way"
            )


def _lose_sums(mapping: CoresMapping, gone: Bools, struck: Struck, rows: EffectRows) -> None:
    """Other cores' sums on their way home, and currents of the readout on their way out."""
    runs = mapping.schedule.runs
    homes = {(run.layer.index, run.first): run.core for run in runs if run.home}
    for run in runs:
        column = np.tile(np.arange(run.width), len(struck))
        mine = struck.take(np.repeat(np.arange(len(struck)), run.width))
        box: Box = {"m": each(run.m[column]), "n": each(run.n[column])}
        if not run.home and gone[run.core, homes[run.layer.index, run.first]]:
            place = Place(Kind.accumulator, At.out, run.layer.index, SENT)
            sent: Ints | int = run.gathered(run.segment, column)
            rows.add(place, mine, _at(rows, mine, sent), {**box, "segment": run.segment})
        elif run.home and run.layer.lif is None and gone[run.core, mapping.sheet.host]:
            place = Place(Kind.accumulator, At.total, run.layer.index, SENT)
            rows.add(place, mine, _at(rows, mine, run.send), {**box, "segment": run.others})


# ------------------------------------------------------------------------------------------- ports


def _dead_port(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    by_core = struck.by_core()
    for run in mapping.schedule.runs:
        for tile in run.tiles if run.core in by_core else ():
            mine = by_core[run.core]
            row = np.flatnonzero((tile.terms >= 0).any(axis=0))
            fault = np.repeat(np.arange(len(mine)), len(row))
            _set(run, tile, mine.take(fault), np.tile(row, len(mine)), PORT_DEAD, rows)


def _wrong_axon(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    """Packets that set another register of the core."""
    _refuse_meetings(mapping, struck, rows)
    physical = mapping.schedule.room.rows
    logical = np.full(2 * mapping.sheet.axons, -1)
    logical[physical] = np.arange(len(physical))
    by_core = struck.by_core()
    for run in mapping.schedule.runs:
        for tile in run.tiles if run.core in by_core else ():
            mine = by_core[run.core]
            used = (tile.terms >= 0).any(axis=0)
            row = np.flatnonzero(used)
            fault = np.repeat(np.arange(len(mine)), len(row))
            here, row = mine.take(fault), np.tile(row, len(mine))
            axon, mask = physical[row], np.int64(1) << here.bit
            high = np.where(here.flips, axon & mask == 0, here.model == FaultModel.stuck1)
            other = np.where(high, axon | mask, axon & ~mask)
            target = logical[other]
            span = _at(rows, here, tile.deliver)
            sent = (other != axon) & (span.first < span.last)
            taken = sent & (target >= 0) & (target < tile.rows)
            if taken.any():
                i = int(np.flatnonzero(taken)[0])
                raise UnsupportedError(
                    f"{mapping.sheet.name}: port[{run.core}].axon:{here.bit[i]} sends packets of "
                    f"axon {axon[i]} to axon {other[i]}, where {run.layer.name} has an input too: "
                    "its value would depend on two codes, and no kind of effect says that (it "
                    "would take an alias of operands); packets to axons without input are claimed"
                )
            some = np.flatnonzero(sent)
            lost = replace(here.take(some), form=None)
            _set(run, tile, lost, row[some], PORT, rows)


def _wrong_code(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    """Packets that bring another code."""
    _refuse_meetings(mapping, struck, rows)
    by_core = struck.by_core()
    form = mapping.sheet.axon
    for run in mapping.schedule.runs:
        for tile in run.tiles if run.core in by_core else ():
            mine = by_core[run.core]
            span = _at(rows, mine, tile.deliver)
            acts = (span.first < span.last) & (tile.terms >= 0).any()
            if not run.layer.spikes and (acts & (mine.model != FaultModel.stuck0)).any():
                raise UnsupportedError(
                    f"{mapping.sheet.name}: port[{run.core}].code would change the codes of "
                    f"{run.layer.name} that are not 0 and leave 0, which is no packet: no kind of "
                    "effect says that; stuck0 is claimed, and every model for layers of spikes"
                )
            one, mask = np.int64(1), np.int64(1) << mine.bit
            high = np.where(mine.flips, one & mask == 0, mine.model == FaultModel.stuck1)
            spike = form.decode(np.where(high, one | mask, one & ~mask))
            row = np.flatnonzero((tile.terms >= 0).any(axis=0))
            changed = np.flatnonzero(acts & ((spike != one) | ~np.bool_(run.layer.spikes)))
            fault = np.repeat(changed, len(row))
            rest = np.tile(row, len(changed))
            factor = spike[fault] if run.layer.spikes else None
            _set(run, tile, mine.take(fault), rest, PORT, rows, factor)


def _refuse_meetings(mapping: CoresMapping, struck: Struck, rows: EffectRows) -> None:
    """Two faults of one port at one time."""
    order = np.lexsort((struck.first, struck.core, rows.table["trial"][struck.index]))
    trial, core = rows.table["trial"][struck.index[order]], struck.core[order]
    execution = rows.table["execution"][struck.index[order]]
    first, last = struck.first[order], struck.last[order]
    alike = (trial[1:] == trial[:-1]) & (core[1:] == core[:-1])
    alike &= (execution[1:] == execution[:-1]) | (execution[1:] < 0) | (execution[:-1] < 0)
    met = np.flatnonzero(alike & (first[1:] < last[:-1]))
    if len(met):
        raise UnsupportedError(
            f"{mapping.sheet.name}: trial {trial[met[0]]} has two faults in the packets of "
            f"port[{core[met[0]]}] at one time; one at a time is claimed"
        )


def _set(
    run: Run,
    tile: Tile,
    struck: Struck,
    row: Ints,
    stage: int,
    rows: EffectRows,
    factor: Ints | None = None,
) -> None:
    """What rows of a tile hold is wrong: ``[faults]`` one row each, for all that read it."""
    fault, band = np.nonzero(tile.terms[:, row].T >= 0)
    here, k = struck.take(fault), tile.terms[band, row[fault]]
    n = run.bands.n[band]
    box: Box = {"m": each(run.bands.m[band]), "n": (n[:, 0], n[:, 1]), "k": each(k)}
    span = _at(rows, here, tile.deliver)
    place = Place(Kind.operand, At.input, run.layer.index, stage)
    rows.add(place, here, span, box, factor=None if factor is None else factor[fault])


HANDLERS: dict[tuple[str, str], Handler] = {
    ("router", "*"): _dead_router,
    ("mesh_link", "*"): _dead_link,
    ("port", "*"): _dead_port,
    ("port", "axon"): _wrong_axon,
    ("port", "code"): _wrong_code,
}
