"""A network on integer codes that torch can train: fake quantisation, code for code.

`QuantModel` carries the very integers of the program in float tensors: weights and activations are
rounded to codes, sums are exact, requantisation is the program's multiply-and-shift. What it
computes is therefore what `QuantModel.network` computes, code for code; gradients pass straight
through the roundings. Ranges of activations come from calibration samples and follow the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codesign.errors import LoweringError
from codesign.formats import NumberFormat, Requantise
from codesign.learning.exact import leak, requantise, round_to, type_for
from codesign.learning.roles import roles
from codesign.learning.running import RealArithmetic, execute, per_channel, pick, weighted_sum
from codesign.learning.scales import BIAS_BITS, Numbers, numbers_of, weight_limit
from codesign.learning.settings import Quantisation
from codesign.learning.skeleton import Skeleton
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Layer,
    Lif,
    Linear,
    NetworkGraph,
    is_mac,
)
from codesign.samples import Samples

__all__ = ["QuantModel", "Quantisation"]

CHUNK = 64  # samples at once when calibrating
SAMPLED = 1 << 16  # activations of a chunk that a percentile is taken from
MOMENTUM = 0.9  # of the ranges while training: a batch counts a tenth


class QuantModel(nn.Module):
    """A skeleton with trainable real weights, computing on integer codes.

    In training mode the ranges of activations follow the batches (an exponential mean).

    Args:
        skeleton: Layers and initial weights.
        quantisation: Widths.
    """

    def __init__(self, skeleton: Skeleton, quantisation: Quantisation) -> None:
        super().__init__()
        self.skeleton, self.quantisation = skeleton, quantisation
        self.roles = roles(skeleton, quantisation)
        self.macs = [layer.name for layer in skeleton.graph if is_mac(layer)]
        self.observed = [name for name, role in self.roles.items() if role.rule == "codes"]
        given = [skeleton.weights[name] for name in self.macs]
        self.weight = nn.ParameterList([nn.Parameter(w.weight.clone()) for w in given])
        self.bias = nn.ParameterList([nn.Parameter(w.bias.clone()) for w in given])
        self.ranges: Tensor
        self.register_buffer("ranges", torch.zeros(len(self.observed), dtype=torch.float64))
        weight_limit(quantisation)

    # -- ranges

    def calibrate(self, samples: Samples) -> None:
        """Set the ranges of activations from raw samples, run in real numbers."""
        seen: dict[str, list[Tensor]] = {name: [] for name in self.observed}
        arithmetic = RealArithmetic(self.skeleton)
        coded = self.skeleton.graph.coding.apply(samples)
        scale = self.numbers_scale_of_input()
        for start in range(0, len(samples), CHUNK):
            codes = torch.from_numpy(np.asarray(coded.inputs[start : start + CHUNK], np.float32))
            with torch.no_grad():
                values = execute(self.skeleton.graph, arithmetic, codes * scale, timed=coded.timed)
            for name, found in seen.items():
                found.append(_sampled(values[name][0]))
        for i, name in enumerate(self.observed):
            self.ranges[i] = _percentile(torch.cat(seen[name]), self.quantisation.percentile)

    def numbers_scale_of_input(self) -> float:
        """Real value of one input code."""
        coding = self.skeleton.graph.coding
        return coding.scale if coding.kind == "direct" else 1.0

    def observe(self, name: str, activations: Tensor) -> None:
        """Let a range follow a batch."""
        i = self.observed.index(name)
        now = _percentile(_sampled(activations.detach()), self.quantisation.percentile)
        self.ranges[i] = MOMENTUM * self.ranges[i] + (1 - MOMENTUM) * now

    # -- integers

    def numbers(self) -> dict[str, Numbers]:
        """Scales, multipliers and thresholds that follow from the present weights and ranges."""
        peaks = {
            name: w.detach().abs().reshape(len(w), -1).amax(1).double().numpy()
            for name, w in zip(self.macs, self.weight, strict=True)
        }
        ranges = dict(zip(self.observed, self.ranges.tolist(), strict=True))
        return numbers_of(self.skeleton, self.roles, self.quantisation, peaks, ranges)

    def weight_codes(self, name: str, numbers: Numbers) -> tuple[Tensor, Tensor]:
        """Weight and bias codes of a layer, as floats that gradients reach."""
        i = self.macs.index(name)
        weight, bias = self.weight[i], self.bias[i]
        limit = weight_limit(self.quantisation)
        scale = torch.from_numpy(numbers.weight_scale).reshape(-1, *[1] * (weight.dim() - 1))
        total = torch.from_numpy(numbers.sum_scale)
        wide = 1 << (BIAS_BITS - 1)
        codes = bias.double() / total
        largest = codes.detach().abs().max().item()
        if largest >= wide:
            raise LoweringError(
                f"layer {name!r}: a bias of {largest:.3g} units of the sum does not fit "
                f"{BIAS_BITS} bits; its weights are nearly zero beside its bias"
            )
        return round_to(weight.double() / scale, -limit, limit), round_to(codes, -wide, wide - 1)

    def forward(self, codes: Tensor, timed: bool = False) -> Tensor:
        """Outputs ``[samples, classes]`` in real units, summed over the time steps.

        Args:
            codes: Input codes ``[samples, ...]``, or ``[samples, steps, ...]`` if timed, float32.
            timed: Whether axis 1 is time.
        """
        numbers = self.numbers()
        last = self.skeleton.graph.layers[-1].name
        return self._outputs(codes, timed, numbers) * numbers[last].scale

    def integers(self, codes: Tensor, timed: bool = False) -> NDArray[np.int64]:
        """The program's outputs ``[samples, classes]``: integers summed over the time steps."""
        with torch.no_grad():
            outputs = self._outputs(codes, timed, self.numbers())
        return outputs.double().numpy().astype(np.int64)

    def values(self, codes: Tensor, timed: bool = False) -> dict[str, NDArray[np.int64]]:
        """Every layer's integers, ``[samples, ...]``, or ``[steps, samples, ...]`` if they vary."""
        with torch.no_grad():
            arithmetic = _CodeArithmetic(self, self.numbers())
            found = execute(self.skeleton.graph, arithmetic, codes, timed=timed)
        return {name: x.double().numpy().astype(np.int64) for name, (x, _) in found.items()}

    def _outputs(self, codes: Tensor, timed: bool, numbers: dict[str, Numbers]) -> Tensor:
        graph = self.skeleton.graph
        values = execute(graph, _CodeArithmetic(self, numbers), codes, timed=timed)
        value, over_time = values[graph.layers[-1].name]
        total = value.sum(0) if over_time else value * graph.steps
        return total.reshape(len(total), -1)

    # -- the integer network

    def network(self) -> NetworkGraph:
        """What this model computes, as data.

        Raises:
            LoweringError: A number does not fit its place.
        """
        numbers = self.numbers()
        layers = tuple(self._integer(x, numbers[x.name]) for x in self.skeleton.graph)
        return replace(self.skeleton.graph, layers=layers)

    def _integer(self, layer: Layer, n: Numbers) -> Layer:
        if isinstance(layer, Conv2d | Linear):
            weight, bias = (
                x.detach().numpy().astype(np.int64) for x in self.weight_codes(layer.name, n)
            )
            form = NumberFormat(self.quantisation.weight_bits)
            return replace(
                layer, weight=weight, bias=bias, weight_format=form, requantise=n.requantise[0]
            )
        if isinstance(layer, Add):
            return replace(layer, multipliers=n.multipliers, requantise=n.requantise[0])
        if isinstance(layer, AvgPool2d):
            return replace(layer, requantise=n.requantise[0])
        if isinstance(layer, Concat):
            return replace(layer, requantise=n.requantise)
        if isinstance(layer, Lif):
            form = NumberFormat(self.quantisation.membrane_bits)
            return replace(layer, threshold=n.threshold, leak=n.leak, format=form)
        return layer

    # -- what is kept on disk

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Real weights, biases and ranges by layer, from which `restore` makes this model again."""
        kept: dict[str, NDArray[np.generic]] = {}
        for i, name in enumerate(self.macs):
            kept[f"weight.{name}"] = self.weight[i].detach().numpy().copy()
            kept[f"bias.{name}"] = self.bias[i].detach().numpy().copy()
        for i, name in enumerate(self.observed):
            kept[f"range.{name}"] = self.ranges[i].numpy().copy()
        return kept

    def restore(self, kept: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what `state` gave."""
        with torch.no_grad():
            for i, name in enumerate(self.macs):
                self.weight[i].copy_(torch.from_numpy(np.array(kept[f"weight.{name}"])))
                self.bias[i].copy_(torch.from_numpy(np.array(kept[f"bias.{name}"])))
            for i, name in enumerate(self.observed):
                self.ranges[i] = float(kept[f"range.{name}"])


