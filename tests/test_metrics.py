"""Metrics of faults, against every fault enumerated on a chip small enough for it."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from codesign import intervals
from codesign.errors import DataError
from codesign.intervals import Interval, mean_interval
from codesign.metrics import (
    accuracies,
    avf,
    effective_sample_size,
    fit,
    importance_weights,
    resiliency_accuracy,
    sample_size,
    sdc_rate,
    total,
    weighted_mean_interval,
)

# A chip of 6 registers of 8 bits over 10 cycles. Register r holds a value from cycle r to 2r + 1; a
# flip of bit b while it does costs 2^b / 255 of the accuracy 0.9, and at other times nothing.
GOLDEN = 0.9
FAULTS = list(itertools.product(range(6), range(8), range(10)))
LIVE = np.array([register <= cycle <= 2 * register + 1 for register, _, cycle in FAULTS])
BIT = np.array([bit for _, bit, _ in FAULTS])
ACCURACY = np.where(LIVE, GOLDEN * (1 - 2.0**BIT / 255), GOLDEN)
UNIFORM = np.full(len(FAULTS), 1 / len(FAULTS))


def proposal() -> NDArray[np.float64]:
    """Draws the high bits of live values more often, and everything sometimes."""
    shares = np.where(LIVE, 0.02 + 2.0**BIT / 255, 0.02)
    return shares / shares.sum()


# --------------------------------------------------------------------------- the metrics


def test_accuracy_is_counted_for_each_trial() -> None:
    predictions = [[1, 2, 3, 4], [1, 2, 0, 0], [-1, -1, -1, -1]]
    assert accuracies(predictions, [1, 2, 3, 4]).tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("predictions", "labels"), [([1, 2], [1, 2]), ([[1, 2]], [1]), ([[]], [])], ids=str
)
def test_predictions_of_other_samples_are_refused(predictions: Any, labels: Any) -> None:
    with pytest.raises(DataError, match=r"accuracies: predictions \(.*\) are not \[trials, sam"):
        accuracies(predictions, labels)


def test_an_sdc_rate_is_over_trials_and_not_over_images() -> None:
    """Four broken chips of 40, each wrong on all 100 images: 4 events, not 400."""
    sdc = np.zeros((40, 100), dtype=bool)
    sdc[:4] = True
    found = sdc_rate(sdc)
    wilson = stats.binomtest(4, 40).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((0.1, wilson.low, wilson.high))
    assert found.n == 40


def test_an_sdc_rate_needs_booleans_of_trials_and_samples() -> None:
    with pytest.raises(DataError, match=r"sdc_rate: expected booleans .* got float64 \(2, 2\)"):
        sdc_rate(np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"sdc_rate: expected booleans .* got bool \(2,\)"):
        sdc_rate(np.zeros(2, dtype=bool))
    with pytest.raises(DataError, match=r"got bool \(2, 0\)"):
        sdc_rate(np.zeros((2, 0), dtype=bool))


def test_resiliency_accuracy_is_that_of_every_fault_enumerated() -> None:
    truth = ACCURACY.mean()
    live = resiliency_accuracy(ACCURACY[LIVE], None, 1 - LIVE.mean(), GOLDEN)
    assert resiliency_accuracy(ACCURACY).value == pytest.approx(truth)
    assert live.value == pytest.approx(truth)
    assert live.half_width < resiliency_accuracy(ACCURACY).half_width


def test_a_fault_that_is_always_masked_leaves_the_golden_accuracy() -> None:
    found = resiliency_accuracy([0.1, 0.2], masked_share=1.0, golden_accuracy=0.9)
    assert (found.low, found.value, found.high) == (0.9, 0.9, 0.9)


def test_resiliency_accuracy_needs_to_know_what_masked_faults_do() -> None:
    with pytest.raises(DataError, match="masked faults need golden_accuracy"):
        resiliency_accuracy([0.5, 0.6], masked_share=0.5)
    with pytest.raises(DataError, match=r"masked_share=1\.5 is not in \[0, 1\]"):
        resiliency_accuracy([0.5, 0.6], masked_share=1.5, golden_accuracy=0.9)


def test_avf_is_the_share_of_sites_and_cycles_that_matter() -> None:
    assert avf(ACCURACY < GOLDEN).value == pytest.approx(LIVE.mean())
    trials = np.random.default_rng(0).integers(0, len(FAULTS), 200)
    found = avf(ACCURACY[trials] < GOLDEN)
    assert found.low < LIVE.mean() < found.high
    assert found.method == "Wilson"


def test_fit_is_raw_rate_times_bits_times_avf() -> None:
    found = fit(600.0, 8_000_000, Interval(0.1, 0.05, 0.2, 0.95, 100, "Wilson"))
    assert (found.low, found.value, found.high) == pytest.approx((240.0, 480.0, 960.0))
    assert (found.level, found.n, found.method) == (0.95, 100, "Wilson")


@pytest.mark.parametrize(("raw", "bits"), [(-1.0, 8), (math.inf, 8), (math.nan, 8), (1.0, -8)])
def test_a_rate_that_is_none_is_refused(raw: float, bits: int) -> None:
    with pytest.raises(DataError, match=r"fit: .* FIT per Mbit of .* bits is no rate"):
        fit(raw, bits, Interval.exact(0.5, 2))


def test_the_total_of_exact_parts_is_exact() -> None:
    """FIdelity's example: datapath, local control and global control of one accelerator."""
    parts = [Interval.exact(value, 1) for value in (1.286, 0.080, 1.132)]
    found = total(parts)
    assert (found.low, found.value, found.high) == pytest.approx((2.498, 2.498, 2.498))
    assert found.level == 1.0


