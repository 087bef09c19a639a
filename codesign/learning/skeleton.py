"""Skeleton: a network's layers and edges, with its numbers still real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from torch import Tensor

from codesign.network import Layer, NetworkGraph

__all__ = ["IDENTITY", "TRANSPARENT", "Neuron", "Skeleton", "Weights", "receivers"]

IDENTITY = (-inf, inf)  # the clip that clips nothing
TRANSPARENT = ("MaxPool2d", "Flatten", "Slice", "Pad")  # layers that give codes they were given


@dataclass(frozen=True, eq=False)
class Weights:
    """Real weights of a multiply-accumulate layer.

    Attributes:
        weight: ``[n, ...]`` float32.
        bias: ``[n]`` float32.
    """

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, eq=False)
class Neuron:
    """Real parameters of a spiking layer.

    Attributes:
        beta: Share of the membrane that is left after a step, 0 to 1.
        threshold: ``[]`` or ``[n]`` float64.
        factor: Real value of one spike.
        surrogate: ``x → (x > 0)`` with the gradient that training uses.
    """

    beta: float
    threshold: Tensor
    factor: float
    surrogate: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Skeleton:
    """What was lowered, before quantisation.

    Attributes:
        graph: Layers and edges; its weights, thresholds and requantisations are placeholders.
        weights: By name of a multiply-accumulate layer, batch norm folded in.
        clips: Real (low, high) that a layer's output is clipped to, if it is: a ReLU is (0, inf).
        neurons: By name of a spiking layer.
    """

    graph: NetworkGraph
    weights: dict[str, Weights]
    clips: dict[str, tuple[float, float]]
    neurons: dict[str, Neuron]

    def clip(self, name: str) -> tuple[float, float]:
        """Real bounds of a layer's output."""
        return self.clips.get(name, IDENTITY)


def receivers(graph: NetworkGraph, name: str) -> list[Layer]:
    """Layers that read a layer, now or delayed."""
    return [x for x in graph if any(edge.source == name for edge in x.inputs)]
