"""Intervals over trials: against scipy, by hand, and by how often they cover what they should."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from codesign import intervals
from codesign.errors import DataError
from codesign.intervals import (
    Interval,
    function_interval,
    mean_interval,
    proportion_interval,
    resample_chunks,
    unseen_bounds,
)

Sampler = Callable[[np.random.Generator, int], NDArray[np.float64]]


def mostly_golden(rng: np.random.Generator, trials: int) -> NDArray[np.float64]:
    """Golden accuracy 0.93, but nothing right in one trial of fifty. Mean 0.9114."""
    return np.where(rng.random(trials) < 0.02, 0.0, 0.93)


def small_losses(rng: np.random.Generator, trials: int) -> NDArray[np.float64]:
    """Accuracy of 200 samples, each right with probability 0.9."""
    return rng.binomial(200, 0.9, trials) / 200


def some_broken(rng: np.random.Generator, trials: int) -> NDArray[np.float64]:
    """One trial of five loses between nothing and everything. Mean 0.8 · 0.93 + 0.2 · 0.465."""
    return np.where(rng.random(trials) < 0.2, rng.random(trials) * 0.93, 0.93)


def coverage(sampler: Sampler, mean: float, trials: int, times: int) -> float:
    rng = np.random.default_rng(trials)
    found = [mean_interval(sampler(rng, trials)) for _ in range(times)]
    return float(np.mean([each.low <= mean <= each.high for each in found]))


# --------------------------------------------------------------------------- what it is


def test_the_half_width_is_half_of_what_lies_between_the_ends() -> None:
    assert Interval(0.1, 0.0, 0.5, 0.95, 9, "by hand").half_width == 0.25


def test_what_was_enumerated_has_no_width_and_full_confidence() -> None:
    exact = Interval.exact(0.25, 64)
    assert (exact.low, exact.high, exact.level, exact.n) == (0.25, 0.25, 1.0, 64)
    assert exact.method == "enumeration"


def test_ends_in_the_wrong_order_make_no_interval() -> None:
    with pytest.raises(DataError, match=r"no interval reaches from 0\.6 to 0\.4"):
        Interval(0.5, 0.6, 0.4, 0.95, 9, "x")
    with pytest.raises(DataError, match="no interval reaches from nan"):
        Interval(0.5, math.nan, 0.4, 0.95, 9, "x")
    with pytest.raises(DataError, match="at nan"):
        Interval(math.nan, 0.1, 0.4, 0.95, 9, "x")


@pytest.mark.parametrize("level", [0.0, -1.0, 1.5, math.nan])
def test_a_level_that_is_no_confidence_is_refused(level: float) -> None:
    with pytest.raises(DataError, match=r"interval: level=.* is not a confidence"):
        Interval(0.5, 0.4, 0.6, level, 9, "x")
    with pytest.raises(DataError, match="mean_interval: level="):
        mean_interval([0.5, 0.6], level)
    with pytest.raises(DataError, match="proportion_interval: level="):
        proportion_interval(1, 2, level)


def test_a_sample_cannot_be_certain() -> None:
    with pytest.raises(DataError, match=r"mean_interval: level=1\.0 is not a confidence"):
        mean_interval([0.5, 0.6], 1.0)


def test_no_trial_makes_no_interval() -> None:
    with pytest.raises(DataError, match="0 trials show nothing"):
        Interval(0.5, 0.4, 0.6, 0.95, 0, "x")


# ------------------------------------------------------------------------- mean_interval


@pytest.mark.parametrize("trials", [30, 250])  # many equal trials are resampled by their counts
@pytest.mark.parametrize(("seed", "level"), [(0, 0.95), (1, 0.8)])
def test_the_bootstrap_is_scipy_s_but_for_the_luck_of_resampling(
    trials: int, seed: int, level: float
) -> None:
    x = np.random.default_rng(seed).beta(9, 1, trials)
    x = x if trials < 100 else np.round(x * 10) / 10
    found = [mean_interval(x, level, seed=seed) for seed in range(12)]
    expected = stats.bootstrap(
        (x,), np.mean, method="BCa", confidence_level=level, n_resamples=100_000, rng=seed
    ).confidence_interval
    assert {each.method for each in found} == {"BCa bootstrap"}
    slack = 0.04 * found[0].half_width  # four times the luck of 12 times 9999 resamples
    assert np.mean([each.low for each in found]) == pytest.approx(expected.low, abs=slack)
    assert np.mean([each.high for each in found]) == pytest.approx(expected.high, abs=slack)


def test_the_interval_of_a_ratio_is_scipy_s_too() -> None:
    rng = np.random.default_rng(3)
    weights = rng.lognormal(0, 0.7, 80)
    values = rng.random(80)
    columns = np.stack([weights * values, weights], axis=1)
    found = [
        function_interval(columns, lambda means: means[..., 0] / means[..., 1], seed=seed)
        for seed in range(12)
    ]
    expected = stats.bootstrap(
        (weights * values, weights),
        lambda a, b, axis: a.mean(axis) / b.mean(axis),
        method="BCa",
        paired=True,
        n_resamples=100_000,
        rng=4,
    ).confidence_interval
    slack = 0.04 * found[0].half_width
    assert np.mean([each.low for each in found]) == pytest.approx(expected.low, abs=slack)
    assert np.mean([each.high for each in found]) == pytest.approx(expected.high, abs=slack)


@pytest.mark.parametrize(
    ("sampler", "mean", "trials"),
    [
        (small_losses, 0.9, 20),
        (small_losses, 0.9, 200),
        (some_broken, 0.8 * 0.93 + 0.2 * 0.465, 50),
        (some_broken, 0.8 * 0.93 + 0.2 * 0.465, 200),
        (mostly_golden, 0.98 * 0.93, 50),
        (mostly_golden, 0.98 * 0.93, 100),
        (mostly_golden, 0.98 * 0.93, 400),
    ],
)
def test_intervals_cover_as_often_as_they_say(
    sampler: Sampler, mean: float, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 999)
    # 400 times at 95 % would give below 0.91 once in 3000 sets; BCa itself may lack 2 %.
    assert coverage(sampler, mean, trials, 400) > 0.90


def test_few_trials_get_student_s_interval() -> None:
    x = np.random.default_rng(0).beta(9, 1, 12)
    found = mean_interval(x, 0.9)
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.9)
    assert found.method == "Student, few trials"
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_student_s_interval_ends_at_the_bounds() -> None:
    assert mean_interval([0.9, 1.0]).high == 1.0
    assert mean_interval([0.1, 0.0]).low == 0.0


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("trials", [1, 5, 200])
def test_equal_trials_bound_what_they_may_have_missed(value: float, trials: int) -> None:
    found = mean_interval([value] * trials)
    assert found.method == "exact bound, all trials equal"
    assert found.value == pytest.approx(value)
    # A mean below `low` takes more than q of other values, which stay unseen in under 2.5 %.
    q_low = (value - found.low) / value if value > 0 else None
    q_high = (found.high - value) / (1 - value) if value < 1 else None
    for q in (q_low, q_high):
        assert q is None or (1 - q) ** trials == pytest.approx(0.025)
    assert value > 0 or found.low == 0.0
    assert value < 1 or found.high == 1.0


def test_equal_trials_of_yes_and_no_are_bounded_as_clopper_and_pearson_do() -> None:
    expected = stats.binomtest(40, 40).proportion_ci(method="exact")
    assert unseen_bounds(1.0, 40, 0.95, (0.0, 1.0)) == pytest.approx((expected.low, expected.high))


def test_trials_that_differ_by_rounding_alone_are_equal() -> None:
    x = [0.95 - 0.92, 0.93 - 0.9] * 50
    assert len(set(x)) == 2
    assert mean_interval(x, bounds=(-1.0, 1.0)).method == "exact bound, all trials equal"


def test_trials_at_either_bound_are_a_proportion() -> None:
    found = mean_interval([2.0] * 3 + [-2.0] * 27, bounds=(-2.0, 2.0))
    share = stats.binomtest(3, 30).proportion_ci(method="wilson")
    assert found.method == "Wilson"
    assert (found.low, found.high) == pytest.approx((-2 + 4 * share.low, -2 + 4 * share.high))


def test_scaled_trials_have_the_scaled_interval() -> None:
    x = np.random.default_rng(1).random(60)
    one, hundred = mean_interval(x), mean_interval(100 * x, bounds=(0.0, 100.0))
    assert (hundred.low, hundred.high) == pytest.approx((100 * one.low, 100 * one.high))


def test_the_same_trials_give_the_same_interval_and_another_seed_nearly_the_same() -> None:
    x = np.random.default_rng(1).random(60)
    assert mean_interval(x) == mean_interval(x)
    one, other = mean_interval(x), mean_interval(x, seed=1)
    assert one.low != other.low
    assert one.low == pytest.approx(other.low, abs=0.2 * one.half_width)


def test_more_confidence_takes_a_wider_interval() -> None:
    x = np.random.default_rng(1).random(60)
    widths = [mean_interval(x, level).half_width for level in (0.5, 0.8, 0.95, 0.99)]
    assert widths == sorted(widths)


def test_resamples_are_drawn_in_pieces_that_fit_in_memory() -> None:
    for numbers in (1, 1000, 10**7):
        assert sum(resample_chunks(numbers)) == intervals.RESAMPLES
        assert max(resample_chunks(numbers)) * numbers <= max(intervals.CHUNK, numbers)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([], r"mean_interval: expected one number per trial, got an array \(0,\)"),
        ([[0.5], [0.6]], r"got an array \(2, 1\)"),
        ([0.5, math.nan, 0.5], r"trial 1 is nan, not a number in \[0\.0, 1\.0\] \(1 of 3 trials"),
        ([0.5, 0.5, 1.1, -0.1], r"trial 2 is 1\.1, not a number in .* \(2 of 4 trials"),
        ([math.inf], "trial 0 is inf"),
    ],
)
def test_trials_that_are_no_numbers_within_the_bounds_are_refused(
    x: list[float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        mean_interval(x)


# -------------------------------------------------------------------- proportion_interval


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_proportions_are_scipy_s(level: float) -> None:
    for k, n in ((0, 1), (1, 1), (0, 20), (1, 20), (7, 20), (20, 20), (3, 5000)):
        for method in ("wilson", "exact"):
            found = proportion_interval(k, n, level, method)
            expected = stats.binomtest(k, n).proportion_ci(level, method)
            assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
            assert found.value == k / n
            assert found.low >= 0.0
            assert found.high <= 1.0


def test_no_event_in_a_thousand_trials_is_at_most_four_in_a_thousand() -> None:
    found = proportion_interval(0, 1000)
    assert found.low == 0.0
    assert 0.0037 < found.high < 0.0039


def test_wilson_covers_where_the_usual_formula_does_not() -> None:
    """Exactly, over all outcomes: at 1 % of 100 trials ± 1.96 standard errors covers 63 %."""
    chances = stats.binom.pmf(np.arange(101), 100, 0.01)
    ends = [proportion_interval(k, 100) for k in range(101)]
    wilson = sum(c for c, e in zip(chances, ends, strict=True) if e.low <= 0.01 <= e.high)
    shares = np.arange(101) / 100
    reach = 1.96 * np.sqrt(shares * (1 - shares) / 100)
    usual = chances[(shares - reach <= 0.01) & (shares + reach >= 0.01)].sum()
    assert wilson > 0.91
    assert usual < 0.64


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_more_events_than_trials_are_no_share(k: int, n: int) -> None:
    with pytest.raises(DataError, match=f"proportion_interval: {k} of {n} trials is no share"):
        proportion_interval(k, n)
