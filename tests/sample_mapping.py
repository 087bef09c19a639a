"""A two-layer network on a 2 × 2 array, small enough to count by hand."""

from __future__ import annotations

import numpy as np

from codesign.accelerator import AcceleratorGraph, Component, Link, Unit
from codesign.formats import Requantise
from codesign.layers import Conv2d, Edge, Flatten, Input, Linear
from codesign.mapping import Assignment, Cost, CostRow
from codesign.network import NetworkGraph
from codesign.quantities import Quantity
from codesign.report import MappingView

__all__ = ["sample_view"]

QUARTER = Requantise(1, 4, 0, 127)


def sample_view(name: str = "tiny") -> MappingView:
    """``conv`` is 4 positions of 9 terms for 2 channels, ``fc`` 8 terms for 3 channels."""
    conv = Conv2d(
        "conv", (Edge("input"),), np.ones((2, 1, 3, 3), int), np.zeros(2, int), requantise=QUARTER
    )
    fc = Linear("fc", (Edge("flat"),), np.ones((3, 8), int), np.zeros(3, int))
    layers = (Input("input", (), (1, 4, 4)), conv, Flatten("flat", (Edge("conv"),)), fc)
    return MappingView(
        name,
        NetworkGraph("net", layers),
        _chip(),
        (
            Assignment("conv", "array", ((0, 2), (0, 2)), (0, 4, 1), (0, 9, 1), (0, 2, 1), 0, 36),
            Assignment("fc", "array", ((0, 2), (0, 2)), (0, 1, 1), (0, 8, 1), (0, 2, 1), 36, 50),
            Assignment("fc", "array", ((0, 2), (0, 1)), (0, 1, 1), (0, 8, 1), (2, 3, 1), 50, 60, 1),
        ),
        _cost(),
    )


def _chip() -> AcceleratorGraph:
    read = Quantity(2.5, "pJ", "book", "published")
    words = Component("words", 16, "weight", 64, "never", energy={"read": read})
    register = Component("weight_register", 8, "weight", reload="per_tile")
    units = (Unit("sram", "sram", (), (words,)), Unit("array", "pe_array", (2, 2), (register,)))
    links = (Link("sram", "array", "weight", 16, 2.0), Link("array", "sram", "activation", 16))
    clock = Quantity(100.0, "MHz", "book", "published")
    return AcceleratorGraph("toy", None, units, links, clock, {"book": "A book of numbers"})


def _cost() -> Cost:
    rows = (
        CostRow("conv", "sram", "words", "read", 18.0, 16, 45.0, "published"),
        CostRow("fc", "sram", "words", "read", 24.0, 16, 60.0, "published"),
        CostRow("conv", "array", "product", "op", 72.0, 16, None, "absent"),
        CostRow("*", "sram", "words", "leak", 1.0, 0, None, "absent"),
    )
    return Cost(
        cycles=60,
        layer_cycles={"conv": 36, "fc": 24},
        utilisation={"conv": 0.5, "fc": 0.25},
        rows=rows,
        area_um2={"sram": 900.0},
        latency_us=0.6,
        missing=("array.product.op",),
    )
