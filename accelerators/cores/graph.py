"""The units of a chip of cores, their components, and what each can be charged for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from codesign.accelerator import Component, Link, Unit
from codesign.errors import StudyError, nearest
from codesign.formats import NumberFormat

if TYPE_CHECKING:
    from accelerators.cores.family import Cores
    from codesign.accelerator import Reload, Role

__all__ = ["ACTIONS", "OPERATIONS", "check_prices", "links_of", "units_of"]

OPERATIONS = ("integrate", "leak", "fire", "reset")

# What an inference does with a component; one `Cores.energy` entry each.
ACTIONS: dict[str, tuple[str, ...]] = {
    "weights": ("read",),
    "axon_register": ("write", "read"),
    "weight_register": ("write", "read"),
    "current_register": ("add", "mac", "read"),
    "bias": ("read",),
    "membrane": ("read", "write"),
    "threshold": ("read",),
    **dict.fromkeys(OPERATIONS, ("op",)),
    "spike_line": ("spike",),
    "packet": ("send", "hop", "hop_x", "hop_y", "receive"),
}


def units_of(sheet: Cores) -> tuple[Unit, ...]:
    """Units in the order data meets them."""
    cores, rows, columns = sheet.cores, sheet.axons, sheet.columns
    words = sheet.neuron_words
    wire = NumberFormat(1, signed=False)
    packet = NumberFormat(sheet.packet_bits, signed=False)
    neuron = (
        _part(sheet, "current_register", sheet.current, "psum", "per_tile"),
        _part(sheet, "bias", sheet.current, "bias", "never", words),
        _part(sheet, "membrane", sheet.membrane, "membrane", "per_step", words),
        _part(sheet, "threshold", sheet.threshold, "threshold", "never", words),
        *(_part(sheet, name, wire, "operation", "per_cycle") for name in OPERATIONS),
        replace(_part(sheet, "spike_line", wire, "spike", "per_cycle"), net=True),
    )
    memory = _part(sheet, "weights", sheet.weight, "weight", "never", sheet.weight_words)
    axon = _part(sheet, "axon_register", sheet.axon, "activation", "per_tile")
    weight = _part(sheet, "weight_register", sheet.weight, "weight", "per_tile")
    router = _part(sheet, "packet", packet, "spike", "per_cycle")
    return (
        _unit(sheet, "weight_memory", "sram", (cores,), (memory,)),
        _unit(sheet, "axon_in", "axon_in", (cores, rows), (axon,)),
        _unit(sheet, "crossbar", "crossbar", (cores, rows, columns), (weight,)),
        _unit(sheet, "neuron", "neuron", (cores, columns), neuron),
        _unit(sheet, "core", "mesh", (cores,), (router,)),
        *_network_of(sheet),
    )


def _network_of(sheet: Cores) -> tuple[Unit, ...]:
    """Routers, the links out of each (``+x``, ``-x``, ``+y``, ``-y``) and the ports of cores."""
    routers = sheet.mesh[0] * sheet.mesh[1]
    address = max(1, (sheet.axons - 1).bit_length())
    port = (
        Component("code", sheet.axon_bits, "link", signed=sheet.axon_signed),
        Component("axon", address, "address", signed=False),
    )
    return (
        Unit("router", "link", (routers,)),
        Unit("mesh_link", "link", (routers, 4)),
        Unit("port", "link", (sheet.cores,), port),
    )


def links_of(sheet: Cores) -> tuple[Link, ...]:
    """What travels between the units."""
    return (
        Link("weight_memory", "crossbar", "weight", sheet.weight.bits, sheet.columns),
        Link("port", "axon_in", "spike", sheet.packet_bits, 1),
        Link("axon_in", "crossbar", "activation", sheet.axon.bits, 1),
        Link("crossbar", "neuron", "current", sheet.current.bits, sheet.columns),
        Link("neuron", "core", "spike", sheet.packet_bits, 1),
        Link("core", "router", "spike", sheet.packet_bits, 1),
        Link("router", "mesh_link", "spike", sheet.packet_bits, 1),
        Link("mesh_link", "router", "spike", sheet.packet_bits, 1),
        Link("router", "port", "spike", sheet.packet_bits, 1),
    )


def check_prices(sheet: Cores) -> None:
    """Refuse a price that nothing asks for.

    Raises:
        StudyError: The nearest right name is offered.
    """
    units = [unit for unit in units_of(sheet) if unit.kind != "link"]
    parts = [component.name for unit in units for component in unit.components]
    names = [unit.name for unit in units]
    known = {
        "energy": [f"{part}.{action}" for part in parts for action in ACTIONS[part]],
        "area": [*names, *parts],
        "static_power": names,
        "cycle_energy": names,
    }
    for table, asked in known.items():
        for name in getattr(sheet, table):
            if name not in asked:
                raise StudyError(
                    f"{sheet.name}: nothing asks for {table}.{name}{nearest(name, asked)}"
                )
    if "packet.hop" in sheet.energy and not {"packet.hop_x", "packet.hop_y"}.isdisjoint(
        sheet.energy
    ):
        raise StudyError(
            f"{sheet.name}: energy prices packet.hop and also packet.hop_x or packet.hop_y; "
            "keep the first, or the other two"
        )


def _part(
    sheet: Cores, name: str, form: NumberFormat, role: Role, reload: Reload, words: int = 1
) -> Component:
    energy = {
        action: sheet.energy[f"{name}.{action}"]
        for action in ACTIONS[name]
        if f"{name}.{action}" in sheet.energy
    }
    area = sheet.area.get(name)
    return Component(name, form.bits, role, words, reload, form.signed, energy, area)


def _unit(
    sheet: Cores, name: str, kind: str, shape: tuple[int, ...], components: tuple[Component, ...]
) -> Unit:
    return Unit(name, kind, shape, components, sheet.static_power.get(name), sheet.area.get(name))
