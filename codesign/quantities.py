"""Physical numbers: a value is worth nothing without its unit, its source and its grade."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, TypeAlias, get_args

from codesign.errors import StudyError, nearest

__all__ = ["GRADES", "Grade", "Quantity", "dimension", "units_like"]

Grade: TypeAlias = Literal["measured", "published", "simulated", "derived", "fitted", "assumed"]
GRADES: tuple[Grade, ...] = get_args(Grade)

# Unit: (dimension, power of ten of its base unit). Powers of ten only, so conversion is exact.
_UNITS = {
    "aJ": ("energy", -18),
    "fJ": ("energy", -15),
    "pJ": ("energy", -12),
    "nJ": ("energy", -9),
    "uJ": ("energy", -6),
    "mJ": ("energy", -3),
    "J": ("energy", 0),
    "nm2": ("area", -18),
    "um2": ("area", -12),
    "mm2": ("area", -6),
    "cm2": ("area", -4),
    "nm": ("length", -9),
    "um": ("length", -6),
    "mm": ("length", -3),
    "ps": ("time", -12),
    "ns": ("time", -9),
    "us": ("time", -6),
    "ms": ("time", -3),
    "s": ("time", 0),
    "nW": ("power", -9),
    "uW": ("power", -6),
    "mW": ("power", -3),
    "W": ("power", 0),
    "Hz": ("frequency", 0),
    "kHz": ("frequency", 3),
    "MHz": ("frequency", 6),
    "GHz": ("frequency", 9),
    "mV": ("voltage", -3),
    "V": ("voltage", 0),
    "degC": ("temperature", 0),
    "GE": ("gate equivalents", 0),  # area counted in two-input NAND gates
    "kGE": ("gate equivalents", 3),
    "FIT": ("failures in 1e9 hours", 0),
    "FIT/Mbit": ("failures in 1e9 hours per 2**20 bits", 0),
    "ratio": ("ratio", 0),
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A physical number.

    Attributes:
        value: The number, in ``unit``; finite.
        unit: One of the known units, for example ``pJ``.
        source: Where the number comes from: a key of the file's sources, or a citation.
        grade: How the source knows it; ``assumed`` is allowed, and printed as such.

    Raises:
        StudyError: The value is not finite, the unit or grade unknown, the source empty.

    >>> Quantity(0.2, "nJ", "Horowitz 2014", "published").to("pJ").value
    200.0
    """

    value: float
    unit: str
    source: str
    grade: Grade

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise StudyError(f"value: expected a finite number, came {self.value}")
        dimension(self.unit)
        if not self.source.strip():
            raise StudyError("source: expected where the number comes from, came nothing")
        if self.grade not in GRADES:
            grades = ", ".join(GRADES)
            raise StudyError(f"grade: expected one of {grades}, came {self.grade!r}")

    def to(self, unit: str) -> Quantity:
        """The same quantity in another unit of its dimension.

        The decimal point of the shortest decimal form of the value is moved, so nothing is lost.

        Raises:
            StudyError: The unit is unknown or measures something else.
        """
        from_dimension, from_power = _look_up(self.unit)
        to_dimension, to_power = _look_up(unit)
        if from_dimension != to_dimension:
            like = ", ".join(units_like(unit))
            raise StudyError(
                f"expected a unit of {to_dimension} ({like}), came {self.unit!r}, "
                f"a unit of {from_dimension}"
            )
        value = float(Decimal(repr(float(self.value))).scaleb(from_power - to_power))
        return replace(self, value=value, unit=unit)

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit} ({self.grade}: {self.source})"


def dimension(unit: str) -> str:
    """What a unit measures.

    Raises:
        StudyError: The unit is unknown.

    >>> dimension("um2")
    'area'
    """
    return _look_up(unit)[0]


def units_like(unit: str) -> tuple[str, ...]:
    """The units that a value in this unit can be written in, smallest first.

    >>> units_like("MHz")
    ('Hz', 'kHz', 'MHz', 'GHz')
    """
    kind = dimension(unit)
    return tuple(name for name, (other, _) in _UNITS.items() if other == kind)


def _look_up(unit: str) -> tuple[str, int]:
    if unit not in _UNITS:
        raise StudyError(f"unknown unit {unit!r}{nearest(unit, _UNITS)}")
    return _UNITS[unit]
