"""Samples and input coding."""

import numpy as np
import pytest

from codesign.errors import DataError
from codesign.formats import NumberFormat
from codesign.samples import InputCoding, Samples

SPIKE = NumberFormat(1, signed=False)


def raw(*values):
    return Samples("raw", "test", np.array(values, dtype=np.uint8), np.zeros(len(values), int))


def test_direct_coding_normalises_each_channel_and_rounds():
    form = NumberFormat(8)
    coding = InputCoding(format=form, scale=0.5, mean=(0.5, 0.25), std=(0.25, 0.5))
    pixels = raw([[[0, 255]], [[51, 255]]])  # shares 0, 1 and 0.2, 1
    codes = coding.apply(pixels).inputs
    # (0 - .5) / .25 = -2 → -4;  (1 - .5) / .25 = 2 → 4;  (.2 - .25) / .5 = -.1 → 0;  1.5 → 3
    assert codes.tolist() == [[[[-4, 4]], [[0, 3]]]]


def test_latency_coding_gives_one_spike_and_the_brightest_first():
    coded = InputCoding("latency", SPIKE, steps=5).apply(raw([0, 64, 128, 255]))
    assert coded.timed
    assert coded.inputs.shape == (1, 5, 4)
    spikes = coded.inputs[0]
    assert spikes.sum(axis=0).tolist() == [0, 1, 1, 1]
    assert spikes.argmax(axis=0)[1:].tolist() == [3, 2, 0]  # round((1 - v/255) · 4)


def test_rate_coding_spikes_as_often_as_the_value_and_a_sample_does_not_see_the_others():
    coding = InputCoding("rate", SPIKE, steps=4000, seed=3)
    both = coding.apply(raw([0, 51, 255], [255, 0, 51])).inputs
    assert both[0].mean(axis=0) == pytest.approx([0, 0.2, 1], abs=0.02)
    assert (coding.apply(raw([0, 51, 255])).inputs[0] == both[0]).all()
    other = InputCoding("rate", SPIKE, steps=4000, seed=4).apply(raw([0, 51, 255]))
    assert (other.inputs[0] != both[0]).any()


def test_events_pass_unchanged_if_they_fit():
    events = Samples("events", "test", np.array([[[0, 1], [1, 0]]]), np.array([1]), timed=True)
    assert InputCoding("rate", SPIKE, steps=2).apply(events) is events
    two = Samples("events", "test", np.array([[[2]]]), np.array([1]), timed=True)
    with pytest.raises(DataError, match="do not fit 1 bits"):
        InputCoding("rate", SPIKE).apply(two)


def test_taking_samples_keeps_inputs_and_labels_together():
    many = Samples("many", "test", np.arange(50)[:, None], np.arange(50))
    for seed in (None, 1):
        few = many.take(7, seed)
        assert (few.inputs[:, 0] == few.labels).all()
    assert many.take(7).labels.tolist() == list(range(7))
    assert many.take(7, 1).labels.tolist() == many.take(9, 1).labels.tolist()[:7]
    with pytest.raises(DataError, match="many/test has 50 samples, asked for 51"):
        many.take(51)


def test_identity_is_content():
    one = Samples("a", "test", np.array([[1]]), np.array([0]))
    assert one.digest == Samples("b", "test", np.array([[1]]), np.array([0])).digest
    assert one.digest != Samples("a", "train", np.array([[1]]), np.array([0])).digest
    assert one.digest != Samples("a", "test", np.array([[1]]), np.array([1])).digest


def test_floats_and_missing_labels_are_refused():
    with pytest.raises(DataError, match="inputs are integers, came float64"):
        Samples("f", "test", np.array([[0.5]]), np.array([0]))
    with pytest.raises(DataError, match="2 inputs but labels of shape"):
        Samples("f", "test", np.array([[1], [2]]), np.array([0]))
    with pytest.raises(DataError, match="f: labels are class numbers from 0 on, came -1"):
        Samples("f", "test", np.array([[1], [2]]), np.array([3, -1]))
    with pytest.raises(DataError, match="f: labels are class numbers from 0 on, came float64"):
        Samples("f", "test", np.array([[1]]), np.array([0.5]))
