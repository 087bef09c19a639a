"""Gemmini's mesh clock by clock, many struck copies at once.

Written from the description of the processing element (`gemmini.program`): registers at the
elements' inputs, two sum registers inside, everything moved by clock edges. The last axis of every
array is the copy (the trial).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from oracles_systolic_parts import Ints, Strikes, decode

from accelerators.gemmini.program import RequestProgram
from codesign.faults import Faults

WIDTHS = {"a": 8, "b": 20, "d": 20, "c1": 32, "c2": 32}
NOTHING = -1  # the tag of a slot that belongs to nothing


@dataclass
class Entering:
    """What stands at the top of a column: nothing, or a slot of b and d."""

    valid: bool = False
    b: Ints | int = 0
    d: Ints | int = 0
    turned: bool = False
    tag: int = NOTHING


class Mesh:
    """Registers and nets of a mesh; who feeds it says what enters where.

    Args:
        size: Rows and columns.
        strikes: The faults.
        resting: Weight stationary; otherwise output stationary.
        shift: Of results.
    """

    def __init__(self, size: int, strikes: Strikes, resting: bool, shift: int = 0) -> None:
        self.size, self.trials, self.strikes = size, strikes.trials, strikes
        self.resting, self.shift = resting, shift
        shape = (size, size, self.trials)
        self.registers = {name: np.zeros(shape, dtype=np.int64) for name in WIDTHS}
        self.out = {n: np.zeros((size, self.trials), dtype=np.int64) for n in ("b", "c")}
        self.out_tag = np.full(size, NOTHING)
        grid = shape[:2]
        self.valid, self.turned = np.zeros(grid, dtype=bool), np.zeros(grid, dtype=bool)
        self.last = np.zeros(grid, dtype=bool)  # the toggle that a PE saw last
        self.tag = np.full(grid, NOTHING)
        self.sums = self.leaving = np.zeros(shape, dtype=np.int64)  # what PEs give to those below
        self.next = {name: np.zeros(shape, dtype=np.int64) for name in ("c1", "c2")}

    def step(
        self,
        t: int,
        left: Callable[[int], Ints | int],
        top: Callable[[int], Entering],
    ) -> None:
        """One clock: an edge, the strikes of cycle ``t``, and what the PEs then compute.

        Args:
            t: Of the strikes.
            left: What enters ``a`` of a row.
            top: What enters a column.
        """
        self.edge(left, top)
        self.strike(t)
        self.settle(t)

    def edge(self, left: Callable[[int], Ints | int], top: Callable[[int], Entering]) -> None:
        """Everything moves on; b, d and control only behind something valid."""
        a, b, d = (self.registers[name] for name in ("a", "b", "d"))
        ends = self.valid[-1]
        self.out["b"][ends], self.out["c"][ends] = self.sums[-1][ends], self.leaving[-1][ends]
        self.out_tag = np.where(ends, self.tag[-1], NOTHING)
        a[:, 1:] = a[:, :-1].copy()
        for row in range(self.size):
            a[row, 0] = left(row)
        moves = self.valid[:-1]
        b[1:][moves], d[1:][moves] = self.sums[:-1][moves], self.leaving[:-1][moves]
        self.turned[1:][moves] = self.turned[:-1][moves]
        self.valid[1:], self.tag[1:] = moves.copy(), self.tag[:-1].copy()
        for col in range(self.size):
            entering = top(col)
            self.valid[0, col], self.tag[0, col] = entering.valid, entering.tag
            if entering.valid:
                b[0, col], d[0, col] = entering.b, entering.d
                self.turned[0, col] = entering.turned
        for name in ("c1", "c2"):
            self.registers[name][:] = self.next[name]

    def strike(self, t: int) -> None:
        """Faults strike registers; in row 0, b and d are 8 bits and the sign above them."""
        for name, bits in WIDTHS.items():
            register = self.registers[name]
            register &= (1 << bits) - 1
            flat = register.reshape(-1, 1, self.trials)
            self.strikes.hit(f"array.{name}", t, flat)
            if name in "bd":
                register[0] = decode(register[0], 8) & ((1 << bits) - 1)
        for name, leaving in self.out.items():
            leaving &= (1 << 20) - 1
            self.strikes.hit(f"edge.out_{name}", t, leaving[:, None, :])

    def settle(self, t: int) -> None:
        """What the PEs compute from their registers."""
        now = {name: decode(self.registers[name], bits) for name, bits in WIDTHS.items()}
        turned, valid = self.turned[..., None], self.valid[..., None]
        active = np.where(turned, now["c2"], now["c1"])
        idle = np.where(turned, now["c1"], now["c2"])
        weight = decode(active if self.resting else now["b"], 8)
        product = self.net("product", t, now["a"] * weight, 16)
        added = now["b"] if self.resting else decode(active, 20)
        total = self.net("mac_out", t, decode(product + added, 20), 20)
        if self.resting:
            self.sums, self.leaving = total, decode(idle, 20)
        else:
            shift = np.where(self.last != self.turned, self.shift, 0)[..., None]
            half = np.rint(idle / 2.0**shift).astype(np.int64)  # half to even; exact below 2**53
            self.sums, self.leaving = now["b"], np.clip(half, -(1 << 19), (1 << 19) - 1)
        kept = active if self.resting else total
        self.next = {
            "c1": np.where(valid, np.where(turned, now["d"], kept), now["c1"]),
            "c2": np.where(valid, np.where(turned, kept, now["d"]), now["c2"]),
        }
        self.last = np.where(self.valid, self.turned, self.last)

    def net(self, name: str, t: int, values: Ints, bits: int) -> Ints:
        """Values of a net after the faults on it."""
        flat = self.strikes.net(f"array.{name}", t, values.reshape(-1, self.trials), bits)
        return flat.reshape(values.shape)


def clocked(program: RequestProgram, faults: Faults) -> Ints:
    """Responses ``[trials, requests · rows, rows]`` of struck meshes."""
    size, requests = program.rows, program.requests
    parts = {
        i: f"{unit.name}.{part.name}"
        for i, (unit, part) in enumerate(program.accelerator.components())
    }
    strikes = Strikes(faults, parts, program.cycles, {})
    resting = program.dataflow == "weight_stationary"
    assert isinstance(program.shift, int), "one shift for all requests"
    mesh = Mesh(size, strikes, resting, program.shift)
    turned = np.cumsum(program.toggles) % 2 == 1
    found = np.zeros((requests * size, size, faults.trials), dtype=np.int64)

    def slot(step: int) -> tuple[bool, int, int]:
        request, slot = divmod(step, size + 1)
        return 0 <= request < requests and slot < size, request, slot

    for t in range(program.cycles):

        def left(row: int, t: int = t) -> int:
            there, request, at = slot(t - 3 - row)
            return int(program.a[request, at, row]) if there else 0

        def top(col: int, t: int = t) -> Entering:
            there, request, at = slot(t - 3 - col)
            if not there:
                return Entering()
            b, d = int(program.b[request, at, col]), int(program.d[request, at, col])
            return Entering(True, b, d, bool(turned[request]), request * size + at)

        mesh.step(t, left, top)
        leaving = decode(mesh.out["b" if resting else "c"], 20)
        for col in np.flatnonzero(mesh.out_tag != NOTHING):
            found[mesh.out_tag[col], col] = leaving[col]
    return found.transpose(2, 0, 1)
