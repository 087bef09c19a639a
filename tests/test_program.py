"""Programs: the chip's arithmetic, and bounds that no input can break."""

import itertools

import numpy as np
import pytest

from codesign.effects import Effects
from codesign.engine.reference import count_overflows, evaluate
from codesign.errors import DataError
from codesign.formats import NumberFormat, Requantise
from codesign.guards import Clamp, Recompute, Silence
from codesign.network import Edge, Input, Lif, Linear, NetworkGraph
from codesign.program import MacArithmetic, Program, bounds
from codesign.samples import Samples

WIDE = NumberFormat(40)


def network_of(weight, bias, bits=2, signed=False, requantise=None):
    weight = np.array(weight)
    layers = (
        Input("x", (), shape=(weight.shape[1],), format=NumberFormat(bits, signed)),
        Linear("y", (Edge("x"),), weight, np.array(bias), requantise=requantise),
    )
    return NetworkGraph("bounded", layers)


def all_inputs(network):
    form = network.layers[0].format
    values = range(form.low, form.high + 1)
    inputs = np.array(list(itertools.product(values, repeat=network.shapes["x"][0])))
    return Samples("all", "test", inputs, np.zeros(len(inputs), int))


@pytest.mark.parametrize("signed", [False, True])
def test_bounds_are_met_exactly_by_the_worst_of_all_inputs(signed):
    network = network_of([[3, -2, 1], [-4, -1, 2]], [5, -7], signed=signed)
    program = Program(network, {"y": MacArithmetic(WIDE, WIDE, (2, 3))})
    outputs = evaluate(program, all_inputs(network), Effects.none(1)).outputs
    bound = bounds(program)["y"]
    assert (bound.low, bound.high) == (outputs.min(), outputs.max())
    assert not bound.overflows


@pytest.mark.parametrize("bits", range(3, 8))
def test_overflow_is_claimed_impossible_only_where_no_input_overflows(bits):
    network = network_of([[3, -2, 1, 3]], [5])
    inner = NumberFormat(bits, overflow="wrap")
    program = Program(network, {"y": MacArithmetic(inner, WIDE, (3, 4))})
    counted = count_overflows(program, all_inputs(network))["y"]
    assert bounds(program)["y"].overflows == (counted > 0)


def test_a_requantised_layer_hands_its_code_range_to_the_next():
    first = network_of([[90, 90], [90, 90]], [0, 0], requantise=Requantise(1, 4, 0, 15))
    layers = (*first.layers, Linear("z", (Edge("y"),), np.array([[2, -3]]), np.array([0])))
    arithmetic = MacArithmetic(WIDE, WIDE, (2,))
    program = Program(NetworkGraph("two", layers), {"y": arithmetic, "z": arithmetic})
    bound = bounds(program)["z"]
    assert (bound.low, bound.high) == (-3 * 15, 2 * 15)


def test_terms_segments_and_places_tell_one_story():
    arithmetic = MacArithmetic(WIDE, WIDE, (2, 5), order=np.array([4, 0, 1, 3, 2]))
    assert arithmetic.segments == ((0, 2), (2, 5))
    assert [arithmetic.terms(s).tolist() for s in range(2)] == [[4, 0], [1, 3, 2]]
    for k in range(5):
        segment, j = arithmetic.place_of(k)
        assert arithmetic.terms(segment)[j - 1] == k


@pytest.mark.parametrize("splits", [(), (2, 2), (0, 3), (3, 2)])
def test_splits_that_are_not_ascending_ends_are_refused(splits):
    with pytest.raises(DataError, match="ascending end positions"):
        MacArithmetic(WIDE, WIDE, splits)


def test_programs_that_contradict_their_network_are_refused():
    network = network_of([[1, 2]], [0])
    fine = MacArithmetic(WIDE, WIDE, (2,))
    with pytest.raises(DataError, match=r"layers that need it: \['y'\]"):
        Program(network, {})
    with pytest.raises(DataError, match="arithmetic for 3 of 2 terms"):
        Program(network, {"y": MacArithmetic(WIDE, WIDE, (3,))})
    with pytest.raises(DataError, match="permutation of 0"):
        MacArithmetic(WIDE, WIDE, (2,), order=np.array([0, 0]))
    with pytest.raises(DataError, match="Clamp at weight of 'z': no such layer there; known: y"):
        Program(network, {"y": fine}, guards=(Clamp("z", "weight", 0, 1),))
    with pytest.raises(DataError, match="Silence at membrane of 'y'"):
        Program(network, {"y": fine}, guards=(Silence("y"),))
    with pytest.raises(DataError, match="y is a Linear: it has no membrane"):
        Program(network, {"y": fine}).membrane("y")


def test_a_chip_s_membrane_replaces_the_network_s():
    layers = (*network_of([[1, 2]], [0]).layers, Lif("s", (Edge("y"),)))
    network = NetworkGraph("spiking", layers, steps=2)
    arithmetic = {"y": MacArithmetic(WIDE, WIDE, (2,))}
    assert Program(network, arithmetic).membrane("s").bits == 24
    assert Program(network, arithmetic, {"s": NumberFormat(12)}).membrane("s").bits == 12


def test_re_execution_multiplies_executions():
    network = network_of([[1, 2]], [0])
    arithmetic = {"y": MacArithmetic(WIDE, WIDE, (2,))}
    assert Program(network, arithmetic).executions == 1
    assert Program(network, arithmetic, guards=(Recompute(3),)).executions == 3
