"""EventProgram: what a chip computes that works off events, one neuron after the other.

A host sends *actions*. A neuron or immediate event goes into a queue; a leak is done at once. An
*item* is one event that is worked off, or one sample of all potentials; items are numbered in the
order in which the chip does them, from 0 in each inference. A scan visits the neurons 0, 1, …::

    for n in the item's neurons:
        a = n                                       | alias at cell
        word = cells[a]                             | state, parameter at cell; then at read
        w = weights[axon, n]  (scan)                | alias at weight; operand at cell, then at read
            or the event's own                      |
        w                                           | operand at weight
        v = fit(potential + w), or potential moved towards zero by the leak field
        fires = v >= 0 and v >= threshold
        if fires: v = 0
        word = what was read, with potential v      | state, parameter at write
        cells[a] = word
        if fires and not disabled: address n leaves | alias at line
            and, in a closed loop, is queued as an axon (lost if the queue is full)

The right column names the places where an effect can act (`codesign.effects`, layer 0): ``n`` are
neurons, ``k`` axons (all of them but at cell of an operand), ``steps`` items, ``samples``
inferences. A neuron word is one place of all its fields: state if the mask lies in the potential,
parameter if not. A flip at cell acts once, when its first item begins; a stuck cell at load and
after each write; read, write and weight act at each use in their items. Operand at weight takes a
place of the weight's own width, then one of the potential's width that holds its sign extension.
Operand cells are never rewritten. An alias makes the bits of its mask lead elsewhere: ``stuck``, on
neuron numbers (cell, line) or on ``axon * neurons + neuron`` (weight). Flips act before stuck bits;
``rank`` says nothing here, for every place stands at one point of the way.

**Time.** A host that waits needs cycles without work; a wait of more than ``time_out`` cycles is a
hang. `EventCycles` has what takes how long; because spikes take time, a host's request can come
before or after a queued spike, so the order of items depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codesign.digests import digest
from codesign.effects import ALL, At, Effects, Kind, Op, box
from codesign.errors import DataError, FaultError
from codesign.formats import NumberFormat, read_only
from codesign.samples import Samples

__all__ = [
    "ACTION",
    "PLACES",
    "Action",
    "EventCoding",
    "EventCycles",
    "EventProgram",
    "Population",
    "Timeline",
    "WordField",
    "WordLayout",
    "actions",
    "check",
    "steps_of_actions",
    "stimuli",
]

PLACES: dict[Kind, tuple[At, ...]] = {
    Kind.operand: (At.cell, At.read, At.weight),
    Kind.state: (At.cell, At.read, At.write),
    Kind.parameter: (At.cell, At.read, At.write),
    Kind.alias: (At.cell, At.weight, At.line),
}


class Action(IntEnum):
    """What a host does: queue an event for all neurons or for one, leak all or one, sample."""

    scan = 0
    immediate = 1
    leak_all = 2
    leak_one = 3
    sample = 4


ACTION = np.dtype(
    [
        ("kind", "i1"),
        ("index", "i4"),  # axon of a scan, neuron of immediate and leak_one
        ("weight", "i4"),  # of immediate
        ("waits", "?"),  # until the chip is idle
    ]
)


class WordField(NamedTuple):
    """Bits of a stored word: the lowest, and how many."""

    low: int
    bits: int

    @property
    def mask(self) -> int:
        """These bits of a word."""
        return ((1 << self.bits) - 1) << self.low

    def signed(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        """Values of these bits in words, in two's complement."""
        return NumberFormat(self.bits).decode((words & self.mask) >> self.low)


@dataclass(frozen=True)
class WordLayout:
    """Where a neuron's potential (two's complement), parameters and disable bit stand in its word.

    An update rewrites the whole word: the potential anew, the rest as it was read.
    """

    potential: WordField
    threshold: WordField
    leak: WordField
    disable: WordField


@dataclass(frozen=True)
class EventCycles:
    """What takes how many cycles.

    Attributes:
        update: One neuron's update.
        spike: The output handshake of one spike; the scan stands still.
        pop: Leaving a scan of all neurons.
        acknowledge: From the controller's free cycle to the acknowledgement of a queued event.
        release: From there to the controller's next free cycle.
        turn: From there to the host's next action.
        idle: Cycles without work that a waiting host counts.
        time_out: Longest wait of a host.
    """

    update: int = 2
    spike: int = 0
    pop: int = 0
    acknowledge: int = 0
    release: int = 0
    turn: int = 0
    idle: int = 0
    time_out: int = 1 << 40


