"""What spiking cores refuse: networks, placements, capacities and faults, each by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cores_cases import SMALL, dense

from codesign.errors import CapacityError, FaultError, MappingError, UnsupportedError
from codesign.faults import Fault, FaultModel, Faults, FaultSite, Window
from codesign.formats import NumberFormat, Requantise
from codesign.mapping import Placement
from codesign.network import Edge, Flatten, Input, Lif, Linear, NetworkGraph


def chain(*behind_input: object, shape: tuple[int, ...] = (4,), bits: int = 1) -> NetworkGraph:
    source = Input("x", (), shape=shape, format=NumberFormat(bits, signed=False))
    return NetworkGraph("net", (source, *behind_input), steps=2)  # type: ignore[arg-type]


def fc(
    name: str = "a", source: str = "x", inputs: int = 4, outputs: int = 2, **more: object
) -> Linear:
    given = {"weight": np.ones((outputs, inputs), int), "bias": np.zeros(outputs, int), **more}
    return Linear(name, (Edge(source),), **given)  # type: ignore[arg-type]


REFUSED = {
    "a network without spikes": (chain(fc()), "has no spiking layer, .* put a Lif behind"),
    "a layer without neurons": (
        chain(fc(), fc("b", "a", 2, 2), Lif("s", (Edge("b"),))),
        r"a is read by b \(Linear\); .* put a Lif behind it",
    ),
    "pooling of currents": (
        chain(fc(), Flatten("f", (Edge("a"),)), Lif("s", (Edge("f"),))),
        r"a is read by f \(Flatten\)",
    ),
    "two readers": (
        chain(fc(), Lif("s", (Edge("a"),)), Lif("t", (Edge("a"),))),
        r"a is read by s \(Lif\), t \(Lif\)",
    ),
    "requantised sums": (
        chain(fc(requantise=Requantise(1, 0, 0, 7)), Lif("s", (Edge("a"),))),
        "a requantises its sums",
    ),
    "two currents": (
        chain(fc(), fc("b"), Lif("s", (Edge("a"), Edge("b")))),
        "s reads a, b; a neuron has one current register",
    ),
    "a late current": (
        chain(fc(), Lif("s", (Edge("a", 1),))),
        "s reads a 1 steps ago",
    ),
    "neurons on the input": (chain(Lif("s", (Edge("x"),))), "s reads x; a neuron has one current"),
    "codes on axons of one bit": (
        chain(fc(), Lif("s", (Edge("a"),)), bits=3),
        r"inputs of a are 0..7, and the 1 bits of axon hold 0..1; use rate coding",
    ),
    "weights of nine bits": (
        chain(
            fc(weight=np.full((2, 4), 200), weight_format=NumberFormat(9)), Lif("s", (Edge("a"),))
        ),
        "weights of a are 200..200, and the 4 bits of weight hold -8..7",
    ),
    "a bias beyond the current": (
        chain(fc(bias=np.array([0, 99])), Lif("s", (Edge("a"),))),
        "biases of a are 0..99, and the 6 bits of current hold -32..31",
    ),
    "a threshold beyond its register": (
        chain(fc(), Lif("s", (Edge("a"),), threshold=np.array(40))),
        "thresholds of s are 40..40",
    ),
}
assert REFUSED


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_cores_cannot_run_is_refused_by_name(name):
    network, message = REFUSED[name]
    with pytest.raises(MappingError, match=message):
        replace(SMALL, axon_bits=1).map(network, Placement())


@pytest.mark.parametrize(
    ("change", "placement", "message"),
    [
        (
            {"weights": "resident"},
            Placement(),
            r"cores: 5 are needed .* 1 are usable .* enlarge mesh",
        ),
        (
            {"weight_words": 17},
            Placement(),
            r"weight memory: 18 words .* weight_words = 17; enlarge",
        ),
        ({"neuron_words": 2}, Placement(), r"neuron memory: 3 words .* neuron_words = 2; enlarge"),
        (
            {},
            Placement(forbidden=((0,),)),
            r"cores: at least 1 is needed .* shorten placement.forb",
        ),
        ({}, Placement(forbidden=((0, 0), (0, 1))), r"cores: at least 1 is needed"),
    ],
)
def test_what_does_not_fit_is_told_with_resource_demand_limit_and_knob(change, placement, message):
    with pytest.raises(CapacityError, match=message):
        replace(SMALL, **change).map(dense(), placement)


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement(rows=(0, 3)), r"placement.rows names 3; there are 0..2"),
        (Placement(columns=(2,)), r"placement.columns names 2; there are 0..1"),
        (Placement(forbidden=((1,),)), r"\(1,\) is no \(core,\) or \(core, column\) of small"),
        (Placement(forbidden=((0, 2),)), r"\(0, 2\) is no"),
        (Placement(forbidden=((0, 0, 0),)), r"\(0, 0, 0\) is no"),
    ],
)
def test_a_placement_that_names_what_is_not_there_is_refused(placement, message):
    with pytest.raises(MappingError, match=message):
        SMALL.map(dense(), placement)


def test_windows_that_cannot_exist_and_packets_are_refused():
    mapping = replace(SMALL, mesh=(3, 2)).map(dense(), Placement())
    chip = mapping.accelerator
    cycles = mapping.schedule.inference_cycles
    site = FaultSite("neuron", (0, 0), "bias", 0, 0)
    end = Window((0, 0), (0, cycles))
    mapping.footprint(Faults.of([[Fault(site, FaultModel.stuck1, end)]], chip), 2)
    for window in (Window((0, cycles)), Window((0, 0), (1, cycles + 1))):
        faults = Faults.of([[Fault(site, FaultModel.stuck1, window)]], chip)
        with pytest.raises(FaultError, match=rf"has cycles 0..{cycles - 1}"):
            mapping.footprint(faults, 2)
    packet = Fault(FaultSite("core", (0,), "packet", 0, 3), FaultModel.flip)
    with pytest.raises(
        UnsupportedError, match=r"core.packet .* strike port.axon .* neuron.spike_line"
    ):
        mapping.footprint(Faults.of([[packet]], chip), 2)