def test_an_exact_part_moves_the_total_and_widens_nothing() -> None:
    sampled = Interval(2.0, 1.0, 4.0, 0.9, 50, "BCa bootstrap")
    found = total([sampled, Interval.exact(10.0, 3)])
    assert (found.low, found.value, found.high) == (11.0, 12.0, 14.0)
    assert (found.level, found.n) == (0.9, 50)
    assert found.method == "sum, square and add (BCa bootstrap)"


def test_totals_cover_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 499)
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        parts = [
            fit(100.0, 1_000_000, mean_interval(rng.random(40) < 0.1)),
            fit(10.0, 1_000_000, mean_interval(rng.beta(2, 2, 40))),
            fit(50.0, 1_000_000, mean_interval(rng.random(60) < 0.4)),
        ]
        found = total(parts)
        covered += found.low <= 10 + 5 + 20 <= found.high
    assert covered > 0.91 * 300


def test_intervals_of_different_levels_are_not_added() -> None:
    parts = [Interval(1.0, 0.5, 2.0, level, 9, "x") for level in (0.9, 0.95)]
    with pytest.raises(DataError, match=r"total: expected intervals of one level, got \[0\.9, 0"):
        total(parts)
    with pytest.raises(DataError, match=r"got \[\]"):
        total([])


# ------------------------------------------------------------------- importance sampling


def test_weights_make_up_exactly_for_another_way_of_drawing() -> None:
    drawn, weights = proposal(), importance_weights(UNIFORM, proposal())
    assert drawn @ (weights * ACCURACY) == pytest.approx(UNIFORM @ ACCURACY)
    assert drawn @ weights == pytest.approx(1.0)


@pytest.mark.parametrize(("self_normalised", "share_of_width"), [(True, 0.9), (False, 0.6)])
def test_weighted_trials_estimate_the_enumerated_mean_more_narrowly(
    self_normalised: bool, share_of_width: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 499)
    rng, weights = np.random.default_rng(1), importance_weights(UNIFORM, proposal())
    loss = 1 - ACCURACY / GOLDEN
    truth, found, plain = loss.mean(), [], []
    for _ in range(150):
        trials = rng.choice(len(FAULTS), 100, p=proposal())
        found.append(weighted_mean_interval(loss[trials], weights[trials], self_normalised))
        plain.append(mean_interval(loss[rng.integers(0, len(FAULTS), 100)]))
    values = np.array([each.value for each in found])
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / math.sqrt(150) + 2e-4)
    assert np.mean([each.low <= truth <= each.high for each in found]) > 0.89
    widths = [np.mean([each.half_width for each in group]) for group in (found, plain)]
    assert widths[0] < share_of_width * widths[1]


def test_ignored_weights_estimate_something_else() -> None:
    """What the weights are for: the same trials without them overstate the loss threefold."""
    loss = 1 - ACCURACY / GOLDEN
    assert proposal() @ loss > 3 * loss.mean()


def test_equal_weights_change_nothing() -> None:
    x = np.random.default_rng(0).random(30)
    assert weighted_mean_interval(x, np.full(30, 7.0)) == mean_interval(x)
    assert weighted_mean_interval(x, np.ones(30), self_normalised=False) == mean_interval(x)
    assert weighted_mean_interval(x / 2, np.full(30, 2.0), False).value == pytest.approx(x.mean())
    assert sdc_rate(x[:, None] < 0.5, np.ones(30)) == sdc_rate(x[:, None] < 0.5)


def test_trials_of_no_weight_count_for_nothing_where_weights_are_normalised() -> None:
    x, w = np.random.default_rng(0).random((2, 30))
    padded_x, padded_w = np.append(x, np.ones(500)), np.append(w, np.zeros(500))
    found, expected = weighted_mean_interval(padded_x, padded_w), weighted_mean_interval(x, w)
    assert (found.low, found.value, found.high) == (expected.low, expected.value, expected.high)
    assert (found.n, expected.n) == (530, 30)


def test_the_scale_of_normalised_weights_does_not_matter() -> None:
    x, w = np.random.default_rng(0).random((2, 60))
    one, other = weighted_mean_interval(x, w), weighted_mean_interval(x, 1000 * w)
    ends = (one.low, one.value, one.high)
    assert (other.low, other.value, other.high) == pytest.approx(ends)
    assert one.value == pytest.approx(np.average(x, weights=w))


