"""Cycles split into load, compute, drain and stall, as counted by hand and element by element."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from systolic_cases import grouped, linear, residual, small_chip, two_layers
from test_cores_cost import MIXED, TALL, TINY, chain
from test_tinyodin import SHEET, network

from accelerators import Systolic
from accelerators.systolic.family import Memory
from codesign.formats import NumberFormat
from codesign.guards import Recompute
from codesign.mapping import Activity, Cost, Phases, Placement
from codesign.network import Conv2d, Edge, Input, NetworkGraph

FLOWS = ("weight_stationary", "input_stationary", "output_stationary")
NETWORKS = {"two layers": two_layers, "grouped": grouped, "residual": residual}
LARGE = Memory(1 << 22, 64)
assert NETWORKS


def priced(sheet: Systolic, net: NetworkGraph, placement: Placement | None = None) -> Cost:
    return sheet.map(net, placement or Placement()).cost(Activity(), ())


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seats", [((), ()), ((2, 0), (1,))])
def test_every_cycle_is_what_its_elements_do(flow, name, seats):
    """Element by element, by the times that `accelerators.systolic.schedule` tells."""
    sheet, net = small_chip(dataflow=flow, weight_sram=LARGE), NETWORKS[name]()
    placement = Placement(rows=seats[0], columns=seats[1])
    rows, cols = seats[0] or (0, 1, 2), seats[1] or (0, 1)
    axis = {"weight_stationary": "kn", "output_stationary": "mn", "input_stationary": "km"}[flow]
    streamed = ({"m", "k", "n"} - set(axis)).pop()
    found: dict[str, np.ndarray] = {}
    for a in sheet.map(net, placement).assignments():
        used = [len(range(*getattr(a, one))) for one in axis]
        first = 0 if flow == "output_stationary" else sheet.rows - 1
        busy = [
            first + t + r + c
            for t in range(len(range(*getattr(a, streamed))))
            for r in rows[: used[0]]
            for c in cols[: used[1]]
        ]
        whole = a.last_cycle - a.first_cycle
        split = [min(busy), max(busy) + 1 - min(busy), whole - max(busy) - 1, 0]
        found[a.layer] = found.get(a.layer, np.zeros(4, int)) + split
    cost = priced(sheet, net, placement)
    assert {n: [p.load, p.compute, p.drain, p.stall] for n, p in cost.phases.items()} == {
        n: p.tolist() for n, p in found.items()
    }


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("name", NETWORKS)
def test_phases_add_up_to_the_cycles_of_the_layer_and_the_inference(flow, name):
    cost = priced(small_chip(dataflow=flow, weight_sram=LARGE), NETWORKS[name]())
    assert {n: p.cycles for n, p in cost.phases.items()} == cost.layer_cycles
    assert sum(p.cycles for p in cost.phases.values()) == cost.cycles


@pytest.mark.parametrize(("rows", "cols", "t"), [(4, 4, 1), (8, 3, 17), (2, 9, 64)])
@pytest.mark.parametrize("flow", FLOWS)
def test_a_full_fold_has_scale_sim_s_cycles_and_its_stream(flow, rows, cols, t):
    # SCALE-Sim 3.0.0, compute/systolic_compute_{ws,is,os}.py: a fold prefetches `rows` rows (not
    # output stationary), then takes t + rows + cols - 2 cycles.
    k, n = {"weight_stationary": (rows, cols), "input_stationary": (rows, t)}.get(flow, (t, cols))
    m = {"weight_stationary": t, "input_stationary": cols}.get(flow, rows)
    layer = Conv2d("c", (Edge("x"),), np.ones((n, k, 1, 1), int), np.zeros(n, int))
    net = NetworkGraph("one", (Input("x", (), (k, m, 1)), layer))
    sheet = Systolic(
        rows=rows,
        cols=cols,
        dataflow=flow,
        weight_sram=LARGE,
        activation_sram=LARGE,
        psum_sram=LARGE,
    )
    (phases,) = priced(sheet, net).phases.values()
    assert phases.compute == t + rows + cols - 2
    prefetched = 0 if flow == "output_stationary" else rows
    assert phases.load + phases.drain == prefetched
    assert phases.cycles == prefetched + t + rows + cols - 2


def test_a_mesh_stalls_in_its_bubbles_and_in_slots_without_a_position():
    # 20 terms and 9 channels on 3 x 3: 7 x 3 folds; one position each, in a request of 3 slots
    # and a bubble. Before the first fold a request of 4 cycles brings the first tile.
    layers = (Input("x", (), (20,), NumberFormat(8)), linear("l", "x", 20, 9))
    net = NetworkGraph("one", layers)
    chip = small_chip(datapath="gemmini", cols=3, weight_sram=Memory(512, 16))
    cost = priced(chip, net)
    assert cost.phases == {"l": Phases(compute=21, stall=21 * 3), "*": Phases(load=4)}
    assert cost.cycles == 21 * 4 + 4


def test_cores_deliver_a_cycle_integrate_a_row_and_send_a_cycle():
    # Three inputs in the four rows of one core, two steps: deliver, 3 rows, 4 operations, send.
    found = TALL.map(chain((3, 2), 2), Placement()).cost(Activity(spikes={"x": 4, "s1": 3}), ())
    assert found.phases == {"fc1": Phases(load=2, compute=2 * 7, drain=2), "*": Phases(load=1)}


def test_cores_that_reload_load_a_cycle_a_row():
    # Two segments after one another on one core: rows 2 + 2 are loaded, delivered, integrated.
    sheet = replace(TINY, mesh=(1, 1), weight_words=16, weights="reloaded")
    found = sheet.map(chain((4, 2), 1), Placement()).cost(MIXED, ())
    assert found.phases["fc1"] == Phases(load=2 * (2 + 1), compute=2 * 2 + 4, drain=1)
    assert found.phases["fc1"].cycles == found.layer_cycles["fc1"]


def test_tinyodin_updates_neurons_and_handles_events():
    # 8 neurons, 4 steps with a leak, 10 events of inputs, 3 and 2 spikes: 19 items.
    mapping = SHEET.map(network(np.random.default_rng(3)), Placement())
    cost = mapping.cost(Activity({"x": 10.0, "lif0": 3.0, "lif1": 2.0}), ())
    assert cost.phases == {
        "fc0": Phases(compute=19 * 2 * 5),
        "fc1": Phases(compute=19 * 2 * 3),
        "*": Phases(load=10 * 8 + 5 * 2 + 4 * 6, drain=5 * 6, stall=4 * (1 + 10 + 4)),
    }
    assert cost.layer_cycles == {"fc0": 190, "fc1": 114}
    assert cost.cycles == sum(p.cycles for p in cost.phases.values())


def test_executing_thrice_takes_thrice_of_everything():
    mapping = small_chip().map(two_layers(), Placement())
    once, thrice = (mapping.cost(Activity(), g) for g in ((), (Recompute(3),)))
    assert thrice.phases == {name: part.times(3) for name, part in once.phases.items()}
    assert thrice.layer_cycles == {name: part.cycles for name, part in thrice.phases.items()}
