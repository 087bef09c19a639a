"""Bit comparison: engines against whole forward passes, fault by fault."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Equality", "compare"]


@dataclass(frozen=True)
class Equality:
    """How many faults were compared and how many agreed in every output of every sample."""

    checked: int = 0
    equal: int = 0

    def __add__(self, other: Equality) -> Equality:
        return Equality(self.checked + other.checked, self.equal + other.equal)


def compare(found: NDArray[np.int64], wanted: NDArray[np.int64]) -> Equality:
    """Compare the faults that both have; both begin with the same one.

    >>> compare(np.array([[[1]], [[2]]]), np.array([[[1]], [[3]], [[4]]]))
    Equality(checked=2, equal=1)
    """
    both = min(len(found), len(wanted))
    same = (found[:both] == wanted[:both]).reshape(both, -1).all(1)
    return Equality(both, int(same.sum()))
