"""Networks on tinyODIN: what is computed, where things sit, faults, costs."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from tinyodin_networks import SPIKE, network

from accelerators import TinyOdin
from accelerators.tinyodin.cycle import CycleModel
from accelerators.tinyodin.words import BitFault, Operation, Workload, synapse_words
from codesign.design import Design
from codesign.effects import Effects
from codesign.engine.serial import evaluate, evaluate_events, golden_timeline
from codesign.errors import (
    DataError,
    FaultError,
    MappingError,
    UnsupportedError,
)
from codesign.events import Action, stimuli
from codesign.faults import PERMANENT, Fault, FaultModel, Faults, FaultSite, Window
from codesign.guards import Recompute
from codesign.layers import Edge, Flatten, Input, Lif, Linear
from codesign.mapping import Activity, Placement
from codesign.samples import Samples
from codesign.study.loading import datasheet
from codesign.study.spec import AcceleratorSpec

SHEET = TinyOdin(name="chip")


def spikes(rng, count=5, steps=4, inputs=6):
    values = (rng.random((count, steps, inputs)) < 0.5).astype(np.int8)
    return Samples("drawn", "test", values, np.zeros(count, int), timed=True)


def played(net, sample, leak_first, numbers):
    """Output spikes of one sample by a queue of (layer, source) events; no chip.

    ``numbers`` of the neurons, layer after layer, say who fires first in an event.
    """
    linears = [x for x in net if isinstance(x, Linear)]
    lifs = [x for x in net if isinstance(x, Lif)]
    v = [np.zeros(x.weight.shape[0], int) for x in linears]
    counts = np.zeros(len(v[-1]), int)
    first = np.cumsum([0, *(len(x) for x in v)])

    def leak():
        for i, x in enumerate(lifs):
            amount = x.leak.amount if x.leak.kind == "subtract" else 0
            v[i] = np.sign(v[i]) * np.maximum(np.abs(v[i]) - amount, 0)

    for step in sample:
        if leak_first:
            leak()
        for i in np.flatnonzero(step):
            queue = deque([(0, i)])
            while queue:
                layer, source = queue.popleft()
                if layer == len(linears):
                    continue
                v[layer] += linears[layer].weight[:, source]
                fires = np.flatnonzero(v[layer] >= lifs[layer].threshold + lifs[layer].strict)
                v[layer][fires] = 0
                in_order = sorted(fires, key=lambda n: numbers[first[layer] + n])
                queue.extend((layer + 1, n) for n in in_order)
                if layer == len(linears) - 1:
                    counts[fires] += 1
        if not leak_first:
            leak()
    return counts


@pytest.mark.parametrize("seed", range(8))
def test_a_network_gives_what_a_queue_of_events_gives_wherever_it_sits(seed):
    rng = np.random.default_rng(seed)
    first = bool(seed % 2)
    order = (
        ("leak", "integrate", "fire", "reset") if first else ("integrate", "fire", "reset", "leak")
    )
    net = network(rng, (6, 5, 4, 3), order=order, leak=seed % 3, strict=bool(seed % 4 > 1))
    samples = spikes(rng)
    shuffled = Placement(
        rows=tuple(rng.permutation(256).tolist()),
        columns=tuple(rng.permutation(40).tolist()),
        forbidden=((3,), (7,)),
    )
    free = [n for n in shuffled.columns if n not in (3, 7)]
    for placement, numbers in ((Placement(), range(256)), (shuffled, free)):
        expected = [played(net, s, first, numbers).tolist() for s in samples.inputs]
        assert np.sum(expected) > 0
        program = SHEET.map(net, placement).program(())
        shown = evaluate(program, samples, Effects.none(1))
        assert shown.outputs[0].tolist() == expected
        assert not shown.hang.any()


def test_still_codes_are_played_in_every_step():
    rng = np.random.default_rng(1)
    net, timed = network(rng), spikes(rng)
    still = Samples("still", "test", timed.inputs[:, 0], timed.labels)
    again = replace(timed, inputs=np.repeat(timed.inputs[:, :1], 4, axis=1))
    program = SHEET.map(net, Placement()).program(())
    one, other = (evaluate(program, s, Effects.none(1)).outputs for s in (still, again))
    assert np.array_equal(one, other)


def workload(program, stimulus):
    """The same for the cycle model."""
    operations = []
    for kind, index, _, waits in stimulus.tolist():
        address = {Action.scan: index, Action.leak_all: 0x1FF, Action.sample: -1}[kind]
        operations.append(Operation(address, waits))
    synapses = synapse_words(program.weights)
    return Workload(program.words, synapses, program.scan - 1, False, tuple(operations))


KINDS: tuple[Literal["flip", "sa0", "sa1"], ...] = ("flip", "sa0", "sa1")
SITES = {
    ("neurons", "memory"): "neuron_memory",
    ("neurons", "read_register"): "neuron_register",
    ("neurons", "write_bus"): "write_bus",
    ("neurons", "weight"): "weight",
    ("neurons", "extended_weight"): "extended_weight",
    ("neurons", "address"): "neuron_address",
    ("synapses", "memory"): "synapse_memory",
    ("synapses", "read_register"): "synapse_register",
    ("synapses", "address"): "synapse_address",
}


@pytest.mark.parametrize("waits", [True, False])
def test_faults_of_every_component_do_what_they_do_in_the_cycle_model(waits):
    rng = np.random.default_rng(5)
    sheet = replace(SHEET, waits=waits, time_out_cycles=3000)
    mapping = sheet.map(network(rng), Placement())
    samples = spikes(rng, 1)
    program = mapping.program(())
    stimulus = stimuli(program, samples)[0]
    timeline = golden_timeline(program, stimulus)
    model = CycleModel(workload(program, stimulus), time_out_cycles=3000)
    trials, bits = [], []
    for (unit, component), place in list(SITES.items()) * 12:
        part = mapping.accelerator.unit(unit).component(component)
        word = int(rng.integers(0, part.words))
        if unit == "neurons" and part.words > 1:
            word = int(rng.integers(0, 8))
        site = FaultSite(unit, (), component, word, int(rng.integers(0, part.bits)))
        stored = component in ("memory", "read_register")
        kind = KINDS[int(rng.integers(0 if stored else 1, 3))]
        update = int(rng.integers(0, (len(timeline.kind) - 1) * program.scan))
        written = int(timeline.written[update // program.scan, update % program.scan])
        cycle = written - (component == "memory")
        window = Window((0, update)) if kind == "flip" else PERMANENT
        names = {"flip": "flip", "sa0": "stuck0", "sa1": "stuck1"}
        trials.append([Fault(site, FaultModel[names[kind]], window)])
        bits.append(BitFault(place, word, site.bit, kind, cycle if kind == "flip" else 0))
    footprint = mapping.footprint(Faults.of(trials, mapping.accelerator), 1)
    assert footprint.faults.tolist() == [1] * len(trials)
    run = evaluate_events(program, [stimulus], footprint.effects)
    for lane, bit in enumerate(bits):
        expected = model.run([bit])
        assert (run.hang[lane, 0] >= 0) == expected.hangs
        if not expected.hangs:
            assert np.array_equal(run.events[lane], expected.events), bit
            assert np.array_equal(run.words[lane, 0], expected.neurons), bit
    assert any(len(run.events[lane]) != len(model.golden.events) for lane in range(len(bits)))


def test_flips_beyond_the_inferences_are_idle_and_counted():
    mapping = SHEET.map(network(np.random.default_rng(0)), Placement())
    site = FaultSite("neurons", (), "memory", 0, 0)
    listed = [[Fault(site, FaultModel.flip, Window((i, 0))) for i in (0, 2)]]
    footprint = mapping.footprint(Faults.of(listed, mapping.accelerator), 2)
    assert (footprint.faults.tolist(), footprint.idle.tolist()) == ([2], [1])


@pytest.mark.parametrize(
    ("site", "model", "window", "error", "message"),
    [
        ("queue.events:3", "stuck0", PERMANENT, UnsupportedError, "claims no faults there"),
        ("neurons.*:0", "dead", PERMANENT, UnsupportedError, "claims no faults there"),
        ("neurons.weight:3", "flip", PERMANENT, FaultError, "a net stores nothing"),
        ("synapses.address:3", "flip", PERMANENT, FaultError, "a net stores nothing"),
        ("neurons.weight:3", "stuck0", Window((1, 0)), UnsupportedError, "come or go"),
        ("neurons.memory@9:3", "stuck0", Window((0, 0), (1, 0)), UnsupportedError, "come or go"),
    ],
)
def test_faults_that_are_not_claimed_are_refused_by_name(site, model, window, error, message):
    mapping = SHEET.map(network(np.random.default_rng(0)), Placement())
    fault = Fault(FaultSite.parse(site), FaultModel[model], window)
    with pytest.raises(error, match=message):
        mapping.footprint(Faults.of([[fault]], mapping.accelerator), 1)


def test_the_cost_s_cycles_are_those_of_the_golden_runs():
    rng = np.random.default_rng(9)
    net, samples = network(rng), spikes(rng, 4)
    mapping = SHEET.map(net, Placement())
    program = mapping.program(())
    for i, stimulus in enumerate(stimuli(program, samples)):
        timeline = golden_timeline(program, stimulus)
        scans = timeline.kind == Action.scan
        of = [
            (scans & (timeline.index >= a) & (timeline.index < b)).sum()
            for a, b in ((0, 5), (5, 8))
        ]
        activity = Activity({"x": int(samples.inputs[i].sum()), "lif0": of[0], "lif1": of[1]})
        cost = mapping.cost(activity, ())
        assert cost.cycles == timeline.cycles
        updates = [row.count for row in cost.rows if row.unit == "neurons"]
        assert updates == [(timeline.written >= 0).sum()] * 2
    assert cost.energy_pj == 0
    assert cost.missing[0] == "neurons.memory.read"
    with pytest.raises(MappingError, match="no spikes of lif0, lif1"):
        mapping.cost(Activity({"x": 1}), ())


def test_a_design_names_its_units_and_keeps_its_identity():
    design = Design("d", network(np.random.default_rng(0)), SHEET.build())
    assert [u.name for u in design.accelerator.units] == ["queue", "synapses", "neurons"]
    assert design.accelerator.unit("synapses").sites("memory") == 8192 * 32
    assert design.program.digest == Design("e", design.network, SHEET.build()).program.digest
    assert [a.layer for a in design.mapping.assignments()] == ["fc0", "fc1"]
    assert design.mapping.exposures("neurons", "memory") == (0,)
    with pytest.raises(FaultError, match="no component 'memry'"):
        design.mapping.exposures("neurons", "memry")
    with pytest.raises(UnsupportedError, match="take no guards yet"):
        design.mapping.program((Recompute(3),))


def test_samples_of_another_kind_are_refused():
    rng = np.random.default_rng(0)
    program = SHEET.map(network(rng), Placement()).program(())
    with pytest.raises(DataError, match=r"expected 4 steps of 6 spikes, 0 or 1, came .4, 7. from"):
        evaluate(program, spikes(rng, inputs=7), Effects.none(1))
    with pytest.raises(DataError, match="plays no samples"):
        stimuli(replace(program, coding=None), spikes(rng))


def test_the_datasheet_gives_this_chip():
    family = datasheet(AcceleratorSpec(datasheet="tinyodin"), Path())
    assert isinstance(family, TinyOdin)
    assert (family.time_out_cycles, family.idle_cycles, family.clock) == (60_000, 4, None)


def test_a_flattened_image_is_a_vector():
    rng = np.random.default_rng(2)
    plain = network(rng)
    image = Input("x", (), (1, 2, 3), SPIKE)
    flat = Flatten("f", (Edge("x"),))
    first = replace(plain.layers[1], inputs=(Edge("f"),))
    net = replace(plain, layers=(image, flat, first, *plain.layers[2:]))
    samples = spikes(rng)
    shown = [
        evaluate(SHEET.map(n, Placement()).program(()), samples, Effects.none(1)).outputs
        for n in (plain, net)
    ]
    assert np.array_equal(shown[0], shown[1])
