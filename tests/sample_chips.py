"""Chips and designs of the made-up study of `sample_findings`."""

from __future__ import annotations

from dataclasses import replace

from codesign.intervals import Interval
from codesign.mapping import Assignment, Cost, CostRow
from codesign.study.findings import DesignFinding, UnitPicture

__all__ = ["CNN", "GOLDEN", "MITIGATIONS", "SNN", "STEPS", "interval", "sample_designs"]

TRIALS = 60
MITIGATIONS = ("range_restriction", "ecc", "re_execution")
GOLDEN = {"cnn": 0.975, "snn": 0.955}
CNN = (("conv1", 64, 9, 8), ("conv2", 16, 72, 16), ("fc1", 1, 64, 32), ("fc2", 1, 32, 10))
SNN = (("hidden", 64, 64), ("output", 64, 10))
STEPS = 20


def interval(value: float, half: float, n: int = TRIALS, method: str = "BCa bootstrap") -> Interval:
    """An interval of a given half width around a value."""
    return Interval(value, value - half, value + half, 0.95, n, method)


def sample_designs(network: str, chip: str) -> tuple[DesignFinding, ...]:
    """A network on a chip, plain and with each mitigation."""
    golden = GOLDEN[network]
    on_array = network == "cnn"
    assignments = tuple(_array_assignments() if on_array else _core_assignments())
    base = DesignFinding(
        name=network,
        base=network,
        mitigation="none",
        network=network,
        accelerator=chip,
        golden_accuracy=golden,
        cost=_cost(assignments, on_array),
        units=_array_units() if on_array else _core_units(),
        links=_array_links() if on_array else _core_links(),
        assignments=assignments,
        overflows={} if on_array else {"hidden": 3},
        digest=f"{network:0>8}" * 4,
    )
    return (base, *(_protected(base, name) for name in MITIGATIONS))


def _protected(base: DesignFinding, mitigation: str) -> DesignFinding:
    energy, cycles, area = {
        "range_restriction": (1.02, 1.0, 1.01),
        "ecc": (1.31, 1.0, 1.24),
        "re_execution": (3.02, 3.0, 1.0),
    }[mitigation]
    cost = base.cost
    dearer = tuple(
        replace(row, energy_pj=None if row.energy_pj is None else row.energy_pj * energy)
        for row in cost.rows
    )
    bounds = mitigation == "range_restriction"
    return replace(
        base,
        name=f"{base.network}+{mitigation}",
        mitigation=mitigation,
        golden_accuracy=base.golden_accuracy - (0.005 if bounds else 0.0),
        cost=replace(
            cost,
            cycles=round(cost.cycles * cycles),
            latency_us=None if cost.latency_us is None else cost.latency_us * cycles,
            rows=dearer,
            area_um2={unit: a * area for unit, a in cost.area_um2.items()},
        ),
        crossing=0.41 if bounds else None,
        guards=(f"{mitigation} on every layer",),
        digest=base.digest[:-4] + f"{len(mitigation):04d}",
    )


def _array_units() -> tuple[UnitPicture, ...]:
    layers = tuple(name for name, *_ in CNN)
    pe = (
        ("weight_register", 8, 1, "weight"),
        ("input_register", 8, 1, "activation"),
        ("psum_register", 32, 1, "psum"),
    )
    return (
        UnitPicture("dram", "dram", (), (("words", 64, 8_388_608, "weight"),), layers),
        UnitPicture("weight_sram", "sram", (), (("words", 128, 16_384, "weight"),), layers),
        UnitPicture("activation_sram", "sram", (), (("words", 128, 16_384, "activation"),), layers),
        UnitPicture("psum_sram", "sram", (), (("words", 128, 4096, "psum"),), layers),
        UnitPicture("array", "pe_array", (8, 8), pe, layers, 0.61, interval(0.031, 0.006)),
    )


def _array_links() -> tuple[tuple[str, str, str, int], ...]:
    return (
        ("dram", "weight_sram", "weight", 64),
        ("weight_sram", "array", "weight", 64),
        ("activation_sram", "array", "activation", 64),
        ("array", "psum_sram", "psum", 256),
        ("psum_sram", "activation_sram", "activation", 128),
    )


def _core_units() -> tuple[UnitPicture, ...]:
    layers = tuple(name for name, *_ in SNN)
    neuron = (
        ("current_register", 24, 1, "psum"),
        ("membrane", 24, 2, "membrane"),
        ("threshold", 24, 2, "threshold"),
        ("fire", 1, 1, "operation"),
    )
    return (
        UnitPicture("weight_memory", "sram", (4,), (("weights", 8, 4096, "weight"),), layers),
        UnitPicture("axon_in", "axon_in", (4, 64), (("axon_register", 1, 1, "activation"),)),
        UnitPicture(
            "crossbar",
            "crossbar",
            (4, 64, 20),
            (("weight_register", 8, 1, "weight"),),
            layers,
            0.72,
            interval(0.008, 0.003),
        ),
        UnitPicture("neuron", "neuron", (4, 20), neuron, layers, 0.31, interval(0.017, 0.005)),
        UnitPicture("core", "mesh", (4,), (("packet", 32, 1, "spike"),), layers),
    )


