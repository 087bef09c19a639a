"""A network on a chip, as `codesign map` tells it: tables and plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codesign.accelerator import AcceleratorGraph
from codesign.design import Design
from codesign.mapping import Assignment, Cost
from codesign.network import NetworkGraph, is_mac
from codesign.report.chip import ChipLink
from codesign.report.tables import Cell, Table
from codesign.study.findings import UnitPicture

__all__ = ["MappingView", "mapping_json", "mapping_tables"]

FORMAT = "codesign mapping 1"


@dataclass(frozen=True, eq=False)
class MappingView:
    """What is told of one design.

    Attributes:
        name: Of the design, unique in a report.
        network: What is computed.
        accelerator: On what.
        assignments: Who is where, when.
        cost: Of one inference.
        guards: One line for each guard, as people read it.
    """

    name: str
    network: NetworkGraph
    accelerator: AcceleratorGraph
    assignments: tuple[Assignment, ...]
    cost: Cost
    guards: tuple[str, ...] = ()

    @classmethod
    def of(cls, design: Design, cost: Cost) -> MappingView:
        """Of a design, with the cost that its mapping gave for some activity."""
        guards = tuple(str(guard) for guard in design.guards)
        where = design.mapping.assignments()
        return cls(design.name, design.network, design.accelerator, where, cost, guards)

    def units(self) -> tuple[UnitPicture, ...]:
        """The chip's units, as they are drawn."""
        return tuple(
            UnitPicture(
                unit.name,
                unit.kind,
                unit.shape,
                tuple((c.name, c.bits, c.words, c.role) for c in unit.components),
                self.layers_on(unit.name),
            )
            for unit in self.accelerator.units
        )

    def links(self) -> tuple[ChipLink, ...]:
        """The chip's links, as they are drawn."""
        return tuple(
            ChipLink(link.source, link.target, link.carries, link.bits, link.words_per_cycle)
            for link in self.accelerator.links
        )

    def layers_on(self, unit: str) -> tuple[str, ...]:
        """Layers that are assigned to a unit, or that it does something for."""
        there = {a.layer for a in self.assignments if a.unit == unit}
        there |= {row.layer for row in self.cost.rows if row.unit == unit and row.count > 0}
        return tuple(layer.name for layer in self.network if layer.name in there)


def mapping_tables(views: Sequence[MappingView]) -> tuple[Table, ...]:
    """One row a layer, one a counted action, one an assignment."""
    return _layers(views), _costs(views), _assignments(views)


def mapping_json(views: Sequence[MappingView]) -> dict[str, Any]:
    """Everything as plain data; ``mapping.schema.json`` says what stands where."""
    return {"format": FORMAT, "designs": [_design(view) for view in views]}


def _layers(views: Sequence[MappingView]) -> Table:
    actions = list(
        dict.fromkeys((r.unit, r.component, r.action) for view in views for r in view.cost.rows)
    )
    columns = (
        *("design", "layer", "kind", "units", "folds", "first_cycle", "last_cycle", "cycles"),
        *("utilisation", "positions", "terms", "channels", "macs"),
        *(
            f"{'.'.join(action)}_{what}"
            for action in actions
            for what in ("words", "bits", "energy_pj")
        ),
    )
    rows = []
    for view in views:
        names = [layer.name for layer in view.network]
        extra = dict.fromkeys(r.layer for r in view.cost.rows if r.layer not in names)
        for name in [*names, *extra]:
            rows.append((*_layer(view, name), *_actions(view, name, actions)))
    return Table("layers", columns, tuple(rows))


