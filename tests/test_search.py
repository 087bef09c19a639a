"""The loop of a search and its store, with a toy to evaluate: no torch, no network, no chip."""

from __future__ import annotations

import itertools
import json

import pytest

from codesign.errors import CapacityError, StoreError, StudyError
from codesign.study.results import CandidateRow, Results
from codesign.study.search_loop import Identity, Limits, Worth, run_search
from codesign.study.strategy import Dimension, make_strategy

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
