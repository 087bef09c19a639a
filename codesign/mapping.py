"""Mapping: who is where, when. What a hardware family answers about a network on its chip.

A family answers four questions: how do I compute (`Mapping.program`), what does this fault touch
(`Mapping.footprint`), what does it cost (`Mapping.cost`), who is where (`Mapping.assignments`).
Everything else (reports, mitigation, search) is made from these answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from codesign.accelerator import AcceleratorGraph
from codesign.effects import Effects
from codesign.errors import MappingError
from codesign.events import EventProgram
from codesign.faults import Faults
from codesign.guards import Guard
from codesign.network import NetworkGraph
from codesign.program import Program

__all__ = [
    "Activity",
    "Assignment",
    "Cost",
    "CostRow",
    "Family",
    "Footprint",
    "Holding",
    "Holds",
    "Mapping",
    "Phases",
    "Placement",
]


@dataclass(frozen=True)
class Placement:
    """What a designer (or a mitigation) may choose about where things go.

    Permutations name physical positions: logical row i sits in physical row ``rows[i]``. Short
    permutations and forbidden instances leave hardware unused: the mapping folds accordingly.

    Attributes:
        rows: Physical rows in the order in which they are filled, or () for all in order.
        columns: Physical columns in the order in which they are filled, or () for all in order.
        forbidden: Instances (of arrays: (row, column); of cores: (core,) or (core, column)) that
            are not used; an array then leaves out the whole column, a core the column or itself.
    """

    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()
    forbidden: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        for name, order in (("rows", self.rows), ("columns", self.columns)):
            if len(set(order)) != len(order):
                raise MappingError(f"placement.{name} names a position twice: {order}")


@dataclass(frozen=True)
class Assignment:
    """One piece of a layer on one unit for a run of cycles of every inference.

    Attributes:
        layer: Layer name.
        unit: Unit name.
        instances: For each axis of the unit's shape, (start, stop) of the instances used.
        m, k, n: (start, stop, step) of the positions, terms and channels worked on.
        first_cycle, last_cycle: Half open, within one inference.
        number: Number of this pass or fold within the layer, from 0.
        step: Time step of an SNN; -1 where each step repeats this assignment.
    """

    layer: str
    unit: str
    instances: tuple[tuple[int, int], ...]
    m: tuple[int, int, int]
    k: tuple[int, int, int]
    n: tuple[int, int, int]
    first_cycle: int
    last_cycle: int
    number: int = 0
    step: int = -1


@dataclass(frozen=True)
class Holding:
    """Elements of a tensor in the words of a memory, for a part of every inference.

    Attributes:
        layer: Whose tensor.
        tensor: ``weight``, ``activation`` (the layer's output), ``sum`` (of the passes that are
            added up) or ``neuron`` (all that a word has of one neuron).
        unit, component: The memory.
        instances: For each axis of the unit's shape, (start, stop); () for one instance.
        words: (start, stop) of the words used.
        m, k, n: (start, stop) of the positions, terms and channels; (0, 1) of an axis that the
            tensor does not have.
        order: Axes from the slowest to the fastest, such as ``nk``: element i of the box in this
            order stands at place ``(offset + i) % per_word`` of word
            ``words[0] + (offset + i) // per_word``. Empty where they follow no such order.
        bits: Of one element.
        first_cycle, last_cycle: Half open, within one inference.
        per_word: Elements of a full word.
        offset: Place of the first element in its word.
    """

    layer: str
    tensor: Literal["weight", "activation", "sum", "neuron"]
    unit: str
    component: str
    instances: tuple[tuple[int, int], ...]
    words: tuple[int, int]
    m: tuple[int, int]
    k: tuple[int, int]
    n: tuple[int, int]
    order: str
    bits: int
    first_cycle: int
    last_cycle: int
    per_word: int = 1
    offset: int = 0

    @property
    def elements(self) -> int:
        """How many stand there."""
        return prod(stop - start for start, stop in (self.m, self.k, self.n))

    def in_word(self, word: int) -> tuple[tuple[int, int, int], ...]:
        """(m, k, n) of each element in one word, () where the order is not known.

        >>> box = {"m": (0, 1), "k": (0, 3), "n": (4, 6), "order": "nk", "bits": 8}
        >>> time = {"first_cycle": 0, "last_cycle": 9}
        >>> Holding("c", "weight", "s", "words", (), (7, 9), **box, **time, per_word=4).in_word(8)
        ((0, 1, 5), (0, 2, 5))
        """
        if not self.order or not self.words[0] <= word < self.words[1]:
            return ()
        first = (word - self.words[0]) * self.per_word - self.offset
        found = []
        for i in range(max(first, 0), min(first + self.per_word, self.elements)):
            at, rest = {"m": self.m[0], "k": self.k[0], "n": self.n[0]}, i
            for axis in reversed(self.order):
                start, stop = getattr(self, axis)
                rest, within = divmod(rest, stop - start)
                at[axis] = start + within
            found.append((at["m"], at["k"], at["n"]))
        return tuple(found)


@dataclass(frozen=True)
class Activity:
    """What a golden run did, as far as costs depend on it: means over samples.

    Attributes:
        spikes: Output spikes of each spiking layer and, for a spiking input, of the input layer.
        zeros: Share of zero codes in each layer's output.
        updates: Of each spiking layer, how often one of its neurons had something to do in a step:
            a spike reached it, or its membrane or bias was not 0. Only costs that leave out idle
            neurons ask for it.
    """

    spikes: dict[str, float] = field(default_factory=dict)
    zeros: dict[str, float] = field(default_factory=dict)
    updates: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CostRow:
    """How often a unit's component does an action in one inference.

    Attributes:
        layer: Layer name, or ``*`` for what belongs to none.
        unit, component, action: Who does what.
        count: Times per inference (words, operations or events).
        bits: Bits moved by one.
        energy_pj: Of all ``count`` together, or None where the datasheet has no number.
        grade: Of the number used: ``published``, ``simulated``, ``assumed``…, or ``absent``.
    """

    layer: str
    unit: str
    component: str
    action: str
    count: float
    bits: int
    energy_pj: float | None
    grade: str


@dataclass(frozen=True)
class Phases:
    """What the cycles of a layer are spent on; each cycle counts once.

    Attributes:
        load: Operands come in, and nothing is computed yet.
        compute: From the first operation to the last, the filling of a pipeline included.
        drain: Results still move out.
        stall: Nothing of the layer moves.
    """

    load: int = 0
    compute: int = 0
    drain: int = 0
    stall: int = 0

    @property
    def cycles(self) -> int:
        """All of them.

        >>> Phases(load=7, compute=22, drain=1).cycles
        30
        """
        return self.load + self.compute + self.drain + self.stall

    def times(self, count: int) -> Phases:
        """The same, several times."""
        return Phases(*(count * part for part in (self.load, self.compute, self.drain, self.stall)))


@dataclass(frozen=True)
class Cost:
    """What one inference costs.

    Attributes:
        cycles: Latency in cycles, all executions of a `Recompute` guard included.
        layer_cycles: Cycles by layer.
        utilisation: By layer, share of (instances × cycles) that do useful work, 0 to 1.
        rows: Actions counted.
        area_um2: By unit, in um², sourced figures only.
        area_ge: By unit, gate equivalents by the family's stated formula.
        latency_us: If the clock is known.
        missing: Names of the numbers that would be needed for a complete price, and are absent.
        phases: The cycles of a layer, split; ``*`` is what belongs to none. Empty where the family
            does not say.
    """

    cycles: int
    layer_cycles: dict[str, int]
    utilisation: dict[str, float]
    rows: tuple[CostRow, ...]
    area_um2: dict[str, float] = field(default_factory=dict)
    area_ge: dict[str, float] = field(default_factory=dict)
    latency_us: float | None = None
    missing: tuple[str, ...] = ()
    phases: dict[str, Phases] = field(default_factory=dict)

    @property
    def energy_pj(self) -> float:
        """Sum of the priced rows; see `missing` for what is not in it."""
        return float(sum(row.energy_pj for row in self.rows if row.energy_pj is not None))


@dataclass(frozen=True, eq=False)
class Footprint:
    """What faults do to tensors, and the books.

    Attributes:
        effects: Of all trials.
        faults: ``[trials]`` int64 faults of each trial.
        idle: ``[trials]`` int64 of these, faults that meet nothing in their window (an unused unit,
            a dead interval): masked by proof.
    """

    effects: Effects
    faults: NDArray[np.int64]
    idle: NDArray[np.int64]


class Mapping(Protocol):
    """A network on an accelerator; made by a `Family`, derived from a design, never stored."""

    def program(self, guards: tuple[Guard, ...]) -> Program | EventProgram:
        """What this chip computes for this network with these guards.

        Raises:
            UnsupportedError: Guards that this chip's kind of program cannot have.
        """
        ...

    def assignments(self) -> tuple[Assignment, ...]:
        """Who is where, when."""
        ...

    def footprint(self, faults: Faults, inferences: int) -> Footprint:
        """What faults touch, for a run of ``inferences`` inferences one after the other.

        Raises:
            FaultError: A fault or window that cannot exist.
            UnsupportedError: A fault that this family does not claim, by name.
        """
        ...

    def exposures(self, unit: str, component: str) -> tuple[int, ...]:
        """Cycles of one inference from which on each value stored in a component stands there.

        One entry for each content that an instance holds in turn (each fold or pass); (0,) for what
        is written once before the first inference. A scenario that strikes *stored values* draws
        sites × exposures; one that strikes *hardware* draws sites.

        Raises:
            FaultError: No such unit or component.
        """
        ...

    def cost(self, activity: Activity, guards: tuple[Guard, ...]) -> Cost:
        """What one inference costs with these guards."""
        ...


@runtime_checkable
class Holds(Protocol):
    """A mapping that also says what stands in the words of its memories; not every family does."""

    def holdings(self) -> tuple[Holding, ...]:
        """Every tensor in every memory, in the order of the network's layers."""
        ...


class Family(Protocol):
    """A hardware family with its datasheet: a frozen, picklable dataclass loaded from a YAML."""

    def build(self) -> AcceleratorGraph:
        """The chip as a graph; its ``family`` is this object."""
        ...

    def map(self, network: NetworkGraph, placement: Placement) -> Mapping:
        """Place a network.

        Raises:
            CapacityError: Something does not fit: resource, demand, limit, knob.
            MappingError: The placement or a layer is impossible here.
        """
        ...
