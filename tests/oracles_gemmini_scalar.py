"""Gemmini's mesh one element and one struck copy at a time, in plain integers.

Written from the generator's PE.scala, Mesh.scala and MeshWithDelays.scala alone, to judge the
vectorised `accelerators.gemmini.cycle`. Every request has as many slots as the mesh has rows, and
no request is held up: tags and the queue behind them are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["WIDTHS", "ScalarFault", "ScalarMesh", "width"]

Ints = NDArray[np.int64]
Grid = list[list[int]]
Given = list[list[tuple[int, int, int, int, int]]]

WIDTHS = {
    **{"a": 8, "b": 20, "d": 20, "c1": 32, "c2": 32, "propagate": 1, "valid": 1, "dataflow": 1},
    **{"shift": 5, "last_s": 1, "last": 1, "product": 16, "mac_out": 20},
    **{"out_b": 20, "out_c": 20, "out_valid": 1, "out_control_dataflow": 1, "out_last": 1},
}
SIGNED = ("a", "b", "d", "c1", "c2", "product", "mac_out", "out_b", "out_c")
NETS = ("product", "mac_out")
SLOT_0 = 3  # cycle in which PE (0, 0) sees the first slot


@dataclass(frozen=True)
class ScalarFault:
    """One wrong bit; what stands below the mesh has row ``rows``."""

    place: str
    row: int
    col: int
    bit: int
    kind: Literal["flip", "sa0", "sa1"]
    cycle: int


def width(place: str, row: int) -> int:
    """Bits of a place; b and d enter row 0 with 8."""
    return 8 if row == 0 and place in ("b", "d") else WIDTHS[place]


def signed(value: int, bits: int) -> int:
    """The low bits in two's complement."""
    low = value & ((1 << bits) - 1)
    return low - (1 << bits) if low >> (bits - 1) else low


def shifted(value: int, by: int) -> int:
    """Shift right, halves to even: as Arithmetic.scala says it, bit by bit."""
    if by == 0:
        return value
    half, below = value >> (by - 1) & 1, value & ((1 << (by - 1)) - 1)
    return (value >> by) + (half & ((below != 0) | (value >> by & 1)))


def clipped(value: int) -> int:
    """To 20 bits."""
    return max(-(1 << 19), min((1 << 19) - 1, value))


