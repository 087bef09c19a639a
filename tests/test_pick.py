"""A program of events behind the functions that run either kind; what it shows beside outputs.

Two inputs, two neurons, two steps: W = [[3, 0], [0, 3]], thresholds 3 and 4, no leak. Sample 0 has
input 1 spike twice: neuron 1 collects 3, then 6, and fires in step 1. Sample 1 has input 0 spike
twice: neuron 0 fires in both steps. A spike is an event of its own axon, whose weights are 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sample_programs import one_neuron

from accelerators import TinyOdin
from codesign.design import Design
from codesign.effects import Effects
from codesign.engine import pick, serial
from codesign.errors import DataError, FaultError, MitigationError, UnsupportedError
from codesign.faults import Faults
from codesign.formats import NumberFormat
from codesign.mapping import Activity, Placement
from codesign.network import Edge, Input, Lif, Linear, NetworkGraph
from codesign.samples import InputCoding, Samples
from codesign.scenarios import RandomFaults
from codesign.study.explain_fault import parse_fault
from codesign.study.struck import reached_layers, timed

SPIKE = NumberFormat(1, signed=False)
RNG = np.random.default_rng(3)


def network(weight, threshold, steps=2) -> NetworkGraph:
    """One layer of neurons."""
    weight = np.array(weight)
    return NetworkGraph(
        "two",
        (
            Input("x", (), (weight.shape[1],), SPIKE),
            Linear("y", (Edge("x"),), weight, np.zeros(len(weight), int), NumberFormat(4)),
            Lif("s", (Edge("y"),), threshold=np.array(threshold), reset="zero", strict=False),
        ),
        steps=steps,
        coding=InputCoding("rate", SPIKE, steps=steps),
    )


def samples_of(*spikes) -> Samples:
    """Timed samples ``[samples, steps, inputs]``, labelled 0."""
    return Samples("made", "test", np.array(spikes), np.zeros(len(spikes), int), timed=True)


CHIP = TinyOdin(name="chip")
DESIGN = Design("odin", network([[3, 0], [0, 3]], [3, 4]), CHIP.build())
SAMPLES = samples_of([[0, 1], [0, 1]], [[1, 0], [1, 0]])


def effects_of(*texts: str) -> Effects:
    """One trial a fault."""
    chip = DESIGN.accelerator
    faults = Faults.of([[parse_fault(text, chip)] for text in texts], chip)
    return DESIGN.mapping.footprint(faults, len(SAMPLES)).effects


def test_either_kind_of_program_runs_by_the_same_functions():
    golden = pick.run_golden(DESIGN.program, SAMPLES)
    assert golden.outputs.tolist() == [[0, 1], [2, 0]]
    layered, samples = one_neuron(steps=4, current=3)  # fires above 5: 3, 6, 3, 6
    other = pick.run_golden(layered, samples)
    assert other.outputs.tolist() == [[2]]
    for run in (golden, other):
        assert np.array_equal(pick.run_faulty(run, Effects.none(1)).outputs[0], run.outputs)
    names = {pick.engine_name(program) for program in (DESIGN.program, layered)}
    assert "serial (numpy)" in names
    assert any("dense (torch, CPU)" in name for name in names)


def test_what_is_no_program_is_refused():
    with pytest.raises(UnsupportedError, match="no engine runs a str; Program, EventProgram"):
        pick.run_golden("program", SAMPLES)  # type: ignore[arg-type]


def test_a_golden_run_of_events_tells_spikes_and_updates():
    golden = pick.run_golden(DESIGN.program, SAMPLES)
    assert isinstance(golden, serial.SerialGolden)
    # Sent: 2 and 2. Own: 1 and 2. Every event updates both neurons.
    assert golden.updates.tolist() == [6, 8]
    told = pick.activity(golden)
    assert told["spikes"] == {"x": 2.0, "s": 1.5}
    assert told["zeros"] == {"x": 0.5, "s": 0.625}
    assert DESIGN.mapping.cost(Activity(**told), ()).cycles > 0


def test_rasters_and_potentials_come_step_by_step():
    golden = pick.run_golden(DESIGN.program, SAMPLES)
    seen = pick.run_faulty(golden, Effects.none(1), watch=("s",)).watched
    assert seen["s"].tolist() == [[[[0, 0], [0, 1]], [[1, 0], [1, 0]]]]
    assert seen["s.membrane"].tolist() == [[[[0, 3], [0, 0]], [[0, 0], [0, 0]]]]


def test_a_step_without_events_leaves_potentials_as_they_are():
    design = Design("late", network([[3, 0], [0, 3]], [5, 9], steps=4), CHIP.build())
    samples = samples_of([[0, 0], [1, 0], [0, 0], [1, 1]])
    golden = pick.run_golden(design.program, samples)
    seen = pick.run_faulty(golden, Effects.none(1), watch=("s",)).watched
    assert seen["s.membrane"][0, 0].tolist() == [[0, 0], [3, 0], [3, 0], [0, 3]]
    assert seen["s"][0, 0].tolist() == [[0, 0], [0, 0], [0, 0], [1, 0]]


def test_samples_that_no_effect_strikes_are_golden_and_the_others_as_computed_alone():
    spikes = (RNG.random((6, 2, 2)) < 0.6).astype(int)
    samples = samples_of(*spikes.tolist())
    chip, trials = DESIGN.accelerator, []
    for sample in (0, 2, 5):
        for bit in range(4):  # of a potential in one inference, of a weight from there on
            texts = (f"neurons.memory@1:{bit}", f"synapses.memory@96:{bit + 4}")
            trials += [[parse_fault(f"{text}@cycle=2", chip, sample)] for text in texts]
    effects = DESIGN.mapping.footprint(Faults.of(trials, chip), len(samples)).effects
    assert len({tuple(window) for window in effects.table["samples"].tolist()}) > 4
    golden = pick.run_golden(DESIGN.program, samples)
    skipping = pick.run_faulty(golden, effects)
    assert isinstance(golden, serial.SerialGolden)
    whole = serial.evaluate(golden.program, samples, effects)
    assert np.array_equal(skipping.outputs, whole.outputs)
    assert np.array_equal(skipping.hang, whole.hang)
    assert (whole.outputs != golden.outputs).any()


def test_sums_beyond_the_range_of_potentials_are_counted():
    # 260 times -8: the 256th reaches -2048, four more are lost.
    design = Design("deep", network([[-8]], [1], steps=260), CHIP.build())
    golden = pick.run_golden(design.program, samples_of([[1]] * 260))
    assert pick.count_overflows(golden) == {"y": 4}
    assert pick.count_overflows(pick.run_golden(DESIGN.program, SAMPLES)) == {"y": 0}


def test_a_golden_run_that_hangs_is_refused():
    hasty = Design("hasty", DESIGN.network, replace(CHIP, time_out_cycles=5).build())
    with pytest.raises(DataError, match=r"sample 0 hangs without any fault: .* more than 5 cycles"):
        pick.run_golden(hasty.program, SAMPLES)


def test_another_programs_golden_run_and_layers_without_neurons_are_refused():
    golden = pick.run_golden(DESIGN.program, SAMPLES)
    assert isinstance(golden, serial.SerialGolden)
    with pytest.raises(DataError, match="of other samples"):
        serial.evaluate(golden.program, SAMPLES.take(1), Effects.none(1), golden=golden)
    with pytest.raises(DataError, match="cannot watch 'y': it has no neurons"):
        pick.run_faulty(golden, Effects.none(1), watch=("y",))


def test_faults_are_told_by_the_layer_whose_weights_or_neurons_they_strike():
    sites = {
        "synapses.memory@96:4 stuck1": ["y"],
        "neurons.memory@1:30 stuck1": ["s"],
        "neurons.memory@7:30 stuck1": [],  # nobody sits there
        "neurons.weight:0 stuck1": ["y"],
        "neurons.address:7 stuck0": ["s"],
    }
    effects = effects_of(*sites)
    told = [reached_layers(DESIGN, effects.of_trial(i)) for i in range(len(sites))]
    assert told == list(sites.values())


def test_a_uniform_update_is_drawn_of_those_that_an_inference_has():
    scenario = RandomFaults(("neurons.memory",), "flip", 1.0, exposure="inference")
    known = timed(scenario, DESIGN, SAMPLES)
    first = known.draw(DESIGN, [0], 0, 2).table["first"]
    assert len(first) == 2 * 256 * 32
    for inference, updates in enumerate((6, 8)):
        mine = first[first[:, 0] == inference, 1]
        share = np.bincount(mine, minlength=updates) / len(mine)
        assert len(share) == updates
        assert np.abs(share - 1 / updates).max() < 0.02
    start = RandomFaults(("neurons.memory",), "flip", 1.0).draw(DESIGN, [0], 0, 2)
    assert np.array_equal(np.unique(start.table["first"], axis=0), [[0, 0]])
    assert timed(replace(scenario, exposure="start"), DESIGN, SAMPLES).draw(DESIGN, [0], 0, 2)


def test_an_update_that_nobody_counted_cannot_be_drawn():
    scenario = RandomFaults(("neurons.memory",), "flip", 0.1, exposure="inference")
    with pytest.raises(FaultError, match=r"works off events: a uniform update of 2 .* none were"):
        scenario.draw(DESIGN, [0], 0, 2)
    with pytest.raises(FaultError, match=r"those of 1 were told; use RandomFaults\.timed"):
        scenario.timed([6]).draw(DESIGN, [0], 0, 2)


def test_mitigations_for_layers_and_guards_are_refused_by_name():
    from codesign.design import Context
    from mitigation import BoundAndProtect, ErrorCorrection, RangeRestriction

    context = Context(SAMPLES, 0)
    with pytest.raises(UnsupportedError, match="ErrorCorrection is for chips that compute layer"):
        ErrorCorrection().apply(DESIGN, context)
    with pytest.raises(UnsupportedError, match="no guards yet; came Replace"):
        _ = BoundAndProtect().apply(DESIGN, context).program
    with pytest.raises(MitigationError, match="no layer ends in a ReLU"):
        RangeRestriction().apply(DESIGN, context)


def test_the_placement_changes_who_sits_where_and_not_what_is_watched():
    placed = replace(DESIGN, placement=Placement(columns=(5, 2)))
    golden = pick.run_golden(placed.program, SAMPLES)
    seen = pick.run_faulty(golden, Effects.none(1), watch=("s",)).watched["s"]
    assert seen.tolist() == [[[[0, 0], [0, 1]], [[1, 0], [1, 0]]]]
