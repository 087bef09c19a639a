"""Comparisons of designs: published intervals, brute force, and false findings counted."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from codesign import intervals
from codesign.comparisons import holm, paired_difference, paired_p_value, unpaired_difference
from codesign.errors import DataError
from codesign.intervals import mean_interval


def yes_and_no(yes: int, trials: int) -> list[float]:
    return [1.0] * yes + [0.0] * (trials - yes)


# ---------------------------------------------------------------------- paired_difference


def test_a_paired_difference_is_the_mean_of_differences() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(40), rng.random(40)
    found, expected = paired_difference(a, b), mean_interval(a - b, bounds=(-1.0, 1.0))
    assert found == expected
    assert found.value == pytest.approx(a.mean() - b.mean())


def test_trials_are_paired_by_their_indices_and_not_by_their_places() -> None:
    rng = np.random.default_rng(0)
    a, b, order = rng.random(30), rng.random(30), rng.permutation(30)
    expected = paired_difference(a, b)
    found = paired_difference(a, b[order], trials=(np.arange(30) + 5, order + 5))
    assert found == expected


def test_pairs_are_told_apart_where_crossed_intervals_are_not() -> None:
    rng = np.random.default_rng(1)
    faults = rng.random(60) * 0.6
    a, b = 0.9 - faults * 0.9, 0.9 - faults
    assert paired_difference(a, b).low > 0.0
    assert unpaired_difference(a, b).low < 0.0
    assert paired_p_value(a, b) < 0.001


def test_designs_that_never_differ_keep_the_room_for_what_was_not_seen() -> None:
    same = paired_difference([0.9, 0.8, 0.9], [0.9, 0.8, 0.9])
    assert same.value == 0.0
    assert same.high == pytest.approx(1 - 0.025 ** (1 / 3))
    assert same.low == -same.high


@pytest.mark.parametrize("compare", [paired_difference, paired_p_value])
def test_trials_that_are_not_the_same_are_not_paired(compare: Any) -> None:
    with pytest.raises(DataError, match=r"a has 3 trials and b 2, and 1 stand.* is trial 2\)"):
        compare([0.1, 0.2, 0.3], [0.1, 0.2])
    with pytest.raises(DataError, match=r"and 2 stand in one alone \(the first is trial 1\)"):
        compare([0.1, 0.2], [0.1, 0.2], trials=([0, 1], [0, 4]))


@pytest.mark.parametrize("indices", [[0, 0], [0], [[0, 1]]], ids=str)
def test_trials_named_twice_or_not_at_all_are_refused(indices: Any) -> None:
    with pytest.raises(DataError, match="b has 2 values; name the trial of each, each once"):
        paired_difference([0.1, 0.2], [0.1, 0.2], trials=([0, 1], indices))


def test_values_outside_the_bounds_are_refused() -> None:
    with pytest.raises(DataError, match=r"paired_difference: trial 0 is 2\.0"):
        paired_difference([0.5], [2.0])


# -------------------------------------------------------------------- unpaired_difference


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
    ],
)
def test_differences_of_proportions_are_those_of_newcombe(
    a: tuple[int, int], b: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe, Statistics in Medicine 17 (1998), 873-890, table II, method 10."""
    found = unpaired_difference(yes_and_no(*a), yes_and_no(*b))
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)
    assert found.method == "unpaired, square and add (Wilson)"
    assert found.n == min(a[1], b[1])


def test_exchanging_the_two_turns_the_interval_around() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.beta(9, 1, 50), rng.beta(5, 2, 30)
    one, other = unpaired_difference(a, b), unpaired_difference(b, a)
    ends = (-other.high, -other.low)
    assert (one.low, one.high) == pytest.approx(ends)


def test_one_that_never_varied_lends_its_room_to_the_difference() -> None:
    found = unpaired_difference([0.9] * 50, [0.5, 0.6] * 25)
    assert found.value == pytest.approx(0.35)
    unseen = 0.9 * (1 - 0.025 ** (1 / 50))
    other = mean_interval([0.5, 0.6] * 25)
    assert found.low == pytest.approx(0.35 - (unseen**2 + (other.high - 0.55) ** 2) ** 0.5)
    assert found.method == (
        "unpaired, square and add (exact bound, all trials equal and BCa bootstrap)"
    )


def test_unpaired_differences_cover_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 999)
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        found = unpaired_difference(rng.beta(9, 1, 40), rng.binomial(50, 0.7, 60) / 50)
        covered += found.low <= 0.2 <= found.high
    assert covered > 0.91 * 400


# --------------------------------------------------------------------- p-values and Holm


def test_a_p_value_is_that_of_all_exchanges_counted() -> None:
    rng = np.random.default_rng(2)
    for trials in (4, 9):
        a, b = np.round(rng.random(trials), 1), np.round(rng.random(trials), 1)
        sums = [abs(np.dot(s, a - b)) for s in itertools.product((-1, 1), repeat=trials)]
        exact = np.mean(np.array(sums) >= abs((a - b).sum()) - 1e-9)
        spread = (exact * (1 - exact) / 9999) ** 0.5
        assert paired_p_value(a, b) == pytest.approx(exact, abs=5 * spread + 2e-4)


def test_designs_that_are_alike_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(5)
    values = [paired_p_value(rng.random(25), rng.random(25)) for _ in range(100)]
    assert sum(p <= 0.05 for p in values) <= 13  # more once in a thousand sets
    assert sum(p <= 0.5 for p in values) >= 33


def test_holm_is_closed_testing_with_bonferroni() -> None:
    """A comparison is found when every set that holds it is, and a set by its smallest value."""
    rng = np.random.default_rng(6)
    for count in range(1, 7):
        p = rng.random(count) ** 3
        for i in range(count):
            others = [k for k in range(count) if k != i]
            sets = itertools.chain.from_iterable(
                itertools.combinations(others, size) for size in range(count)
            )
            closed = max(min(1.0, (len(s) + 1) * min([p[i], *p[list(s)]])) for s in sets)
            assert holm(p)[i] == pytest.approx(closed)


def test_nothing_compared_gives_nothing() -> None:
    assert holm([]).tolist() == []


@pytest.mark.parametrize("values", [[0.1, 1.2], [-0.1], [float("nan")], [[0.1]]], ids=str)
def test_values_that_are_no_probabilities_are_refused(values: Any) -> None:
    with pytest.raises(DataError, match="holm: expected a row of probabilities"):
        holm(values)
