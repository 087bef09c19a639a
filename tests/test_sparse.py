"""The engine of campaigns: who computes a trial changes nothing, and every trial is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_programs import random_case
from sparse_snn_cases import random_chain

from codesign.effects import Effects
from codesign.engine import dense, kernels, pick, reference, sparse
from codesign.engine.dense_golden import Golden
from codesign.network import is_mac

torch.set_num_threads(1)
compiled = pytest.mark.skipif(kernels.library() is None, reason="no compiler made the kernels")

SEEDS = st.integers(0, 1 << 32)


@given(SEEDS)
def test_any_program_gives_what_the_reference_gives(seed: int) -> None:
    # Guards, steps, neurons, delays: what has no sparse form must find its way all the same.
    program, samples, effects = random_case(seed)
    slow = reference.evaluate(program, samples, effects)
    fast = pick.run_faulty(pick.run_golden(program, samples), effects)
    for name in ("outputs", "corrected", "detected", "hang"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), name)


@compiled
def test_chains_of_neurons_equal_the_dense_engine_whoever_computes_their_trials() -> None:
    ran = {"sparse": 0, "dense": 0}
    for seed in range(60):
        program, samples, effects = random_chain(seed)
        golden = dense.golden(program, samples)
        full = dense.evaluate(program, samples, effects, golden=golden)
        found, counts = sparse.evaluate_counted(program, samples, effects, golden=golden)
        np.testing.assert_array_equal(found.outputs, full.outputs)
        assert counts.golden + counts.collapsed + counts.sparse + counts.dense == effects.trials
        ran["sparse"] += counts.sparse
        ran["dense"] += counts.dense
    assert ran["sparse"] > 300
    assert ran["dense"] > 20


def doubled(effects: Effects) -> Effects:
    """Every trial twice, the second time under other names for the event and the rank."""
    again = effects.table.copy()
    again["trial"] += effects.trials
    again["event"] += 7
    again["rank"] += 3
    return Effects(np.concatenate([effects.table, again]), 2 * effects.trials)


@compiled
def test_a_trial_whose_one_effect_was_met_before_is_answered_by_that_trial() -> None:
    program, samples, effects = random_chain(5, trials=20)
    golden = dense.golden(program, samples)
    single = np.bincount(effects.table["trial"], minlength=20) == 1
    found, counts = sparse.evaluate_counted(program, samples, doubled(effects), golden=golden)
    full = dense.evaluate(program, samples, effects, golden=golden)
    np.testing.assert_array_equal(found.outputs, np.concatenate([full.outputs] * 2))
    assert 0 < single.sum() < 20
    assert counts.collapsed == single.sum()
    assert counts.sparse + counts.dense == 20 + (~single).sum()


@compiled
def test_one_bit_of_one_element_is_not_taken_for_another() -> None:
    program, samples, _ = random_chain(5)
    layer = next(i for i, x in enumerate(program.network) if is_mac(x))
    assert program.network.mac_shape(program.network.layers[layer].name)[1] > 1
    bit = {"kind": "operand", "at": "weight", "layer": layer, "op": "xor", "bits": 4}
    rows = [
        {**bit, "trial": i, "k": (k, k + 1, 1), "n": (0, 1, 1), "mask": mask, "samples": (0, stop)}
        for i, (k, mask, stop) in enumerate([(0, 1, -1), (0, 2, -1), (1, 1, -1), (0, 1, 1)])
    ]
    _, counts = sparse.evaluate_counted(program, samples, Effects.of(rows, 4))
    assert (counts.collapsed, counts.sparse + counts.dense) == (0, 4)


@compiled
def test_kernels_that_disagree_with_the_golden_run_are_not_used() -> None:
    program, samples, effects = random_chain(5)
    run = dense.golden(program, samples)
    parts = {name: getattr(run, name) for name in ("corrected", "detected", "plan", "kept", "end")}
    wrong = Golden(program, samples, run.outputs + 1, **parts)
    with pytest.raises(sparse.UnsupportedError, match="golden outputs are not those of the dense"):
        sparse.evaluate(program, samples, effects, golden=wrong)


@compiled
def test_an_engine_says_which_kernel_it_runs() -> None:
    program, _, _ = random_chain(5)
    assert pick.engine_name(program) == (
        f"sparse (kernels: {kernels.kernel_name()}), dense (torch, CPU) for the rest"
    )
