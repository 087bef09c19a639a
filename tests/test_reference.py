"""The reference engine against torch in integers (golden) and arithmetic by hand (effects)."""

import numpy as np
import pytest
import torch
from sample_programs import (
    dot,
    membrane,
    one_neuron,
    plain,
    raster,
    row,
    run,
    samples_of,
    value,
)

from codesign.engine.reference import count_overflows
from codesign.formats import NumberFormat, Requantise
from codesign.guards import Clamp, Correct, Recompute, Replace, Silence
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Edge,
    Flatten,
    Input,
    Leak,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
    Pad,
    Slice,
)
from codesign.program import Program

# -------------------- golden, against torch


def test_a_convolutional_network_computes_what_torch_computes_in_integers():
    draw = np.random.default_rng(1)
    w1, b1 = draw.integers(-8, 8, (4, 1, 3, 2)), draw.integers(-20, 20, 4)
    w2, b2 = draw.integers(-8, 8, (3, 4)), draw.integers(-20, 20, 3)
    q = Requantise(np.array([3, 5, 7, 9]), 5, 0, 15)
    layers = (
        Input("x", (), shape=(2, 5, 6)),
        Conv2d("c", (Edge("x"),), w1, b1, (2, 1), (1, 0, 2, 1), 2, requantise=q),
        MaxPool2d("p", (Edge("c"),), (2, 2), (1, 2)),
        AvgPool2d("a", (Edge("p"),), (1, 4), (1, 1), requantise=Requantise(1, 2, 0, 15)),
        Flatten("f", (Edge("a"),)),
        Linear("y", (Edge("f"),), w2, b2),
    )
    network = NetworkGraph("cnn", layers)
    x = draw.integers(0, 16, (3, 2, 5, 6))
    as_torch = torch.nn.functional.pad(torch.tensor(x).double(), (2, 1, 1, 0))
    c = torch.nn.functional.conv2d(
        as_torch, torch.tensor(w1).double(), torch.tensor(b1).double(), (2, 1), groups=2
    )
    multiplier = torch.tensor([3.0, 5, 7, 9], dtype=torch.float64)[:, None, None]
    c = torch.floor(c * multiplier / 32 + 0.5).clamp(0, 15)
    p = torch.nn.functional.max_pool2d(c, (2, 2), (1, 2))
    a = torch.floor(torch.nn.functional.avg_pool2d(p, (1, 4), 1) + 0.5)
    y = a.flatten(1) @ torch.tensor(w2).double().T + torch.tensor(b2)
    assert y.abs().max() > 10
    assert run(plain(network), samples_of(*x)).outputs[0].tolist() == y.long().tolist()


def test_residual_concat_slice_and_pad_move_elements_as_numpy_does():
    x = np.arange(2 * 4 * 4).reshape(2, 4, 4)
    layers = (
        Input("x", (), shape=(2, 4, 4)),
        Slice("s", (Edge("x"),), ((0, 2, 1), (0, 4, 2), (1, 4, 2))),
        Pad("p", (Edge("s"),), ((1, 1), (0, 0), (0, 0))),
        Concat("k", (Edge("s"), Edge("s")), (None, Requantise(2, 0, 0, 99))),
        Add("y", (Edge("p"), Edge("k")), (3, 1), Requantise(1, 1, -99, 99)),
    )
    cut = x[:, ::2, 1::2]
    expected = 3 * np.pad(cut, ((1, 1), (0, 0), (0, 0))) + np.concatenate([cut, 2 * cut])
    outputs = run(plain(NetworkGraph("moves", layers)), samples_of(x)).outputs
    assert outputs[0, 0].tolist() == ((expected + 1) // 2).ravel().tolist()


# -------------------- neurons


def test_a_neuron_fires_above_its_threshold_and_resets():
    assert membrane(*one_neuron()) == [3, 0, 3, 0]
    assert raster(*one_neuron()) == [0, 1, 0, 1]


def test_reset_by_subtraction_keeps_the_rest():
    assert membrane(*one_neuron(reset="subtract")) == [3, 1, 4, 2]


def test_a_reset_ordered_before_fire_comes_one_step_late():
    order = ("reset", "leak", "integrate", "fire")
    assert membrane(*one_neuron(order=order)) == [3, 6, 3, 6]
    assert raster(*one_neuron(order=order)) == [0, 1, 0, 1]


def test_not_strict_fires_at_the_threshold_itself():
    assert raster(*one_neuron(threshold=np.array(6))) == [0, 0, 1, 0]
    assert raster(*one_neuron(threshold=np.array(6), strict=False)) == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("leak", "expected"),
    [
        (Leak("shift", 1), [8, 12, 14, 15]),  # v - v // 2, then + 8
        (Leak("multiply", 2, 3), [8, 14, 19, 22]),  # 0.75 v rounded half up, then + 8
        (Leak("subtract", 3), [8, 13, 18, 23]),
        (Leak(), [8, 16, 24, 32]),
    ],
)
def test_leaks_as_computed_by_hand(leak, expected):
    assert membrane(*one_neuron(current=8, threshold=np.array(99), leak=leak)) == expected


