"""What tinyODIN cannot run is refused: which layer, what is expected, what came."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tinyodin_networks import SPIKE, lif, linear, network

from accelerators import TinyOdin
from codesign.errors import CapacityError, MappingError
from codesign.formats import NumberFormat
from codesign.layers import Edge, Input, Leak, MaxPool2d
from codesign.mapping import Placement
from codesign.network import NetworkGraph

SHEET = TinyOdin(name="chip")


def chain(*layers, shape=(6,)):
    return NetworkGraph("net", (Input("x", (), shape, SPIKE), *layers), 2)


EYE = np.eye(6, dtype=int)
WRONG = {
    "positions": (
        lambda: chain(linear("fc", "x", EYE), lif("l", "fc"), shape=(2, 6)),
        "fc: tinyODIN has no positions",
    ),
    "weights": (
        lambda: chain(linear("fc", "x", 9 * EYE, weight_format=NumberFormat(5)), lif("l", "fc")),
        "fc: tinyODIN's weights have 4 bits .-8 to 7., came up to 9; train with weight_bits 4",
    ),
    "bias": (
        lambda: chain(linear("fc", "x", EYE, bias=np.ones(6, int)), lif("l", "fc")),
        "fc: tinyODIN adds no bias",
    ),
    "no neurons": (lambda: chain(linear("fc", "x", EYE)), "fc: .* came no Lif"),
    "pooling": (
        lambda: chain(MaxPool2d("p", (Edge("x"),), (2, 2), (2, 2)), shape=(1, 2, 2)),
        "p: tinyODIN runs a chain of Linear layers, .* came MaxPool2d",
    ),
    "nothing": (lambda: chain(), "there is no layer to run"),
    "reset": (
        lambda: chain(linear("fc", "x", EYE), lif("l", "fc", reset="subtract")),
        "l: tinyODIN resets to zero, came 'subtract'",
    ),
    "leak": (
        lambda: chain(linear("fc", "x", EYE), lif("l", "fc", leaks=Leak("shift", 3))),
        "l: tinyODIN leaks by subtracting 0 to 127, came shift 3",
    ),
    "much leak": (
        lambda: chain(linear("fc", "x", EYE), lif("l", "fc", leak=128)),
        "came subtract 128",
    ),
    "threshold": (
        lambda: chain(linear("fc", "x", EYE), lif("l", "fc", threshold=2047, strict=True)),
        "l: a neuron fires from 0 to 2047 on, came 2048 to 2048",
    ),
    "negative threshold": (
        lambda: chain(linear("fc", "x", EYE), lif("l", "fc", threshold=-3)),
        "came -3 to -3",
    ),
    "order": (
        lambda: chain(
            linear("fc", "x", EYE), lif("l", "fc", order=("integrate", "leak", "fire", "reset"))
        ),
        "l: tinyODIN leaks before or after a step",
    ),
    "late reset": (
        lambda: chain(
            linear("fc", "x", EYE), lif("l", "fc", order=("reset", "integrate", "fire", "leak"))
        ),
        "l: tinyODIN integrates, fires, resets",
    ),
    "two orders": (
        lambda: chain(
            linear("a", "x", EYE),
            lif("l", "a"),
            linear("b", "l", EYE),
            lif("m", "b", order=("leak", "integrate", "fire", "reset")),
        ),
        "all layers leak at once, and their orders disagree",
    ),
    "delay": (
        lambda: chain(
            linear("a", "x", EYE),
            lif("l", "a"),
            replace(linear("b", "l", EYE), inputs=(Edge("l", 1),)),
            lif("m", "b"),
        ),
        "b: tinyODIN runs a chain: no branches, no delays",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_the_chip_cannot_do_is_refused_with_the_layer_and_the_limit(what):
    make, message = WRONG[what]
    with pytest.raises(MappingError, match=message):
        SHEET.map(make(), Placement())


def test_codes_of_more_than_one_bit_are_refused():
    net = network(np.random.default_rng(0))
    eight = replace(net.layers[0], format=NumberFormat(8, signed=False))
    with pytest.raises(MappingError, match="x: tinyODIN reads spikes"):
        SHEET.map(replace(net, layers=(eight, *net.layers[1:])), Placement())


def test_too_many_neurons_or_inputs_are_refused_with_both_numbers():
    rng = np.random.default_rng(0)
    with pytest.raises(CapacityError, match=r"257 neurons, tinyODIN has 256"):
        SHEET.map(network(rng, (6, 250, 7)), Placement())
    with pytest.raises(CapacityError, match="x: 200 inputs, 156 axons are left beside 100 neurons"):
        SHEET.map(network(rng, (200, 100)), Placement())
    with pytest.raises(CapacityError, match="8 neurons, tinyODIN has 7"):
        SHEET.map(network(rng), Placement(columns=tuple(range(8)), forbidden=((3,),)))
    with pytest.raises(MappingError, match=r"placement\.rows: tinyODIN has 0 to 255"):
        SHEET.map(network(rng), Placement(rows=(256,)))
    with pytest.raises(MappingError, match=r"expected .neuron,., came"):
        SHEET.map(network(rng), Placement(forbidden=((1, 2),)))
