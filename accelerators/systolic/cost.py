"""What an inference on a systolic array costs: cycles, accesses, energy, area.

Cycles and SRAM accesses of the generic datapath are counted by the rules of SCALE-Sim 3.0.0, as
``timing: scale_sim`` says (one access moves one element, which costs its share of a word, as if
words were used to the full):

- activation_sram is read M·K times for each column tile (input stationary: M·K times in all);
- weight_sram is read N·K times for each tile of positions (weight stationary: N·K times in all);
- psum_sram is written M·N times for each pass over K; it is also read as often, by the next pass
  or, finished, by the vector unit (which SCALE-Sim does not count).

Beyond SCALE-Sim: a map that passes through memory is written once, and read once by every layer
without weights that gets it there; weights that do not stay are read from dram and written to
weight_sram once an inference; a register is written in every cycle in which a position passes it,
in all elements of the array. What brings the network's input and takes its output is not priced,
nor is the vector unit.

With ``zero_gating`` only products that switch are priced (`accelerators.systolic.gating`). Energy
is of three kinds: by action, by cycle (``cycle_energy``) and by time (``static_power``).

Re-execution multiplies cycles and actions. Area is the sourced area of the datasheet, and gate
equivalents (`accelerators.gates`) of the elements and of what guards add.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from accelerators.gates import AND, FLIP_FLOP, FULL_ADDER, multiplier
from accelerators.systolic.gating import needed_activity, switched
from accelerators.systolic.guards import guard_area_ge, guard_missing, guard_rows
from accelerators.systolic.phases import phases_of
from codesign.guards import Guard, Recompute
from codesign.mapping import Activity, Cost, CostRow

if TYPE_CHECKING:
    from accelerators.systolic.family import Memory, Systolic
    from accelerators.systolic.memories import Memories
    from accelerators.systolic.schedule import LayerPlan
    from codesign.schema import Quantity

__all__ = ["Accesses", "accesses", "cost", "element_ge"]

MEMORIES = ("dram", "weight_sram", "activation_sram", "psum_sram")
MESH_BITS = {"a": 8, "b": 20, "d": 20, "c1": 32, "c2": 32}


@dataclass(frozen=True)
class Accesses:
    """Elements moved between the SRAMs and the array for one layer and inference.

    Attributes:
        inputs: Read from activation_sram.
        weights: Read from weight_sram.
        sums: Written to psum_sram.
    """

    inputs: int
    weights: int
    sums: int


def accesses(plan: LayerPlan) -> Accesses:
    """SRAM accesses of a layer as SCALE-Sim counts them, for every group of channels.

    A 3×3 convolution of 16 channels on 32×32 pixels (M 1024, K 144, N 16) on 16 × 16 elements reads
    147,456 inputs and 2,304 weights and writes 147,456 sums (weight stationary).
    """
    inputs, weights = plan.m * plan.k * plan.groups, plan.n * plan.k
    if plan.dataflow == "input_stationary":
        return Accesses(inputs, weights * plan.cols.tiles, plan.m * plan.n * plan.rows.tiles)
    if plan.dataflow == "weight_stationary":
        return Accesses(inputs * plan.cols.tiles, weights, plan.m * plan.n * plan.rows.tiles)
    return Accesses(inputs * plan.cols.tiles, weights * plan.rows.tiles, plan.m * plan.n)


def element_ge(sheet: Systolic) -> float:
    """Gate equivalents of one processing element: registers, multiplier, adder, row gating.

    An element of a mesh has no gating, but its registers a, b, d, c1 and c2.
    """
    registers = (sheet.weight_bits + sheet.input_bits + sheet.psum_bits) * FLIP_FLOP
    gating = (sheet.weight_bits + sheet.input_bits) * AND
    if sheet.datapath == "gemmini":
        registers, gating = sum(MESH_BITS.values()) * FLIP_FLOP, 0.0
    adder = sheet.psum_bits * FULL_ADDER
    return registers + multiplier(sheet.weight_bits, sheet.input_bits) + adder + gating


def cost(
    sheet: Systolic, memories: Memories, activity: Activity, guards: tuple[Guard, ...]
) -> Cost:
    """Price one inference of a network on an array."""
    times = max([g.times for g in guards if isinstance(g, Recompute)], default=1)
    once = (*_array_rows(sheet, memories, activity), *_memory_rows(sheet, memories))
    once += tuple(guard_rows(sheet, once, guards))
    rows = [_times(row, times) for row in once]
    plans = memories.schedule.layers
    elements = sheet.rows * sheet.cols
    cycles = {p.name: p.folds * p.fold_cycles * times for p in plans}
    total = memories.schedule.cycles * times
    latency = total / sheet.clock.value if sheet.clock else None
    rows += _static_rows(sheet, latency)
    rows.append(_row("*", "array", "*", "clock", total, 0, sheet.cycle_energy))
    missing = {f"{r.unit}.{r.component}.{r.action}" for r in rows if r.energy_pj is None}
    missing |= {"clock"} if sheet.clock is None else set()
    missing |= {f"{name}.area" for name in MEMORIES if getattr(sheet, name).area is None}
    missing |= {"array.area"} if sheet.element_area is None else set()
    missing |= set(needed_activity(sheet, memories.network, activity))
    areas = {name: getattr(sheet, name).area for name in MEMORIES}
    area_um2 = {name: area.value for name, area in areas.items() if area is not None}
    if sheet.element_area is not None:
        area_um2["array"] = sheet.element_area.value * elements
    area_ge = {"array": element_ge(sheet) * elements}
    for unit, more in guard_area_ge(sheet, guards).items():
        area_ge[unit] = area_ge.get(unit, 0.0) + more
    return Cost(
        total,
        cycles,
        {p.name: p.m * p.k * p.n / (elements * p.folds * p.fold_cycles) for p in plans},
        tuple(rows),
        area_um2,
        area_ge,
        latency,
        (*sorted(missing), *guard_missing(guards)),
        {name: part.times(times) for name, part in phases_of(memories.schedule).items()},
    )


def _array_rows(sheet: Systolic, memories: Memories, activity: Activity) -> Iterator[CostRow]:
    """Work in the elements, and the additions that join passes."""
    for plan in memories.schedule.layers:
        macs = switched(sheet, memories.network, plan, activity)
        bits = sheet.weight_bits + sheet.input_bits
        yield _row(plan.name, "array", "product", "op", macs, bits, sheet.multiply)
        yield _row(plan.name, "array", "mac_out", "op", macs, sheet.psum_bits, sheet.add)
        sums = accesses(plan).sums
        yield _row(plan.name, "psum_sram", "adder", "op", sums, sheet.accumulator_bits, sheet.add)
        yield from _register_rows(sheet, memories.schedule.held, plan)


def _register_rows(sheet: Systolic, held: str, plan: LayerPlan) -> Iterator[CostRow]:
    """Registers written; in a mesh all but one of c1 and c2 in every slot of a request."""
    elements = sheet.rows * sheet.cols * plan.folds
    if sheet.datapath == "gemmini":
        slots = elements * -(-plan.m // sheet.rows) * sheet.rows
        for name, bits in MESH_BITS.items():
            share = 0.5 if name in ("c1", "c2") else 1.0
            yield _register(sheet, plan.name, name, slots * share, bits)
    else:
        for operand, bits in (("weight", sheet.weight_bits), ("input", sheet.input_bits)):
            writes = elements * (sheet.rows if operand == held else plan.stream)
            yield _register(sheet, plan.name, f"{operand}_register", writes, bits)
        yield _register(sheet, plan.name, "psum_register", elements * plan.stream, sheet.psum_bits)


def _memory_rows(sheet: Systolic, memories: Memories) -> Iterator[CostRow]:
    """Elements read and written."""
    resident = memories.weights.resident
    for plan in memories.schedule.layers:
        moved = accesses(plan)
        yield _word(sheet, plan.name, "activation_sram", "read", moved.inputs)
        yield _word(sheet, plan.name, "weight_sram", "read", moved.weights)
        yield _word(sheet, plan.name, "psum_sram", "write", moved.sums)
        yield _word(sheet, plan.name, "psum_sram", "read", moved.sums)
        if not resident:
            yield _word(sheet, plan.name, "dram", "read", plan.n * plan.k)
            yield _word(sheet, plan.name, "weight_sram", "write", plan.n * plan.k)
    for stored in memories.maps:
        readers = sum(not has_weights for _, _, has_weights in stored.readers)
        yield _word(sheet, stored.name, "activation_sram", "write", stored.size)
        if readers:
            yield _word(sheet, stored.name, "activation_sram", "read", readers * stored.size)


def _static_rows(sheet: Systolic, latency_us: float | None) -> list[CostRow]:
    """Static energy of every unit over the time of an inference."""
    powers = {name: getattr(sheet, name).static_power for name in MEMORIES}
    powers["array"] = sheet.static_power
    found = []
    for unit, power in powers.items():
        known = power is not None and latency_us is not None
        energy = power.value * latency_us * 1e3 if power and latency_us is not None else None
        grade = power.grade if power and known else "absent"
        found.append(CostRow("*", unit, "*", "static", 1.0, 0, energy, grade))
    return found


def _word(sheet: Systolic, layer: str, unit: str, action: str, count: int) -> CostRow:
    """Elements moved in or out of a memory, each at its share of a word."""
    memory: Memory = getattr(sheet, unit)
    bits = {
        "activation_sram": sheet.input_bits,
        "psum_sram": sheet.accumulator_bits,
    }.get(unit, sheet.weight_bits)
    price: Quantity | None = memory.read if action == "read" else memory.write
    return _row(layer, unit, "words", action, count, bits, price, bits / memory.word_bits)


def _register(sheet: Systolic, layer: str, component: str, count: float, bits: int) -> CostRow:
    return _row(layer, "array", component, "write", count, bits, sheet.register_bit, bits)


def _row(
    layer: str,
    unit: str,
    component: str,
    action: str,
    count: float,
    bits: int,
    price: Quantity | None,
    share: float = 1.0,
) -> CostRow:
    energy = None if price is None else count * price.value * share
    grade = "absent" if price is None else price.grade
    return CostRow(layer, unit, component, action, float(count), bits, energy, grade)


def _times(row: CostRow, times: int) -> CostRow:
    energy = None if row.energy_pj is None else row.energy_pj * times
    return replace(row, count=row.count * times, energy_pj=energy)
