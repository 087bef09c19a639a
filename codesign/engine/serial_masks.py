"""What effects do at each place of an event-serial program, as masks of lanes.

A *lane* is one trial on one sample. All lanes do their i-th item together, so a window of items is
one moment for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codesign.effects import At, Effects, Kind, Op, box
from codesign.events import EventProgram

__all__ = ["Lanes", "Masks", "Memory", "Places"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lanes:
    """Some of all lanes, which are numbered ``trial * samples + sample``.

    Attributes:
        numbers: ``[lanes]`` of these, rising.
        samples: Samples of a trial.
    """

    numbers: Ints
    samples: int

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def sample(self) -> Ints:
        """``[lanes]`` which sample each is."""
        return self.numbers % self.samples

    @property
    def trials(self) -> tuple[int, int]:
        """First and last trial among them."""
        return int(self.numbers[0]) // self.samples, int(self.numbers[-1]) // self.samples

    def of(self, row: np.void) -> Ints:
        """Lanes, counted from the first of these, that a row of effects strikes."""
        start, stop = row["samples"].tolist()
        stop = self.samples if stop < 0 else min(stop, self.samples)
        base = int(row["trial"]) * self.samples
        return np.arange(*np.searchsorted(self.numbers, [base + start, base + stop]))


class Masks:
    """Flips, then stuck bits, for each (lane, neuron) of one place; made when first needed."""

    def __init__(self, lanes: int, neurons: int) -> None:
        self.shape = (lanes, neurons)
        self.any = False

    def _make(self) -> None:
        self.any = True
        self.flip = np.zeros(self.shape, dtype=np.int64)
        self.keep = np.full(self.shape, -1, dtype=np.int64)
        self.force = np.zeros(self.shape, dtype=np.int64)

    def strike(self, row: np.void, lanes: Ints) -> None:
        """Let one row act."""
        if not self.any:
            self._make()
        at = np.ix_(lanes, np.array(box(row["n"], self.shape[1])))
        if row["op"] == Op.xor:
            self.flip[at] ^= row["mask"]
            return
        self.keep[at] &= ~row["mask"]
        self.force[at] &= ~row["mask"]
        self.force[at] |= row["mask"] & row["value"]

    def release(self, lanes: Ints) -> None:
        """Forget what acts in some lanes."""
        if self.any:
            self.flip[lanes], self.keep[lanes], self.force[lanes] = 0, -1, 0

    def apply(self, values: Ints, lanes: Ints, neurons: Ints) -> Ints:
        """Values ``[lanes, n]`` of these neurons after what acts."""
        if not self.any:
            return values
        flip, keep, force = (x[lanes, neurons] for x in (self.flip, self.keep, self.force))
        return ((values ^ flip) & keep) | force


class Memory:
    """Weights of all lanes, as patterns; what is struck has a row (one axon's weights) of its own.

    Attributes:
        row_of: ``[lanes, axons]`` number of the row that holds a lane's weights of an axon.
        rows: ``[rows, neurons]``; the first are the program's.
    """

    def __init__(self, program: EventProgram, lanes: int) -> None:
        pattern = program.weights & (1 << program.weight_bits) - 1
        self.rows = pattern.astype(np.int64)
        self.neurons, self.used = program.neurons, program.axons
        self.row_of = np.tile(np.arange(program.axons, dtype=np.int32), (lanes, 1))
        self.owned = np.zeros((lanes, program.axons), dtype=bool)

    def strike(self, row: np.void, lanes: Ints) -> None:
        """Corrupt stored weights for good."""
        axons = np.array(box(row["k"], self.row_of.shape[1]))
        neurons = np.array(box(row["n"], self.neurons))
        lane, axon = (x.ravel() for x in np.meshgrid(lanes, axons, indexing="ij"))
        self._own(lane, axon)
        at = self.row_of[lane, axon][:, None], neurons[None]
        mask, value = row["mask"], row["value"]
        if row["op"] == Op.xor:
            self.rows[at] ^= mask
        else:
            self.rows[at] = (self.rows[at] & ~mask) | (value & mask)

    def _own(self, lane: Ints, axon: Ints) -> None:
        """Give these lanes rows of their own for these axons."""
        new = ~self.owned[lane, axon]
        lane, axon = lane[new], axon[new]
        needed = self.used + len(lane)
        if needed > len(self.rows):
            larger = np.zeros((2 * needed, self.neurons), dtype=np.int64)
            larger[: self.used] = self.rows[: self.used]
            self.rows = larger
        numbers = np.arange(self.used, needed)
        self.rows[numbers] = self.rows[self.row_of[lane, axon]]
        self.row_of[lane, axon] = numbers
        self.owned[lane, axon] = True
        self.used = needed

    def read(self, lanes: Ints, axons: Ints, neurons: Ints) -> Ints:
        """Patterns ``[lanes, n]``; lanes and axons ``[lanes, 1]`` or ``[lanes, n]``."""
        return self.rows[self.row_of[lanes, axons], neurons]


@dataclass(eq=False)
class Places:
    """Everything that is wrong in all lanes, item by item."""

    program: EventProgram
    lanes: Lanes
    effects: Effects
    cell: Masks = field(init=False)

    def __post_init__(self) -> None:
        size, neurons = len(self.lanes), self.program.neurons
        self.words = np.tile(self.program.words, (size, 1))
        self.memory = Memory(self.program, size)
        self.cell, self.read, self.write = (Masks(size, neurons) for _ in range(3))
        self.weight_read, self.weight, self.extended = (Masks(size, neurons) for _ in range(3))
        self.alias = {at: Masks(size, 1) for at in (At.cell, At.weight, At.line)}
        first, last = self.lanes.trials
        start, stop = np.searchsorted(self.effects.table["trial"], [first, last + 1])
        table = self.effects.table[start:stop]
        self.rows = [(row, self.lanes.of(row)) for row in table]
        self.rows = [(row, lanes) for row, lanes in self.rows if len(lanes)]
        self.starts: dict[int, list[int]] = {}
        self.stops: dict[int, list[int]] = {}
        # Stuck cells first: a flip at load meets them.
        order = sorted(range(len(self.rows)), key=lambda i: -int(self.rows[i][0]["op"]))
        for i in order:
            first, last = self.rows[i][0]["steps"].tolist()
            self.starts.setdefault(first, []).append(i)
            if last >= 0 and not self._acts_once(i):
                self.stops.setdefault(last, []).append(i)

    def _acts_once(self, i: int) -> bool:
        return bool(self.rows[i][0]["at"] == At.cell and self.rows[i][0]["kind"] != Kind.alias)

    def begin(self, item: int, alive: NDArray[np.bool_]) -> None:
        """Let everything act, or end, that does so when an item begins."""
        ended = self.stops.get(item, [])
        if ended:
            self._end(item, np.unique(np.concatenate([self.rows[i][1] for i in ended])))
        for i in self.starts.get(item, []):
            row, lanes = self.rows[i]
            lanes = lanes[alive[lanes]]
            if len(lanes):
                self._strike(row, lanes)

    def _end(self, item: int, lanes: Ints) -> None:
        """Some windows end in these lanes: forget all windows there, and take up what goes on."""
        for masks in (self.read, self.write, self.weight_read, self.weight, self.extended):
            masks.release(lanes)
        for masks in self.alias.values():
            masks.release(lanes)
        for i, (row, struck) in enumerate(self.rows):
            first, last = row["steps"].tolist()
            again = np.intersect1d(struck, lanes)
            open_ = first < item and (last < 0 or last > item)
            if open_ and len(again) and not self._acts_once(i):
                self._strike(row, again)

    def _strike(self, row: np.void, lanes: Ints) -> None:
        kind, at = Kind(row["kind"]), At(row["at"])
        if kind is Kind.alias:
            self.alias[at].strike(row, lanes)
        elif kind is Kind.operand and at is At.cell:
            self.memory.strike(row, lanes)
        elif kind is Kind.operand:
            wide = row["bits"] > self.program.weight_bits
            masks = self.extended if wide else self.weight
            (self.weight_read if at is At.read else masks).strike(row, lanes)
        elif at is At.cell:
            self._strike_cells(row, lanes)
        else:
            (self.read if at is At.read else self.write).strike(row, lanes)

    def _strike_cells(self, row: np.void, lanes: Ints) -> None:
        chosen = np.array(box(row["n"], self.program.neurons))
        at = np.ix_(lanes, chosen)
        if row["op"] == Op.xor:
            self.words[at] ^= row["mask"]
        else:
            self.cell.strike(row, lanes)
        self.words[at] = self.cell.apply(self.words[at], lanes[:, None], chosen[None])
