"""Advice: what single faults cost, which changes meet them, and what the first of these brings."""

from __future__ import annotations

import json
from contextlib import chdir
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest
import torch

from codesign.effects import EFFECT, Effects
from codesign.engine import dense
from codesign.errors import StudyError
from codesign.guards import Clamp, Correct, Recompute, Replace
from codesign.intervals import Interval
from codesign.scenarios import SingleFaults
from codesign.study.advise import advise
from codesign.study.advise_changes import Change, rank
from codesign.study.advise_evidence import Evidence, covered, line_of, removed
from codesign.study.building import build
from codesign.study.campaign import evaluate_trials
from codesign.study.loading import load_study
from codesign.study.results import Results
from codesign.study.running import campaigns_of, run_study

STUDY = """\
title: small
data: {use: networks:digits}
networks: {cnn: {use: networks:SmallCnn, channels: [4, 8]}}
training: {epochs: 6, qat_epochs: 0, batch: 64, learning_rate: 5e-3}
accelerators: {array: {datasheet: generic8_ws}}
designs: {cnn: {network: cnn, accelerator: array}}
faults:
  stuck:
    use: scenarios:RandomFaults
    components: [array.weight_register]
    model: stuck
    rates: [3e-2]
  single:
    use: scenarios:SingleFaults
    components: [array.weight_register, array.psum_register]
    model: stuck
    trials: 60
effort: {trials: 5, samples: 40, workers: 1, seen: 0}
"""