def _core_links() -> tuple[tuple[str, str, str, int], ...]:
    return (
        ("weight_memory", "crossbar", "weight", 8),
        ("core", "axon_in", "spike", 32),
        ("axon_in", "crossbar", "activation", 1),
        ("crossbar", "neuron", "current", 24),
        ("neuron", "core", "spike", 32),
        ("core", "core", "spike", 32),
    )


def _array_assignments() -> list[Assignment]:
    """Weight stationary: fold after fold; 8 cycles to load, then one a position, then the tail."""
    found, cycle = [], 0
    for name, m, k, n in CNN:
        number = 0
        for n0 in range(0, n, 8):
            for k0 in range(0, k, 8):
                k1, n1 = min(k, k0 + 8), min(n, n0 + 8)
                last = cycle + 8 + m + (k1 - k0) + (n1 - n0) - 2
                place = ((0, k1 - k0), (0, n1 - n0))
                tile = (0, m, 1), (k0, k1, 1), (n0, n1, 1)
                found.append(Assignment(name, "array", place, *tile, cycle, last, number))
                cycle, number = last, number + 1
    return found


def _core_assignments() -> list[Assignment]:
    """The hidden layer on cores 0 to 2 and a part of 3, the output layer there too, a column on."""
    found, cycle = [], 1
    for step in range(STEPS):
        for name, k, n in SNN:
            starts = [(core, 0, 20) for core in range(3)] + [(3, 0, 4)]
            if name == "output":
                starts = [(3, 5, 15)]
            done = 0
            for number, (core, first, last) in enumerate(starts):
                channels = (done, done + last - first, 1)
                done += last - first
                one = ((core, core + 1), (0, k), (first, last))
                all_m, all_k = (0, 1, 1), (0, k, 1)
                found.append(
                    Assignment(
                        name,
                        "crossbar",
                        one,
                        all_m,
                        all_k,
                        channels,
                        cycle,
                        cycle + k + 1,
                        number,
                        step,
                    )
                )
                found.append(
                    Assignment(
                        name,
                        "neuron",
                        (one[0], one[2]),
                        all_m,
                        all_k,
                        channels,
                        cycle + k + 1,
                        cycle + k + 6,
                        number,
                        step,
                    )
                )
            assert done == n
            cycle += k + 6
    return found


def _cost(assignments: tuple[Assignment, ...], on_array: bool) -> Cost:
    cycles = max(a.last_cycle for a in assignments)
    layers = list(dict.fromkeys(a.layer for a in assignments))
    ends: dict[str, int] = dict.fromkeys(layers, 0)
    spans = {(a.layer, a.first_cycle, a.last_cycle) for a in assignments}
    for layer, first, last in spans:
        ends[layer] += last - first
    actions: tuple[tuple[str, str, str, int, float], ...]
    if on_array:
        actions = (
            ("weight_sram", "words", "read", 128, 5.2),
            ("activation_sram", "words", "read", 128, 5.2),
            ("psum_sram", "words", "write", 128, 5.9),
            ("array", "product", "op", 16, 0.2),
            ("dram", "words", "read", 64, 640.0),
        )
    else:
        actions = (
            ("crossbar", "weight_register", "read", 8, 0.04),
            ("neuron", "membrane", "write", 24, 0.31),
            ("neuron", "membrane", "read", 24, 0.27),
            ("core", "packet", "hop", 32, 1.7),
        )
    rows = []
    for i, layer in enumerate(layers):
        for j, (unit, component, action, bits, pj) in enumerate(actions):
            count = float(ends[layer] * (3 + i + 2 * j))
            rows.append(
                CostRow(layer, unit, component, action, count, bits, count * pj / 10, "published")
            )
    rows.append(CostRow("*", actions[0][0], "words", "leak", 1.0, 0, None, "absent"))
    area = {"array": 61_500.0, "weight_sram": 210_000.0} if on_array else {"crossbar": 88_000.0}
    return Cost(
        cycles=cycles,
        layer_cycles=ends,
        utilisation={layer: 0.9 - 0.17 * i for i, layer in enumerate(layers)},
        rows=tuple(rows),
        area_um2=area,
        latency_us=cycles / 200.0,
        missing=("static_power of dram",) if on_array else (),
    )
