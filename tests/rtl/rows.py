"""One line of the judge: what became of one site class of one vector file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Row", "check_counts"]


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


def check_counts(data: Mapping[str, Any], names: tuple[str, ...], ends: str = "") -> None:
    """Refuse a file whose arrays are not of as many faults: a fault would be judged by halves.

    Args:
        data: The file.
        names: Of arrays with an entry for each fault; those that are not there are left out.
        ends: Name of an array with one more, where each fault's rows begin and the last ones end.

    Raises:
        ValueError: They disagree.
    """
    counts = {name: len(data[name]) for name in names if name in data}
    if ends in data:
        counts[ends] = len(data[ends]) - 1
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"arrays of different numbers of faults: {said}")
