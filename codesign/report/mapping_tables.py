"""The tables of a mapping: layers, counted actions, assignments, units, what memories hold."""

from __future__ import annotations

from collections.abc import Sequence

from codesign.network import is_mac
from codesign.report.mapping_units import (
    exposure_cells,
    layer_exposure,
    layer_occupancy,
    phase_cells,
    units_table,
)
from codesign.report.mapping_view import MappingView
from codesign.report.tables import Cell, Table

__all__ = ["mapping_tables"]


def mapping_tables(views: Sequence[MappingView]) -> tuple[Table, ...]:
    """One row a layer, one a counted action, one an assignment, one a unit, one a holding."""
    return (
        *(_layers(views), _costs(views), _assignments(views)),
        *(units_table(views), _holdings(views)),
    )


def _layers(views: Sequence[MappingView]) -> Table:
    actions = list(
        dict.fromkeys((r.unit, r.component, r.action) for view in views for r in view.cost.rows)
    )
    columns = (
        *("design", "layer", "kind", "units", "folds", "first_cycle", "last_cycle", "cycles"),
        *("load_cycles", "compute_cycles", "drain_cycles", "stall_cycles", "utilisation"),
        *("occupancy", "exposure_bit_cycles", "exposure_bit_seconds"),
        *("positions", "terms", "channels", "macs"),
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
        *phase_cells(view.cost.phases.get(name)),
        view.cost.utilisation.get(name),
        layer_occupancy(view, name),
        *exposure_cells(view, layer_exposure(view, name)),
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


def _holdings(views: Sequence[MappingView]) -> Table:
    columns = (
        *("design", "layer", "tensor", "unit", "component", "instances", "words"),
        *("positions", "terms", "channels", "order", "elements", "bits_each", "per_word"),
        *("offset", "first_cycle", "last_cycle"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            *(view.name, h.layer, h.tensor, h.unit, h.component),
            " ".join(f"{first}:{stop}" for first, stop in h.instances),
            *(f"{first}:{stop}" for first, stop in (h.words, h.m, h.k, h.n)),
            *(h.order, h.elements, h.bits, h.per_word, h.offset, h.first_cycle, h.last_cycle),
        )
        for view in views
        for h in view.holdings
    ]
    return Table("holdings", columns, tuple(rows))