def _layer(view: MappingView, name: str) -> tuple[Cell, ...]:
    """Where and when a layer runs, and how large it is; ``*`` is what belongs to no layer."""
    mine = [a for a in view.assignments if a.layer == name]
    known = name in {layer.name for layer in view.network}
    kind = type(view.network[name]).__name__ if known else ""
    m, k, n = (
        view.network.mac_shape(name) if known and is_mac(view.network[name]) else (None, None, None)
    )
    return (
        *(view.name, name, kind),
        "; ".join(dict.fromkeys(a.unit for a in mine)),
        len({a.number for a in mine}) or None,
        min((a.first_cycle for a in mine), default=None),
        max((a.last_cycle for a in mine), default=None),
        view.cost.layer_cycles.get(name),
        view.cost.utilisation.get(name),
        *(m, k, n),
        m * k * n * view.network.steps if m and k and n else None,
    )


def _actions(
    view: MappingView, layer: str, actions: Sequence[tuple[str, str, str]]
) -> tuple[Cell, ...]:
    """Words, bits and energy of each action for a layer; None where it does not happen."""
    found: list[Cell] = []
    for action in actions:
        mine = [
            r
            for r in view.cost.rows
            if (r.layer, r.unit, r.component, r.action) == (layer, *action)
        ]
        priced = [r.energy_pj for r in mine if r.energy_pj is not None]
        found += [
            sum(r.count for r in mine) if mine else None,
            sum(r.count * r.bits for r in mine) if mine else None,
            sum(priced) if priced else None,
        ]
    return tuple(found)


def _costs(views: Sequence[MappingView]) -> Table:
    columns = ("design", "layer", "unit", "component", "action", "words", "bits_each", "energy_pj")
    rows: list[tuple[Cell, ...]] = [
        (
            *(view.name, r.layer, r.unit, r.component, r.action),
            *(r.count, r.bits, r.energy_pj, r.grade),
        )
        for view in views
        for r in view.cost.rows
    ]
    return Table("costs", (*columns, "grade"), tuple(rows))


def _assignments(views: Sequence[MappingView]) -> Table:
    columns = (
        *("design", "layer", "unit", "instances", "positions", "terms", "channels"),
        *("first_cycle", "last_cycle", "number", "step"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            *(view.name, a.layer, a.unit),
            " ".join(f"{first}:{stop}" for first, stop in a.instances),
            *(":".join(map(str, part)) for part in (a.m, a.k, a.n)),
            *(a.first_cycle, a.last_cycle, a.number, a.step),
        )
        for view in views
        for a in view.assignments
    ]
    return Table("assignments", columns, tuple(rows))


def _design(view: MappingView) -> dict[str, Any]:
    return {
        "name": view.name,
        "network": _network(view.network),
        "accelerator": _accelerator(view.accelerator),
        "assignments": list(view.assignments),
        "cost": {**vars(view.cost), "energy_pj": view.cost.energy_pj},
        "guards": list(view.guards),
    }


def _network(network: NetworkGraph) -> dict[str, Any]:
    return {
        "name": network.name,
        "steps": network.steps,
        "layers": [
            {
                "name": layer.name,
                "kind": type(layer).__name__,
                "inputs": [[edge.source, edge.delay_steps] for edge in layer.inputs],
                "shape": list(network.shapes[layer.name]),
                "mac_shape": list(network.mac_shape(layer.name)) if is_mac(layer) else None,
            }
            for layer in network
        ],
    }


def _accelerator(chip: AcceleratorGraph) -> dict[str, Any]:
    return {
        "name": chip.name,
        "clock": chip.clock_mhz,
        "sources": dict(chip.sources),
        "units": [
            {
                "name": unit.name,
                "kind": unit.kind,
                "shape": list(unit.shape),
                "area": unit.area_um2,
                "static_power": unit.static_power_mw,
                "components": [
                    {
                        "name": part.name,
                        "bits": part.bits,
                        "words": part.words,
                        "role": part.role,
                        "reload": part.reload,
                        "signed": part.signed,
                        "energy": part.energy,
                        "area": part.area_um2,
                    }
                    for part in unit.components
                ],
            }
            for unit in chip.units
        ],
        "links": list(chip.links),
    }