def test_a_negative_membrane_leaks_towards_zero_by_subtraction():
    program, _ = one_neuron(threshold=np.array(99), leak=Leak("subtract", 2))
    start = dict(kind="state", at="cell", layer=2, op="replace", value=-5, steps=(0, -1))
    assert membrane(program, samples_of([0]), start) == [-3, -1, 0, 0]


def test_a_chip_s_membrane_saturates_or_wraps_at_its_own_width():
    program, samples = one_neuron(current=6, threshold=np.array(99))
    for form, expected in (
        (NumberFormat(4), [6, 7, 7, 7]),
        (NumberFormat(4, overflow="wrap"), [6, -4, 2, -8]),
    ):
        chip = Program(program.network, program.arithmetic, {"s": form})
        assert membrane(chip, samples) == expected


def test_a_delayed_edge_reads_what_was_stored_a_step_ago():
    layers = (
        Input("x", (), shape=(1,)),
        Linear("i", (Edge("x", 1),), weight=np.array([[2]]), bias=np.array([1])),
    )
    program = plain(NetworkGraph("late", layers, steps=3))
    seen = run(program, samples_of([[5], [6], [7]], timed=True), watch=("i",)).watched["i"]
    assert seen.ravel().tolist() == [1, 11, 13]


# -------------------- effects, by hand


def test_every_place_of_a_sum_is_where_the_program_says():
    segmented = dot(splits=(2, 3))
    assert value(*segmented) == 48
    cases = [
        (row("operand", "weight", value=100, k=(0, 1, 1)), 48 + 500),
        (row("operand", "input", value=100, k=(1, 2, 1)), 48 + 200),
        (row("term", "product", "scale", value=-1, k=(2, 3, 1)), 48 - 42),
        (row("accumulator", "load", value=1), 48 + 2),  # once for each of two segments
        (row("accumulator", "load", value=1, segment=1), 49),
        (row("accumulator", "every", value=1), 48 + 3),
        (row("accumulator", "after", "replace", segment=0, after=1, value=0), 43),
        (row("accumulator", "out", "replace", segment=0, value=0), 31),
        (row("accumulator", "total", "replace", segment=0, value=0), 21),
        (row("accumulator", "total", "replace", segment=1, value=0), 0),
        (row("parameter", "bias", "replace", value=0), 38),
    ]
    for effect, expected in cases:
        assert value(*segmented, effect) == expected, effect


def test_terms_are_summed_in_the_order_of_the_program():
    after_one = row("accumulator", "after", "replace", segment=0, after=1, value=0)
    for order, first in (((0, 1, 2), 5), ((2, 0, 1), 21)):
        assert value(*dot(order=np.array(order)), after_one) == 48 - first


def test_a_bias_that_is_loaded_sits_in_the_first_segment():
    loaded = row("accumulator", "load", "replace", segment=0, value=0)
    assert value(*dot(bias_in="load"), loaded) == 38
    assert value(*dot(), loaded) == 48


