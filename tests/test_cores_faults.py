"""Faults in cores: footprint → effects → reference engine equals the cores cycle by cycle.

Every register × bit × cycle is flipped, and stuck, skipped, forced and dead sites are tried in
many windows. Trials with equal effects must have equal outputs cycle by cycle (all of them are run
there); of these sets some are evaluated by the engine, spread over components.
``HYPOTHESIS_PROFILE=deep`` evaluates all.
"""

from __future__ import annotations

import numpy as np
import pytest
from cores_cases import INFERENCES, groups_of_equal_effects
from cores_judged import CASES, disagreements, judged, representatives

from codesign.faults import FaultModel, Faults

# Trials evaluated of each case: a reference engine takes long over a convolution.
EVALUATED = {"convolution in rounds": 15, "convolution on many cores": 15}


@pytest.mark.parametrize("name", CASES)
def test_effects_do_what_the_fault_does_cycle_by_cycle(name):
    found = judged(name)
    trials = representatives(found, EVALUATED.get(name, 45))
    assert disagreements(found, trials, found.faults) == 0


@pytest.mark.parametrize("name", CASES)
def test_faults_of_equal_effects_do_the_same_cycle_by_cycle(name):
    found = judged(name)
    _, first, inverse = np.unique(found.groups, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(found.outputs, found.outputs[first][inverse])
    assert len(found.table) > 2 * len(first) > 0


@pytest.mark.parametrize("name", CASES)
def test_idle_faults_change_nothing_and_the_books_are_whole(name):
    found = judged(name)
    footprint = found.mapping.footprint(found.faults, INFERENCES)
    assert footprint.faults.tolist() == [1] * len(found.table)
    effects = np.bincount(footprint.effects.table["trial"], minlength=len(found.table))
    np.testing.assert_array_equal(footprint.idle, effects == 0)
    assert not (found.changed & (footprint.idle == 1)).any()
    assert (footprint.idle == 0).sum() > 100


@pytest.mark.parametrize("name", CASES)
def test_a_fault_where_nothing_of_the_network_is_touches_nothing(name):
    found = judged(name)
    idle = found.mapping.footprint(found.faults, INFERENCES).idle.astype(bool)
    for number, (unit, part) in enumerate(found.mapping.accelerator.components()):
        mine = found.table["part"] == number
        occupied = found.mapping.occupied(unit.name, part.name)
        held = occupied[found.table["instance"][mine], found.table["word"][mine]]
        assert idle[mine][~held].all()
        if part.name != "packet" and held.sum() > 20:
            assert not idle[mine][held].all()


def test_faults_of_every_component_and_model_change_outputs():
    changing: dict[tuple[str, str], int] = {}
    for name in CASES:
        found = judged(name)
        chip = found.mapping.accelerator
        parts = [f"{unit.name}.{part.name}" for unit, part in chip.components()]
        dead = [f"{unit.name}.*" for unit in chip.units]
        for row in found.table[found.changed]:
            part = parts[row["part"]] if row["part"] >= 0 else dead[-1 - row["part"]]
            key = (part, FaultModel(row["model"]).name)
            changing[key] = changing.get(key, 0) + 1
    storage: tuple[str, ...] = (
        "weight_memory.weights",
        "axon_in.axon_register",
        "crossbar.weight_register",
    )
    storage += tuple(f"neuron.{n}" for n in ("current_register", "bias", "membrane", "threshold"))
    wanted = {(part, m) for part in storage for m in ("flip", "stuck0", "stuck1")}
    wanted |= {("neuron.spike_line", m) for m in ("flip", "stuck0", "stuck1")}
    wanted |= {(f"neuron.{n}", "skip") for n in ("integrate", "leak", "fire", "reset")}
    wanted |= {("neuron.fire", "always"), ("neuron.reset", "always")}
    wanted |= {(f"{u}.*", "dead") for u in ("weight_memory", "axon_in", "crossbar", "neuron")}
    wanted |= {("core.*", "dead")}
    assert {key for key in wanted if changing.get(key, 0) < 3} == set()


def test_a_footprint_that_is_late_by_a_cycle_is_noticed():
    found = judged("larger than a core")
    table = found.table.copy()
    cycles = found.mapping.schedule.inference_cycles
    late = table["first"][:, 0] * cycles + table["first"][:, 1] + 1
    flips = (table["model"] == FaultModel.flip) & (late < INFERENCES * cycles)
    table["first"][flips] = np.stack(np.divmod(late[flips], cycles), axis=1)
    shifted = Faults(table, len(table))
    moved = groups_of_equal_effects(found.mapping.footprint(shifted, INFERENCES).effects)
    _, first, inverse = np.unique(moved, return_index=True, return_inverse=True)
    wrong = (found.outputs != found.outputs[first][inverse]).any(axis=(1, 2))
    assert wrong.sum() > 100  # equal effects, different outputs
    trials = np.random.default_rng(0).permutation(np.flatnonzero(wrong))[:40]
    assert disagreements(found, trials, shifted) > 0
    assert disagreements(found, trials, found.faults) == 0


def test_dead_instances_and_partial_sums_are_what_they_are_cycle_by_cycle():
    found = judged("each tile a core")
    _, first = np.unique(found.groups, return_index=True)
    sums = [p.name for _, p in found.mapping.accelerator.components()].index("current_register")
    for mine in (
        found.table["model"][first] == FaultModel.dead,
        found.table["part"][first] == sums,
    ):
        trials = np.random.default_rng(5).permutation(first[mine])[:60]
        assert disagreements(found, trials, found.faults) == 0
        assert found.changed[trials].sum() > 10
