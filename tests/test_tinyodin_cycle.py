"""The cycle model of tinyODIN against a clocked machine and against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tinyodin_cases import clocked, random_fault, random_workload, same_run

from accelerators.tinyodin.chip import Rules
from accelerators.tinyodin.cycle import CycleModel
from accelerators.tinyodin.words import (
    PLACES,
    BitFault,
    Operation,
    Workload,
    neuron_words,
    synapse_words,
)
from codesign.errors import DataError, FaultError


def workload(operations, *, potential=0, threshold=100, leak=0, disabled=0, last=7, weight=1):
    """Equal neurons with equal weights."""
    words = neuron_words(np.full(256, potential), threshold, leak, disabled)
    synapses = synapse_words(np.full((256, 256), weight))
    return Workload(words, synapses, last, True, tuple(operations))


@pytest.mark.parametrize("open_loop", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_golden_and_faulty_runs_are_those_of_the_clocked_machine(seed, open_loop):
    rng = np.random.default_rng([seed, open_loop])
    case = random_workload(rng, open_loop=open_loop)
    model = CycleModel(case, time_out_cycles=3000)
    assert same_run(model.golden, clocked(case, [], 3000))
    for place in PLACES:
        fault = random_fault(rng, case, min(model.golden.cycles, 3000), place)
        assert same_run(model.run([fault]), clocked(case, [fault], 3000)), fault


@pytest.mark.parametrize("seed", range(20))
def test_several_faults_meet_as_in_the_clocked_machine(seed):
    rng = np.random.default_rng([7, seed])
    case = random_workload(rng, open_loop=True, operations=15)
    model = CycleModel(case)
    places = rng.choice(list(PLACES), 4, replace=False)
    faults = [random_fault(rng, case, model.golden.cycles, str(p)) for p in places]
    assert same_run(model.run(faults), clocked(case, faults))


def test_a_stuck_bit_wins_over_a_flip_of_it():
    case = workload([Operation(0), Operation(-1)])
    stuck = BitFault("neuron_memory", 3, 5, "sa1")
    flip = BitFault("neuron_memory", 3, 5, "flip", 4)
    assert same_run(CycleModel(case).run([stuck, flip]), CycleModel(case).run([stuck]))


def test_an_open_loop_that_fires_costs_two_cycles_a_neuron_and_six_a_spike():
    # Request at 5 after four idle cycles, push in 7, scan from 12: t of neuron n is 13 + 2n.
    # All eight fire: each delays the next by 6.
    case = workload([Operation(0), Operation(-1)], threshold=1)
    run = CycleModel(case).golden
    assert run.events.tolist() == [[14 + 8 * n, n] for n in range(8)]
    assert run.samples.tolist() == [[0] * 8]


def test_a_neuron_whose_threshold_is_above_2047_never_fires():
    operations = [Operation(0)] * 3 + [Operation(-1)]
    run = CycleModel(workload(operations, threshold=2048, potential=2040, weight=7)).golden
    assert len(run.events) == 0
    assert run.samples.tolist() == [[2047] * 8]


def test_a_disabled_neuron_gives_no_spike_and_is_reset_all_the_same():
    operations = [Operation(0), Operation(-1)]
    run = CycleModel(workload(operations, threshold=1, disabled=1)).golden
    assert len(run.events) == 0
    assert run.samples.tolist() == [[0] * 8]


def test_leaks_go_towards_zero_and_stop_there():
    operations = [Operation(0x1FF), Operation(-1)]
    for start, end in ((5, 2), (2, 0), (-5, 4094), (-2, 0)):
        run = CycleModel(workload(operations, potential=start, leak=3)).golden
        assert run.samples.tolist() == [[end] * 8]


def test_a_virtual_event_of_weight_zero_is_a_neuron_event_of_its_neuron_number():
    virtual = workload([Operation(0x203), Operation(-1)])
    neuron = workload([Operation(3), Operation(-1)])
    assert same_run(CycleModel(virtual).golden, CycleModel(neuron).golden)


def test_a_flip_in_a_write_back_of_its_word_is_lost_and_one_later_is_not():
    case = workload([Operation(0), Operation(-1)])
    model = CycleModel(case)
    lost = model.run([BitFault("neuron_memory", 0, 20, "flip", 13)])
    kept = model.run([BitFault("neuron_memory", 0, 20, "flip", 14)])
    assert same_run(lost, model.golden)
    assert kept.neurons[0] == model.golden.neurons[0] ^ 1 << 20


BROKEN = {
    "writes_parameters": BitFault("neuron_register", 0, 20, "flip", 13),
    "write_erases": BitFault("neuron_memory", 0, 20, "flip", 13),
    "rereads_weights": BitFault("synapse_memory", 0, 5, "flip", 13),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_about_memories_is_needed_where_it_says(rule):
    case = workload([Operation(0), Operation(-1)])
    broken = CycleModel(case, Rules(**{rule: False}))
    assert same_run(broken.golden, CycleModel(case).golden)
    assert not same_run(broken.run([BROKEN[rule]]), CycleModel(case).run([BROKEN[rule]]))


def test_the_rules_about_sums_and_disabled_neurons_are_needed():
    high = workload([Operation(0), Operation(-1)], potential=2047, threshold=4095)
    assert CycleModel(high, Rules(saturates=False)).golden.samples.tolist() == [[0x800] * 8]
    off = workload([Operation(0), Operation(-1)], threshold=1, disabled=1)
    assert CycleModel(off, Rules(disabled_resets=False)).golden.samples.tolist() == [[1] * 8]


def test_a_storm_of_own_spikes_is_a_hang_of_the_operation_that_waits():
    words = neuron_words(np.zeros(256), 1, 0)
    synapses = synapse_words(np.full((256, 256), 7))
    case = Workload(words, synapses, 20, False, (Operation(0), Operation(-1)))
    run = CycleModel(case).golden
    # The host turns to the sample at 12 (see above) and waits 60,000 cycles.
    assert (run.hang_operation, run.cycles, len(run.samples)) == (1, 60_012, 0)


def test_a_flip_after_the_end_changes_nothing():
    model = CycleModel(workload([Operation(0), Operation(-1)]))
    assert same_run(model.run([BitFault("neuron_memory", 0, 0, "flip", 10**6)]), model.golden)


def test_what_cannot_be_is_refused_by_name():
    with pytest.raises(FaultError, match="no place 'neuron_memry'; did you mean 'neuron_memory'"):
        BitFault("neuron_memry", 0, 0, "flip")
    with pytest.raises(FaultError, match=r"words 0..0 of bits 0..3, came word 0, bit 4"):
        BitFault("weight", 0, 4, "sa0")
    with pytest.raises(FaultError, match="is a net and stores nothing"):
        BitFault("weight", 0, 3, "flip")
    with pytest.raises(DataError, match="no 10-bit event address 1024"):
        workload([Operation(1024)])
    with pytest.raises(DataError, match="a sample waits"):
        workload([Operation(-1, wait_idle=False)])
    with pytest.raises(DataError, match="max_neuron is 0 to 255, came 256"):
        workload([], last=256)
    with pytest.raises(DataError, match="expected 256 words of 32 bits"):
        Workload(np.zeros(3, int), np.zeros(8192, int), 1, True, ())
    with pytest.raises(DataError, match="threshold: expected 0 to 4095, came 4096"):
        neuron_words(0, 4096, 0)
    with pytest.raises(DataError, match="weights from -8 to 7"):
        synapse_words(np.full((256, 256), 8))
