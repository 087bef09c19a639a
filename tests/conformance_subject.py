"""What the conformance suite looks at: a family and a small network, with what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from conformance_faults import Answer, answers

from codesign.accelerator import AcceleratorGraph
from codesign.design import Design
from codesign.engine import dense
from codesign.mapping import Family, Mapping, Placement
from codesign.network import Input, NetworkGraph
from codesign.program import Program
from codesign.samples import Samples

__all__ = ["ConformanceError", "Subject", "require"]


class ConformanceError(AssertionError):
    """A family does not do what the house relies on."""


def require(holds: object, message: str) -> None:
    """Go on only if something holds."""
    if not holds:
        raise ConformanceError(message)


@dataclass(frozen=True)
class Subject:
    """A family and a small network for it.

    Attributes:
        family: With its datasheet; ``build`` and ``map`` are called on it.
        network: Small: every check runs it, some of them through the slow reference engine.
        placement: Where it goes.
        inferences: Of a run that faults strike.
        sites: Of each component that are tried, at most; all of them if there are no more.
        cycles: In which flips are tried, at most.
        seed: Of inputs, and of which sites and cycles.
    """

    family: Family
    network: NetworkGraph
    placement: Placement = field(default_factory=Placement)
    inferences: int = 2
    sites: int = 16
    cycles: int = 16
    seed: int = 0

    @cached_property
    def chip(self) -> AcceleratorGraph:
        """The chip, built once."""
        return self.family.build()

    @cached_property
    def design(self) -> Design:
        """The network on it."""
        return Design("conformance", self.network, self.chip, self.placement)

    @property
    def mapping(self) -> Mapping:
        """A mapping made anew at every call."""
        return self.family.map(self.network, self.placement)

    @cached_property
    def program(self) -> Program:
        """What the chip computes without guards."""
        return self.design.layered()

    @cached_property
    def samples(self) -> Samples:
        """Random codes, the same at every call, one for each inference."""
        layer = self.network.layers[0]
        assert isinstance(layer, Input)
        rng = np.random.default_rng(self.seed)
        shape = (self.inferences, self.network.steps, *layer.shape)
        codes = rng.integers(layer.format.low, layer.format.high + 1, shape)
        return Samples("conformance", "test", codes, np.zeros(self.inferences, int), timed=True)

    @cached_property
    def golden(self) -> dense.Golden:
        """The run without faults."""
        return dense.golden(self.program, self.samples)

    @cached_property
    def last_cycle(self) -> int:
        """Cycles of an inference."""
        return max(a.last_cycle for a in self.mapping.assignments())

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """What the family answers on faults of every component, site by site."""
        return tuple(answers(self))
