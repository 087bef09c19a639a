"""Programs small enough to be computed by hand: for tests of the reference engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from codesign.effects import Effects
from codesign.engine.observables import Observables
from codesign.engine.reference import evaluate
from codesign.formats import NumberFormat
from codesign.network import (
    Conv2d,
    Edge,
    Input,
    Lif,
    Linear,
    NetworkGraph,
)
from codesign.program import MacArithmetic, Program
from codesign.samples import Samples

WIDE = NumberFormat(40)


def plain(network: NetworkGraph, guards=()) -> Program:
    """A program that sums every layer's terms in one wide segment."""
    macs = [x.name for x in network if isinstance(x, Conv2d | Linear)]
    sums = {n: MacArithmetic(WIDE, WIDE, (network.mac_shape(n)[1],)) for n in macs}
    return Program(network, sums, guards=guards)


def samples_of(*inputs, timed=False) -> Samples:
    """Samples of these codes, all labelled 0."""
    return Samples("made", "test", np.array(inputs), np.zeros(len(inputs), int), timed=timed)


def run(program, samples, *rows, trials=1, watch=()) -> Observables:
    """What the reference engine observes under the effects of ``rows``."""
    return evaluate(program, samples, Effects.of(rows, trials), watch=watch)


def one_neuron(steps=4, current=3, guards=(), **rule) -> tuple[Program, Samples]:
    """One LIF neuron fed a constant current through a weight of 1."""
    rule = {"threshold": np.array(5), "reset": "zero", **rule}
    network = NetworkGraph(
        "neuron",
        (
            Input("x", (), shape=(1,)),
            Linear("i", (Edge("x"),), weight=np.array([[1]]), bias=np.array([0])),
            Lif("s", (Edge("i"),), **rule),
        ),
        steps=steps,
    )
    return plain(network, guards), samples_of([current])


def raster(program, samples, *rows) -> list[int]:
    """The spikes of the neuron `one_neuron`, step by step."""
    return run(program, samples, *rows, watch=("s",)).watched["s"].ravel().tolist()


def membrane(program, samples, *rows) -> list[int]:
    """The membrane of the neuron `one_neuron`, step by step."""
    return run(program, samples, *rows, watch=("s",)).watched["s.membrane"].ravel().tolist()


def dot(guards=(), **arithmetic) -> tuple[Program, Samples]:
    """Y = 10 + 1·5 + 2·6 + 3·7 = 48 over four segments' worth of knobs."""
    network = NetworkGraph(
        "dot",
        (
            Input("x", (), shape=(3,)),
            Linear("y", (Edge("x"),), weight=np.array([[1, 2, 3]]), bias=np.array([10])),
        ),
    )
    knobs = {"inner": WIDE, "outer": WIDE, "splits": (3,), **arithmetic}
    return Program(network, {"y": MacArithmetic(**knobs)}, guards=guards), samples_of([5, 6, 7])


def value(program, samples, *rows) -> int:
    """The one output of `dot`."""
    return int(run(program, samples, *rows).outputs[0, 0, 0])


def row(kind, at, op="add", **more) -> dict[str, Any]:
    """An effect on layer 1."""
    return {"kind": kind, "at": at, "layer": 1, "op": op, **more}
