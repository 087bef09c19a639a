"""One line of the judge: what became of one site class of one vector file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Row"]


@dataclass(frozen=True)
class Row:
    """Counts of the faults of one site class of one file.

    Attributes:
        file: Name of the vector file.
        site_class: As the file names the site.
        level: ``cycle``: the family's cycle model; ``effects``: footprint, effects, engine.
        equal: Predicted as in the RTL (a predicted hang included).
        different: Predicted otherwise.
        not_modelled: Outside of what is claimed.
        tile: Of the equal ones, those that needed a tile effect.
        unmasked: Of the equal and different ones, those where the RTL is not as without the fault.
        unmasked_equal: Of these, the equal ones.
    """

    file: str
    site_class: str
    level: Literal["cycle", "effects"]
    equal: int
    different: int
    not_modelled: int
    tile: int
    unmasked: int
    unmasked_equal: int
