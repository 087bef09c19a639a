"""A trained spiking network on tinyODIN: its accuracy there, and a campaign by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tinyodin_cases import clocked

import networks
from accelerators import TinyOdin
from accelerators.tinyodin.words import Operation, Workload, synapse_words
from codesign.design import Design
from codesign.effects import Effects
from codesign.engine.observables import outcomes
from codesign.engine.serial import evaluate, evaluate_events
from codesign.events import Action, EventProgram, stimuli
from codesign.learning.settings import Quantisation, Training
from codesign.learning.training import Model, train
from codesign.scenarios import RandomFaults


def fully_connected() -> torch.nn.Module:
    """64-48-10 without bias or leak: tinyODIN has neither a bias nor a leak by a factor."""
    torch.manual_seed(1)
    made = networks.FcLif(
        64, 10, (48,), steps=8, beta=1.0, reset="zero", reset_delay=False, coding="rate"
    )
    for layer in made.fc:
        layer.bias = None
    return made


@pytest.fixture(scope="module")
def digits():
    """The design, and its test samples as spikes."""
    torch.set_num_threads(1)
    data = networks.digits()
    training = Training(epochs=8, qat_epochs=0, learning_rate=3e-3)
    trained = train(Model("digits", fully_connected), data, training, Quantisation(weight_bits=4))
    design = Design("digits", trained.network, TinyOdin(name="tinyodin").build())
    return design, trained.network.coding.apply(data.test)


def test_a_trained_network_keeps_its_accuracy_on_the_chip(digits):
    design, samples = digits
    shown = evaluate(design.program, samples, Effects.none(1))
    right = shown.outputs[0].argmax(axis=1) == samples.labels
    # A linear classifier of the pixels has about 96 %, guessing 10 %.
    assert right.mean() > 0.85
    assert not shown.hang.any()


def test_its_spikes_are_those_of_the_clocked_machine(digits):
    design, samples = digits
    program = design.program
    assert isinstance(program, EventProgram)
    listed = stimuli(program, samples.take(2))
    run = evaluate_events(program, listed, Effects.none(1))
    for lane, stimulus in enumerate(listed):
        address = {Action.scan: lambda i: i, Action.sample: lambda i: -1}
        operations = tuple(
            Operation(address[kind](index), waits) for kind, index, _, waits in stimulus.tolist()
        )
        case = Workload(
            program.words, synapse_words(program.weights), program.scan - 1, False, operations
        )
        assert np.array_equal(run.events[lane], clocked(case, []).events)


def test_many_stuck_bits_ruin_it_and_some_hang_it_few_flips_do_not(digits):
    design, samples = digits
    few = samples.take(20)
    golden = evaluate(design.program, few, Effects.none(1)).outputs[0]
    right = {}
    hangs = {}
    memory = ("neurons.memory",)
    scenarios = {
        "flip": RandomFaults(components=memory, model="flip", rate=1e-3),
        "stuck": RandomFaults(components=memory, model="stuck", rate=1e-2),
    }
    for model, scenario in scenarios.items():
        faults = scenario.draw(design, range(3), 0, len(few))
        footprint = design.mapping.footprint(faults, len(few))
        assert footprint.faults.sum() == len(faults) > 0
        ended = outcomes(evaluate(design.program, few, footprint.effects), golden, few.labels)
        right[model], hangs[model] = ended.correct.mean() / len(few), ended.hang.sum()
    assert right["flip"] > 0.8 > 0.5 > right["stuck"]
    assert hangs["flip"] == 0 < hangs["stuck"]
