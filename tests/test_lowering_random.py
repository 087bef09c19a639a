"""Networks that nobody would draw: drawn ones, lowered, agree with an oracle in every layer."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import snntorch
import torch
from integer_network import every_value
from sample_modules import RATE, images, leaky, seeded
from torch import Tensor, nn
from torch.nn import functional

from codesign.learning.coding import direct_coding
from codesign.learning.lowering import skeleton_of
from codesign.learning.quantization import QuantModel
from codesign.learning.settings import Quantisation

torch.set_num_threads(1)
CODINGS = [direct_coding(255.0), direct_coding(255.0, mean=(0.5, 0.4), std=(0.3, 0.2))]
SIMPLE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "clip": lambda x: x.clamp(-1, 1),
    "cut": lambda x: x[:, :, ::2, ::2],
    "pad": lambda x: functional.pad(x, (0, 0, 1, 0, 0, 1)),
    "max": lambda x: functional.max_pool2d(x, 2, 1),
    "mean": lambda x: functional.avg_pool2d(x, 2),
    "drop": lambda x: functional.dropout(x, training=False),
}


@dataclass(frozen=True)
class Stage:
    """One operation on an earlier result, perhaps beside another."""

    kind: str
    source: int
    other: int = -1


class Drawn(nn.Module):
    """A few operations, each on one of the last three results; some spike, if it is spiking."""

    def __init__(self, draw: random.Random, spiking: bool) -> None:
        super().__init__()
        self.spiking = spiking
        self.parts = nn.ModuleDict()
        self.stages: list[Stage] = []
        shapes = [(2, 8, 8)]
        kinds = ["conv", "conv", "norm", "add", "join", "cut", "pad", "max", "mean", "drop"]
        kinds += ["lif", "lif"] if spiking else ["relu", "relu", "relu6", "clip"]
        for _ in range(draw.randint(2, 9)):
            source = draw.randrange(max(0, len(shapes) - 3), len(shapes))
            self._draw(draw, draw.choice(kinds), source, shapes)
        self.head = nn.Linear(int(np.prod(shapes[-1])), 5)
        self.lif = leaky()

    def _draw(
        self, draw: random.Random, kind: str, source: int, shapes: list[tuple[int, int, int]]
    ) -> None:
        c, h, w = shapes[source]
        alike = [j for j, s in enumerate(shapes) if s == (c, h, w) and j != source]
        beside = [j for j, s in enumerate(shapes) if s[1:] == (h, w)]
        if (kind == "add" and not alike) or (kind in ("max", "mean") and min(h, w) < 2):
            return
        other = draw.choice(alike) if kind == "add" else draw.choice(beside)
        name = str(len(self.stages))
        if kind == "conv":
            groups, kernel = draw.choice([1, c]), draw.choice([1, 3])
            stride, bias = draw.choice([1, 1, 2]), draw.random() < 0.5
            self.parts[name] = nn.Conv2d(
                c, 2 * c if groups > 1 else 4, kernel, stride, kernel // 2, groups=groups, bias=bias
            )
        elif kind == "norm":
            self.parts[name] = nn.BatchNorm2d(c)
        elif kind == "lif":
            self.parts[name] = leaky(
                beta=draw.choice([0.5, 0.9, 1.0]),
                threshold=draw.choice([0.3, 1.0]),
                reset_mechanism=draw.choice(["subtract", "zero", "none"]),
            )
        self.stages.append(Stage(kind, source, other))
        with torch.no_grad():
            blank = [torch.zeros(2, *shape) for shape in shapes]
            shapes.append(tuple(self.stage(name, blank, {}).shape[1:]))  # type: ignore[arg-type]

    def stage(self, name: str, values: list[Tensor], membranes: dict[str, Tensor]) -> Tensor:
        stage = self.stages[int(name)]
        x, other = values[stage.source], values[stage.other]
        if stage.kind == "lif":
            spikes, membranes[name] = self.parts[name](x, membranes.get(name))
            result: Tensor = spikes
            return result
        if name in self.parts:
            return self.parts[name](x)
        if stage.kind == "add":
            return x + other
        return torch.cat([x, other], 1) if stage.kind == "join" else SIMPLE[stage.kind](x)

    def once(self, x: Tensor, membranes: dict[str, Tensor]) -> Tensor:
        values = [x]
        for name in range(len(self.stages)):
            values.append(self.stage(str(name), values, membranes))
        return self.head(values[-1].flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        membranes: dict[str, Tensor] = {}
        if not self.spiking:
            return self.once(x, membranes)
        counts = []
        for now in x:
            spikes, membranes["out"] = self.lif(self.once(now, membranes), membranes.get("out"))
            counts.append(spikes)
        return torch.stack(counts).sum(0)


@pytest.mark.parametrize("seed", range(40))
def test_a_drawn_network_agrees_in_every_layer(seed: int) -> None:
    draw = random.Random(seed)
    spiking = draw.random() < 0.5
    module = seeded(lambda: Drawn(draw, spiking), seed)
    coding = RATE if spiking else draw.choice(CODINGS)
    quantisation = Quantisation(
        weight_bits=draw.choice([3, 5, 8]),
        activation_bits=draw.choice([4, 6, 8]),
        per_channel=draw.random() < 0.7,
        weight_headroom_bits=draw.choice([0, 1]),
        membrane_bits=draw.choice([24, 32]),
    )
    samples = images(8)
    model = QuantModel(skeleton_of(module, samples, coding=coding), quantisation)
    model.calibrate(samples)
    network, coded = model.network(), coding.apply(samples)
    found = model.eval().values(torch.from_numpy(coded.inputs.astype(np.float32)), coded.timed)
    steps = every_value(network, samples)
    for layer in network:
        wanted = np.stack([step[layer.name] for step in steps])
        assert np.array_equal(np.broadcast_to(found[layer.name], wanted.shape), wanted), layer.name


def test_the_drawn_networks_hold_every_kind_of_layer() -> None:
    kinds, neurons = set(), 0
    for seed in range(40):
        draw = random.Random(seed)
        module = Drawn(draw, draw.random() < 0.5)
        kinds |= {stage.kind for stage in module.stages}
        neurons += sum(isinstance(part, snntorch.Leaky) for part in module.parts.values())
    assert kinds == {"conv", "norm", "lif", "add", "join", *SIMPLE}
    assert neurons > 10
