"""AcceleratorGraph: a chip as a multigraph of units and links, every number with its source.

A `Unit` is a group of equal instances (16 × 16 processing elements are one unit of shape (16, 16));
a `Component` is a faultable part that each instance has (a register, a memory, a neuron operation).
A single bit is named by (unit, instance, component, word, bit): see `codesign.faults.FaultSite`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal

from codesign.digests import digest
from codesign.errors import FaultError, nearest
from codesign.quantities import Quantity

if TYPE_CHECKING:
    import networkx

__all__ = ["AcceleratorGraph", "Component", "Link", "Unit"]

Role = Literal[
    "weight",
    "activation",
    "psum",
    "bias",
    "membrane",
    "threshold",
    "spike",
    "product",
    "operation",
    "link",
    "address",
]
Reload = Literal["per_cycle", "per_tile", "per_step", "per_layer", "per_inference", "never"]


@dataclass(frozen=True)
class Component:
    """A faultable part of each instance of a unit.

    Attributes:
        name: Within the unit, for example ``weight_register``.
        bits: Width of a word.
        role: What it holds or does. ``operation`` is logic that can be skipped or stuck, not
            storage; ``link`` and ``address`` are wires, which carry a word in its cycle and hold
            nothing.
        words: Words of each instance.
        reload: When its content is written anew, which ends a flipped bit.
        signed: Whether a word is two's complement.
        energy: Marginal energy by action (``read``, ``write``, ``op``), per word, in pJ.
        area_um2: Of all its words in one instance, if known.
        net: Whether it is a wire behind logic: it can be wrong, and stores nothing.
    """

    name: str
    bits: int
    role: Role
    words: int = 1
    reload: Reload = "per_cycle"
    signed: bool = True
    energy: dict[str, Quantity] = field(default_factory=dict)
    area_um2: Quantity | None = None
    net: bool = False

    @property
    def role_text(self) -> str:
        """Its role, as people read it.

        >>> Component("mac_out", 32, "psum", net=True).role_text
        'psum, a net'
        """
        return f"{self.role}, a net" if self.net else self.role


@dataclass(frozen=True)
class Unit:
    """A group of equal instances.

    Attributes:
        name: Within the accelerator, for example ``array``.
        kind: ``pe_array``, ``sram``, ``dram``, ``crossbar``, ``neuron``, ``mesh``, ``accumulator``…
        shape: Of the group of instances; () is one instance.
        components: Faultable parts.
        static_power_mw: Of the whole group, if known.
        area_um2: Of one instance beyond its components, if known.
    """

    name: str
    kind: str
    shape: tuple[int, ...] = ()
    components: tuple[Component, ...] = ()
    static_power_mw: Quantity | None = None
    area_um2: Quantity | None = None

    @property
    def instances(self) -> int:
        """Number of instances."""
        return prod(self.shape)

    def component(self, name: str) -> Component:
        """A component by name.

        Raises:
            FaultError: No such component; the nearest is named.
        """
        for component in self.components:
            if component.name == name:
                return component
        known = [c.name for c in self.components]
        raise FaultError(f"unit {self.name} has no component {name!r}{nearest(name, known)}")

    def sites(self, component: str) -> int:
        """Bits of one component over all instances.

        Site i is (instance, word, bit) with the bit fastest:
        ``i = (instance · words + word) · bits + bit``, the instance flat in ``shape``.
        """
        part = self.component(component)
        return self.instances * part.words * part.bits


@dataclass(frozen=True)
class Link:
    """A directed connection that carries data.

    Attributes:
        source, target: Unit names.
        carries: What travels, for example ``weight``.
        bits: Width.
        words_per_cycle: Bandwidth in words of ``bits``, if known.
    """

    source: str
    target: str
    carries: str
    bits: int
    words_per_cycle: float | None = None


@dataclass(frozen=True, eq=False)
class AcceleratorGraph:
    """A chip.

    Attributes:
        name: For reports.
        family: The family object that built it: opaque here, frozen, picklable, with ``map``.
        units: Nodes, in the order data meets them.
        links: Edges.
        clock_mhz: Clock, if known; without it times in seconds are refused, cycles are not.
        sources: Citation of each source key that quantities name.
    """

    name: str
    family: object
    units: tuple[Unit, ...]
    links: tuple[Link, ...] = ()
    clock_mhz: Quantity | None = None
    sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {u.name for u in self.units}
        if len(known) != len(self.units):
            raise FaultError(f"{self.name}: two units share a name")
        for link in self.links:
            for end in (link.source, link.target):
                if end not in known:
                    raise FaultError(f"{self.name}: link to {end!r}{nearest(end, known)}")

    def unit(self, name: str) -> Unit:
        """A unit by name.

        Raises:
            FaultError: No such unit; the nearest is named.
        """
        for unit in self.units:
            if unit.name == name:
                return unit
        raise FaultError(
            f"{self.name} has no unit {name!r}{nearest(name, (u.name for u in self.units))}"
        )

    def components(self) -> tuple[tuple[Unit, Component], ...]:
        """Every (unit, component) pair in order; fault tables number them by this order."""
        return tuple((unit, part) for unit in self.units for part in unit.components)

    def graph(self) -> networkx.MultiDiGraph:
        """The same as a networkx multigraph: unit names as nodes, units and links as attributes."""
        import networkx

        graph = networkx.MultiDiGraph(name=self.name)
        for unit in self.units:
            graph.add_node(unit.name, unit=unit)
        for link in self.links:
            graph.add_edge(link.source, link.target, link=link)
        return graph

    @cached_property
    def digest(self) -> str:
        """Content digest."""
        return digest((self.family, self.units, self.links, self.clock_mhz))
