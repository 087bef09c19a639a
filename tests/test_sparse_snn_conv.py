"""The sparse engine for convolutional spiking networks equals the reference, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_snn_cases import random_chain

from codesign.effects import At, Effects, Kind, Op
from codesign.engine import dense, reference, sparse_snn
from codesign.engine.kernels import library
from codesign.engine.observables import outcomes
from codesign.formats import NumberFormat
from codesign.guards import Clamp
from codesign.network import (
    AvgPool2d,
    Conv2d,
    Edge,
    Flatten,
    Input,
    Layer,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
)
from codesign.program import MacArithmetic, Program
from codesign.samples import Samples

torch.set_num_threads(1)

pytestmark = pytest.mark.skipif(library() is None, reason="the kernels are not compiled")

SEEDS = st.integers(0, 1 << 32)


def sparse_case(
    seed: int, trials: int = 12, count: int | None = None, small: bool = False
) -> tuple[Program, Samples, Effects]:
    """A random convolutional case; trials without a sparse form lose their effects."""
    program, samples, effects = random_chain(seed, trials, count, small, convolutions=True)
    sparse = sparse_snn.supports(program, effects)
    return program, samples, Effects(effects.table[sparse[effects.table["trial"]]], trials)


@settings(max_examples=max(1, settings().max_examples // 4), deadline=None)
@given(SEEDS)
def test_every_mixture_of_effects_gives_what_the_reference_gives(seed: int) -> None:
    program, samples, effects = sparse_case(seed, trials=3, count=2, small=True)
    slow = reference.evaluate(program, samples, effects)
    fast = sparse_snn.evaluate(program, samples, effects, portable=bool(seed % 2))
    for name in ("outputs", "corrected", "detected", "hang"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), name)


@settings(max_examples=max(1, settings().max_examples // 5), deadline=None)
@given(SEEDS)
def test_groups_of_samples_and_windows_give_what_the_dense_engine_gives(seed: int) -> None:
    program, samples, effects = sparse_case(seed)
    slow = dense.evaluate(program, samples, effects)
    golden = sparse_snn.golden(program, samples)
    fast = sparse_snn.evaluate(program, samples, effects, golden=golden, workers=1)
    np.testing.assert_array_equal(fast.outputs, slow.outputs)
    portable = sparse_snn.golden(program, samples, portable=True)
    np.testing.assert_array_equal(portable.outputs, golden.outputs)
    plain = sparse_snn.evaluate(
        program, samples, effects, golden=portable, workers=2, portable=True
    )
    np.testing.assert_array_equal(plain.outputs, slow.outputs)


def test_forty_cases_give_what_the_dense_engine_gives() -> None:
    # Always the same, because a step or a sample that is left out shows in one of ten cases.
    for seed in range(40):
        program, samples, effects = sparse_case(seed)
        fast = sparse_snn.evaluate(program, samples, effects, workers=1)
        np.testing.assert_array_equal(
            fast.outputs, dense.evaluate(program, samples, effects).outputs, f"seed {seed}"
        )


@settings(max_examples=max(1, settings().max_examples // 5), deadline=None)
@given(SEEDS)
def test_outcomes_are_those_of_the_outputs_and_what_was_not_computed_is_golden(seed: int) -> None:
    program, samples, effects = sparse_case(seed, count=35)
    labels = np.random.default_rng(seed).integers(0, 3, len(samples))
    samples = replace(samples, labels=labels)
    golden = sparse_snn.golden(program, samples)
    found = sparse_snn.evaluate(program, samples, effects, golden=golden)
    expected = outcomes(found, golden.outputs, labels)
    judged = sparse_snn.outcomes(program, samples, effects, golden=golden)
    for name in vars(expected):
        np.testing.assert_array_equal(getattr(judged.outcomes, name), getattr(expected, name), name)
    assert (found.outputs[~judged.computed] == golden.outputs).all()


def test_the_random_cases_hold_every_place_and_layer_and_change_outputs() -> None:
    seen: dict[tuple[Kind, At], int] = {}
    stored: set[type[Layer]] = set()
    sparse = trials = grouped = pooled = 0
    for seed in range(80):
        program, samples, effects = sparse_case(seed, count=3)
        layers = program.network.layers
        sparse += len(np.unique(effects.table["trial"]))
        trials += effects.trials
        grouped += any(isinstance(x, Conv2d) and x.groups > 1 for x in layers)
        pooled += any(
            isinstance(x, MaxPool2d | AvgPool2d)
            and isinstance(program.network[x.inputs[0].source], Lif)
            for x in layers
        )
        golden = sparse_snn.golden(program, samples)
        found = sparse_snn.evaluate(program, samples, effects, golden=golden)
        changed = (found.outputs != golden.outputs).any(axis=(1, 2))
        for row in effects.table[changed[effects.table["trial"]]]:
            place = Kind(row["kind"]), At(row["at"])
            seen[place] = seen.get(place, 0) + 1
            if row["kind"] == Kind.activation:
                stored.add(type(layers[row["layer"]]))
    assert len(seen) == 13
    assert min(seen.values()) > 3
    assert stored == {Input, Conv2d, Linear, MaxPool2d, AvgPool2d, Flatten, Lif}
    assert sparse > 0.7 * trials
    assert min(grouped, pooled) > 10


def network_of(*layers: Layer, steps: int = 2) -> Program:
    """A program of some layers behind a binary 1 x 2 x 2 input, sums of 24 bits."""
    first = Input("x", (), (1, 2, 2), NumberFormat(1, False))
    network = NetworkGraph("small", (first, *layers), steps)
    wide = NumberFormat(24)
    macs = [x.name for x in layers if isinstance(x, Conv2d | Linear)]
    return Program(
        network, {m: MacArithmetic(wide, wide, (network.mac_shape(m)[1],)) for m in macs}
    )


def conv(name: str, source: str, weight: list[list[int]]) -> Conv2d:
    """One channel, one kernel, no bias."""
    return Conv2d(name, (Edge(source),), np.array([[weight]]), np.zeros(1, dtype=int))


def neurons(name: str, source: str, threshold: int = 0) -> Lif:
    """One threshold, no leak; what fired is set back to 0."""
    return Lif(name, (Edge(source),), np.array(threshold), reset="zero")


def test_spikes_that_are_pooled_change_what_reads_them_only_where_the_pool_does() -> None:
    largest = MaxPool2d("p", (Edge("n"),))
    last = conv("t", "p", [[1]]), neurons("o", "t")
    program = network_of(conv("s", "x", [[1]]), neurons("n", "s"), largest, *last)
    # Pixel 0 spikes in the first step, pixels 0 and 1 in the second: so do neurons, output 0 twice.
    spikes = np.array([[[[[1, 0], [0, 0]]], [[[1, 1], [0, 0]]]]])
    samples = Samples("by hand", "test", spikes, np.zeros(1, dtype=int), timed=True)
    dead = {"kind": "operation", "at": "fire", "layer": 2, "op": "skip"}
    rows = [
        {"trial": 0, **dead, "m": (0, 1, 1)},  # the second step's maximum is neuron 1's
        {"trial": 1, **dead, "m": (1, 2, 1)},
        {"trial": 2, **dead, "m": (0, 2, 1)},
        {"trial": 3, "kind": "activation", "at": "stored", "layer": 3, "op": "stuck", "bits": 2,
         "signed": False, "mask": 1, "value": 0, "steps": (1, 2)},
        {"trial": 4, "kind": "operand", "at": "weight", "layer": 1, "op": "replace", "value": 0},
    ]  # fmt: skip
    effects = Effects.of(rows, 5)
    assert sparse_snn.supports(program, effects).all()
    found = sparse_snn.evaluate(program, samples, effects)
    assert found.outputs[:, 0].tolist() == [[1], [2], [0], [1], [0]]
    assert sparse_snn.golden(program, samples).outputs.tolist() == [[2]]


def test_sums_that_are_pooled_are_compared_after_their_faults() -> None:
    largest = MaxPool2d("p", (Edge("s"),))
    program = network_of(conv("s", "x", [[3]]), largest, neurons("n", "p", 2))
    samples = Samples("by hand", "test", np.ones((1, 1, 2, 2), dtype=int), np.zeros(1, dtype=int))
    one = {"kind": "activation", "at": "stored", "layer": 1, "op": "replace", "value": 0}
    rows = [
        {"trial": 0, **one, "m": (0, 3, 1)},  # the last of four sums is left
        {"trial": 1, **one},
        {"trial": 2, "kind": "operand", "at": "weight", "layer": 1, "op": "xor", "bits": 8,
         "mask": 128, "m": (1, 2, 1)},
    ]  # fmt: skip
    found = sparse_snn.evaluate(program, samples, Effects.of(rows, 3))
    assert found.outputs[:, 0].tolist() == [[2], [0], [2]]


def test_golden_values_beyond_16_bits_are_kept_in_32() -> None:
    weight = [[100]]
    for threshold in (1 << 8, 1 << 17):
        last = Lif("n", (Edge("s"),), np.array(threshold), reset="none")
        program = network_of(conv("s", "x", weight), last, steps=340)
        samples = Samples("ones", "test", np.ones((2, 1, 2, 2), dtype=int), np.zeros(2, dtype=int))
        flip = {"kind": "state", "at": "cell", "layer": 2, "op": "xor", "bits": 24}
        rows = [
            {"trial": i, **flip, "mask": 1 << i, "steps": (i, i + 1), "m": (i % 4, i % 4 + 1, 1)}
            for i in range(24)
        ]
        effects = Effects.of(rows, 24)
        golden = sparse_snn.golden(program, samples)
        found = sparse_snn.evaluate(program, samples, effects, golden=golden)
        np.testing.assert_array_equal(
            found.outputs, dense.evaluate(program, samples, effects).outputs
        )


def refused() -> list[Program]:
    """Programs that are no chain of this engine."""
    first = conv("s", "x", [[1]]), neurons("n", "s")
    pool = MaxPool2d("p", (Edge("x"),), (1, 1), (1, 1))
    twice = (
        MaxPool2d("p", (Edge("n"),), (1, 1), (1, 1)),
        AvgPool2d("q", (Edge("p"),), (2, 2)),
        conv("t", "q", [[1]]),
        neurons("o", "t"),
    )
    wide = np.ones((1, 2), dtype=int)
    rows = Linear("s", (Edge("x"),), wide, np.zeros(1, dtype=int)), neurons("n", "s")
    outside = MaxPool2d("p", (Edge("s"),), (1, 1), (3, 3), (3, 0, 3, 0))
    return [
        network_of(pool, conv("s", "p", [[1]]), neurons("n", "s")),
        network_of(*first, *twice),
        network_of(*rows),
        network_of(*first, MaxPool2d("p", (Edge("n"),))),
        network_of(conv("s", "x", [[1]]), outside, neurons("n", "p")),
        replace(network_of(*first), guards=(Clamp("n", "activation", 0, 1),)),
    ]


@pytest.mark.parametrize("program", refused(), ids=lambda p: p.network.layers[-1].name)
def test_programs_of_another_form_are_left_to_the_dense_engine(program: Program) -> None:
    assert "no chain" in sparse_snn.why_dense(program)
    assert not sparse_snn.supports(program, Effects.none(2)).any()


def test_corruptions_that_the_pooled_sums_cannot_hold_are_left_to_the_dense_engine() -> None:
    largest = MaxPool2d("p", (Edge("s"),))
    program = network_of(conv("s", "x", [[3]]), largest, neurons("n", "p", 2))
    row = {"kind": "activation", "at": "stored", "layer": 1, "mask": 1}
    rows = [
        {"trial": 0, **row, "op": "xor", "bits": 32},
        {"trial": 1, **row, "op": "add", "value": 2},
        {"trial": 2, **row, "op": "xor", "bits": 24},
    ]
    assert sparse_snn.supports(program, Effects.of(rows, 3)).tolist() == [False, False, True]
    assert Op.add in set(Effects.of(rows, 3).table["op"])
