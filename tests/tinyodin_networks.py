"""Small networks for tinyODIN."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from codesign.formats import NumberFormat, read_only
from codesign.layers import Edge, Input, Leak, Lif, Linear
from codesign.network import NetworkGraph
from codesign.samples import InputCoding

SPIKE = NumberFormat(1, signed=False)


def linear(name, source, weight, **options):
    """A layer of 4-bit weights without bias."""
    weight = np.asarray(weight)
    bias = options.pop("bias", np.zeros(len(weight), int))
    form = options.pop("weight_format", NumberFormat(4))
    return Linear(name, (Edge(source),), read_only(weight), read_only(bias), form, **options)


def lif(name, source, threshold=5, leak=1, **options):
    """Neurons as the chip has them; any attribute can be another."""
    order = options.pop("order", ("integrate", "fire", "reset", "leak"))
    return Lif(
        name,
        (Edge(source),),
        threshold=read_only(threshold),
        leak=options.pop("leaks", Leak("subtract", leak)),
        reset=options.pop("reset", "zero"),
        strict=options.pop("strict", False),
        order=order,
    )


def network(rng, sizes=(6, 5, 3), steps=4, **options):
    """A chain with random weights."""
    layers = [Input("x", (), (sizes[0],), SPIKE)]
    for i, (k, n) in enumerate(pairwise(sizes)):
        layers.append(linear(f"fc{i}", layers[-1].name, rng.integers(-4, 8, (n, k))))
        layers.append(lif(f"lif{i}", f"fc{i}", rng.integers(3, 12, n), **options))
    coding = InputCoding("rate", SPIKE, steps=steps)
    return NetworkGraph("net", tuple(layers), steps, coding)
