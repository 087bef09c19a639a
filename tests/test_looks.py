"""Looking while a campaign runs: the chance of a miss, exactly where it can be enumerated."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from codesign import intervals
from codesign.errors import DataError
from codesign.intervals import mean_interval
from codesign.looks import interval_at_look, log_capital, narrow_enough, planned_looks, stakes

Points = tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]


def test_looks_grow_by_their_factor_and_end_with_the_last_trial() -> None:
    assert planned_looks(100, 1000) == (100, 200, 400, 800, 1000)
    assert planned_looks(10, 30, 1.5) == (10, 15, 23, 30)
    assert planned_looks(5, 5) == (5,)
    assert planned_looks(1, 4, 1.01) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("first", "last", "factor"), [(0, 5, 2.0), (6, 5, 2.0), (1, 5, 1.0), (1, 5, math.inf)]
)
def test_looks_that_cannot_be_are_refused(first: int, last: int, factor: float) -> None:
    with pytest.raises(DataError, match=r"planned_looks: first=.*; expected 1 <= first <= last"):
        planned_looks(first, last, factor)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
@pytest.mark.parametrize(
    "points",
    [
        ((0.0, 1.0), ((0.5, 0.5), (0.9, 0.1), (0.03, 0.97), (0.7, 0.3))),
        ((0.0, 0.93), ((0.2, 0.8), (0.02, 0.98), (0.4, 0.6))),
        ((0.0, 0.5, 0.6), ((0.1, 0.5, 0.4), (0.02, 0.0, 0.98), (1 / 3, 1 / 3, 1 / 3))),
    ],
    ids=["yes and no", "golden or nothing", "three values"],
)
def test_the_chance_of_a_miss_at_any_look_is_as_small_as_said(points: Points, level: float) -> None:
    """Every campaign of some trials, with its probability, looked at three times."""
    values, laws = points
    looks = (2, 4, 8) if len(values) == 2 else (2, 3, 5)
    campaigns = list(itertools.product(range(len(values)), repeat=looks[-1]))
    known: dict[tuple[int, ...], tuple[float, float]] = {}
    for start in {campaign[:look] for campaign in campaigns for look in looks}:
        found = interval_at_look([values[i] for i in start], looks, level)
        known[start] = found.low, found.high
    for law in laws:
        mean = float(np.dot(values, law))
        missed = 0.0
        for campaign in campaigns:
            ends = [known[campaign[:look]] for look in looks]
            if not all(low <= mean + 1e-9 and mean - 1e-9 <= high for low, high in ends):
                missed += math.prod(law[i] for i in campaign)
        assert missed <= 1 - level + 1e-12


@pytest.mark.parametrize(
    ("values", "law"),
    [
        ((0.0, 1.0), (0.9, 0.1)),
        ((0.0, 1.0), (0.1, 0.9)),
        ((0.0, 0.93), (0.02, 0.98)),
        ((0.0, 0.4, 1.0), (0.3, 0.5, 0.2)),
    ],
)
def test_the_game_is_fair(values: tuple[float, ...], law: tuple[float, ...]) -> None:
    """Over all campaigns the capital is on average what it began with: 3 looks, 2 stakes each."""
    mean, looks, average = float(np.dot(values, law)), (2, 3, 6), 0.0
    for campaign in itertools.product(range(len(values)), repeat=6):
        x = np.array([values[i] for i in campaign])
        chance = math.prod(law[i] for i in campaign)
        average += chance * math.exp(log_capital(x, mean, stakes(x, looks, 0.8)))
    assert average == pytest.approx(6.0)


def small_losses_and_rare_catastrophes(
    rng: np.random.Generator, trials: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Around 0.93 ± 0.01, but 0.1 in one trial of a hundred. Mean 0.9217."""
    small = np.clip(0.93 + 0.01 * rng.standard_normal(trials), 0, 1)
    return np.where(rng.random(trials) < 0.01, 0.1, small)


