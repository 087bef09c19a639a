"""Multiply-accumulate layers: plans, weights and biases in effect, and what bounds prove of sums.

A plan says where the operands of every term lie: term k of output (m, n) reads element
``start[m] + offset[group of n, k]`` of the padded, flattened input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from codesign.engine.dense_formulas import corrupt_flat
from codesign.engine.dense_guards import ValueGuard, guards_at, pass_weights
from codesign.engine.dense_moment import NO_ROWS
from codesign.engine.dense_numbers import (
    FLOAT64_BITS,
    Value,
    widest,
    within_long,
)
from codesign.engine.dense_rows import Rows, expand, spans
from codesign.network import Conv2d, Linear
from codesign.program import MacArithmetic, Program

__all__ = ["Bias", "MacPlan", "Safety", "Weights", "bias_of", "mac_plan", "safety", "weights_of"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MacPlan:
    """What a layer's sums need to know, whatever the effects.

    Attributes:
        index: Of the layer in the network.
        layer: With its weights.
        arithmetic: The chip's.
        guards: Of its weights.
        shape: (M, K, N).
        input_shape: Of one sample.
        output_shape: Of one sample.
        start: ``[M]`` and
        offset: ``[groups, K]``: where the operands lie, see the module.
        order: ``[K]`` terms in the order they are summed.
        device: Of the tensors.
    """

    index: int
    layer: Conv2d | Linear
    arithmetic: MacArithmetic
    guards: tuple[ValueGuard, ...]
    shape: tuple[int, int, int]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    start: Ints
    offset: Ints
    order: Ints
    device: torch.device

    @property
    def groups(self) -> int:
        """Groups of channels that share inputs."""
        return len(self.offset)

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in ``[steps, samples, *shape]``."""
        return 2 if isinstance(self.layer, Conv2d) else len(self.output_shape) + 1

    def group_of(self, channel: Ints) -> Ints:
        """Group of each channel."""
        return channel // (self.shape[2] // self.groups)

    def element(self, m: Ints, n: Ints) -> Ints:
        """Flat index of outputs (m, n)."""
        positions, _, channels = self.shape
        return n * positions + m if isinstance(self.layer, Conv2d) else m * channels + n

    def flat_operands(self, x: Tensor) -> Tensor:
        """``[batch, elements]`` the padded input of ``[batch, *input_shape]``."""
        if isinstance(self.layer, Conv2d):
            top, bottom, left, right = self.layer.padding
            x = functional.pad(x, (left, right, top, bottom))
        return x.reshape(len(x), -1)

    @cached_property
    def golden_weights(self) -> Weights:
        """Without effects."""
        return weights_of(self, NO_ROWS)

    @cached_property
    def golden_bias(self) -> Bias:
        """Without effects."""
        return Bias(self.layer.bias, self.device)


@dataclass(frozen=True, eq=False)
class Weights:
    """Int64 weights as they are read.

    Attributes:
        codes: ``[N, K]`` behind their guards.
        corrected: ``[N, K]`` where a guard corrected.
        detected: ``[N, K]`` where a guard detected.
        shape: Of the weight tensor.
        device: Of the tensors.
    """

    codes: Ints
    corrected: NDArray[np.bool_]
    detected: NDArray[np.bool_]
    shape: tuple[int, ...]
    device: torch.device
    _tensors: dict[torch.dtype, Tensor] = field(default_factory=dict)

    def tensor(self, dtype: torch.dtype) -> Tensor:
        """In the layer's own shape."""
        if dtype not in self._tensors:
            self._tensors[dtype] = (
                torch.from_numpy(np.array(self.codes)).to(self.device, dtype).reshape(self.shape)
            )
        return self._tensors[dtype]

    @cached_property
    def positive(self) -> Ints:
        """``[N]`` sums of the positive weights."""
        return np.maximum(self.codes, 0).sum(axis=1)

    @cached_property
    def negative(self) -> Ints:
        """``[N]`` sums of the negative weights."""
        return self.codes.sum(axis=1) - self.positive


