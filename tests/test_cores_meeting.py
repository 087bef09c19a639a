"""Faults in cores that meet: several in a trial, windows by their edges, neurons of every rule.

As in `test_cores_faults`, the cores cycle by cycle are the judge.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from cores_cases import (
    INFERENCES,
    SMALL,
    Case,
    dense,
    every_fault,
    groups_of_equal_effects,
    mixtures,
    some_trials,
)
from cores_judged import CASES, DEEP, judged
from oracles_cores import simulate

from codesign.engine.reference import evaluate
from codesign.faults import FAULT, Fault, FaultModel, Faults, FaultSite, Window
from codesign.formats import NumberFormat
from codesign.network import Leak


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


@pytest.mark.parametrize("name", ["larger than a core", "each tile a core"])
def test_faults_on_the_way_of_one_weight_act_in_the_order_of_the_way(name):
    found = judged(name)
    case, mapping = CASES[name], found.mapping
    chip = mapping.accelerator
    run = mapping.schedule.runs[0]
    at = max(run.tiles[0].deliver, 1)
    trials = []
    for bit in range(3):
        for row in range(2):
            memory = FaultSite("weight_memory", (run.core,), "weights", row * run.width, bit)
            register = FaultSite("crossbar", (run.core, row, 0), "weight_register", 0, bit)
            dead = Fault(FaultSite("crossbar", (run.core, row, 0), "*"), FaultModel.dead)
            gone = Fault(FaultSite("weight_memory", (run.core,), "*"), FaultModel.dead)
            strike = Fault(register, FaultModel.flip, Window((0, at)))
            for model in (FaultModel.stuck0, FaultModel.stuck1):
                held = Fault(register, model)
                trials += [
                    [Fault(memory, model), strike],
                    [Fault(memory, FaultModel.flip), held],
                    [held, dead],
                    [Fault(memory, model), gone],
                    [gone, held],
                    [gone, strike],
                ]
    faults = Faults.of(trials, chip)
    outputs, _ = simulate(case.sheet, case.network, case.samples, faults, case.placement)
    effects = mapping.footprint(faults, INFERENCES).effects
    engine = evaluate(mapping.program(()), case.samples, effects).outputs
    np.testing.assert_array_equal(engine, outputs)
    assert (outputs != found.golden).any(axis=(1, 2)).sum() > 10


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


@pytest.mark.parametrize("name", ["larger than a core", "each tile a core"])
def test_a_window_may_begin_and_end_in_any_cycle(name):
    found = judged(name)
    case, mapping = CASES[name], found.mapping
    cycles = mapping.schedule.inference_cycles
    edges = [((0, 0), (0, c)) for c in range(1, cycles)]
    edges += [((0, c), (1, 0)) for c in range(cycles)]
    edges += [((0, c), (0, c + 1)) for c in range(cycles - 1)]
    tables = []
    for number, (unit, part) in enumerate(mapping.accelerator.components()):
        if part.role == "operation" or part.name in ("packet", "weights") or unit.kind == "link":
            continue
        instance, word = np.argwhere(mapping.occupied(unit.name, part.name))[0]
        for model in (FaultModel.stuck0, FaultModel.stuck1):
            table = np.zeros(len(edges), dtype=FAULT)
            table["part"], table["instance"], table["word"] = number, instance, word
            table["bit"], table["model"], table["execution"] = min(1, part.bits - 1), model, -1
            table["first"], table["last"] = zip(*edges, strict=True)
            tables.append(table)
    table = np.concatenate(tables)
    table["trial"] = np.arange(len(table))
    faults = Faults(table, len(table))
    outputs, _ = simulate(case.sheet, case.network, case.samples, faults, case.placement)
    effects = mapping.footprint(faults, INFERENCES).effects
    groups = groups_of_equal_effects(effects)
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(outputs, outputs[first][inverse])
    trials = first if DEEP else np.random.default_rng(2).permutation(first)[:60]
    engine = evaluate(mapping.program(()), case.samples, some_trials(effects, trials)).outputs
    np.testing.assert_array_equal(engine, outputs[trials])
    assert (outputs != found.golden).any(axis=(1, 2)).sum() > 50
