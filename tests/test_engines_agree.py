"""The dense engine equals the reference, bit for bit, on random programs under random effects."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import random_case

from codesign.effects import At, Kind, Op
from codesign.engine import (
    dense,
    dense_blocks,
    dense_golden,
    dense_pairs,
    dense_stack,
    dense_sums,
    dense_trials,
    reference,
)

torch.set_num_threads(1)

SEEDS = st.integers(0, 1 << 32)


def differences(seed: int) -> list[str]:
    """Names of what the two engines give differently in a random case."""
    program, samples, effects = random_case(seed)
    watch = tuple(layer.name for layer in program.network) if seed % 2 else ()
    slow = reference.evaluate(program, samples, effects, watch=watch)
    fast = dense.evaluate(program, samples, effects, watch=watch)
    names = ["outputs", "corrected", "detected", "hang"]
    pairs = {name: (getattr(slow, name), getattr(fast, name)) for name in names}
    assert slow.watched.keys() == fast.watched.keys()
    pairs |= {name: (slow.watched[name], fast.watched[name]) for name in slow.watched}
    found = [name for name, (a, b) in pairs.items() if not np.array_equal(a, b)]
    counted = reference.count_overflows(program, samples), dense.count_overflows(program, samples)
    return found if counted[0] == counted[1] else [*found, "overflows"]


@given(SEEDS)
def test_both_engines_give_the_same_for_every_mixture_of_effects_and_guards(seed: int) -> None:
    assert differences(seed) == []


# Small networks stay below the sizes from which on the engine works in blocks, chunks and batches:
# with these, nothing is too small.
SMALL = [
    (dense_sums, "BROAD", 1),
    (dense_stack, "BROAD_WINDOWS", 0),
    (dense_pairs, "MOST_TERMS", 64),
    (dense_blocks, "MOST_OPERANDS", 64),
    (dense_golden, "SMALLEST", 2),
    (dense_golden, "CACHED_NUMBERS", 1),
    (dense_trials, "FEW_CUTS", 1),
]


@settings(max_examples=max(1, settings().max_examples * 3 // 5))
@given(SEEDS)
def test_both_engines_give_the_same_where_the_dense_one_cuts_everything_small(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module, name, size in SMALL:
            assert hasattr(module, name)
            patch.setattr(module, name, size)
        assert differences(seed) == []


def test_the_random_cases_hold_every_kind_of_effect_place_corruption_and_outcome() -> None:
    seen: set[tuple[Kind, At]] = set()
    ops: set[Op] = set()
    overflowing = acting = guarded = 0
    cases = [random_case(seed) for seed in range(60)]
    for program, samples, effects in cases:
        table = effects.table
        seen |= {(Kind(k), At(a)) for k, a in zip(table["kind"], table["at"], strict=True)}
        ops |= {Op(op) for op in table["op"]}
        golden = dense.golden(program, samples)
        found = dense.evaluate(program, samples, effects, golden=golden)
        acting += bool((found.outputs != golden.outputs).any())
        guarded += bool((found.corrected | found.detected).any())
        overflowing += any(dense.count_overflows(program, samples).values())
    assert len(seen) == 19
    assert ops == set(Op)
    assert acting > 20
    assert guarded > 5
    assert overflowing > 5
