"""What a faulty bit of a tinyODIN chip does to the items of an event-serial program.

Where a flip acts depends on where the chip is. `ByUpdate` places it just before an update, counted
through an inference; nothing that happens before can move it, so any number of flips meet
correctly. `ByCycle` places it by its cycle in a golden run; that holds until the first fault acts,
because spikes take time: a trial has one such flip, or several of one cycle, and nothing else.

A word of the neuron memory is read, and written whole, in its update; a flip acts when it is read
next and is lost in the cycle of its write-back. The synapse word of eight neurons is loaded twice,
for the first of them and for the other seven, and then held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from accelerators.tinyodin.words import POTENTIAL, BitFault
from codesign.events import Action, Timeline

__all__ = ["ByCycle", "ByUpdate", "Moment", "effect_rows"]

Row = dict[str, object]


class Moment(Protocol):
    """When a flip strikes: what it meets then."""

    def cell(self, neuron: int) -> int | None:
        """The item that reads a neuron's word next; None if the flip is lost."""
        ...

    def register(self) -> tuple[int, int] | None:
        """The (item, neuron) whose word stands in the read register and is used, if any."""
        ...

    def synapse(self, axon: int, neuron: int) -> int:
        """The item that loads a weight next."""
        ...

    def synapse_register(self, place: int) -> tuple[int, int] | None:
        """The (item, neuron) that uses the place (0 to 7) of the held word next, if any."""
        ...


@dataclass(frozen=True)
class ByUpdate:
    """Just before update ``number`` of an inference whose items are all scans.

    Attributes:
        number: Counted from 0 through the inference.
        scan: Neurons of a scan.
    """

    number: int
    scan: int

    def cell(self, neuron: int) -> int | None:
        """See `Moment`."""
        item, at = divmod(self.number, self.scan)
        return item + (neuron < at)

    def register(self) -> tuple[int, int] | None:
        """See `Moment`."""
        return divmod(self.number, self.scan)

    def synapse(self, axon: int, neuron: int) -> int:
        """See `Moment`; whichever item reads this axon from there on."""
        item, at = divmod(self.number, self.scan)
        return item + (neuron - neuron % 8 < at)

    def synapse_register(self, place: int) -> tuple[int, int] | None:
        """See `Moment`."""
        item, at = divmod(self.number, self.scan)
        neuron = at - at % 8 + place
        loaded_again = at % 8 == 0 and place > 0
        return (item, neuron) if at <= neuron < self.scan and not loaded_again else None


@dataclass(frozen=True, eq=False)
class ByCycle:
    """At a cycle of a golden inference.

    Attributes:
        cycle: The flip is seen by what happens later.
        timeline: Of the inference.
    """

    cycle: int
    timeline: Timeline

    def cell(self, neuron: int) -> int | None:
        """See `Moment`."""
        written, kind = self.timeline.written[:, neuron], self.timeline.kind
        if (written == self.cycle).any() or self.cycle > self.timeline.cycles:
            return None
        sampled = (kind == Action.sample) & (self.timeline.start > self.cycle)
        return self._first((written > self.cycle) | sampled)

    def register(self) -> tuple[int, int] | None:
        """See `Moment`."""
        item, neuron = np.nonzero(self.timeline.written == self.cycle)
        return (int(item[0]), int(neuron[0])) if len(item) else None

    def synapse(self, axon: int, neuron: int) -> int:
        """See `Moment`."""
        mine = (self.timeline.kind == Action.scan) & (self.timeline.index == axon)
        latched = self.timeline.written[:, neuron - neuron % 8] - (neuron % 8 == 0)
        return self._first(mine & (latched >= self.cycle))

    def synapse_register(self, place: int) -> tuple[int, int] | None:
        """See `Moment`."""
        scans = (self.timeline.kind == Action.scan)[:, None]
        used = self.timeline.written[:, place::8]
        if place == 0:
            hit = scans & (used == self.cycle)
        else:
            loaded = self.timeline.written[:, ::8]
            hit = scans & (loaded >= 0) & (loaded < self.cycle) & (used >= self.cycle)
        item, group = np.nonzero(hit)
        return (int(item[0]), int(group[0]) * 8 + place) if len(item) else None

    def _first(self, items: np.ndarray) -> int:
        """The first of some items, or the number of all: after the last."""
        found = np.flatnonzero(items)
        return int(found[0]) if len(found) else len(items)


