"""Spiking cores: the chip, who is where and when, what is computed, what is refused."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cores_cases import SMALL, WIDE, Case, delayed, dense, pooled
from oracles_cores import simulate
from oracles_cores_placing import element

from accelerators import Cores
from accelerators.cores.mapping import CoresMapping
from codesign.design import Design
from codesign.effects import At, Effects, Kind, box
from codesign.engine.reference import evaluate
from codesign.errors import FaultError, StudyError
from codesign.faults import FAULT, Fault, FaultModel, Faults, FaultSite, Window
from codesign.formats import NumberFormat
from codesign.mapping import Activity, Placement
from codesign.network import Conv2d, Edge, Input, Lif, Linear, NetworkGraph
from codesign.quantities import Quantity
from codesign.samples import Samples

SANAFE = Path(__file__).parents[2] / "shared" / "oracles" / "modelling" / "sanafe" / "results.json"

ROOMY = replace(SMALL, weight_words=400, neuron_words=20)
CASES = {
    "one core": Case(ROOMY, dense()),
    "three cores take turns": Case(replace(ROOMY, mesh=(3, 1)), dense()),
    "resident": Case(replace(ROOMY, mesh=(3, 2)), dense(readout=True)),
    "convolution": Case(WIDE, pooled()),
    "resident convolution": Case(replace(WIDE, mesh=(5, 4)), pooled(2)),
    "delays": Case(replace(WIDE, axons=3, columns=3), delayed()),
    "scattered": Case(
        replace(ROOMY, axons=5, columns=4, mesh=(3, 3)),
        dense(),
        Placement(rows=(4, 1, 3), columns=(3, 1, 2), forbidden=((1,), (0, 1), (2, 3))),
    ),
}
assert CASES


def mapped(case: Case) -> CoresMapping:
    return case.sheet.map(case.network, case.placement)


# ---------------------------------------------------------------------------------------- the chip


def test_the_graph_has_the_units_and_links_of_the_datasheet():
    graph = replace(SMALL, mesh=(3, 2)).build()
    assert {unit.name: unit.shape for unit in graph.units} == {
        "weight_memory": (6,),
        "axon_in": (6, 3),
        "crossbar": (6, 3, 2),
        "neuron": (6, 2),
        "core": (6,),
        "router": (6,),
        "mesh_link": (6, 4),
        "port": (6,),
    }
    assert {c.name: c.bits for c in graph.unit("port").components} == {"code": 3, "axon": 2}
    assert graph.unit("crossbar").sites("weight_register") == 6 * 3 * 2 * 4
    assert graph.unit("neuron").sites("membrane") == 6 * 2 * 4 * 7
    operations = [c.name for c in graph.unit("neuron").components if c.role == "operation"]
    assert operations == ["integrate", "leak", "fire", "reset"]
    assert graph.graph().number_of_nodes() == 8
    assert graph.digest == pickle.loads(pickle.dumps(graph)).digest


def test_a_price_that_nothing_asks_for_is_refused_with_the_nearest_name():
    price = {"membrane.raed": Quantity(1, "pJ", "chosen", "assumed")}
    with pytest.raises(StudyError, match=r"energy.membrane.raed; did you mean 'membrane.read'"):
        replace(SMALL, energy=price)
    with pytest.raises(StudyError, match=r"area.crosbar; did you mean 'crossbar'"):
        replace(SMALL, area={"crosbar": Quantity(1, "um2", "chosen", "assumed")})


# -------------------------------------------------------------------------------- what is computed


@pytest.mark.parametrize("name", CASES)
def test_program_and_schedule_are_those_of_the_cores_cycle_by_cycle(name):
    case = CASES[name]
    mapping = mapped(case)
    golden = Faults(np.zeros(0, FAULT), 1)
    outputs, cycles = simulate(case.sheet, case.network, case.samples, golden, case.placement)
    program = mapping.program(())
    engine = evaluate(program, case.samples, Effects.none(1)).outputs
    np.testing.assert_array_equal(engine, outputs)
    assert np.unique(outputs).size > 1
    assert mapping.schedule.inference_cycles == cycles
    assert mapping.cost(Activity(), ()).cycles == cycles
    assert max(a.last_cycle for a in mapping.assignments()) == cycles


def test_segments_on_cores_of_their_own_are_segments_of_the_program():
    resident, turns = mapped(CASES["resident"]), mapped(CASES["one core"])
    assert resident.program(()).arithmetic["a"].splits == (3, 4)
    assert turns.program(()).arithmetic["a"].splits == (4,)
    assert resident.schedule.resident
    assert not turns.schedule.resident


def test_a_design_keeps_one_mapping_and_a_mapping_can_be_pickled():
    case = CASES["resident"]
    design = Design("d", case.network, case.sheet.build(), case.placement)
    assert design.mapping is design.mapping
    assert pickle.loads(pickle.dumps(design.mapping)).program(()).digest == design.program.digest


# ------------------------------------------------------------------------------------ who is where


@pytest.mark.parametrize("name", CASES)
def test_every_term_of_every_neuron_is_assigned_once_a_step(name):
    case = CASES[name]
    network, mapping = case.network, mapped(case)
    found: Counter[tuple[str, int, int, int, int]] = Counter()
    fired: Counter[tuple[str, int, int, int]] = Counter()
    for a in mapping.assignments():
        grid = [(m, n) for m in box(a.m, 10**6) for n in box(a.n, 10**6)]
        if a.unit == "neuron":
            fired.update((a.layer, a.step, m, n) for m, n in grid)
        else:
            assert a.unit == "crossbar"
            found.update((a.layer, a.step, m, n, k) for m, n in grid for k in box(a.k, 10**6))
    assert set(found.values()) == set(fired.values()) == {1}
    for layer in network:
        if isinstance(layer, Conv2d | Linear):
            positions, terms, channels = network.mac_shape(layer.name)
            for step, m, n in product(range(network.steps), range(positions), range(channels)):
                assert fired.pop((layer.name, step, m, n))
                for k in range(terms):
                    # A tile of padding only is nowhere.
                    there = element(network, layer, m, n, k) is not None
                    assert found.pop((layer.name, step, m, n, k), 0) or not there
    assert not found
    assert not fired


@pytest.mark.parametrize("name", CASES)
def test_every_synapse_has_one_word_of_memory_and_if_resident_one_register(name):
    case = CASES[name]
    mapping = mapped(case)
    synapses = 0
    for layer in case.network:
        if isinstance(layer, Linear):
            synapses += layer.weight.size
        elif isinstance(layer, Conv2d):
            ones = np.ones(case.network.shapes[layer.inputs[0].source][1:], dtype=int)
            synapses += _synapses(layer, ones)
    assert mapping.occupied("weight_memory", "weights").sum() == synapses
    registers = mapping.occupied("crossbar", "weight_register").sum()
    assert registers == synapses if mapping.schedule.resident else registers < synapses
    neurons = sum(plan.layer.neurons for plan in mapping.schedule.plans)
    assert mapping.occupied("neuron", "bias").sum() == neurons


def _synapses(layer: Conv2d, ones: np.ndarray) -> int:
    """Terms inside the image: ones convolved with ones, for every pair of channels."""
    top, bottom, left, right = layer.padding
    image = np.pad(ones, ((top, bottom), (left, right)))
    channels, per_group, kh, kw = layer.weight.shape
    views = np.lib.stride_tricks.sliding_window_view(image, (kh, kw))
    return int(views[:: layer.stride[0], :: layer.stride[1]].sum()) * channels * per_group


def test_a_placement_says_which_register_holds_which_weight():
    # Logical row 2 (term 2) sits in physical row 3, logical column 1 (neuron 1) in column 1.
    case = Case(
        replace(ROOMY, axons=5, columns=4, mesh=(2, 2)),
        dense(),
        Placement(rows=(4, 1, 3, 0), columns=(3, 1, 2), forbidden=((0,),)),
    )
    mapping = mapped(case)
    fault = Fault(FaultSite("crossbar", (1, 3, 1), "weight_register", 0, 2), FaultModel.flip)
    effects = mapping.footprint(Faults.of([[fault]], mapping.accelerator), 3).effects
    (row,) = effects.table
    assert (Kind(row["kind"]), At(row["at"])) == (Kind.operand, At.weight)
    assert [row[axis].tolist() for axis in "mnk"] == [[0, 1, 1], [1, 2, 1], [2, 3, 1]]
    assert row["samples"].tolist() == [0, -1]
    assert row["steps"].tolist() == [0, -1]
    assert not mapping.occupied("crossbar", "weight_register")[: 5 * 4].any()  # core 0


# --------------------------------------------------------------------------------- what lasts when


def _flips(mapping: CoresMapping, cycles: tuple[int, ...]) -> Faults:
    """Bit 0 of every weight register, flipped at every one of some cycles of inference 0."""
    chip = mapping.accelerator
    parts = [part.name for _, part in chip.components()]
    count = chip.unit("crossbar").instances
    table = np.zeros(count * len(cycles), dtype=FAULT)
    table["part"] = parts.index("weight_register")
    table["instance"] = np.tile(np.arange(count), len(cycles))
    table["first"][:, 1] = np.repeat(cycles, count)
    table["last"], table["execution"] = -1, -1
    return Faults(table, 1)


def test_a_flip_in_a_resident_weight_stays_for_all_later_inferences():
    mapping = mapped(CASES["resident"])
    assert mapping.exposures("crossbar", "weight_register") == (0,)
    effects = mapping.footprint(_flips(mapping, (0,)), 5).effects
    assert len(effects) == 3 * 4 + 2 * 3
    assert {tuple(row) for row in effects.table["samples"].tolist()} == {(0, -1)}
    assert {tuple(row) for row in effects.table["steps"].tolist()} == {(0, -1)}


@pytest.mark.parametrize("name", ["one core", "three cores take turns", "convolution"])
def test_a_strike_at_every_exposure_meets_every_stored_weight_once(name):
    mapping = mapped(CASES[name])
    cycles = mapping.exposures("crossbar", "weight_register")
    assert len(cycles) == len({t.deliver for r in mapping.schedule.runs for t in r.tiles}) > 2
    table = mapping.footprint(_flips(mapping, cycles), 5).effects.table
    terms = Counter(
        tuple(row) for row in table[["layer", "m", "n", "k"]].tolist() for row in [str(row)]
    )
    assert set(terms.values()) == {1}
    assert len(terms) == mapping.occupied("weight_memory", "weights").sum()
    assert {tuple(row) for row in table["samples"].tolist()} == {(0, 1)}
    assert {tuple(row) for row in table["steps"].tolist()} == {(0, 1)}  # loaded anew in step 1


def test_a_flip_meets_only_the_terms_that_are_still_to_be_integrated():
    # deliver in cycle 1, rows 0 to 2 of the 3 in cycles 2 to 4, in every step of the run.
    mapping = mapped(CASES["resident"])
    step = mapping.schedule.step_cycles
    site = FaultSite("crossbar", (0, 1, 0), "weight_register", 0, 0)
    for cycle, steps in ((2, (0, -1)), (3, (0, -1)), (4, (1, -1)), (3 + step, (1, -1))):
        fault = Fault(site, FaultModel.flip, Window((1, cycle)))
        table = mapping.footprint(Faults.of([[fault]], mapping.accelerator), 4).effects.table
        first = table[table["samples"][:, 0] == 1][0]
        assert tuple(first["steps"].tolist()) == steps
        later = table[table["samples"][:, 0] == 2]
        assert len(later) == (steps[0] > 0)
        assert all(tuple(row["steps"].tolist()) == (0, -1) for row in later)


def test_memory_words_last_until_the_end_and_membranes_until_they_are_written():
    mapping = mapped(CASES["one core"])
    assert mapping.exposures("weight_memory", "weights") == (0,)
    step, steps = mapping.schedule.step_cycles, mapping.schedule.steps
    assert mapping.exposures("neuron", "membrane") == tuple(1 + t * step for t in range(steps))
    sites = [
        FaultSite("weight_memory", (0,), "weights", 0, 0),
        FaultSite("neuron", (0, 0), "membrane", 0, 0),
    ]
    faults = [[Fault(site, FaultModel.flip, Window((1, 1 + step)))] for site in sites]
    effects = mapping.footprint(Faults.of(faults, mapping.accelerator), 4).effects
    assert [r["samples"].tolist() for r in effects.of_trial(0)] == [[1, 2], [2, -1]]
    (cell,) = effects.of_trial(1)
    assert (At(cell["at"]), cell["samples"].tolist(), cell["steps"].tolist()) == (
        At.cell,
        [1, 2],
        [1, 2],
    )


def test_every_component_says_when_its_contents_stand_there():
    mapping = mapped(CASES["one core"])
    last = mapping.schedule.inference_cycles
    for unit, part in mapping.accelerator.components():
        cycles = mapping.exposures(unit.name, part.name)
        assert list(cycles) == sorted(set(cycles))
        assert cycles[0] >= 0
        assert cycles[-1] < last
    assert mapping.exposures("neuron", "threshold") == (0,)
    assert len(mapping.exposures("neuron", "spike_line")) == 3 * 3  # runs × steps
    with pytest.raises(FaultError, match="did you mean 'membrane'"):
        mapping.exposures("neuron", "membran")


def test_effects_carry_the_execution_that_is_struck():
    mapping = mapped(CASES["resident"])
    site = FaultSite("neuron", (0, 0), "bias", 0, 0)
    fault = Fault(site, FaultModel.flip, Window((0, 0), None, 2), event=7)
    (row,) = mapping.footprint(Faults.of([[fault]], mapping.accelerator), 2).effects.table
    assert (row["execution"], row["event"]) == (2, 7)


def test_faults_of_many_trials_touch_what_each_touches_alone():
    mapping = mapped(CASES["one core"])
    flips = _flips(mapping, mapping.exposures("crossbar", "weight_register"))
    table = flips.table[np.arange(0, len(flips), 3)].copy()
    table["trial"] = np.arange(len(table)) // 4
    together = mapping.footprint(Faults(table, int(table["trial"].max()) + 1), 3)
    for trial in range(together.effects.trials):
        mine = table[table["trial"] == trial].copy()
        mine["trial"] = 0
        alone = mapping.footprint(Faults(mine, 1), 3)
        rows = together.effects.of_trial(trial).copy()
        rows["trial"] = 0
        assert sorted(map(str, rows)) == sorted(map(str, alone.effects.table))
        assert alone.faults.tolist() == [together.faults[trial]] == [len(mine)]
        assert alone.idle.tolist() == [together.idle[trial]]


def test_two_hundred_thousand_faults_of_one_trial_are_one_row_each():
    network = NetworkGraph(
        "wide",
        (
            Input("x", (), shape=(784,), format=NumberFormat(8, signed=False)),
            Linear("a", (Edge("x"),), weight=np.ones((256, 784), int), bias=np.zeros(256, int)),
            Lif("s", (Edge("a"),), threshold=np.array(5)),
        ),
        steps=20,
    )
    mapping = Cores(name="engine", mesh=(2, 2)).map(network, Placement())
    part = [p.name for _, p in mapping.accelerator.components()].index("weight_register")
    table = np.zeros(200_000, dtype=FAULT)
    draw = np.random.default_rng(0)
    table["part"], table["last"], table["execution"] = part, -1, -1
    table["instance"] = draw.integers(0, 4 * 256 * 256, len(table))
    table["bit"] = draw.integers(0, 8, len(table))
    footprint = mapping.footprint(Faults(table, 1), 1000)
    used = table["instance"] % (256 * 256) // 256 < np.where(table["instance"] < 3 * 65536, 256, 16)
    assert len(footprint.effects) == used.sum() == 200_000 - footprint.idle[0]


# --------------------------------------------------------------------------- against SANA-FE 2.2.9


@pytest.mark.skipif(not SANAFE.exists(), reason="the recorded runs of SANA-FE are not beside us")
def test_spikes_events_packets_and_hops_are_those_of_sana_fe():
    recorded = json.loads(SANAFE.read_text())
    case = next(
        r for r in recorded["results"] if (r["case"], r["leak_decay"]) == ("tiny_3tiles", 1.0)
    )
    first, second = (np.rint(64 * np.array(recorded[w])).astype(int).T for w in ("W1", "W2"))
    threshold = np.array(64)  # potentials in 1/64
    network = NetworkGraph(
        "sana-fe",
        (
            Input("x", (), shape=(16,), format=NumberFormat(1, signed=False)),
            Linear("a", (Edge("x", 1),), weight=first, bias=np.zeros(12, int)),
            Lif("s", (Edge("a"),), threshold=threshold),
            Linear("b", (Edge("s", 1),), weight=second, bias=np.zeros(5, int)),
            Lif("t", (Edge("b"),), threshold=threshold),
        ),
        steps=recorded["T"],
    )
    # Inputs on tile 0 (the host's core), hidden neurons one hop away, outputs two hops from them.
    sheet = Cores(name="tiny2x2", mesh=(2, 2), axons=16, columns=12, axon_bits=1)
    mapping = sheet.map(network, Placement(forbidden=((0,),)))
    samples = Samples("x", "test", np.array([recorded["X"]]), np.zeros(1, int), timed=True)
    watched = evaluate(mapping.program(()), samples, Effects.none(1), watch=("s", "t")).watched
    for layer, group, size in (("s", "hid", 12), ("t", "out", 5)):
        traced = [[f"{group}.{n}" in fired for n in range(size)] for fired in case["spike_trace"]]
        np.testing.assert_array_equal(watched[layer][0, 0], traced)
    spikes = {name: float(value.sum()) for name, value in watched.items() if "." not in name}
    spikes["x"] = float(np.sum(recorded["X"]))
    assert sum(spikes.values()) == case["neurons_fired"]
    count: Counter[tuple[str, str]] = Counter()
    for row in mapping.cost(Activity(spikes=spikes), ()).rows:
        count[row.layer if row.component == "packet" else "", f"{row.component}.{row.action}"] += (
            row.count
        )
    assert count["", "weight_register.read"] == case["spikes"] == 2105
    received = count["x", "packet.receive"] + count["s", "packet.receive"]
    assert received == case["packets_sent"] == 267
    # One hop north, then one north and one east: 2 and 5 pJ in the recorded network energy.
    hops = 2 * count["x", "packet.hop"] + 5 * count["s", "packet.hop"] / 2
    assert 30 * received + hops == pytest.approx(1e12 * case["energy"]["network"])
    assert count["", "membrane.read"] == 17 * 24
