"""Events of spiking cores: counted by hand, and as SANA-FE 2.2.9 counted and priced them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cores_cost import TINY, chain, cost, counts, pj

from accelerators import Cores
from codesign.design import Design
from codesign.effects import Effects
from codesign.engine.reference import evaluate
from codesign.errors import StudyError
from codesign.formats import NumberFormat
from codesign.mapping import Activity, Placement
from codesign.network import Edge, Input, Leak, Lif, Linear, NetworkGraph
from codesign.samples import Samples
from codesign.study.loading import datasheet
from codesign.study.spec import AcceleratorSpec

DATA = Path(__file__).parent / "data"
RECORDED = (
    Path(__file__).parents[2] / "shared" / "oracles" / "modelling" / "sanafe" / "results.json"
)
CARRIED = json.loads((DATA / "sanafe_cases.json").read_text())
CASES = CARRIED["cases"]
assert len(CASES) == 8

# Halves, and rounds halves towards zero, while |v| < 2**13: a factor a little below 1/2.
HALF = Leak("multiply", amount=15, factor=(1 << 14) - 1)
LEAKS = {1.0: Leak(), 0.5: HALF}

# Fitted to a board by SANA-FE's authors and distributed with it: not what Intel published.
LOIHI_FIT = {
    "weight_register.read": 35.5,
    "membrane.read": 51.2,
    "membrane.write": 21.6,
    "spike_line.spike": 69.3,
    "packet.send": 111.0,
    "packet.hop_x": 3.0,
    "packet.hop_y": 4.2,
}


def test_the_leak_of_the_recorded_network_halves_towards_zero():
    v = np.arange(-(1 << 13) + 1, 1 << 13)
    leaked = (v * HALF.factor + (1 << 14)) >> 15  # codesign.network.Leak: rounds half up
    np.testing.assert_array_equal(leaked, np.trunc(v / 2))


def tiny() -> Cores:
    sheet = datasheet(AcceleratorSpec(datasheet="sanafe_tiny.yaml"), DATA)
    assert isinstance(sheet, Cores)
    return sheet


def placed(case: str) -> tuple[Cores, Placement]:
    """Chip and placement of a recorded case: where inputs, hidden and output neurons sit."""
    if case == "tiny_samecore":  # all on one core, which takes the layers in turn
        return replace(tiny(), mesh=(1, 1), weights="reloaded"), Placement()
    if case == "tiny_3tiles":  # one hop in y, then one in x and one in y
        return replace(tiny(), host=3), Placement(forbidden=((0,), (3,)))
    if case == "tiny_diag":  # there and back along the diagonal
        return replace(tiny(), host=3), Placement(forbidden=((1,), (2,)))
    # Inputs and hidden neurons in one tile of four cores, outputs in the next one in y.
    energy = {name: pj(value, "fitted") for name, value in LOIHI_FIT.items()}
    chip = replace(tiny(), mesh=(8, 4), tile=4, energy=energy)
    others = (core for core in range(chip.cores) if core not in (1, 8 * 4))
    return chip, Placement(forbidden=tuple((core,) for core in others))


def recorded_network(leak: float) -> NetworkGraph:
    first, second = (np.array(CARRIED[name]).T for name in ("W1", "W2"))
    threshold = np.array(CARRIED["threshold"])
    return NetworkGraph(
        "recorded",
        (
            Input("x", (), shape=(16,), format=NumberFormat(1, signed=False)),
            Linear("a", (Edge("x", 1),), weight=first, bias=np.zeros(12, int)),
            Lif("s", (Edge("a"),), threshold, LEAKS[leak]),
            Linear("b", (Edge("s", 1),), weight=second, bias=np.zeros(5, int)),
            Lif("t", (Edge("b"),), threshold, LEAKS[leak]),
        ),
        steps=len(CARRIED["X"]),
    )


def bits(rows: list[str]) -> np.ndarray:
    return np.array([[int(c) for c in row.replace(" ", "")] for row in rows])


def run(case: dict[str, Any]) -> tuple[Design, dict[str, np.ndarray]]:
    """The design of a case, and ``[steps, neurons]`` of its inputs, spikes and membranes."""
    chip, placement = placed(case["case"])
    design = Design("d", recorded_network(case["leak_decay"]), chip.build(), placement)
    inputs = bits(CARRIED["X"])
    samples = Samples("x", "test", inputs[None], np.zeros(1, int), timed=True)
    watched = evaluate(design.layered(), samples, Effects.none(1), watch=("s", "t")).watched
    return design, {"x": inputs, **{name: value[0, 0] for name, value in watched.items()}}


def busy(seen: dict[str, np.ndarray], layer: str, source: str) -> float:
    """Neuron steps with something to do: a spike arrives a step late, or the membrane is not 0."""
    membrane = seen[f"{layer}.membrane"]
    arrives = seen[source][:-1].any(axis=1, keepdims=True)  # every neuron reads every input
    return float(((membrane[:-1] != 0) | arrives).sum())  # in step 0 nobody has anything


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['case']}-{c['leak_decay']}")
def test_spikes_events_packets_and_energy_are_those_of_sana_fe(case):
    design, seen = run(case)
    spikes = np.concatenate([seen["s"], seen["t"]], axis=1)
    np.testing.assert_array_equal(spikes, bits(CARRIED["trains"][str(case["leak_decay"])]))
    fired = {name: float(seen[name].sum()) for name in ("x", "s", "t")}
    assert sum(fired.values()) == case["neurons_fired"]
    activity = Activity(fired, updates={"s": busy(seen, "s", "x"), "t": busy(seen, "t", "s")})
    found = design.mapping.cost(activity, ())
    count = {
        action: sum(r.count for r in found.rows if f"{r.component}.{r.action}" == action)
        for action in ("weight_register.read", "packet.send", "packet.receive", "membrane.write")
    }
    assert count["weight_register.read"] == case["spikes"]
    assert count["packet.send"] == count["packet.receive"] == case["packets_sent"]
    assert count["membrane.write"] == case["neurons_updated"] - fired["x"]  # they update inputs too
    priced = {"synapse": 0.0, "soma": 0.0, "network": 0.0}
    parts = {"weight_register": "synapse", "packet": "network"}
    for row in found.rows:
        priced[parts.get(row.component, "soma")] += row.energy_pj or 0.0
    for part, energy in priced.items():
        assert energy == pytest.approx(case["energy"][part], rel=1e-9), part
    assert found.energy_pj == pytest.approx(case["energy"]["total"], rel=1e-9)
    unpriced = {f"{r.component}.{r.action}" for r in found.rows if r.energy_pj is None}
    assert unpriced == ({"packet.receive"} if case["case"] == "loihi_3cores" else set())


@pytest.mark.skipif(not RECORDED.is_file(), reason=f"{RECORDED} is not beside the checkout")
def test_the_carried_sample_is_what_was_recorded():
    recorded = json.loads(RECORDED.read_text())
    assert len(recorded["results"]) == len(CASES)
    for name in ("W1", "W2"):
        np.testing.assert_array_equal(64 * np.array(recorded[name]), CARRIED[name])
    np.testing.assert_array_equal(recorded["X"], bits(CARRIED["X"]))
    for run_, case in zip(recorded["results"], CASES, strict=True):
        assert {k: run_[k] for k in case if k != "energy"} == {
            k: v for k, v in case.items() if k != "energy"
        }
        for part, energy in case["energy"].items():
            assert 1e12 * run_["energy"][part] == pytest.approx(energy)
        names = [*(f"hid.{i}" for i in range(12)), *(f"out.{i}" for i in range(5))]
        trace = [[name in fired for name in names] for fired in run_["spike_trace"]]
        np.testing.assert_array_equal(trace, bits(CARRIED["trains"][str(case["leak_decay"])]))


# --------------------------------------------------------------------------- options, by hand


def test_a_skipped_neuron_costs_nothing_where_it_was_measured_to_be_idle():
    network = chain((2, 2), 10)
    known = Activity(spikes={"x": 4.0, "s1": 3.0}, updates={"s1": 12.0})
    for sheet, busy_steps in ((TINY, 20), (replace(TINY, idle_neurons="skipped"), 12)):
        found = counts(cost(sheet, network, known), "fc1")
        for action in ("membrane.read", "membrane.write", "integrate.op", "fire.op", "bias.read"):
            assert found[action] == busy_steps
        assert found["reset.op"] == 3
    without = cost(replace(TINY, idle_neurons="skipped"), network, Activity())
    assert counts(without, "fc1")["membrane.read"] == 20
    assert "activity.updates of s1" in without.missing
    assert not any(name.startswith("activity") for name in cost(TINY, network, Activity()).missing)


def test_gated_multipliers_rest_for_codes_that_were_measured_to_be_zero():
    byte = NumberFormat(8, signed=False)
    network, sheet = chain((2, 2), 10, form=byte), replace(TINY, axon_bits=8)
    known = Activity(zeros={"x": 0.25})
    for gating, products in ((False, 40), (True, 30)):
        found = cost(replace(sheet, zero_gating=gating), network, known)
        assert counts(found, "fc1")["current_register.mac"] == products
        assert found.cycles == cost(sheet, network, known).cycles
    without = cost(replace(sheet, zero_gating=True), network, Activity())
    assert counts(without, "fc1")["current_register.mac"] == 40
    assert "activity.zeros of x" in without.missing


def test_hops_are_counted_by_direction_where_they_are_priced_so():
    # Cores 0 (the host's) and 3 of a 2 × 2 mesh: each input spike goes one hop in x, one in y.
    sheet = replace(TINY, energy={"packet.hop_x": pj(3.0), "packet.hop_y": pj(2.0)})
    placement = Placement(forbidden=((0,), (1,), (2,)))
    mapping = sheet.map(chain((2, 2), 1), placement)
    rows = {(r.layer, r.action): r for r in mapping.cost(Activity({"x": 2.0, "s1": 1.0}), ()).rows}
    assert [rows["x", f"hop_{d}"].count for d in "xy"] == [2, 2]
    assert [rows["s1", f"hop_{d}"].energy_pj for d in "xy"] == [3.0, 2.0]  # back to the host
    joint = replace(TINY, energy={"packet.hop": pj(1.0)}).map(chain((2, 2), 1), placement)
    rows = {(r.layer, r.action): r for r in joint.cost(Activity({"x": 2.0, "s1": 1.0}), ()).rows}
    assert rows["x", "hop"].count == 4


def test_cores_of_a_tile_are_no_hop_apart():
    # Four cores a tile: core 3 sits with the host, core 4 one tile further in x.
    sheet = replace(TINY, mesh=(2, 1), tile=4)
    assert sheet.cores == sheet.build().unit("core").instances == 8
    for core, hops in ((3, 0), (4, 1)):
        others = tuple((i,) for i in range(8) if i != core)
        mapping = sheet.map(chain((2, 2), 1), Placement(forbidden=others))
        rows = mapping.cost(Activity({"x": 2.0, "s1": 1.0}), ()).rows
        assert sum(r.count for r in rows if r.action == "hop") == 3 * hops


def test_a_datasheet_with_two_prices_for_a_hop_or_a_host_outside_is_refused():
    both = {"packet.hop": pj(1.0), "packet.hop_x": pj(1.0)}
    with pytest.raises(StudyError, match=r"energy prices packet\.hop and also packet\.hop_x"):
        replace(TINY, energy=both)
    with pytest.raises(StudyError, match=r"tiny\.host: expected one of cores 0\.\.3, came 4"):
        replace(TINY, host=4)
