"""Recorded faults of Gemmini's mesh by footprint, effects and engine."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelerators import Systolic
from accelerators.gemmini.program import RequestProgram
from accelerators.gemmini.requests import MeshRequests
from accelerators.gemmini.strikes import MeshFault
from accelerators.systolic.gemmini_network import active_register
from accelerators.systolic.mapping import SystolicMapping
from codesign.engine.dense import evaluate
from codesign.errors import UnsupportedError
from codesign.faults import FAULT, FaultModel, Faults
from codesign.formats import NumberFormat
from codesign.mapping import Placement
from codesign.network import Edge, Input, Linear, NetworkGraph
from codesign.program import Program
from codesign.samples import Samples

__all__ = ["judge_effects"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

KINDS = {"flip": FaultModel.flip, "sa0": FaultModel.stuck0, "sa1": FaultModel.stuck1}


def judge_effects(
    data: dict[str, Any],
    requests: MeshRequests,
    faults: list[list[MeshFault]],
    chosen: Ints,
    true: list[NDArray[np.int32]],
) -> Bools:
    """``[faults]`` whether responses, and the layer if the file holds one, are as recorded.

    Args:
        data: The file.
        requests: Of it.
        faults: By trial.
        chosen: Row of the file of each trial.
        true: Response rows by row of the file.

    Raises:
        UnsupportedError: Requests that effects do not cover.
    """
    if not faults:
        return np.zeros(0, dtype=bool)
    program = request_program(requests)
    table = fault_table(faults, program)
    effects = program.footprint(table).effects
    outputs = evaluate(program.program(), program.samples, effects).outputs
    found = outputs.reshape(len(faults), -1, program.rows)
    same = [np.array_equal(found[trial], true[i][:, 2:]) for trial, i in enumerate(chosen.tolist())]
    equal = np.array(same, dtype=bool)
    if "f_layer_out" not in data:
        return equal
    if not is_layer(data, requests):
        print("effects: the recorded layer is not compared, only its requests", file=sys.stderr)
        return equal
    layer = layer_outputs(data, table, program)
    return equal & (layer == data["f_layer_out"][chosen].reshape(len(faults), -1)).all(axis=1)


def request_program(requests: MeshRequests) -> RequestProgram:
    """The requests as tensors.

    Raises:
        UnsupportedError: Dataflows, transposition or rows that this does not cover.
    """
    if len(set(requests.weight_stationary.tolist())) != 1:
        raise UnsupportedError("requests of both dataflows in one programme")
    if requests.transposes.any():
        raise UnsupportedError("requests through the transposer")
    if (requests.slots != requests.rows).any():
        raise UnsupportedError("requests of fewer rows than the mesh has")
    rests = bool(requests.weight_stationary[0])
    return RequestProgram(
        requests.a,
        requests.b,
        requests.d,
        requests.toggles,
        "weight_stationary" if rests else "output_stationary",
        0 if rests else requests.shift,
    )


def fault_table(faults: list[list[MeshFault]], program: RequestProgram) -> Faults:
    """Faults of data registers and nets, as campaigns know them.

    A flip after the last response has left is none.
    """
    rows = program.rows
    parts = {part.name: i for i, (_, part) in enumerate(program.accelerator.components())}
    listed = [
        (trial, fault)
        for trial, some in enumerate(faults)
        for fault in some
        if fault.kind != "flip" or fault.cycle < program.cycles
    ]
    table = np.zeros(len(listed), dtype=FAULT)
    for row, (trial, fault) in zip(table, listed, strict=True):
        flips = fault.kind == "flip"
        row["trial"], row["part"], row["bit"] = trial, parts[fault.place], fault.bit
        row["instance"] = fault.col if fault.row == rows else fault.row * rows + fault.col
        row["model"] = KINDS[fault.kind]
        row["first"][1] = fault.cycle if flips else 0
    table["last"], table["execution"] = -1, -1
    return Faults(table, len(faults))


def is_layer(data: dict[str, Any], requests: MeshRequests) -> bool:
    """Whether the requests are those of a matrix product, tile by tile of K.

    Request 0 loads the first tile; then each tile of K meets all tiles of rows, and the last of
    them loads the next.
    """
    size = requests.rows
    matrix, weight = (_tiled(data[name], size) for name in ("A_im2col", "W_im2col"))
    k_tiles, m_tiles = matrix.shape[1] // size, matrix.shape[0] // size
    tiles = matrix.reshape(m_tiles, size, k_tiles, size).transpose(2, 0, 1, 3)
    streams = tiles.reshape(-1, size, size)
    firsts = np.arange(len(streams)) % m_tiles == 0
    if requests.requests != 1 + len(streams) or weight.shape != (k_tiles * size, size):
        return False
    loads = requests.d[np.arange(k_tiles) * m_tiles]
    return bool(
        requests.weight_stationary.all()
        and (requests.toggles == np.append(True, firsts)).all()
        and (requests.a[1:] == streams).all()
        and (loads[:, ::-1] == weight.reshape(k_tiles, size, size)).all()
    )


def _tiled(matrix: NDArray[np.int8], size: int) -> Ints:
    """A matrix with zeros up to whole tiles."""
    across = [(0, -extent % size) for extent in matrix.shape]
    return np.pad(matrix.astype(np.int64), across)


def layer_outputs(data: dict[str, Any], faults: Faults, program: RequestProgram) -> Ints:
    """``[trials, outputs]`` of the recorded layer as a network on the mesh."""
    kernel = data["Wt"].shape
    positions = prod(data["f_layer_out"].shape[1:-1])
    terms = prod(kernel[:3])
    inputs = data["A_im2col"][:positions, :terms].astype(np.int64)
    weight = data["W_im2col"][:terms, : kernel[3]].T.astype(np.int64)
    layers = (
        Input("x", (), shape=inputs.shape, format=NumberFormat(8)),
        Linear("c", (Edge("x"),), weight=weight, bias=data["bias"].astype(np.int64)),
    )
    chip = Systolic(datapath="gemmini", psum_bits=20, rows=program.rows, cols=program.rows)
    mapping = chip.map(NetworkGraph("recorded", layers), Placement())
    if not isinstance(mapping, SystolicMapping):
        raise TypeError(f"a systolic chip maps to a SystolicMapping, not {type(mapping).__name__}")
    effects = mapping.footprint(_as_network(faults, mapping, program), 2).effects
    # The recorded requests let the bias enter at row 0; a network's is added behind the mesh.
    plain = mapping.program(())
    arithmetic = {"c": replace(plain.arithmetic["c"], bias_in="load")}
    twice = np.stack([inputs, inputs])
    samples = Samples("recorded", "test", twice, np.zeros(2, dtype=np.int64))
    outputs = evaluate(Program(plain.network, arithmetic), samples, effects).outputs
    return outputs[:, 0].reshape(faults.trials, -1)


def _as_network(faults: Faults, mapping: SystolicMapping, program: RequestProgram) -> Faults:
    """Recorded faults as a network on the mesh meets them.

    Recorded requests always toggle before the first tile and once more with it, so that c1 holds
    it; a network's toggle so that every inference begins alike. The first slot comes in cycle 3,
    and what strikes before it meets zeros that nobody keeps. What is in the mesh after the last
    request belongs, in hardware time, to the next inference.
    """
    names = [f"{unit.name}.{c.name}" for unit, c in mapping.accelerator.components()]
    theirs = [f"{unit.name}.{c.name}" for unit, c in program.accelerator.components()]
    other = {"array.c1": "array.c2", "array.c2": "array.c1"}
    alike = active_register(mapping.schedule)[1] == program.active[1]
    part = np.array([names.index(name if alike else other.get(name, name)) for name in theirs])
    table = faults.table.copy()
    table["part"] = part[table["part"]]
    flips = table["model"] == FaultModel.flip
    early = flips & (table["first"][:, 1] < 3)
    cycle = np.where(flips, table["first"][:, 1] - 3, 0)
    table["first"] = np.stack(np.divmod(cycle, mapping.schedule.cycles), axis=1)
    return Faults(table[~early], faults.trials)
