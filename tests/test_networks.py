"""The shelf's networks: their shapes are the published ones, and each lowers code for code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from integer_network import every_value, outputs
from sample_modules import seeded
from torch import nn

import networks
from codesign.effects import Effects
from codesign.engine.reference import evaluate
from codesign.formats import NumberFormat
from codesign.learning.coding import coding_for
from codesign.learning.lowering import skeleton_of
from codesign.learning.quantization import QuantModel
from codesign.learning.settings import Quantisation
from codesign.learning.weights import load_weights
from codesign.network import Conv2d, Lif, Linear, MaxPool2d, is_mac
from codesign.parts import arguments_of
from codesign.program import MacArithmetic, Program
from codesign.samples import Samples

torch.set_num_threads(1)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
MODELS = ("ConvLif", "FcLif", "LeNet", "MobileNetSmall", "ResNet20", "SmallCnn")

# Small enough for the reference engine, and with every choice that a constructor offers.
SHIPPED: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "SmallCnn": (lambda: networks.SmallCnn(channels=(4, 6)), (1, 8, 8)),
    "SmallCnn, colours": (
        lambda: networks.SmallCnn(classes=3, input_channels=3, image=12, channels=(3, 4), kernel=5),
        (3, 12, 12),
    ),
    "LeNet": (lambda: networks.LeNet(), (1, 28, 28)),
    "LeNet, colours": (lambda: networks.LeNet(5, input_channels=3, image=32), (3, 32, 32)),
    "ResNet20": (lambda: networks.ResNet20(width=4, blocks=1), (3, 8, 8)),
    "MobileNetSmall": (lambda: networks.MobileNetSmall(width=4), (1, 8, 8)),
    "FcLif": (lambda: networks.FcLif(hidden=(12, 8), threshold=0.3, steps=5), (1, 8, 8)),
    "FcLif, rate": (
        lambda: networks.FcLif(coding="rate", reset="zero", threshold=0.3, steps=5), (1, 8, 8)
    ),
    "FcLif, latency": (
        lambda: networks.FcLif(
            coding="latency", reset="zero", reset_delay=False, threshold=0.1, steps=5, beta=0.5
        ),
        (1, 8, 8),
    ),
    "ConvLif": (lambda: networks.ConvLif(channels=(3, 4), steps=6, threshold=0.2), (1, 8, 8)),
    "ConvLif, mean": (
        lambda: networks.ConvLif(
            channels=(3, 4), pool="mean", coding="rate", reset="zero", steps=6, threshold=0.2
        ),
        (1, 8, 8),
    ),
}  # fmt: skip


def quantised(name: str) -> tuple[QuantModel, Samples]:
    """A network with drawn weights, calibrated on noise."""
    build, shape = SHIPPED[name]
    draw = np.random.default_rng(1)
    inputs = draw.integers(0, 256, (12, *shape)).astype(np.uint8)
    samples = Samples("noise", "calibration", inputs, draw.integers(0, 3, 12))
    module = seeded(build)
    model = QuantModel(
        skeleton_of(module, samples, coding=coding_for(module, 255.0)), Quantisation()
    )
    model.calibrate(samples)
    return model.eval(), samples


def integers(model: QuantModel, samples: Samples) -> np.ndarray:
    coded = model.skeleton.graph.coding.apply(samples)
    return model.integers(torch.from_numpy(coded.inputs.astype(np.float32)), coded.timed)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_layer_of_the_trainable_model_and_of_the_network_agree_code_for_code(
    name: str,
) -> None:
    model, samples = quantised(name)
    network = model.network()
    coded = network.coding.apply(samples)
    found = model.values(torch.from_numpy(coded.inputs.astype(np.float32)), coded.timed)
    steps = every_value(network, samples)
    for layer in network:
        wanted = np.stack([step[layer.name] for step in steps])
        assert np.array_equal(np.broadcast_to(found[layer.name], wanted.shape), wanted), layer.name
        if is_mac(layer):
            assert len(np.unique(wanted)) >= 10, layer.name
        if isinstance(layer, Lif):
            assert 0.02 < wanted.mean() < 0.98, layer.name
    total = sum(step[network.layers[-1].name] for step in steps)
    assert np.array_equal(integers(model, samples), total)


@pytest.mark.parametrize("name", [n for n in SHIPPED if not n.startswith("LeNet")])
def test_the_trainable_model_and_the_reference_engine_agree_code_for_code(name: str) -> None:
    model, samples = quantised(name)
    network, wide = model.network(), NumberFormat(32)
    macs = [layer.name for layer in network if is_mac(layer)]
    arithmetic = {m: MacArithmetic(wide, wide, (network.mac_shape(m)[1],)) for m in macs}
    coded = network.coding.apply(samples.take(1))
    reference = evaluate(Program(network, arithmetic), coded, Effects.none(1))
    assert np.array_equal(integers(model, samples.take(1)), reference.outputs[0])


def test_every_model_of_the_catalogue_is_among_them() -> None:
    assert {name.split(",")[0] for name in SHIPPED} == set(MODELS)
    assert set(MODELS) < set(networks.__all__)


@pytest.mark.parametrize("name", MODELS)
def test_a_study_can_write_every_argument_of_a_model(name: str) -> None:
    fields = arguments_of(getattr(networks, name)).fields
    assert {"classes"} <= {field.name for field in fields}
    assert all(field.doc for field in fields)
    assert not any(field.required for field in fields)


@pytest.mark.parametrize(
    ("build", "parameters", "source"),
    [
        (lambda: networks.ResNet20(), 269_722, "0.27 M: He et al. 2016, table 6"),
        (lambda: networks.LeNet(), 61_706, "LeNet-5 with 6, 16 maps, 120, 84, 10 units"),
        (lambda: networks.FcLif(784, 10, (400,)), 784 * 400 + 400 + 400 * 10 + 10, "by hand"),
    ],
)
def test_networks_have_as_many_parameters_as_published(
    build: Callable[[], nn.Module], parameters: int, source: str
) -> None:
    assert sum(p.numel() for p in build().parameters()) == parameters, source


def test_resnet20_has_its_published_stages() -> None:
    module = seeded(lambda: networks.ResNet20())
    draw = np.random.default_rng(0)
    inputs = draw.integers(0, 256, (5, 3, 32, 32)).astype(np.uint8)
    noise = Samples("noise", "calibration", inputs, np.zeros(5, int))
    graph = skeleton_of(module, noise, coding=coding_for(module, 255.0)).graph
    convs = [layer for layer in graph if isinstance(layer, Conv2d)]
    assert len(convs) + sum(isinstance(layer, Linear) for layer in graph) == 20
    shapes = [graph.shapes[layer.name] for layer in convs]
    assert shapes == [(16, 32, 32)] * 7 + [(32, 16, 16)] * 6 + [(64, 8, 8)] * 6


def test_currents_are_pooled_before_the_neurons_of_a_convolutional_network() -> None:
    graph = quantised("ConvLif")[0].skeleton.graph
    kinds = [type(layer) for layer in graph]
    assert kinds[1:4] == [Conv2d, MaxPool2d, Lif]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the folder ../shared with real weights")
def test_resnet20_with_real_weights_keeps_its_accuracy_in_integers() -> None:
    """Float: 91.73 % of the 10,000 test images, published with the weights."""
    module = networks.ResNet20()
    load_weights(module, SHARED / "nets" / "akamaster_resnet20-12fca82f.th")
    splits = networks.cifar10(SHARED / "sets")
    test = splits.test.take(500)
    coding = coding_for(module, splits.full_scale)
    calibration = splits.calibration.take(100)
    model = QuantModel(skeleton_of(module, calibration, coding=coding), Quantisation())
    model.calibrate(calibration)
    model.eval()
    module.eval()
    reals = torch.from_numpy(coding.normalise(test.inputs / 255.0).astype(np.float32))
    guesses = []
    with torch.no_grad():
        in_float = torch.cat([module(x) for x in reals.split(50)]).argmax(1).numpy()
    for start in range(0, 500, 50):
        rows = slice(start, start + 50)
        part = replace(test, inputs=test.inputs[rows], labels=test.labels[rows])
        guesses.append(integers(model, part).argmax(1))
    accuracies = [(g == test.labels).mean() for g in (in_float, np.concatenate(guesses))]
    assert accuracies[0] > 0.90
    assert abs(accuracies[0] - accuracies[1]) <= 0.01
    few = test.take(3)
    assert np.array_equal(integers(model, few), outputs(model.network(), few))
