"""Spiking networks of snntorch's leaky neurons."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ConvLif", "FcLif"]

Coding = Literal["direct", "rate", "latency"]
Reset = Literal["subtract", "zero"]


class FcLif(nn.Module):
    """Fully connected layers, each followed by leaky neurons, over a number of time steps.

    Supervised: trained through time with a surrogate gradient.

    Args:
        hidden: Neurons of each hidden layer.
        inputs: Length of the flattened input.
        classes: Output neurons.
        steps: Time steps.
        beta: Share of the membrane that is left after one step.
        threshold: Of every neuron.
        reset: What a spike does to the membrane.
        coding: How samples become inputs.
    """

    def __init__(
        self,
        hidden: tuple[int, ...] = (64,),
        inputs: int = 64,
        classes: int = 10,
        steps: int = 10,
        beta: float = 0.9,
        threshold: float = 1.0,
        reset: Reset = "subtract",
        coding: Coding = "direct",
    ) -> None:
        super().__init__()
        self.steps, self.input_coding = steps, coding
        sizes = (inputs, *hidden, classes)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.neurons = nn.ModuleList(_neuron(beta, threshold, reset) for _ in sizes[1:])
        snntorch.SpikingNeuron.instances.clear()  # it keeps every neuron ever made

    def forward(self, x: Tensor) -> Tensor:
        """Spike counts ``[batch, classes]`` of ``[batch, ...]``, or of timed spikes."""
        membranes = [_start(neuron) for neuron in self.neurons]
        spikes = []
        for step in range(self.steps):
            out = (x if self.input_coding == "direct" else x[:, step]).flatten(1)
            for i, (layer, neuron) in enumerate(zip(self.layers, self.neurons, strict=True)):
                out, membranes[i] = neuron(layer(out), membranes[i])
            spikes.append(out)
        return torch.stack(spikes).sum(0)


class ConvLif(nn.Module):
    """Convolutions and one linear layer, each followed by leaky neurons, over time steps.

    Args:
        channels: Output channels of each convolution (kernel x kernel, 2 x 2 max pooling of spikes).
        kernel: Height and width of the convolutions.
        size: Height and width of the square input.
        input_channels: Of the input.
        classes: Output neurons.
        steps: Time steps.
        beta: Share of the membrane that is left after one step.
        threshold: Of every neuron.
        reset: What a spike does to the membrane.
        coding: How samples become inputs.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (12, 32),
        kernel: int = 5,
        size: int = 28,
        input_channels: int = 1,
        classes: int = 10,
        steps: int = 10,
        beta: float = 0.9,
        threshold: float = 1.0,
        reset: Reset = "subtract",
        coding: Coding = "direct",
    ) -> None:
        super().__init__()
        self.steps, self.input_coding = steps, coding
        pairs = pairwise((input_channels, *channels))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, kernel) for a, b in pairs)
        for _ in channels:
            size = (size - kernel + 1) // 2
        self.classifier = nn.Linear(channels[-1] * size * size, classes)
        count = len(channels) + 1
        self.neurons = nn.ModuleList(_neuron(beta, threshold, reset) for _ in range(count))
        snntorch.SpikingNeuron.instances.clear()

    def forward(self, x: Tensor) -> Tensor:
        """Spike counts ``[batch, classes]`` of images, or ``[batch, steps, ...]`` spikes."""
        membranes = [_start(neuron) for neuron in self.neurons]
        spikes = []
        for step in range(self.steps):
            out = x if self.input_coding == "direct" else x[:, step]
            for i, convolution in enumerate(self.convolutions):
                out, membranes[i] = self.neurons[i](convolution(out), membranes[i])
                out = functional.max_pool2d(out, 2)
            current = self.classifier(out.flatten(1))
            out, membranes[-1] = self.neurons[-1](current, membranes[-1])
            spikes.append(out)
        return torch.stack(spikes).sum(0)


def _neuron(beta: float, threshold: float, reset: Reset) -> snntorch.Leaky:
    return snntorch.Leaky(
        beta=beta,
        threshold=threshold,
        reset_mechanism=reset,
        spike_grad=surrogate.fast_sigmoid(slope=25),
    )


def _start(neuron: nn.Module) -> Tensor:
    """The membrane before the first step."""
    membrane: Tensor = neuron.init_leaky()  # type: ignore[operator]
    return membrane
