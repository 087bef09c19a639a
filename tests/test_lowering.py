"""Lowering: what a module computes is what the lowered network computes, or it says why not."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from integer_network import every_value
from sample_modules import (
    CNNS,
    RATE,
    STEPS,
    Branches,
    Looped,
    Plain,
    Recurrent,
    Shortcut,
    SpikingResidual,
    hidden_states,
    images,
    leaky,
    seeded,
)
from torch import Tensor, nn

from codesign.errors import LoweringError
from codesign.formats import NumberFormat
from codesign.learning.coding import coding_for, direct_coding
from codesign.learning.lowering import lower, skeleton_of
from codesign.learning.running import RealArithmetic, execute
from codesign.learning.tracing import forget_neurons, record
from codesign.network import (
    AvgPool2d,
    Conv2d,
    Edge,
    Input,
    Layer,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
    Pad,
    Slice,
)
from codesign.samples import InputCoding, Samples

torch.set_num_threads(1)
DIRECT = direct_coding(255.0)
LOOPS = [
    "index",
    "ellipsis",
    "iterate",
    "unbind",
    "direct",
    "hoisted",
    "count",
    "list",
    "mean",
    "sum of a list",
]


def kinds(network: NetworkGraph) -> dict[str, str]:
    return {layer.name: type(layer).__name__ for layer in network}


def layer_of(network: NetworkGraph, kind: type[Layer]) -> Any:
    (found,) = [layer for layer in network if isinstance(layer, kind)]
    return found


# ------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("name", CNNS)
def test_the_layers_in_real_numbers_give_what_the_module_gives(name: str) -> None:
    module = seeded(CNNS[name]).eval()
    skeleton = skeleton_of(module, images(), coding=DIRECT)
    x = torch.rand(16, 2, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        wanted = module(x)
        found, _ = execute(skeleton.graph, RealArithmetic(skeleton), x, timed=False)[
            skeleton.graph.layers[-1].name
        ]
    if name == "branches":
        found = found.log_softmax(1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_batch_norm_and_relu_leave_no_layer_of_their_own_behind_a_convolution() -> None:
    module = seeded(lambda: Plain(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    network = lower(module, images(), coding=DIRECT)
    assert kinds(network) == {
        "input": "Input",
        "layers.0": "Conv2d",
        "flatten": "Flatten",
        "head": "Linear",
    }
    conv = network["layers.0"]
    assert isinstance(conv, Conv2d)
    assert conv.requantise is not None
    assert (conv.requantise.low, conv.requantise.high) == (0, 255)


def test_an_option_a_shortcut_is_a_slice_and_a_pad() -> None:
    network = lower(seeded(Shortcut), images(), coding=DIRECT)
    cut, pad = layer_of(network, Slice), layer_of(network, Pad)
    assert cut.slices == ((0, 4, 1), (0, 8, 2), (0, 8, 2))
    assert pad.widths == ((2, 2), (0, 0), (0, 0))
    assert network["add"].inputs == (Edge("second"), Edge(pad.name))
    pool = layer_of(network, AvgPool2d)
    assert pool.kernel == (4, 4)


def test_geometry_is_taken_over_number_by_number() -> None:
    network = lower(seeded(CNNS["stride, padding, groups"]), images(), coding=DIRECT)
    conv = layer_of(network, Conv2d)
    assert (conv.stride, conv.padding, conv.groups) == ((2, 1), (1, 1, 2, 2), 2)
    assert conv.weight.shape == (4, 1, 3, 5)
    network = lower(seeded(Branches), images(), coding=DIRECT)
    same = network["b"]
    assert isinstance(same, Conv2d)
    assert same.padding == (1, 1, 1, 1)


def test_a_pooling_that_hangs_over_the_edge_is_padded_there() -> None:
    network = lower(seeded(CNNS["late"]), images(), coding=DIRECT)
    pools = [x for x in network if isinstance(x, MaxPool2d)]
    # 6 pixels, kernel 3, stride 2, padding 1: the ceiling is 4, whose last window needs 2 more.
    assert pools[0].padding == (1, 2, 1, 2)
    assert network.shapes[pools[0].name] == (4, 4, 4)


# ---------------------------------------------------------------------------------------- time


@pytest.mark.parametrize("style", LOOPS)
def test_a_time_loop_is_folded_however_it_is_written(style: str) -> None:
    coding = DIRECT if style in ("direct", "hoisted") else RATE
    network = lower(seeded(lambda: Looped(style)), images(), coding=coding)
    assert network.steps == STEPS
    assert kinds(network) == {
        "input": "Input",
        "flatten": "Flatten",
        "fc1": "Linear",
        "lif1": "Lif",
        "fc2": "Linear",
        "lif2": "Lif",
    }
    assert all(edge.delay_steps == 0 for layer in network for edge in layer.inputs)


def test_a_module_of_one_step_is_called_as_often_as_there_are_steps() -> None:
    network = lower(seeded(hidden_states), images(), coding=DIRECT, steps=4)
    assert network.steps == 4
    assert [kind for kind in kinds(network).values() if kind == "Lif"] == ["Lif", "Lif"]


def test_one_step_of_a_spiking_network_needs_no_loop() -> None:
    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(128, 5), leaky()

        def forward(self, x: Tensor) -> Tensor:
            spikes, _ = self.lif(self.fc(x.flatten(1)), torch.zeros(len(x), 5))
            return torch.stack([spikes]).sum(0)

    network = lower(seeded(Once), images(), coding=DIRECT)
    assert (network.steps, network.layers[-1].name) == (1, "lif")


def test_spikes_that_come_back_are_a_delayed_edge() -> None:
    module = seeded(Recurrent)
    skeleton = skeleton_of(module, images(), coding=RATE)
    network = lower(module, images(), coding=RATE)
    assert network["lif1"].inputs == (Edge("fc1"), Edge("back", 1))
    assert network["back"].inputs == (Edge("lif1"),)
    # Before the first step the edge carries nothing, so the bias must have moved.
    assert not skeleton.weights["back"].bias.any()
    assert isinstance(module, Recurrent)
    moved = module.fc1.bias + module.back.bias
    torch.testing.assert_close(skeleton.weights["fc1"].bias, moved.detach())


def test_neurons_add_currents_of_layers_up_themselves_with_one_scale() -> None:
    network = lower(seeded(SpikingResidual), images(), coding=RATE)
    assert network["lif1"].inputs == (Edge("a"), Edge("b"))
    # Spikes beside a current have another scale, and an addition with integer multipliers.
    add = network["add_2"] if "add_2" in kinds(network) else network["add"]
    assert isinstance(network["lif2"], Lif)
    assert add.inputs == (Edge("c"), Edge("lif1"))


# ------------------------------------------------------------------------------------- neurons


class Neurons(nn.Module):
    """Dyadic weights, so that seven halvings of a membrane lose no bit in either arithmetic."""

    def __init__(self, reset: str, delay: bool) -> None:
        super().__init__()
        codes = torch.tensor([*range(-120, 121, 8), 127.0])  # the last sets the scale to 1/128
        self.fc = nn.Linear(4, len(codes), bias=False)
        self.fc.weight.data = (codes / 128).reshape(-1, 1).repeat(1, 4)
        self.lif = snntorch.Leaky(beta=0.5, threshold=1.0, reset_mechanism=reset, reset_delay=delay)

    def forward(self, x: Tensor) -> Tensor:
        v = self.lif.reset_mem()
        out = []
        for now in x:
            s, v = self.lif(self.fc(now), v)
            out.append(s)
        return torch.stack(out)


def currents(active: int) -> Samples:
    """Timed input codes, multiples of 16 that stand for quarters, at so many of four inputs."""
    draw = np.random.default_rng(4)
    codes = 16 * draw.integers(0, 4, (32, 7, 4)) * (np.arange(4) < active)
    return Samples("currents", "test", codes.astype(np.uint8), np.zeros(32, np.int64), timed=True)


QUARTERS = InputCoding("direct", NumberFormat(8, signed=False), scale=1 / 64)


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_an_integer_neuron_fires_exactly_when_snntorchs_does(reset: str, delay: bool) -> None:
    module = Neurons(reset, delay)
    # With one input no membrane reaches twice the threshold; see the test below for what if.
    samples = currents(1 if (reset, delay) == ("subtract", False) else 4)
    network = lower(module, samples, coding=QUARTERS)
    found = np.stack([step["lif"] for step in every_value(network, samples)])
    reals = torch.from_numpy(samples.inputs.astype(np.float32)) / 64
    wanted = module(reals.transpose(0, 1)).detach().numpy()
    assert 0.005 < wanted.mean() < 0.6
    assert np.array_equal(found[..., :-1], wanted[..., :-1])
    assert layer_of(network, Lif).order == {
        ("subtract", True): ("leak", "integrate", "reset", "fire"),
        ("zero", True): ("reset", "leak", "integrate", "fire"),
    }.get((reset, delay), ("leak", "integrate", "fire", "reset"))


def test_where_snntorch_subtracts_before_it_compares_is_found_and_said() -> None:
    with pytest.raises(LoweringError, match=r"lif: with reset_delay=False .* use reset_mechanism"):
        lower(Neurons("subtract", False), currents(4), coding=QUARTERS)


# ------------------------------------------------------------------------------- side effects


def test_lowering_leaves_the_module_as_it_was() -> None:
    module = seeded(Shortcut).train()
    module.norm.eval()  # type: ignore[union-attr]
    before = {name: values.clone() for name, values in module.state_dict().items()}
    lower(module, images(), coding=DIRECT)
    assert module.training
    assert not module.norm.training  # type: ignore[union-attr]
    assert all(torch.equal(before[name], v) for name, v in module.state_dict().items())
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in module.modules())


def test_lowering_clears_this_networks_membranes_and_no_others() -> None:
    other = leaky(init_hidden=True)
    other(torch.full((1, 3), 0.2))
    module = seeded(hidden_states)
    module(torch.rand(2, 2, 8, 8))
    lower(module, images(), coding=DIRECT, steps=3)
    assert other.mem.tolist() == [[pytest.approx(0.2)] * 3]
    assert not module[1].mem.any()  # type: ignore[index]


def test_forgotten_neurons_can_be_freed() -> None:
    kept = leaky()
    module = Looped()
    forget_neurons(module)
    assert any(neuron is kept for neuron in snntorch.SpikingNeuron.instances)
    gone = weakref.ref(module.lif1)
    del module
    gc.collect()
    assert gone() is None


def test_a_record_names_calls_by_where_they_were_made() -> None:
    recording = record(seeded(Shortcut), [torch.zeros(2, 2, 8, 8)])
    names = [(call.where, call.name) for call in recording.calls]
    assert names[:3] == [("first", "Conv2d"), ("norm", "BatchNorm2d"), ("", "relu")]
    assert names[-1] == ("head", "Linear")


# --------------------------------------------------------------------------------------- coding


def test_a_module_says_how_its_input_is_coded() -> None:
    class Wishes(nn.Module):
        input_coding = "latency"
        steps = 7

    class Normalised(nn.Module):
        input_mean = (0.5, 0.25)
        input_std = (0.5, 0.5)

    coding = coding_for(Wishes(), 16.0)
    assert (coding.kind, coding.steps, coding.full_scale, coding.format.bits) == (
        "latency",
        7,
        16,
        1,
    )
    coding = coding_for(Normalised(), 255.0)
    # (1 - 0.25) / 0.5 = 1.5 is the largest size, and code 127.
    assert (coding.kind, coding.format.signed) == ("direct", True)
    assert coding.scale == pytest.approx(1.5 / 127)
    assert coding_for(nn.Linear(1, 1), 255.0) == DIRECT


def test_direct_codes_of_bytes_are_the_bytes() -> None:
    raw = images()
    assert np.array_equal(DIRECT.apply(raw).inputs, raw.inputs)


def test_the_input_layer_has_the_codings_format() -> None:
    network = lower(seeded(lambda: Looped("index")), images(), coding=RATE)
    first = network.layers[0]
    assert isinstance(first, Input)
    assert first.shape == (2, 8, 8)
    assert first.format == RATE.format
    assert isinstance(network["fc1"], Linear)