@dataclass
class ScalarMesh:
    """A mesh that is fed requests.

    Attributes:
        control: ``[requests, 3]`` weight stationary, toggles, shift.
        a: ``[requests, rows, rows]`` as presented.
        b: Likewise.
        d: Likewise.
        fault: What is wrong, if anything.
    """

    control: Ints
    a: Ints
    b: Ints
    d: Ints
    fault: ScalarFault | None = None
    registers: dict[str, Grid] = field(init=False)
    below: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        n = self.rows
        inside = [name for name in WIDTHS if not name.startswith("out_") and name not in NETS]
        self.registers = {name: [[0] * n for _ in range(n)] for name in inside}
        self.below = {name: [0] * n for name in WIDTHS if name.startswith("out_")}
        self.propagates = np.cumsum(self.control[:, 1]) % 2

    @property
    def rows(self) -> int:
        """Rows and columns."""
        return self.a.shape[1]

    def run(self, cycles: int) -> Ints:
        """``[responses, 2 + rows]`` cycle, last, outputs."""
        n, history = self.rows, []
        self.strike(0)
        for t in range(cycles + 1):
            if t:
                self.edge(t)
                self.strike(t)
            # Column 0 alone says which of the two leaves, for all columns at once.
            leaves = "out_b" if self.below["out_control_dataflow"][0] else "out_c"
            valid, last = self.below["out_valid"][0], self.below["out_last"][0]
            history.append((valid, last, list(self.below[leaves])))
        rows = []
        for t in range(n - 1, cycles + 1):
            valid, last, _ = history[t - n + 1]
            if valid:  # column c was a cycle later than the one before it
                rows.append([t, last, *(history[t - n + 1 + c][2][c] for c in range(n))])
        return np.array(rows, dtype=np.int64).reshape(-1, n + 2)

    def edge(self, t: int) -> None:
        """One clock edge, into cycle ``t``."""
        n, old = self.rows, self.registers
        given = [[self.element(t - 1, r, c) for c in range(n)] for r in range(n)]
        new = {name: [list(row) for row in grid] for name, grid in old.items()}
        for r in range(n):
            for c in range(n):
                new["c1"][r][c], new["c2"][r][c], new["last_s"][r][c] = given[r][c][2:]
                new["a"][r][c] = old["a"][r][c - 1] if c else self.fed(t - r, r)
                self.enter(new, t, r, c, given)
        last = n - 1
        self.below = {
            "out_b": [given[last][c][0] for c in range(n)],
            "out_c": [given[last][c][1] for c in range(n)],
            "out_valid": list(old["valid"][last]),
            "out_last": list(old["last"][last]),
            "out_control_dataflow": list(old["dataflow"][last]),
        }
        self.registers = new

    def enter(self, new: dict[str, Grid], t: int, r: int, c: int, given: Given) -> None:
        """What comes from above, or from the ports."""
        old, moving = self.registers, ("dataflow", "propagate", "shift")
        if r:
            for name in ("valid", "last"):
                new[name][r][c] = old[name][r - 1][c]
            if old["valid"][r - 1][c]:
                new["b"][r][c], new["d"][r][c] = given[r - 1][c][:2]
                for name in moving:
                    new[name][r][c] = old[name][r - 1][c]
            return
        k, slot = divmod(t - SLOT_0 - c, self.rows + 1)
        there = 0 <= k < len(self.a) and slot < self.rows
        new["valid"][0][c], new["last"][0][c] = int(there), int(there and slot == self.rows - 1)
        if there:
            new["b"][0][c], new["d"][0][c] = int(self.b[k, slot, c]), int(self.d[k, slot, c])
            flow, _, shift = (int(x) for x in self.control[k])
            for name, value in zip(moving, (flow, int(self.propagates[k]), shift), strict=True):
                new[name][0][c] = value

    def fed(self, t: int, r: int) -> int:
        """What the buffer of A shows row ``r``; it keeps its last row in bubbles and at the end."""
        k, slot = divmod(t - SLOT_0, self.rows + 1)
        if k < 0:
            return 0
        return int(self.a[k, min(slot, self.rows - 1), r] if k < len(self.a) else self.a[-1, -1, r])

    def element(self, t: int, r: int, c: int) -> tuple[int, int, int, int, int]:
        """(b and d for the PE below, c1, c2 and last_s after the edge) of a PE in cycle ``t``."""
        now = {name: grid[r][c] for name, grid in self.registers.items()}
        turned, flow = now["propagate"], now["dataflow"]
        active, idle = (now["c2"], now["c1"]) if turned else (now["c1"], now["c2"])
        weight = signed(active if flow else now["b"], 8)
        product = self.net("product", t, r, c, now["a"] * weight)
        added = now["b"] if flow else active
        total = self.net("mac_out", t, r, c, signed(added + product, 20))
        shift = now["shift"] if now["last_s"] != turned else 0
        down_b = total if flow else now["b"]
        down_d = signed(idle, 20) if flow else clipped(shifted(idle, shift))
        if not now["valid"]:
            return down_b, down_d, now["c1"], now["c2"], now["last_s"]
        kept = active if flow else total
        c1, c2 = (now["d"], kept) if turned else (kept, now["d"])
        return down_b, down_d, c1, c2, turned

    def net(self, name: str, t: int, r: int, c: int, value: int) -> int:
        """A net after the fault on it."""
        fault = self.fault
        here = fault is not None and (fault.place, fault.row, fault.col) == (name, r, c)
        return self.wrong(t, value, WIDTHS[name]) if here else value

    def strike(self, t: int) -> None:
        """The fault strikes the registers of cycle ``t``."""
        if self.fault is None or self.fault.place in NETS:
            return
        place, row, col = self.fault.place, self.fault.row, self.fault.col
        line = self.below[place] if place in self.below else self.registers[place][row]
        line[col] = self.wrong(t, line[col], width(place, row))

    def wrong(self, t: int, value: int, bits: int) -> int:
        """A value after the fault, in cycle ``t``."""
        assert self.fault is not None
        if self.fault.kind == "flip" and self.fault.cycle != t:
            return value
        mask, pattern = 1 << self.fault.bit, value & ((1 << bits) - 1)
        kinds = {"flip": pattern ^ mask, "sa1": pattern | mask, "sa0": pattern & ~mask}
        pattern = kinds[self.fault.kind]
        return signed(pattern, bits) if self.fault.place in SIGNED else pattern
