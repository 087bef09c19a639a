"""What an inference on cores costs: cycles, events, accesses, packets, energy, area.

This way of counting is called ``schedule``; ``sana_fe`` is told in `accelerators.cores.events`.
Cycles follow from the schedule alone: a row takes its cycle whether its axon carries a spike or
not. Energy is counted by events:

- where inputs are spikes, each spike makes one synaptic event (a weight read and an addition) for
  each neuron that reads it: exactly for fully connected layers, by the mean fan-out elsewhere (at
  the border of an image it is smaller). Spikes come from an `Activity`; a layer whose activity is
  not known counts as if all its codes were spikes;
- where inputs are more than spikes (direct coding), every synapse is multiplied and added in every
  step, though a code of 0 is not sent as a packet; with ``zero_gating`` multipliers rest for codes
  of 0, by the measured share of zeros;
- with ``idle_neurons: skipped`` a neuron works and its words are read and written only in steps in
  which it has something to do, by the measured ``updates``. An activity that is needed and not
  known counts as if there were nothing to save, and is listed as missing;
- currents of further segments are one addition each where they are gathered.

Weights are loaded once a pass, or, resident, before the first inference, which is nobody's cost.
Transport takes no cycles here; the host, and the units that pool and buffer spikes, cost nothing.
Re-execution multiplies cycles and actions.

Area is the sourced area of the datasheet; gate equivalents count registers and logic
(`unit_area_ge`), and 1.5 a bit of memory without its periphery.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from accelerators.cores.events import (
    event_rows,
    fan_out,
    hop_counts,
    needed_activity,
    nonzero,
    row_maker,
    updated,
)
from accelerators.cores.graph import OPERATIONS
from accelerators.cores.guards import MEMORY_BIT, guard_area_ge, guard_missing, guard_rows
from accelerators.cores.phases import phases_of
from accelerators.cores.traffic import flows, hops
from accelerators.gates import AND, FLIP_FLOP, FULL_ADDER, comparator, multiplier
from codesign.guards import Guard, Recompute, Silence
from codesign.mapping import Activity, Cost, CostRow
from codesign.network import Lif

if TYPE_CHECKING:
    from accelerators.cores.family import Cores
    from accelerators.cores.mapping import CoresMapping
    from accelerators.cores.schedule import LayerPlan
    from codesign.accelerator import Unit

__all__ = ["cost_of", "unit_area_ge"]

PJ_PER_MW_US = 1000.0  # 1 mW for 1 us is 1 nJ
LEAK_BITS = 15  # the factor of `codesign.network.Leak` is below 2**15


def cost_of(mapping: CoresMapping, activity: Activity, guards: tuple[Guard, ...]) -> Cost:
    """Price one inference; see `codesign.mapping.Mapping.cost`."""
    schedule, chip = mapping.schedule, mapping.accelerator
    times = max([g.times for g in guards if isinstance(g, Recompute)], default=1)
    count = event_rows if mapping.sheet.counting == "sana_fe" else _rows
    once = tuple(row for row in count(mapping, activity) if row.count)
    once += tuple(row for guard in guards for row in _guarded(mapping, once, guard))
    cycles = schedule.inference_cycles * times
    timed = mapping.sheet.counting == "schedule"
    latency = cycles / chip.clock_mhz.value if chip.clock_mhz and timed else None
    rows = [_times(row, times) for row in once]
    rows += [row for unit in chip.units for row in _static(unit, latency, cycles)]
    rows += _clocked(mapping.sheet, cycles) if timed else []
    layer_cycles = {
        plan.layer.name: (plan.last_cycle - plan.first_cycle) * schedule.steps * times
        for plan in schedule.plans
    }
    area_ge = unit_area_ge(mapping.sheet)
    for unit, more in guard_area_ge(mapping.sheet, guards).items():
        area_ge[unit] += more
    area_um2 = {unit.name: area for unit in chip.units if (area := _area(unit)) is not None}
    missing = {f"{r.unit}.{r.component}.{r.action}" for r in rows if r.energy_pj is None}
    missing |= {"clock"} if chip.clock_mhz is None else set()
    missing |= set() if timed else {"time"}
    priced = [unit for unit in chip.units if unit.kind != "link"]
    missing |= {f"{unit.name}.area" for unit in priced if unit.name not in area_um2}
    missing |= {f"{u.name}.static_power" for u in priced if u.static_power_mw is None}
    missing |= set() if mapping.sheet.cycle_energy else {"cycle_energy"}
    missing |= set(needed_activity(mapping, activity))
    utilisation = {plan.layer.name: _utilisation(plan, mapping.sheet) for plan in schedule.plans}
    names = (*sorted(missing), *guard_missing(guards))
    phases = {name: part.times(times) for name, part in phases_of(schedule).items()}
    areas = (area_um2, area_ge)
    return Cost(
        cycles,
        layer_cycles,
        utilisation,
        tuple(rows),
        *areas,
        latency_us=latency,
        missing=names,
        phases=phases,
    )


def unit_area_ge(sheet: Cores) -> dict[str, float]:
    """Gate equivalents of the units without guards; the mesh is not counted.

    A crosspoint is its register and a gate a bit that puts it on the column. A column is its
    current register and adder, a multiplier if axons carry more than a spike, the neuron's three
    adders and comparator, the multiplier of its leak, the registers between its operations, and
    its memory words.
    """
    weight, axon, current = sheet.weight.bits, sheet.axon.bits, sheet.current.bits
    membrane, threshold = sheet.membrane.bits, sheet.threshold.bits
    column = current * (FLIP_FLOP + FULL_ADDER)
    column += multiplier(weight, axon) if axon > 1 else weight * AND
    column += 3 * membrane * FULL_ADDER + comparator(membrane) + multiplier(membrane, LEAK_BITS)
    column += (membrane + threshold + 1) * FLIP_FLOP
    column += sheet.neuron_words * (membrane + threshold + current) * MEMORY_BIT
    crosspoints = sheet.cores * sheet.axons * sheet.columns
    return {
        "weight_memory": sheet.cores * sheet.weight_words * weight * MEMORY_BIT,
        "axon_in": sheet.cores * sheet.axons * axon * FLIP_FLOP,
        "crossbar": crosspoints * weight * (FLIP_FLOP + AND),
        "neuron": sheet.cores * sheet.columns * column,
    }


def _rows(mapping: CoresMapping, activity: Activity) -> Iterator[CostRow]:
    """What happens in one inference without guards."""
    row = row_maker(mapping)
    for plan in mapping.schedule.plans:
        for component, action, count in _of_layer(mapping, plan, activity):
            yield row(plan.layer.name, component, action, count)
    from_host, to_host = mapping.network.layers[0].name, mapping.network.layers[-1].name
    for flow in flows(mapping):
        sent = nonzero(mapping, activity, flow.layer)
        packets = flow.packets * sent
        yield row(flow.layer, "packet", "send", packets * (flow.layer != from_host))
        for action, count in hop_counts(mapping.sheet, flow.hops_x, flow.hops_y):
            yield row(flow.layer, "packet", action, count * sent)
        yield row(flow.layer, "packet", "receive", packets * (flow.layer != to_host))


def _of_layer(
    mapping: CoresMapping, plan: LayerPlan, activity: Activity
) -> Iterator[tuple[str, str, float]]:
    """(component, action, count) of one layer on its cores."""
    steps, layer = mapping.schedule.steps, plan.layer
    tiles = [(run, tile) for run in plan.runs for tile in run.tiles]
    if not mapping.schedule.resident:
        words = sum(tile.rows * run.width for run, tile in tiles) * steps
        yield "weights", "read", words
        yield "weight_register", "write", words
    rows = sum(tile.rows for _, tile in tiles) * steps
    yield "axon_register", "write", rows
    yield "axon_register", "read", rows
    events = _events(mapping, plan, activity)
    yield "weight_register", "read", events
    gathered = sum(run.width for run in plan.runs if not run.home) * steps
    yield "current_register", "add", gathered + (events if layer.spikes else 0)
    yield "current_register", "mac", 0 if layer.spikes else events
    neurons = layer.neurons * steps
    busy = neurons if layer.lif is None else updated(mapping, activity, layer.lif)
    yield "bias", "read", busy
    sent = gathered + (neurons if layer.lif is None else 0)
    yield "current_register", "read", sent
    words = -(-mapping.sheet.current.bits // mapping.sheet.packet_bits)
    yield "packet", "send", words * sent
    for action, count in hop_counts(mapping.sheet, *_partial_hops(mapping, plan)):
        yield "packet", action, words * steps * count
    yield "packet", "receive", words * gathered
    if layer.lif is not None:
        yield from _of_neurons(mapping, layer.lif, activity)


def _of_neurons(
    mapping: CoresMapping, index: int, activity: Activity
) -> Iterator[tuple[str, str, float]]:
    lif = mapping.network.layers[index]
    if not isinstance(lif, Lif):
        return
    busy, spikes = updated(mapping, activity, index), nonzero(mapping, activity, lif.name)
    yield "membrane", "read", busy
    yield "membrane", "write", busy
    yield "threshold", "read", busy
    done = {"leak": lif.leak.kind != "none", "reset": lif.reset != "none"}
    for name in OPERATIONS:
        yield name, "op", (spikes if name == "reset" else busy) * done.get(name, True)
    yield "spike_line", "spike", spikes


def _partial_hops(mapping: CoresMapping, plan: LayerPlan) -> tuple[int, int]:
    """Hops of the currents of one step: further segments to their home, a readout to the host."""
    homes = {run.first: run.core for run in plan.runs if run.home}
    found = np.zeros(2, dtype=np.int64)
    for run in plan.runs:
        if not run.home:
            found += run.width * np.array(hops(run.core, homes[run.first], mapping.sheet))
        elif plan.layer.lif is None:
            found += run.width * np.array(hops(run.core, mapping.sheet.host, mapping.sheet))
    return int(found[0]), int(found[1])


def _events(mapping: CoresMapping, plan: LayerPlan, activity: Activity) -> float:
    """Synaptic events of a layer in one inference."""
    layer = plan.layer
    source = mapping.network.layers[layer.index].inputs[0].source
    if layer.spikes:
        return nonzero(mapping, activity, source) * fan_out(mapping, plan)
    synapses = int((layer.elements >= 0).sum()) * (layer.channels // layer.groups)
    zeros = activity.zeros.get(source, 0.0) if mapping.sheet.zero_gating else 0.0
    return synapses * mapping.schedule.steps * (1.0 - zeros)


def _guarded(mapping: CoresMapping, rows: tuple[CostRow, ...], guard: Guard) -> Iterator[CostRow]:
    """What one guard adds to accesses, at the layers whose words it guards.

    Rows are charged to the layer with weights: a membrane's to the one in front of its neurons, a
    spike's or input's to every one whose axons receive it, which may lie behind a pooling layer.
    """
    if isinstance(guard, Recompute):
        return
    network = mapping.network
    for plan in mapping.schedule.plans:
        place = None if isinstance(guard, Silence) else guard.place
        if place == "activation":
            source = network.layers[plan.layer.index].inputs[0].source
            guarded = source == guard.layer
        elif place == "membrane":
            lif = plan.layer.lif
            guarded = lif is not None and network.layers[lif].name == guard.layer
        else:
            guarded = plan.layer.name == guard.layer
        if guarded:
            mine = tuple(row for row in rows if row.layer == plan.layer.name)
            yield from guard_rows(mine, (guard,), {guard.layer: plan.layer.name})


def _static(unit: Unit, latency_us: float | None, cycles: int) -> Iterator[CostRow]:
    power = unit.static_power_mw
    if power is not None and latency_us is not None:
        energy = power.value * latency_us * PJ_PER_MW_US
        yield CostRow("*", unit.name, "*", "static", cycles, 0, energy, power.grade)


def _clocked(sheet: Cores, cycles: int) -> Iterator[CostRow]:
    for name, price in sheet.cycle_energy.items():
        yield CostRow("*", name, "*", "clock", cycles, 0, price.value * cycles, price.grade)


def _area(unit: Unit) -> float | None:
    """Of all instances, as far as it is known."""
    known = [unit.area_um2, *(part.area_um2 for part in unit.components)]
    areas = [area.value for area in known if area is not None]
    return sum(areas) * unit.instances if areas else None


def _utilisation(plan: LayerPlan, sheet: Cores) -> float:
    """Share of (columns of all cores × cycles) that add up a synapse."""
    synapses = sum(
        int((tile.terms[run.bands.of] >= 0).sum()) for run in plan.runs for tile in run.tiles
    )
    return synapses / (sheet.cores * sheet.columns * (plan.last_cycle - plan.first_cycle))


def _times(row: CostRow, times: int) -> CostRow:
    energy = None if row.energy_pj is None else row.energy_pj * times
    return replace(row, count=row.count * times, energy_pj=energy)
