"""Footprint, effects and engine of tinyODIN against its cycle model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tinyodin_cases import random_fault, random_workload

from accelerators.tinyodin.cycle import CycleModel, CycleRun
from accelerators.tinyodin.footprint import ByCycle, ByUpdate, effect_rows
from accelerators.tinyodin.program import CYCLES, program_of, stimulus_of
from accelerators.tinyodin.words import (
    PLACES,
    BitFault,
    Operation,
    Workload,
    neuron_words,
    synapse_words,
)
from codesign.effects import Effects
from codesign.engine.serial import EventRun, evaluate_events, golden_timeline

SCANS = [0, 0x1FF, 9, 17, 0x1FF, 3, 9]


def shows(run: EventRun, lane: int, expected: CycleRun) -> bool:
    """Whether a lane shows what a cycle run shows; of a hang only who waits."""
    samples = run.words.shape[1]
    hang = run.hang[lane // samples, lane % samples]
    if hang >= 0 or expected.hangs:
        return bool(hang == expected.hang_operation)
    return (
        np.array_equal(run.events[lane], expected.events)
        and np.array_equal(run.samples[lane], expected.samples)
        and np.array_equal(run.words[lane // samples, lane % samples], expected.neurons)
    )


def rows_of(trials, timeline):
    return [
        row | {"trial": trial}
        for trial, faults in enumerate(trials)
        for fault in faults
        for row in effect_rows(fault, ByCycle(fault.cycle, timeline))
    ]


@pytest.mark.parametrize("open_loop", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_single_faults_of_every_place_do_what_they_do_in_the_cycle_model(seed, open_loop):
    rng = np.random.default_rng([11, seed, open_loop])
    case = random_workload(rng, open_loop=open_loop, neurons=int(rng.integers(5, 24)))
    model = CycleModel(case, time_out_cycles=3000)
    program, stimulus = program_of(case, cycles=replace(CYCLES, time_out=3000)), stimulus_of(case)
    timeline = golden_timeline(program, stimulus)
    assert timeline.cycles == model.golden.cycles
    faults = [random_fault(rng, case, model.golden.cycles, p) for p in PLACES for _ in range(4)]
    trials = [[], *([f] for f in faults)]
    effects = Effects.of(rows_of(trials, timeline), len(trials))
    run = evaluate_events(program, [stimulus], effects)
    for lane, listed in enumerate(trials):
        assert shows(run, lane, model.run(listed)), listed


@pytest.mark.parametrize("seed", range(10))
def test_permanent_faults_of_several_places_meet_as_in_the_cycle_model(seed):
    rng = np.random.default_rng([12, seed])
    case = random_workload(rng, open_loop=True, neurons=13)
    model = CycleModel(case)
    trials = []
    for _ in range(12):
        places = rng.choice(list(PLACES), 3, replace=False)
        drawn = [random_fault(rng, case, 1, str(p)) for p in places]
        trials.append(
            [
                BitFault(f.place, f.word, f.bit, "sa1" if i % 2 else "sa0")
                for i, f in enumerate(drawn)
            ]
        )
    program, stimulus = program_of(case), stimulus_of(case)
    effects = Effects.of(rows_of(trials, golden_timeline(program, stimulus)), len(trials))
    run = evaluate_events(program, [stimulus], effects)
    for lane, listed in enumerate(trials):
        assert shows(run, lane, model.run(listed)), listed


def quiet(rng: np.random.Generator, neurons: int) -> Workload:
    """Disabled neurons: they are reset, but no spike moves time."""
    case = random_workload(rng, open_loop=True, neurons=neurons)
    operations = (*(Operation(a) for a in SCANS), Operation(-1))
    return Workload(case.neurons | 1 << 31, case.synapses, neurons - 1, True, operations)


@pytest.mark.parametrize("seed", range(10))
def test_many_flips_placed_by_update_act_in_the_cycle_before_and_in_that_update(seed):
    rng = np.random.default_rng([13, seed])
    neurons = int(rng.integers(1, 22))
    case = quiet(rng, neurons)
    program, stimulus = program_of(case), stimulus_of(case)
    timeline = golden_timeline(program, stimulus)
    trials, rows = [], []
    for trial in range(15):
        listed = []
        for place in ("neuron_memory", "neuron_register", "synapse_memory", "synapse_register") * 2:
            update = int(rng.integers(0, len(SCANS) * neurons))
            written = int(timeline.written[update // neurons, update % neurons])
            cycle = written if place.endswith("register") else written - 1
            drawn = random_fault(rng, case, 1, place)
            fault = BitFault(place, drawn.word, min(drawn.bit, 30), "flip", cycle)
            listed.append(fault)
            rows += [r | {"trial": trial} for r in effect_rows(fault, ByUpdate(update, neurons))]
        trials.append(listed)
    run = evaluate_events(program, [stimulus], Effects.of(rows, len(trials)))
    model = CycleModel(case)
    for lane, listed in enumerate(trials):
        assert shows(run, lane, model.run(listed)), listed


def test_a_weight_flipped_in_one_inference_stays_so_and_a_potential_is_loaded_again():
    words, synapses = neuron_words(np.zeros(256), 4095, 1), synapse_words(np.ones((256, 256), int))
    operations = (*(Operation(a) for a in SCANS), Operation(-1))
    case = Workload(words, synapses, 3, True, operations)
    program, stimulus = program_of(case), stimulus_of(case)
    weight = BitFault("synapse_memory", 0, 2, "flip")  # axon 0, neuron 0, bit 2
    potential = BitFault("neuron_memory", 0, 4, "flip")
    end = len(SCANS) * 4
    rows = [
        *({"trial": 0} | row for row in effect_rows(weight, ByUpdate(end, 4), 1)),
        *({"trial": 1} | row for row in effect_rows(potential, ByUpdate(0, 4), 1)),
    ]
    run = evaluate_events(program, [stimulus] * 3, Effects.of(rows, 2))
    model = CycleModel(case)
    flipped = model.run([BitFault("synapse_memory", 0, 2, "flip", 0)])
    assert [shows(run, lane, model.golden) for lane in range(3)] == [True, True, False]
    assert shows(run, 2, flipped)
    assert [shows(run, 3 + lane, model.golden) for lane in range(3)] == [True, False, True]


def test_a_flip_needs_a_moment():
    with pytest.raises(ValueError, match="a flip has a moment"):
        effect_rows(BitFault("neuron_memory", 0, 0, "flip"), None)
