"""Faults on the wires between memories and an array equal a machine that drives every lane."""

from __future__ import annotations

import numpy as np
import pytest
from systolic_cases import (
    Case,
    compare,
    grouped,
    random_faults,
    small_chip,
    tiny,
    two_layers,
)

from accelerators.systolic.family import Memory
from codesign.effects import At, Kind
from codesign.faults import FAULT, Fault, FaultModel, Faults, FaultSite, Window

FLOWS = ("weight_stationary", "output_stationary", "input_stationary")
BUSES = {"weight_bus": 8, "activation_bus": 8, "sum_bus": 20}
assert BUSES


def every_lane(case: Case, bus: str, bits: tuple[int, ...]) -> Faults:
    """One fault a trial on each lane: a pulse in every cycle, stuck and dead for good and a while.

    Pulses strike the second inference.
    """
    graph, cycles = case.graph, case.cycles
    part = [f"{u.name}.{c.name}" for u, c in graph.components()].index(f"{bus}.wire")
    dead = -1 - [u.name for u in graph.units].index(bus)
    events = [(FaultModel.flip, bit, (1, t), (-1, -1)) for bit in bits for t in range(cycles)]
    spans = [((0, 0), (-1, -1)), ((0, cycles // 3), (1, cycles // 2)), ((1, 5), (1, 6))]
    for first, last in spans:
        stuck = (FaultModel.stuck0, FaultModel.stuck1)
        events += [(model, bit, first, last) for bit in bits for model in stuck]
        events.append((FaultModel.dead, 0, first, last))
    lanes = graph.unit(bus).instances
    table = np.zeros(lanes * len(events), dtype=FAULT)
    for i, (model, bit, first, last) in enumerate(events * lanes):
        row = table[i]
        row["trial"], row["instance"], row["model"], row["bit"] = i, i // len(events), model, bit
        row["part"] = dead if model == FaultModel.dead else part
        row["first"], row["last"], row["execution"] = first, last, -1
    return Faults(table, len(table))


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize(("rows", "columns"), [((), ()), ((2, 0), (1, 0))])
def test_every_lane_in_every_cycle_equals_brute_force(rows, columns, bus, flow):
    case = Case(small_chip(dataflow=flow), tiny(), rows, columns)
    bits = (0, BUSES[bus] * 3 // 5, BUSES[bus] - 1)
    found = compare(case, every_lane(case, bus, bits))
    assert found.changed.mean() > 0.05
    assert not found.wrong.any()
    assert not (found.changed & (found.footprint.idle > 0)).any()


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("network", [two_layers, grouped])
def test_faults_on_wires_memories_and_registers_at_once_equal_brute_force(network, flow):
    chip = small_chip(rows=4, dataflow=flow, weight_sram=Memory(256, 16))
    case = Case(chip, network(), rows=(3, 1, 0), columns=(1, 0))
    units = (*BUSES, "array", "weight_sram", "activation_sram", "psum_sram")
    found = compare(case, random_faults(case, units, trials=60, per_trial=8, seed=11))
    assert found.changed.mean() > 0.5
    assert not found.wrong.any()


@pytest.mark.parametrize("bus", BUSES)
def test_a_pulse_one_cycle_off_is_predicted_wrong_somewhere(bus):
    case = Case(small_chip(), tiny())
    faults = every_lane(case, bus, (5,))
    assert compare(case, faults, shifted=1).wrong.mean() > 0.02


def test_a_stuck_wire_corrupts_every_weight_that_goes_over_its_lane():
    """Two columns: channel n sits in column n mod 2, whatever its fold."""
    case = Case(small_chip(), two_layers())
    fault = Fault(FaultSite("weight_bus", (1,), "wire", 0, 7), FaultModel.stuck1)
    table = case.mapping.footprint(Faults.of([[fault]], case.graph), 1).effects.table
    assert [(r["layer"], r["n"].tolist(), r["k"].tolist()) for r in table] == [
        (1, [1, 3, 2], [0, -1, 1]),
        (3, [1, 4, 2], [0, -1, 1]),
    ]
    assert set(table["kind"]) == {Kind.operand}
    assert set(table["at"]) == {At.weight}
    assert set(table["mask"]) == {128}


def test_a_wire_holds_nothing_after_its_window():
    """Row 2's weight enters first, in cycle 0 of the fold, and rests; row 1's in cycle 1."""
    case = Case(small_chip(), tiny())
    site = FaultSite("weight_bus", (0,), "wire", 0, 1)
    for cycle, term in ((0, 2), (1, 1), (2, 0)):
        fault = Fault(site, FaultModel.flip, Window((0, cycle)))
        table = case.mapping.footprint(Faults.of([[fault]], case.graph), 2).effects.table
        assert [r["k"].tolist() for r in table] == [[term, term + 1, 1]]
        assert [r["samples"].tolist() for r in table] == [[0, 1]]
    late = Fault(site, FaultModel.flip, Window((0, 3)))
    footprint = case.mapping.footprint(Faults.of([[late]], case.graph), 2)
    assert len(footprint.effects) == 0
    assert footprint.idle.tolist() == [1]


def test_a_mesh_has_no_buses_and_links_lead_through_those_of_the_generic_array():
    plain = small_chip().build()
    ways = {(link.source, link.target) for link in plain.links}
    assert {("weight_sram", "weight_bus"), ("weight_bus", "array"), ("array", "sum_bus")} <= ways
    assert [plain.unit(bus).instances for bus in BUSES] == [2, 3, 2]
    turned = small_chip(dataflow="input_stationary").build()
    assert [turned.unit(bus).instances for bus in BUSES] == [3, 2, 2]
    mesh = small_chip(rows=4, cols=4, datapath="gemmini").build()
    assert {unit.name for unit in mesh.units}.isdisjoint(BUSES)
