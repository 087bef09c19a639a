"""Gemmini's mesh, register by register and cycle by cycle, many struck copies at once.

What the chip does, as its source says it; `gemmini.program` says what faults do to tensors
and is tested against this. Registers hold zero at power-up. Cycle t is after the t-th clock edge: a
flip in cycle t is seen by the logic that feeds edge t + 1, a stuck bit is imposed after every edge.
A net is wrong in the cycles in which it is struck.

The processing element (PE) in row r and column c:

- ``a``, ``valid``, ``id`` and ``last`` move on at every edge, a to the right, the others down;
  ``b``, ``d``, ``dataflow``, ``propagate`` and ``shift`` move down behind something valid, and hold
  otherwise. Below the last row everything is registered once more, at every edge.
- ``product`` is a · w in 16 bits, ``mac_out`` is product + addend in 20 bits, which wraps.
- Weight stationary: w is the low 8 bits of the active register (c2 if propagate, else c1) and the
  addend is b; mac_out goes down as b; the idle register goes down as d and takes d.
- Output stationary: w is the low 8 bits of b and the addend is the low 20 bits of the active
  register, which takes mac_out; b goes down; the idle register goes down as d, shifted right with
  round half to even if propagate just changed, clipped to 20 bits, and takes d.
- c1, c2 and ``last_s`` (the propagate seen last) change only when valid.

What is below the last row of column 0 selects b or c of all columns for the response, whose columns
are brought into step by delays.

Source: github.com/ucb-bar/gemmini, PE.scala, Mesh.scala, MeshWithDelays.scala; 16 × 16, one PE a
tile, 8-bit operands, 20-bit sums, 32-bit registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.gemmini.cycle_control import Controller
from accelerators.gemmini.requests import MeshRequests
from accelerators.gemmini.strikes import MeshFault, Strikes

__all__ = ["Responses", "run_cycles", "run_length"]

Ints: TypeAlias = NDArray[np.int64]

TOGETHER = 64  # copies whose registers stay in the cache of a core
SUM_LOW, SUM_HIGH = -(1 << 19), (1 << 19) - 1


@dataclass(frozen=True, eq=False)
class Responses:
    """Response rows of many copies, as they leave the controller.

    Attributes:
        offsets: ``[trials + 1]`` int64; rows of trial i are ``offsets[i]`` to ``offsets[i + 1]``.
        rows: ``[responses, 2 + columns]`` int32: cycle, fields (bit 0 last, bit 1 a tag is known,
            bits 8 to 13 the tag), outputs.
        accepted: ``[trials]`` int64 requests that were accepted; fewer than all: the mesh hangs.
    """

    offsets: Ints
    rows: NDArray[np.int32]
    accepted: Ints

    def of(self, trial: int) -> NDArray[np.int32]:
        """``[rows, 2 + columns]`` of one trial."""
        return self.rows[self.offsets[trial] : self.offsets[trial + 1]]


def run_length(requests: MeshRequests) -> int:
    """Cycles in which every response of a faultless mesh has long left.

    Two a request and 60 more than its rows: what the recorded runs took.
    """
    return int((requests.slots + 2).sum()) + 60


def run_cycles(
    requests: MeshRequests, faults: Sequence[Sequence[MeshFault]], cycles: int = 0
) -> Responses:
    """Response rows of copies of a mesh, each with its faults.

    Args:
        requests: What the mesh is asked to do.
        faults: By copy; an empty list is a faultless one.
        cycles: How long to run; 0: `run_length`.

    Raises:
        FaultError: A fault that cannot exist.
    """
    cycles = cycles or run_length(requests)
    parts = [
        _run(requests, faults[at : at + TOGETHER], cycles) for at in range(0, len(faults), TOGETHER)
    ]
    counts = np.concatenate([np.zeros(1, dtype=np.int64), *(part[0] for part in parts)])
    width = requests.rows + 2
    rows = np.concatenate([np.zeros((0, width), dtype=np.int32), *(part[1] for part in parts)])
    accepted = np.concatenate([np.zeros(0, dtype=np.int64), *(part[2] for part in parts)])
    return Responses(np.cumsum(counts), rows, accepted)


def _run(
    requests: MeshRequests, faults: Sequence[Sequence[MeshFault]], cycles: int
) -> tuple[Ints, NDArray[np.int32], Ints]:
    """(rows by trial, rows of all, accepted requests) of a few copies."""
    size, trials = requests.rows, len(faults)
    mesh = _Mesh(size, trials, Strikes(faults, size))
    ports = _Ports(Controller(requests, trials, cycles))
    # Outputs below the mesh by cycle; those of column c wait size - 1 - c cycles for column 0's.
    sums = np.zeros((cycles + size, size, trials), dtype=np.int32)
    control = np.zeros((3, cycles + size, trials), dtype=np.int64)
    fields = np.zeros((cycles + 1, trials), dtype=np.int64)
    shown = np.zeros((cycles + 1, trials), dtype=bool)
    for t in range(cycles + 1):
        if t:
            mesh.edge(ports.entering(t))
        mesh.settle(t)
        sums[t + size - 1] = np.where(mesh.dataflow[size, 0], mesh.b[size], mesh.d[size])
        bottom = (mesh.valid[size, 0], mesh.last[size, 0], mesh.id[size, 0])
        control[:, t + size - 1] = bottom
        valid, last = control[:2, t] != 0
        shown[t] = valid
        ports.controller.offer(t)
        fields[t] = ports.controller.edge(t, valid, last, control[2, t])
    return *_leaving(sums, fields, shown), ports.controller.accepted


def _leaving(
    sums: NDArray[np.int32], fields: Ints, shown: NDArray[np.bool_]
) -> tuple[Ints, NDArray[np.int32]]:
    """Bring columns into step and keep what is valid, trial by trial."""
    trial, t = np.nonzero(shown.T)
    col = np.arange(sums.shape[1])
    outputs = sums[t[:, None] + col, col, trial[:, None]]
    rows = np.concatenate([t[:, None], fields[t, trial][:, None], outputs], axis=1)
    return shown.sum(axis=0), rows.astype(np.int32)


class _Ports:
    """What stands at the ports of a mesh, cycle by cycle."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        requests = controller.requests
        self.lines = np.arange(requests.rows)[:, None]
        self.a, self.b, self.d = (
            requests.presented(operand).astype(np.int32)
            for operand in (requests.a, requests.b, requests.d)
        )
        self.transposed = requests.transposed.astype(np.int32)
        # Fields of power-up, which is request -1, behind those of the requests.
        self.dataflow = np.append(requests.weight_stationary, False)
        self.propagate = np.append(requests.propagates, False)
        self.shift = np.append(requests.shift, 0).astype(np.int32)
        self.transposes = np.append(requests.transposes, True)

    def entering(self, t: int) -> dict[str, NDArray[Any]]:
        """``[lines, trials]`` by register, at the edge into cycle ``t``."""
        arriving = self.controller.arriving
        request = arriving(self.controller.request_log, t)
        buffer = arriving(self.controller.buffer_log, t)
        entered = arriving(self.controller.entered_log, t)
        turned = self.transposed[entered, self.lines]
        return {
            "a": np.where(self.transposes[request], turned, self.a[buffer, self.lines]),
            "b": self.b[buffer, self.lines],
            "d": self.d[buffer, self.lines],
            "dataflow": self.dataflow[request],
            "propagate": self.propagate[request],
            "shift": self.shift[request],
            "valid": arriving(self.controller.valid_log, t),
            "last": arriving(self.controller.last_log, t),
            "id": arriving(self.controller.identity_log, t),
        }


