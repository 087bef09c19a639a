"""Maps and samples of a truth that was made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from codesign.errors import StudyError
from codesign.formats import NumberFormat
from codesign.network import Edge, Flatten, Input, Linear, NetworkGraph
from codesign.program import MacArithmetic, Program
from codesign.study.exhaustive import Truth, WeightBits
from codesign.study.exhaustive_maps import by_channel, by_layer_and_bit, sample_of

WIDE = NumberFormat(32)


def truth_of(correct: np.ndarray, first: int = 2, second: int = 3, inputs: int = 2) -> Truth:
    """Two layers of 2 and 1 outputs, of `first` and `second` bits a weight."""
    layers = (
        Input("x", (), (inputs,), NumberFormat(4)),
        Linear("a", (Edge("x"),), np.ones((2, inputs), int), np.zeros(2, int), NumberFormat(first)),
        Flatten("f", (Edge("a"),)),
        Linear("b", (Edge("f"),), np.ones((1, 2), int), np.zeros(1, int), NumberFormat(second)),
    )
    sums = {"a": MacArithmetic(WIDE, WIDE, (inputs,)), "b": MacArithmetic(WIDE, WIDE, (2,))}
    bits = WeightBits(Program(NetworkGraph("two", layers), sums))
    nothing = np.zeros(len(bits), dtype=np.int64)
    return Truth(bits, 10, 8, nothing, nothing, nothing, correct)


def test_a_map_has_a_row_a_layer_and_a_column_a_bit() -> None:
    # Layer a: weights (0, 0), (0, 1), (1, 0), (1, 1) of bits 0 and 1; b: two weights of 3 bits.
    correct = np.array([8, 0, 8, 4, 8, 8, 8, 8, *(7, 6, 5), *(7, 2, 3)])
    truth = truth_of(correct)
    assert truth.loss[:4].tolist() == [0, 0.8, 0, 0.4]
    found = by_layer_and_bit(truth, truth.loss)
    assert found[0, :2].tolist() == pytest.approx([0, (0.8 + 0.4) / 4])
    assert np.isnan(found[0, 2])
    assert found[1].tolist() == pytest.approx([0.1, 0.4, 0.4])
    first, second = by_channel(truth, truth.loss)
    assert first.tolist() == pytest.approx([(0.8 + 0.4) / 4, 0])
    assert second.tolist() == pytest.approx([(0.1 + 0.2 + 0.3 + 0.1 + 0.6 + 0.5) / 6])


def test_samples_of_all_bits_are_the_truth_and_smaller_ones_err_as_their_interval_says() -> None:
    rng = np.random.default_rng(1)
    truth = truth_of(rng.binomial(8, 0.7, 3000), first=30, second=30, inputs=49)
    every = sample_of(truth, 1.0, 3, seed=0)
    assert (every.bits, every.covered) == (3000, 3)
    assert every.largest_error < 1e-12
    some = sample_of(truth, 0.05, 200, seed=0)
    spread = truth.loss.std() * np.sqrt((1 - 0.05) / 150)  # drawn without replacement
    assert some.bits == 150
    assert some.typical_error == pytest.approx(spread, rel=0.2)
    assert some.half_width == pytest.approx(1.96 * truth.loss.std() / np.sqrt(150), rel=0.05)
    assert some.covered >= 180


@pytest.mark.parametrize("share", [0.0, 0.01, 1.5])
def test_a_share_that_is_no_sample_is_refused(share: float) -> None:
    truth = truth_of(np.full(14, 8))
    with pytest.raises(StudyError, match=rf"a share of {share} of 14 bits is \d+ bits"):
        sample_of(truth, share, 1, seed=0)