def effect_rows(fault: BitFault, moment: Moment | None, inference: int = 0) -> list[Row]:
    """What one fault does; no row if a flip meets nothing.

    Args:
        fault: Of any place; a flip's own cycle is not looked at.
        moment: Of a flip, within its inference.
        inference: That inference. Neuron words are loaded again before the next; weights are not.
    """
    if fault.kind == "flip":
        if moment is None:
            raise ValueError("a flip has a moment")
        rows = _flip_rows(fault, moment, inference)
        return [row | {"op": "xor"} for row in rows]
    ones = fault.kind == "sa1"
    rows = _stuck_rows(fault)
    return [row | {"op": "stuck", "value": row["mask"] if ones else 0} for row in rows]


def _flip_rows(fault: BitFault, moment: Moment, inference: int) -> list[Row]:
    now = (inference, inference + 1)
    if fault.place == "neuron_memory":
        item = moment.cell(fault.word)
        if item is None:
            return []
        return [_word(fault, "cell", one(fault.word)) | {"steps": (item, -1), "samples": now}]
    if fault.place == "neuron_register":
        hit = moment.register()
        return [_word(fault, "read", one(hit[1])) | during(hit[0], now)] if hit else []
    if fault.place == "synapse_memory":
        row = _weight(fault)
        axon, neuron = _element(fault)
        first = moment.synapse(axon, neuron)
        later = {"samples": (inference + 1, -1), "steps": (0, -1)}
        return [row | {"steps": (first, -1), "samples": now}, row | later]
    hit = moment.synapse_register(fault.bit // 4)
    return [_held(fault) | {"n": one(hit[1])} | during(hit[0], now)] if hit else []


def _stuck_rows(fault: BitFault) -> list[Row]:
    mask = 1 << fault.bit
    operand: Row = {"kind": "operand", "at": "weight", "mask": mask, "signed": False}
    alias: Row = {"kind": "alias", "mask": mask, "signed": False}
    wide = {"at": "weight", "bits": 16}
    return {
        "neuron_memory": [_word(fault, "cell", one(fault.word))],
        "neuron_register": [_word(fault, "read", (0, -1, 1))],
        "write_bus": [_word(fault, "write", (0, -1, 1))],
        "synapse_memory": [_weight(fault)] if fault.place == "synapse_memory" else [],
        "synapse_register": [_held(fault) | {"n": (fault.bit // 4, -1, 8)}],
        "weight": [operand | {"bits": 4}],
        "extended_weight": [operand | {"bits": 12}],
        "synapse_address": [alias | wide | {"mask": mask << 3}],
        "neuron_address": [
            alias | {"at": "cell", "bits": 8},
            alias | {"at": "line", "bits": 8},
            *([alias | wide] if fault.bit < 3 else []),
        ],
    }[fault.place]


def _word(fault: BitFault, at: str, neurons: tuple[int, int, int]) -> Row:
    kind = "state" if fault.bit < POTENTIAL.bits else "parameter"
    mask = 1 << fault.bit
    return {"kind": kind, "at": at, "n": neurons, "bits": 32, "mask": mask, "signed": False}


def _element(fault: BitFault) -> tuple[int, int]:
    """(axon, neuron) of a bit of the synapse memory."""
    return fault.word // 32, fault.word % 32 * 8 + fault.bit // 4


def _weight(fault: BitFault) -> Row:
    axon, neuron = _element(fault)
    mask = 1 << fault.bit % 4
    row: Row = {"kind": "operand", "at": "cell", "k": one(axon), "n": one(neuron)}
    return row | {"bits": 4, "mask": mask, "signed": False}


def _held(fault: BitFault) -> Row:
    mask = 1 << fault.bit % 4
    return {"kind": "operand", "at": "read", "bits": 4, "mask": mask, "signed": False}


def one(index: int) -> tuple[int, int, int]:
    """The selector of one index."""
    return (index, index + 1, 1)


def during(item: int, samples: tuple[int, int]) -> Row:
    """In one item of some inferences."""
    return {"steps": (item, item + 1), "samples": samples}
