"""Scenarios: drawn by key, nested in rate, within what the chip has."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from accelerators.systolic.family import Memory, Systolic
from codesign.accelerator import AcceleratorGraph, Component, Unit
from codesign.design import Design
from codesign.engine import dense
from codesign.errors import FaultError
from codesign.faults import Faults
from codesign.formats import NumberFormat
from codesign.guards import Recompute
from codesign.mapping import Assignment
from codesign.network import Edge, Input, Linear, NetworkGraph
from codesign.program import MacArithmetic, Program
from codesign.samples import Samples
from codesign.scenarios import FaultList, RandomFaults, SingleFaults, targets

NETWORK = NetworkGraph(
    "net",
    (
        Input("x", (), shape=(2,)),
        Linear("y", (Edge("x"),), np.array([[1, 2]]), np.array([0])),
    ),
)


@dataclass(frozen=True)
class FakeFamily:
    """A chip of 4 x 5 elements and 3 neurons whose mapping knows cycles and exposures only."""

    rows: int = 4
    loads: tuple[int, ...] = (3, 40, 77)

    def build(self):
        weight = Component("weight", 8, "weight", words=2)
        spare = Component("spare", 8, "weight")
        fire = Component("fire", 1, "operation")
        leak = Component("leak", 1, "operation")
        units = (
            Unit("array", "pe_array", (self.rows, 5), (weight, spare)),
            Unit("neuron", "neuron", (3,), (fire, leak)),
        )
        return AcceleratorGraph("fake", self, units)

    def map(self, network, placement):
        return FakeMapping(self)


@dataclass(frozen=True)
class FakeMapping:
    family: FakeFamily

    def program(self, guards):
        wide = NumberFormat(32)
        return Program(NETWORK, {"y": MacArithmetic(wide, wide, (2,))}, guards=guards)

    def exposures(self, unit, component):
        return self.family.loads

    def assignments(self):
        all_of = (0, -1, 1)
        return (Assignment("y", "array", ((0, 4), (0, 5)), all_of, all_of, all_of, 0, 100),)


def design(*guards, **chip):
    return Design("d", NETWORK, FakeFamily(**chip).build(), guards=guards)


WEIGHTS = RandomFaults(("array.weight",), "flip", 0.05)


def sites(faults: Faults, trial: int) -> set[tuple[int, ...]]:
    rows = faults.table[faults.table["trial"] == trial]
    return {tuple(int(v) for v in r) for r in rows[["part", "instance", "word", "bit"]].tolist()}


def test_a_trial_s_faults_do_not_depend_on_what_else_is_drawn():
    together = WEIGHTS.draw(design(), range(20), 7, 1)
    for trial in (0, 3, 19):
        alone = WEIGHTS.draw(design(), [trial], 7, 1)
        assert sites(alone, 0) == sites(together, trial)
    other = WEIGHTS.draw(design(), range(20), 8, 1)
    assert any(sites(other, t) != sites(together, t) for t in range(20))


def test_faults_at_a_low_rate_are_among_those_at_a_higher_one():
    low, high = (replace(WEIGHTS, rate=r).draw(design(), range(30), 7, 1) for r in (0.01, 0.3))
    for trial in range(30):
        assert sites(low, trial) <= sites(high, trial)
    drawn = len(high) / (30 * 20 * 2 * 8)
    assert drawn == pytest.approx(0.3, abs=0.02)


def test_designs_that_share_a_component_meet_the_same_faults_guards_or_not():
    plain, guarded = design(), design(Recompute(3))
    for trial in range(5):
        first = guarded_faults(guarded, trial, execution=0)
        assert first == sites(WEIGHTS.draw(plain, [trial], 7, 1), 0)


def guarded_faults(guarded, trial, execution):
    drawn = WEIGHTS.draw(guarded, [trial], 7, 1)
    rows = drawn.table[drawn.table["execution"] == execution]
    return {tuple(int(v) for v in r) for r in rows[["part", "instance", "word", "bit"]].tolist()}


def test_transients_strike_each_execution_anew_and_permanent_faults_all_alike():
    guarded = design(Recompute(3))
    struck = [guarded_faults(guarded, 0, execution) for execution in range(3)]
    assert struck[0] != struck[1] != struck[2]
    stuck = replace(WEIGHTS, model="stuck").draw(guarded, [0], 7, 1)
    assert set(stuck.table["execution"].tolist()) == {-1}


def test_one_strike_for_all_executions_is_said_for_all_of_them():
    guarded = design(Recompute(3))
    drawn = replace(WEIGHTS, anew=False).draw(guarded, [0], 7, 1)
    assert set(drawn.table["execution"].tolist()) == {-1}
    assert sites(drawn, 0) == sites(WEIGHTS.draw(design(), [0], 7, 1), 0)


def test_stuck_bits_are_stuck_at_either_level_about_equally_often():
    drawn = replace(WEIGHTS, model="stuck", rate=0.5).draw(design(), range(20), 1, 1)
    share = (drawn.table["model"] == 1).mean()
    assert share == pytest.approx(0.5, abs=0.03)
    assert set(drawn.table["model"].tolist()) == {1, 2}


def test_stored_values_are_struck_once_each_just_after_they_are_loaded():
    drawn = replace(WEIGHTS, rate=1.0, exposure="stored").draw(design(), [0], 1, 9)
    assert len(drawn) == 3 * 20 * 2 * 8
    assert sorted(set(drawn.table["first"][:, 1].tolist())) == [3, 40, 77]
    assert set(drawn.table["first"][:, 0].tolist()) == {0}


def test_every_inference_can_be_struck_anew_at_any_cycle():
    drawn = replace(WEIGHTS, rate=0.2, exposure="inference").draw(design(), [0], 1, 50)
    inference, cycle = drawn.table["first"].T
    assert set(inference.tolist()) == set(range(50))
    assert cycle.min() >= 0
    assert cycle.max() < 100
    assert np.histogram(cycle, 4, (0, 100))[0] / len(cycle) == pytest.approx([0.25] * 4, abs=0.03)


def test_an_upset_takes_neighbours_with_it_as_one_event_and_stays_in_its_word():
    single = SingleFaults(("array.weight",), "flip")
    wide = replace(single, upset_bits=3)
    for trial in range(50):
        one, three = (s.draw(design(), [trial], 3, 1).table for s in (single, wide))
        low = int(one["bit"][0])
        assert three["bit"].tolist() == list(range(low, min(low + 3, 8)))
        assert len(set(three["event"].tolist())) == 1
        assert (three["instance"] == one["instance"][0]).all()


def test_events_are_numbered_from_zero_in_each_trial():
    drawn = replace(WEIGHTS, upset_bits=2, rate=0.02).draw(design(), range(6), 3, 1)
    for trial in range(6):
        events = drawn.table["event"][drawn.table["trial"] == trial]
        assert sorted(set(events.tolist())) == list(range(len(set(events.tolist()))))


def test_of_upsets_that_overlap_each_bit_is_struck_once_as_a_set_would_have_it():
    single = replace(WEIGHTS, rate=0.2)
    wide = replace(single, upset_bits=3)
    for trial in range(5):
        struck = sites(single.draw(design(), [trial], 3, 1), 0)
        hoped = {(*site[:-1], b) for site in struck for b in range(site[-1], min(site[-1] + 3, 8))}
        came = wide.draw(design(), [trial], 3, 1)
        assert sites(came, 0) == hoped
        assert len(came) == len(hoped)


def test_a_single_fault_falls_on_every_site_about_equally_often():
    scenario = SingleFaults(("array.weight", "array.spare"), "stuck0")
    drawn = scenario.draw(design(), range(9600), 5, 1)
    assert drawn.table["trial"].tolist() == list(range(9600))
    assert (drawn.table["part"] == 0).mean() == pytest.approx(2 / 3, abs=0.02)
    counts = np.bincount(drawn.table["bit"], minlength=8)
    assert counts.min() > 1050
    again = scenario.draw(design(), [4321], 5, 1)
    assert sites(again, 0) == sites(drawn, 4321)


def test_roles_pick_every_component_that_plays_them():
    chip = design().accelerator
    assert [t.name for t in targets(chip, ("role:weight",), "flip")] == ["weight", "spare"]
    assert [t.name for t in targets(chip, ("array.*",), "dead")] == ["*"]


def test_a_broken_fire_operation_is_either_silent_or_always_firing():
    drawn = RandomFaults(("neuron.fire",), "broken", 0.5).draw(design(), range(200), 1, 1)
    assert set(drawn.table["model"].tolist()) == {3, 4}
    leak = RandomFaults(("neuron.leak",), "broken", 0.5).draw(design(), range(200), 1, 1)
    assert set(leak.table["model"].tolist()) == {3}


def test_dead_instances_are_drawn_whole():
    drawn = RandomFaults(("array.*",), "dead", 0.5).draw(design(), range(100), 1, 1)
    drawn.check(design().accelerator)
    assert len(drawn) / (100 * 20) == pytest.approx(0.5, abs=0.04)


def test_drawn_faults_can_exist_and_a_list_of_them_draws_the_same(tmp_path):
    chip = design().accelerator
    drawn = replace(WEIGHTS, rate=0.02).draw(design(), range(4), 2, 1)
    drawn.check(chip)
    drawn.to_csv(tmp_path / "list.csv", chip)
    listed = FaultList(tmp_path / "list.csv")
    for trial in range(4):
        assert sites(listed.draw(design(), [trial], 0, 1), 0) == sites(drawn, trial)
    with pytest.raises(FaultError, match="lists 4 trials, asked for 4"):
        listed.draw(design(), [4], 0, 1)


CHIP = FakeFamily().build()
REFUSED = [
    (lambda: replace(WEIGHTS, rate=1.5), r"rate=1\.5 is not a probability"),
    (lambda: replace(WEIGHTS, upset_bits=0), "upset_bits=0"),
    (lambda: RandomFaults(("a.b",), "dead", upset_bits=2), "only bits have neighbours"),
    (lambda: targets(CHIP, ("array.wait",), "flip"), "no component 'array.wait'; did you mean"),
    (lambda: targets(CHIP, ("role:wait",), "flip"), "no component 'role:wait'"),
    (lambda: targets(CHIP, ("neuron.fire",), "flip"), "cannot have 'flip' faults; skip, always"),
    (lambda: targets(CHIP, ("array.weight",), "skip"), "cannot have 'skip' faults; flip, stuck"),
    (lambda: targets(CHIP, ("array.weight",), "dead"), r"is named unit\.\*, came 'array.weight'"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_cannot_be_drawn_is_refused(make, message):
    with pytest.raises(FaultError, match=message):
        make()


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FaultError, match="No such file"):
        FaultList(tmp_path / "none.csv")


def test_a_single_flip_is_outvoted_by_the_executions_that_load_their_state_again():
    flip = SingleFaults(("weight_sram.words",), "flip")
    chip = Systolic(rows=4, cols=2, weight_sram=Memory(8, 16)).build()
    weight = np.arange(1, 9).reshape(4, 2)
    layers = Input("x", (), shape=(2,)), Linear("y", (Edge("x"),), weight, np.zeros(4, int))
    network = NetworkGraph("net", layers)
    samples = Samples("s", "test", np.array([[3, 5], [7, 1]]), np.array([0, 1]))

    def outputs(scenario, *guards):
        struck = Design("d", network, chip, guards=guards)
        faults = scenario.draw(struck, range(64), 1, len(samples))
        effects = struck.mapping.footprint(faults, len(samples)).effects
        return dense.evaluate(struck.layered(), samples, effects).outputs

    golden = np.array([[3, 5], [7, 1]]) @ weight.T
    alone = outputs(flip)
    assert (alone != golden).any()
    assert (outputs(flip, Recompute(3)) == golden).all()
    assert (outputs(replace(flip, anew=False), Recompute(3)) == alone).all()
    assert (outputs(replace(flip, model="stuck1"), Recompute(3)) != golden).any()
