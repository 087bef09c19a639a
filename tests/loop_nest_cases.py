"""Loop nests that ZigZag 3.9.1 has counted: read from its input files, or from a carried sample."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from accelerators.loop_nest.fill import Stored, fill
from accelerators.loop_nest.nest import Axis, Level, Loop, LoopNest, Move, NestMemory, Operand, Port

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "oracles" / "modelling" / "zigzag"
CARRIED = Path(__file__).parent / "data" / "zigzag_cases.json"

MOVES: dict[str, Move] = {
    "fh": "write_down",
    "tl": "read_down",
    "fl": "write_up",
    "th": "read_up",
}
# The four of a record, in the order it prints them.
PRINTED: tuple[Move, ...] = ("read_up", "write_down", "read_down", "write_up")
OPERANDS = {"O": "O", "I2": "W", "I1": "I"}
LATENCIES = ("latency_total0", "latency_total1", "latency_total2")


@dataclass(frozen=True)
class Case:
    """One nest and what ZigZag says of it.

    Attributes:
        name: Layer and hardware.
        nest: The loops on the memories.
        multipliers: Of the array.
        words: (operand, level, move) by words that are not zero.
        said: Latencies and energy by their names in the record.
    """

    name: str
    nest: LoopNest
    multipliers: int
    words: dict[tuple[str, int, Move], int]
    said: dict[str, Any]


def carried_cases() -> list[Case]:
    """The sample in this repository: each nest is given level by level."""
    found = []
    for case in json.loads(CARRIED.read_text())["cases"]:
        memories = tuple(
            NestMemory(
                name,
                bits,
                read,
                write,
                tuple(Port(a, b, tuple(map(tuple, s))) for a, b, s in ports),
            )
            for name, bits, read, write, ports in case["memories"]
        )
        operands = tuple(
            Operand(
                name,
                tuple(Axis(tuple(map(tuple, terms)), extent) for terms, extent in axes),
                bits,
                tuple(Level(m, _loops(t), _loops(b)) for m, t, b in levels),
                final,
            )
            for name, axes, bits, final, levels in case["operands"]
        )
        nest = LoopNest(operands, memories, case["mac_pj"], tuple(case["drain_lanes"]))
        words = {(operand, level, move): count for operand, level, move, count in case["words"]}
        found.append(Case(case["name"], nest, case["multipliers"], words, case["said"]))
    return found


def recorded_cases() -> list[Case]:
    """The runs recorded beside the checkout, from the files that ZigZag read."""
    results = json.loads((RECORDED / "results.json").read_text())["results"]
    return [_recorded(said) for said in results]


def _recorded(said: dict[str, Any]) -> Case:
    layer, hardware = said["layer"], _yaml("hardware", said["hw"])
    mapping = _yaml("mapping", f"{layer}_{said['hw'].split('_')[0]}")[0]
    workload = _yaml("workload", layer)[0]
    sizes = dict(zip(workload["loop_dims"], workload["loop_sizes"], strict=True))
    lanes = {d: loops[0].split(", ") for d, loops in mapping["spatial_mapping"].items()}
    # A dimension that does not fill its lanes evenly takes turns of the same mean size.
    spatial = {
        d: Loop(dim, sizes[dim] / math.ceil(sizes[dim] / int(n))) for d, (dim, n) in lanes.items()
    }
    order = [Loop(dim, size) for dim, size in mapping["temporal_ordering"]]
    memories = {name: _memory(name, told) for name, told in hardware["memories"].items()}
    operands = []
    for key, name in OPERANDS.items():
        mine = [m for m, told in hardware["memories"].items() if key in told["operands"]]
        left, below = dict(spatial), []
        for memory in mine:
            served = hardware["memories"][memory]["served_dimensions"]
            below.append(tuple(left.pop(d) for d in served if d in left))
        bits = workload["operand_precision"]
        stack = tuple(memories[m] for m in mine)
        final = bits["O_final"] if name == "O" else None
        stored = Stored(name, _axes(name, workload), bits[name], stack, tuple(below), final)
        operands.append(fill(stored, order))
    array = hardware["operational_array"]
    drain = tuple(int(lanes[d][1]) for d in array.get("systolic_dimensions", ()))
    nest = LoopNest(tuple(operands), tuple(memories.values()), array["unit_energy"], drain)
    words = {
        (operand, level, move): int(count)
        for operand, levels in said["word_accesses"].items()
        for level, text in enumerate(levels)
        for move, count in zip(PRINTED, re.findall(r": (\d+)", text), strict=True)
        if int(count)
    }
    return Case(f"{layer} on {said['hw']}", nest, math.prod(array["sizes"]), words, said)


def levels_as_printed(nest: LoopNest) -> str:
    """The temporal loops of each level in the words of a record."""
    stacks = (
        f"{operand.name}: ["
        + ", ".join(
            "[" + ", ".join(f"({loop.dim}, {loop.size})" for loop in level.temporal) + "]"
            for level in operand.levels
        )
        + "]"
        for operand in nest.operands
    )
    return "{" + ", ".join(stacks) + "}"


def _axes(name: str, workload: dict[str, Any]) -> tuple[Axis, ...]:
    alone = {"W": ("K", "C", "FY", "FX"), "O": ("B", "K", "OY", "OX"), "I": ("B", "C")}[name]
    axes = tuple(Axis(((dim, 1),)) for dim in alone)
    if name != "I":
        return axes
    stride = int(workload["dimension_relations"][0].split("*")[0].removeprefix("ix="))
    width, height = workload["pr_loop_sizes"]
    rows = Axis((("OY", stride), ("FY", 1)), height)
    return (*axes, rows, Axis((("OX", stride), ("FX", 1)), width))


def _memory(name: str, told: dict[str, Any]) -> NestMemory:
    ports = []
    for port in told["ports"]:
        pairs = [entry.split(", ") for entry in port["allocation"]]
        serves = tuple((OPERANDS[operand], MOVES[way]) for operand, way in pairs)
        ports.append(Port(port["bandwidth_max"], port["bandwidth_min"], serves))
    return NestMemory(name, told["size"], told["r_cost"], told["w_cost"], tuple(ports))


def _loops(pairs: list[list[Any]]) -> tuple[Loop, ...]:
    return tuple(Loop(dim, size) for dim, size in pairs)


def _yaml(folder: str, name: str) -> Any:
    return yaml.safe_load((RECORDED / folder / f"{name}.yaml").read_text())
