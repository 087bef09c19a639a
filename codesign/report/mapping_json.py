"""A mapping as plain data; ``mapping.schema.json`` says what stands where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codesign.accelerator import AcceleratorGraph
from codesign.network import NetworkGraph, is_mac
from codesign.report.mapping_units import exposures, uses
from codesign.report.mapping_view import MappingView

__all__ = ["mapping_json"]

FORMAT = "codesign mapping 1"


def mapping_json(views: Sequence[MappingView]) -> dict[str, Any]:
    """Everything as plain data; ``mapping.schema.json`` says what stands where."""
    return {"format": FORMAT, "designs": [_design(view) for view in views]}


def _design(view: MappingView) -> dict[str, Any]:
    return {
        "name": view.name,
        "network": _network(view.network),
        "accelerator": _accelerator(view.accelerator),
        "assignments": list(view.assignments),
        "holdings": list(view.holdings),
        "units": uses(view),
        "exposures": [
            {"layer": layer, "unit": unit, "bit_cycles": value}
            for (layer, unit), value in exposures(view).items()
        ],
        "time": view.time,
        "notes": list(view.notes),
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
                        "net": part.net,
                    }
                    for part in unit.components
                ],
            }
            for unit in chip.units
        ],
        "links": list(chip.links),
    }