@dataclass(frozen=True, eq=False)
class Bias:
    """Int64 biases as they are added.

    Attributes:
        codes: ``[N]`` or ``[M, N]``.
        device: Of the tensors.
    """

    codes: Ints
    device: torch.device

    @cached_property
    def low(self) -> Ints:
        """``[N]`` smallest."""
        return self.codes.reshape(-1, self.codes.shape[-1]).min(axis=0)

    @cached_property
    def high(self) -> Ints:
        """``[N]`` largest."""
        return self.codes.reshape(-1, self.codes.shape[-1]).max(axis=0)

    def at(self, m: Ints, n: Ints) -> Ints:
        """Of outputs."""
        return self.codes[n] if self.codes.ndim == 1 else self.codes[m, n]


def mac_plan(program: Program, index: int, device: torch.device) -> MacPlan:
    """The plan of a multiply-accumulate layer."""
    network = program.network
    layer = network.layers[index]
    assert isinstance(layer, Conv2d | Linear)
    arithmetic = program.arithmetic[layer.name]
    positions, terms, channels = network.mac_shape(layer.name)
    input_shape = network.shapes[layer.inputs[0].source]
    output_shape = network.shapes[layer.name]
    start, offset = _operands(layer, input_shape, output_shape)
    order = np.arange(terms) if arithmetic.order is None else np.array(arithmetic.order)
    guards = guards_at(program, layer.name, "weight")
    shape = (positions, terms, channels)
    return MacPlan(
        index,
        layer,
        arithmetic,
        guards,
        shape,
        input_shape,
        output_shape,
        start,
        offset,
        order,
        device,
    )


