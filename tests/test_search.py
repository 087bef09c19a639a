"""Searches: proposals, the loop and its store, fronts and duels. No torch, no network, no chip."""

from __future__ import annotations

import itertools
import json
import random
import sys

import numpy as np
import pytest

from codesign.errors import CapacityError, StoreError, StudyError
from codesign.study.results import CandidateRow, Results
from codesign.study.search_front import non_dominated, spread_out
from codesign.study.search_loop import Identity, Limits, Worth, run_search
from codesign.study.search_verdict import Contender, duels, verdict
from codesign.study.strategy import Candidate, Dimension, RandomStrategy, make_strategy

DIMENSIONS = (
    Dimension("design", ("cnn", "snn")),
    Dimension("channels", ([4, 8], [8, 16], [16, 32]), when=(("design", ("cnn",)),)),
    Dimension("bits", low=4, high=8, step=1),
    Dimension("leak", low=0.5, high=0.99, when=(("design", ("snn",)),)),
    Dimension("rate", low=1e-4, high=1e-1, log=True, when=(("design", ("snn",)),)),
)
WAYS = {"accuracy": "max", "energy": "min"}
KINDS = ("tpe", "nsga2", "random")


def worth_of(point):
    """A toy: accuracy and energy by formula; 5 bits of a cnn cannot be built."""
    if point["design"] == "cnn" and point["bits"] == 5:
        raise CapacityError("weight memory: 5 bits do not divide a word; use 4 or 8")
    width = point["channels"][0] / 16 if point["design"] == "cnn" else point["leak"]
    return {"accuracy": 1 - 2.0 ** -point["bits"] * (2 - width), "energy": point["bits"] * width}


def identity_of(point):
    training = f"{point['design']}/{point.get('channels')}"
    return Identity(json.dumps(point, sort_keys=True), training)


class Toy:
    """A search whose evaluations are counted, and may be interrupted."""

    def __init__(self, path, kind="random", dies_at=(), limits=None):
        self.path, self.kind, self.dies_at = path, kind, set(dies_at)
        self.limits = limits or Limits(20, 99)
        self.evaluated: list[int] = []
        self.said: list[str] = []
        self.identify = identity_of
        self.evaluate = self.count_and_evaluate

    def count_and_evaluate(self, candidate):
        self.evaluated.append(candidate.number)
        if len(self.evaluated) in self.dies_at:
            raise KeyboardInterrupt
        return Worth(worth_of(candidate.parameters))

    def run(self):
        strategy = make_strategy(self.kind, DIMENSIONS, WAYS, 3, self.limits.candidates)
        with Results(self.path / "results.sqlite") as results:
            return run_search(
                results,
                "toy",
                strategy,
                self.identify,
                self.evaluate,
                self.limits,
                self.said.append,
            )


# Proposals


@pytest.mark.parametrize("kind", KINDS)
def test_every_proposal_lies_in_the_space_and_holds_what_is_active_alone(kind):
    strategy = make_strategy(kind, DIMENSIONS, WAYS, 1, 40)
    seen = set()
    for _ in range(40):
        candidate = strategy.ask()
        point = candidate.parameters
        assert isinstance(point["bits"], int)
        assert 4 <= point["bits"] <= 8
        wanted = {"channels"} if point["design"] == "cnn" else {"leak", "rate"}
        assert set(point) == {"design", "bits"} | wanted
        if point["design"] == "cnn":
            assert point["channels"] in ([4, 8], [8, 16], [16, 32])
        else:
            assert 0.5 <= point["leak"] <= 0.99
            assert 1e-4 <= point["rate"] <= 1e-1
        seen.add((point["design"], point["bits"]))
        strategy.tell(candidate, {"accuracy": point["bits"], "energy": 0.0})
    assert len(seen) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_asked_again_before_a_tell_another_point_comes(kind):
    strategy = make_strategy(kind, DIMENSIONS, WAYS, 1, 40)
    points = [json.dumps(strategy.ask().parameters) for _ in range(8)]
    assert len(set(points)) > 4


@pytest.mark.parametrize("kind", KINDS)
def test_two_seeds_propose_otherwise_and_one_seed_the_same(kind):
    def first(seed):
        strategy = make_strategy(kind, DIMENSIONS, WAYS, seed, 40)
        return [strategy.ask().parameters for _ in range(6)]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_a_random_strategy_is_uniform_over_choices_and_over_ratios():
    rates = (
        Dimension("bits", low=4, high=8, step=2),
        Dimension("rate", low=1e-4, high=1e-2, log=True),
    )
    strategy = RandomStrategy(rates, 1)
    points = []
    for _ in range(600):
        candidate = strategy.ask()
        points.append(candidate.parameters)
        strategy.tell(candidate, None)
    for bits in (4, 6, 8):
        # 600 draws of 1/3: 200 with a standard deviation of 11.5
        assert abs(sum(p["bits"] == bits for p in points) - 200) < 50
    assert abs(sum(p["rate"] < 1e-3 for p in points) - 300) < 61