def test_weighted_intervals_say_how_much_their_weights_are_worth() -> None:
    found = weighted_mean_interval([0.1, 0.2, 0.3], [2.0, 1.0, 1.0])
    assert found.method == "Student, few trials, weighted, effective size 2.7"


@pytest.mark.parametrize("self_normalised", [True, False])
def test_weighted_trials_without_a_loss_bound_it_by_what_they_are_worth(
    self_normalised: bool,
) -> None:
    weights = np.tile([0.5, 1.5], 50)
    found = weighted_mean_interval(np.zeros(100), weights, self_normalised)
    assert found.value == 0.0
    assert found.low == 0.0
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 80))  # 100^2 / (50 · 0.25 + 50 · 2.25)
    assert found.method == "approximate bound, all trials equal, weighted, effective size 80.0"


def test_a_weighted_interval_ends_at_the_bounds() -> None:
    assert weighted_mean_interval([1.0, 0.9], [1.0, 2.0]).high == 1.0
    assert weighted_mean_interval([0.0, 0.1], [1.0, 2.0]).low == 0.0


def test_the_effective_sample_size_counts_equal_weights() -> None:
    assert effective_sample_size(np.full(50, 0.3)) == pytest.approx(50)
    assert effective_sample_size([1.0, 0.0, 0.0]) == 1.0
    assert effective_sample_size([2.0, 1.0, 1.0]) == pytest.approx(16 / 6)


@pytest.mark.parametrize(
    "weights", [[-1.0, 2.0], [math.nan], [math.inf, 1.0], [0.0, 0.0], [], [[1.0]]], ids=str
)
@pytest.mark.parametrize("use", [effective_sample_size, lambda w: avf([0.5, 0.6], w)])
def test_weights_that_are_none_are_refused(weights: Any, use: Callable[[Any], Any]) -> None:
    with pytest.raises(DataError, match="weights: expected one per trial, none negative or inf"):
        use(weights)


def test_every_trial_needs_its_weight() -> None:
    with pytest.raises(DataError, match="weighted_mean_interval: 2 trials have 3 weights"):
        weighted_mean_interval([0.1, 0.2], [1.0, 2.0, 3.0])
    with pytest.raises(DataError, match=r"weighted_mean_interval: trial 1 is 7\.0"):
        weighted_mean_interval([0.1, 7.0], [1.0, 2.0])


def test_a_proposal_that_never_draws_what_can_happen_is_refused() -> None:
    with pytest.raises(DataError, match=r"case 1 occurs with probability 0\.25 and is never dra"):
        importance_weights([0.5, 0.25, 0.25], [0.5, 0.0, 0.5])


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ([0.5, 0.6], "the target is not probabilities that add up to 1"),
        ([1.5, -0.5], "the target is not probabilities"),
        ([math.nan, 1.0], "the target is not probabilities"),
        ([0.2, 0.3, 0.5], "3 cases occur, 2 are drawn"),
    ],
)
def test_probabilities_that_are_none_are_refused(target: list[float], problem: str) -> None:
    with pytest.raises(DataError, match=f"importance_weights: .*{problem}"):
        importance_weights(target, [0.5, 0.5])
    if len(target) == 2:
        with pytest.raises(DataError, match=problem.replace("target", "proposal")):
            importance_weights([0.5, 0.5], target)


# --------------------------------------------------------------------------- sample size


@pytest.mark.parametrize(
    ("population", "trials"), [(1e4, 6247), (1e5, 14267), (1e6, 16369), (math.inf, 16641)]
)
def test_sample_sizes_are_the_published_ones(population: float, trials: int) -> None:
    """Leveugle et al., DATE 2009, for an error of 1 % at 99 %."""
    assert sample_size(population, e=0.01, t=2.58, p=0.5) == trials


def test_sample_sizes_are_rounded_up_and_not_by_noise() -> None:
    assert sample_size(4, e=0.5, t=2.0) == 3  # 4 / (1 + 3 / 4) = 2.29
    assert sample_size(e=0.02, t=2.0, p=0.2) == 1600  # 4 · 0.16 / 0.0004


def test_a_population_is_never_asked_for_more_than_it_has() -> None:
    assert sample_size(1) == 1
    assert sample_size(100) == 100
    assert sample_size(10**12) == sample_size()


@pytest.mark.parametrize(
    "wrong",
    [{"population": 0}, {"e": 0.0}, {"e": 1.0}, {"t": 0.0}, {"p": 0.0}, {"p": 1.0}],
    ids=str,
)
def test_a_sample_size_of_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match=r"sample_size: population=.*; expected at least one fault"):
        sample_size(**wrong)


def test_importing_the_statistics_waits_for_no_scipy() -> None:
    names = ("draws", "intervals", "comparisons", "looks", "metrics")
    code = f"import sys; from codesign import {', '.join(names)}; print('scipy' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"