@dataclass(frozen=True)
class EventCoding:
    """How a host plays a sample: in each step, one scan for each input that is not zero, in order.

    Attributes:
        axons: Axon of each input, flat.
        steps: Time steps.
        leak: Whether all neurons leak, before or after the scans of a step.
        waits: Whether the host lets each event be worked off before it sends the next. It does so
            before a leak in any case, and after the last event.
        name: Of the inputs, as a layer of the network.
    """

    axons: tuple[int, ...]
    steps: int
    leak: Literal["none", "first", "last"] = "none"
    waits: bool = True
    name: str = "input"


@dataclass(frozen=True)
class Population:
    """Neurons that a network calls a layer: what words and spikes are told by.

    Attributes:
        name: Of the layer of neurons.
        weights: Of the layer whose weights lead to them.
        neurons: Their numbers, in the layer's order.
    """

    name: str
    weights: str
    neurons: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class EventProgram:
    """What an event-serial design computes.

    Attributes:
        words: ``[neurons]`` neuron words as loaded before each inference.
        weights: ``[axons, neurons]`` codes, loaded once before the first inference.
        layout: Of a neuron word.
        weight_bits: Width of a weight in two's complement.
        scan: Neurons 0 to scan - 1 are visited by a scan and by ``leak_all``, and sampled.
        closed_loop: Whether own spikes are queued.
        queue_capacity: Entries; an event that finds the queue full is lost.
        cycles: What takes how long.
        outputs: Neurons whose spikes are counted: the output.
        coding: How samples are played, if they are.
        populations: Which neurons are which layer, if it is a network that is computed.
    """

    words: NDArray[np.int64]
    weights: NDArray[np.int64]
    layout: WordLayout
    weight_bits: int
    scan: int
    closed_loop: bool
    queue_capacity: int
    cycles: EventCycles
    outputs: tuple[int, ...] = ()
    coding: EventCoding | None = None
    populations: tuple[Population, ...] = ()

    def __post_init__(self) -> None:
        for name in ("words", "weights"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        neurons = len(self.words)
        if self.weights.ndim != 2 or self.weights.shape[1] != neurons:
            raise DataError(f"weights [axons, {neurons}] expected, came {self.weights.shape}")
        if not NumberFormat(self.weight_bits).holds(self.weights):
            raise DataError(f"a weight does not fit {self.weight_bits} bits")
        if not 1 <= self.scan <= neurons:
            raise DataError(f"a scan visits 1 to {neurons} neurons, came {self.scan}")
        if self.closed_loop and self.axons < neurons:
            raise DataError(f"{neurons} neurons cannot be queued on {self.axons} axons")

    @property
    def neurons(self) -> int:
        """Number of neuron words."""
        return len(self.words)

    @property
    def axons(self) -> int:
        """Number of axons."""
        return len(self.weights)

    @property
    def executions(self) -> int:
        """How often an inference is executed: once."""
        return 1

    @cached_property
    def digest(self) -> str:
        """Content digest."""
        parts = (self.words, self.weights, self.layout, self.weight_bits, self.scan)
        rest = (self.closed_loop, self.queue_capacity, self.cycles, self.outputs, self.coding)
        return digest((*parts, *rest, self.populations))


@dataclass(frozen=True, eq=False)
class Timeline:
    """When a golden inference does what.

    Attributes:
        kind: ``[items]`` an `Action`.
        index: ``[items]`` axon or neuron.
        start: ``[items]`` first cycle; of a sample the cycle after the one it shows.
        written: ``[items, neurons]`` cycle that ends with a neuron's write-back; -1: not updated.
        cycles: Number of the last cycle.
    """

    kind: NDArray[np.int64]
    index: NDArray[np.int64]
    start: NDArray[np.int64]
    written: NDArray[np.int64]
    cycles: int


def actions(*rows: tuple[Action, int, int, bool]) -> NDArray[np.void]:
    """A table of actions from (kind, index, weight, waits).

    >>> int(actions((Action.scan, 7, 0, False))["index"][0])
    7
    """
    return np.array([tuple(row) for row in rows], dtype=ACTION)


def stimuli(program: EventProgram, samples: Samples) -> list[NDArray[np.void]]:
    """For each sample the actions of a program's host; a last sample of potentials ends it.

    Args:
        program: One with a coding.
        samples: Spikes ``[samples, steps, ...]``, or codes 0 and 1 ``[samples, ...]`` that are
            played in every step.

    Raises:
        DataError: No coding, or samples of another shape or with other codes.
    """
    coding, spikes = _inputs(program, samples)
    return [_played(coding, sample) for sample in spikes]


def steps_of_actions(program: EventProgram, samples: Samples) -> list[NDArray[np.int64]]:
    """For each sample, the time step of each action of `stimuli`; a last sampling is in the last.

    Raises:
        DataError: As `stimuli`.
    """
    coding, spikes = _inputs(program, samples)
    counts = spikes.sum(axis=2) + (coding.leak != "none")
    counts[:, -1] += 1
    return [np.repeat(np.arange(coding.steps), count) for count in counts]


def _inputs(program: EventProgram, samples: Samples) -> tuple[EventCoding, NDArray[np.int64]]:
    """The coding, and spikes ``[samples, steps, inputs]``."""
    coding = program.coding
    if coding is None:
        raise DataError("this program plays no samples: it has no coding")
    inputs = np.asarray(samples.inputs, dtype=np.int64).reshape(len(samples), -1)
    if not samples.timed:
        inputs = np.tile(inputs, coding.steps)
    expected = coding.steps * len(coding.axons)
    if inputs.shape[1] != expected or not np.isin(inputs, (0, 1)).all():
        raise DataError(
            f"{samples.name}: expected {coding.steps} steps of {len(coding.axons)} spikes, 0 or 1, "
            f"came {samples.inputs.shape[1:]} from {inputs.min()} to {inputs.max()}"
        )
    return coding, inputs.reshape(len(samples), coding.steps, len(coding.axons))


def _played(coding: EventCoding, spikes: NDArray[np.int64]) -> NDArray[np.void]:
    """Actions for the spikes ``[steps, inputs]`` of one sample."""
    axons = np.array(coding.axons, dtype=np.int64)
    leak = [(Action.leak_all, 0, 0, True)]
    rows = []
    for step in spikes:
        rows += leak if coding.leak == "first" else []
        rows += [(Action.scan, axon, 0, coding.waits) for axon in axons[step > 0].tolist()]
        rows += leak if coding.leak == "last" else []
    return np.array([*rows, (Action.sample, 0, 0, True)], dtype=ACTION)


def check(effects: Effects, program: EventProgram) -> None:
    """Refuse effects that cannot exist in an event-serial program.

    Raises:
        FaultError: Naming the first row that cannot be.
    """
    for i, row in enumerate(effects.table):
        problem = _problem(row, program)
        if problem:
            raise FaultError(f"effect {i} (trial {row['trial']}): {problem}")


def _problem(row: np.void, program: EventProgram) -> str:
    kind, at, op = Kind(row["kind"]), At(row["at"]), Op(row["op"])
    if at not in PLACES.get(kind, ()):
        known = ", ".join(f"{k.name} at {a.name}" for k, ats in PLACES.items() for a in ats)
        return f"no {kind.name} at {at.name} in an event-serial program; places: {known}"
    if op not in (Op.xor, Op.stuck) or (kind is Kind.alias and op is Op.xor):
        return f"{kind.name} cannot be corrupted by {op.name}"
    if row["layer"] != 0 or row["execution"] != -1:
        return "an event-serial program has layer 0 and one execution (-1)"
    if op is Op.stuck and at is At.cell and tuple(row["steps"]) != (0, -1):
        return "a stuck cell is stuck in all items"
    for axis, size in (("n", program.neurons), ("k", program.axons)):
        chosen = box(row[axis], size)
        if len(chosen) == 0 or chosen[0] < 0 or chosen[-1] >= size:
            return f"{axis} {tuple(row[axis].tolist())} is empty or outside 0..{size - 1}"
    if len(box(row["k"], program.axons)) < program.axons and (kind, at) != (Kind.operand, At.cell):
        return f"{kind.name} at {at.name} is for all axons"
    if kind is Kind.alias and tuple(row["n"]) != ALL:
        return "an alias is for all neurons"
    return _width_problem(row, kind, at, program)


def _width_problem(row: np.void, kind: Kind, at: At, program: EventProgram) -> str:
    layout, bits, mask = program.layout, int(row["bits"]), int(row["mask"])
    word = max(f.low + f.bits for f in vars(layout).values())
    allowed = {
        Kind.state: (word,),
        Kind.parameter: (word,),
        Kind.alias: ((_addresses(program, at) - 1).bit_length(),),
        Kind.operand: (program.weight_bits, layout.potential.bits)[: 2 if at is At.weight else 1],
    }[kind]
    if bits not in allowed or not 0 < mask < 1 << bits:
        return f"{kind.name} at {at.name} has {allowed} bits, came {bits} bits, mask {mask}"
    if kind is Kind.alias:
        size = _addresses(program, at)
        leads = np.arange(size) & ~mask | int(row["value"]) & mask
        out = np.flatnonzero(leads >= size)
        return f"address {out[0]} leads to {leads[out[0]]} of {size}" if len(out) else ""
    if kind in (Kind.state, Kind.parameter):
        inside = mask & layout.potential.mask
        if inside != (mask if kind is Kind.state else 0):
            return f"mask {mask:#x} is not of the {'potential' if kind is Kind.state else 'rest'}"
    return ""


def _addresses(program: EventProgram, at: At) -> int:
    return program.axons * program.neurons if at is At.weight else program.neurons