def test_a_narrow_running_sum_wraps_or_saturates_and_is_counted():
    for overflow, expected in (("wrap", 38 - 32 + 10), ("saturate", 15 + 10)):
        narrow = dot(inner=NumberFormat(5, overflow=overflow))  # type: ignore[arg-type]
        assert value(*narrow) == expected  # 5, 17, 38: beyond -16..15 twice, or 5, 15+, 36
        assert count_overflows(*narrow) == {"y": 2 if overflow == "saturate" else 1}
    assert count_overflows(*dot()) == {"y": 0}


def test_a_readout_shifts_then_clips_and_clips_again_after_the_out_station():
    readout = Requantise(1, 1, -16, 15, rounding="half_even")
    assert value(*dot(readout=readout)) == 10 + 15
    high_bit = row("accumulator", "out", "xor", bits=8, mask=64)
    assert value(*dot(readout=readout), high_bit) == 10 + 15  # 15 + 64, clipped again
    low_bit = row("accumulator", "out", "xor", bits=8, mask=8)
    assert value(*dot(readout=readout), low_bit) == 10 + 7


def test_several_effects_in_one_value_act_by_rank_and_a_stuck_bit_wins_its_rank():
    flip = row("operand", "weight", "xor", bits=8, mask=1, k=(0, 1, 1))  # 1 → 0
    stuck = row("operand", "weight", "stuck", bits=8, mask=1, value=1, k=(0, 1, 1))
    for rows in ((flip, stuck), (stuck, flip)):
        assert value(*dot(), *rows) == 48  # the stuck bit acts last
    assert value(*dot(), {**stuck, "rank": 0}, {**flip, "rank": 1}) == 43


def test_masks_live_in_the_place_s_own_two_s_complement():
    sign = row("operand", "weight", "xor", bits=8, mask=128, k=(0, 1, 1))
    assert value(*dot(), sign) == 48 - 128 * 5
    unsigned = {**sign, "signed": False}
    assert value(*dot(), unsigned) == 48 + 128 * 5


def test_an_activation_effect_can_be_seen_by_one_reader_only():
    layers = (
        Input("x", (), shape=(1,)),
        Flatten("a", (Edge("x"),)),
        Flatten("b", (Edge("x"),)),
        Concat("y", (Edge("a"), Edge("b")), (None, None)),
    )
    program = plain(NetworkGraph("readers", layers))
    effect = dict(kind="activation", at="stored", layer=0, op="replace", value=9, reader=2)
    assert run(program, samples_of([4]), effect).outputs.ravel().tolist() == [4, 9]


def test_windows_of_samples_and_trials_are_half_open():
    program, _ = dot()
    samples = samples_of([5, 6, 7], [5, 6, 7], [5, 6, 7])
    effect = row("parameter", "bias", value=1, samples=(1, 2), trial=1)
    assert run(program, samples, effect, trials=2).outputs[..., 0].tolist() == [
        [48, 48, 48],
        [48, 49, 48],
    ]


def test_broken_operations_and_struck_membranes_as_computed_by_hand():
    neuron = one_neuron()
    here = {"layer": 2}
    skip = {**here, "kind": "operation", "op": "skip"}
    assert membrane(*neuron, {**skip, "at": "reset"}) == [3, 6, 9, 12]
    assert raster(*neuron, {**skip, "at": "fire"}) == [0, 0, 0, 0]
    assert membrane(*neuron, {**skip, "at": "fire"}) == [3, 6, 9, 12]
    assert membrane(*neuron, {**skip, "at": "integrate", "steps": (0, 2)}) == [0, 0, 3, 0]
    always = {**here, "kind": "operation", "op": "always"}
    assert raster(*neuron, {**always, "at": "fire"}) == [1, 1, 1, 1]
    assert membrane(*neuron, {**always, "at": "reset"}) == [0, 0, 0, 0]
    cell = {**here, "kind": "state", "at": "cell", "bits": 8}
    assert membrane(*neuron, {**cell, "op": "xor", "mask": 1, "steps": (1, 2)}) == [3, 5, 0, 3]
    stuck = {**cell, "op": "stuck", "mask": 2, "value": 0}
    assert membrane(*neuron, stuck) == [1, 4, 0, 1]  # 3 is stored as 1; 4; 7 fires
    line = {**here, "kind": "spike", "at": "line", "op": "replace", "value": 1, "steps": (0, 1)}
    assert raster(*neuron, line) == [1, 1, 0, 1]
    threshold = {**here, "kind": "parameter", "at": "threshold", "op": "replace", "value": 2}
    assert raster(*neuron, threshold) == [1, 1, 1, 1]


