"""What a study will do, from its text: designs, mitigations, re-execution, rates, trials."""

import pytest

from codesign.schema import load
from codesign.study.plan import plan, variants
from codesign.study.spec import StudySpec

BASE = """
title: planned
data: {use: networks:digits}
networks: {n: {use: networks:SmallCnn}}
accelerators: {a: {datasheet: generic8_ws}}
designs:
  cnn: {network: n, accelerator: a}
  wide: {network: n, accelerator: a}
  bounded: {network: n, accelerator: a, against: wide}
effort: {trials: 7}
"""
MITIGATIONS = """
mitigations:
  clamp: {use: mitigation:RangeRestriction, on: [cnn]}
  BnP1: {use: mitigation:BoundAndProtect, on: [bounded]}
"""
FAULTS = """
faults:
  flips: {use: scenarios:RandomFaults, components: [role:weight], model: flip, rates: [1e-3, 1e-2]}
  single: {use: scenarios:SingleFaults, components: [role:weight], model: flip, trials: 90,
           mitigations: false, on: [cnn]}
"""


def study(text):
    return load(text, StudySpec).value


def test_every_design_stands_alone_where_nothing_is_compared():
    assert [v.name for v in variants(study(BASE))] == ["cnn", "wide", "bounded"]


def test_re_execution_is_always_in_the_comparison_and_gains_are_against_the_stated_design():
    found = {v.name: v.base for v in variants(study(BASE + MITIGATIONS))}
    assert found == {
        "cnn": "cnn",
        "cnn + re-execution": "cnn",
        "cnn + clamp": "cnn",
        "wide": "wide",
        "wide + re-execution": "wide",
        "bounded": "wide",
        "bounded + BnP1": "wide",
    }


def test_every_scenario_meets_every_rate_and_every_design_it_is_for():
    planned = plan(study(BASE + MITIGATIONS + FAULTS))
    flips = [p for p in planned if p.scenario == "flips"]
    assert len(flips) == 2 * 7
    assert {p.rate for p in flips} == {1e-3, 1e-2}
    assert {p.trials for p in flips} == {7}
    (single,) = (p for p in planned if p.scenario == "single")
    assert (single.variant.name, single.rate, single.trials) == ("cnn", None, 90)


@pytest.mark.parametrize("text", [BASE, BASE + FAULTS])
def test_campaigns_have_different_names(text):
    names = [p.name for p in plan(study(text))]
    assert len(set(names)) == len(names)