def test_tpe_learns_where_a_random_search_does_not():
    dimensions = (Dimension("x", low=0, high=10), Dimension("y", low=0, high=10))

    def best(kind, seed):
        strategy = make_strategy(kind, dimensions, {"loss": "min"}, seed, 40)
        losses = []
        for _ in range(40):
            candidate = strategy.ask()
            x, y = candidate.parameters["x"], candidate.parameters["y"]
            losses.append((x - 7) ** 2 + (y - 2) ** 2)
            strategy.tell(candidate, {"loss": losses[-1]})
        return np.mean(losses[20:])

    assert np.mean([best("tpe", s) for s in range(3)]) < np.mean(
        [best("random", s) for s in range(3)]
    )


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_what_is_not_possible_is_proposed_less(kind):
    dimensions = (Dimension("chip", ("fits", "too small")), Dimension("x", low=0, high=1))
    strategy = make_strategy(kind, dimensions, WAYS, 2, 120)
    failed = []
    for _ in range(120):
        candidate = strategy.ask()
        fits = candidate.parameters["chip"] == "fits"
        x = candidate.parameters["x"]
        strategy.tell(candidate, {"accuracy": x, "energy": x * x} if fits else None)
        failed.append(not fits)
    assert sum(failed[-40:]) < sum(failed[:40])


def test_nsga2_remembers_its_generation_in_what_is_stored():
    strategy = make_strategy("nsga2", DIMENSIONS, WAYS, 1, 600)
    generations = []
    for _ in range(110):  # two populations of 50, and more
        candidate = strategy.ask()
        stored = json.loads(json.dumps(candidate.attrs))
        generations.append(stored["system"]["NSGAIISampler:generation"])
        strategy.tell(
            Candidate(candidate.number, candidate.parameters, stored),
            {"accuracy": candidate.parameters["bits"], "energy": candidate.number % 7},
        )
    assert generations == [0] * 50 + [1] * 50 + [2] * 10


@pytest.mark.parametrize(("candidates", "generation"), [(499, False), (500, True)])
def test_auto_is_nsga2_from_500_candidates_on(candidates, generation):
    strategy = make_strategy("auto", DIMENSIONS, WAYS, 1, candidates)
    assert ("NSGAIISampler:generation" in strategy.ask().attrs["system"]) is generation


