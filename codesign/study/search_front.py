"""What is best when several things are wanted: Pareto fronts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["non_dominated", "spread_out"]


def non_dominated(values: Sequence[Sequence[float]], ways: Sequence[str]) -> list[bool]:
    """Which points no other point dominates: is as good in all and better in one objective.

    Equal points do not dominate one another. Exact; compares every pair.

    Args:
        values: ``[points][objectives]``.
        ways: ``max`` or ``min`` for each objective.

    >>> non_dominated([(0.9, 5), (0.8, 4), (0.8, 5), (0.9, 5)], ["max", "min"])
    [True, True, False, True]
    """
    losses = _losses(values, ways)
    no_worse = (losses[:, None] <= losses[None, :]).all(axis=2)
    better = (losses[:, None] < losses[None, :]).any(axis=2)
    dominated: NDArray[np.bool_] = np.any(no_worse & better, axis=0)
    return [not worse for worse in dominated.tolist()]


def spread_out(values: Sequence[Sequence[float]], ways: Sequence[str], most: int) -> list[int]:
    """Points that stand for a front: the best in each objective, then the farthest from these.

    Distances are Euclidean, each objective over its range; of equal points the first stands for
    all.

    Args:
        values: ``[points][objectives]`` of the front alone.
        ways: ``max`` or ``min`` for each objective.
        most: How many, at most.

    Returns:
        Numbers of the points, in the order chosen.

    >>> spread_out([(1.0, 10), (0.8, 6), (0.5, 5), (0.4, 1)], ["max", "min"], 3)
    [0, 3, 1]
    """
    losses = _losses(values, ways)
    if not len(losses):
        return []
    _, first = np.unique(losses, axis=0, return_index=True)
    left = sorted(first.tolist())
    span = np.ptp(losses, axis=0)
    scaled = losses / np.where(span > 0, span, 1.0)
    chosen: list[int] = []
    for objective in range(losses.shape[1]):
        # Of those that are best in it, the one that is best in the others.
        rest = scaled.sum(axis=1)
        best = min(left, key=lambda i: (losses[i, objective], rest[i], i))
        if best not in chosen:
            chosen.append(best)
    while len(chosen) < min(most, len(left)):
        near = {i: min(_distance(scaled, i, j) for j in chosen) for i in left if i not in chosen}
        chosen.append(max(near, key=lambda i: (near[i], -i)))
    return chosen[:most]


def _losses(values: Sequence[Sequence[float]], ways: Sequence[str]) -> NDArray[np.float64]:
    """``[points, objectives]``, less is better in all."""
    signs = [{"max": -1.0, "min": 1.0}[way] for way in ways]
    return np.asarray(values, dtype=np.float64).reshape(-1, len(ways)) * signs


def _distance(points: NDArray[np.float64], i: int, j: int) -> float:
    return float(np.linalg.norm(points[i] - points[j]))
