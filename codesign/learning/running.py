"""Run a graph in torch, in real numbers or in codes: the walk is one, the arithmetic is given.

Without delayed edges the walk is layer by layer, all time steps of a layer at once, and what does
not depend on time is computed once; with them it is step by step.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from codesign.learning.skeleton import Skeleton
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
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

__all__ = ["Arithmetic", "RealArithmetic", "execute", "pick", "weighted_sum"]

Value = tuple[Tensor, bool]  # [samples, ...] and False, or [steps, samples, ...] and True


class Arithmetic(Protocol):
    """What layers compute."""

    def layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        """Output ``[samples, ...]`` of a layer that remembers nothing."""
        ...

    def step(self, layer: Lif, v: Tensor, fired: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """Membrane and spikes ``[samples, ...]`` after a step of neurons."""
        ...

    def leave(self, layer: Lif, spikes: Tensor) -> Tensor:
        """What a spiking layer's readers get of its spikes."""
        ...


def execute(
    graph: NetworkGraph, arithmetic: Arithmetic, inputs: Tensor, *, timed: bool
) -> dict[str, Value]:
    """Every layer's output.

    Args:
        graph: What is computed.
        arithmetic: How.
        inputs: ``[samples, ...]``, or ``[samples, steps, ...]`` if timed.
        timed: Whether axis 1 of the inputs is time.
    """
    given = (inputs.transpose(0, 1), True) if timed else (inputs, False)
    if any(edge.delay_steps for layer in graph for edge in layer.inputs):
        return _by_step(graph, arithmetic, given)
    values: dict[str, Value] = {}
    for layer in graph:
        read = [values[edge.source] for edge in layer.inputs]
        if isinstance(layer, Input):
            values[layer.name] = given
        elif isinstance(layer, Lif):
            values[layer.name] = (_neurons(arithmetic, layer, read, graph.steps), True)
        else:
            values[layer.name] = _all_steps(arithmetic, layer, read, graph.steps)
    return values


def _all_steps(arithmetic: Arithmetic, layer: Layer, read: list[Value], steps: int) -> Value:
    """A layer without memory at all steps, time folded into the samples."""
    if not any(timed for _, timed in read):
        return arithmetic.layer(layer, [x for x, _ in read]), False
    wide = [x if timed else x.expand(steps, *x.shape) for x, timed in read]
    result = arithmetic.layer(layer, [x.reshape(-1, *x.shape[2:]) for x in wide])
    return result.reshape(steps, -1, *result.shape[1:]), True


def _neurons(arithmetic: Arithmetic, layer: Lif, read: list[Value], steps: int) -> Tensor:
    """Spikes ``[steps, samples, ...]``."""
    first, timed = read[0]
    v = torch.zeros_like(first[0] if timed else first)
    fired = torch.zeros_like(v)
    spikes = []
    for t in range(steps):
        current = sum((x[t] if over_time else x) for x, over_time in read)
        assert isinstance(current, Tensor)
        v, fired = arithmetic.step(layer, v, fired, current)
        spikes.append(fired)
    return arithmetic.leave(layer, torch.stack(spikes))


def _by_step(graph: NetworkGraph, arithmetic: Arithmetic, given: Value) -> dict[str, Value]:
    """The same with delayed edges, which give zeros before the first step."""
    samples = given[0].shape[1 if given[1] else 0]
    blank = {name: given[0].new_zeros((samples, *shape)) for name, shape in graph.shapes.items()}
    history: list[dict[str, Tensor]] = []
    state = {x.name: (blank[x.name], blank[x.name]) for x in graph if isinstance(x, Lif)}
    for t in range(graph.steps):
        history.append({})
        for layer in graph:
            read = [
                history[t - e.delay_steps][e.source] if e.delay_steps <= t else blank[e.source]
                for e in layer.inputs
            ]
            if isinstance(layer, Input):
                now = given[0][t] if given[1] else given[0]
            elif isinstance(layer, Lif):
                current = torch.stack(read).sum(0) if len(read) > 1 else read[0]
                state[layer.name] = arithmetic.step(layer, *state[layer.name], current)
                now = arithmetic.leave(layer, state[layer.name][1])
            else:
                now = arithmetic.layer(layer, read)
            history[t][layer.name] = now
    return {x.name: (torch.stack([now[x.name] for now in history]), True) for x in graph}