def nothing(_):
    """Says nothing."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder with a study that was run, and advised on."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("advise")
    (folder / "small.yaml").write_text(STUDY)
    with chdir(folder):
        study = load_study("small.yaml")
        run_study(study, "x", nothing, quiet=True)
        return folder, study, advise(study, nothing, quiet=True)


@pytest.fixture(scope="module")
def evidence(ran):
    """Its campaign of single faults."""
    folder, study, _ = ran
    with chdir(folder):
        built = build(study, folder / "out" / "small", nothing)
        (campaign,) = (c for c in campaigns_of(built) if c.labels["scenario"] == "single")
        with Results(folder / "out" / "small" / "results.sqlite", readonly=True) as results:
            rows = tuple(results.rows(campaign.task.digest))
    outputs = dense.golden(campaign.design.layered(), campaign.samples).outputs
    golden = float((outputs.argmax(axis=1) == campaign.samples.labels).mean())
    return Evidence(campaign, rows, golden)


class Given(Evidence):
    """Evidence whose effects are stated instead of drawn."""

    given: tuple[np.ndarray, ...] = ()

    @cached_property
    def effects(self):
        return self.given


def stated(evidence, *trials):
    """Evidence of so many trials with these effect rows each."""
    found = Given(evidence.campaign, evidence.rows[: len(trials)], evidence.golden)
    effects = tuple(
        Effects.of(rows, 1).table if rows else np.zeros(0, dtype=EFFECT) for rows in trials
    )
    object.__setattr__(found, "given", effects)
    return found


def weight(evidence, layer="linear", k=(0, 1, 1), n=(0, 1, 1), **more):
    """One flipped weight bit of a layer."""
    index = evidence.design.network.index(layer)
    row = {"kind": "operand", "at": "weight", "layer": index, "op": "xor", "bits": 8, "mask": 1}
    return {**row, "k": k, "n": n, **more}


def one(index):
    """A selector of one index."""
    return (int(index), int(index) + 1, 1)


# What was measured


def test_what_would_go_is_the_mean_over_all_trials_of_loss_times_share(evidence):
    rows = evidence.rows[0]
    made = [
        replace(rows, trial=i, correct=c, masked=0, tolerated=0, sdc=40, corrected=0, detected=0,
                hang=0, samples=40)
        for i, c in enumerate((20, 40, 30, 40))
    ]  # fmt: skip
    given = Evidence(evidence.campaign, tuple(made), golden=1.0)
    assert given.losses.tolist() == [0.5, 0.0, 0.25, 0.0]
    # (0.5 · 1 + 0.25 · 0.5) / 4
    assert removed(given, np.array([1.0, 1.0, 0.5, 0.0])).value == pytest.approx(0.15625)


def test_losses_by_unit_add_up_to_the_loss_of_all(evidence):
    by_unit = evidence.loss_by_unit()
    assert set(by_unit) == {"array.weight_register", "array.psum_register"}
    assert sum(faults for faults, _ in by_unit.values()) == 60
    total = sum(faults * loss.value for faults, loss in by_unit.values())
    assert total / 60 == pytest.approx(evidence.losses.mean())


def test_a_column_of_an_array_is_named_by_its_number(evidence):
    site: dict[str, object] = {"unit": "array.weight_register", "instance": [3, 5]}
    assert line_of(evidence.design, site) == ("array", (0, 5))
    assert line_of(evidence.design, {"unit": "dram.words", "instance": []}) is None
    assert line_of(evidence.design, {}) is None


# Which guards meet what


def test_a_code_meets_its_place_and_layer_alone(evidence):
    given = stated(evidence, [weight(evidence)], [weight(evidence, "conv1")], [])
    assert covered(given, [Correct("linear", "weight")]).tolist() == [1.0, 0.0, 0.0]
    assert covered(given, [Correct("linear", "activation")]).tolist() == [0.0, 0.0, 0.0]


def test_a_fault_in_several_layers_counts_for_each_in_equal_parts(evidence):
    both = [weight(evidence), weight(evidence, "conv1"), weight(evidence, "conv1", n=one(1))]
    given = stated(evidence, both)
    mine, other = Correct("linear", "weight"), Correct("conv1", "weight")
    assert covered(given, [mine]).tolist() == [0.5]
    assert covered(given, [other]).tolist() == [0.5]
    assert covered(given, [mine, other]).tolist() == [1.0]


def test_a_bound_meets_a_weight_that_leaves_it_and_no_other(evidence):
    weights = evidence.design.network["linear"].weight.reshape(10, -1)
    n, k = np.unravel_index(np.abs(weights).argmin(), weights.shape)
    small = int(weights[n, k])  # with bit 5 flipped it is 32 off
    assert abs(small) < 16
    given = stated(
        evidence,
        [weight(evidence, k=one(k), n=one(n), mask=1 << 5)],
        [weight(evidence, k=one(k), n=one(n), mask=1)],
    )
    assert covered(given, [Replace("linear", "weight", -16, 16, 0)]).tolist() == [1.0, 0.0]


def test_a_bound_meets_a_share_of_the_weights_in_one_register(evidence):
    weights = evidence.design.network["linear"].weight.reshape(10, -1)
    stuck = weight(evidence, op="stuck", mask=1 << 6, value=1 << 6, k=(0, -1, 1), n=(0, 1, 1))
    after = [w if w & 64 else w + 64 for w in map(int, weights[0])]
    changed = [(w, a) for w, a in zip(map(int, weights[0]), after, strict=True) if w != a]
    wanted = sum(not -20 <= a <= 20 for _, a in changed) / len(changed)
    assert 0 < wanted < 1
    given = stated(evidence, [stuck])
    found = covered(given, [Clamp("linear", "weight", -20, 20)])
    assert found.tolist() == [pytest.approx(wanted)]


def test_an_effect_that_changes_no_value_need_not_be_met(evidence):
    weights = evidence.design.network["linear"].weight.reshape(10, -1)
    bit = int(weights[0, 0]) & 1
    idle = weight(evidence, op="stuck", mask=1, value=bit)
    loud = weight(evidence, mask=1 << 6, k=one(1))
    guard = Replace("linear", "weight", -1, 1, 0)
    met = covered(stated(evidence, [loud]), [guard])
    assert covered(stated(evidence, [idle, loud]), [guard]).tolist() == met.tolist()


def test_executing_again_meets_no_permanent_fault(evidence):
    given = stated(evidence, [weight(evidence)])
    assert covered(given, [Recompute(3)]).tolist() == [0.0]


def test_executing_again_meets_a_flip_unless_nothing_is_loaded_again(evidence):
    given = stated(evidence, [weight(evidence)])
    for anew, share in ((True, 1.0), (False, 0.0)):
        scenario = SingleFaults(("array.weight_register",), "flip", anew=anew)
        campaign = replace(given.campaign, scenario=scenario)
        struck = stated(replace(evidence, campaign=campaign), [weight(evidence)])
        assert covered(struck, [Recompute(3)]).tolist() == [share]


def test_trials_that_a_code_is_said_to_meet_lose_nothing_once_it_stands_there(evidence):
    # The engine's word.
    layers = [layer.name for layer in evidence.design.network if hasattr(layer, "weight")]
    guards = [Correct(name, "weight") for name in layers]
    shares = covered(evidence, guards)
    met = [row.trial for row, share in zip(evidence.rows, shares, strict=True) if share == 1.0]
    assert len(met) > 5
    campaign = replace(evidence.campaign, design=evidence.design.guarded(*guards))
    golden = dense.golden(campaign.design.layered(), campaign.samples)
    rows = evaluate_trials(campaign, golden, met)
    assert all(row.masked + row.corrected == row.samples for row in rows)
    assert any(row.corrected for row in rows)


# Ranks


def change(name, gone, energy=0.0, cycles=0.0, area=0.0):
    interval = Interval(gone, gone - 0.001, gone + 0.001, 0.95, 100, "x")
    return Change(name, "code", "", None, 1, interval, energy, cycles, area)  # type: ignore[arg-type]


def test_changes_are_ranked_by_loss_removed_for_the_price():
    free = change("free", 0.02)  # 0.02 / 0.01 = 2
    dear = change("dear", 0.05, energy=0.09)  # 0.05 / 0.10 = 0.5
    slow = change("slow", 0.03, cycles=0.005, area=0.005)  # 0.03 / 0.02 = 1.5
    cheaper = change("cheaper", 0.02, energy=-0.5)  # saving is no excuse: 2 again, by name first
    none = change("none", 0.0)
    order = rank([none, dear, slow, free, cheaper])
    assert [c.name for c in order] == ["cheaper", "free", "slow", "dear", "none"]
    assert slow.price == pytest.approx(0.02)


# A whole study


def test_the_costs_told_are_the_differences_of_the_mappings_costs(ran):
    from codesign.study.advise_changes import cost_of

    folder, study, advice = ran
    with chdir(folder):
        built = build(study, folder / "out" / "small", nothing)
    base = built.designs["cnn"]
    samples = built.coded("cnn")
    before = cost_of(base, samples)
    checked = 0
    for changed in advice.ranked:
        if changed.kind == "headroom":
            continue
        after = cost_of(changed.design, samples)
        assert changed.cycles == pytest.approx(after.cycles / before.cycles - 1)
        assert changed.energy == pytest.approx(after.energy_pj / before.energy_pj - 1)
        checked += 1
    assert checked >= 4


def test_what_was_tried_is_measured_in_pairs_with_faults_that_the_ranking_has_not_seen(ran):
    folder, study, advice = ran
    assert advice.tried
    with Results(folder / "out" / "small" / "results.sqlite", readonly=True) as results:
        stored = {}
        for task in results.tasks():
            description, labels = json.loads(task.description), json.loads(task.labels)
            key = (task.name.startswith("advise"), labels["design"], labels["scenario"])
            stored[key] = (description["seed"], results.rows(task.digest))
    for tried in advice.tried:
        name = tried.change.design.name
        for gain in tried.gains:
            assert gain.is_paired
            scenario = gain.scenario.partition(" at ")[0]
            (seed, was), (_, now) = (stored[True, d, scenario] for d in ("cnn", name))
            assert seed != stored[False, "cnn", scenario][0] == study.spec.seed
            difference = np.mean([b.correct - a.correct for a, b in zip(was, now, strict=True)])
            assert gain.accuracy.value == pytest.approx(difference / was[0].samples)
            digests = [row.faults_digest for row in was]
            assert digests == [row.faults_digest for row in now]
            assert digests[:5] != [r.faults_digest for r in stored[False, "cnn", scenario][1]][:5]


def test_a_rate_at_which_the_design_surely_loses_is_tried_too(ran):
    _, _, advice = ran
    assert [gain.scenario for gain in advice.tried[0].gains] == ["single", "stuck at 0.03"]


def test_trying_ends_with_the_first_that_helps_and_else_after_three(ran):
    _, _, advice = ran
    helped = [tried.helps for tried in advice.tried]
    assert not any(helped[:-1])
    assert helped[-1] or len(helped) == 3
    worth = [c for c in advice.ranked if c.removed.low > 0]
    assert [tried.change for tried in advice.tried] == worth[: len(helped)]


def test_asked_again_it_computes_nothing_and_says_the_same(ran):
    folder, study, advice = ran
    file = folder / "out" / "small" / "results.sqlite"
    with Results(file, readonly=True) as results:
        before = len(results.frame())
    with chdir(folder):
        again = advise(study, nothing, quiet=True)
    with Results(file, readonly=True) as results:
        assert len(results.frame()) == before
    assert str(again) == str(advice)


def test_what_is_told_names_where_it_hurts_what_to_do_and_what_it_brought(ran):
    _, _, advice = ran
    told = str(advice)
    assert "cnn, single: 60 faults cost" in told
    assert "array.psum_register:" in told
    assert "  1. cnn + " in told
    assert "costs energy" in told
    assert "not possible: cnn, single: re-execution: meets none of these faults" in told
    assert "Tried cnn + " in told
    assert "points of accuracy" in told
    ends = ("It helps.", "It harms.", "It brings nothing that can be told from zero.")
    assert any(end in told for end in ends)


# What cannot be


def test_a_design_whose_faults_cost_nothing_gets_no_advice(ran, tmp_path):
    (tmp_path / "small.yaml").write_text(
        STUDY.replace("[array.weight_register, array.psum_register]", "[dram.words]")
        .replace("trials: 60", "trials: 4")
        .replace("use: scenarios:SingleFaults", "use: scenarios:SingleFaults\n    upset_bits: 1")
        .replace("model: stuck\n    trials", "model: flip\n    trials")
        .replace("samples: 40", "samples: 5")
    )
    with chdir(tmp_path):
        study = load_study("small.yaml", ["training.epochs=1"])
        run_study(study, "x", nothing, quiet=True)
        told = str(advise(study, nothing, quiet=True))
    assert "Nothing is worth it: no change surely removes any of the loss." in told


def test_a_study_that_was_not_run_is_sent_to_be_run(tmp_path):
    (tmp_path / "small.yaml").write_text(STUDY)
    with chdir(tmp_path):
        study = load_study("small.yaml")
        with pytest.raises(StudyError, match=r"no results yet; codesign run small\.yaml makes"):
            advise(study, nothing)


def test_a_study_without_single_faults_is_told_what_to_add(ran, tmp_path):
    folder, _, _ = ran
    text = STUDY[: STUDY.index("  single:")] + STUDY[STUDY.index("effort:") :]
    (folder / "other.yaml").write_text(text)
    with chdir(folder):
        study = load_study("other.yaml", ["outputs.folder=out/small"])
        with pytest.raises(
            StudyError, match=r"no results of single faults; .*SingleFaults and run"
        ):
            advise(study, nothing)


def test_one_trial_is_refused(ran):
    _, study, _ = ran
    with pytest.raises(StudyError, match="trials=1: expected at least 2"):
        advise(study, nothing, trials=1)
