"""The sparse engine equals the reference and the dense engine on networks without time, exactly."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_programs import Draw

from codesign.effects import At, Effects, Kind
from codesign.engine import dense, kernels, reference, sparse, sparse_cnn
from codesign.errors import DataError
from codesign.guards import Clamp
from codesign.network import Input, NetworkGraph, is_mac
from codesign.program import Program
from codesign.samples import Samples

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(kernels.library() is None, reason="no compiler made the kernels")

SEEDS = st.integers(0, 1 << 32)


def random_case(seed: int, trials: int = 12) -> tuple[Program, Samples, Effects]:
    """A random network of one step without guards, samples, and single and mixed faults."""
    draw = Draw(np.random.default_rng(seed))
    network = draw.network()
    while network.steps > 1:
        network = draw.network()
    macs = [layer.name for layer in network if is_mac(layer)]
    sums = {name: draw.arithmetic(*network.mac_shape(name)[1:]) for name in macs}
    program = Program(network, sums)
    samples = draw.samples(network, draw.whole(1, 4))
    effects = draw.effects(program, len(samples), trials)
    table = effects.table.copy()
    if draw.coin():  # as hardware has them: one bit in one element, on all samples
        table["samples"] = 0, -1
        for axis in "mkn":
            table[axis][:, 1] = table[axis][:, 0] + 1
        _, first = np.unique(table["trial"], return_index=True)
        table = table[first]
    return program, samples, Effects(table, trials)


@given(SEEDS, st.integers(1, 3))
def test_all_engines_give_the_same_for_every_mixture_of_effects(seed: int, workers: int) -> None:
    program, samples, effects = random_case(seed, trials=6)
    slow = reference.evaluate(program, samples, effects)
    fast = sparse.evaluate(program, samples, effects, workers=workers)
    assert np.array_equal(slow.outputs, fast.outputs)
    assert not fast.corrected.any()
    assert not fast.detected.any()
    assert not fast.hang.any()


def test_thousands_of_trials_equal_the_dense_engine() -> None:
    counted: Counter[str] = Counter()
    kinds: Counter[tuple[Kind, At]] = Counter()
    for seed in range(140):
        program, samples, effects = random_case(seed)
        golden = dense.golden(program, samples)
        full = dense.evaluate(program, samples, effects, golden=golden)
        found, counts = sparse.evaluate_counted(program, samples, effects, golden=golden)
        assert np.array_equal(full.outputs, found.outputs), seed
        assert counts.golden + counts.collapsed + counts.sparse + counts.dense == effects.trials
        changed = (full.outputs != golden.outputs).any(axis=(1, 2))
        acting = effects.table[changed[effects.table["trial"]]]
        kinds.update((Kind(k), At(a)) for k, a in zip(acting["kind"], acting["at"], strict=True))
        counted.update(sparse=counts.sparse, terms=counts.by_terms, narrow=counts.narrow)
    assert len(kinds) == 10  # every place of a conventional network
    assert min(kinds.values()) > 5, kinds
    assert counted["sparse"] > 600
    assert counted["terms"] > 100
    assert counted["narrow"] > 50


def test_the_number_of_workers_and_the_order_of_trials_change_nothing() -> None:
    program, samples, effects = random_case(7, trials=40)
    one = sparse.evaluate(program, samples, effects)
    table = effects.table.copy()
    table["trial"] = 39 - table["trial"]
    turned = sparse.evaluate(program, samples, Effects(table, 40), workers=4)
    assert np.array_equal(one.outputs, turned.outputs[::-1])


def test_outputs_are_written_where_the_caller_wants_them() -> None:
    program, samples, effects = random_case(7, trials=40)
    golden = dense.golden(program, samples)
    rows = effects.table[sparse_cnn.acting(effects.table)]
    fine, sums = sparse_cnn.sparse_trials(golden, rows, 40)
    mine = np.flatnonzero(fine & (np.bincount(rows["trial"], minlength=40) > 0))
    assert len(mine) > 5
    rows = rows[np.isin(rows["trial"], mine)]
    starts = np.append(np.searchsorted(rows["trial"], mine), len(rows))
    outputs = np.repeat(golden.outputs[None], 40, axis=0)
    sparse_cnn.evaluate(golden, rows, starts, sums[mine], outputs, places=mine)
    expected = dense.evaluate(program, samples, effects, golden=golden).outputs
    assert np.array_equal(outputs[mine], expected[mine])
    others = np.setdiff1d(np.arange(40), mine)
    assert (outputs[others] == golden.outputs).all()


def test_trials_without_a_sparse_form_are_dense_and_counted() -> None:
    program, samples, _ = random_case(3)
    wide = {"kind": "activation", "at": "stored", "layer": 0, "op": "replace", "value": 1 << 40}
    narrow = {**wide, "op": "xor", "bits": 4, "mask": 1}
    effects = Effects.of([{**wide, "op": "xor", "bits": 40, "mask": 1}, {**narrow, "trial": 1}], 3)
    _, counts = sparse.evaluate_counted(program, samples, effects)
    assert (counts.golden, counts.sparse, counts.dense) == (1, 1, 1)
    assert counts.pairs == len(samples)


def test_programs_without_a_sparse_form_say_why() -> None:
    program, samples, effects = random_case(3)
    layer = program.network.layers[-1].name
    guarded = replace(program, guards=(Clamp(layer, "activation", -100, 100),))
    _, counts = sparse.evaluate_counted(guarded, samples, effects)
    assert counts.why_dense == "it has guards"
    assert counts.dense == effects.trials
    steps = NetworkGraph("timed", program.network.layers, steps=2)
    timed = Program(steps, program.arithmetic)
    _, counts = sparse.evaluate_counted(timed, samples, effects)
    assert counts.why_dense == "it is not a network of one step without neurons"
    size = (1 << 16) + 1
    broad = NetworkGraph("broad", (Input("input", (), (size,)),))
    ones = Samples("ones", "test", np.ones((1, size), dtype=np.int64), np.zeros(1, dtype=np.int64))
    _, counts = sparse.evaluate_counted(Program(broad, {}), ones, Effects.of([], 1))
    assert counts.why_dense == "a layer has more than 65536 channels"
    observed, counts = sparse.evaluate_counted(program, samples, effects, watch=(layer,))
    assert counts.why_dense == "layers are watched"
    assert layer in observed.watched


def test_another_programs_golden_run_and_no_workers_are_refused() -> None:
    program, samples, effects = random_case(3)
    other = dense.golden(*random_case(4)[:2])
    with pytest.raises(DataError, match="another program's"):
        sparse.evaluate(program, samples, effects, golden=other)
    with pytest.raises(DataError, match="workers is at least 1, came 0"):
        sparse.evaluate(program, samples, effects, workers=0)