class _CodeArithmetic:
    """The layers in integers, carried in floats."""

    def __init__(self, model: QuantModel, numbers: dict[str, Numbers]) -> None:
        self.model, self.numbers = model, numbers
        self.codes = {name: model.weight_codes(name, numbers[name]) for name in model.macs}

    def layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        """See `Arithmetic.layer`."""
        n = self.numbers[layer.name]
        if isinstance(layer, Conv2d | Linear):
            axis = 1 if isinstance(layer, Conv2d) else -1
            sums = self._sums(layer, inputs[0])
            return self._requantised(layer, n.requantise[0], sums, axis)
        if isinstance(layer, Add):
            wide = sum(x.double() * k for x, k in zip(inputs, n.multipliers, strict=True))
            assert isinstance(wide, Tensor)
            return self._requantised(layer, n.requantise[0], wide, 1)
        if isinstance(layer, Concat):
            parts = zip(inputs, n.requantise, strict=True)
            return torch.cat([x if q is None else _coded(x, q, 1) for x, q in parts], 1)
        picked = pick(layer, inputs)
        q = n.requantise[0]
        return picked if q is None else _coded(picked, q, 1)

    def _sums(self, layer: Conv2d | Linear, x: Tensor) -> Tensor:
        """Exact sums: in float32 where the weights prove that this is exact, else in float64."""
        weight, bias = self.codes[layer.name]
        role = self.model.roles[layer.inputs[0].source]
        widest = max(abs(role.low), abs(role.high))
        with torch.no_grad():
            terms = weight.abs().reshape(len(weight), -1).sum(1) * widest + bias.abs()
        kind = type_for(float(terms.max()))
        return weighted_sum(layer, x.to(kind), weight.to(kind), bias.to(kind))

    def _requantised(self, layer: Layer, q: Requantise | None, sums: Tensor, axis: int) -> Tensor:
        if q is None:
            return sums
        if self.model.training and layer.name in self.model.observed:
            self._observe(layer, sums, axis)
        return _coded(sums, q, axis)

    def _observe(self, layer: Layer, sums: Tensor, axis: int) -> None:
        n = self.numbers[layer.name]
        q = n.requantise[0]
        assert q is not None
        # In the output's codes, unclipped above: multiplier and shift bring sums there.
        ratio = _meet(torch.from_numpy(np.asarray(q.multiplier, np.float64)), sums, axis)
        low, high = self.model.skeleton.clip(layer.name)
        reals = sums.detach() * ratio * (2.0**-q.shift * n.scale)
        self.model.observe(layer.name, reals.clamp(low, high))

    def step(self, layer: Lif, v: Tensor, fired: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """See `Arithmetic.step`; the reset's gradient is not followed, as in snntorch."""
        n, neuron = self.numbers[layer.name], self.model.skeleton.neurons[layer.name]
        form = NumberFormat(self.model.quantisation.membrane_bits)
        v = v.to(torch.promote_types(current.dtype, type_for(2.0 ** (form.bits - 1))))
        threshold = per_channel(torch.from_numpy(n.threshold).to(v.dtype), v)
        unit = float(neuron.threshold.mean()) / float(n.threshold.mean())
        for operation in layer.order:
            if operation == "leak":
                v = leak(v, n.leak.kind, n.leak.amount, n.leak.factor)
            elif operation == "integrate":
                v = (v + current).clamp(form.low, form.high)
            elif operation == "fire":
                fired = neuron.surrogate((v - threshold) * unit).to(v.dtype)
            elif layer.reset == "zero":
                v = v * (1 - fired.detach())
            elif layer.reset == "subtract":
                v = (v - fired.detach() * threshold).clamp(form.low, form.high)
        return v, fired

    def leave(self, layer: Lif, spikes: Tensor) -> Tensor:
        """See `Arithmetic.leave`: a spike's code is 1, whatever it stands for."""
        return spikes


def _coded(sums: Tensor, q: Requantise, axis: int) -> Tensor:
    """Requantisation of sums ``[samples, ...]`` with channels along an axis."""
    if q.rounding != "half_up":
        raise NotImplementedError(q.rounding)
    if isinstance(q.multiplier, int):
        return requantise(sums, q.multiplier, q.shift, q.low, q.high)
    multiplier = torch.from_numpy(np.asarray(q.multiplier, dtype=np.float64))
    return requantise(sums, _meet(multiplier, sums, axis), q.shift, q.low, q.high)


def _meet(values: Tensor, like: Tensor, axis: int) -> Tensor:
    """``[]`` or ``[n]`` shaped to meet channels along an axis."""
    if not values.dim() or axis == -1:
        return values
    return values.reshape(-1, *[1] * (like.dim() - 2))


def _sampled(activations: Tensor) -> Tensor:
    """Sizes of evenly spaced activations, at most `SAMPLED`."""
    flat = activations.reshape(-1)
    return flat[:: max(ceil(len(flat) / SAMPLED), 1)].abs().float()


def _percentile(sizes: Tensor, percentile: float) -> float:
    """The size that a percentage of activations does not exceed; 100 is the largest."""
    rank = min(max(ceil(len(sizes) * percentile / 100), 1), len(sizes))
    return float(sizes.kthvalue(rank).values)
