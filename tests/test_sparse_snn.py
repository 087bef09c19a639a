"""The sparse engine for spiking networks equals the reference, bit for bit."""

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
from codesign.errors import DataError, UnsupportedError
from codesign.formats import NumberFormat
from codesign.guards import Clamp
from codesign.network import Edge, Input, Lif, Linear, NetworkGraph
from codesign.program import MacArithmetic, Program
from codesign.samples import Samples

torch.set_num_threads(1)

pytestmark = pytest.mark.skipif(library() is None, reason="the kernels are not compiled")

SEEDS = st.integers(0, 1 << 32)


def sparse_case(
    seed: int, trials: int = 12, count: int | None = None, small: bool = False
) -> tuple[Program, Samples, Effects]:
    """A random case; trials without a sparse form lose their effects."""
    program, samples, effects = random_chain(seed, trials, count, small)
    sparse = sparse_snn.supports(program, effects)
    return program, samples, Effects(effects.table[sparse[effects.table["trial"]]], trials)


@settings(max_examples=max(1, settings().max_examples // 2))
@given(SEEDS)
def test_every_mixture_of_effects_gives_what_the_reference_gives(seed: int) -> None:
    program, samples, effects = sparse_case(seed, trials=4, count=2, small=True)
    slow = reference.evaluate(program, samples, effects)
    fast = sparse_snn.evaluate(program, samples, effects, portable=bool(seed % 2))
    for name in ("outputs", "corrected", "detected", "hang"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), name)


@settings(max_examples=max(1, settings().max_examples // 3))
@given(SEEDS)
def test_groups_of_samples_and_windows_give_what_the_dense_engine_gives(seed: int) -> None:
    program, samples, effects = sparse_case(seed)
    slow = dense.evaluate(program, samples, effects)
    fast = sparse_snn.evaluate(program, samples, effects, workers=1)
    np.testing.assert_array_equal(fast.outputs, slow.outputs)


def test_the_random_cases_hold_every_place_that_has_a_sparse_form_and_change_outputs() -> None:
    seen: dict[tuple[Kind, At], int] = {}
    ops: set[Op] = set()
    sparse = trials = 0
    for seed in range(60):
        program, samples, effects = sparse_case(seed, count=3)
        sparse += len(np.unique(effects.table["trial"]))
        trials += effects.trials
        golden = sparse_snn.golden(program, samples)
        found = sparse_snn.evaluate(program, samples, effects, golden=golden)
        changed = (found.outputs != golden.outputs).any(axis=(1, 2))
        for row in effects.table[changed[effects.table["trial"]]]:
            place = Kind(row["kind"]), At(row["at"])
            seen[place] = seen.get(place, 0) + 1
            ops.add(Op(row["op"]))
    assert len(seen) == 13
    assert min(seen.values()) > 3
    assert ops == set(Op)
    assert sparse > 0.7 * trials


@settings(max_examples=max(1, settings().max_examples // 3))
@given(SEEDS)
def test_results_do_not_depend_on_workers_chunks_or_vectors(seed: int) -> None:
    program, samples, effects = sparse_case(seed, trials=40, count=34)
    golden = sparse_snn.golden(program, samples)
    plain = sparse_snn.golden(program, samples, portable=True)
    np.testing.assert_array_equal(plain.outputs, golden.outputs)
    whole = sparse_snn.evaluate(program, samples, effects, golden=golden, workers=1).outputs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse_snn, "CHUNK", 3)
        parts = sparse_snn.evaluate(program, samples, effects, golden=plain, workers=2)
    np.testing.assert_array_equal(parts.outputs, whole)
    portable = sparse_snn.evaluate(program, samples, effects, golden=golden, portable=True)
    np.testing.assert_array_equal(portable.outputs, whole)


@settings(max_examples=max(1, settings().max_examples // 3))
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


def test_a_silent_input_and_a_neuron_that_never_fires_are_proved_masked() -> None:
    weight = np.array([[3, 5], [-2, 4]])
    layers = (
        Input("x", (), (2,), NumberFormat(1, False)),
        Linear("s", (Edge("x"),), weight, np.zeros(2, dtype=int)),
        Lif("n", (Edge("s"),), np.array(2)),
    )
    network = NetworkGraph("two neurons", layers, steps=3)
    sums = MacArithmetic(NumberFormat(20), NumberFormat(20), (2,))
    program = Program(network, {"s": sums})
    # Input 0 spikes at every step and input 1 never: neuron 0 fires always, neuron 1 never.
    spikes = np.tile([1, 0], (1, 3, 1))
    samples = Samples("by hand", "test", spikes, np.zeros(1, dtype=int), timed=True)
    one, two = (0, 1, 1), (1, 2, 1)
    flip = {"kind": "operand", "at": "weight", "layer": 1, "op": "xor", "bits": 8, "mask": 2}
    dead = {"kind": "spike", "at": "line", "layer": 2, "op": "stuck", "bits": 1, "mask": 1}
    rows = [
        {"trial": 0, **flip, "n": one, "k": two},
        {"trial": 1, **flip, "n": one, "k": one},  # 3 -> 1: 1, 2, 3 (fires), at the third step
        {"trial": 2, **dead, "n": one},
        {"trial": 3, **dead, "n": two},
        {"trial": 4, "kind": "operation", "at": "fire", "layer": 2, "op": "skip", "n": two},
    ]
    effects = Effects.of(rows, 5)
    found = sparse_snn.evaluate(program, samples, effects)
    assert found.outputs.tolist() == [[[3, 0]], [[1, 0]], [[0, 0]], [[3, 0]], [[3, 0]]]
    judged = sparse_snn.outcomes(program, samples, effects)
    assert judged.computed.tolist() == [False, True, True, False, False]
    assert judged.outcomes.masked.tolist() == [1, 0, 0, 1, 1]
    assert judged.outcomes.tolerated.tolist() == [0, 1, 1, 0, 0]


def test_the_golden_run_is_the_dense_engines() -> None:
    for seed in range(20):
        program, samples, _ = random_chain(seed)
        golden = sparse_snn.golden(program, samples)
        np.testing.assert_array_equal(golden.outputs, dense.golden(program, samples).outputs)


def test_trials_without_effects_or_outside_their_windows_are_golden() -> None:
    program, samples, effects = sparse_case(3, count=3)
    rows = effects.table.copy()
    rows["samples"] = (len(samples), -1)
    found = sparse_snn.evaluate(program, samples, Effects(rows, effects.trials + 1))
    golden = sparse_snn.golden(program, samples).outputs
    assert len(rows) > 0
    np.testing.assert_array_equal(found.outputs, np.repeat(golden[None], len(found.outputs), 0))


def test_programs_with_guards_and_sums_that_overflow_are_left_to_the_dense_engine() -> None:
    program, _, effects = random_chain(1)
    name = program.network.layers[-1].name
    guarded = replace(program, guards=(Clamp(name, "activation", 0, 1),))
    assert sparse_snn.supports(program, effects).any()
    assert not sparse_snn.supports(guarded, effects).any()
    sums = next(iter(program.arithmetic))
    narrow = replace(program.arithmetic[sums].inner, bits=2)
    tight = replace(program.arithmetic[sums], inner=narrow)
    tight_program = replace(program, arithmetic={**program.arithmetic, sums: tight})
    assert not sparse_snn.supports(tight_program, effects).any()


def test_effects_without_a_sparse_form_are_refused_one_trial_at_a_time() -> None:
    program, samples, _ = random_chain(1)
    sums = program.network.index(next(iter(program.arithmetic)))
    rows = [
        {"trial": 1, "kind": "accumulator", "at": "total", "layer": sums, "op": "xor",
         "bits": 8, "mask": 1},
        {"trial": 2, "kind": "parameter", "at": "bias", "layer": sums, "op": "xor",
         "bits": 4, "mask": 1},
    ]  # fmt: skip
    effects = Effects.of(rows, 3)
    assert sparse_snn.supports(program, effects).tolist() == [True, False, True]
    with pytest.raises(UnsupportedError, match="trial 1 has no sparse form"):
        sparse_snn.evaluate(program, samples, effects)


def test_another_programs_golden_run_and_programs_that_are_no_chain_are_refused() -> None:
    program, samples, effects = sparse_case(1, count=3)
    other, shown, _ = sparse_case(2, count=3)
    golden = sparse_snn.golden(other, shown)
    with pytest.raises(DataError, match="another program's"):
        sparse_snn.evaluate(program, samples, effects, golden=golden)
    guarded = replace(program, guards=(Clamp("x", "activation", 0, 1),))
    with pytest.raises(UnsupportedError, match="not a chain of spiking layers"):
        sparse_snn.golden(guarded, samples)
