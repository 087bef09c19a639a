"""Gemmini's mesh, driven by requests: the datapath whose RTL judges this family.

A mesh of R × R processing elements (PEs) takes *requests*: R slots of one row each of A, B and D,
and a bubble. Registers of PE (r, c): ``a`` (8 bits), ``b`` and ``d`` (20 bits; in row 0, where B
and D enter, 8 bits and the sign above them), ``c1`` and ``c2`` (32 bits). Below the last row stand
``out_b`` and ``out_c`` (20 bits), one each a column. Nets: ``product`` (16 bits) and ``mac_out``
(20 bits, wraps). One of c1 and c2 is *active*, the other *idle*; a request that toggles exchanges
them from its first slot on.

- Weight stationary: ``mac_out = b + a · w`` with w the low 8 bits of the active register, into the
  ``b`` below. Meanwhile D moves down the idle registers, the row of slot i into array row
  R - 1 - i: the tile of the next request that toggles. The response to a request is A · W + B, rows
  in order.
- Output stationary: the active register takes ``c + a · w`` with w the low 8 bits of b, which moves
  down. The idle registers move down too: first the results of the request before, shifted right
  with rounding half to even in their first cycle and clipped to 20 bits at every step, then D, the
  row of slot i into row R - 1 - i: what the next request starts from. So the response to a request
  is the result of the one before, last row first.

Cycle t is after the t-th clock edge; PE (r, c) meets slot j of request q at
``t = 3 + (R + 1) q + j + r + c``; in out_b and out_c of column c the slot's results stand at
``3 + (R + 1) q + j + R + c``. All registers hold zero at power-up, which the first requests
compute on.

Claimed are flips and bits stuck for good in these registers and nets, any number of them in a
trial, but for values that are clipped between two of them (refused). Control, buffers and skew
around the mesh are not modelled.

Source: the generator at github.com/ucb-bar/gemmini, PE.scala, Mesh.scala, MeshWithDelays.scala.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.gemmini_mesh import mesh
from accelerators.gemmini_os import refuse_clipped_twice, strike_output_stationary
from accelerators.gemmini_slots import FIRST_SLOT
from accelerators.gemmini_ws import strike_weight_stationary
from accelerators.systolic_effects import EffectRows, overruled, struck
from codesign.accelerator import AcceleratorGraph, Link
from codesign.effects import Effects
from codesign.errors import DataError, UnsupportedError
from codesign.faults import Faults
from codesign.formats import NumberFormat, Requantise, read_only
from codesign.guards import Guard
from codesign.mapping import Footprint
from codesign.network import Concat, Edge, Input, Layer, Linear, NetworkGraph, Slice
from codesign.program import MacArithmetic, Program
from codesign.samples import InputCoding, Samples

__all__ = ["MeshDataflow", "RequestProgram"]

MeshDataflow: TypeAlias = Literal["weight_stationary", "output_stationary"]


@dataclass(frozen=True, eq=False)
class RequestProgram:
    """What a mesh is asked to do, request by request, from power-up on.

    As a network: each response is a fully connected layer whose weights, bias and inputs are what
    the requests carry; the output is all responses behind one another. It has one sample.

    Attributes:
        a: ``[requests, rows, rows]`` int64 codes, the row of each slot as presented to the mesh.
        b: ``[requests, rows, rows]``, likewise.
        d: ``[requests, rows, rows]``, likewise.
        toggles: ``[requests]`` bool, which requests exchange the active and the idle registers.
        dataflow: Of all requests.
        shift: Right shift of results (output stationary).
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    d: NDArray[np.int64]
    toggles: NDArray[np.bool_]
    dataflow: MeshDataflow = "weight_stationary"
    shift: int = 0

    def __post_init__(self) -> None:
        for name in ("a", "b", "d"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        object.__setattr__(self, "toggles", read_only(self.toggles, "bool"))
        shapes = {self.a.shape, self.b.shape, self.d.shape}
        if len(shapes) != 1 or self.a.ndim != 3 or self.a.shape[1] != self.a.shape[2]:
            raise DataError(f"a, b and d are [requests, rows, rows], came {sorted(shapes)}")
        if self.toggles.shape != self.a.shape[:1]:
            raise DataError(f"toggles is [requests], came {self.toggles.shape}")
        if self.dataflow == "output_stationary" and not self.toggles.all():
            message = "an output-stationary request that does not toggle is not modelled"
            raise UnsupportedError(message)

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.a)

    @property
    def rows(self) -> int:
        """Rows (and columns) of the mesh, and slots of a request."""
        return self.a.shape[1]

    @property
    def cycles(self) -> int:
        """Cycles until the last response has left."""
        return FIRST_SLOT + (self.rows + 1) * self.requests + 2 * self.rows

    @cached_property
    def accelerator(self) -> AcceleratorGraph:
        """The mesh alone."""
        return AcceleratorGraph(
            "gemmini mesh", None, mesh(self.rows), (Link("array", "edge", "psum", 20),)
        )

    @property
    def active(self) -> NDArray[np.int64]:
        """``[requests]`` number of the active register: 1 or 2."""
        return 1 + np.cumsum(self.toggles) % 2

    @property
    def tiles(self) -> NDArray[np.int64]:
        """``[requests]`` the request that loaded what is active; -1: what was there at power-up."""
        found, tile = [], -1
        for request, toggles in enumerate(self.toggles):
            tile = request - 1 if toggles else tile
            found.append(tile)
        return np.array(found)

    @cached_property
    def network(self) -> NetworkGraph:
        """One layer for each response, and all of them behind one another."""
        size = self.rows
        form = NumberFormat(8)
        layers: list[Layer] = [Input("rows", (), shape=(self.requests * size, size), format=form)]
        for request in range(self.requests):
            whole = (request * size, (request + 1) * size, 1)
            layers.append(Slice(f"a{request}", (Edge("rows"),), slices=(whole, (0, size, 1))))
            weight, bias = self._operands(request)
            layers.append(Linear(f"r{request}", (Edge(f"a{request}"),), weight=weight, bias=bias))
        edges = tuple(Edge(f"r{request}") for request in range(self.requests))
        layers.append(Concat("responses", edges, requantise=(None,) * self.requests))
        coding = InputCoding(format=form)
        return NetworkGraph("requests", tuple(layers), coding=coding)

    @cached_property
    def samples(self) -> Samples:
        """The one sample: the rows of A in the order in which they make responses."""
        blocks = self.a
        if self.dataflow == "output_stationary":
            # Slot j carries column j of A; responses come a request later, last row first.
            turned = self.a[:-1].transpose(0, 2, 1)[:, ::-1]
            blocks = np.concatenate([np.zeros_like(self.a[:1]), turned])
        inputs = blocks.reshape(1, self.requests * self.rows, self.rows)
        return Samples("requests", "test", inputs, np.zeros(1, dtype=np.int64))

    def program(self, guards: tuple[Guard, ...] = ()) -> Program:
        """What the mesh computes: 20 bits that wrap, and the way out."""
        form = NumberFormat(20, overflow="wrap")
        readout = None
        if self.dataflow == "output_stationary":
            readout = Requantise(1, self.shift, form.low, form.high, "half_even")
        sums = MacArithmetic(form, form, (self.rows,), bias_in="load", readout=readout)
        arithmetic = {f"r{request}": sums for request in range(self.requests)}
        return Program(self.network, arithmetic, guards=guards)

    def footprint(self, faults: Faults, inferences: int = 1) -> Footprint:
        """What faults touch, flips and bits stuck for good.

        Raises:
            FaultError: A fault that cannot exist.
            UnsupportedError: A fault of another kind, by name.
        """
        faults.check(self.accelerator)
        rows = EffectRows(faults.table, self.cycles)
        strike = {
            "weight_stationary": strike_weight_stationary,
            "output_stationary": strike_output_stationary,
        }[self.dataflow]
        counts = ~overruled(faults.table, self.cycles, {})
        for part, (_, component) in enumerate(self.accelerator.components()):
            which = np.flatnonzero((faults.table["part"] == part) & counts)
            strike(self, component.name, struck(faults.table, which, self.cycles, inferences), rows)
        dead = np.flatnonzero(faults.table["part"] < 0)
        if len(dead):
            raise UnsupportedError("gemmini mesh: a dead element is not modelled")
        if self.dataflow == "output_stationary":
            refuse_clipped_twice(rows.table())
        total = np.bincount(faults.table["trial"], minlength=faults.trials)
        idle = np.bincount(faults.table["trial"][~rows.hits], minlength=faults.trials)
        return Footprint(Effects(rows.table(), faults.trials), total, idle)

    def _operands(self, request: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(weight [n, k], bias [m, n]) of the response to a request."""
        zeros = np.zeros((self.rows, self.rows), dtype=np.int64)
        if self.dataflow == "weight_stationary":
            tile = int(self.tiles[request])
            weight = self.d[tile][::-1].T if tile >= 0 else zeros
            return weight, self.b[request]
        return (self.b[request - 1].T if request >= 1 else zeros), self.start(request)

    def start(self, response: int) -> NDArray[np.int64]:
        """``[rows, rows]`` what a response starts from (output stationary), row by row of it."""
        return self.d[response - 2] if response >= 2 else np.zeros_like(self.d[0])