@pytest.mark.parametrize(
    ("name", "mean"), [("catastrophes", 0.9217), ("golden or nothing", 0.98 * 0.93), ("even", 0.3)]
)
def test_all_looks_together_cover_as_often_as_they_say(name: str, mean: float) -> None:
    rng, looks, missed = np.random.default_rng(7), planned_looks(50, 400), 0
    for _ in range(60):
        if name == "catastrophes":
            x = small_losses_and_rare_catastrophes(rng, 400)
        elif name == "even":
            x = (rng.random(400) < 0.3).astype(float)
        else:
            x = np.where(rng.random(400) < 0.02, 0.0, 0.93)
        ends = [interval_at_look(x[:look], looks) for look in looks]
        missed += not all(each.low <= mean <= each.high for each in ends)
    assert missed <= 8  # of 60 at 5 %: more once in a hundred sets, were it not conservative


def test_the_bootstrap_misses_what_no_trial_has_shown_and_the_bets_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit that `codesign.intervals` states: half of the campaigns meet no catastrophe."""
    monkeypatch.setattr(intervals, "RESAMPLES", 499)
    rng = np.random.default_rng(0)
    campaigns = [small_losses_and_rare_catastrophes(rng, 50) for _ in range(100)]
    boots, bets = [mean_interval(x) for x in campaigns], [interval_at_look(x) for x in campaigns]
    assert 20 <= sum(each.low <= 0.9217 <= each.high for each in boots) <= 55
    assert all(each.low <= 0.9217 <= each.high for each in bets)


def test_bets_are_narrow_where_trials_are_alike_and_never_far_from_the_normal_where_not() -> None:
    rng, looks = np.random.default_rng(1), planned_looks(100, 1600)
    hoeffding = math.sqrt(math.log(2 / 0.05) / (2 * 1600))
    alike = np.clip(rng.normal(0.9, 0.01, 1600), 0, 1)
    assert interval_at_look(alike, looks).half_width < hoeffding / 10
    even = (rng.random(1600) < 0.5).astype(float)
    normal = 1.96 * math.sqrt(0.25 / 1600)
    assert normal < interval_at_look(even, looks).half_width < 1.8 * normal


def test_a_single_look_is_narrower_than_one_of_many() -> None:
    x = np.random.default_rng(2).beta(9, 1, 400)
    alone, one_of_three = interval_at_look(x), interval_at_look(x, (100, 200, 400))
    assert alone.half_width < one_of_three.half_width
    assert (alone.method, one_of_three.method) == ("betting", "betting, 3 looks")


def test_turned_and_scaled_trials_have_the_turned_and_scaled_interval() -> None:
    x = np.random.default_rng(3).beta(9, 1, 100)
    found, turned = interval_at_look(x), interval_at_look(1 - x)
    assert (found.low, found.high) == pytest.approx((1 - turned.high, 1 - turned.low))
    scaled = interval_at_look(4 * x - 2, bounds=(-2.0, 2.0))
    assert (scaled.low, scaled.high) == pytest.approx((4 * found.low - 2, 4 * found.high - 2))


def test_the_mean_lies_in_its_interval_and_the_interval_in_the_bounds() -> None:
    rng = np.random.default_rng(4)
    for trials in (1, 2, 17):
        for x in (
            np.zeros(trials),
            np.ones(trials),
            rng.random(trials),
            np.sort(rng.random(trials)),
        ):
            found = interval_at_look(x)
            assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_a_campaign_stops_when_the_interval_at_this_look_is_narrow() -> None:
    x = np.random.default_rng(5).beta(90, 10, 800)
    looks = planned_looks(100, 800)
    widths = [interval_at_look(x[:look], looks).half_width for look in looks]
    wanted = (widths[1] + widths[2]) / 2
    answers = [narrow_enough(x[:look], wanted, looks) for look in looks]
    assert answers == [False, False, True, True]


def test_a_look_that_was_not_planned_is_refused() -> None:
    with pytest.raises(DataError, match="3 trials are none of the planned looks 2, 4; wait"):
        interval_at_look([0.5, 0.6, 0.7], (2, 4))
    with pytest.raises(DataError, match="3 trials are none of the planned looks"):
        narrow_enough([0.5, 0.6, 0.7], 0.1, (2, 4))


def test_a_trial_outside_the_bounds_is_refused() -> None:
    with pytest.raises(DataError, match=r"interval_at_look: trial 1 is 1\.5"):
        interval_at_look([0.5, 1.5])


@pytest.mark.parametrize("half_width", [0.0, -0.1, math.nan])
def test_no_interval_can_have_no_width(half_width: float) -> None:
    with pytest.raises(DataError, match=r"narrow_enough: half_width=.* is not above 0"):
        narrow_enough([0.5, 0.6], half_width, (2,))
