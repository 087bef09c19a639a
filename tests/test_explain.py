"""One fault, explained: networks small enough for the head, every way in which a fault can end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accelerators import Cores, Systolic
from accelerators.systolic.family import Memory
from codesign.design import Design
from codesign.errors import DataError, FaultError, UnsupportedError
from codesign.faults import FaultModel, Faults
from codesign.formats import NumberFormat, Requantise
from codesign.guards import Clamp, Correct, Recompute
from codesign.network import Conv2d, Edge, Flatten, Input, Lif, Linear, MaxPool2d, NetworkGraph
from codesign.samples import Samples
from codesign.study.explain import explain
from codesign.study.explain_fault import parse_fault
from codesign.study.explain_text import explanation_text
from codesign.study.explained import Explanation

torch.set_num_threads(1)

ARRAY = Systolic(rows=2, cols=2).build()
MESH = Systolic(
    rows=2, cols=2, datapath="gemmini", psum_bits=20, weight_sram=Memory(64, 16)
).build()
CORE = Cores(name="core", axons=2, columns=2).build()


def fingers(requantise: Requantise | None = None, *, signed: bool = False) -> NetworkGraph:
    """Two sums, y = W x with W = [[1, 2], [3, -1]]: x = (5, 7) gives (19, 8)."""
    weight = np.array([[1, 2], [3, -1]])
    last = Linear("y", (Edge("x"),), weight, np.array([0, 0]), requantise=requantise)
    return NetworkGraph(
        "fingers", (Input("x", (), shape=(2,), format=NumberFormat(8, signed)), last)
    )


def spiking() -> NetworkGraph:
    """The same sums into two neurons of threshold 30, three steps."""
    neurons = Lif("s", (Edge("y"),), threshold=np.array(30), reset="zero")
    return NetworkGraph("spiking", (*fingers().layers, neurons), steps=3)


def told(
    design: Design, text: str, *inputs: tuple[int, ...], sample: int | None = 0
) -> Explanation:
    """One fault on samples, (5, 7) if none are given."""
    codes = np.array(inputs or [(5, 7)])
    shape = design.network.shapes[design.network.layers[0].name]
    codes = codes.reshape(len(codes), *shape)
    samples = Samples("made", "test", codes, np.zeros(len(codes), dtype=np.int64))
    fault = parse_fault(text, design.accelerator, sample or 0)
    return explain(design, Faults.of([[fault]], design.accelerator), samples, sample)


def plain(requantise: Requantise | None = None) -> Design:
    """The array with the network of the fingers."""
    return Design("plain", fingers(requantise), ARRAY)


# How faults end


def test_a_stuck_bit_that_is_so_already_is_masked_by_the_value_it_finds():
    found = told(plain(), "array[1,1].weight_register:6")  # holds W[1, 1] = -1, all its bits are 1
    assert found.outcome == "masked"
    assert [(m.by, m.layer) for m in found.masked] == [("same value", "y")]
    (effect,) = found.stories[0].struck
    assert effect.touched is not None
    assert effect.touched.names == ("y.weight[1,1]",)
    assert effect.touched.golden.tolist() == effect.touched.faulty.tolist() == [-1]


def test_a_larger_largest_output_is_tolerated():
    # The weights of column 0 pass the broken register: 1 and 2 become 65 and 66.
    found = told(plain(), "array[0,0].weight_register:6")
    assert found.outcome == "tolerated"
    assert found.golden == (19, 8)
    assert found.faulty == (65 * 5 + 66 * 7, 8)
    assert found.predictions == (0, 0)
    assert found.masked == ()


def test_a_changed_prediction_is_an_sdc_and_names_what_it_went_through():
    # Column 1: 3 becomes 67, -1 stays.
    found = told(plain(), "array[0,1].weight_register:6")
    assert found.outcome == "sdc"
    assert found.faulty == (19, 67 * 5 - 7)
    assert found.predictions == (0, 1)
    (change,) = found.changes
    assert (change.layer, change.changed, change.elements, change.largest) == ("y", 1, 2, 320)
    (reached,) = found.stories[0].reached
    assert (reached.layer, reached.outputs, reached.of, reached.readers) == ("y", 1, 2, ())


def test_a_difference_that_is_rounded_away_is_told_with_both_sums():
    # 19 and, with bit 1 cleared, 17: (19 + 8) >> 4 = (17 + 8) >> 4 = 1.
    found = told(plain(Requantise(1, 4, 0, 255)), "array[1,0].psum_register:1 stuck0")
    assert found.golden == found.faulty == (1, 1)
    (masked,) = found.masked
    assert (masked.by, masked.layer) == ("rounding", "y")
    assert "19, now 17" in masked.text


def test_a_difference_that_is_clipped_away_is_told_with_the_bounds():
    found = told(plain(Requantise(1, 0, 0, 15)), "array[1,0].psum_register:5")
    (masked,) = found.masked
    assert masked.by == "clipping"
    assert "19, now 51" in masked.text
    assert "0..15" in masked.text


def test_what_is_multiplied_by_zero_is_told_so():
    found = told(plain(), "array[1,0].weight_register:6", (5, 0))  # W[0, 1] = 2 meets x[1] = 0
    (masked,) = found.masked
    assert (found.outcome, masked.by) == ("masked", "zero operand")


def test_changes_that_cancel_are_told_so():
    # x[0] is read as 6 instead of 4 and x[1] as 8 instead of 9: 6 + 2 · 8 = 4 + 2 · 9.
    layers = (
        Input("x", (), shape=(2,)),
        Linear("y", (Edge("x"),), np.array([[1, 2]]), np.array([0])),
    )
    design = Design("one", NetworkGraph("one", layers), ARRAY)
    faults = [
        parse_fault(text, ARRAY)
        for text in ("array[0,0].input_register:1", "array[1,0].input_register:0 stuck0")
    ]
    samples = Samples("made", "test", np.array([[4, 9]]), np.array([0]))
    found = explain(design, Faults.of([faults], ARRAY), samples, 0)
    assert found.golden == found.faulty == (22,)
    assert [(m.by, m.layer) for m in found.masked] == [("equal sum", "y")]


def test_a_pooled_element_that_is_not_the_largest_is_masked_there():
    # c copies x = (5, 9); bit 1 makes 5, multiplied in cycle 1, a 7; the largest stays 9.
    layers = (
        Input("x", (), shape=(1, 1, 2)),
        Conv2d("c", (Edge("x"),), np.ones((1, 1, 1, 1), int), np.array([0]),
               requantise=Requantise(1, 0, 0, 255)),
        MaxPool2d("p", (Edge("c"),), kernel=(1, 2), stride=(1, 2)),
        Flatten("f", (Edge("p"),)),
        Linear("y", (Edge("f"),), np.ones((1, 1), int), np.array([0])),
    )  # fmt: skip
    design = Design("pooled", NetworkGraph("pooled", layers), ARRAY)
    found = told(design, "array[0,0].input_register:1@cycle=1", (5, 9))
    assert found.golden == found.faulty == (9,)
    assert [(c.layer, c.changed, c.largest) for c in found.changes] == [("c", 1, 2)]
    assert [(m.by, m.layer) for m in found.masked] == [("largest elsewhere", "p")]


def test_a_guard_that_stands_in_the_way_is_named():
    clamped = plain().guarded(Clamp("y", "activation", 0, 19))
    found = told(clamped, "array[1,0].psum_register:5")  # 19 becomes 51, clamped to 19
    (masked,) = found.masked
    assert (found.outcome, masked.by, masked.layer) == ("masked", "guard", "y")
    assert "Clamp" in masked.text


def test_a_corrected_word_ends_as_corrected_by_its_guard():
    found = told(plain().guarded(Correct("y", "weight", 1, 8)), "array[1,0].weight_register:6")
    assert (found.outcome, found.golden) == ("corrected", found.faulty)
    assert "Correct" in found.masked[0].text


def test_a_minority_of_executions_is_outvoted():
    # The sum of column 0 stands in its lower register in cycle 2 + 0 + 1 + 0 = 3.
    design = plain().guarded(Recompute(3))
    found = told(design, "array[1,0].psum_register:5@cycle=3,execution=1")
    assert found.stories[0].fault.window.execution == 1
    assert (found.outcome, found.golden) == ("corrected", found.faulty)
    assert "execution 1 of 3 is outvoted" in found.masked[0].text


def test_a_flip_that_meets_nothing_says_when_it_would():
    # A fold takes 2 · 2 + 2 + 1 - 2 = 5 cycles; the weight of PE (1, 1) is in place from cycle 1 on
    # and is multiplied with its one position in cycle 1 + 1 + 1 = 3.
    found = told(plain(), "array[1,1].weight_register:0@cycle=4")
    (story,) = found.stories
    assert (found.outcome, found.masked[0].by, story.struck) == ("masked", "never used", ())
    assert story.meets == ((1, 4),)
    assert story.at_work == (("y", 0),)
    assert told(plain(), "array[1,1].weight_register:0@cycle=3").stories[0].struck


def test_a_fault_of_a_later_inference_is_no_fault_of_this_sample():
    # -1 becomes -65: 15 - 455 stays below 19.
    found = told(plain(), "array[1,1].weight_register:6@inference=1 stuck0", (5, 7), (5, 7))
    assert (found.outcome, found.masked[0].by) == ("masked", "other inference")
    assert [(e.outcome, e.samples, e.first) for e in found.ended] == [
        ("tolerated", 1, 1),
        ("masked", 1, 0),
    ]


def test_without_a_sample_the_first_that_ended_worst_is_shown():
    # Column 1 with bit 6: y[1] = 67 x[0] - x[1]; x[0] = 0 changes nothing.
    found = told(plain(), "array[0,1].weight_register:6", (0, 7), (5, 7), sample=None)
    assert (found.sample, found.outcome) == (1, "sdc")
    assert [(e.outcome, e.samples, e.first) for e in found.ended] == [
        ("sdc", 1, 1),
        ("masked", 1, 0),
    ]


# Spikes: neuron 0 collects 19, 38 and fires, 19; neuron 1 collects 8, 16, 24.


def membrane(neuron: int, bit: int, step: int) -> Explanation:
    """A flip in a membrane as a step begins."""
    design = Design("spiking", spiking(), CORE)
    cycle = design.mapping.exposures("neuron", "membrane")[step]
    return told(design, f"neuron[0,{neuron}].membrane:{bit}@cycle={cycle}")


def test_a_membrane_that_stays_below_threshold_masks_there():
    found = membrane(1, 0, 1)  # 8 becomes 9: 17, 25
    assert (found.outcome, found.golden) == ("masked", (1, 0))
    (masked,) = found.masked
    assert (masked.by, masked.layer, masked.step) == ("threshold", "s", -1)
    assert "up to 1 when steps 1 to 2 end" in masked.text
    (effect,) = found.stories[0].struck
    assert effect.touched is not None
    assert (effect.touched.golden.tolist(), effect.touched.faulty.tolist()) == ([8], [9])


def test_a_spike_train_converges_again_where_the_neuron_is_reset():
    found = membrane(0, 0, 0)  # 0 becomes 1: 20, 39 fires and is reset, 19
    (masked,) = found.masked
    assert (masked.by, masked.layer, masked.step) == ("re-converged", "s", 1)


def test_a_spike_at_another_step_leaves_the_count_equal():
    found = membrane(0, 4, 0)  # 0 becomes 16: 35 fires in step 0 and not in step 1; 19, 38 fires
    assert (found.golden, found.faulty, found.outcome) == ((1, 0), (2, 0), "tolerated")
    found = membrane(0, 4, 1)  # 19 becomes 3: 22, 41 fires in step 2 instead of step 1
    assert found.golden == found.faulty == (1, 0)
    assert [(m.by, m.layer) for m in found.masked] == [("equal count", "s")]
    (change,) = found.changes
    assert (change.changed, change.first_step, change.last_step) == (1, 1, 2)


def test_a_skipped_operation_shows_what_it_would_have_done():
    found = told(Design("spiking", spiking(), CORE), "neuron[0,0].fire")
    assert (found.faulty, found.outcome) == ((0, 0), "tolerated")
    (effect,) = found.stories[0].struck
    assert effect.touched is not None
    assert effect.touched.golden.tolist() == [0, 1, 0]
    assert effect.touched.faulty.tolist() == [0, 0, 0]


# Other datapaths


def test_the_mesh_of_gemmini_is_explained_alike():
    # PE (1, 1) holds W[1, 1] = -1 in c1 or c2, whichever is active.
    design = Design("mesh", fingers(signed=True), MESH)
    both = [told(design, f"array[1,1].{c}:6 stuck0") for c in ("c1", "c2")]
    hit = [found for found in both if found.stories[0].struck]
    assert hit
    for found in hit:
        assert found.faulty == (19, 15 + 7 * (-1 - 64))


# Words


def test_the_text_says_value_bit_consumers_outputs_and_outcome():
    text = explanation_text(told(plain(), "array[0,1].weight_register:6"))
    for expected in (
        "array[0,1].weight_register:6 stuck1, for good",
        "y.weight[1,0] = 3 (00000011, bit 6 is 0) becomes 67",
        "y.weight[1,1] = -1 (11111111, bit 6 is 1) becomes -1",
        "1 of 2 values change",
        "touches 1 of 2 elements of y, read by the output",
        "sample 0 (label 0) on plain: sdc",
        "golden outputs [19, 8], class 0",
        "faulty outputs [19, 328], class 1",
        "all 1 samples: sdc 1 (first: sample 0)",
    ):
        assert expected in text


def test_a_trial_of_many_faults_tells_a_few_and_counts_the_rest():
    faults = [parse_fault(f"array[1,1].weight_register:{bit}", ARRAY) for bit in range(8)]
    samples = Samples("made", "test", np.array([[5, 7]]), np.array([0]))
    found = explain(plain(), Faults.of([faults], ARRAY), samples, 0)
    assert (len(found.stories), found.faults, found.outcome) == (3, 8, "masked")
    assert "and 5 more faults" in explanation_text(found)


def test_a_sample_that_the_run_does_not_have_is_refused():
    with pytest.raises(DataError, match=r"sample 1: the run has samples 0\.\.0"):
        told(plain(), "array[0,0].weight_register:6", sample=1)


def test_a_fault_that_the_family_does_not_claim_is_refused_by_name():
    with pytest.raises(UnsupportedError, match="dead element is not modelled"):
        told(Design("mesh", fingers(signed=True), MESH), "array[0,0] dead")


# How a fault is written


def test_a_fault_is_read_as_it_is_written():
    fault = parse_fault("weight_sram.words@3:2@inference=1,cycle=7 stuck0", ARRAY)
    assert (str(fault.site), fault.model) == ("weight_sram.words@3:2", FaultModel.stuck0)
    assert (fault.window.first, fault.window.last) == ((1, 7), None)
    fault = parse_fault("array[0,1].product:3@cycle=2..5 stuck1", ARRAY, inference=4)
    assert (fault.window.first, fault.window.last) == ((4, 2), (4, 5))
    assert parse_fault("array[0,1].product:3@cycle=2", ARRAY).model is FaultModel.flip
    assert parse_fault("array[0,1].product:3", ARRAY).model is FaultModel.stuck1
    assert parse_fault("array[0,1]", ARRAY).model is FaultModel.dead
    assert parse_fault("neuron[0,1].leak", CORE).model is FaultModel.skip
    assert parse_fault("neuron[0,1].fire always", CORE).model is FaultModel.always


WRONG = [
    ("", "is no fault; expected unit"),
    ("array[0,1].product", r"names no bit: array.product has bits 0\.\.15"),
    ("arry[0,1].product:3", "did you mean 'array'"),
    ("array[0,1].prodct:3", "did you mean 'product'"),
    ("array[0,2].product:3", r"array has instances of shape \(2, 2\)"),
    ("array[0,1].product:16", r"bits 0\.\.15"),
    ("array[0,1].product:3 stuk1", "did you mean 'stuck1'"),
    ("array[0,1].product:3 flip stuck1", "names two models, flip and stuck1"),
    ("array[0,1].product:3@cylce=3", "did you mean 'cycle'"),
    ("array[0,1].product:3@inference=3..4", "is no time"),
    ("array[0,1].product:3 flip@cycle=1..4", "a flip strikes in one cycle"),
    ("array[0,1].product:3@cycle=5..5 stuck1", "is empty or negative"),
    ("array[0,1].product:3 dead", "cannot have a dead fault"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_no_fault_is_refused_with_the_nearest_right_name(text, message):
    with pytest.raises(FaultError, match=message):
        parse_fault(text, ARRAY)
