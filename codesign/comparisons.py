"""Comparisons of two designs, or of many: in pairs where both met the same faults."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codesign.errors import DataError
from codesign.intervals import (
    RESAMPLES,
    SAME,
    Interval,
    checked_trials,
    mean_interval,
    resample_chunks,
)

__all__ = ["holm", "paired_difference", "paired_p_value", "unpaired_difference"]


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
    trials: tuple[ArrayLike, ArrayLike] | None = None,
) -> Interval:
    """Interval of mean(a) − mean(b) where both met the same faults, trial by trial.

    Args:
        a: ``[trials]``, one number per trial.
        b: ``[trials]``, of the same trials.
        level: Confidence, in (0, 1).
        bounds: Smallest and largest value that a trial can have, in ``a`` and in ``b``.
        trials: Indices of the trials of ``a`` and of ``b``; without them both are in one order.

    Raises:
        DataError: The trials of ``a`` are not those of ``b``.

    >>> paired_difference([0.5, 0.75], [0.25, 0.5], trials=([4, 2], [2, 4])).value
    0.25
    """
    difference = _paired("paired_difference", a, b, level, bounds, trials)
    width = bounds[1] - bounds[0]
    return mean_interval(difference, level, (-width, width))


def unpaired_difference(
    a: ArrayLike,
    b: ArrayLike,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """Interval of mean(a) − mean(b) where the two met different faults.

    Square and add (Newcombe 1998; Zou and Donner 2008): an end of the difference lies as far out
    as the two ends that could cause it, added as squares. It keeps both intervals lopsided as they
    are, and holds where one of the two never varied.
    """
    one, other = (mean_interval(x, level, bounds) for x in (a, b))
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    methods = " and ".join(dict.fromkeys((one.method, other.method)))
    method = f"unpaired, square and add ({methods})"
    return Interval(value, low, high, level, min(one.n, other.n), method)


def paired_p_value(
    a: ArrayLike,
    b: ArrayLike,
    trials: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> float:
    """Chance of a mean difference this large, either way, if nothing told ``a`` from ``b``.

    A permutation test: each trial's two numbers are exchanged or not, 9999 times over. With
    several comparisons, give all their values to `holm`.

    Raises:
        DataError: The trials of ``a`` are not those of ``b``.

    >>> paired_p_value([0.5, 0.6], [0.5, 0.6])
    1.0
    """
    difference = _paired("paired_p_value", a, b, 0.95, (-math.inf, math.inf), trials)
    sizes, counts = np.unique(np.abs(difference), return_counts=True)
    limit = abs(difference.sum()) - SAME * np.abs(difference).sum()
    rng = np.random.default_rng(seed)
    as_large = 0
    for rows in resample_chunks(sizes.size):
        kept = rng.binomial(counts, 0.5, (rows, sizes.size))
        as_large += int((np.abs((2 * kept - counts) @ sizes) >= limit).sum())
    return (1 + as_large) / (1 + RESAMPLES)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values so that the chance of any false finding among them stays below the level.

    Args:
        p_values: ``[comparisons]``, in any order.

    Returns:
        ``[comparisons]``, in the same order, to be compared with the level, for example 0.05.

    Raises:
        DataError: A value is no probability.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError(f"holm: expected a row of probabilities, got {p_values!r}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return np.minimum(adjusted, 1.0)


def _paired(
    where: str,
    a: ArrayLike,
    b: ArrayLike,
    level: float,
    bounds: tuple[float, float],
    trials: tuple[ArrayLike, ArrayLike] | None,
) -> NDArray[np.float64]:
    """Differences of equal trials, in the order of their indices."""
    one, other = (checked_trials(where, x, level, bounds) for x in (a, b))
    given = (np.arange(one.size), np.arange(other.size)) if trials is None else trials
    one_order, one_trials = _sorted_trials(where, "a", one.size, given[0])
    other_order, other_trials = _sorted_trials(where, "b", other.size, given[1])
    lonely = np.setxor1d(one_trials, other_trials)
    if lonely.size:
        raise DataError(
            f"{where}: a has {one.size} trials and b {other.size}, and {lonely.size} stand in one"
            f" alone (the first is trial {lonely[0]}); pair equal trials, or use"
            " unpaired_difference if the faults were different ones"
        )
    return one[one_order] - other[other_order]


def _sorted_trials(
    where: str, side: str, size: int, trials: ArrayLike
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """The order that sorts the trials, and their indices in that order."""
    indices = np.asarray(trials, dtype=np.int64)
    if indices.shape != (size,) or np.unique(indices).size != size:
        raise DataError(f"{where}: {side} has {size} values; name the trial of each, each once")
    order = np.argsort(indices)
    return order, indices[order]
