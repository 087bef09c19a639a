"""A network on a chip, as `codesign map` tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from codesign.accelerator import AcceleratorGraph
from codesign.design import Design
from codesign.events import EventProgram
from codesign.intervals import Interval
from codesign.mapping import Assignment, Cost, Holding, Holds
from codesign.network import NetworkGraph
from codesign.report.chip import ChipLink
from codesign.report.mapping_guards import guards_by_unit
from codesign.study.findings import UnitPicture
from codesign.study.reach import Reach, reach_of

__all__ = ["MappingView"]


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
        holdings: What stands in the words of memories; () where the family does not say.
        reaches: By unit, how many values one broken instance or word touches.
        guarded: By unit, the guards that stand before what it stores.
        digest: Of the design, by which its campaigns are found.
        losses: By unit, accuracy lost to one fault there, where a campaign has run.
        time: What first and last moments count: cycles, or updates of a chip of events.
        notes: Sentences that must stand beside the numbers.
    """

    name: str
    network: NetworkGraph
    accelerator: AcceleratorGraph
    assignments: tuple[Assignment, ...]
    cost: Cost
    guards: tuple[str, ...] = ()
    holdings: tuple[Holding, ...] = ()
    reaches: dict[str, Reach] = field(default_factory=dict)
    guarded: dict[str, tuple[str, ...]] = field(default_factory=dict)
    digest: str = ""
    losses: dict[str, Interval] = field(default_factory=dict)
    time: str = "cycles"
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, design: Design, cost: Cost, notes: Sequence[str] = ()) -> MappingView:
        """Of a design, with the cost that its mapping gave for some activity."""
        mapping: object = design.mapping
        program: object = design.program
        found = {unit.name: reach_of(design, unit) for unit in design.accelerator.units}
        view = cls(
            name=design.name,
            network=design.network,
            accelerator=design.accelerator,
            assignments=design.mapping.assignments(),
            cost=cost,
            guards=tuple(str(guard) for guard in design.guards),
            holdings=mapping.holdings() if isinstance(mapping, Holds) else (),
            reaches={name: reach for name, reach in found.items() if reach is not None},
            digest=design.digest,
            time="updates" if isinstance(program, EventProgram) else "cycles",
            notes=tuple(notes),
        )
        there = {unit.name: view.layers_on(unit.name) for unit in design.accelerator.units}
        return replace(view, guarded=guards_by_unit(design, there))

    def units(self) -> tuple[UnitPicture, ...]:
        """The chip's units, as they are drawn."""
        return tuple(
            UnitPicture(
                unit.name,
                unit.kind,
                unit.shape,
                tuple((c.name, c.bits, c.words, c.role_text) for c in unit.components),
                self.layers_on(unit.name),
                vulnerability=self.losses.get(unit.name),
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
        there |= {h.layer for h in self.holdings if h.unit == unit}
        there |= {row.layer for row in self.cost.rows if row.unit == unit and row.count > 0}
        return tuple(layer.name for layer in self.network if layer.name in there)
