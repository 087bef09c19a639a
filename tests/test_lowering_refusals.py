"""What lowering refuses: by layer, with the reason and what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import snntorch
import torch
from sample_modules import RATE, Looped, Recurrent, hidden_states, images, leaky, seeded
from torch import Tensor, nn
from torch.nn import functional

from codesign.errors import LoweringError
from codesign.learning.coding import coding_for, direct_coding
from codesign.learning.lowering import lower

torch.set_num_threads(1)
DIRECT = direct_coding(255.0)


class Applied(nn.Module):
    """Something applied to the output of a convolution."""

    def __init__(self, apply: Callable[[Tensor], Tensor] | nn.Module, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, **options)
        self.act = apply

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x)).flatten(1)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "unknown layer": (lambda: Applied(nn.GELU()), r"'act' \(GELU\).*nn.ReLU"),
    "unknown function": (lambda: Applied(torch.sigmoid), r"'sigmoid' in the module.*nn.ReLU"),
    "layer norm": (lambda: Applied(nn.GroupNorm(1, 3)), r"'act' \(GroupNorm\).*BatchNorm2d"),
    "factor": (lambda: Applied(lambda x: x * 2), r"'mul'.*fold the factor into the weights"),
    "noise": (lambda: Applied(lambda x: x + torch.rand_like(x)), r"'rand_like'.*input coding"),
    "dilation": (lambda: Applied(nn.ReLU(), dilation=2), r"'conv' \(Conv2d\): dilation \(2, 2\)"),
    "padding mode": (
        lambda: Applied(nn.ReLU(), padding=1, padding_mode="reflect"),
        r"'conv' \(Conv2d\).*'reflect'; use 1, 'zeros'",
    ),
    "constant": (lambda: Applied(lambda x: x + 1), r"'add'.*put it into the bias"),
    "broadcast": (lambda: Applied(lambda x: x + x[:, :1]), r"'add'.*expected equal shapes"),
    "softmax inside": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Softmax(1), nn.Flatten()),
        r"'1' \(Softmax\): only at the very end",
    ),
    "batch axis": (lambda: Applied(lambda x: x[:1]), r"'__getitem__'.*among the samples"),
    "fancy index": (
        lambda: Applied(lambda x: x[:, [0, 2]]),
        r"'__getitem__'.*something else than numbers and slices",
    ),
    "unequal windows": (lambda: Applied(nn.AdaptiveAvgPool2d(4)), r"6 x 6 pixels into 4 x 4"),
    "pooling with dilation": (
        lambda: Applied(nn.MaxPool2d(2, dilation=2)),
        r"'act' \(MaxPool2d\): with dilation",
    ),
    "pooling divided otherwise": (
        lambda: Applied(nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        r"'act' \(AvgPool2d\): every window is divided by its size",
    ),
    "mean of channels": (lambda: Applied(lambda x: x.mean(1)), r"'mean'.*expected \(2, 3\)"),
    "clip away from zero": (lambda: Applied(lambda x: x.clamp(1, 2)), r"'clamp'.*holds 0"),
    "padding with ones": (
        lambda: Applied(lambda x: functional.pad(x, (1, 1), value=1.0)),
        r"'pad'.*use zeros",
    ),
    "padding the batch": (
        lambda: Applied(lambda x: functional.pad(x, (0, 0, 0, 0, 0, 0, 1, 1))),
        r"'pad'.*around each sample",
    ),
    "joined along rows": (lambda: Applied(lambda x: torch.cat([x, x], 2)), r"'cat'.*expected 1"),
    "joined with a constant": (
        lambda: Applied(lambda x: torch.cat([x, torch.ones(len(x), 1, 6, 6)], 1)),
        r"'cat'.*constant",
    ),
    "samples on another axis": (
        lambda: Applied(lambda x: x.permute(1, 0, 2, 3).reshape(len(x), -1)),
        r"'permute' in the module",
    ),
    "samples flattened away": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(0)),
        r"batch size|keep samples on axis 0",
    ),
    "no statistics": (
        lambda: Applied(nn.BatchNorm2d(3, track_running_stats=False)),
        r"'act' \(BatchNorm2d\).*track_running_stats",
    ),
    "norm of a vector": (
        lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(128), nn.Linear(128, 5)),
        r"'1' \(BatchNorm1d\): put it directly behind the linear layer",
    ),
    "wrong input": (lambda: nn.Linear(7, 5), r"Linear cannot read inputs of shape \(2, 2, 8, 8\)"),
}
REFUSED_NEURONS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "other neuron": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(128, 5), snntorch.Synaptic(0.9, 0.8, init_hidden=True)
        ),
        r"'2' \(Synaptic\).*Leaky",
    ),
    "inhibition": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(128, 5), leaky(init_hidden=True, inhibition=True)
        ),
        r"'2' \(Leaky\): inhibition",
    ),
    "quantised state": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(128, 5), leaky(init_hidden=True, state_quant=torch.round)
        ),
        r"'2' \(Leaky\): state_quant",
    ),
    "thresholds along the width": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), leaky(init_hidden=True, threshold=torch.ones(6)), nn.Flatten()
        ),
        r"thresholds of shape \(6,\)",
    ),
    "negative threshold": (
        lambda: nn.Sequential(nn.Flatten(), leaky(init_hidden=True, threshold=-1.0)),
        r"not above zero",
    ),
    "many betas": (
        lambda: nn.Sequential(
            nn.Flatten(),
            nn.Linear(128, 5),
            leaky(init_hidden=True, beta=torch.linspace(0.1, 0.9, 5)),
        ),
        r"one beta for each neuron; expected one for the whole layer",
    ),
    "stochastic spikes": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(128, 5), leaky(init_hidden=True, spike_grad=torch.sigmoid)
        ),
        r"spike_grad is not 1 above",
    ),
    "graded spikes": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(128, 5), leaky(init_hidden=True, graded_spikes_factor=-1.0)
        ),
        r"graded_spikes_factor",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_lowered_is_refused_by_layer_with_advice(name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises(LoweringError, match=message):
        lower(build(), images(), coding=DIRECT)


@pytest.mark.parametrize("name", REFUSED_NEURONS)
def test_neurons_that_cannot_be_lowered_are_refused_by_layer(name: str) -> None:
    build, message = REFUSED_NEURONS[name]
    with pytest.raises(LoweringError, match=message):
        lower(seeded(build), images(), coding=DIRECT, steps=3)


def test_there_is_something_to_refuse() -> None:
    assert len(REFUSED) > 20
    assert len(REFUSED_NEURONS) > 6


class Written(Looped):
    """A time loop with one thing wrong in it."""

    def forward(self, x: Tensor) -> Any:
        v1, v2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        out = []
        for t in range(x.size(0)):
            now = x[0 if self.style == "first step" else t].flatten(1)
            current = self.fc1(now)
            if self.style == "changing" and t % 2:
                current = functional.relu(current)
            s1, v1 = self.lif1(current, v1)
            if self.style == "leaking":
                v1 = v1 * 0.5
            if self.style == "kicked" and t == 0:
                v1 = torch.ones_like(v1)
            s2, v2 = self.lif2(self.fc2(s1), v2)
            if self.style == "seldom" and t == 0:
                self.lif1(current, v1)
            out.append(s2)
        if self.style == "last":
            return out[-1]
        if self.style == "bent":
            return torch.stack(out).sigmoid()
        if self.style == "membranes":
            return None, 3.0
        return torch.stack(out)


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("first step", r"'fc1'|'flatten'.*reads step 0 of the input in step"),
        ("changing", r"differ from step to step"),
        ("leaking", r"'lif1' \(Leaky\): its membrane is not its own"),
        ("kicked", r"'lif1' \(Leaky\) reads something else in step 1"),
        ("seldom", r"called 7 times.*called 6 times|called 6 times.*7 times"),
        ("last", r"not the sum \(or stack, or mean\)"),
        ("bent", r"'sigmoid' in the module comes behind the time loop"),
        ("membranes", r"returns no tensor"),
    ],
)
def test_a_time_loop_that_is_none_is_refused_with_its_reason(style: str, message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        lower(seeded(lambda: Written(style)), images(), coding=RATE)


def test_a_forward_that_looks_at_the_data_is_refused() -> None:
    def look(x: Tensor) -> Tensor:
        return functional.relu(x) if len(x) == 2 else x

    with pytest.raises(LoweringError, match="depends on the data or on the batch size"):
        lower(Applied(look), images(), coding=DIRECT)


def test_a_value_read_out_of_the_data_is_found_by_comparison() -> None:
    def shift(x: Tensor) -> Tensor:
        y = x.clone()
        y[:, 0] = 5.0  # writes through a view, which no call gives back
        return functional.relu(y)

    with pytest.raises(LoweringError, match="do not compute what the module does"):
        lower(Applied(shift), images(), coding=DIRECT)


def test_a_recurrent_layer_that_feeds_two_is_refused() -> None:
    class Twice(Recurrent):
        def forward(self, x: Tensor) -> Tensor:
            v1 = v2 = None
            s1 = torch.zeros(x.shape[1], 12)
            out = []
            for now in x:
                back = self.back(s1)
                s1, v1 = self.lif1(self.fc1(now.flatten(1)) + back, v1)
                s2, v2 = self.lif2(self.fc2(s1 + back), v2)
                out.append(s2)
            return torch.stack(out)

    with pytest.raises(LoweringError, match="'back' reads an earlier time step"):
        lower(seeded(Twice), images(), coding=RATE)


def test_too_few_examples_or_steps_are_refused() -> None:
    module = seeded(hidden_states)
    with pytest.raises(LoweringError, match="4 example samples; lowering takes 5"):
        lower(module, images(4), coding=DIRECT, steps=2)
    with pytest.raises(LoweringError, match="the input has 6 time steps, the module 4"):
        lower(module, images(), coding=RATE, steps=4)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"input_coding": "phase"}, "expected direct, rate or latency"),
        ({"input_coding": "rate"}, "needs an int attribute `steps`, came None"),
        ({"input_coding": "rate", "steps": 3, "input_mean": (0.5,)}, "takes no input_mean"),
    ],
)
def test_a_wish_that_no_coding_fulfils_is_refused(attributes: dict[str, Any], message: str) -> None:
    module = nn.Linear(1, 1)
    for name, value in attributes.items():
        setattr(module, name, value)
    with pytest.raises(LoweringError, match=message):
        coding_for(module, 255.0)
