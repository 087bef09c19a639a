"""Random spiking chains, samples and effects for the sparse engine: small, and of every kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from random_programs import Draw

from codesign.effects import Effects, Kind
from codesign.formats import NumberFormat, Requantise
from codesign.network import (
    AvgPool2d,
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
    is_mac,
)
from codesign.program import MacArithmetic, Program
from codesign.samples import Samples

__all__ = ["random_chain"]

WAYS = [  # kind, place, corruptions
    ("operand", "weight", ("xor", "stuck", "stuck", "replace", "add", "scale")),
    ("operand", "input", ("xor", "stuck", "replace", "add", "scale")),
    ("parameter", "bias", ("xor", "stuck", "replace", "add", "scale")),
    ("parameter", "threshold", ("xor", "stuck", "replace", "add", "scale")),
    ("state", "cell", ("xor", "stuck", "replace")),
    ("state", "read", ("xor", "stuck", "replace")),
    ("state", "write", ("xor", "stuck", "replace")),
    ("operation", "leak", ("skip",)),
    ("operation", "integrate", ("skip",)),
    ("operation", "fire", ("skip", "always")),
    ("operation", "reset", ("skip", "always")),
    ("spike", "line", ("xor", "stuck", "replace")),
    ("activation", "stored", ("xor", "stuck", "replace")),
]


class Chains(Draw):
    """Dice for chains of synapses and neurons."""

    def neurons(self, name: str, source: str, channels: int) -> Lif:
        """Leaky neurons of any rule."""
        per_channel = self.coin(0.3)
        threshold = self.rng.integers(-2, 60, channels) if per_channel else self.whole(1, 60)
        leak = self.one(
            Leak(),
            Leak("shift", self.whole(0, 4)),
            Leak("multiply", self.whole(1, 8), self.whole(0, 300)),
            Leak("subtract", self.whole(0, 9)),
        )
        order = self.one(
            ("leak", "integrate", "fire", "reset"),
            ("leak", "integrate", "reset", "fire"),
            tuple(self.rng.permutation(["leak", "integrate", "fire", "reset"]).tolist()),
        )
        form = self.one(NumberFormat(24), self.form(7, 20), self.form(28, 31))
        reset = self.one("zero", "subtract", "none")
        edge = (Edge(source),)
        return Lif(name, edge, np.array(threshold), leak, reset, self.coin(), order, form)

    def chain(self, small: bool) -> Program:
        """A network of one to three stages."""
        steps = self.one(1, 2, 4, 6) if small else self.one(1, 2, 5, 9, 70)
        form = self.one(NumberFormat(1, False), NumberFormat(1, False), NumberFormat(4))
        form = self.one(form, NumberFormat(8, False))
        shape = self.one((self.whole(1, 9),), (self.whole(1, 3), 2, self.whole(1, 3)))
        layers: list[Layer] = [Input("x", (), shape, form)]
        if len(shape) > 1 or self.coin(0.3):
            layers.append(Flatten("flat", (Edge("x"),)))
        width, last = int(np.prod(shape)), layers[-1].name
        for i in range(self.whole(1, 3)):
            n = self.whole(1, 9) if small or self.coin() else self.whole(9, 40)
            bits = NumberFormat(self.whole(2, 8))
            weight = self.rng.integers(bits.low, bits.high + 1, (n, width))
            weight[self.rng.random(weight.shape) < 0.2] = 0
            bias = self.rng.integers(-20, 30, (1, n) if self.coin(0.2) else n)
            layers.append(
                Linear(f"s{i}", (Edge(last),), weight, bias[0] if bias.ndim == 2 else bias, bits)
            )
            layers.append(self.neurons(f"n{i}", f"s{i}", n))
            width, last = n, f"n{i}"
            if self.coin(0.2):
                layers.append(Flatten(f"f{i}", (Edge(last),)))
                last = f"f{i}"
        return self.program_of(NetworkGraph("chain", tuple(layers), steps))

    def convolutions(self, small: bool) -> Program:
        """A network of one to three stages, the first a convolution; pooling here and there."""
        steps = self.one(1, 2, 3, 5) if small else self.one(1, 3, 8, 40)
        form = self.one(NumberFormat(1, False), NumberFormat(1, False), NumberFormat(4))
        form = self.one(form, NumberFormat(8, False))
        most = 4 if small else 9
        shape = (self.whole(1, 3), self.whole(1, most), self.whole(2, most))
        layers: list[Layer] = [Input("x", (), shape, form)]

        def add(layer: Layer) -> None:
            layers.append(layer)
            shapes.append(layer.output_shape((shapes[-1],)))

        shapes: list[tuple[int, ...]] = [shape]
        for i in range(self.whole(1, 3)):
            if i and len(shapes[-1]) == 3 and self.coin(0.4):
                add(self.pool(f"r{i}", layers[-1].name, shapes[-1], 0.3))
            edge = (Edge(layers[-1].name),)
            if len(shapes[-1]) == 3 and (i == 0 or self.coin(0.6)):
                conv = self._conv(f"s{i}", edge, shapes[-1], {})
                assert isinstance(conv, Conv2d)
                add(replace(conv, requantise=None))
                if self.coin(0.5):
                    add(self.pool(f"p{i}", f"s{i}", shapes[-1], 0.5))
            else:
                add(Flatten(f"f{i}", edge))
                line = self._linear(f"s{i}", (Edge(f"f{i}"),), shapes[-1], {})
                assert isinstance(line, Linear)
                add(
                    replace(
                        line,
                        bias=line.bias[..., :].reshape(-1)[: len(line.weight)],
                        requantise=None,
                    )
                )
            add(self.neurons(f"n{i}", layers[-1].name, shapes[-1][0]))
        if self.coin(0.2):
            add(Flatten("end", (Edge(layers[-1].name),)))
        return self.program_of(NetworkGraph("convolutions", tuple(layers), steps))

    def pool(self, name: str, source: str, shape: tuple[int, ...], average: float) -> Layer:
        """A pooling layer of any geometry; windows may overlap and hold padding."""
        make = self._avg_pool if self.coin(average) else self._max_pool
        while True:
            layer = make(name, (Edge(source),), shape, {})
            assert isinstance(layer, MaxPool2d | AvgPool2d)
            rows, columns = layer.output_shape((shape,))[1:] if _fits(layer, shape) else (0, 0)
            if rows and columns:
                return layer

    def program_of(self, network: NetworkGraph) -> Program:
        """Formats for a network."""
        layers = network.layers
        sums = {x.name: self.sums(network, x.name) for x in layers if is_mac(x)}
        chosen = {x.name: self.form(6, 20) for x in layers if isinstance(x, Lif) and self.coin(0.2)}
        return Program(network, sums, chosen)

    def sums(self, network: NetworkGraph, name: str) -> MacArithmetic:
        """Formats that hold every sum, terms in any order and segments."""
        terms = network.mac_shape(name)[1]
        cuts = self.rng.integers(1, terms + 1, self.whole(0, 2)).tolist()
        wide = NumberFormat(self.whole(26, 34), True, self.one("wrap", "saturate"))
        return MacArithmetic(
            wide,
            NumberFormat(32),
            tuple(sorted({*cuts, terms})),
            self.rng.permutation(terms) if self.coin() else None,
            self.one("outer", "load"),
            Requantise(1, 0, -(1 << 28), 1 << 28) if self.coin(0.2) else None,
        )

    def shown(self, program: Program, count: int) -> Samples:
        """Samples, timed or not, sometimes mostly zeros."""
        layer = program.network.layers[0]
        assert isinstance(layer, Input)
        timed = program.network.steps > 1 and self.coin(0.7)
        shape = (count, *((program.network.steps,) if timed else ()), *layer.shape)
        codes = self.rng.integers(layer.format.low, layer.format.high + 1, shape)
        codes[self.rng.random(shape) < self.one(0.0, 0.5, 0.9)] = 0
        return Samples("random", "test", codes, np.zeros(count, dtype=int), timed)

    def row(self, program: Program, count: int) -> dict[str, object]:
        """An effect of a kind that has a sparse form, at any layer that has such a place."""
        network = program.network
        while True:
            kind, at, ops = self.one(*WAYS)
            index = self.whole(0, len(network.layers) - 1)
            layer = network.layers[index]
            needs = Conv2d | Linear if kind == "operand" or at == "bias" else Lif
            if kind == "activation" or isinstance(layer, needs):
                break
        positions, channels = network.grid(layer.name)
        spikes = kind in ("spike", "activation") and not is_mac(layer)
        spikes &= not isinstance(layer, MaxPool2d | AvgPool2d) or self.coin()
        spikes &= kind == "spike" or index > 2
        bits = 2 if spikes else self.one(1, 4, 8, 8, 12, 20, 24)
        low = 0 if spikes and self.coin(0.8) else self.whole(0, bits - 1)
        few = spikes or self.coin()
        row: dict[str, object] = dict(
            kind=kind, at=at, layer=index, m=self.span(positions), n=self.span(channels),
            op=self.one(*ops), bits=bits, signed=self.coin(0.8),
            mask=1 << low if few else self.whole(1, (1 << bits) - 1),
            value=self.whole(0, 1) if spikes else self.one(0, -1, self.whole(-40, 40)),
            samples=self.window(count), steps=self.window(network.steps),
            rank=self.whole(0, 2), reader=self.one(-1, -1, self.whole(0, len(network.layers) - 1)),
        )  # fmt: skip
        if Kind[kind] is Kind.operand:
            row["k"] = self.span(network.mac_shape(layer.name)[1])
        return row


def _fits(layer: MaxPool2d | AvgPool2d, shape: tuple[int, ...]) -> bool:
    """Whether every window of a pooling layer starts inside of the image."""
    for axis in (0, 1):
        before, after = layer.padding[2 * axis : 2 * axis + 2]
        many = (shape[axis + 1] + before + after - layer.kernel[axis]) // layer.stride[axis] + 1
        if many < 1 or (many - 1) * layer.stride[axis] - before >= shape[axis + 1]:
            return False
    return True


def random_chain(
    seed: int,
    trials: int = 12,
    count: int | None = None,
    small: bool = False,
    convolutions: bool = False,
) -> tuple[Program, Samples, Effects]:
    """A chain, samples for it, and effects on it: one a trial mostly, sometimes several."""
    draw = Chains(np.random.default_rng(seed))
    program = draw.convolutions(small) if convolutions else draw.chain(small)
    count = count or draw.one(1, draw.whole(2, 5), draw.whole(31, 40))
    rows = [
        {**draw.row(program, count), "trial": trial}
        for trial in range(trials)
        for _ in range(draw.one(1, 1, 1, 2, 3, 6))
    ]
    return program, draw.shown(program, count), Effects.of(rows, trials)
