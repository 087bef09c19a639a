"""Number formats and requantisation, against exact fractions and arithmetic by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign.errors import DataError
from codesign.formats import NumberFormat, Quantizer, Requantise, read_only, shift_right

WIDTHS = [(1, False), (1, True), (4, True), (8, False), (8, True), (20, True), (48, True)]


@pytest.mark.parametrize(("bits", "signed"), WIDTHS)
def test_wrapping_is_the_value_modulo_two_to_the_bits(bits, signed):
    form = NumberFormat(bits, signed, overflow="wrap")
    values = np.array([-(3 << bits) - 1, -1, 0, 1, (1 << bits) - 1, (5 << bits) + 3])
    fitted = form.fit(values)
    assert form.holds(fitted)
    assert ((fitted - values) % (1 << bits) == 0).all()


@pytest.mark.parametrize(("bits", "signed"), WIDTHS)
def test_saturating_gives_the_nearest_value_that_fits(bits, signed):
    form = NumberFormat(bits, signed)
    span = range(form.low, form.high + 1) if bits <= 8 else (form.low, 0, form.high)
    for value in (form.low - 5, form.low, 0, form.high, form.high + 5):
        nearest = min(span, key=lambda x, value=value: abs(x - value))
        assert form.fit([value])[0] == nearest


def test_encoding_and_decoding_are_inverse_for_every_pattern_of_a_byte():
    for signed in (False, True):
        form = NumberFormat(8, signed)
        assert form.encode(form.decode(np.arange(256))).tolist() == list(range(256))


def test_the_sign_bit_weighs_minus_two_to_the_bits_minus_one():
    assert NumberFormat(12).decode(0b1000_0000_0001) == -(2**11) + 1


@pytest.mark.parametrize("bits", [0, 49])
def test_a_width_outside_1_to_48_is_refused(bits):
    with pytest.raises(DataError, match=f"1 to 48 bits, came {bits}"):
        NumberFormat(bits)


def test_an_unknown_overflow_rule_is_refused():
    with pytest.raises(DataError, match="'wrap' or 'saturate', came 'clip'"):
        NumberFormat(8, overflow="clip")  # type: ignore[arg-type]


def test_encoding_refuses_what_does_not_fit():
    with pytest.raises(DataError, match=r"values 5\.\.128 do not fit 8 bits"):
        NumberFormat(8).encode([5, 128])


@given(st.integers(-(2**40), 2**40), st.integers(0, 20))
def test_shifting_right_rounds_as_exact_fractions_do(value, shift):
    exact = Fraction(value, 2**shift)
    assert shift_right(value, shift, "floor") == exact.__floor__()
    assert shift_right(value, shift, "half_even") == round(exact)  # Python rounds half to even
    assert shift_right(value, shift, "half_up") == (exact + Fraction(1, 2)).__floor__()


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**15 - 1), st.integers(0, 47))
def test_requantisation_is_multiply_divide_round_clip(total, multiplier, shift):
    code = Requantise(multiplier, shift, -128, 127).code([total])[0]
    exact = (Fraction(total * multiplier, 2**shift) + Fraction(1, 2)).__floor__()
    assert code == min(max(exact, -128), 127)


def test_a_multiplier_for_each_channel_runs_along_its_axis():
    q = Requantise(np.array([1, 2]), 0, -99, 99)
    assert q.code([[1, 2], [3, 4]], channel_axis=0).tolist() == [[1, 2], [6, 8]]
    assert q.code([[1, 2], [3, 4]], channel_axis=1).tolist() == [[1, 4], [3, 8]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1 << 15, 0, 0, 1), "15 bits"),
        ((-1, 0, 0, 1), "15 bits"),
        ((1, 48, 0, 1), "0 to 47, came 48"),
        ((1, 0, 2, 1), "low 2 is above high 1"),
    ],
)
def test_impossible_requantisation_is_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        Requantise(*arguments)


def test_quantising_goes_to_the_nearest_point_of_the_grid():
    quantizer = Quantizer(0.25, NumberFormat(4), step=2, offset=1)  # values 0.25 * (2 code + 1)
    points = quantizer.value(np.arange(-8, 8))
    for value in np.linspace(-5, 5, 41) + 0.01:
        chosen = quantizer.value(quantizer.code([value]))[0]
        assert abs(chosen - value) == pytest.approx(np.abs(points - value).min())


def test_a_scale_for_each_channel_runs_along_the_first_axis():
    quantizer = Quantizer(np.array([1.0, 0.5]), NumberFormat(8))
    assert quantizer.code([[3.0, 4.0], [3.0, 4.0]]).tolist() == [[3, 4], [6, 8]]


def test_what_a_noun_holds_cannot_be_written_to():
    mine = np.arange(3)
    held = read_only(mine)
    mine[0] = 7
    assert held.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        held[0] = 1
