"""Faults in the processing elements equal a cycle-by-cycle array, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from small_evaluator import evaluate_small
from systolic_cases import (
    Case,
    compare,
    every_site,
    grouped,
    random_faults,
    small_chip,
    tiny,
    two_layers,
)

from codesign.effects import Effects
from codesign.engine.reference import evaluate
from codesign.samples import Samples

WIDTHS = {
    "weight_register": 8,
    "input_register": 8,
    "product": 16,
    "psum_register": 20,
    "mac_out": 20,
}
FLOWS = ("weight_stationary", "output_stationary", "input_stationary")
PLACED = {
    "equal to the layer": Case(small_chip(rows=4, cols=3), tiny()),
    "larger than the layer": Case(small_chip(rows=13, cols=5), tiny()),
    "permuted": Case(small_chip(), tiny(), rows=(2, 0, 1), columns=(1, 0)),
    "permuted, a row unused": Case(small_chip(), tiny(), rows=(2, 0), columns=(1, 0)),
    "a column unused": Case(small_chip(rows=2, cols=3), tiny(), columns=(2, 1)),
}
assert WIDTHS
assert PLACED


def few(component: str) -> tuple[int, ...]:
    """The lowest bit, one in the middle and the sign."""
    bits = WIDTHS[component]
    return (0, bits * 3 // 5, bits - 1)


@pytest.mark.parametrize("component", WIDTHS)
def test_every_bit_of_every_element_in_every_cycle_equals_brute_force(component):
    case = Case(small_chip(rows=2, cols=3), tiny())
    found = compare(case, every_site(case, component, tuple(range(WIDTHS[component])), 1))
    assert found.trials == 6 * WIDTHS[component] * (54 + 2)  # a flip in each cycle, two stuck
    assert found.changed.mean() > 0.1
    assert not found.wrong.any()
    assert not (found.changed & (found.footprint.idle > 0)).any()


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("component", WIDTHS)
@pytest.mark.parametrize("placed", PLACED)
def test_every_element_in_every_cycle_equals_brute_force_however_it_is_placed(
    placed, component, flow
):
    plain = PLACED[placed]
    chip = small_chip(rows=plain.sheet.rows, cols=plain.sheet.cols, dataflow=flow)
    case = Case(chip, plain.network, plain.rows, plain.columns)
    every = 1 + chip.rows * chip.cols // 9
    found = compare(case, every_site(case, component, few(component), every=every))
    assert found.changed.any()
    assert not found.wrong.any()
    assert not (found.changed & (found.footprint.idle > 0)).any()


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(("overflow", "rows"), [("wrap", ()), ("saturate", (3, 1, 0))])
def test_several_faults_at_once_equal_brute_force(flow, overflow, rows):
    chip = small_chip(rows=4, psum_bits=17, psum_overflow=overflow, dataflow=flow)
    case = Case(chip, grouped(), rows, columns=(1, 0) if rows else ())
    found = compare(case, random_faults(case, ("array",), trials=100, per_trial=6, seed=3))
    assert found.changed.mean() > 0.5
    assert not found.wrong.any()


def test_a_prediction_one_cycle_late_or_early_is_wrong():
    case = Case(small_chip(rows=2, cols=3), tiny())
    for component in WIDTHS:
        faults = every_site(case, component, (5,), every=2)
        right, early, late = (compare(case, faults, shifted) for shifted in (0, -1, 1))
        assert not right.wrong.any()
        assert early.wrong.mean() > 0.02, component
        assert late.wrong.mean() > 0.02, component


def test_ignoring_faults_is_wrong_exactly_where_brute_force_changes():
    case = Case(small_chip(), two_layers())
    found = compare(case, random_faults(case, ("array",), trials=300, per_trial=1, seed=1))
    assert found.changed.sum() > 100
    assert (found.footprint.faults == 1).all()
    assert 0 < found.footprint.idle.sum() < (~found.changed).sum()


def test_the_reference_engine_gives_what_the_evaluator_of_these_tests_gives():
    case = Case(small_chip(), two_layers())
    faults = random_faults(case, ("array",), trials=10, per_trial=4, seed=2)
    effects = case.mapping.footprint(faults, case.inferences).effects
    samples = Samples("random", "test", case.inputs, np.zeros(case.inferences, dtype=np.int64))
    program = case.program
    reference = evaluate(program, samples, effects).outputs
    assert (evaluate_small(program, case.inputs, effects) == reference).all()
    assert (reference != evaluate_small(program, case.inputs, Effects.none(1))).any()
