"""Which guards stand before what a unit stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codesign.design import Design
from codesign.guards import Guard, Recompute, Silence

__all__ = ["guards_by_unit"]

ROLES = {
    "weight": ("weight",),
    "activation": ("activation", "spike"),
    "membrane": ("membrane",),
}


def guards_by_unit(
    design: Design, layers: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """By unit, in words, how many guards of each kind check its words.

    A guard of a layer's weights, activations or membranes stands before every unit that stores or
    hands on these: one with a component of that role, on which the layer (or, of an activation, a
    reader of it) has something. Executing again guards all units.

    Args:
        design: With its guards.
        layers: By unit, what has something there.
    """
    found = {}
    for unit in design.accelerator.units:
        roles = {str(part.role) for part in unit.components}
        kinds: dict[str, int] = {}
        for guard in design.guards:
            if _stands(guard, design, roles, layers.get(unit.name, ())):
                told = _told(guard)
                kinds[told] = kinds.get(told, 0) + 1
        found[unit.name] = tuple(
            told if count == 1 else f"{count} × {told}" for told, count in kinds.items()
        )
    return found


def _stands(guard: Guard, design: Design, roles: set[str], layers: Sequence[str]) -> bool:
    if isinstance(guard, Recompute):
        return True
    place = "membrane" if isinstance(guard, Silence) else guard.place
    if roles.isdisjoint(ROLES[place]):
        return False
    near = {guard.layer}
    if place == "activation":
        near |= set(design.network.readers(guard.layer))
    if place == "membrane":
        near |= {edge.source for edge in design.network[guard.layer].inputs}
    return not near.isdisjoint(layers)


def _told(guard: Guard) -> str:
    if isinstance(guard, Recompute):
        return f"{guard.times} executions"
    if isinstance(guard, Silence):
        return "silence"
    return f"{type(guard).__name__.lower()} of {guard.place}s"