class _Mesh:
    """Registers ``[rows, cols, trials]``; those that are registered below have a row more."""

    def __init__(self, size: int, trials: int, strikes: Strikes) -> None:
        self.size, self.strikes = size, strikes
        inside, below = (size, size, trials), (size + 1, size, trials)
        self.a, self.c1, self.c2, self.shift = np.zeros((4, *inside), dtype=np.int32)
        self.b, self.d = np.zeros((2, *below), dtype=np.int32)
        self.propagate, self.last_s = np.zeros((2, *inside), dtype=bool)
        self.valid, self.dataflow, self.last = np.zeros((3, *below), dtype=bool)
        self.id = np.zeros(below, dtype=np.uint8)
        self.down_b = self.down_d = np.zeros(inside, dtype=np.int32)
        self.next_c1 = self.next_c2 = np.zeros(inside, dtype=np.int32)
        self.struck = [name for name in vars(self) if name in strikes.cells]

    def edge(self, entering: dict[str, NDArray[Any]]) -> None:
        """Everything moves on; what stood in the registers is in ``down_`` and ``next_``."""
        size, valid = self.size, self.valid[: self.size]
        self.c1, self.c2 = self.next_c1, self.next_c2
        np.copyto(self.last_s, self.propagate, where=valid)
        moves = np.concatenate([entering["valid"][None], valid[:-1]])
        for register, above in (
            (self.b, self.down_b),
            (self.d, self.down_d),
            (self.dataflow, self.dataflow[:size].copy()),
            (self.propagate, self.propagate.copy()),
            (self.shift, self.shift.copy()),
        ):
            np.copyto(register[1:size], above[: size - 1], where=moves[1:])
            if len(register) > size:
                register[size] = above[size - 1]
        for name in ("b", "d", "dataflow", "propagate", "shift"):
            np.copyto(getattr(self, name)[0], entering[name], where=moves[0])
        self.a[:, 1:] = self.a[:, :-1].copy()
        self.a[:, 0] = entering["a"]
        for name in ("valid", "last", "id"):
            register = getattr(self, name)
            register[1:] = register[:-1].copy()
            register[0] = entering[name]

    def settle(self, t: int) -> None:
        """Strike the registers of cycle ``t``, and compute what they feed the next edge with."""
        for name in self.struck:
            self.strikes.strike_(name, t, getattr(self, name))
        size, propagate = self.size, self.propagate
        b, d, valid = self.b[:size], self.d[:size], self.valid[:size]
        rests = self.dataflow[:size]
        active = np.where(propagate, self.c2, self.c1)
        idle = np.where(propagate, self.c1, self.c2)
        product = self.a * np.where(rests, active, b).astype(np.int8)
        self.strikes.strike_("product", t, product)
        total = _wrapped(np.where(rests, b, active) + product)
        self.strikes.strike_("mac_out", t, total)
        kept = np.where(rests, active, total)
        self.down_b = np.where(rests, total, b)
        self.down_d = self._leaving(idle, rests)
        self.next_c1 = np.where(valid, np.where(propagate, d, kept), self.c1)
        self.next_c2 = np.where(valid, np.where(propagate, kept, d), self.c2)

    def _leaving(self, idle: NDArray[np.int32], rests: NDArray[np.bool_]) -> NDArray[np.int32]:
        """What the idle registers pass down."""
        if rests.all():
            return _wrapped(idle)
        shift = self.shift * (self.propagate != self.last_s)
        shifted = np.clip(_rounded(idle, shift) if shift.any() else idle, SUM_LOW, SUM_HIGH)
        return np.where(rests, _wrapped(idle), shifted)


def _wrapped(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """The low 20 bits in two's complement."""
    return (values << 12) >> 12


def _rounded(values: NDArray[np.int32], shift: NDArray[np.int32]) -> NDArray[np.int32]:
    """Shift right, halves to the even neighbour."""
    down = values >> shift
    rest = values - (down << shift)
    half = np.int32(1) << np.maximum(shift - 1, 0)  # without a shift nothing rests
    return down + ((rest > half) | ((rest == half) & (down & 1 == 1)))