def _operands(
    layer: Conv2d | Linear, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> tuple[Ints, Ints]:
    """Where operands lie: (start, offset)."""
    if isinstance(layer, Linear):
        terms = layer.weight.shape[1]
        return np.arange(prod(output_shape[:-1])) * terms, np.arange(terms)[None]
    _, per_group, kh, kw = layer.weight.shape
    top, bottom, left, right = layer.padding
    height, width = input_shape[1] + top + bottom, input_shape[2] + left + right
    rows, cols = (
        np.arange(n) * step for n, step in zip(output_shape[1:], layer.stride, strict=True)
    )
    start = (rows[:, None] * width + cols).ravel()
    c, ky, kx = np.meshgrid(*map(np.arange, (per_group, kh, kw)), indexing="ij")
    one = (c * height * width + ky * width + kx).ravel()
    return start, one + np.arange(layer.groups)[:, None] * per_group * height * width


# ----------------------------------------------------------------------------- operands in effect


def weights_of(plan: MacPlan, rows: Rows) -> Weights:
    """Weights under rows that act on them for every output position, always."""
    _, terms, channels = plan.shape
    pristine = np.asarray(plan.layer.weight, dtype=np.int64).reshape(channels, terms)
    codes = pristine.ravel().copy()
    owner, (n, k) = expand([spans(rows, "n", channels), spans(rows, "k", terms)])
    corrupt_flat(codes, rows, owner, n * terms + k)
    passed = pass_weights(pristine, codes.reshape(pristine.shape), plan.guards)
    return Weights(*passed, plan.layer.weight.shape, plan.device)


def bias_of(plan: MacPlan, rows: Rows) -> Bias:
    """Biases under rows that act always."""
    if len(rows) == 0:
        return plan.golden_bias
    positions, _, channels = plan.shape
    span = spans(rows, "m", positions)
    codes = np.array(plan.layer.bias, dtype=np.int64)
    if codes.ndim == 1 and (span.count == positions).all():
        owner, (n,) = expand([spans(rows, "n", channels)])
        corrupt_flat(codes, rows, owner, n)
        return Bias(codes, plan.device)
    codes = np.broadcast_to(codes, (positions, channels)).copy()
    owner, (m, n) = expand([span, spans(rows, "n", channels)])
    flat = codes.ravel()
    corrupt_flat(flat, rows, owner, m * channels + n)
    return Bias(flat.reshape(codes.shape), plan.device)


# ----------------------------------------------------------------------------- bounds


@dataclass(frozen=True)
class Safety:
    """What bounds prove about a layer's sums, over all inputs of a range and any order of terms.

    Attributes:
        low: No partial sum of a total is smaller.
        high: None is larger.
        linear: A total is the bias and all terms together, fitted once to the outer format.
        inner: No running sum of a segment leaves its format.
        never: Nothing leaves its format.
        segment: No running sum of a segment is smaller or larger.
    """

    low: int
    high: int
    linear: bool
    inner: bool
    never: bool
    segment: tuple[int, int]

    def room_for(self, arithmetic: MacArithmetic, extra: int) -> bool:
        """Whether all this stays linear when no sum changes by more than ``extra``."""
        if not self.linear or widest(self.low, self.high) + extra > 1 << FLOAT64_BITS:
            return False
        if modular(arithmetic):
            return True
        low, high = self.segment[0] - extra, self.segment[1] + extra
        inner = arithmetic.inner.holds([low, high]) and passes(arithmetic, low, high)
        ends = [self.low - extra, self.high + extra]
        return inner and (arithmetic.outer.overflow == "wrap" or arithmetic.outer.holds(ends))


def safety(plan: MacPlan, weights: Weights, bias: Bias, x: Value) -> Safety:
    """Bounds of the sums of these weights and biases for inputs of the range of ``x``."""
    arithmetic, ends = plan.arithmetic, (min(x.low, 0), max(x.high, 0))  # padding reads zeros
    largest = int((weights.positive - weights.negative).max())
    within_long(0, widest(*ends) * largest + widest(int(bias.low.min()), int(bias.high.max())))
    below, above = _ends(ends, weights.negative, weights.positive)
    low = int((np.minimum(bias.low, 0) + below).min())
    high = int((np.maximum(bias.high, 0) + above).max())
    segment = low, high
    if not (arithmetic.inner.holds(segment) and passes(arithmetic, *segment)):
        segment = _segment_ends(plan, weights, bias, ends)
    inner = arithmetic.inner.holds(segment)
    unread = inner and passes(arithmetic, *segment)
    never = unread and arithmetic.outer.holds([low, high])
    exact = never or (unread and arithmetic.outer.overflow == "wrap") or modular(arithmetic)
    carried = widest(low, high) <= 1 << FLOAT64_BITS
    return Safety(low, high, carried and exact, inner, never, segment)


def modular(arithmetic: MacArithmetic) -> bool:
    """Whether all sums wrap so that only the total's low bits matter, in any order of the terms."""
    return (
        arithmetic.readout is None
        and arithmetic.inner.overflow == arithmetic.outer.overflow == "wrap"
        and arithmetic.inner.bits >= arithmetic.outer.bits
    )


def passes(arithmetic: MacArithmetic, low: int, high: int) -> bool:
    """Whether a readout gives back every sum of a range."""
    q = arithmetic.readout
    if q is None:
        return True
    same = q.shift == 0 and bool(np.all(np.asarray(q.multiplier) == 1))
    return same and q.low <= low and high <= q.high


def _ends(ends: tuple[int, int], negative: Ints, positive: Ints) -> tuple[Ints, Ints]:
    """Smallest and largest sums of weights times inputs from low <= 0 to high >= 0."""
    low, high = ends
    return low * positive + high * negative, high * positive + low * negative


def _segment_ends(
    plan: MacPlan, weights: Weights, bias: Bias, ends: tuple[int, int]
) -> tuple[int, int]:
    """Smallest and largest running sum of any segment."""
    starts = [start for start, _ in plan.arithmetic.segments]
    ordered = weights.codes[:, plan.order]
    below, above = _ends(
        ends,
        np.add.reduceat(np.minimum(ordered, 0), starts, axis=1),
        np.add.reduceat(np.maximum(ordered, 0), starts, axis=1),
    )
    if plan.arithmetic.bias_in == "load":
        below[:, 0] += np.minimum(bias.low, 0)
        above[:, 0] += np.maximum(bias.high, 0)
    return int(below.min()), int(above.max())