def weighted_sum(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Bias and weighted sum of a multiply-accumulate layer, in the tensors' own type."""
    if isinstance(layer, Conv2d):
        top, bottom, left, right = layer.padding
        inside = (top, left)
        if top != bottom or left != right:
            x, inside = functional.pad(x, (left, right, top, bottom)), (0, 0)
        return functional.conv2d(x, weight, bias, layer.stride, inside, 1, layer.groups)
    return functional.linear(x, weight, bias)


def pick(layer: Layer, inputs: list[Tensor]) -> Tensor:
    """Output of a layer that only chooses and moves values; a window's plain sum of a pooling."""
    x = inputs[0]
    if isinstance(layer, MaxPool2d):
        return functional.max_pool2d(_around(x, layer.padding, -inf), layer.kernel, layer.stride)
    if isinstance(layer, AvgPool2d):
        padded = _around(x, layer.padding, 0.0)
        return functional.avg_pool2d(padded, layer.kernel, layer.stride, divisor_override=1)
    if isinstance(layer, Flatten):
        return x.reshape(x.shape[0], *(layer.shape or (-1,)))
    if isinstance(layer, Slice):
        return x[(slice(None), *(slice(*cut) for cut in layer.slices))]
    if isinstance(layer, Pad):
        return functional.pad(x, [w for widths in reversed(layer.widths) for w in widths])
    if isinstance(layer, Concat):
        return torch.cat(inputs, 1)
    raise TypeError(f"{type(layer).__name__} does more than pick")


def _around(x: Tensor, padding: tuple[int, int, int, int], value: float) -> Tensor:
    top, bottom, left, right = padding
    return functional.pad(x, (left, right, top, bottom), value=value) if any(padding) else x


class RealArithmetic:
    """The layers of a skeleton in real numbers, float32."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton

    def layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        """See `Arithmetic.layer`."""
        if isinstance(layer, Conv2d | Linear):
            w = self.skeleton.weights[layer.name]
            y = weighted_sum(layer, inputs[0], w.weight, w.bias)
        elif isinstance(layer, Add):
            y = torch.stack(inputs).sum(0) if len(inputs) > 1 else inputs[0]
        elif isinstance(layer, AvgPool2d):
            y = pick(layer, inputs) / (layer.kernel[0] * layer.kernel[1])
        else:
            y = pick(layer, inputs)
        low, high = self.skeleton.clip(layer.name)
        return y if (low, high) == (-inf, inf) else y.clamp(low, high)

    def step(self, layer: Lif, v: Tensor, fired: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """See `Arithmetic.step`."""
        neuron = self.skeleton.neurons[layer.name]
        threshold = per_channel(neuron.threshold.to(v.dtype), v)
        for operation in layer.order:
            if operation == "leak":
                v = v * neuron.beta
            elif operation == "integrate":
                v = v + current
            elif operation == "fire":
                fired = (v > threshold).to(v.dtype)
            elif layer.reset == "zero":
                v = v * (1 - fired)
            elif layer.reset == "subtract":
                v = v - fired * threshold
        return v, fired

    def leave(self, layer: Lif, spikes: Tensor) -> Tensor:
        """See `Arithmetic.leave`."""
        factor = self.skeleton.neurons[layer.name].factor
        return spikes if factor == 1.0 else spikes * factor


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """``[]`` or ``[n]`` shaped to meet ``[samples, n, ...]``."""
    return values.reshape(-1, *[1] * (like.dim() - 2)) if values.dim() else values
