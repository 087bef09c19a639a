"""What the reference engine refuses: effects that cannot be, and samples that do not fit."""

import pytest
from sample_programs import dot, row, run, samples_of

from codesign.errors import DataError, FaultError


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        (row("operand", "weight", layer=7), "no layer 7; the network has 2"),
        (row("operand", "load"), "operand at load does not exist; places: weight, input"),
        (row("operand", "weight", k=(3, 4, 1)), r"k \(3, 4, 1\) is empty or outside 0..2"),
        (row("operand", "weight", n=(0, 0, 1)), r"n \(0, 0, 1\) is empty"),
        (row("state", "cell"), "y has no neurons"),
        (row("operand", "weight", layer=0), "x sums no terms"),
        (row("operand", "weight", "skip"), "skip is no corruption of a operand"),
        (row("operand", "weight", "xor", bits=8, mask=256), "mask 256 is empty or wider"),
        (row("operand", "weight", "xor", bits=0, mask=1), "1 to 48 bits, came 0"),
        (row("accumulator", "out", segment=1), r"segments 0\.\.0, came 1"),
        (row("accumulator", "after", segment=0, after=4), "after 4 of segment 0 does not exist"),
        (row("operand", "weight", execution=1), "execution 1 of a program with 1"),
        (row("activation", "stored", reader=5), "no reader 5"),
    ],
)
def test_an_effect_that_cannot_be_is_refused(effect, message):
    with pytest.raises(FaultError, match=message):
        run(*dot(), effect)


def test_samples_that_do_not_fit_the_input_are_refused():
    program, _ = dot()
    with pytest.raises(DataError, match=r"shape \(2,\), dot reads \(3,\)"):
        run(program, samples_of([1, 2]))
    with pytest.raises(DataError, match="codes do not fit the input's 8 bits"):
        run(program, samples_of([1, 2, 256]))
