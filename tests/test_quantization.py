"""Codes carried in floats are the program's codes; gradients are of the same functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from integer_network import every_value, outputs
from sample_modules import (
    CNNS,
    RATE,
    Looped,
    Plain,
    PooledBeside,
    Recurrent,
    RecurrentOutput,
    SpikesIntoNeurons,
    SpikingResidual,
    hidden_states,
    images,
    leaky,
    seeded,
)
from torch import Tensor, nn
from torch.nn import functional

from codesign.effects import Effects
from codesign.engine.reference import evaluate
from codesign.errors import LoweringError
from codesign.formats import NumberFormat
from codesign.learning.coding import direct_coding
from codesign.learning.lowering import lower, real_inputs, skeleton_of
from codesign.learning.quantization import QuantModel
from codesign.learning.roles import roles
from codesign.learning.settings import Quantisation
from codesign.network import Add, AvgPool2d, Concat, Conv2d, Edge, Leak, Lif, Linear, NetworkGraph
from codesign.program import MacArithmetic, Program
from codesign.samples import InputCoding, Samples

torch.set_num_threads(1)
DIRECT = direct_coding(255.0)
SIGNED = direct_coding(255.0, mean=(0.5, 0.4), std=(0.25, 0.2))

Case = tuple[Callable[[], nn.Module], InputCoding, int | None, Quantisation]
DEFAULT = Quantisation()
CASES: dict[str, Case] = {
    **{name: (build, DIRECT, None, DEFAULT) for name, build in CNNS.items()},
    "signed input": (CNNS["branches"], SIGNED, None, DEFAULT),
    "one scale a layer": (CNNS["shortcut"], SIGNED, None, Quantisation(per_channel=False)),
    "few bits": (
        CNNS["pre-activation"],
        DIRECT,
        None,
        Quantisation(weight_bits=3, activation_bits=4, percentile=99.0),
    ),
    "headroom": (CNNS["late"], DIRECT, None, Quantisation(weight_headroom_bits=2)),
    "time loop": (lambda: Looped("index"), RATE, None, DEFAULT),
    "direct current": (lambda: Looped("direct"), DIRECT, None, DEFAULT),
    "reset to zero": (lambda: Looped("index", reset_mechanism="zero"), RATE, None, DEFAULT),
    "reset at once": (
        lambda: Looped("index", reset_mechanism="zero", reset_delay=False),
        RATE,
        None,
        DEFAULT,
    ),
    "no reset": (lambda: Looped("index", reset_mechanism="none", beta=0.5), RATE, None, DEFAULT),
    "membranes that saturate": (
        lambda: Looped("index", threshold=0.2),
        RATE,
        None,
        Quantisation(membrane_bits=8, weight_bits=6),
    ),
    "recurrent": (Recurrent, RATE, None, DEFAULT),
    "spiking residual": (SpikingResidual, RATE, None, DEFAULT),
    "recurrent output": (RecurrentOutput, RATE, None, DEFAULT),
    "spikes into neurons": (SpikesIntoNeurons, RATE, None, DEFAULT),
    "wide membranes": (lambda: Looped("index"), RATE, None, Quantisation(membrane_bits=32)),
    "currents of two scales": (PooledBeside, RATE, None, DEFAULT),
    "called by steps": (hidden_states, RATE, 6, DEFAULT),
    "static, called by steps": (hidden_states, SIGNED, 3, DEFAULT),
}


def quantised(name: str) -> tuple[QuantModel, Samples]:
    """A calibrated model of a case, ready to compute."""
    build, coding, steps, quantisation = CASES[name]
    samples = images()
    skeleton = skeleton_of(seeded(build), samples, coding=coding, steps=steps)
    model = QuantModel(skeleton, quantisation)
    model.calibrate(samples)
    return model.eval(), samples


def integers(model: QuantModel, samples: Samples) -> np.ndarray:
    coded = model.skeleton.graph.coding.apply(samples)
    return model.integers(torch.from_numpy(coded.inputs.astype(np.float32)), coded.timed)


def plain_program(network: NetworkGraph) -> Program:
    """A program in which nothing wraps: every layer in one segment of 48 bits."""
    wide = NumberFormat(48)
    macs = [x.name for x in network if isinstance(x, Conv2d | Linear)]
    arithmetic = {m: MacArithmetic(wide, wide, (network.mac_shape(m)[1],)) for m in macs}
    return Program(network, arithmetic)


# ---------------------------------------------------------------------------- code for code


@pytest.mark.parametrize("name", CASES)
def test_the_trainable_model_gives_the_integer_networks_outputs(name: str) -> None:
    model, samples = quantised(name)
    found = integers(model, samples)
    assert np.array_equal(found, outputs(model.network(), samples))
    assert len(np.unique(found)) > 3


@pytest.mark.parametrize("name", CASES)
def test_the_trainable_model_gives_the_reference_engines_outputs(name: str) -> None:
    model, samples = quantised(name)
    coded = model.skeleton.graph.coding.apply(samples.take(1))
    reference = evaluate(plain_program(model.network()), coded, Effects.none(1))
    assert np.array_equal(integers(model, samples.take(1)), reference.outputs[0])


@pytest.mark.parametrize("name", ["shortcut", "branches", "spiking residual", "few bits"])
def test_they_still_agree_after_training_on_codes(name: str) -> None:
    model, samples = quantised(name)
    before = integers(model, samples)
    coded = model.skeleton.graph.coding.apply(samples)
    codes = torch.from_numpy(coded.inputs.astype(np.float32))
    optimiser = torch.optim.SGD(model.parameters(), 0.02)
    model.train()
    for _ in range(3):
        loss = functional.cross_entropy(model(codes, coded.timed), torch.tensor(samples.labels))
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.weight)
        optimiser.step()
    model.eval()
    after = integers(model, samples)
    assert not np.array_equal(before, after)
    assert np.array_equal(after, outputs(model.network(), samples))


def test_a_model_restored_from_its_state_is_the_same_network() -> None:
    model, _ = quantised("branches")
    other = QuantModel(model.skeleton, model.quantisation)
    other.restore(model.state())
    assert other.network().digest == model.network().digest


def test_quantised_outputs_are_near_the_real_ones() -> None:
    module = seeded(CNNS["shortcut"]).eval()
    samples = images(200)
    skeleton = skeleton_of(module, samples, coding=DIRECT)
    model = QuantModel(skeleton, Quantisation(percentile=100.0))
    model.calibrate(samples)
    codes = torch.from_numpy(samples.inputs.astype(np.float32))
    with torch.no_grad():
        real, found = module(codes / 255), model.eval()(codes)
    error = (found - real).std() / real.std()
    assert float(error) < 0.05


def test_sums_too_large_for_float32_are_still_exact() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4096, 3)
            self.fc.weight.data = torch.rand(3, 4096) * 0.5 + 0.5  # one sign: the worst case

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.flatten(1))

    draw = np.random.default_rng(0)
    raw = Samples(
        "w", "test", draw.integers(200, 256, (8, 4096)).astype(np.uint8), np.zeros(8, int)
    )
    skeleton = skeleton_of(seeded(Wide), raw, coding=DIRECT)
    model = QuantModel(skeleton, DEFAULT).eval()
    found = integers(model, raw)
    assert found.min() > 1 << 24
    assert np.array_equal(found, outputs(model.network(), raw))


def test_the_gradient_of_a_layer_is_that_of_its_real_counterpart() -> None:
    """One linear layer in the range of its codes: the loss changes as in real numbers."""
    module = seeded(lambda: Plain(nn.AvgPool2d(2), nn.Identity()))
    skeleton = skeleton_of(module, images(), coding=DIRECT)
    model = QuantModel(skeleton, Quantisation(percentile=100.0))
    model.calibrate(images())
    codes = torch.from_numpy(images().inputs.astype(np.float32))
    model.eval()(codes)[:, 2].mean().backward()
    module.eval()(codes / 255)[:, 2].mean().backward()
    found, wanted = model.weight[0].grad, module.head.weight.grad  # type: ignore[union-attr]
    assert found is not None
    torch.testing.assert_close(found[2], wanted[2], rtol=0.02, atol=1e-3)  # type: ignore[index]


# ----------------------------------------------------------------------------------- scales


def test_thresholds_are_whole_numbers_of_units_of_the_sum() -> None:
    model, _ = quantised("time loop")
    numbers = model.numbers()
    for name, before in (("lif1", "fc1"), ("lif2", "fc2")):
        threshold = float(numbers[name].threshold * numbers[before].scale)
        assert threshold == pytest.approx(0.3, rel=1e-6)  # float32 of 0.3 is the module's own
    network = model.network()
    lif = network["lif1"]
    assert isinstance(lif, Lif)
    # Share 0.9 in 8 fraction bits: 230 / 256.
    assert lif.leak == Leak("multiply", 8, 230)
    assert lif.format == NumberFormat(24)


def test_neurons_on_coarse_values_get_a_finer_unit_and_fire_as_in_real_numbers() -> None:
    model, samples = quantised("spikes into neurons")
    network, numbers = model.network(), model.numbers()
    for name in ("lif1", "lif2"):
        layer = network[name]
        assert isinstance(layer, Lif)
        assert layer.inputs == (Edge(f"{name}.current"),)
        assert 256 <= int(layer.threshold) < 2**15
    # A count of four spikes is 1.0, and its unit makes 0.35 a whole number but for rounding.
    unit = numbers["lif2.current"].scale
    assert float(numbers["lif2"].threshold) * unit == pytest.approx(0.35, rel=1 / 512)
    spikes, _ = real_inputs(samples, RATE)
    module = seeded(SpikesIntoNeurons).eval()
    with torch.no_grad():
        wanted = module(spikes.transpose(0, 1)).numpy()
    assert (np.abs(integers(model, samples) - wanted) <= 1).mean() > 0.95


@pytest.mark.parametrize(
    ("beta", "wanted"),
    [
        (1.0, Leak()),
        (0.5, Leak("shift", 1)),
        (0.9375, Leak("shift", 4)),
        (0.0, Leak("shift", 0)),
        (0.75, Leak("shift", 2)),
        (0.8, Leak("multiply", 8, 205)),
    ],
)
def test_a_leak_that_loses_a_power_of_two_is_a_shift(beta: float, wanted: Leak) -> None:
    network = lower(seeded(lambda: Looped("index", beta=beta)), images(), coding=RATE)
    lif = network["lif1"]
    assert isinstance(lif, Lif)
    assert lif.leak == wanted


@pytest.mark.parametrize(
    ("bits", "headroom", "top"), [(8, 0, 127), (8, 1, 63), (5, 0, 15), (2, 0, 1)]
)
def test_the_largest_weight_is_the_largest_code_less_the_headroom(
    bits: int, headroom: int, top: int
) -> None:
    quantisation = Quantisation(weight_bits=bits, weight_headroom_bits=headroom)
    network = lower(seeded(CNNS["shortcut"]), images(), coding=DIRECT, quantisation=quantisation)
    for name in ("first", "second", "head"):
        layer = network[name]
        assert isinstance(layer, Conv2d | Linear)
        assert np.abs(layer.weight).max() == top
        assert layer.weight_format == NumberFormat(bits)
        if name != "head":  # each channel fills the range, but logits share one scale
            assert np.abs(layer.weight.reshape(len(layer.weight), -1)).max(1).tolist() == [
                top
            ] * len(layer.weight)


def test_a_percentage_of_activations_sets_the_top_code() -> None:
    module = seeded(lambda: Plain(nn.Conv2d(2, 1, 1, bias=False), nn.ReLU()))
    module.layers[0].weight.data = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)  # type: ignore[union-attr,index]
    inputs = np.zeros((10, 2, 8, 8), np.uint8)
    inputs[:, 0] = np.arange(640).reshape(10, 8, 8) % 200
    samples = Samples("ramp", "calibration", inputs, np.zeros(10, int))
    skeleton = skeleton_of(module, samples, coding=DIRECT)
    in_order = np.sort(inputs[:, 0].reshape(-1)) / 255
    for percentile, rank in ((100.0, 639), (75.0, 479), (51.0, 326)):  # 640 · 0.51 = 326.4
        model = QuantModel(skeleton, Quantisation(percentile=percentile))
        model.calibrate(samples)
        assert float(model.ranges[0]) == pytest.approx(in_order[rank], rel=1e-6)


def test_relu6_and_clips_bound_the_range() -> None:
    module = seeded(lambda: Plain(nn.Conv2d(2, 3, 3), nn.Hardtanh(-0.5, 0.125)))
    network = lower(module, images(), coding=DIRECT, quantisation=Quantisation(percentile=100.0))
    conv = network["layers.0"]
    assert isinstance(conv, Conv2d)
    assert conv.requantise is not None
    # The wider end fills 127 codes: -0.5 is -127, 0.125 is 32.
    assert (conv.requantise.low, conv.requantise.high) == (-127, 32)


def test_ranges_follow_batches_in_training_and_rest_in_evaluation() -> None:
    model, samples = quantised("shortcut")
    codes = torch.from_numpy(samples.inputs.astype(np.float32))
    before = model.ranges.clone()
    model.eval()(codes * 0)
    assert torch.equal(before, model.ranges)
    model.train()(codes * 0)
    assert bool((model.ranges != before).all())


def test_roles_say_which_layers_keep_their_sums() -> None:
    model, _ = quantised("spiking residual")
    rules = {name: role.rule for name, role in model.roles.items()}
    assert {rules[name] for name in ("a", "b", "c", "head")} == {"sum"}
    assert rules["lif1"] == "pass"
    model, _ = quantised("pre-activation")
    rules = {name: role.rule for name, role in model.roles.items()}
    assert rules["head"] == "sum"
    assert rules["conv"] == "codes"
    assert rules["pool"] == "average"
    spiking = skeleton_of(seeded(hidden_states), images(), coding=RATE, steps=6)
    # Four spikes at most: a window's count is a code as it is.
    assert roles(spiking, DEFAULT)["2"].rule == "whole"
    assert roles(spiking, DEFAULT)["2"].high == 4


def test_joined_inputs_are_brought_to_one_scale() -> None:
    model, _ = quantised("branches")
    numbers, network = model.numbers(), model.network()
    joined = next(x for x in network if isinstance(x, Concat))
    for edge, q in zip(joined.inputs, joined.requantise, strict=True):
        ratio = numbers[edge.source].scale / numbers[joined.name].scale
        found = 1.0 if q is None else float(q.multiplier) / 2**q.shift
        assert found == pytest.approx(ratio, rel=1e-4)
    add = next(x for x in quantised("shortcut")[0].network() if isinstance(x, Add))
    assert max(add.multipliers) >= 2**14
    pool = next(x for x in quantised("shortcut")[0].network() if isinstance(x, AvgPool2d))
    assert pool.requantise is not None
    assert float(pool.requantise.multiplier) / 2**pool.requantise.shift == 1 / 16


# ----------------------------------------------------------------------------------- refusals


def refused(
    module: nn.Module, coding: InputCoding, message: str, quantisation: Quantisation = DEFAULT
) -> None:
    steps = 6 if isinstance(module, nn.Sequential) else None
    with pytest.raises(LoweringError, match=message):
        lower(module, images(), coding=coding, steps=steps, quantisation=quantisation)


def test_numbers_that_fit_no_place_are_refused_by_layer() -> None:
    module = seeded(lambda: Plain(nn.Conv2d(2, 3, 1), nn.ReLU()))
    refused(module, DIRECT, "no code but 0", Quantisation(weight_bits=2, weight_headroom_bits=1))
    module.head.weight.data *= 1e-12  # type: ignore[union-attr,operator]
    refused(module, DIRECT, r"layer 'head': a bias of .* does not fit 32 bits")
    module = seeded(lambda: Plain(nn.Conv2d(2, 3, 1), nn.ReLU()))
    module.layers[0].weight.data[0, 0] = float("nan")  # type: ignore[union-attr,index]
    refused(module, DIRECT, "do not compute|are all weights finite")
    module = seeded(lambda: Plain(nn.Conv2d(2, 3, 1), nn.ReLU6()))
    module.layers[0].weight.data *= 1e9  # type: ignore[union-attr,index]
    refused(module, DIRECT, r"layer 'layers.0': a requantisation by .* beyond a 15-bit multiplier")


def test_thresholds_beyond_the_membrane_are_refused() -> None:
    message = r"'lif1': a threshold of .* what a membrane of 6 bits holds; change membrane_bits"
    refused(seeded(lambda: Looped("index")), RATE, message, Quantisation(membrane_bits=6))
    huge = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 5), leaky(init_hidden=True)))
    huge[1].weight.data *= 1e4  # type: ignore[index]
    refused(huge, RATE, r"layer '2': a threshold of 0 units of the sum; expected 1 to")


def test_currents_that_no_integer_brings_together_are_refused() -> None:
    tiny = seeded(SpikingResidual)
    tiny.c.weight.data *= 1e-6  # type: ignore[union-attr,operator]
    refused(tiny, RATE, "adds values whose scales differ .* times")


def test_every_step_of_every_layer_agrees_not_only_the_outputs() -> None:
    """The spikes of hidden neurons too, step by step, on a recurrent network."""
    model, samples = quantised("recurrent")
    coded = RATE.apply(samples)
    values = model.values(torch.from_numpy(coded.inputs.astype(np.float32)), timed=True)
    steps = every_value(model.network(), samples)
    for name in ("lif1", "back", "lif2"):
        assert np.array_equal(values[name], np.stack([step[name] for step in steps]))