def test_a_threshold_can_be_wrong_for_one_position_of_a_channel():
    weight = np.ones((1, 1, 1, 1), dtype=int)
    network = NetworkGraph(
        "two positions",
        (
            Input("x", (), shape=(1, 1, 2)),
            Conv2d("i", (Edge("x"),), weight=weight, bias=np.array([0])),
            Lif("s", (Edge("i"),), threshold=np.array(5)),
        ),
    )
    lowered = {"kind": "parameter", "at": "threshold", "layer": 2, "op": "replace", "value": 2}
    program, samples = plain(network), samples_of([[[3, 3]]])
    assert run(program, samples, {**lowered, "m": (1, 2, 1)}).outputs.tolist() == [[[0, 1]]]
    assert run(program, samples, lowered).outputs.tolist() == [[[1, 1]]]


# -------------------- guards


FLIP = row("operand", "weight", "xor", bits=8, mask=64, k=(1, 2, 1))  # weight 2 → 66


def test_bounds_replace_or_clamp_what_leaves_them():
    assert value(*dot(), FLIP) == 48 + 64 * 6
    assert value(*dot((Clamp("y", "weight", -3, 3),)), FLIP) == 48 + 6
    assert value(*dot((Replace("y", "weight", -3, 3, 0),)), FLIP) == 48 - 12
    negative = {**FLIP, "mask": 128}  # 2 → -126
    keep = Replace("y", "weight", -3, 3, 3, keep_sign=True)
    assert value(*dot((keep,)), negative) == 48 - 12 - 18


def test_a_guard_on_a_stored_activation_stands_before_its_reader():
    effect = dict(kind="activation", at="stored", layer=0, n=(0, 1, 1), op="add", value=100)
    assert value(*dot((Clamp("x", "activation", 0, 7),)), effect) == 48 + 2


def test_a_code_corrects_one_bit_detects_two_and_misses_three():
    guard = (Correct("y", "weight", 1),)
    for mask, expected, corrected, detected in (
        (64, 48, True, False),
        (96, 48 + 96 * 6, False, True),
        (112, 48 + 112 * 6, False, False),
    ):
        seen = run(*dot(guard), {**FLIP, "mask": mask})
        assert int(seen.outputs[0, 0, 0]) == expected
        assert (bool(seen.corrected[0, 0]), bool(seen.detected[0, 0])) == (corrected, detected)


def test_a_flipped_sign_is_one_wrong_bit_of_the_word():
    seen = run(*dot((Correct("y", "weight", 1),)), {**FLIP, "mask": 128})  # 2 → -126
    assert int(seen.outputs[0, 0, 0]) == 48
    assert bool(seen.corrected[0, 0])


def test_silence_cuts_the_second_spike_in_a_row_and_leaves_the_membrane():
    neuron = one_neuron(current=9, guards=(Silence("s", 2),), steps=5)
    assert raster(*neuron) == [1, 0, 0, 0, 0]
    assert membrane(*neuron) == [0, 0, 0, 0, 0]


def test_re_execution_votes_and_says_what_it_noticed():
    three = dot((Recompute(3),))
    struck = {**FLIP, "execution": 0}
    seen = run(*three, struck)
    assert int(seen.outputs[0, 0, 0]) == 48
    assert bool(seen.corrected[0, 0])
    assert not bool(seen.detected[0, 0])
    differently = [struck, {**FLIP, "execution": 1, "mask": 32}]
    seen = run(*three, *differently)
    assert int(seen.outputs[0, 0, 0]) == 48 + 64 * 6
    assert bool(seen.detected[0, 0])
    assert value(*three, FLIP) == 48 + 64 * 6  # a permanent fault strikes all alike
