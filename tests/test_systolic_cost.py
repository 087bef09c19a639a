"""Costs of systolic arrays: against SCALE-Sim 3.0.0, and what zeros and clocks change, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from systolic_cases import conv, grouped, linear

from accelerators import Systolic
from accelerators.systolic.family import Memory
from codesign.errors import StudyError
from codesign.mapping import Activity, Cost, Placement
from codesign.network import Conv2d, Edge, Input, NetworkGraph
from codesign.schema import Quantity

RECORDED = Path(__file__).parents[2] / "shared" / "oracles" / "modelling" / "scalesim"
CARRIED = json.loads((Path(__file__).parent / "data" / "scalesim_cases.json").read_text())
RUNS = CARRIED["results"]
assert len(RUNS) == 18
FLOWS = {"ws": "weight_stationary", "os": "output_stationary", "is": "input_stationary"}
LARGE = Memory(bytes=1 << 28, word_bits=128)


def assert_is_as_recorded(run: dict[str, Any]) -> None:
    """A run's cycles, accesses and efficiency are those of our chip of the same size."""
    kernel, stride = run["kernel"], run["stride"]
    # Their sizes of outputs round up where a stride leaves a rest: pad by what is missing.
    rest = [-(size - k) % stride for size, k in zip(run["ifmap"], kernel, strict=True)]
    layer = Conv2d(
        "c",
        (Edge("x"),),
        weight=np.zeros((run["c_out"], run["c_in"], *kernel), dtype=np.int64),
        bias=np.zeros(run["c_out"], dtype=np.int64),
        stride=(stride, stride),
        padding=(0, rest[0], 0, rest[1]),
    )
    network = NetworkGraph("run", (Input("x", (), shape=(run["c_in"], *run["ifmap"])), layer))
    rows, cols = run["array"]
    sheet = Systolic(
        rows=rows,
        cols=cols,
        dataflow=FLOWS[run["dataflow"]],
        timing="scale_sim",
        weight_sram=LARGE,
        activation_sram=LARGE,
        psum_sram=LARGE,
    )
    assert sheet.timing_rule == "scale_sim"
    mapping = sheet.map(network, Placement())
    cost = mapping.cost(Activity(), ())
    count = {(r.unit, r.component, r.action): r.count for r in cost.rows if r.layer == "c"}
    assert cost.cycles == run["total_cycles"] + 1  # it prints the number of the last one
    assert count["activation_sram", "words", "read"] == run["sram_ifmap_reads"]
    assert count["weight_sram", "words", "read"] == run["sram_filter_reads"]
    folds = list(mapping.assignments())
    # Output stationary it adds rows + columns of writes to every fold that nothing asks for.
    artefact = len(folds) * (rows + cols) if run["dataflow"] == "os" else 0
    assert count["psum_sram", "words", "write"] == run["sram_ofmap_writes"] - artefact
    used = [np.prod([stop - start for start, stop in fold.instances]) for fold in folds]
    assert 100 * np.mean(used) / (rows * cols) == pytest.approx(run["mapping_eff_pct"])
    assert count["array", "product", "op"] == run["M"] * run["K"] * run["N"]


@pytest.mark.parametrize(
    "run", RUNS, ids=lambda r: f"{r['layer']}-{r['array'][0]}x{r['array'][1]}-{r['dataflow']}"
)
def test_cycles_accesses_and_efficiency_equal_the_carried_sample_of_scale_sim(run):
    assert_is_as_recorded(run)


@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"{RECORDED} is not beside the checkout")
def test_cycles_accesses_and_efficiency_equal_all_recorded_runs_of_scale_sim():
    runs = json.loads((RECORDED / "results.json").read_text())["results"]
    assert len(runs) == 113
    for run in runs:
        assert_is_as_recorded(run)
    kept = [{name: run[name] for name in RUNS[0]} for run in runs]
    assert all(run in kept for run in RUNS)


