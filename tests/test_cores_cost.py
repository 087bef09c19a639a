"""Costs of cores equal counts done by hand on nets of a few neurons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accelerators.cores.cost import unit_area_ge
from accelerators.cores.family import Cores
from codesign.formats import NumberFormat
from codesign.guards import Clamp, Correct, Recompute, Replace, Silence
from codesign.mapping import Activity, Cost, Placement
from codesign.network import Conv2d, Edge, Input, Layer, Lif, Linear, NetworkGraph
from codesign.program import bounds
from codesign.quantities import Grade, Quantity
from codesign.study.loading import datasheet
from codesign.study.spec import AcceleratorSpec

BIT = NumberFormat(1, signed=False)
BYTE = NumberFormat(8)


def pj(value: float, grade: Grade = "assumed") -> Quantity:
    return Quantity(value, "pJ", "chosen", grade)


TINY = Cores(
    name="tiny",
    mesh=(2, 2),
    axons=2,
    columns=2,
    weight=NumberFormat(4),
    axon_bits=1,
    current=BYTE,
    membrane=BYTE,
    threshold=BYTE,
    neuron_words=1,
    weight_words=4,
)
TALL = replace(TINY, axons=4, weight_words=8)
MIXED = Activity(spikes={"x": 2.0, "s1": 1.5, "s2": 1.0})

GUARDS = {
    "clamp of weights": Clamp("fc1", "weight", -3, 3),
    "clamp of membranes": Clamp("s1", "membrane", -3, 3),
    "replacement of weights": Replace("fc2", "weight", -3, 3, 0),
    "code over weights": Correct("fc1", "weight"),
    "code over membranes": Correct("s1", "membrane"),
    "code over spikes": Correct("s1", "activation"),
    "silence": Silence("s1", 2),
    "recompute": Recompute(3),
}
assert GUARDS


def linear(name: str, source: str, inputs: int, outputs: int, code: int = 1) -> Linear:
    return Linear(
        name,
        (Edge(source),),
        weight=np.full((outputs, inputs), code),
        bias=np.zeros(outputs, dtype=np.int64),
    )


def chain(sizes: tuple[int, ...], steps: int, form: NumberFormat = BIT, code: int = 1):
    layers: list[Layer] = [Input("x", (), shape=(sizes[0],), format=form)]
    for i in range(1, len(sizes)):
        layers.append(linear(f"fc{i}", layers[-1].name, sizes[i - 1], sizes[i], code))
        layers.append(Lif(f"s{i}", (Edge(f"fc{i}"),), format=BYTE))
    return NetworkGraph("net", tuple(layers), steps)


def cost(sheet: Cores, network: NetworkGraph, activity: Activity, *guards) -> Cost:
    return sheet.map(network, Placement()).cost(activity, guards)


def counts(found: Cost, layer: str) -> dict[str, float]:
    rows = [row for row in found.rows if row.layer == layer]
    table = {f"{row.component}.{row.action}": row.count for row in rows}
    assert len(table) == len(rows)
    return table


def test_one_tile_costs_what_a_head_counts():
    # 3 inputs, 2 neurons, 2 steps: deliver, 3 rows, 4 operations, send are 9 cycles.
    network = chain((3, 2), 2)
    found = cost(TALL, network, Activity(spikes={"x": 4.0, "s1": 3.0}))
    assert found.cycles == 1 + 2 * 9
    assert found.layer_cycles == {"fc1": 18}
    assert found.utilisation == {"fc1": pytest.approx(6 / (4 * 2 * 9))}
    assert counts(found, "fc1") == {
        "axon_register.write": 6,
        "axon_register.read": 6,
        "weight_register.read": 8,  # 4 spikes, 2 readers each
        "current_register.add": 8,
        "bias.read": 4,
        "membrane.read": 4,
        "membrane.write": 4,
        "threshold.read": 4,
        "integrate.op": 4,
        "fire.op": 4,
        "reset.op": 3,
        "spike_line.spike": 3,
    }
    assert counts(found, "x") == {"packet.receive": 4}  # the host pays for sending
    assert counts(found, "s1") == {"packet.send": 3}  # and for receiving


def test_segments_are_gathered_and_spikes_hop_from_core_to_core():
    # fc1's two segments are on cores 0 and 1, fc2 is on core 2: all one hop from core 0.
    found = cost(TINY, chain((4, 2, 1), 1), MIXED)
    assert found.layer_cycles == {"fc1": 1 + 2 + 2 + 4 + 1, "fc2": 1 + 2 + 4 + 1}
    assert found.cycles == 1 + 10 + 8
    fc1 = counts(found, "fc1")
    assert fc1["current_register.add"] == 2 * 2 + 2  # events, and two currents gathered
    assert fc1["weight_register.read"] == 2 * 2
    assert fc1["current_register.read"] == 2
    assert [fc1[f"packet.{a}"] for a in ("send", "hop", "receive")] == [2, 2, 2]
    assert counts(found, "x") == {"packet.hop": 1, "packet.receive": 2}  # half go to core 1
    assert counts(found, "s1") == {"packet.send": 1.5, "packet.hop": 1.5, "packet.receive": 1.5}
    assert counts(found, "s2") == {"packet.send": 1, "packet.hop": 1}


def test_a_spike_is_one_packet_to_each_core_that_reads_it():
    # Four neurons on two cores read both inputs; core 1 is a hop away.
    found = cost(TINY, chain((2, 4), 1), Activity(spikes={"x": 2.0, "s1": 0.0}))
    assert counts(found, "x") == {"packet.hop": 2, "packet.receive": 4}
    assert counts(found, "fc1")["weight_register.read"] == 2 * 4


def test_direct_coding_multiplies_every_code_and_sends_those_that_are_not_zero():
    network = chain((3, 2), 2, NumberFormat(8, signed=False))
    found = cost(replace(TALL, axon_bits=8), network, Activity({"s1": 1.0}, {"x": 0.5}))
    fc1 = counts(found, "fc1")
    assert fc1["current_register.mac"] == fc1["weight_register.read"] == 3 * 2 * 2
    assert "current_register.add" not in fc1
    assert counts(found, "x") == {"packet.receive": 3}


def test_a_layer_of_unknown_activity_counts_as_if_all_its_codes_were_spikes():
    found = cost(TALL, chain((3, 2), 2), Activity())
    assert counts(found, "fc1")["weight_register.read"] == 3 * 2 * 2
    assert counts(found, "fc1")["reset.op"] == 2 * 2


def test_events_of_a_convolution_leave_out_the_padding():
    # A kernel of 3 over 3 pixels: 2 + 3 + 2 synapses.
    conv = Conv2d(
        "c", (Edge("x"),), weight=np.ones((1, 1, 1, 3), dtype=np.int64), padding=(0, 0, 1, 1)
    )
    layers = (Input("x", (), shape=(1, 1, 3), format=BIT), conv, Lif("s", (Edge("c"),)))
    found = cost(replace(TALL, columns=3, weight_words=9), NetworkGraph("n", layers), Activity())
    assert counts(found, "c")["weight_register.read"] == pytest.approx(7)


def test_reloaded_weights_are_read_and_written_in_every_step():
    network = chain((3, 2), 2)
    found = cost(replace(TALL, weights="reloaded"), network, Activity())
    fc1 = counts(found, "fc1")
    assert fc1["weights.read"] == fc1["weight_register.write"] == 3 * 2 * 2
    assert found.cycles == 1 + 2 * (9 + 3)  # a cycle a row more
    assert "weights.read" not in counts(cost(TALL, network, Activity()), "fc1")


def test_energy_is_count_times_price_and_what_has_no_price_is_missing():
    sheet = replace(
        TALL, energy={"weight_register.read": pj(2), "current_register.add": pj(3, "published")}
    )
    found = cost(sheet, chain((3, 2), 2), Activity(spikes={"x": 4.0, "s1": 3.0}))
    assert found.energy_pj == 8 * 2 + 8 * 3
    priced = {f"{r.component}.{r.action}": r.grade for r in found.rows if r.energy_pj is not None}
    assert priced == {"weight_register.read": "assumed", "current_register.add": "published"}
    assert {r.grade for r in found.rows if r.energy_pj is None} == {"absent"}
    assert {"neuron.membrane.read", "core.packet.receive", "clock"} <= set(found.missing)
    assert "crossbar.weight_register.read" not in found.missing
    assert "weight_memory.weights.read" not in found.missing  # resident: nothing asks for it
    assert found.latency_us is None


def test_static_energy_is_power_times_latency_and_needs_both():
    network, power = chain((3, 2), 2), Quantity(2, "mW", "chosen", "assumed")
    sheet = replace(TALL, static_power={"crossbar": power})
    timed = replace(sheet, clock=Quantity(1, "MHz", "chosen", "assumed"))
    found = cost(timed, network, Activity())
    assert found.latency_us == 19
    assert found.energy_pj == 2 * 19 * 1000
    assert "crossbar.static_power" not in found.missing
    assert "neuron.static_power" in found.missing
    assert cost(sheet, network, Activity()).energy_pj == 0
    assert cost(timed, network, Activity(), Recompute(3)).energy_pj == 3 * 2 * 19 * 1000


def test_recompute_multiplies_cycles_and_actions_and_adds_no_area():
    network = chain((4, 2, 1), 1)
    sheet = replace(TINY, energy={"current_register.add": pj(3)})
    once, thrice = (cost(sheet, network, MIXED, *g) for g in ((), (Recompute(3),)))
    assert thrice.cycles == 3 * once.cycles
    assert thrice.layer_cycles == {name: 3 * n for name, n in once.layer_cycles.items()}
    assert [r.count for r in thrice.rows] == [3 * r.count for r in once.rows]
    assert thrice.energy_pj == 3 * once.energy_pj > 0
    assert thrice.area_ge == once.area_ge
    assert thrice.utilisation == once.utilisation
    assert thrice.missing == once.missing


@pytest.mark.parametrize("name", GUARDS)
def test_guards_only_add(name):
    network = chain((4, 2, 1), 1)
    sheet = replace(TINY, energy={"weight_register.read": pj(2), "membrane.read": pj(2)})
    plain, guarded = cost(sheet, network, MIXED), cost(sheet, network, MIXED, GUARDS[name])
    assert guarded.cycles >= plain.cycles
    assert guarded.energy_pj >= plain.energy_pj
    assert set(guarded.missing) >= set(plain.missing)
    assert all(guarded.area_ge[unit] >= area for unit, area in plain.area_ge.items())
    more = sum(guarded.area_ge.values()) - sum(plain.area_ge.values())
    assert (more > 0) == (name != "recompute")


@pytest.mark.parametrize(
    ("guard", "layer", "word"),
    [
        (Correct("fc1", "weight"), "fc1", "weight_register"),
        (Correct("s1", "membrane"), "fc1", "membrane"),
        (Correct("s1", "activation"), "fc2", "axon_register"),
        (Correct("x", "activation"), "fc1", "axon_register"),
    ],
)
def test_check_bits_are_charged_where_the_guarded_words_are(guard, layer, word):
    found = cost(TINY, chain((4, 2, 1), 1), MIXED, guard)
    checked = [row for row in found.rows if row.component.endswith("check_bits")]
    assert {(row.layer, row.component) for row in checked} == {(layer, f"{word}.check_bits")}
    for row in checked:
        assert row.count == counts(found, layer)[f"{word}.{row.action}"]


def test_check_bits_cost_their_share_of_the_word():
    sheet = replace(TINY, energy={"weight_register.read": pj(2)})
    found = cost(sheet, chain((4, 2, 1), 1), MIXED, Correct("fc1", "weight"))
    (row,) = [row for row in found.rows if row.component == "weight_register.check_bits"]
    assert (row.bits, row.count, row.energy_pj) == (4, 4, 8)  # 4 check bits over 4 data bits


# One core, two axons, one column; gates as in `accelerators.gates`: AND 1.5, adder and register
# bit 6, a bit of memory 1.5.
SINGLE = replace(TINY, mesh=(1, 1), columns=1, weight_words=2)


def test_gate_equivalents_of_the_units_are_those_added_up_by_hand():
    assert unit_area_ge(SINGLE) == {
        "weight_memory": 2 * 4 * 1.5,
        "axon_in": 2 * 6,
        "crossbar": 2 * 4 * (6 + 1.5),
        # current 96, gates 6, adders 144, comparator 48, leak 180 + 672, registers 102, memory 36
        "neuron": 1284,
    }


@pytest.mark.parametrize(
    ("guard", "unit", "area"),
    [
        # Under the column two comparators of 24 and 8 multiplexer bits of 2.5; three 4-bit bounds.
        (Clamp("fc1", "weight", -3, 3), "crossbar", 2 * 24 + 2 * 4 * 2.5 + 3 * 4 * 6),
        (Silence("s1", 2), "neuron", 3 + 12 + 12 + 1.5),
        # 4 check bits: decoder 4·2 XOR 2.5, 4·2 AND 1.5, 4 XOR; registers and gates of 2 words.
        (Correct("fc1", "weight"), "crossbar", 20 + 12 + 10 + 2 * 4 * 7.5),
        (Correct("fc1", "weight"), "weight_memory", 2 * 4 * 1.5),
        (Recompute(3), "neuron", 0),
    ],
)
def test_gate_equivalents_of_guards_are_those_added_up_by_hand(guard, unit, area):
    network = chain((2, 1), 1)
    plain, guarded = (cost(SINGLE, network, Activity(), *g).area_ge for g in ((), (guard,)))
    assert guarded[unit] - plain[unit] == pytest.approx(area)


def test_sourced_area_is_of_all_instances_and_the_rest_is_missing():
    sheet = replace(TINY, area={"weights": Quantity(5, "um2", "chosen", "assumed")})
    found = cost(sheet, chain((2, 1), 1), Activity())
    assert found.area_um2 == {"weight_memory": 4 * 5}
    assert {"crossbar.area", "neuron.area"} <= set(found.missing)
    assert "weight_memory.area" not in found.missing


SHIPPED = [
    ("softsnn_engine", (784, 400, 10), 20),
    ("softsnn_engine", (784, 900, 10), 20),
    ("cores4_mesh", (64, 64, 10), 10),
]


@pytest.mark.parametrize(("name", "sizes", "steps"), SHIPPED)
def test_a_shipped_chip_holds_its_networks_whatever_their_weights(name, sizes, steps):
    sheet = datasheet(AcceleratorSpec(datasheet=name), Path())
    assert isinstance(sheet, Cores)
    network = chain(sizes, steps, NumberFormat(8, signed=False), code=-128)
    mapping = sheet.map(network, Placement())
    assert mapping.schedule.resident
    found = bounds(mapping.program(()))
    assert not any(bound.overflows for bound in found.values())
    assert sheet.membrane.holds(min(bound.low for bound in found.values()) * steps)


@pytest.mark.parametrize(("name", "sizes", "steps"), SHIPPED)
def test_a_shipped_chip_prices_all_but_what_its_file_calls_unknown(name, sizes, steps):
    sheet = datasheet(AcceleratorSpec(datasheet=name), Path())
    network = chain(sizes, steps, NumberFormat(8, signed=False))
    found = sheet.map(network, Placement()).cost(Activity(), ())
    unpriced = {f"{r.component}.{r.action}" for r in found.rows if r.energy_pj is None}
    assert unpriced == {"spike_line.spike", "packet.send", "packet.receive"}
    assert found.energy_pj > 0
    assert found.latency_us == pytest.approx(found.cycles / 200)
