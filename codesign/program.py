"""Program: what a chip computes, exactly. A network, the chip's arithmetic for it, and the guards.

For each step, for each layer in the network's order; for a multiply-accumulate layer and each
output element (m, n), with ``terms`` the layer's k in the order of `MacArithmetic.order`::

    total = bias[n] if bias_in == "outer" else 0
    for s, (start, stop) in enumerate(segments):
        acc = bias[n] if s == 0 and bias_in == "load" else 0      | accumulator at load, segment s
        for j, k in enumerate(terms[start:stop], 1):
            w = weight[n, k]                                      | operand at weight; guards
            x = x[m, k]                                           | operand at input
            p = w * x                                             | term
            acc = inner.fit(acc + p)                              | accumulator at every; at after j
        if readout: acc = readout.code(acc)
        …                                                         | accumulator at out, segment s
        if readout: acc = clip(acc, readout.low, readout.high)
        total = outer.fit(total + acc)                            | accumulator at total, segment s
    y = requantise(total), or total without one                   | activation; guards; readers

The right column names the places where an effect can act (see `codesign.effects`): it acts on the
value on its line. A zero of the padding is an ordinary operand 0. A segment is what one pass over
the array sums; an empty right column everywhere gives the golden run.

Spiking layers: `codesign.network.Lif` has the equation; the chip's membrane format replaces its.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codesign.digests import digest
from codesign.errors import DataError, nearest
from codesign.formats import NumberFormat, Requantise, read_only
from codesign.guards import Guard, Recompute, Silence
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Input,
    Layer,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
    is_mac,
)

__all__ = ["Bound", "MacArithmetic", "Program", "bounds"]


@dataclass(frozen=True, eq=False)
class MacArithmetic:
    """How a chip sums the K terms of one multiply-accumulate layer.

    Attributes:
        inner: Format of the running sum within a segment.
        outer: Format in which the segments' sums are added up.
        splits: End position of each segment in the order of terms, ascending; the last is K.
        order: ``[k]`` the terms in the order they are summed, or None for 0, 1, 2, …
        bias_in: Where the bias enters: ``outer`` sum's start, or ``load`` of the first segment.
        readout: What a segment's sum passes on its way out of the array, or None.
    """

    inner: NumberFormat
    outer: NumberFormat
    splits: tuple[int, ...]
    order: NDArray[np.int64] | None = None
    bias_in: Literal["outer", "load"] = "outer"
    readout: Requantise | None = None

    def __post_init__(self) -> None:
        if not self.splits or list(self.splits) != sorted(set(self.splits)) or self.splits[0] < 1:
            raise DataError(f"splits are ascending end positions of segments, came {self.splits}")
        if self.order is not None:
            object.__setattr__(self, "order", read_only(self.order))
            if sorted(self.order.tolist()) != list(range(self.splits[-1])):
                raise DataError(f"order is a permutation of 0..{self.splits[-1] - 1}")

    @property
    def segments(self) -> tuple[tuple[int, int], ...]:
        """(start, stop) of each segment in the order of terms."""
        return tuple(zip((0, *self.splits[:-1]), self.splits, strict=True))

    def terms(self, segment: int) -> NDArray[np.int64]:
        """``[j]`` the k of one segment in the order they are summed."""
        start, stop = self.segments[segment]
        order = np.arange(self.splits[-1]) if self.order is None else self.order
        return order[start:stop]

    def place_of(self, k: int) -> tuple[int, int]:
        """(segment, j) of term k: it is the j-th of its segment, counted from 1."""
        at = k if self.order is None else int(np.flatnonzero(self.order == k)[0])
        segment = int(np.searchsorted(self.splits, at, side="right"))
        return segment, at - self.segments[segment][0] + 1


@dataclass(frozen=True, eq=False)
class Program:
    """What a design computes.

    Attributes:
        network: The layers.
        arithmetic: For every multiply-accumulate layer by name.
        membranes: The chip's membrane format for every `Lif` by name.
        guards: In the order they stand on a value's way.
    """

    network: NetworkGraph
    arithmetic: dict[str, MacArithmetic]
    membranes: dict[str, NumberFormat] = field(default_factory=dict)
    guards: tuple[Guard, ...] = ()

    def __post_init__(self) -> None:
        macs = {x.name for x in self.network if is_mac(x)}
        lifs = {x.name for x in self.network if isinstance(x, Lif)}
        if set(self.arithmetic) != macs or not set(self.membranes) <= lifs:
            raise DataError(
                f"{self.network.name}: arithmetic for {sorted(self.arithmetic)}, "
                f"layers that need it: {sorted(macs)}; membranes for {sorted(self.membranes)}, "
                f"spiking layers: {sorted(lifs)}"
            )
        for name, arithmetic in self.arithmetic.items():
            terms = self.network.mac_shape(name)[1]
            if arithmetic.splits[-1] != terms:
                raise DataError(f"{name}: arithmetic for {arithmetic.splits[-1]} of {terms} terms")
        for guard in self.guards:
            self._check(guard, macs, lifs)

    def membrane(self, name: str) -> NumberFormat:
        """Membrane format of a spiking layer on this chip."""
        layer = self.network[name]
        if not isinstance(layer, Lif):
            raise DataError(f"{name} is a {type(layer).__name__}: it has no membrane")
        return self.membranes.get(name, layer.format)

    def stored_bits(self, name: str, place: str) -> int:
        """Data bits of a stored word: of a weight, a membrane, or an activation of a layer.

        Activations have at least eight bits, spikes one, sums their accumulator's; a layer that
        only moves codes stores what it reads.
        """
        layer = self.network[name]
        if place == "membrane":
            return self.membrane(name).bits
        if place == "weight" and isinstance(layer, Conv2d | Linear):
            return layer.weight_format.bits
        if isinstance(layer, Input):
            return layer.format.bits
        if isinstance(layer, Lif):
            return 1
        requantise = getattr(layer, "requantise", None)
        if isinstance(requantise, Requantise):
            signed = requantise.low < 0
            widest = max(requantise.high, -1 - requantise.low)
            return max(8, widest.bit_length() + signed)
        if name in self.arithmetic:
            return self.arithmetic[name].outer.bits
        return max(self.stored_bits(edge.source, place) for edge in layer.inputs)

    @property
    def executions(self) -> int:
        """How often the whole inference is executed (more than once under `Recompute`)."""
        return max([g.times for g in self.guards if isinstance(g, Recompute)], default=1)

    @cached_property
    def digest(self) -> str:
        """Content digest: designs with one program share golden runs and trials."""
        return digest((self.network.digest, self.arithmetic, self.membranes, self.guards))

    def _check(self, guard: Guard, macs: set[str], lifs: set[str]) -> None:
        if isinstance(guard, Recompute):
            return
        place = "membrane" if isinstance(guard, Silence) else guard.place
        known = {"weight": macs, "membrane": lifs}.get(place, {x.name for x in self.network})
        if guard.layer not in known:
            raise DataError(
                f"{type(guard).__name__} at {place} of {guard.layer!r}: no such layer there"
                f"{nearest(guard.layer, known)}"
            )


@dataclass(frozen=True, slots=True)
class Bound:
    """Worst-case range of a layer's sums, over all inputs that its readers' formats allow.

    Attributes:
        low, high: Of the total before requantisation.
        inner_low, inner_high: Of any prefix of any segment's running sum.
        overflows: Whether a running sum or total can leave its format: then golden wraps or
            saturations may happen, must be counted, and no two chips need agree.
    """

    low: int
    high: int
    inner_low: int
    inner_high: int
    overflows: bool


def bounds(program: Program) -> dict[str, Bound]:
    """Worst-case bounds of every multiply-accumulate layer of a program, golden.

    Interval arithmetic from the input format through the layers; the bound of a running sum takes
    positive (negative) terms only, so it holds for every prefix and every order of the terms.
    Spiking layers give 0..1. Guards only narrow values and are ignored (safe).
    """
    ranges: dict[str, tuple[int, int]] = {}
    found: dict[str, Bound] = {}
    for layer in program.network:
        incoming = [ranges.get(edge.source, (0, 1)) for edge in layer.inputs]
        if isinstance(layer, Conv2d | Linear):
            bound = _mac_bound(layer, incoming[0], program.arithmetic[layer.name])
            found[layer.name] = bound
            ranges[layer.name] = _after(layer.requantise, bound.low, bound.high)
        else:
            ranges[layer.name] = _range(layer, incoming)
    return found


def _mac_bound(
    layer: Conv2d | Linear, incoming: tuple[int, int], arithmetic: MacArithmetic
) -> Bound:
    low, high = min(incoming[0], 0), max(incoming[1], 0)  # a padding zero is an operand too
    weight = layer.weight.reshape(layer.weight.shape[0], -1)
    highest = np.maximum(weight * low, weight * high)
    lowest = np.minimum(weight * low, weight * high)
    bias = layer.bias.reshape(-1, layer.bias.shape[-1])
    load = bias if arithmetic.bias_in == "load" else np.zeros_like(bias)
    inner_low = inner_high = 0
    for s in range(len(arithmetic.segments)):
        terms = arithmetic.terms(s)
        start = load if s == 0 else np.zeros_like(load)
        inner_high = max(inner_high, int((np.maximum(start, 0) + highest[:, terms].sum(1)).max()))
        inner_low = min(inner_low, int((np.minimum(start, 0) + lowest[:, terms].sum(1)).min()))
    total_high = int((bias + highest.sum(1)).max())
    total_low = int((bias + lowest.sum(1)).min())
    outer_high = int((np.maximum(bias, 0) + highest.sum(1)).max())
    outer_low = int((np.minimum(bias, 0) + lowest.sum(1)).min())
    overflows = not (
        arithmetic.inner.holds([inner_low, inner_high])
        and arithmetic.outer.holds([outer_low, outer_high])
    )
    if overflows:
        total_low, total_high = arithmetic.outer.low, arithmetic.outer.high
    return Bound(total_low, total_high, inner_low, inner_high, overflows)


def _range(layer: Layer, incoming: list[tuple[int, int]]) -> tuple[int, int]:
    """Range of a layer without weights from the ranges of its inputs."""
    if isinstance(layer, Input):
        return layer.format.low, layer.format.high
    if isinstance(layer, Lif):
        return 0, 1
    if isinstance(layer, Add):
        low = sum(m * r[0] for m, r in zip(layer.multipliers, incoming, strict=True))
        high = sum(m * r[1] for m, r in zip(layer.multipliers, incoming, strict=True))
        return _after(layer.requantise, low, high)
    if isinstance(layer, AvgPool2d):
        area = layer.kernel[0] * layer.kernel[1]
        low, high = min(incoming[0][0], 0) * area, max(incoming[0][1], 0) * area
        return _after(layer.requantise, low, high)
    if isinstance(layer, Concat):
        after = [_after(q, *r) for q, r in zip(layer.requantise, incoming, strict=True)]
        return min(a for a, _ in after), max(b for _, b in after)
    low, high = incoming[0]
    return (low, high) if isinstance(layer, MaxPool2d) else (min(low, 0), max(high, 0))


def _after(requantise: Requantise | None, low: int, high: int) -> tuple[int, int]:
    return (low, high) if requantise is None else (requantise.low, requantise.high)
