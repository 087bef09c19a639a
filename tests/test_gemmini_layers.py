"""Layers as large as a ResNet-20's on the shipped Gemmini, against plain convolutions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from codesign.effects import Effects
from codesign.engine.dense import count_overflows, evaluate
from codesign.formats import NumberFormat, Requantise
from codesign.mapping import Placement
from codesign.network import Conv2d, Edge, Flatten, Input, Layer, Linear, NetworkGraph
from codesign.program import Program, bounds
from codesign.samples import Samples
from codesign.study.loading import datasheet
from codesign.study.spec import AcceleratorSpec

RNG = np.random.default_rng(20)
SCALE = Requantise(3, 16, 0, 127)


def random_conv(name: str, source: str, shape: tuple[int, int, int], stride: int) -> Conv2d:
    """A convolution [outputs, inputs, kernel] that keeps the size of a map, or halves it."""
    outputs, inputs, kernel = shape
    return Conv2d(
        name,
        (Edge(source),),
        weight=RNG.integers(-128, 128, (outputs, inputs, kernel, kernel)),
        bias=RNG.integers(-5000, 5000, outputs),
        stride=(stride, stride),
        padding=(kernel // 2,) * 4,
        requantise=SCALE,
    )


def like_a_resnet() -> NetworkGraph:
    """3 × 3 with and without stride, 1 × 1 with stride, and a fully connected layer."""
    layers: tuple[Layer, ...] = (
        Input("x", (), shape=(32, 8, 8), format=NumberFormat(8)),
        random_conv("strided", "x", (64, 32, 3), 2),
        random_conv("deep", "strided", (64, 64, 3), 1),
        random_conv("shortcut", "deep", (32, 64, 1), 2),
        Flatten("f", (Edge("shortcut"),)),
        Linear(
            "fc",
            (Edge("f"),),
            weight=RNG.integers(-128, 128, (10, 128)),
            bias=RNG.integers(-500, 500, 10),
        ),
    )
    return NetworkGraph("like a ResNet", layers)


@pytest.fixture(scope="module")
def network() -> NetworkGraph:
    return like_a_resnet()


def plain(network: NetworkGraph, inputs: np.ndarray) -> np.ndarray:
    """The same in exact floats: convolve, multiply, shift, round half up, clip."""
    torch.set_num_threads(1)
    codes = torch.from_numpy(inputs).double()
    for layer in network.layers:
        if isinstance(layer, Conv2d):
            weight, bias = (torch.from_numpy(x.copy()).double() for x in (layer.weight, layer.bias))
            pad = layer.padding[0]
            sums = functional.conv2d(codes, weight, bias, stride=layer.stride, padding=pad)
            codes = torch.clamp(torch.floor(sums * 3 / 2**16 + 0.5), 0, 127)
        elif isinstance(layer, Linear):
            weight, bias = (torch.from_numpy(x.copy()).double() for x in (layer.weight, layer.bias))
            codes = codes.flatten(1) @ weight.T + bias
    return codes.numpy().astype(np.int64)


def test_layers_of_a_resnet_keep_their_values_in_passes_of_sixteen_terms(network):
    mapping = datasheet(AcceleratorSpec(datasheet="gemmini16"), Path()).map(network, Placement())
    program = mapping.program(())
    assert isinstance(program, Program)
    passes = {name: len(sums.splits) for name, sums in program.arithmetic.items()}
    assert passes == {"strided": 18, "deep": 36, "shortcut": 4, "fc": 8}
    inputs = RNG.integers(-128, 128, (2, 32, 8, 8))
    samples = Samples("random", "test", inputs, np.zeros(2, dtype=np.int64))
    outputs = evaluate(program, samples, Effects.none(1)).outputs.reshape(2, -1)
    assert (outputs == plain(network, inputs)).all()
    assert len(np.unique(outputs)) > 5
    # Sixteen products of -128 · -128 are 2^18, half of what 20 bits hold: nothing can wrap.
    assert not any(bound.overflows for bound in bounds(program).values())
    assert set(count_overflows(program, samples).values()) == {0}
