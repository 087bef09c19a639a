"""Mitigations: which guards they choose, by hand, and that golden networks pass them."""

import numpy as np
import pytest

from accelerators import Cores, Systolic
from codesign.design import Context, Design
from codesign.engine import dense
from codesign.errors import DataError, MitigationError
from codesign.formats import Requantise
from codesign.guards import Clamp, Correct, Recompute, Replace, Silence
from codesign.mapping import Activity
from codesign.network import Edge, Input, Lif, Linear, NetworkGraph
from codesign.samples import InputCoding, Samples
from mitigation import BoundAndProtect, ErrorCorrection, RangeRestriction, Reexecution

WEIGHT = np.array([[5, -9, 0, 5], [2, 3, 5, -1]])


def spiking(weight=WEIGHT):
    layers = (
        Input("x", (), shape=(4,)),
        Linear("i", (Edge("x"),), weight, np.zeros(2, int)),
        Lif("s", (Edge("i"),), threshold=np.array(1000)),
    )
    chip = Cores(name="cores", axons=4, columns=2).build()
    return Design("snn", NetworkGraph("snn", layers, steps=3), chip)


def rectified(high=127):
    q = Requantise(1, 0, 0, high)
    layers = (
        Input("x", (), shape=(4,)),
        Linear("h", (Edge("x"),), WEIGHT, np.zeros(2, int), requantise=q),
        Linear("y", (Edge("h"),), np.array([[1, -1]]), np.array([0])),
    )
    coding = InputCoding(full_scale=255.0, scale=1 / 255)
    return Design(
        "cnn", NetworkGraph("cnn", layers, coding=coding), Systolic(rows=4, cols=2).build()
    )


def context(*inputs):
    rows = np.array(inputs or [[0, 0, 0, 0]], dtype=np.uint8)
    return Context(Samples("made", "calibration", rows, np.zeros(len(rows), int)), seed=1)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (BoundAndProtect(1), 0),
        (BoundAndProtect(2), 9),
        (BoundAndProtect(3), 2),  # the median of -9 -1 0 2 3 5 5 5 is 2.5, taken towards 0
        (BoundAndProtect(3, representative="mode"), 5),
    ],
)
def test_bnp_bounds_by_the_largest_clean_magnitude(part, value):
    guarded = part.apply(spiking(), context())
    assert guarded.guards == (
        Replace("i", "weight", -9, 9, value, keep_sign=True),
        Silence("s", 2),
    )


@pytest.mark.parametrize("representative", ["median", "mode"])
def test_a_representative_weight_below_zero_turns_no_sign(representative):
    negative = np.array([[-5, -9, 0, -5], [-2, -3, -5, 1]])  # median -4, mode -5
    value = {"median": 4, "mode": 5}[representative]
    part = BoundAndProtect(3, representative=representative)
    (guard, _) = part.apply(spiking(negative), context()).guards
    assert guard == Replace("i", "weight", -9, 9, value, keep_sign=True)
    part = BoundAndProtect(3, keep_sign=False, representative=representative)
    (guard, _) = part.apply(spiking(negative), context()).guards
    assert guard == Replace("i", "weight", -9, 9, -value, keep_sign=False)


def test_bnp_leaves_golden_weights_alone_and_can_leave_neurons_alone():
    design = spiking()
    guarded = BoundAndProtect(1, neuron_protection=False).apply(design, context())
    samples = Samples("made", "test", np.array([[9, 200, 3, 255]]), np.array([0]))
    both = [dense.golden(d.program, samples).outputs.tolist() for d in (design, guarded)]
    assert both[0] == both[1]


def test_a_bound_that_no_flip_can_leave_is_an_error_and_not_a_result():
    full = np.full((2, 4), 127)
    full[0, 0] = -128
    with pytest.raises(MitigationError, match="no flip of any weight leaves its bound"):
        BoundAndProtect(1).apply(spiking(full), context())


def test_range_restriction_clamps_at_the_largest_calibrated_code():
    # h = (5a - 9b + 5d, 2a + 3b + 5c - d): the inputs give 50 and 20, then 0 and 15
    guarded = RangeRestriction(100).apply(rectified(), context([10, 0, 0, 0], [0, 5, 0, 0]))
    assert guarded.guards == (Clamp("h", "activation", 0, 50),)


def test_range_restriction_at_the_top_of_what_can_be_stored_is_an_error():
    with pytest.raises(MitigationError, match="largest code that can be stored"):
        RangeRestriction(100).apply(rectified(255), context([255, 0, 0, 0]))
    with pytest.raises(MitigationError, match="no layer ends in a ReLU"):
        RangeRestriction().apply(spiking(), context())
    with pytest.raises(MitigationError, match=r"not in \(0, 100\]"):
        RangeRestriction(0)


def test_codes_stand_over_the_places_asked_for():
    design = spiking()
    weights = ErrorCorrection().apply(design, context())
    assert weights.guards == (Correct("i", "weight", 1, word_bits=8),)
    membranes = ErrorCorrection(places=("membrane",), bits=2).apply(design, context())
    assert membranes.guards == (Correct("s", "membrane", 2, word_bits=24),)
    with pytest.raises(DataError, match="no layer 'z'"):
        _ = ErrorCorrection(layers=("z",)).apply(design, context()).program


def test_re_execution_triples_the_price_and_nothing_else():
    design = rectified()
    again = Reexecution().apply(design, context())
    assert again.guards == (Recompute(3),)
    assert again.program.executions == 3
    once = design.mapping.cost(Activity(), ())
    thrice = again.mapping.cost(Activity(), again.guards)
    assert thrice.cycles == 3 * once.cycles
