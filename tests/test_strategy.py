"""Strategies: what they propose, what they learn, and what they need installed."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from codesign.errors import StudyError
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
