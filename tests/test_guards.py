"""What bounds can see, against every flip enumerated."""

import itertools

import pytest

from codesign.errors import DataError
from codesign.formats import NumberFormat
from codesign.guards import Clamp, Correct, Recompute, Replace, Silence, crossing_share


@pytest.mark.parametrize(("bits", "signed"), [(4, True), (4, False), (8, True)])
def test_the_share_of_flips_that_leave_a_bound_is_that_of_all_flips(bits, signed):
    form = NumberFormat(bits, signed)
    values = [0, 1, 3, -3 if signed else 2]
    leaving = 0
    for value, bit in itertools.product(values, range(bits)):
        pattern = (value % 2**bits) ^ (1 << bit)
        flipped = pattern - 2**bits if signed and pattern >= 2 ** (bits - 1) else pattern
        leaving += not -3 <= flipped <= 3
    assert crossing_share(values, form, -3, 3) == leaving / (4 * bits)


def test_no_flip_leaves_a_bound_at_the_ends_of_the_format():
    assert crossing_share([-128, 0, 127], NumberFormat(8), -128, 127) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clamp("y", "weight", 2, 1), "clamp of y: low 2 is above high 1"),
        (lambda: Replace("y", "weight", 2, 1, 0), "replace in y: low 2 is above high 1"),
        (lambda: Silence("s", 1), "after is at least 2, came 1"),
        (lambda: Correct("y", "weight", 8), "expected 1 <= bits < word_bits"),
        (lambda: Recompute(1), "times is at least 2, came 1"),
    ],
)
def test_guards_that_make_no_sense_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()
