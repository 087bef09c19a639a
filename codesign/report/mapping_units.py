"""What units and layers are used for: occupancy, exposure, traffic, and what passes through."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

from codesign.accelerator import Unit
from codesign.mapping import Assignment, Holding, Phases
from codesign.report.chip_data import STORED
from codesign.report.mapping_view import MappingView
from codesign.report.tables import Cell, Table, interval_cells, interval_columns

__all__ = [
    "exposure_cells",
    "exposures",
    "layer_exposure",
    "layer_occupancy",
    "phase_cells",
    "units_table",
    "uses",
]

TENSORS = ("weight", "activation", "sum", "neuron")
AXES = {"weight": ("k", "n"), "sum": ("m", "n"), "neuron": ("m", "n")}
ROLES = {"weight": "weight", "activation": "activation", "psum": "sum", "membrane": "neuron"}


@lru_cache(maxsize=16)
def exposures(view: MappingView) -> dict[tuple[str, str], float]:
    """Bit-cycles of an inference in which values of a layer stand in a unit, by (layer, unit).

    In memories whose words are told: each element for as long as it stands there. Elsewhere: the
    stored bits of the instances at work, for as long as they are. A chip that executes an inference
    several times, or tells its times in updates, gives shares of its cycles.
    """
    found: dict[tuple[str, str], float] = {}
    told = {h.unit for h in view.holdings}
    scale = view.cost.cycles / _end(view)
    for h in view.holdings:
        many = h.elements * prod(stop - start for start, stop in h.instances)
        value = scale * many * h.bits * (h.last_cycle - h.first_cycle)
        found[h.layer, h.unit] = found.get((h.layer, h.unit), 0.0) + value
    for unit in view.accelerator.units:
        stored = [part for part in unit.components if part.role in STORED and not part.net]
        bits = sum(part.bits * part.words for part in stored)
        if unit.name in told or not bits:
            continue
        for a in view.assignments:
            if a.unit == unit.name:
                value = scale * bits * _instance_cycles(view, unit, a)
                found[a.layer, unit.name] = found.get((a.layer, unit.name), 0.0) + value
    return found


def layer_exposure(view: MappingView, layer: str) -> float | None:
    """Bit-cycles of one layer in all units; None where nothing of it is stored."""
    mine = [value for (name, _), value in exposures(view).items() if name == layer]
    return sum(mine) if mine else None


def layer_occupancy(view: MappingView, layer: str) -> float | None:
    """Share of instances and cycles that a layer takes, of the unit it takes most of.

    Of units whose words are told, the share of words; these count where it takes no other unit.
    """
    told = {h.unit for h in view.holdings}
    shares = [
        sum(_instance_cycles(view, unit, a) for a in mine) / (unit.instances * _end(view))
        for unit in view.accelerator.units
        if unit.name not in told
        and (mine := [a for a in view.assignments if (a.layer, a.unit) == (layer, unit.name)])
    ]
    shares = shares or [
        _word_share(view, unit, held)
        for unit in view.accelerator.units
        if (held := [h for h in view.holdings if (h.layer, h.unit) == (layer, unit.name)])
    ]
    return min(1.0, max(shares)) if shares else None


def uses(view: MappingView) -> list[dict[str, Any]]:
    """What each unit does in all layers together, as ``mapping.schema.json`` has it."""
    exposed = exposures(view)
    found = []
    for unit in view.accelerator.units:
        rows = [row for row in view.cost.rows if row.unit == unit.name]
        read, written = ([r for r in rows if r.action == name] for name in ("read", "write"))
        priced = [row.energy_pj for row in rows if row.energy_pj is not None]
        mine = [value for (_, name), value in exposed.items() if name == unit.name]
        found.append(
            {
                "unit": unit.name,
                "layers": list(view.layers_on(unit.name)),
                "elements": _elements(view, unit),
                "occupancy": _occupancy(view, unit),
                "reads": sum(row.count for row in read),
                "read_bits": sum(row.count * row.bits for row in read),
                "writes": sum(row.count for row in written),
                "written_bits": sum(row.count * row.bits for row in written),
                "energy_pj": sum(priced) if priced else None,
                "exposure_bit_cycles": sum(mine) if mine else None,
                "reach": view.reaches.get(unit.name),
                "guards": list(view.guarded.get(unit.name, ())),
                "vulnerability": view.losses.get(unit.name),
            }
        )
    return found


def units_table(views: Sequence[MappingView]) -> Table:
    """One row a unit."""
    columns = (
        *("design", "unit", "kind", "instances", "layers", "occupancy"),
        *(f"{tensor}_elements" for tensor in TENSORS),
        *("reads", "read_bits", "writes", "written_bits", "energy_pj"),
        *("exposure_bit_cycles", "exposure_bit_seconds"),
        *("reach_component", "reach_largest", "reach_mean", "reach_looked_at", "reach_places"),
        *("guards", *interval_columns("vulnerability")),
    )
    rows: list[tuple[Cell, ...]] = []
    for view in views:
        for use in uses(view):
            unit, reach = view.accelerator.unit(use["unit"]), use["reach"]
            reached: tuple[Cell, ...] = (None,) * 5
            if reach is not None:
                spread = (reach.largest, reach.mean, reach.looked_at, reach.places)
                reached = (reach.component, *spread)
            rows.append(
                (
                    *(view.name, unit.name, unit.kind, unit.instances),
                    *("; ".join(use["layers"]), use["occupancy"]),
                    *(use["elements"].get(tensor) for tensor in TENSORS),
                    *(use["reads"], use["read_bits"], use["writes"], use["written_bits"]),
                    *(use["energy_pj"], *exposure_cells(view, use["exposure_bit_cycles"])),
                    *(*reached, "; ".join(use["guards"])),
                    *interval_cells(use["vulnerability"]),
                )
            )
    return Table("units", columns, tuple(rows))


def exposure_cells(view: MappingView, bit_cycles: float | None) -> tuple[Cell, Cell]:
    """Bit-cycles, and bits × seconds where the clock is known."""
    clock = view.accelerator.clock_mhz
    if bit_cycles is None or clock is None:
        return bit_cycles, None
    return bit_cycles, bit_cycles / (clock.value * 1e6)


def phase_cells(phases: Phases | None) -> tuple[Cell, ...]:
    """Load, compute, drain and stall cycles."""
    if phases is None:
        return (None,) * 4
    return (phases.load, phases.compute, phases.drain, phases.stall)


def _end(view: MappingView) -> int:
    """Last moment of an execution, in the times of assignments."""
    ends = [a.last_cycle for a in view.assignments] + [h.last_cycle for h in view.holdings]
    return max(ends, default=0) or max(view.cost.cycles, 1)


def _instance_cycles(view: MappingView, unit: Unit, a: Assignment) -> int:
    """Instances of an assignment times its cycles, in all steps that repeat it."""
    whole = prod(unit.shape[len(a.instances) :])
    instances = prod(stop - start for start, stop in a.instances) * whole
    return instances * (a.last_cycle - a.first_cycle) * (view.network.steps if a.step < 0 else 1)


def _occupancy(view: MappingView, unit: Unit) -> float | None:
    """Share of instances (of words, in a memory whose words are told) and cycles in use."""
    held = [h for h in view.holdings if h.unit == unit.name]
    if held:
        return min(1.0, _word_share(view, unit, held))  # two tensors may share a word
    mine = [a for a in view.assignments if a.unit == unit.name]
    if not mine:
        return None
    used = sum(_instance_cycles(view, unit, a) for a in mine)
    return used / (unit.instances * _end(view))


def _word_share(view: MappingView, unit: Unit, held: Sequence[Holding]) -> float:
    """Share of a memory's words and of an execution that some holdings take."""
    words = unit.component(held[0].component).words * unit.instances
    used = sum(
        (h.words[1] - h.words[0])
        * prod(stop - start for start, stop in h.instances)
        * (h.last_cycle - h.first_cycle)
        for h in held
    )
    return used / (words * _end(view))


