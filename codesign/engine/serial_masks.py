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
    """Which trial and which sample each lane is, ``[lanes]``."""

    trial: Ints
    sample: Ints

    def __len__(self) -> int:
        return len(self.trial)

    def of(self, row: np.void) -> Ints:
        """Lanes that a row of effects strikes."""
        start, stop = row["samples"]
        mine = (self.trial == row["trial"]) & (self.sample >= start)
        return np.flatnonzero(mine & ((stop < 0) | (self.sample < stop)))


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
    """Weights of all lanes; a lane has a copy of its own only where they are struck."""

    def __init__(self, program: EventProgram, lanes: int) -> None:
        self.bits = program.weight_bits
        self.shape = program.weights.shape
        pattern = (program.weights & (1 << self.bits) - 1).astype(np.uint16)
        self.copies = [pattern.reshape(-1)]
        self.copy_of = np.zeros(lanes, dtype=np.int64)
        self._stacked: NDArray[np.uint16] | None = None

    def strike(self, row: np.void, lanes: Ints) -> None:
        """Corrupt stored weights for good."""
        where = np.add.outer(
            np.array(box(row["k"], self.shape[0])) * self.shape[1],
            np.array(box(row["n"], self.shape[1])),
        ).ravel()
        mask, value = int(row["mask"]), int(row["value"])
        for lane in lanes.tolist():
            copy = self._own(lane)
            if row["op"] == Op.xor:
                copy[where] ^= mask
            else:
                copy[where] = (copy[where] & ~np.uint16(mask)) | (value & mask)

    def _own(self, lane: int) -> NDArray[np.uint16]:
        if self.copy_of[lane] == 0:
            if self._stacked is not None:
                self.copies = list(self._stacked)
            self.copy_of[lane] = len(self.copies)
            self.copies.append(self.copies[0].copy())
            self._stacked = None
        elif self._stacked is not None:
            return self._stacked[self.copy_of[lane]]
        return self.copies[int(self.copy_of[lane])]

    def read(self, lanes: Ints, addresses: Ints) -> Ints:
        """Patterns ``[lanes, n]`` at ``axon * neurons + neuron``."""
        if self._stacked is None:
            self._stacked = np.stack(self.copies)
        return self._stacked[self.copy_of[lanes][:, None], addresses].astype(np.int64)


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
        table = self.effects.table
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
