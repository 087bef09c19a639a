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
  down. The idle registers move down too: first what they hold, clipped to 20 bits at every step,
  then D, the row of slot i into row R - 1 - i. After a toggle they hold results, which are shifted
  right with rounding half to even in their first cycle, and D is what the active ones start from.
  So the response to a request that toggles is the result of those since the toggle before, and
  otherwise the D of the request before; array rows last first.

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

from accelerators.gemmini.output_stationary import refuse_clipped_twice, strike_output_stationary
from accelerators.gemmini.slots import FIRST_SLOT
from accelerators.gemmini.weight_stationary import strike_weight_stationary
from accelerators.systolic.effects import EffectRows, overruled, struck
from accelerators.systolic.gemmini_mesh import mesh
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
        shift: Right shift of results that leave (output stationary): of all requests, or
            ``[requests]`` int64 of each.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    d: NDArray[np.int64]
    toggles: NDArray[np.bool_]
    dataflow: MeshDataflow = "weight_stationary"
    shift: int | NDArray[np.int64] = 0

    def __post_init__(self) -> None:
        for name in ("a", "b", "d"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        object.__setattr__(self, "toggles", read_only(self.toggles, "bool"))
        shapes = {self.a.shape, self.b.shape, self.d.shape}
        if len(shapes) != 1 or self.a.ndim != 3 or self.a.shape[1] != self.a.shape[2]:
            raise DataError(f"a, b and d are [requests, rows, rows], came {sorted(shapes)}")
        if self.toggles.shape != self.a.shape[:1]:
            raise DataError(f"toggles is [requests], came {self.toggles.shape}")
        if np.shape(self.shift) not in ((), self.toggles.shape):
            raise DataError(f"shift is a number or [requests], came {np.shape(self.shift)}")

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
    def groups(self) -> NDArray[np.int64]:
        """``[requests]`` the request since which the same register is active."""
        groups = np.maximum.accumulate(np.arange(self.requests) * self.toggles)
        return read_only(groups)

    @cached_property
    def results(self) -> NDArray[np.int64]:
        """``[requests]`` the response with the sums of a request; the number of requests: none."""
        later = np.append(np.flatnonzero(self.toggles), self.requests)
        return read_only(later[np.searchsorted(later, np.arange(self.requests), side="right")])

    @cached_property
    def loaded(self) -> NDArray[np.int64]:
        """``[requests]`` whose D a response starts from (output stationary); -1: from zeros."""
        before = np.arange(self.requests) - 1
        since = self.groups[np.maximum(before, 0)] - 1
        return read_only(np.where(self.toggles & (before >= 0), since, before))

    @cached_property
    def terms(self) -> NDArray[np.int64]:
        """``[requests]`` terms of a response; what is not summed up has as many that are zero."""
        terms = np.full(self.requests, self.rows)
        if self.dataflow == "output_stationary":
            some = np.flatnonzero(self.toggles[1:]) + 1
            terms[some] = self.rows * (some - self.groups[some - 1])
        return read_only(terms)

    @cached_property
    def network(self) -> NetworkGraph:
        """One layer for each response, and all of them behind one another."""
        size, width = self.rows, int(self.terms.max())
        form = NumberFormat(8)
        layers: list[Layer] = [Input("rows", (), shape=(self.requests * size, width), format=form)]
        for request in range(self.requests):
            whole = (request * size, (request + 1) * size, 1)
            terms = (0, int(self.terms[request]), 1)
            layers.append(Slice(f"a{request}", (Edge("rows"),), slices=(whole, terms)))
            weight, bias = self._operands(request)
            layers.append(Linear(f"r{request}", (Edge(f"a{request}"),), weight=weight, bias=bias))
        edges = tuple(Edge(f"r{request}") for request in range(self.requests))
        layers.append(Concat("responses", edges, requantise=(None,) * self.requests))
        coding = InputCoding(format=form)
        return NetworkGraph("requests", tuple(layers), coding=coding)

    @cached_property
    def samples(self) -> Samples:
        """The one sample: the rows of A in the order in which they make responses."""
        blocks = np.zeros((self.requests, self.rows, int(self.terms.max())), dtype=np.int64)
        for request in range(self.requests):
            if self.dataflow == "weight_stationary":
                blocks[request] = self.a[request]
            elif self.toggles[request] and request:
                # Slot j carries column j of A; the last array row leaves first.
                columns = np.concatenate(self.a[self.groups[request - 1] : request])
                blocks[request, :, : len(columns)] = columns.T[::-1]
        inputs = blocks.reshape(1, self.requests * self.rows, -1)
        return Samples("requests", "test", inputs, np.zeros(1, dtype=np.int64))

    def program(self, guards: tuple[Guard, ...] = ()) -> Program:
        """What the mesh computes: 20 bits that wrap, and the way out."""
        form = NumberFormat(20, overflow="wrap")
        shift = np.broadcast_to(self.shift, self.toggles.shape) * self.toggles
        arithmetic = {}
        for request, terms in enumerate(self.terms.tolist()):
            readout = None
            if self.dataflow == "output_stationary":
                readout = Requantise(1, int(shift[request]), form.low, form.high, "half_even")
            sums = MacArithmetic(form, form, (terms,), bias_in="load", readout=readout)
            arithmetic[f"r{request}"] = sums
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
        weight = np.zeros((self.rows, int(self.terms[request])), dtype=np.int64)
        if self.toggles[request] and request:
            weight = np.concatenate(self.b[self.groups[request - 1] : request]).T
        return weight, self.start(request)

    def start(self, response: int) -> NDArray[np.int64]:
        """``[rows, rows]`` what a response starts from (output stationary), row by row of it."""
        loaded = int(self.loaded[response])
        return self.d[loaded] if loaded >= 0 else np.zeros_like(self.d[0])
