"""Spiking networks: plain snntorch modules, their time loop as anybody would write it."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional

from codesign.learning.tracing import forget_neurons

__all__ = ["ConvLif", "FcLif"]

Coding = Literal["direct", "rate", "latency"]
Reset = Literal["subtract", "zero", "none"]


class FcLif(nn.Module):
    """Fully connected layers of leaky integrate-and-fire neurons; the output counts spikes.

    Args:
        inputs: Values of one sample.
        classes: Outputs.
        hidden: Neurons of each hidden layer.
        steps: Time steps.
        beta: Share of a membrane that is left after a step.
        threshold: A neuron fires above it.
        reset: What a neuron that fired loses: the threshold, everything, nothing.
        reset_delay: Whether it loses it in the step after, as snntorch does by default.
        coding: How samples become spikes; ``direct`` gives every step the values themselves.
        slope: Of the surrogate gradient (fast sigmoid).
        bias: Whether every layer adds a bias in every step; some chips cannot.
    """

    def __init__(
        self,
        inputs: int = 64,
        classes: int = 10,
        hidden: tuple[int, ...] = (64,),
        steps: int = 10,
        beta: float = 0.9,
        threshold: float = 1.0,
        reset: Reset = "subtract",
        reset_delay: bool = True,
        coding: Coding = "direct",
        slope: float = 5.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.steps, self.input_coding = steps, coding
        sizes = (inputs, *hidden, classes)
        self.fc = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairwise(sizes))
        self.lif = nn.ModuleList(
            snntorch.Leaky(
                beta=beta,
                threshold=threshold,
                reset_mechanism=reset,
                reset_delay=reset_delay,
                spike_grad=surrogate.fast_sigmoid(slope),
            )
            for _ in self.fc
        )
        forget_neurons(self)

    def forward(self, x: Tensor) -> Tensor:
        """Spike counts ``[samples, classes]``; the input is timed unless coded directly."""
        membranes = [lif.reset_mem() for lif in self.lif]  # type: ignore[operator]
        # Given directly, the input and so the first current is the same in every step.
        still = self.fc[0](x.flatten(1)) if self.input_coding == "direct" else None
        counts = []
        for t in range(self.steps):
            current = self.fc[0](x[t].flatten(1)) if still is None else still
            spikes, membranes[0] = self.lif[0](current, membranes[0])
            for i in range(1, len(self.fc)):
                spikes, membranes[i] = self.lif[i](self.fc[i](spikes), membranes[i])
            counts.append(spikes)
        return torch.stack(counts).sum(0)


class ConvLif(nn.Module):
    """Two convolutions with batch norm and a linear layer, each with leaky neurons behind.

    Args:
        classes: Outputs.
        input_channels: Channels of the images.
        image: Pixels along one side of the (square) images.
        channels: Of the two convolutions.
        kernel: Pixels along one side of their kernels, odd.
        pool: How currents are pooled by 2 before the neurons: their maximum or their mean.
        steps: Time steps.
        beta: Share of a membrane that is left after a step.
        threshold: A neuron fires above it.
        reset: What a neuron that fired loses: the threshold, everything, nothing.
        reset_delay: Whether it loses it in the step after, as snntorch does by default.
        coding: How samples become spikes; ``direct`` gives every step the values themselves.
        slope: Of the surrogate gradient (fast sigmoid).
    """

    def __init__(
        self,
        classes: int = 10,
        input_channels: int = 1,
        image: int = 8,
        channels: tuple[int, int] = (8, 16),
        kernel: int = 3,
        pool: Literal["max", "mean"] = "max",
        steps: int = 10,
        beta: float = 0.9,
        threshold: float = 1.0,
        reset: Reset = "subtract",
        reset_delay: bool = True,
        coding: Coding = "direct",
        slope: float = 5.0,
    ) -> None:
        super().__init__()
        self.steps, self.input_coding, self.pool = steps, coding, pool
        first, second = channels
        self.conv1 = nn.Conv2d(input_channels, first, kernel, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, kernel, padding=kernel // 2, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.linear = nn.Linear(second * (image // 4) ** 2, classes)
        self.lif1, self.lif2, self.lif3 = (
            snntorch.Leaky(
                beta=beta,
                threshold=threshold,
                reset_mechanism=reset,
                reset_delay=reset_delay,
                spike_grad=surrogate.fast_sigmoid(slope),
            )
            for _ in range(3)
        )
        forget_neurons(self)

    def forward(self, x: Tensor) -> Tensor:
        """Spike counts ``[samples, classes]``; the input is timed unless coded directly."""
        pool = functional.max_pool2d if self.pool == "max" else functional.avg_pool2d
        v1, v2, v3 = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem()
        still = pool(self.bn1(self.conv1(x)), 2) if self.input_coding == "direct" else None
        counts = []
        for t in range(self.steps):
            current = pool(self.bn1(self.conv1(x[t])), 2) if still is None else still
            spikes, v1 = self.lif1(current, v1)
            spikes, v2 = self.lif2(pool(self.bn2(self.conv2(spikes)), 2), v2)
            spikes, v3 = self.lif3(self.linear(spikes.flatten(1)), v3)
            counts.append(spikes)
        return torch.stack(counts).sum(0)
