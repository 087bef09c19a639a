"""Events on cores: how often what happens, and the rule of counting called ``sana_fe``.

SANA-FE 2.2.9 prices events alone, whatever the schedule of a core:

- a synaptic event for each spike and neuron that reads it (``weight_register.read``);
- each neuron of a spiking layer in each step, for its access (``membrane.read``), again if it had
  something to do, for its update (``membrane.write``), and again if it spikes
  (``spike_line.spike``);
- a packet for each spike (inputs too) and each core that reads it, also from a core to itself:
  ``packet.send``, ``packet.receive`` and its hops. What only the host reads is not sent.

Weights, currents, biases and thresholds are part of these events. Equal to the recorded runs in the
tests; its times are not modelled. (J. Boyle et al., SANA-FE, IEEE TCAD 2025.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from accelerators.cores.traffic import flows
from codesign.mapping import Activity, CostRow
from codesign.network import Lif

if TYPE_CHECKING:
    from accelerators.cores.family import Cores
    from accelerators.cores.mapping import CoresMapping
    from accelerators.cores.schedule import LayerPlan

__all__ = [
    "event_rows",
    "fan_out",
    "hop_counts",
    "needed_activity",
    "nonzero",
    "row_maker",
    "updated",
]


def event_rows(mapping: CoresMapping, activity: Activity) -> Iterator[CostRow]:
    """What happens in one inference, as SANA-FE counts."""
    row, steps = row_maker(mapping), mapping.schedule.steps
    for plan in mapping.schedule.plans:
        name, network = plan.layer.name, mapping.network
        source = network.layers[plan.layer.index].inputs[0].source
        events = nonzero(mapping, activity, source) * fan_out(mapping, plan)
        yield row(name, "weight_register", "read", events)
        if plan.layer.lif is not None:
            spikes = nonzero(mapping, activity, network.layers[plan.layer.lif].name)
            yield row(name, "membrane", "read", plan.layer.neurons * steps)
            yield row(name, "membrane", "write", updated(mapping, activity, plan.layer.lif))
            yield row(name, "spike_line", "spike", spikes)
    for flow in flows(mapping):
        sent = nonzero(mapping, activity, flow.layer)
        packets = (flow.packets - flow.to_host) * sent
        yield row(flow.layer, "packet", "send", packets)
        across = (flow.hops_x - flow.host_x, flow.hops_y - flow.host_y)
        for action, count in hop_counts(mapping.sheet, *across):
            yield row(flow.layer, "packet", action, count * sent)
        yield row(flow.layer, "packet", "receive", packets)


def row_maker(mapping: CoresMapping) -> Callable[[str, str, str, float], CostRow]:
    """A function that prices (layer, component, action, count) with the datasheet's numbers."""
    units = {part.name: unit for unit in mapping.accelerator.units for part in unit.components}

    def row(layer: str, component: str, action: str, count: float) -> CostRow:
        unit = units[component]
        part = unit.component(component)
        price = part.energy.get(action)
        energy = None if price is None else price.value * count
        grade = "absent" if price is None else price.grade
        return CostRow(layer, unit.name, component, action, count, part.bits, energy, grade)

    return row


def hop_counts(sheet: Cores, x: float, y: float) -> Iterator[tuple[str, float]]:
    """Hops by action: x and y apart where the datasheet prices them so."""
    if {"packet.hop_x", "packet.hop_y"}.isdisjoint(sheet.energy):
        yield "hop", x + y
    else:
        yield "hop_x", x
        yield "hop_y", y


def fan_out(mapping: CoresMapping, plan: LayerPlan) -> float:
    """Neurons of a layer that read an element of its source, mean over the source's elements."""
    layer = plan.layer
    source = mapping.network.layers[layer.index].inputs[0].source
    synapses = int((layer.elements >= 0).sum()) * (layer.channels // layer.groups)
    return synapses / int(np.prod(mapping.network.shapes[source]))


def nonzero(mapping: CoresMapping, activity: Activity, name: str) -> float:
    """Nonzero codes of a layer in one inference; all of them if nothing is known."""
    if name in activity.spikes:
        return activity.spikes[name]
    codes = int(np.prod(mapping.network.shapes[name])) * mapping.schedule.steps
    return codes * (1.0 - activity.zeros.get(name, 0.0))


def updated(mapping: CoresMapping, activity: Activity, index: int) -> float:
    """Updates of the neurons of a spiking layer in one inference; all if idle ones are not left."""
    lif = mapping.network.layers[index]
    neurons = int(np.prod(mapping.network.shapes[lif.name])) * mapping.schedule.steps
    return activity.updates.get(lif.name, neurons) if _skips(mapping.sheet) else neurons


def needed_activity(mapping: CoresMapping, activity: Activity) -> Iterator[str]:
    """Names of measurements that an option of the datasheet needs and the activity has not."""
    network = mapping.network
    for layer in network.layers:
        idle = isinstance(layer, Lif) and _skips(mapping.sheet)
        if idle and layer.name not in activity.updates:
            yield f"activity.updates of {layer.name}"
    if mapping.sheet.zero_gating:
        for plan in mapping.schedule.plans:
            source = network.layers[plan.layer.index].inputs[0].source
            if not plan.layer.spikes and source not in activity.zeros:
                yield f"activity.zeros of {source}"


def _skips(sheet: Cores) -> bool:
    return sheet.idle_neurons == "skipped" or sheet.counting == "sana_fe"
