"""Faults in cores: footprint → effects → reference engine equals the cores cycle by cycle.

Every register × bit × cycle is flipped, and stuck, skipped, forced and dead sites are tried in
many windows. Trials with equal effects must have equal outputs cycle by cycle (all of them are run
there); of these sets some are evaluated by the engine, spread over components.
``HYPOTHESIS_PROFILE=deep`` evaluates all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations

import numpy as np
import pytest
from cores_cases import (
    INFERENCES,
    SMALL,
    WIDE,
    Case,
    delayed,
    dense,
    every_fault,
    groups_of_equal_effects,
    mixtures,
    pooled,
    some_trials,
)
from numpy.typing import NDArray
from oracles_cores import simulate

from accelerators.cores_mapping import CoresMapping
from codesign.engine.reference import evaluate
from codesign.faults import FaultModel, Faults
from codesign.formats import NumberFormat
from codesign.mapping import Placement
from codesign.network import Leak

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"

CASES = {
    "larger than a core": Case(SMALL, dense()),
    "two cores take turns": Case(replace(SMALL, mesh=(2, 1)), dense(seed=1, readout=True)),
    "each tile a core": Case(replace(SMALL, mesh=(3, 2)), dense()),
    "equal to a core": Case(replace(SMALL, axons=4, columns=3, mesh=(2, 1)), dense()),
    "smaller than a core": Case(replace(SMALL, axons=6, columns=5, weights="reloaded"), dense()),
    "convolution in rounds": Case(WIDE, pooled()),
    "convolution on many cores": Case(replace(WIDE, mesh=(5, 4), weight_words=96), pooled(2)),
    "delays": Case(replace(WIDE, axons=3, columns=3), delayed()),
    "placed with holes": Case(
        replace(SMALL, axons=5, columns=4, mesh=(3, 3)),
        dense(),
        Placement(rows=(4, 1, 3), columns=(3, 1, 2), forbidden=((1,), (0, 1), (2, 3), (5, 2))),
    ),
}
assert CASES

# Trials evaluated of each case: a reference engine takes long over a convolution.
EVALUATED = {"convolution in rounds": 15, "convolution on many cores": 15}


@dataclass(frozen=True, eq=False)
class Judged:
    """One case, all its faults, run cycle by cycle and mapped to effects.

    Attributes:
        mapping: Of the network on the chip.
        table: Faults, one a trial.
        outputs: ``[trials, samples, classes]`` cycle by cycle.
        golden: ``[samples, classes]``.
        groups: ``[trials]`` trials of equal effects share a number.
        faults: The same faults.
    """

    mapping: CoresMapping
    table: NDArray[np.void]
    outputs: NDArray[np.int64]
    golden: NDArray[np.int64]
    groups: NDArray[np.int64]
    faults: Faults

    @property
    def changed(self) -> NDArray[np.bool_]:
        """``[trials]`` whether a fault changes an output."""
        return np.asarray((self.outputs != self.golden).any(axis=(1, 2)))


@cache
def judged(name: str) -> Judged:
    case = CASES[name]
    mapping = case.sheet.map(case.network, case.placement)
    cycles = mapping.schedule.inference_cycles
    chip = mapping.accelerator
    bits = sum(unit.sites(part.name) for unit, part in chip.components())
    all_sites = bits * cycles * INFERENCES < 90_000
    table = every_fault(mapping, seed=len(name), most=10**9 if all_sites else 40)
    if not all_sites:
        flips = table["model"] == FaultModel.flip
        order = np.random.default_rng(1).permutation(np.flatnonzero(flips))
        chosen = order[: 40_000 if DEEP else 5000]
        table = table[np.sort(np.r_[chosen, np.flatnonzero(~flips)])]
        table["trial"] = np.arange(len(table))
    faults = Faults(table, len(table))
    outputs, simulated = simulate(case.sheet, case.network, case.samples, faults, case.placement)
    assert simulated == cycles
    footprint = mapping.footprint(faults, INFERENCES)
    nothing = Faults(table[:0], 1)
    golden, _ = simulate(case.sheet, case.network, case.samples, nothing, case.placement)
    groups = groups_of_equal_effects(footprint.effects)
    return Judged(mapping, table, outputs, golden[0], groups, faults)


def representatives(found: Judged, count: int) -> NDArray[np.int64]:
    """One trial of each set of effects, or ``count`` of them, spread over components and models."""
    _, first = np.unique(found.groups, return_index=True)
    if DEEP or len(first) <= count:
        return np.sort(first)
    draw = np.random.default_rng(len(first))
    kinds = found.table["part"][first].astype(int) * 8 + found.table["model"][first]
    turn = np.zeros(len(first))
    for kind in np.unique(kinds):
        mine = np.flatnonzero(kinds == kind)
        turn[draw.permutation(mine)] = np.arange(len(mine)) + draw.random()
    return np.sort(first[np.argsort(turn)[:count]])


def disagreements(found: Judged, trials: NDArray[np.int64], faults: Faults) -> int:
    """Trials whose effects, evaluated, give other outputs than the cores cycle by cycle."""
    footprint = found.mapping.footprint(faults, INFERENCES)
    program = found.mapping.program(())
    effects = some_trials(footprint.effects, trials)
    samples = next(c for c in CASES.values() if c.network is found.mapping.network).samples
    outputs = evaluate(program, samples, effects).outputs
    return int((outputs != found.outputs[trials]).any(axis=(1, 2)).sum())


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


@pytest.mark.parametrize("name", ["larger than a core", "two cores take turns", "each tile a core"])
def test_several_faults_in_one_trial_act_together_cycle_by_cycle(name):
    found = judged(name)
    case = CASES[name]
    idle = found.mapping.footprint(found.faults, INFERENCES).idle.astype(bool)
    count = 2000 if DEEP else 50
    faults = mixtures(found.table[~idle], count, seed=3)
    assert len(faults) > 2 * count
    outputs, _ = simulate(case.sheet, case.network, case.samples, faults, case.placement)
    effects = found.mapping.footprint(faults, INFERENCES).effects
    engine = evaluate(found.mapping.program(()), case.samples, effects).outputs
    np.testing.assert_array_equal(engine, outputs)
    assert (outputs != found.golden).any(axis=(1, 2)).sum() > count // 4


ORDERS = sorted(permutations(("leak", "integrate", "fire", "reset")))
LEAKS = (Leak("shift", 1), Leak("subtract", 2), Leak("none"), Leak("multiply", 2, 3))


@pytest.mark.parametrize("number", range(0, len(ORDERS), 3))
def test_neurons_of_every_rule_break_as_they_do_cycle_by_cycle(number):
    rule = {
        "order": ORDERS[number],
        "leak": LEAKS[number // 3 % 4],
        "reset": ("zero", "subtract", "none")[number // 3 % 3],
        "strict": bool(number // 3 % 2),
    }
    form = NumberFormat(6, overflow=("wrap", "saturate")[number // 6 % 2])
    mesh = ((1, 1), (3, 2))[number // 6 % 2]
    case = Case(replace(SMALL, mesh=mesh, current=form), dense(4, **rule))
    mapping = case.sheet.map(case.network, case.placement)
    table = every_fault(mapping, seed=number, most=40)
    names = [f"{unit.name}.{part.name}" for unit, part in mapping.accelerator.components()]
    neuron = [i for i, name in enumerate(names) if name.startswith("neuron.")]
    table = table[np.isin(table["part"], neuron)]
    idle = mapping.footprint(Faults(table, int(table["trial"].max()) + 1), INFERENCES).idle
    table = table[idle[table["trial"]] == 0]
    draw = np.random.default_rng(number)
    picked = [draw.permutation(np.flatnonzero(table["part"] == i))[:5] for i in neuron]
    table = table[np.concatenate(picked)]
    table["trial"] = np.arange(len(table))
    faults = Faults(table, len(table))
    outputs, _ = simulate(case.sheet, case.network, case.samples, faults, case.placement)
    effects = mapping.footprint(faults, INFERENCES).effects
    engine = evaluate(mapping.program(()), case.samples, effects).outputs
    np.testing.assert_array_equal(engine, outputs)
    assert (outputs != outputs[-1]).any()
