"""From rows to findings, by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from codesign.study.conclude import Concluded, failures, points, vulnerabilities
from codesign.study.rows import TrialRow, canonical_json


def campaign(design, scenario="flips", rate=0.01, strikes="same", mitigation="none"):
    labels = {"design": design, "scenario": scenario, "rate": rate, "mitigation": mitigation}
    task = SimpleNamespace(digest=f"{design}/{scenario}/{rate}")
    return SimpleNamespace(name=f"{design}, {scenario}", labels=labels, task=task, strikes=strikes)


def row(trial, correct, masked=0, drawn=2, idle=0, site=None):
    """A trial of ten samples; what is not masked is SDC."""
    could = drawn - idle
    return TrialRow(
        task="t",
        trial=trial,
        samples=10,
        correct=correct,
        masked=masked,
        tolerated=0,
        sdc=10 - masked,
        corrected=0,
        detected=0,
        hang=0,
        drawn=drawn,
        could_act=could,
        acted=min(could, int(masked < 10)),
        collapsed=0,
        proven=idle,
        faults_digest="f",
        extra=canonical_json(site or {}),
    )


def concluded(made, rows, golden=0.9, target=None, baseline="plain", looks=()):
    return Concluded(made, tuple(rows), golden, target or len(rows), looks, baseline)


CORRECT = [9, 7, 5, 3] * 8
BETTER = [9, 8, 6, 4] * 8


def test_accuracy_loss_and_shares_are_means_over_trials():
    (point,) = points([concluded(campaign("plain"), [row(i, c, 4) for i, c in enumerate(CORRECT)])])
    assert point.accuracy.value == pytest.approx(0.6)
    assert point.loss.value == pytest.approx(0.3)
    assert point.loss.low == pytest.approx(0.9 - point.accuracy.high)
    assert point.shares == {
        "masked": 0.4,
        "tolerated": 0,
        "sdc": 0.6,
        "corrected": 0,
        "detected": 0,
        "hang": 0,
    }
    assert (point.trials, point.samples, point.drawn, point.acted) == (32, 10, 64, 32)
    assert point.gain is None


def test_designs_that_met_the_same_faults_are_compared_in_pairs():
    plain = concluded(campaign("plain"), [row(i, c) for i, c in enumerate(CORRECT)])
    rows = [row(i, c) for i, c in enumerate(BETTER)]
    guarded = concluded(campaign("plain + guard", mitigation="guard"), rows)
    gain = points([plain, guarded])[1].gain
    assert gain is not None
    # Differences are 0 or 0.1, one in four 0: mean 0.075, far narrower than the spread of either.
    assert gain.value == pytest.approx(0.075)
    assert gain.half_width < 0.02
    other_chip = concluded(campaign("plain + guard", strikes="other"), rows)
    unpaired = points([plain, other_chip])[1]
    assert unpaired.gain is None
    assert unpaired.unpaired_gain is not None
    assert unpaired.unpaired_gain.value == pytest.approx(0.075)
    assert unpaired.unpaired_gain.half_width > 3 * gain.half_width


def test_only_trials_that_both_have_are_compared():
    plain = concluded(campaign("plain"), [row(i, c) for i, c in enumerate(CORRECT)])
    some = [row(i, BETTER[i]) for i in range(3, 20)]
    gain = points([plain, concluded(campaign("g"), some)])[1].gain
    assert gain is not None
    expected = np.mean([BETTER[i] - CORRECT[i] for i in range(3, 20)]) / 10
    assert gain.value == pytest.approx(expected)
    assert gain.n == 17


def test_gains_compare_equal_rates_only():
    plain = concluded(campaign("plain", rate=0.1), [row(i, 5) for i in range(20)])
    guarded = concluded(campaign("g", rate=0.2), [row(i, 6) for i in range(20)])
    assert points([plain, guarded])[1].gain is None


def test_single_faults_are_grouped_by_layer_bit_component_and_instance():
    def at(layer, bit, instance):
        return {
            "site": "s",
            "unit": "array.weight",
            "instance": instance,
            "bit": bit,
            "layers": [layer],
        }

    rows = [row(i, 4, site=at("conv1", 7, [0, 1])) for i in range(6)]
    rows += [row(i + 6, 9, site=at("conv2", 0, [2, 3])) for i in range(4)]
    found = {
        (v.group, v.key): (round(v.loss.value, 9), v.trials)
        for v in vulnerabilities([concluded(campaign("plain", rate=None), rows)])
    }
    assert found["layer", "conv1"] == (0.5, 6)
    assert found["layer·bit", "conv2·0"] == (0, 4)
    assert found["unit.component", "array.weight"] == (0.3, 10)
    assert found["instance", "array.weight·2,3"] == (0, 4)


def test_experiments_that_could_show_nothing_are_called_failed():
    none = concluded(campaign("none drawn"), [row(0, 9, 10, drawn=0)])
    idle = concluded(campaign("all idle"), [row(0, 9, 10, drawn=3, idle=3)])
    masked = concluded(campaign("all masked"), [row(0, 9, 10)])
    fine = concluded(campaign("fine"), [row(0, 5)])
    bad = concluded(campaign("untrained"), [row(0, 1)], golden=0.1)
    told = failures([none, idle, masked, fine, bad], chance=0.12)
    assert [text.split(":")[0] for text in told] == [
        "none drawn, flips",
        "all idle, flips",
        "all masked, flips",
        "untrained",
    ]
    assert "no fault was drawn" in told[0]
    assert "no drawn fault stood where" in told[1]
    assert "every trial was masked" in told[2]
    assert "not above chance" in told[3]


def test_a_campaign_without_rows_gives_no_point_and_an_unfinished_one_says_so():
    empty = concluded(campaign("plain"), [], target=30)
    some = concluded(campaign("plain"), [row(0, 5), row(1, 5)], target=30)
    assert points([empty]) == ()
    assert points([some])[0].stopped == "interrupted"