def _elements(view: MappingView, unit: Unit) -> dict[str, int]:
    """Elements that pass through a unit, each once, by tensor."""
    network, found = view.network, dict[str, int]()
    held = {(h.layer, h.tensor, h.m, h.k, h.n): h for h in view.holdings if h.unit == unit.name}
    for h in held.values():
        # A tile of sums at a time, but all of them in turn.
        m, _, n = network.mac_shape(h.layer) if h.tensor == "sum" else (0, 0, 0)
        found[h.tensor] = found.get(h.tensor, 0) + (m * n or h.elements)
    mine = [] if held else [a for a in view.assignments if a.unit == unit.name]
    roles = {ROLES[part.role] for part in unit.components if part.role in ROLES}
    for tensor in TENSORS:
        if not mine or tensor not in roles:
            continue
        if tensor == "activation":
            sources = (network[a].inputs[0].source for a in dict.fromkeys(a.layer for a in mine))
            found[tensor] = sum(prod(network.shapes[source]) for source in sources)
        else:
            first, second = AXES[tensor]
            boxes = {(a.layer, getattr(a, first), getattr(a, second)) for a in mine}
            found[tensor] = sum(_size(one) * _size(other) for _, one, other in boxes)
    return found


def _size(part: tuple[int, int, int]) -> int:
    return len(range(*part))
