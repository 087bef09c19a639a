"""Networks as data: shapes, addresses of elements and refusals."""

import numpy as np
import pytest

from codesign.errors import DataError
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Edge,
    Flatten,
    Input,
    Layer,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
    Pad,
    Slice,
)
from codesign.samples import InputCoding


def conv(name="c", source="x", shape=(4, 2, 3, 3), **more):
    return Conv2d(name, (Edge(source),), np.ones(shape, int), np.zeros(shape[0], int), **more)


def linear(name="y", source="x", n=2, k=3, bias=None):
    bias = np.zeros(n, int) if bias is None else bias
    return Linear(name, (Edge(source),), np.ones((n, k), int), bias)


X = Input("x", (), shape=(2, 6, 5))


def test_shapes_follow_the_layers():
    network = NetworkGraph(
        "shapes",
        (
            X,
            conv(stride=(2, 1), padding=(1, 0, 0, 1)),
            MaxPool2d("p", (Edge("c"),), (2, 2), (1, 2)),
            Pad("w", (Edge("p"),), ((0, 0), (1, 0), (0, 0))),
            Concat("k", (Edge("w"), Edge("w")), (None, None)),
            Slice("s", (Edge("k"),), ((0, 8, 2), (0, 3, 1), (0, 2, 1))),
            Flatten("f", (Edge("s"),)),
            linear("y", "f", 2, 24),
        ),
    )
    assert network.shapes == {
        "x": (2, 6, 5),
        "c": (4, 3, 4),
        "p": (4, 2, 2),
        "w": (4, 3, 2),
        "k": (8, 3, 2),
        "s": (4, 3, 2),
        "f": (24,),
        "y": (2,),
    }
    assert network.mac_shape("c") == (12, 18, 4)
    assert network.mac_shape("y") == (1, 24, 2)
    assert network.readers("x") == ("c",)


def test_every_element_of_a_map_has_one_position_and_channel():
    network = NetworkGraph("map", (X, conv()))
    assert network.grid("c") == (12, 4)
    flat = [network.element("c", m, n) for n in range(4) for m in range(12)]
    assert flat == list(range(48))


def test_positions_of_a_linear_layer_come_before_its_features():
    layers = (Input("x", (), shape=(2, 5, 3)), linear(), Lif("s", (Edge("y"),)))
    network = NetworkGraph("rows", layers)
    assert network.mac_shape("y") == (10, 3, 2)
    assert network.grid("s") == (10, 2)
    assert [network.element("s", m, n) for m in range(10) for n in range(2)] == list(range(20))


def test_networks_of_equal_content_are_one_network_whatever_they_are_called():
    def build(name, bias=0, scale=1.0):
        layers = (Input("x", (), shape=(3,)), linear(bias=np.full(2, bias)))
        return NetworkGraph(name, layers, coding=InputCoding(scale=scale)).digest

    assert build("a") == build("b")
    assert build("a") != build("a", bias=1)
    assert build("a") != build("a", scale=2.0)


REFUSED: list[tuple[tuple[Layer, ...], str]] = [
    ((conv(),), "the first layer, and no other, is the input"),
    ((X, Input("z", (), shape=(1,))), "the first layer, and no other, is the input"),
    ((X, conv("x")), "two layers share a name"),
    ((X, conv(source="z")), "c reads 'z' before it exists"),
    ((X, conv(shape=(4, 3, 3, 3))), "c: expected 3 input channels, came 2"),
    ((X, conv(shape=(4, 2, 7, 1))), "c: kernel 7x1 does not fit 6x5"),
    ((X, linear()), r"y: expected 3 input features, came shape \(2, 6, 5\)"),
    ((X, MaxPool2d("p", (Edge("x"),), (7, 7))), "p: window"),
    ((Input("x", (), shape=(4,)), AvgPool2d("p", (Edge("x"),))), r"p: pools \[channels"),
    ((X, Add("a", (Edge("x"),), (1, 1))), "a: adds inputs of one shape"),
    ((X, Concat("k", (Edge("x"),), (None, None))), "k: cannot concatenate"),
    ((X, Flatten("f", (Edge("x"),), (7,))), "f: cannot reshape"),
    ((X, Slice("s", (Edge("x"),), ((0, 1, 1),))), "s: 1 slices for shape"),
    ((X, Pad("w", (Edge("x"),), ((0, 1),))), "w: 1 pad widths for shape"),
]


@pytest.mark.parametrize(("layers", "message"), REFUSED)
def test_what_cannot_be_a_network_is_refused_by_layer_name(layers, message):
    with pytest.raises(DataError, match=message):
        NetworkGraph("wrong", layers)


def test_weights_and_biases_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="y: weights do not fit 8 bits"):
        Linear("y", (Edge("x"),), np.array([[128]]), np.array([0]))
    with pytest.raises(DataError, match=r"y: bias \(3,\) for 2 output channels"):
        linear(bias=np.zeros(3, int))
    with pytest.raises(DataError, match=r"c: weight \(4, 2, 3, 3\) with 3 groups"):
        conv(groups=3)
    with pytest.raises(DataError, match="order names the four operations once"):
        Lif("s", (Edge("x"),), order=("leak", "leak", "fire", "reset"))
    with pytest.raises(DataError, match="at least one step, came 0"):
        NetworkGraph("none", (X,), steps=0)


def test_asking_for_a_layer_that_is_not_there_offers_the_nearest():
    network = NetworkGraph("map", (X, conv("conv1")))
    with pytest.raises(DataError, match="no layer 'conv2'; did you mean 'conv1'"):
        network["conv2"]
    with pytest.raises(DataError, match="only Conv2d and Linear have terms"):
        network.mac_shape("x")
