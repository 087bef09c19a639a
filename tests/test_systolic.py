"""The systolic family: its graph, where layers go, what they compute, what they cost."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_evaluator import evaluate_small
from systolic_cases import Case, conv, grouped, linear, residual, small_chip, tiny, two_layers

from accelerators import Systolic
from accelerators.gates import check_bits
from accelerators.systolic.family import Memory
from accelerators.systolic.schedule import Dataflow
from codesign.design import Design
from codesign.effects import Effects, box
from codesign.errors import CapacityError, FaultError, MappingError, StudyError
from codesign.faults import Fault, FaultModel, Faults, FaultSite, Window
from codesign.formats import NumberFormat, Requantise
from codesign.guards import Clamp, Correct, Recompute, Replace
from codesign.mapping import Activity, Placement
from codesign.network import Edge, Flatten, Input, Layer, Lif, Linear, NetworkGraph
from codesign.schema import Quantity
from codesign.shipped import configs, find_config
from codesign.study.loading import datasheet
from codesign.study.spec import AcceleratorSpec

FLOWS: dict[str, Dataflow] = {
    "ws": "weight_stationary",
    "os": "output_stationary",
    "is": "input_stationary",
}
NETWORKS = (tiny, two_layers, grouped, residual)
SHEETS = ("generic16_ws", "generic16_os", "generic16_is", "generic8_ws")
assert SHEETS


# The chip


@pytest.mark.parametrize("name", SHEETS)
def test_a_shipped_datasheet_builds_the_chip_it_names(name):
    assert name in [entry.name for entry in configs("accelerators")]
    sheet = shipped_sheet(name)
    graph = sheet.build()
    size = 8 if name.startswith("generic8") else 16
    assert graph.name == name
    assert graph.unit("array").shape == (size, size)
    assert FLOWS[name[-2:]] == sheet.dataflow
    known = {quantity.source for quantity in vars(sheet).values() if isinstance(quantity, Quantity)}
    assert known <= set(graph.sources)
    assert find_config(name, "accelerators").is_file()


def test_the_graph_has_four_memories_an_array_and_buses_between_them():
    graph = Systolic().build()
    units = ["dram", "weight_sram", "activation_sram", "psum_sram", "array"]
    units += ["weight_bus", "activation_bus", "sum_bus"]
    assert list(graph.graph().nodes) == units
    assert {(a, b) for a, b, _ in graph.graph().edges} == {
        ("dram", "weight_sram"),
        ("weight_sram", "weight_bus"),
        ("weight_bus", "array"),
        ("activation_sram", "activation_bus"),
        ("activation_bus", "array"),
        ("array", "sum_bus"),
        ("sum_bus", "psum_sram"),
        ("psum_sram", "activation_sram"),
    }
    parts = {c.name: c.bits for c in graph.unit("array").components}
    assert parts == {
        "weight_register": 8,
        "input_register": 8,
        "psum_register": 32,
        "product": 16,
        "mac_out": 32,
    }
    assert graph.unit("weight_sram").component("words").words * 128 == 2**18 * 8


def test_a_chip_survives_pickling_and_keeps_its_digest():
    graph = Systolic(rows=4).build()
    again = pickle.loads(pickle.dumps(graph))
    assert again.digest == graph.digest != Systolic(rows=5).build().digest


def test_words_hold_whole_elements():
    with pytest.raises(StudyError, match=r"weight_sram: expected words of a whole number of 8-bit"):
        Systolic(weight_sram=Memory(64, 12))
    with pytest.raises(StudyError, match="room for at least one"):
        Systolic(dram=Memory(1, 16))


# Where layers go


@pytest.mark.parametrize("flow", FLOWS.values())
@pytest.mark.parametrize("network", NETWORKS)
def test_every_product_is_computed_in_exactly_one_fold(network, flow):
    case = Case(small_chip(dataflow=flow, weight_sram=Memory(512, 32)), network())
    counts = {
        name: np.zeros(case.network.mac_shape(name), dtype=int) for name in case.program.arithmetic
    }
    cycle = 0
    for fold in case.mapping.assignments():
        m, k, n = (list(box(axis, 10**6)) for axis in (fold.m, fold.k, fold.n))
        counts[fold.layer][np.ix_(m, k, n)] += 1
        assert fold.first_cycle == cycle < fold.last_cycle
        cycle = fold.last_cycle
    assert all((count == 1).all() for count in counts.values())


def test_a_layer_is_cut_where_a_head_would_cut_it():
    # Layer c has M 16, K 8, N 3; on 3 × 2 elements: 3 tiles of terms for each of 2 of channels.
    folds = [a for a in Case(small_chip(), two_layers()).mapping.assignments() if a.layer == "c"]
    assert [(a.k[:2], a.n[:2]) for a in folds] == [
        ((0, 3), (0, 2)),
        ((3, 6), (0, 2)),
        ((6, 8), (0, 2)),
        ((0, 3), (2, 3)),
        ((3, 6), (2, 3)),
        ((6, 8), (2, 3)),
    ]
    assert [a.instances for a in folds][-1] == ((0, 2), (0, 1))
    assert [a.last_cycle - a.first_cycle for a in folds] == [2 * 3 + 2 + 16 - 2] * 6
    assert [a.number for a in folds] == [0, 1, 2, 3, 4, 5]


def test_a_forbidden_element_leaves_out_its_column():
    network, chip = two_layers(), small_chip()
    whole = chip.map(network, Placement())
    less = chip.map(network, Placement(forbidden=((2, 0),)))
    folds = {len([a for a in m.assignments() if a.layer == "c"]) for m in (whole, less)}
    assert folds == {6, 9}  # three tiles of terms, for each of two pairs or three single channels
    assert {a.instances[1] for a in less.assignments()} == {(1, 2)}


@pytest.mark.parametrize("rows", [(), (2, 0, 1), (1, 2), (2,)])
@pytest.mark.parametrize("flow", FLOWS.values())
@pytest.mark.parametrize("network", NETWORKS)
def test_golden_outputs_do_not_depend_on_the_chip_where_nothing_overflows(network, flow, rows):
    chip = small_chip(dataflow=flow, psum_bits=32, weight_sram=Memory(512, 32))
    case, plain = Case(chip, network(), rows=rows), Case(Systolic(), network())
    ours, other = (evaluate_small(c.program, case.inputs, Effects.none(1)) for c in (case, plain))
    assert (ours == other).all()
    assert len(np.unique(ours)) > 2


def test_terms_are_summed_in_the_order_of_physical_rows():
    arithmetic = Case(small_chip(), two_layers(), rows=(2, 0, 1)).program.arithmetic
    assert arithmetic["c"].splits == (3, 6, 8)
    # Terms 0, 1, 2 sit in rows 2, 0, 1; the last tile has two terms, in rows 2 and 0.
    assert arithmetic["c"].order is not None
    assert arithmetic["c"].order.tolist() == [1, 2, 0, 4, 5, 3, 7, 6]
    assert Case(small_chip(), two_layers()).program.arithmetic["c"].order is None


def shipped_sheet(name: str) -> Systolic:
    """A datasheet of the package."""
    sheet = datasheet(AcceleratorSpec(datasheet=name), Path())
    assert isinstance(sheet, Systolic)
    return sheet


def other_network(*layers: Layer, shape: tuple[int, ...] = (4,), steps: int = 1) -> NetworkGraph:
    """An input and some layers."""
    return NetworkGraph("other", (Input("x", (), shape=shape), *layers), steps=steps)


WIDE = Linear("w", (Edge("x"),), weight=np.ones((2, 4), int), bias=np.zeros(2, int))
REFUSED = [
    (Placement(rows=(0, 7)), two_layers(), r"placement.rows names 7; the array has rows 0..2"),
    (Placement(columns=(2,)), two_layers(), r"placement.columns names 2; .* columns 0..1"),
    (Placement(forbidden=((0, 0), (1, 1))), two_layers(), "no column is left"),
    (Placement(forbidden=((3, 0),)), two_layers(), r"forbidden names \(3, 0\).* shape \(3, 2\)"),
    (Placement(), other_network(WIDE, Lif("s", (Edge("w"),))), "spiking network"),
    (Placement(), other_network(WIDE, steps=2), "spiking network"),
    (Placement(), other_network(Flatten("f", (Edge("x"),))), "no layer with weights"),
    (Placement(), other_network(WIDE, linear("l", "w", 2, 2)), "w gives sums that are not requant"),
    (
        Placement(),
        other_network(replace(WIDE, weight_format=NumberFormat(9))),
        r"weights of w are -256..255; its weight_register holds -128..127",
    ),
    (
        Placement(),
        other_network(replace(WIDE, requantise=Requantise(1, 0, -5, 200)), linear("l", "w", 2, 2)),
        r"w gives codes -5..200",
    ),
]


@pytest.mark.parametrize(("placement", "network", "message"), REFUSED)
def test_what_cannot_be_placed_is_refused_by_name(placement, network, message):
    with pytest.raises(MappingError, match=message):
        small_chip().map(network, placement)


@pytest.mark.parametrize(
    ("memory", "size", "message"),
    [
        ("dram", 64, r"dram: the network's weights need \d+ words of 16; a larger dram helps"),
        ("weight_sram", 64, "weight_sram: l needs 48 words at once, for 2 channels of 48 weights"),
        ("activation_sram", 40, "activation_sram: the output of f needs 24 words"),
        ("psum_sram", 64, "psum_sram: c needs 16 words for 16 sums in each of 2 columns"),
    ],
)
def test_a_memory_that_is_too_small_is_named_with_what_it_would_need(memory, size, message):
    chip = small_chip()
    small = replace(getattr(chip, memory), bytes=size)
    with pytest.raises(CapacityError, match=message):
        replace(chip, **{memory: small}).map(two_layers(), Placement())


def test_a_fault_outside_the_run_is_refused():
    case = Case(small_chip(), two_layers())
    site = FaultSite("array", (0, 0), "product")
    for window in (Window((0, 356)), Window((2, 0))):
        faults = Faults.of([[Fault(site, FaultModel.stuck1, window)]], case.graph)
        with pytest.raises(FaultError, match=r"inferences 0..1 of cycles 0..355"):
            case.mapping.footprint(faults, 2)


# What it costs


def test_a_layer_costs_what_scale_sim_says_of_it():
    # ResNet-20, a 3×3 convolution of 16 channels on 32×32 pixels, 16 × 16 elements.
    network = NetworkGraph(
        "stage 1",
        (Input("x", (), shape=(16, 32, 32)), conv("c", "x", 16, 16, 3, padding=(1, 1, 1, 1))),
    )
    expected = {
        "weight_stationary": (9630, 147456, 2304, 147456),
        "output_stationary": (11136, 147456, 147456, 16384),
        "input_stationary": (35712, 147456, 147456, 147456),
    }
    for flow, (cycles, inputs, weights, sums) in expected.items():
        cost = Systolic(dataflow=flow).map(network, Placement()).cost(Activity(), ())
        counts = {(r.unit, r.component, r.action): r.count for r in cost.rows if r.layer == "c"}
        assert cost.cycles == cost.layer_cycles["c"] == cycles
        assert counts["activation_sram", "words", "read"] == inputs
        assert counts["weight_sram", "words", "read"] == weights
        assert counts["psum_sram", "words", "write"] == sums
        assert counts["array", "product", "op"] == 1024 * 144 * 16
        assert cost.utilisation["c"] == pytest.approx(1024 * 144 * 16 / (256 * cycles))


def test_energy_is_counts_times_the_prices_of_the_datasheet():
    sheet = shipped_sheet("generic16_ws")
    network = NetworkGraph("one", (Input("x", (), shape=(32,)), linear("l", "x", 32, 16)))
    cost = sheet.map(network, Placement()).cost(Activity(), ())
    # K 32 in two passes over N 16, M 1; words of 128 bits hold 16 codes or 4 sums.
    macs, words = 32 * 16, 32 / 16
    by_hand = {
        ("array", "op"): macs * (0.2 + 0.1),
        ("psum_sram", "op"): 32 * 0.1,
        ("activation_sram", "read"): words * 54.5535,
        ("activation_sram", "write"): words * 50.0834,
        ("weight_sram", "read"): 32 * 54.5535,
        ("psum_sram", "write"): 32 / 4 * 50.0834,
        ("psum_sram", "read"): 32 / 4 * 54.5535,
    }
    for (unit, action), energy in by_hand.items():
        rows = [r for r in cost.rows if (r.unit, r.action) == (unit, action)]
        assert sum(r.energy_pj for r in rows if r.energy_pj) == pytest.approx(energy), unit
    assert cost.energy_pj == pytest.approx(sum(by_hand.values()))
    assert cost.latency_us == cost.cycles / 200
    assert {r.grade for r in cost.rows} == {"published", "simulated", "absent"}


def test_what_has_no_price_is_named():
    missing = Case(small_chip(), two_layers()).mapping.cost(Activity(), ()).missing
    assert {"clock", "array.product.op", "weight_sram.words.read", "array.area"} <= set(missing)
    sheet = shipped_sheet("generic16_ws")
    missing = sheet.map(two_layers(), Placement()).cost(Activity(), ()).missing
    assert "array.weight_register.write" in missing
    assert "array.product.op" not in missing
    priced = replace(sheet, register_bit=Quantity(0.009, "pJ", "design", "assumed"))
    missing = priced.map(two_layers(), Placement()).cost(Activity(), ()).missing
    assert "array.weight_register.write" not in missing


def test_executing_three_times_costs_three_times_as_much():
    mapping = Systolic(multiply=Quantity(0.2, "pJ", "x", "assumed")).map(two_layers(), Placement())
    once, thrice = mapping.cost(Activity(), ()), mapping.cost(Activity(), (Recompute(3),))
    assert thrice.cycles == 3 * once.cycles
    assert thrice.energy_pj == pytest.approx(3 * once.energy_pj)
    assert thrice.utilisation == once.utilisation


def test_weights_that_do_not_fit_are_loaded_in_every_inference():
    network = two_layers()
    for sram, loaded in ((Memory(128, 16), 24 + 192), (Memory(512, 32), 0)):
        cost = small_chip(weight_sram=sram).map(network, Placement()).cost(Activity(), ())
        rows = [r for r in cost.rows if (r.unit, r.action) == ("dram", "read")]
        assert sum(r.count for r in rows) == loaded


def test_guards_cost_the_area_that_their_formula_says():
    mapping = Systolic(rows=4, cols=2).map(two_layers(), Placement())

    def area(*guards: object) -> dict[str, float]:
        found = mapping.cost(Activity(), guards).area_ge
        plain = mapping.cost(Activity(), ()).area_ge
        return {unit: ge - plain.get(unit, 0.0) for unit, ge in found.items()}

    # Two comparators of 8 full adders (6 GE), two multiplexers of 8 bits (2.5 GE) in each of 8
    # elements; two bounds and a value of 8 bits (6 GE a bit).
    weight = Clamp("c", "weight", -3, 3)
    assert area(weight) == {"array": 8 * (96 + 40) + 144}
    assert area(weight, replace(weight, layer="l")) == area(weight)
    # Activations enter at four rows.
    bound = Replace("c", "activation", 0, 9, value=0)
    assert area(bound) == {"array": 0, "activation_sram": 4 * (96 + 40) + 144}
    # Hamming code with parity: 5 check bits of 8; a decoder of 106 GE in each of 8 elements.
    assert check_bits(8, 1) == 5
    assert area(Correct("c", "weight", 1)) == {"array": 8 * (106 + 5 * 6)}


def test_check_bits_are_read_with_the_words_they_protect():
    price = {"read": Quantity(16.0, "pJ", "x", "assumed"), "write": None}
    chip = Systolic(weight_sram=Memory(1 << 12, 128, **price))
    mapping = chip.map(two_layers(), Placement())
    cost = mapping.cost(Activity(), (Correct("l", "weight", 1),))
    (row,) = [r for r in cost.rows if r.component == "check_bits" and r.action == "read"]
    assert (row.layer, row.unit, row.count, row.bits) == ("l", "weight_sram", 192, 5)
    assert row.energy_pj == pytest.approx(192 * 5 / 128 * 16.0)
    assert "guard.Correct.energy" in cost.missing


def test_a_design_derives_its_mapping_from_the_graph_alone():
    graph = pickle.loads(pickle.dumps(small_chip().build()))
    design = Design("d", two_layers(), graph)
    assert design.mapping is Design("e", two_layers(), small_chip().build()).mapping
    assert design.program.digest == small_chip().map(two_layers(), Placement()).program(()).digest
