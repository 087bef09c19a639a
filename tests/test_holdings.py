"""What stands in a memory's word is what a stuck bit of it makes wrong; how many that reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cores_cases import SMALL
from systolic_cases import grouped, residual, small_chip, two_layers
from test_cores_cost import TALL, TINY, chain
from test_tinyodin import SHEET, network

from accelerators.systolic.family import Memory
from codesign.design import Design
from codesign.faults import Fault, FaultModel, Faults, FaultSite
from codesign.formats import NumberFormat
from codesign.layers import Conv2d, Edge, Input
from codesign.mapping import Holding, Holds, Placement
from codesign.network import NetworkGraph
from codesign.study.loading import datasheet
from codesign.study.reach import reach_of
from codesign.study.spec import AcceleratorSpec

NETWORKS = {"two layers": two_layers, "grouped": grouped, "residual": residual}
PLACED = Placement()


def touched(mapping, unit: str, component: str, word: int, bit: int, instance=()) -> np.ndarray:
    """Effects of one bit stuck for good."""
    site = FaultSite(unit, instance, component, word, bit)
    faults = Faults.of([[Fault(site, FaultModel.stuck1)]], mapping.accelerator)
    return mapping.footprint(faults, 1).effects.table


def named(h: Holding, word: int, place: int) -> tuple[int, int, int]:
    """(m, k, n) of a place in a word, which must hold something."""
    first = h.offset if word == h.words[0] else 0
    return h.in_word(word)[place - first]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("flow", ["weight_stationary", "output_stationary", "input_stationary"])
def test_words_of_an_array_s_memories_hold_what_a_stuck_bit_there_touches(name, flow):
    net = NETWORKS[name]()
    # The smaller weight memory is loaded again and again, the larger one holds all.
    for size in (400, 2048):
        sheet = small_chip(dataflow=flow, weight_sram=Memory(size, 16))
        mapping = sheet.map(net, PLACED)
        assert isinstance(mapping, Holds)
        held = [h for h in mapping.holdings() if h.tensor in ("weight", "activation")]
        rng = np.random.default_rng(0)
        for h in held:
            index = net.index(h.layer)
            for _ in range(4):
                i = int(rng.integers(h.elements))
                word, place = h.words[0] + i // h.per_word, i % h.per_word
                rows = touched(mapping, h.unit, h.component, word, place * h.bits)
                rows = rows[rows["layer"] == index]
                m, k, n = named(h, word, place)
                if h.tensor == "weight":
                    starts = {(int(r["k"][0]), int(r["n"][0])) for r in rows}
                    assert (k, n) in starts
                else:
                    assert {(int(r["m"][0]), int(r["n"][0])) for r in rows} >= {(m, n)}
        for unit, tensor in (("dram", "weight"), ("weight_sram", "weight")):
            mine = [h for h in held if h.unit == unit]
            macs = [net.mac_shape(x.name) for x in net if getattr(x, "weight", None) is not None]
            assert sum(h.elements for h in mine) == sum(k * n for _, k, n in macs), tensor


def test_a_word_that_holds_nothing_touches_nothing():
    mapping = small_chip().map(two_layers(), PLACED)
    for unit in ("weight_sram", "activation_sram", "psum_sram", "dram"):
        used = {word for h in mapping.holdings() if h.unit == unit for word in range(*h.words)}
        words = mapping.accelerator.unit(unit).component("words").words
        idle = sorted(set(range(words)) - used)
        assert used
        assert idle
        for word in idle[:: max(1, len(idle) // 20)]:
            assert len(touched(mapping, unit, "words", word, 0)) == 0


@pytest.mark.parametrize("sheet", [TALL, SMALL], ids=["resident", "reloaded"])
def test_words_of_a_core_s_memory_hold_the_weight_that_a_stuck_bit_there_touches(sheet):
    form = NumberFormat(1, signed=False)
    mapping = sheet.map(chain((3, 2), 2, form), PLACED)
    held = mapping.holdings()
    assert sum(h.elements for h in held) == 6
    for h in held:
        core = (h.instances[0][0],)
        for word in range(*h.words):
            ((_, k, n),) = h.in_word(word)
            rows = touched(mapping, h.unit, h.component, word, 0, core)
            assert {(int(r["k"][0]), int(r["n"][0])) for r in rows} == {(k, n)}


def test_words_of_tinyodin_hold_neurons_and_the_weights_of_one_input():
    net = network(np.random.default_rng(0), sizes=(6, 11, 3))
    mapping = SHEET.map(net, Placement(columns=(*range(3, 10), *range(20, 30))))
    placed = [*range(3, 10), *range(20, 27)]
    neurons = [h for h in mapping.holdings() if h.tensor == "neuron"]
    found = {word: (h.layer, h.in_word(word)[0][2]) for h in neurons for word in range(*h.words)}
    layers = [("lif0", n) for n in range(11)] + [("lif1", n) for n in range(3)]
    assert found == dict(zip(placed, layers, strict=True))
    program = mapping.program(())
    weights = {x.name: x.weight for x in net if x.name.startswith("fc")}
    seen = np.zeros_like(program.weights)
    for h in mapping.holdings():
        if h.tensor != "weight":
            continue
        for word in range(*h.words):
            axon, group = divmod(word, 32)
            first = h.offset if word == h.words[0] else 0
            for place, (_, k, n) in enumerate(h.in_word(word), first):
                assert program.weights[axon, group * 8 + place] == weights[h.layer][n, k]
                seen[axon, group * 8 + place] += 1
    assert (seen[program.weights != 0] == 1).all()
    assert seen.sum() == 6 * 11 + 11 * 3


def test_an_element_s_reach_is_counted_by_hand():
    # 3 x 2 elements. Values: x 32, c 16 x 3, l 4. An input register hands on to the right: in
    # column 0 all channels, in column 1 channel 1 of c (16) and 1, 3 of l.
    design = Design("d", two_layers(), small_chip().build())
    found = reach_of(design, design.accelerator.unit("array"))
    assert found is not None
    assert (found.component, found.looked_at, found.places) == ("input_register", 6, 6)
    assert found.largest == pytest.approx(52 / 84)
    assert found.mean == pytest.approx((52 + 18) / 2 / 84)
    # A word of two weights: of one channel of c, in 16 positions, then of two of l in turn.
    words = reach_of(design, design.accelerator.unit("weight_sram"))
    assert words is not None
    assert (words.component, words.looked_at, words.places) == ("words", 64, 64)
    assert words.largest == pytest.approx(18 / 84)


def test_a_neuron_word_reaches_one_neuron_and_a_bus_all():
    design = Design("d", network(np.random.default_rng(0)), SHEET.build())
    found = reach_of(design, design.accelerator.unit("neurons"))
    assert found is not None
    assert found.largest == 1.0
    assert found.component in ("read_register", "write_bus", "weight", "extended_weight")
    assert reach_of(design, design.accelerator.unit("queue")) is None  # not modelled


def test_spikes_cores_reach_what_their_columns_sum():
    design = Design("d", chain((3, 2), 2), TINY.build())
    found = reach_of(design, design.accelerator.unit("axon_in"))
    assert found is not None
    assert found.largest == pytest.approx(2 / 7)  # x 3, fc1 2, s1 2


def test_a_dead_router_and_core_reach_what_passes_and_a_port_what_it_hands_on():
    # On 2 x 2 cores, core 0 takes two of three inputs, holds fc1's two sums, and sends s1.
    design = Design("d", chain((3, 2), 2), TINY.build())
    found = {u.name: reach_of(design, u) for u in design.accelerator.units}
    told = {name: (one.component, one.places, one.largest) for name, one in found.items() if one}
    assert told["router"][:2] == ("*", 4)
    assert told["router"][2] == pytest.approx(4 / 7)  # no input comes, no output leaves
    assert told["core"][:2] == ("*", 4)
    assert told["core"][2] == pytest.approx(2 / 7)
    assert told["mesh_link"][:2] == ("*", 16)
    assert told["port"][:2] == ("code", 4)
    assert told["port"][2] == pytest.approx(2 / 7)  # a spike's code held at 0 is lost


def test_of_a_large_memory_the_words_in_use_are_looked_at():
    # Eight weights a word, so word 1 has the last of channel 0 and seven of channel 1, in 64
    # positions each. Words 0 and 8, of nine among 8,192, have weights of one channel.
    rng = np.random.default_rng(0)
    conv = Conv2d(
        "c", (Edge("x"),), rng.integers(-9, 9, (8, 1, 3, 3)), np.zeros(8, int), padding=(1, 1, 1, 1)
    )
    network = NetworkGraph("net", (Input("x", (), (1, 8, 8), NumberFormat(8)), conv))
    design = Design(
        "d", network, datasheet(AcceleratorSpec(datasheet="generic8_ws"), Path()).build()
    )
    found = reach_of(design, design.accelerator.unit("dram"))
    assert found is not None
    assert (found.component, found.looked_at, found.places) == ("words", 8192, 8192)
    assert found.largest == pytest.approx(128 / (64 + 512))
    assert found.mean == pytest.approx((7 * 128 + 2 * 64) / (64 + 512) / 8192)
