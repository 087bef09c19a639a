"""One fault on tinyODIN, explained: a network for the head, and every way in which it can end.

Two inputs, two neurons, two steps: W = [[3, 0], [0, 3]], thresholds 3 and 4, no leak. Neurons sit
on 0 and 1, inputs on axons 2 and 3. Sample 0 has input 1 spike twice: neuron 1 collects 3, then 6,
and fires once: (0, 1), class 1. Sample 1 has input 0 spike twice: neuron 0 fires twice: (2, 0).
A synapse word holds eight weights of four bits: axon a, neuron n is word 32 a + n // 8, bit 4 n.
A neuron word has its potential in bits 0 to 11 and its threshold in bits 12 to 23.
"""

from __future__ import annotations

import numpy as np
import pytest

from accelerators import TinyOdin
from codesign.design import Design
from codesign.errors import DataError, UnsupportedError
from codesign.events import EventProgram
from codesign.faults import Faults
from codesign.formats import NumberFormat
from codesign.network import Edge, Input, Lif, Linear, NetworkGraph
from codesign.samples import InputCoding, Samples
from codesign.study.explain import explain
from codesign.study.explain_events import EventExplanation, explain_events
from codesign.study.explain_fault import parse_fault
from codesign.study.explaining import explained_text

SPIKE = NumberFormat(1, signed=False)
NETWORK = NetworkGraph(
    "two",
    (
        Input("x", (), (2,), SPIKE),
        Linear("y", (Edge("x"),), np.array([[3, 0], [0, 3]]), np.zeros(2, int), NumberFormat(4)),
        Lif("s", (Edge("y"),), threshold=np.array([3, 4]), reset="zero", strict=False),
    ),
    steps=2,
    coding=InputCoding("rate", SPIKE, steps=2),
)
DESIGN = Design("odin", NETWORK, TinyOdin(name="chip").build())
SAMPLES = Samples(
    "made", "test", np.array([[[0, 1], [0, 1]], [[1, 0], [1, 0]]]), np.array([1, 0]), timed=True
)


def faults_of(text: str) -> Faults:
    """One trial of one fault."""
    return Faults.of([[parse_fault(text, DESIGN.accelerator)]], DESIGN.accelerator)


def told(text: str, sample: int | None = 0) -> EventExplanation:
    """One fault on the two samples."""
    program: object = DESIGN.program
    assert isinstance(program, EventProgram)
    return explain_events(DESIGN, program, faults_of(text), SAMPLES, sample)


def test_a_stuck_bit_that_is_so_already_is_masked_by_the_value_it_finds():
    found = told("synapses.memory@96:4 stuck1")  # 3 = 0011
    assert (found.outcome, found.masked, found.golden) == ("masked", "same value", (0, 1))
    (story,) = found.stories
    assert [bit.golden.tolist() for bit in story.struck] == [[3]]


def test_a_weight_too_small_to_fire_is_an_sdc():
    found = told("synapses.memory@96:5 stuck0")  # 3 becomes 1: 1, 2
    assert (found.outcome, found.faulty, found.predictions) == ("sdc", (0, 0), (1, 0))
    (bit,) = found.stories[0].struck
    assert (bit.golden.tolist(), bit.faulty.tolist()) == ([3], [1])
    assert (found.spikes.golden, found.spikes.faulty, found.spikes.same) == (1, 0, 0)
    assert found.spikes.words == (1,)


def test_a_spike_more_is_tolerated():
    found = told("synapses.memory@96:6")  # 3 becomes 7: fires at both
    assert (found.outcome, found.faulty, found.masked) == ("tolerated", (0, 2), "")


def test_a_weight_that_this_sample_does_not_use_is_masked_on_it():
    found = told("synapses.memory@64:1 stuck0")
    assert (found.outcome, found.masked) == ("masked", "golden again")
    assert [(e.outcome, e.samples, e.first) for e in found.ended] == [
        ("tolerated", 1, 1),
        ("masked", 1, 0),
    ]
    assert told("synapses.memory@64:1 stuck0", sample=None).sample == 1


def test_a_spike_at_another_time_leaves_the_count_equal():
    # 8 + 3 fires at the first event instead of the second; the rest, 3, stays.
    found = told("neurons.memory@1:3 flip")
    assert (found.outcome, found.masked, found.faulty) == ("masked", "equal count", (0, 1))
    assert found.spikes.same == 0
    assert found.spikes.words == (1,)


def test_a_bit_that_nobody_reads_stays_different_and_changes_no_spike():
    # Bit 30 is the uppermost bit of the leak, and nothing leaks.
    found = told("neurons.memory@1:30")
    assert (found.outcome, found.masked, found.spikes.words) == ("masked", "no spike", (1,))


def test_a_neuron_that_fires_at_its_own_spike_hangs():
    # Threshold 4 loses its only bit: every event finds 0 >= 0, its own spikes' events too.
    found = told("neurons.memory@1:14 stuck0")
    assert (found.outcome, found.faulty, found.masked) == ("hang", (0, 0), "")
    assert found.hang == ("scan", 3, 1)
    text = explained_text(DESIGN, faults_of("neurons.memory@1:14 stuck0"), SAMPLES, 0)
    for expected in (
        "neurons.memory@1:14 stuck0, for good",
        "neuron words (parameters) in their cells, neuron 1: bit 14 of 32 held at 0",
        f"as loaded, {4 << 12} becomes 0",
        "sample 0 (label 1) on odin: hang",
        "the host gives up its wait after 60000 cycles, at its action 1 (scan 3)",
        "all 2 samples: hang 2 (first: sample 0)",
    ):
        assert expected in text


def test_a_flip_is_told_with_its_update():
    text = explained_text(DESIGN, faults_of("neurons.memory@1:3@cycle=0"), SAMPLES, 0)
    assert text.startswith("neurons.memory@1:3 flip, in inference 0, update 0\n")
    assert "in item 0" in text
    text = explained_text(DESIGN, faults_of("synapses.memory@96:5 stuck0"), SAMPLES, 0)
    assert "weights in their cells, axon 3, neuron 1: bit 1 of 4 held at 0" in text
    assert "1 spikes leave the golden chip, 0 the faulty one" in text


def test_what_cannot_be_told_is_refused():
    with pytest.raises(DataError, match=r"sample 2: the run has samples 0\.\.1"):
        told("neurons.memory@1:30", sample=2)
    with pytest.raises(UnsupportedError, match="layer by layer is for chips that compute layer"):
        explain(DESIGN, faults_of("neurons.memory@1:30"), SAMPLES, 0)
    with pytest.raises(UnsupportedError, match="claims no faults there"):
        told("queue.events@3:1")
