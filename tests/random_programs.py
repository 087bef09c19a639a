"""Random networks, programs, guards, samples and effects: small, and of every kind there is."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from codesign.effects import PLACES, At, Effects, Kind
from codesign.formats import NumberFormat, Requantise
from codesign.guards import Clamp, Correct, Guard, Recompute, Replace, Silence
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Edge,
    Flatten,
    Input,
    Layer,
    Leak,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
    Pad,
    Slice,
    is_mac,
)
from codesign.program import MacArithmetic, Program
from codesign.samples import Samples

__all__ = ["Draw", "random_case"]


@dataclass
class Draw:
    """Dice for everything that a program can be made of."""

    rng: np.random.Generator

    def whole(self, low: int, high: int) -> int:
        """Low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def coin(self, chance: float = 0.5) -> bool:
        """True with a chance."""
        return bool(self.rng.random() < chance)

    def one(self, *choices: Any) -> Any:
        """One of the choices."""
        return choices[self.whole(0, len(choices) - 1)]

    # -- numbers

    def form(self, low: int, high: int) -> NumberFormat:
        """A format, mostly signed."""
        overflow = self.one("wrap", "saturate")
        return NumberFormat(self.whole(low, high), not self.coin(0.15), overflow)

    def requantise(self, channels: int = 1, none: float = 0.2) -> Requantise | None:
        """A requantisation, sometimes per channel, sometimes none."""
        if self.coin(none):
            return None
        multiplier: Any = self.whole(1, 40)
        if channels > 1 and self.coin():
            multiplier = self.rng.integers(1, 40, channels)
        low = self.one(0, -8, -128)
        return Requantise(
            multiplier,
            self.whole(0, 9),
            low,
            self.whole(low + 1, 127),
            self.one("half_up", "half_even", "floor"),
        )

    # -- layers

    def layer(self, name: str, known: dict[str, tuple[int, ...]], steps: int) -> Layer:
        """A layer that fits what is there."""
        sources = list(known)
        source = self.one(*sources[-3:])
        shape = known[source]
        delay = self.whole(1, 2) if steps > 1 and self.coin(0.15) else 0
        edge = (Edge(source, delay),)
        makers = [self._linear, self._flatten, self._slice, self._pad, self._add, self._concat]
        if len(shape) == 3:
            makers += [self._conv, self._conv, self._conv, self._max_pool, self._avg_pool]
        if steps > 1:
            makers += [self._lif] * 6
        return self.one(*makers)(name, edge, shape, known)

    def _conv(self, name: str, edge: Any, shape: Any, known: Any) -> Layer:
        channels, height, width = shape
        groups = self.one(1, channels) if self.coin() else 1
        if channels % 2 == 0 and self.coin(0.2):
            groups = 2
        n = groups * self.whole(1, 2) if groups > 1 else self.whole(1, 4)
        kernel = self.whole(1, min(3, height)), self.whole(1, min(3, width))
        form = NumberFormat(self.whole(2, 8))
        weight = self.rng.integers(form.low, form.high + 1, (n, channels // groups, *kernel))
        return Conv2d(
            name,
            edge,
            weight,
            self.rng.integers(-60, 60, n),
            (self.whole(1, 2), self.whole(1, 2)),
            tuple(self.rng.integers(0, 3, 4).tolist()) if self.coin() else (1, 1, 1, 1),
            groups,
            form,
            self.requantise(n),
        )

    def _linear(self, name: str, edge: Any, shape: Any, known: Any) -> Layer:
        n, form = self.whole(1, 5), NumberFormat(self.whole(2, 8))
        positions = prod(shape[:-1])
        bias = (positions, n) if self.coin(0.3) else (n,)
        return Linear(
            name,
            edge,
            self.rng.integers(form.low, form.high + 1, (n, shape[-1])),
            self.rng.integers(-60, 60, bias),
            form,
            self.requantise(n),
        )

    def _flatten(self, name: str, edge: Any, shape: Any, known: Any) -> Layer:
        return Flatten(name, edge, (1, prod(shape)) if self.coin(0.2) else ())

    def _slice(self, name: str, edge: Any, shape: Any, known: Any) -> Layer:
        return Slice(name, edge, tuple((self.whole(0, n - 1), n, self.whole(1, 2)) for n in shape))

    def _pad(self, name: str, edge: Any, shape: Any, known: Any) -> Layer:
        if prod(shape) > 60:
            return self._slice(name, edge, shape, known)
        return Pad(name, edge, tuple((self.whole(0, 1), self.whole(0, 1)) for _ in shape))

    def _add(self, name: str, edge: Any, shape: Any, known: Any) -> Layer:
        same = [s for s, other in known.items() if other == shape]
        edges = (*edge, Edge(self.one(*same)))
        return Add(name, edges, (self.whole(0, 3), self.whole(1, 3)), self.requantise(shape[0]))

    def _concat(self, name: str, edge: Any, shape: Any, known: Any) -> Layer:
        same = [s for s, other in known.items() if other[1:] == shape[1:]]
        other = self.one(*same)
        q = (self.requantise(shape[0], 0.5), self.requantise(known[other][0], 0.5))
        return Concat(name, (*edge, Edge(other)), q)

    def _max_pool(self, name: str, edge: Any, shape: Any, known: Any) -> Layer:
        kernel = self.whole(1, min(3, shape[1])), self.whole(1, min(3, shape[2]))
        top, bottom = self.whole(0, kernel[0] - 1), self.whole(0, kernel[0] - 1)
        left, right = self.whole(0, kernel[1] - 1), self.whole(0, kernel[1] - 1)
        stride = self.whole(1, 2), self.whole(1, 2)
        return MaxPool2d(name, edge, kernel, stride, (top, bottom, left, right))

    def _avg_pool(self, name: str, edge: Any, shape: Any, known: Any) -> Layer:
        pool = self._max_pool(name, edge, shape, known)
        assert isinstance(pool, MaxPool2d)
        q = self.requantise(shape[0])
        return AvgPool2d(name, edge, pool.kernel, pool.stride, pool.padding, q)

    def _lif(self, name: str, edge: Any, shape: Any, known: Any) -> Layer:
        edges = list(edge)
        same = [s for s, other in known.items() if other == shape]
        if self.coin(0.3):
            edges.append(Edge(self.one(*same), self.whole(0, 1)))
        if self.coin(0.3):
            edges.append(Edge(name, self.whole(1, 2)))  # itself, later
        channels = shape[-1] if len(shape) == 1 else 1
        threshold = self.rng.integers(-2, 60, channels) if self.coin(0.3) else self.whole(1, 60)
        return Lif(
            name,
            tuple(edges),
            np.array(threshold if channels > 1 else np.ravel(threshold)[0]),
            self.one(
                Leak(),
                Leak("shift", self.whole(0, 4)),
                Leak("multiply", self.whole(0, 8), self.whole(0, 300)),
                Leak("subtract", self.whole(0, 9)),
            ),
            self.one("zero", "subtract", "none"),
            self.coin(),
            tuple(self.rng.permutation(["leak", "integrate", "fire", "reset"]).tolist()),
            self.form(5, 20),
        )

    def network(self) -> NetworkGraph:
        """A network of a few layers, spiking (several steps) or not."""
        steps = self.whole(2, 4) if self.coin(0.6) else 1
        shape: tuple[int, ...] = (
            (self.whole(1, 3), self.whole(1, 4), self.whole(1, 4))
            if self.coin(0.7)
            else (self.whole(1, 4), self.whole(1, 6))
            if self.coin(0.4)
            else (self.whole(1, 8),)
        )
        form = self.one(NumberFormat(1, False), NumberFormat(4), NumberFormat(8, False))
        layers: list[Layer] = [Input("x", (), shape, form)]
        known = {"x": shape}
        for i in range(self.whole(1, 6)):
            layer = self.layer(f"l{i}", known, steps)
            found = NetworkGraph("random", (*layers, layer), steps).shapes[layer.name]
            if not 0 < prod(found) <= 150:
                continue
            layers.append(layer)
            known[layer.name] = found
        if len(layers) == 1:
            layers.append(Flatten("l", (Edge("x"),)))
            known["l"] = (prod(shape),)
        return NetworkGraph("random", tuple(self._looped(layers, known, steps)), steps)

    def _looped(self, layers: list[Layer], known: Any, steps: int) -> list[Layer]:
        """Sometimes, a neuron reads a later layer, one step behind."""
        for i, layer in enumerate(layers):
            later = [x.name for x in layers[i + 1 :] if known[x.name] == known[layer.name]]
            if isinstance(layer, Lif) and later and self.coin(0.4):
                edges = (*layer.inputs, Edge(self.one(*later), self.whole(1, 2)))
                layers[i] = Lif(
                    layer.name,
                    edges,
                    layer.threshold,
                    layer.leak,
                    layer.reset,
                    layer.strict,
                    layer.order,
                    layer.format,
                )
        return layers

    # -- programs

    def arithmetic(self, terms: int, channels: int) -> MacArithmetic:
        """Any way of summing: wide and safe, or so narrow that it overflows."""
        cuts = self.rng.integers(1, terms + 1, self.whole(0, 3)).tolist()
        wide = self.coin(0.4)
        readout = None
        if self.coin(0.3):
            readout = Requantise(1, 0, -(1 << 20), 1 << 20)
            if self.coin():
                readout = self.requantise(channels, 0.0)
        return MacArithmetic(
            NumberFormat(30, True, self.one("wrap", "saturate")) if wide else self.form(6, 14),
            NumberFormat(32, True, self.one("wrap", "saturate")) if wide else self.form(6, 16),
            tuple(sorted({*cuts, terms})),
            self.rng.permutation(terms) if self.coin() else None,
            self.one("outer", "load"),
            readout,
        )

    def guard(self, network: NetworkGraph) -> Guard | None:
        """A guard at any place, or none where the layer drawn has no such place."""
        layer = self.one(*network.layers)
        place = self.one("weight", "activation", "membrane")
        if self.coin(0.1):
            return Recompute(self.whole(2, 3))
        if isinstance(layer, Lif) and self.coin(0.3):
            return Silence(layer.name, self.whole(2, 3))
        if (place == "weight" and not is_mac(layer)) or (
            place == "membrane" and not isinstance(layer, Lif)
        ):
            return None
        low = self.whole(-20, 3)
        high = self.whole(low, 60)
        return self.one(
            Clamp(layer.name, place, low, high),
            Replace(layer.name, place, low, high, self.whole(-5, 5), self.coin()),
            Correct(layer.name, place, self.whole(1, 2)),
            Correct(layer.name, place, 1),
        )

    def program(self) -> Program:
        """A program of a random network."""
        network = self.network()
        macs = [x.name for x in network if is_mac(x)]
        shapes = {name: network.mac_shape(name) for name in macs}
        guards = [self.guard(network) for _ in range(self.whole(0, 4))]
        return Program(
            network,
            {name: self.arithmetic(k, n) for name, (_, k, n) in shapes.items()},
            {x.name: self.form(6, 16) for x in network if isinstance(x, Lif) and self.coin(0.3)},
            tuple(g for g in guards if g),
        )

    def samples(self, network: NetworkGraph, count: int) -> Samples:
        """Codes of the network's input, timed or not."""
        layer = network.layers[0]
        assert isinstance(layer, Input)
        timed = network.steps > 1 and self.coin()
        shape = (count, *((network.steps,) if timed else ()), *layer.shape)
        codes = self.rng.integers(layer.format.low, layer.format.high + 1, shape)
        return Samples("random", "test", codes, np.zeros(count, dtype=int), timed)

    # -- effects

    def span(self, size: int) -> tuple[int, int, int]:
        """A selector that picks something of an axis."""
        if self.coin(0.35):
            return (0, -1, 1)
        start = self.whole(0, size - 1)
        if self.coin():
            return (start, start + 1, 1)
        return (start, self.one(-1, self.whole(start + 1, size)), self.whole(1, 3))

    def window(self, size: int) -> tuple[int, int]:
        """Half-open, sometimes beyond the end, sometimes empty."""
        if self.coin(0.5):
            return (0, -1)
        start = self.whole(0, size)
        return (start, self.one(-1, self.whole(start, size + 1)))

    def effect(self, program: Program, count: int, layers: tuple[int, ...]) -> dict[str, object]:
        """An effect of any kind on one of some layers."""
        network = program.network
        index = self.one(*layers)
        layer = network.layers[index]
        kinds = [Kind.activation]
        if is_mac(layer):
            kinds += [Kind.operand, Kind.operand, Kind.term, Kind.accumulator, Kind.accumulator]
        if isinstance(layer, Lif):
            kinds += [Kind.state, Kind.state, Kind.operation, Kind.operation, Kind.spike]
        if is_mac(layer) or isinstance(layer, Lif):
            kinds.append(Kind.parameter)
        kind = self.one(*kinds)
        at = self.one(*PLACES[kind])
        if kind is Kind.parameter:
            at = At.bias if is_mac(layer) else At.threshold
        positions, channels = network.grid(layer.name)
        bits = self.one(1, 4, 8, 12, 20)
        row: dict[str, object] = {
            "kind": kind.name,
            "at": at.name,
            "layer": index,
            "m": self.span(positions),
            "n": self.span(channels),
            "op": self.one("xor", "xor", "stuck", "stuck", "replace", "add", "scale"),
            "bits": bits,
            "signed": self.coin(0.8),
            "mask": self.whole(1, (1 << bits) - 1) if self.coin() else 1 << self.whole(0, bits - 1),
            "value": self.whole(-9, 9),
            "samples": self.window(count),
            "steps": self.window(network.steps),
            "rank": self.whole(0, 2),
            "reader": self.one(-1, -1, self.whole(0, len(network.layers) - 1)),
            "execution": self.one(-1, self.whole(0, program.executions - 1)),
        }
        if kind is Kind.operation:
            row["op"] = self.one("skip", "always") if at in (At.fire, At.reset) else "skip"
        if kind in (Kind.operand, Kind.term):
            row["k"] = self.span(network.mac_shape(layer.name)[1])
        if kind is Kind.accumulator:
            segments = program.arithmetic[layer.name].segments
            segment = self.whole(0, len(segments) - 1)
            start, stop = segments[segment]
            row["segment"] = segment if at is At.after else self.one(-1, segment)
            row["after"] = self.whole(1, stop - start) if at is At.after else 0
        return row

    def effects(self, program: Program, count: int, trials: int) -> Effects:
        """A few effects in each trial, most of them near one another."""
        rows = []
        for trial in range(trials):
            every = tuple(range(len(program.network.layers)))
            near = every if self.coin() else (self.one(*every), self.one(*every))
            for _ in range(self.one(0, 1, 1, 2, 3, 5, 9)):
                rows.append({**self.effect(program, count, near), "trial": trial})
        return Effects.of(rows, trials)


def random_case(seed: int, trials: int = 3) -> tuple[Program, Samples, Effects]:
    """A program, samples for it, and effects on it."""
    draw = Draw(np.random.default_rng(seed))
    program = draw.program()
    count = draw.whole(1, 4)
    samples = draw.samples(program.network, count)
    return program, samples, draw.effects(program, count, trials)
