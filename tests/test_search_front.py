"""Fronts and duels: who dominates whom, and who wins at no more cost."""

from __future__ import annotations

import random

import numpy as np
import pytest

from codesign.study.search_front import non_dominated, spread_out
from codesign.study.search_verdict import Contender, duels, spoken, verdict


def dominated(i, values, ways):
    """By brute force from the definition, in exact arithmetic on integers."""
    signs = [1 if way == "min" else -1 for way in ways]
    mine = [s * v for s, v in zip(signs, values[i], strict=True)]
    for other in values:
        theirs = [s * v for s, v in zip(signs, other, strict=True)]
        if all(a <= b for a, b in zip(theirs, mine, strict=True)) and theirs != mine:
            return True
    return False


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_front_is_that_of_brute_force(objectives):
    rng = random.Random(objectives)
    for _ in range(40):
        count = rng.randint(1, 30)
        values = [tuple(rng.randint(0, 6) for _ in range(objectives)) for _ in range(count)]
        ways = [rng.choice(("max", "min")) for _ in range(objectives)]
        wanted = [not dominated(i, values, ways) for i in range(count)]
        assert non_dominated(values, ways) == wanted


def test_members_stand_for_the_front_with_its_ends_first_and_none_twice():
    front = [(1.0, 100.0), (0.99, 90.0), (0.5, 50.0), (0.2, 10.0), (0.5, 50.0)]
    assert spread_out(front, ["max", "min"], 3) == [0, 3, 2]
    assert sorted(spread_out(front, ["max", "min"], 99)) == [0, 1, 2, 3]
    assert spread_out([], ["max", "min"], 3) == []


def test_an_end_of_the_front_is_the_best_of_those_that_tie_in_it():
    # Both have the least energy; the second has more accuracy, as in a front of three objectives.
    front = [(0.5, 1.0, 9.0), (0.6, 1.0, 9.5), (0.9, 5.0, 1.0)]
    assert spread_out(front, ["max", "min", "min"], 2)[1] == 1


# Duels


def contender(name, accuracy, energy, cycles=10.0, strikes="chip"):
    return Contender(name, np.asarray(accuracy), {"energy_pj": energy, "cycles": cycles}, strikes)


def noise(seed, trials=60):
    return np.random.default_rng(seed).uniform(-0.2, 0.2, trials)


def test_pairs_see_a_gain_that_unpaired_trials_do_not():
    shared = 0.6 + noise(1)
    gained = shared + 0.02 + 0.1 * noise(2)
    same_chip = duels([contender("f", gained, 5.0)], [contender("h", shared, 5.0)], 0.01)
    other = duels(
        [contender("f", gained, 5.0, strikes="a")], [contender("h", shared, 5.0, strikes="b")], 0.01
    )
    assert (same_chip[0].is_paired, same_chip[0].outcome) == (True, "beats")
    assert (other[0].is_paired, other[0].outcome) == (False, "neither")
    assert same_chip[0].gain.value == pytest.approx((gained - shared).mean())


def test_nobody_fights_who_costs_more_in_anything():
    better = contender("f", 0.9 + 0 * noise(1), energy=4.0, cycles=11.0)
    worse = contender("h", 0.1 + 0 * noise(1), energy=5.0, cycles=10.0)
    assert duels([better], [worse], 0.01) == ()


def test_a_cheaper_design_matches_within_the_margin_and_an_equal_one_does_not():
    shared = 0.6 + noise(1)
    slightly_less = shared - 0.004 + 0.005 * noise(2)
    (cheaper,) = duels([contender("f", slightly_less, 4.0)], [contender("h", shared, 5.0)], 0.01)
    (strict,) = duels([contender("f", slightly_less, 4.0)], [contender("h", shared, 5.0)], 0.001)
    (equal,) = duels([contender("f", slightly_less, 5.0)], [contender("h", shared, 5.0)], 0.01)
    assert [duel.outcome for duel in (cheaper, strict, equal)] == ["matches", "neither", "neither"]


def test_the_more_duels_the_wider_their_intervals():
    shared = 0.6 + noise(1)
    one = contender("f", shared + 0.1 * noise(2) + 0.01, 1.0)
    hand = [contender(f"h{i}", shared, 5.0) for i in range(10)]
    alone, ten = duels([one], hand[:1], 0.01), duels([one], hand, 0.01)
    assert alone[0].gain.level == pytest.approx(0.95)
    assert {duel.gain.level for duel in ten} == {1 - 0.05 / 10}
    assert ten[0].gain.low < alone[0].gain.low


def test_designs_without_a_difference_are_seldom_beaten():
    beaten = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        one = contender("f", rng.uniform(0.3, 0.9, 20), 1.0, strikes="f")
        hand = [contender(f"h{i}", rng.uniform(0.3, 0.9, 20), 2.0, strikes="h") for i in range(2)]
        beaten += any(duel.outcome == "beats" for duel in duels([one], hand, 0.01))
    # One-sided, at most 2.5 % of searches: of 40, 5 or more once in 300 times.
    assert beaten < 5


COSTS = ("energy_pj", "latency_cycles")
SHARED = 0.6 + noise(1)
NEAR = SHARED + 0.01 * noise(2)  # the same but for a noise of 0.1 points


def sentence(found, hand_made):
    names = [c.name for c in found], [c.name for c in hand_made]
    return verdict(duels(found, hand_made, 0.01), *names, COSTS, 0.01)


def test_the_verdict_counts_who_is_beaten_matched_and_neither():
    found = [contender("found 7", SHARED, 5.0)]
    hand = [
        contender("cnn", NEAR - 0.1, 6.0),
        contender("snn", NEAR, 6.0),
        contender("cheap", SHARED - 0.5, 1.0),
    ]
    assert sentence(found, hand) == (
        "Found designs beat 1 of 3 hand-made designs at no more energy and latency (above all cnn, "
        "by found 7: +10.0 points, +10.0 to +10.0) and match 1 more within 1 point at less cost; "
        "1 stand unbeaten."
    )


def test_the_verdict_says_when_the_search_does_not_win():
    found = [contender("found 7", SHARED - 0.2, 5.0)]
    hand = [contender("cnn", SHARED, 6.0), contender("snn", SHARED, 4.0)]
    assert sentence(found, hand) == (
        "The search does not win: none of its 1 designs beats any of the 2 hand-made ones at no "
        "more energy and latency, nor matches one within 1 point at less."
    )


def test_the_verdict_says_when_nothing_was_found():
    hand = [contender("cnn", SHARED, 6.0)]
    assert "found no design" in sentence([], hand)


def test_every_duel_is_one_line_with_its_interval_and_outcome():
    (duel,) = duels([contender("found 7", SHARED, 5.0)], [contender("cnn", NEAR - 0.1, 6.0)], 0.01)
    assert str(duel) == "found 7 against cnn: +10.0 points (+10.0 to +10.0, paired): beats"


def test_every_hand_made_design_is_told_in_one_line_with_its_best_outcome():
    found = [contender("found 1", SHARED, 5.0), contender("found 2", SHARED - 0.3, 0.5)]
    hand = [contender("cnn", NEAR - 0.1, 6.0), contender("cheap", SHARED - 0.1, 0.1)]
    assert spoken(duels(found, hand, 0.01), ["cnn", "cheap"]) == [
        "found 1 against cnn: +10.0 points (+10.0 to +10.0, paired): beats",
        "cheap: every found design costs more in something",
    ]