def test_a_timing_rule_of_another_datapath_is_refused():
    with pytest.raises(
        StudyError, match=r"timing: the generic datapath is timed by scale_sim, cam"
    ):
        Systolic(timing="gemmini")
    mesh = Systolic(datapath="gemmini", psum_bits=20, timing="gemmini")
    assert mesh.timing_rule == "gemmini"
    with pytest.raises(
        StudyError, match="the gemmini datapath is timed by gemmini, came scale_sim"
    ):
        replace(mesh, timing="scale_sim")


# Zeros


def products(cost: Cost, layer: str) -> float:
    """Multiplications that are priced."""
    (count,) = (r.count for r in cost.rows if (r.layer, r.component) == (layer, "product"))
    return count


def one_linear(weight: np.ndarray) -> NetworkGraph:
    outputs, inputs = weight.shape
    layer = replace(linear("l", "x", inputs, outputs), weight=weight)
    return NetworkGraph("one", (Input("x", (), shape=(inputs,)), layer))


@pytest.mark.parametrize(
    ("gating", "expected"), [("none", 8), ("input", 6), ("weight", 5), ("both", 3.75)]
)
def test_zeros_of_weights_and_measured_zeros_of_inputs_switch_no_multiplier(gating, expected):
    network = one_linear(np.array([[1, 0, 2, 0], [3, 4, 0, 5]]))
    sheet = Systolic(rows=2, cols=2, zero_gating=gating, multiply=pj(0.2), add=pj(0.1))
    cost = sheet.map(network, Placement()).cost(Activity(zeros={"x": 0.25}), ())
    assert products(cost, "l") == expected
    prices = {r.component: r.energy_pj for r in cost.rows if r.layer == "l" and r.unit == "array"}
    assert prices["product"] == pytest.approx(0.2 * expected)
    assert prices["mac_out"] == pytest.approx(0.1 * expected)
    plain = replace(sheet, zero_gating="none").map(network, Placement())
    assert cost.cycles == plain.cost(Activity(), ()).cycles


def test_zeros_of_the_padding_are_counted_exactly():
    layer = conv("c", "x", 1, 1, 3, padding=(1, 1, 1, 1))
    layer = replace(layer, weight=np.ones_like(layer.weight))
    network = NetworkGraph("one", (Input("x", (), shape=(1, 4, 4)), layer))
    mapping = Systolic(zero_gating="input").map(network, Placement())
    # On a line of 4 pixels, 3 taps at 4 positions read 10 pixels and the border twice.
    assert products(mapping.cost(Activity(), ()), "c") == 10 * 10
    assert products(mapping.cost(Activity(zeros={"x": 0.5}), ()), "c") == 50


def test_gated_products_of_groups_are_those_of_brute_force():
    network = grouped()
    found = Systolic(zero_gating="weight").map(network, Placement()).cost(Activity(), ())
    checked = 0
    for layer in network.layers:
        if isinstance(layer, Conv2d) and layer.groups > 1:
            positions = network.mac_shape(layer.name)[0]
            assert products(found, layer.name) == positions * np.count_nonzero(layer.weight)
            checked += 1
    assert checked


def test_gating_that_needs_a_measurement_says_which_is_missing():
    network = one_linear(np.ones((2, 4), dtype=int))
    for gating, needed in (("none", False), ("weight", False), ("input", True), ("both", True)):
        mapping = Systolic(zero_gating=gating).map(network, Placement())
        missing = mapping.cost(Activity(), ()).missing
        assert ("activity.zeros of x" in missing) == needed
        assert "activity.zeros of x" not in mapping.cost(Activity(zeros={"x": 0.5}), ()).missing


# The clock


def test_clock_energy_is_that_of_a_cycle_times_cycles():
    network = one_linear(np.ones((2, 4), dtype=int))
    sheet = Systolic(rows=2, cols=2, cycle_energy=pj(3.0))
    cost = sheet.map(network, Placement()).cost(Activity(), ())
    (clock,) = (r for r in cost.rows if r.action == "clock")
    assert clock.energy_pj == 3.0 * cost.cycles
    absent = replace(sheet, cycle_energy=None).map(network, Placement()).cost(Activity(), ())
    assert "array.*.clock" in absent.missing


def pj(value: float) -> Quantity:
    return Quantity(value, "pJ", "chosen", "assumed")
