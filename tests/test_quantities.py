"""Physical numbers carry value, unit, source and grade, and change unit without loss."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schema_example import MINIMAL, Study, Systolic

from codesign.errors import StudyError
from codesign.quantities import GRADES, Quantity, dimension, units_like
from codesign.schema import load

# Value and unit, and the same in another unit, by hand.
EQUAL = [
    (0.2, "pJ", 200.0, "fJ"),
    (200.0, "fJ", 0.2, "pJ"),
    (0.7, "fJ", 0.0007, "pJ"),
    (1.1, "nJ", 1100.0, "pJ"),
    (3.0, "mJ", 3e9, "pJ"),
    (0.3, "mm2", 300000.0, "um2"),
    (1.0, "cm2", 1e8, "um2"),
    (123.0, "um2", 0.000123, "mm2"),
    (5.0, "ns", 0.005, "us"),
    (5.0, "ms", 5e6, "ns"),
    (1.0, "s", 1e12, "ps"),
    (4.1, "mW", 4100.0, "uW"),
    (4.1, "mW", 0.0041, "W"),
    (0.7, "GHz", 700.0, "MHz"),
    (700.0, "MHz", 7e8, "Hz"),
    (900.0, "mV", 0.9, "V"),
    (28.0, "nm", 0.028, "um"),
    (1.5, "kGE", 1500.0, "GE"),
]


@pytest.mark.parametrize(("value", "unit", "other_value", "other_unit"), EQUAL)
def test_a_quantity_in_another_unit_has_the_value_a_head_computes(
    value: float, unit: str, other_value: float, other_unit: str
) -> None:
    converted = Quantity(value, unit, "book", "published").to(other_unit)
    assert converted == Quantity(other_value, other_unit, "book", "published")


@given(st.floats(1e-12, 1e12), st.sampled_from(["aJ", "fJ", "pJ", "nJ", "uJ", "mJ", "J"]))
def test_conversion_is_off_by_no_more_than_a_rounding(value: float, unit: str) -> None:
    powers = {"aJ": -18, "fJ": -15, "pJ": -12, "nJ": -9, "uJ": -6, "mJ": -3, "J": 0}
    converted = Quantity(value, unit, "book", "published").to("pJ").value
    exact = Fraction(value) * Fraction(10) ** (powers[unit] + 12)
    assert abs(Fraction(converted) - exact) <= exact / 2**52


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ((float("nan"), "pJ", "book", "assumed"), "value: expected a finite number, came nan"),
        ((1.0, "pj", "book", "assumed"), "unknown unit 'pj'; known: FIT, FIT/Mbit, GE, GHz,"),
        ((1.0, "MHx", "book", "assumed"), "unknown unit 'MHx'; did you mean 'MHz'?"),
        ((1.0, "pJ", " ", "assumed"), "source: expected where the number comes from, came nothing"),
        (
            (1.0, "pJ", "book", "guess"),
            "grade: expected one of measured, published, simulated, derived, fitted, assumed, "
            "came 'guess'",
        ),
    ],
)
def test_a_quantity_that_says_too_little_is_refused(
    make: tuple[float, str, str, str], message: str
) -> None:
    with pytest.raises(StudyError) as caught:
        Quantity(*make)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_energy_does_not_become_area() -> None:
    with pytest.raises(StudyError) as caught:
        Quantity(1.0, "pJ", "book", "assumed").to("um2")
    assert str(caught.value) == (
        "expected a unit of area (nm2, um2, mm2, cm2), came 'pJ', a unit of energy"
    )


def test_units_of_one_dimension_are_known_by_it() -> None:
    assert units_like("ns") == ("ps", "ns", "us", "ms", "s")
    assert {dimension(unit) for unit in units_like("W")} == {"power"}
    assert "assumed" in GRADES


def test_a_quantity_is_printed_with_its_source() -> None:
    assert str(Quantity(0.2, "pJ", "book", "assumed")) == "0.2 pJ (assumed: book)"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{value: 200, unit: fJ, source: a, grade: fitted}", Quantity(0.2, "pJ", "a", "fitted")),
        ("{value: 7e-1, unit: fJ, source: a, grade: fitted}", Quantity(7e-4, "pJ", "a", "fitted")),
        ("{grade: derived, source: a, unit: nJ, value: 1}", Quantity(1e3, "pJ", "a", "derived")),
    ],
)
def test_a_field_converts_to_its_own_unit(written: str, expected: Quantity) -> None:
    small = load(MINIMAL, Study, overrides=[f"accelerators.small.energy={written}"])
    chip = small.value.accelerators["small"]
    assert isinstance(chip, Systolic)
    assert chip.energy == expected


@pytest.mark.parametrize(
    ("written", "value", "unit"), [("1, unit: mm2", 1e6, "um2"), ("2, unit: kGE", 2000.0, "GE")]
)
def test_a_field_of_two_dimensions_takes_both(written: str, value: float, unit: str) -> None:
    text = f"accelerators.small.area={{value: {written}, source: a, grade: assumed}}"
    chip = load(MINIMAL, Study, overrides=[text]).value.accelerators["small"]
    assert isinstance(chip, Systolic)
    assert chip.area == Quantity(value, unit, "a", "assumed")
