"""What the simulated systolic array is made of: numbers, faults that strike them, arithmetic."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codesign.faults import FaultModel, Faults
from codesign.network import Layer

Ints = NDArray[np.int64]
FLIP, STUCK0, STUCK1, DEAD = (
    int(FaultModel.flip),
    int(FaultModel.stuck0),
    int(FaultModel.stuck1),
    int(FaultModel.dead),
)


@dataclass
class Chip:
    """What a brute-force run needs to know of a chip, in plain numbers.

    Attributes:
        rows, cols: Physical.
        row_order, col_order: Physical position of each logical line that is used.
        dataflow: ``ws``, ``os`` or ``is``.
        words: Bits of a word by memory; capacity in words by memory.
    """

    rows: int
    cols: int
    row_order: tuple[int, ...]
    col_order: tuple[int, ...]
    dataflow: str = "ws"
    weight_bits: int = 8
    input_bits: int = 8
    psum_bits: int = 32
    psum_saturates: bool = False
    outer_bits: int = 32
    word_bits: dict[str, int] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)


def decode(pattern: Ints, bits: int, signed: bool = True) -> Ints:
    """Values of bit patterns."""
    pattern = pattern & ((1 << bits) - 1)
    if not signed:
        return pattern
    return np.where(pattern >= 1 << (bits - 1), pattern - (1 << bits), pattern)


def fit(values: Ints, bits: int, saturates: bool) -> Ints:
    """A result written to a place of some bits."""
    if saturates:
        return np.clip(values, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return decode(values, bits)


class Strikes:
    """The faults of all trials, ready to hit arrays of bit patterns.

    Args:
        faults: The table.
        parts: ``unit.component`` of every part number.
        cycles: Of one inference, to turn windows into a running clock.
        elements: For every memory, (bits of a word, bits of an element).
    """

    def __init__(
        self,
        faults: Faults,
        parts: dict[int, str],
        cycles: int,
        elements: dict[str, tuple[int, int]],
    ) -> None:
        table = faults.table.copy()
        self.trials = faults.trials
        start = table["first"][:, 0] * cycles + table["first"][:, 1]
        stop = table["last"][:, 0] * cycles + table["last"][:, 1]
        stop = np.where(table["last"][:, 0] < 0, 1 << 60, stop)
        self.flips: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.lasting: dict[str, list[int]] = defaultdict(list)
        self.held: dict[tuple[str, int], tuple[tuple[Ints, Ints, Ints], Ints, Ints, Ints]] = {}
        for i, row in enumerate(table):
            name = parts[int(row["part"])]
            if name in elements:
                word, element = elements[name]
                row["word"] = row["word"] * (word // element) + row["bit"] // element
                row["bit"] = row["bit"] % element
            if row["model"] == FLIP:
                self.flips[name, int(start[i])].append(i)
            else:
                self.lasting[name].append(i)
        self.table, self.start, self.stop = table, start, stop

    def hit(self, name: str, cycle: int, patterns: Ints, flips: bool = True) -> None:
        """Strike patterns ``[instances, words, trials]`` of one component in one cycle, in place.

        ``flips=False`` only holds stuck bits again, after a write within the cycle.
        """
        if flips and (name, cycle) in self.flips:
            rows = self.table[self.flips[name, cycle]]
            at = (rows["instance"], rows["word"], rows["trial"])
            np.bitwise_xor.at(patterns, at, np.int64(1) << rows["bit"].astype(np.int64))
        for model, operate in ((STUCK0, np.bitwise_and), (STUCK1, np.bitwise_or)):
            at, mask, start, stop = self.holding(name, model)
            now = (start <= cycle) & (cycle < stop)
            if now.any():
                where = tuple(index[now] for index in at)
                operate.at(patterns, where, mask[now])

    def holding(self, name: str, model: int) -> tuple[tuple[Ints, Ints, Ints], Ints, Ints, Ints]:
        """Where and during which cycles bits are held at 0 (dead: all of them) or 1."""
        key = (name, model)
        if key not in self.held:
            wanted = [STUCK0, DEAD] if model == STUCK0 else [STUCK1]
            which = [i for i in self.lasting.get(name, []) if self.table["model"][i] in wanted]
            rows = self.table[which]
            mask = np.int64(1) << rows["bit"].astype(np.int64)
            mask = np.where(rows["model"] == DEAD, 0, ~mask) if model == STUCK0 else mask
            at = (rows["instance"], rows["word"], rows["trial"])
            self.held[key] = (at, mask, self.start[which], self.stop[which])
        return self.held[key]

    def net(self, name: str, cycle: int, values: Ints, bits: int) -> Ints:
        """Values ``[instances, trials]`` of a net after the faults on it in one cycle."""
        patterns = (values & ((1 << bits) - 1))[:, None, :]
        self.hit(name, cycle, patterns)
        return decode(patterns[:, 0, :], bits)

    def dead(self, unit: str) -> NDArray[np.bool_]:
        """``[trials]`` whether a memory gives nothing but zeros."""
        found = np.zeros(self.trials, dtype=bool)
        found[self.table["trial"][self.lasting.get(f"{unit}.*", [])]] = True
        return found


def requantise(layer: Layer, total: Ints) -> Ints:
    """Multiply, add half, shift, clip; channels along the first axis."""
    q = layer.requantise  # type: ignore[attr-defined]
    if q is None:
        return total
    assert q.rounding == "half_up"
    multiplier = np.asarray(q.multiplier)
    if multiplier.ndim:
        multiplier = multiplier.reshape(-1, *[1] * (total.ndim - 1))
    half = (1 << q.shift) >> 1
    return np.clip((total * multiplier + half) >> q.shift, q.low, q.high)