def test_without_optuna_the_message_says_what_to_install_and_random_works(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(StudyError, match=r"pip install 'codesign\[search\]', or write strategy: r"):
        make_strategy("auto", DIMENSIONS, WAYS, 1, 40)
    assert make_strategy("random", DIMENSIONS, WAYS, 1, 40).ask().parameters


def test_an_old_optuna_is_refused_by_its_version(monkeypatch):
    import optuna

    monkeypatch.setattr(optuna, "__version__", "4.9.1")
    with pytest.raises(StudyError, match=r"needs Optuna 5 or later, this is 4\.9\.1"):
        make_strategy("tpe", DIMENSIONS, WAYS, 1, 40)


def test_optuna_says_nothing_and_keeps_the_verbosity_that_it_had(capfd, recwarn):
    import optuna

    before = optuna.logging.get_verbosity()
    strategy = make_strategy("tpe", DIMENSIONS, WAYS, 1, 40)
    strategy.tell(strategy.ask(), None)
    strategy.ask()
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""
    assert not recwarn.list


# The loop


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_that_died_again_and_again_ends_as_one_that_did_not(tmp_path, kind):
    whole = Toy(tmp_path / "whole", kind).run()
    dying = tmp_path / "dying"
    deaths = 0
    for evaluations in (1, 3, 4, 2, 5):
        toy = Toy(dying, kind, dies_at=[evaluations])
        with pytest.raises(KeyboardInterrupt):
            toy.run()
        deaths += 1
    ended = Toy(dying, kind).run()
    assert deaths == 5
    assert ended.rows == whole.rows
    assert len(whole.rows) >= 20


def test_a_finished_search_evaluates_nothing_when_it_is_run_again(tmp_path):
    first = Toy(tmp_path).run()
    again = Toy(tmp_path)
    assert again.run() == first
    assert again.evaluated == []


def test_asking_for_more_candidates_extends_a_search(tmp_path):
    few = Toy(tmp_path, limits=Limits(8, 99)).run()
    more = Toy(tmp_path, limits=Limits(20, 99)).run()
    whole = Toy(tmp_path / "whole", limits=Limits(20, 99)).run()
    assert few.designs == 8
    assert more.rows[: len(few.rows)] == few.rows
    assert more.rows == whole.rows


def test_what_cannot_be_is_stored_with_its_reason_and_the_search_goes_on(tmp_path):
    ended = Toy(tmp_path, limits=Limits(40, 99)).run()
    failed = [row for row in ended.rows if row.state == "failed"]
    wanted = [
        row
        for row in ended.rows
        if (p := json.loads(row.parameters))["design"] == "cnn" and p["bits"] == 5
    ]
    assert failed
    assert failed == wanted
    reasons = {json.loads(row.attrs)["reason"] for row in failed}
    assert reasons == {"weight memory: 5 bits do not divide a word; use 4 or 8"}
    assert {row.objectives for row in failed} == {"{}"}


def test_a_point_that_cannot_even_be_said_fails_with_its_reason(tmp_path):
    toy = Toy(tmp_path, limits=Limits(4, 99))

    def identify(point):
        raise StudyError("the study cannot be changed so")

    toy.identify = identify
    ended = toy.run()
    assert {row.state for row in ended.rows} == {"failed"}
    assert json.loads(ended.rows[0].attrs)["reason"] == "the study cannot be changed so"
    assert toy.evaluated == []


def test_a_design_met_again_is_told_from_the_store(tmp_path):
    toy = Toy(tmp_path, limits=Limits(10, 99))
    toy.identify = lambda point: Identity(f"{point['design']} {point['bits']}", "t")
    ended = toy.run()
    first: dict[tuple[str, int], CandidateRow] = {}
    again = 0
    for row in ended.rows:
        point = json.loads(row.parameters)
        key = (point["design"], point["bits"])
        if key in first:
            again += 1
            assert json.loads(row.attrs)["same as"] == first[key].number
            assert (row.state, row.objectives) == (first[key].state, first[key].objectives)
        else:
            first[key] = row
    assert again > 0
    assert len(toy.evaluated) == len(first) == ended.designs == 10


def test_a_space_without_anything_new_ends_and_says_so(tmp_path):
    toy = Toy(tmp_path, limits=Limits(50, 99))
    toy.identify = lambda point: Identity(point["design"], "t")
    ended = toy.run()
    assert ended.designs == 2
    assert ended.reason == "the last 30 proposals were known designs: nothing new"


def test_trainings_are_limited_and_free_ones_are_not_counted(tmp_path):
    free = frozenset({"snn/None"})
    ended = Toy(tmp_path, limits=Limits(30, 2, free)).run()
    trained = {json.loads(row.attrs)["training"] for row in ended.rows}
    assert "snn/None" in trained
    assert len(trained - free) == ended.trainings == 2
    rejected = [json.loads(row.attrs).get("rejected", 0) for row in ended.rows]
    assert sum(rejected) > 0


def test_a_search_whose_every_proposal_needs_a_training_too_many_ends_and_says_so(tmp_path):
    toy = Toy(tmp_path, limits=Limits(30, 1))
    numbers = itertools.count()
    toy.identify = lambda point: Identity(f"design {next(numbers)}", f"training {next(numbers)}")
    ended = toy.run()
    assert ended.designs == 1
    assert ended.reason == "100 proposals in a row needed more than 1 trainings"


def test_a_worth_that_is_no_number_fails(tmp_path):
    toy = Toy(tmp_path, limits=Limits(1, 9))
    toy.evaluate = lambda candidate: Worth({"accuracy": float("nan"), "energy": 1.0})
    (row,) = toy.run().rows
    assert json.loads(row.attrs)["reason"] == "accuracy is nan, not a number"


def test_a_broken_store_is_no_infeasible_candidate(tmp_path):
    toy = Toy(tmp_path, limits=Limits(5, 9))

    def evaluate(candidate):
        raise StoreError("disk full")

    toy.evaluate = evaluate
    with pytest.raises(StoreError, match="disk full"):
        toy.run()


def test_every_candidate_is_told_in_a_line(tmp_path):
    toy = Toy(tmp_path, limits=Limits(40, 99))
    toy.run()
    assert any("not possible: weight memory" in line for line in toy.said)
    assert any("accuracy 0." in line and "energy" in line for line in toy.said)


# Fronts


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
