"""Gemmini's mesh clock by clock, many struck copies at once.

Written from the description of the processing element (`accelerators.gemmini`): registers at the
elements' inputs, two sum registers inside, everything moved by clock edges. The last axis of every
array is the copy (the trial).
"""

from __future__ import annotations

import numpy as np
from oracles_systolic_parts import Ints, Strikes, decode

from accelerators.gemmini import RequestProgram
from codesign.faults import Faults

WIDTHS = {"a": 8, "b": 20, "d": 20, "c1": 32, "c2": 32}


def clocked(program: RequestProgram, faults: Faults) -> Ints:
    """Responses ``[trials, requests · rows, rows]`` of struck meshes."""
    return _Mesh(program, faults).run()


class _Mesh:
    def __init__(self, program: RequestProgram, faults: Faults) -> None:
        self.program, self.size, self.trials = program, program.rows, faults.trials
        parts = {
            i: f"{unit.name}.{part.name}"
            for i, (unit, part) in enumerate(program.accelerator.components())
        }
        self.strikes = Strikes(faults, parts, program.cycles, {})
        shape = (self.size, self.size, self.trials)
        self.registers = {name: np.zeros(shape, dtype=np.int64) for name in WIDTHS}
        self.out = {n: np.zeros((self.size, self.trials), dtype=np.int64) for n in ("b", "c")}
        grid = shape[:2]
        self.valid, self.turned = np.zeros(grid, dtype=bool), np.zeros(grid, dtype=bool)
        self.last = np.zeros(grid, dtype=bool)  # the toggle that a PE saw last
        self.sums = self.leaving = np.zeros(shape, dtype=np.int64)  # what PEs give to those below
        self.next = {name: np.zeros(shape, dtype=np.int64) for name in ("c1", "c2")}

    def run(self) -> Ints:
        size, requests = self.size, self.program.requests
        found = np.zeros((requests * size, size, self.trials), dtype=np.int64)
        for t in range(self.program.cycles):
            self.edge(t)
            self.strike(t)
            self.settle(t)
            for col in range(size):
                request, slot = divmod(t - 3 - size - col, size + 1)
                if 0 <= request < requests and slot < size:
                    name = "b" if self.program.dataflow == "weight_stationary" else "c"
                    found[request * size + slot, col] = decode(self.out[name][col], 20)
        return found.transpose(2, 0, 1)

    def port(self, rows: Ints, step: int, lane: int) -> tuple[bool, int]:
        """(whether something enters at a lane, what), ``step`` cycles after the first slot."""
        request, slot = divmod(step, self.size + 1)
        there = 0 <= request < self.program.requests and slot < self.size
        return there, int(rows[request, slot, lane]) if there else 0

    def edge(self, t: int) -> None:
        """A clock edge: everything moves on; b, d and control only behind something valid."""
        a, b, d = (self.registers[name] for name in ("a", "b", "d"))
        turned = np.cumsum(self.program.toggles) % 2 == 1
        for col in range(self.size):
            if self.valid[-1, col]:
                self.out["b"][col], self.out["c"][col] = self.sums[-1, col], self.leaving[-1, col]
        a[:, 1:] = a[:, :-1].copy()
        for row in range(self.size):
            a[row, 0] = self.port(self.program.a, t - 3 - row, row)[1]
        moves = self.valid[:-1]
        b[1:][moves], d[1:][moves] = self.sums[:-1][moves], self.leaving[:-1][moves]
        self.turned[1:][moves] = self.turned[:-1][moves]
        self.valid[1:] = moves.copy()
        for col in range(self.size):
            self.valid[0, col], value = self.port(self.program.b, t - 3 - col, col)
            if self.valid[0, col]:
                b[0, col], d[0, col] = value, self.port(self.program.d, t - 3 - col, col)[1]
                self.turned[0, col] = turned[(t - 3 - col) // (self.size + 1)]
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
        resting = self.program.dataflow == "weight_stationary"
        weight = decode(active if resting else now["b"], 8)
        product = self.net("product", t, now["a"] * weight, 16)
        added = now["b"] if resting else decode(active, 20)
        total = self.net("mac_out", t, decode(product + added, 20), 20)
        if resting:
            self.sums, self.leaving = total, decode(idle, 20)
        else:
            shift = np.where(self.last != self.turned, self.program.shift, 0)[..., None]
            half = np.rint(idle / 2.0**shift).astype(np.int64)  # half to even; exact below 2**53
            self.sums, self.leaving = now["b"], np.clip(half, -(1 << 19), (1 << 19) - 1)
        kept = active if resting else total
        self.next = {
            "c1": np.where(valid, np.where(turned, now["d"], kept), now["c1"]),
            "c2": np.where(valid, np.where(turned, kept, now["d"]), now["c2"]),
        }
        self.last = np.where(self.valid, self.turned, self.last)

    def net(self, name: str, t: int, values: Ints, bits: int) -> Ints:
        flat = self.strikes.net(f"array.{name}", t, values.reshape(-1, self.trials), bits)
        return flat.reshape(values.shape)
