"""A small configuration with every type of field, for the tests of the strict loader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codesign.errors import StudyError
from codesign.schema import Quantity, Table, spec


@dataclass(frozen=True)
class Systolic:
    """A grid of processing elements."""

    kind: Literal["systolic"]
    rows: int = spec(low=1, high=1024, doc="rows of the array")
    energy: Quantity = spec(unit="pJ", above=0, doc="energy of one multiply")
    overflow: Literal["wrap", "saturate"] = spec(default="wrap", doc="what a full register does")
    area: Quantity | None = spec(default=None, unit=("um2", "GE"), doc="area of the array")


@dataclass(frozen=True)
class CoreArray:
    """Cores on a mesh.

    Attributes:
        kind: The family.
        mesh: Rows and columns of
            the mesh.
        gains: One factor for each core, or infinity.
    """

    kind: Literal["core_array"]
    mesh: tuple[int, int]
    gains: tuple[float, ...] = spec(default=(), non_finite=True)

    def __post_init__(self) -> None:
        if self.mesh[0] * self.mesh[1] > 128:
            raise ValueError(f"a mesh of {self.mesh[0]} x {self.mesh[1]} has more than 128 cores")


@dataclass(frozen=True)
class Strike:
    """One kind of fault."""

    model: str = spec(choices=("flip", "stuck"), doc="what happens")
    rate: float = spec(low=0, high=1, doc="probability per bit")
    bits: tuple[int, ...] = spec(default=(), low=0, doc="which bits")

    def __post_init__(self) -> None:
        if self.model == "flip" and self.rate == 1:
            raise StudyError("rate=1 flips every bit")


@dataclass(frozen=True)
class Effort:
    """How much to do."""

    trials: int = spec(default=100, low=1, doc="fault draws")
    half_width: float | None = spec(default=None, above=0, below=1, doc="stop when this narrow")
    batch: int | Literal["auto"] = spec(default="auto", low=1, doc="trials at once")


@dataclass(frozen=True)
class Model:
    """A part with arguments that are checked later."""

    use: str = spec(doc="its path")
    arguments: Table = spec(rest=True, doc="its arguments")


@dataclass(frozen=True)
class Study:
    """All of it."""

    name: str = spec(non_empty=True, doc="what to call it")
    accelerators: dict[str, Systolic | CoreArray] = spec(non_empty=True, doc="the chips")
    faults: tuple[Strike, ...] = spec(default=(), doc="the faults")
    effort: Effort = spec(default=Effort(), doc="how much to do")
    weights: Path | None = spec(default=None, exists=True, doc="trained weights")
    network: Model | None = spec(default=None, doc="the network")
    resume: bool = spec(default=False, doc="go on where it stopped")
    notes: tuple[str, ...] = spec(default=(), doc="remarks")


MINIMAL = """\
name: first
accelerators:
  small:
    kind: systolic
    rows: 8
    energy: {value: 0.2, unit: pJ, source: "Horowitz 2014", grade: published}
"""
