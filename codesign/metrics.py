"""What faults cost, as numbers with intervals: SDC rate, resiliency accuracy, AVF, FIT.

Also the weights of importance sampling, which trials carry to the end, and how many trials a
wanted error takes. The intervals themselves are in `codesign.intervals`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codesign.errors import DataError
from codesign.intervals import (
    SAME,
    Interval,
    checked_trials,
    function_interval,
    mean_interval,
    unseen_bounds,
)

__all__ = [
    "accuracies",
    "avf",
    "effective_sample_size",
    "fit",
    "importance_weights",
    "resiliency_accuracy",
    "sample_size",
    "sdc_rate",
    "total",
    "weighted_mean_interval",
]

BITS_PER_MBIT = 1_000_000  # IEC 80000-13: M is 10^6; a figure per Mibit is 4.9 % higher
WHOLE = 1e-9  # how far probabilities may be from adding up to 1


def accuracies(predictions: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Share of samples that each trial classified as their labels say.

    Args:
        predictions: ``[trials, samples]``, classes; a value that is no class is wrong.
        labels: ``[samples]``.

    Returns:
        ``[trials]``, in [0, 1].

    Raises:
        DataError: The shapes do not match, or there is no sample.

    >>> accuracies([[3, 1], [3, 2]], [3, 1]).tolist()
    [1.0, 0.5]
    """
    guesses, truths = np.asarray(predictions), np.asarray(labels)
    if guesses.ndim != 2 or guesses.shape[1:] != truths.shape or truths.size == 0:
        raise DataError(
            f"accuracies: predictions {guesses.shape} are not [trials, samples]"
            f" of labels {truths.shape}"
        )
    return (guesses == truths).mean(axis=1)


def sdc_rate(
    sdc: ArrayLike, weights: ArrayLike | None = None, level: float = 0.95, seed: int = 0
) -> Interval:
    """Share of inferences whose prediction is silently not the golden one.

    Args:
        sdc: ``[trials, samples]``, whether it was so. Samples of one trial met the same faults, so
            the interval is over trials.
        weights: ``[trials]``, if the faults were not drawn as they occur.
        level: Confidence, in (0, 1).
        seed: Of the resampling.

    >>> sdc_rate([[True, False], [False, False]]).value
    0.25
    """
    outcomes = np.asarray(sdc)
    if outcomes.ndim != 2 or outcomes.dtype != bool or outcomes.shape[1] == 0:
        raise DataError(
            f"sdc_rate: expected booleans [trials, samples], got {outcomes.dtype} {outcomes.shape}"
        )
    return _mean(outcomes.mean(axis=1), weights, level, seed)


def resiliency_accuracy(
    accuracy: ArrayLike,
    weights: ArrayLike | None = None,
    masked_share: float = 0.0,
    golden_accuracy: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean accuracy given that one fault has struck somewhere in the hardware.

    RA = masked_share · golden_accuracy + (1 − masked_share) · mean accuracy of the trials, where
    trials are faults drawn from those that were not proven masked (a register that holds nothing
    or nothing that is used again), uniformly over hardware sites and cycles, or otherwise and with
    weights. Drawing tensor elements uniformly gives another number, and not this one.

    Args:
        accuracy: ``[trials]``, each of one fault, in [0, 1].
        weights: ``[trials]``, probability of the fault over the probability of drawing it.
        masked_share: Probability that a fault is one of those that were not drawn.
        golden_accuracy: Accuracy without faults; needed if some were not drawn.
        level: Confidence, in (0, 1).
        seed: Of the resampling.

    Source: the term is from Tyagi et al., arXiv 2212.02649; the formula is the definition.

    >>> resiliency_accuracy([0.5, 0.7], masked_share=0.75, golden_accuracy=1.0).value
    0.9
    """
    if not 0.0 <= masked_share <= 1.0:
        raise DataError(f"resiliency_accuracy: masked_share={masked_share} is not in [0, 1]")
    if masked_share > 0.0 and golden_accuracy is None:
        raise DataError("resiliency_accuracy: masked faults need golden_accuracy")
    found = _mean(accuracy, weights, level, seed)
    return _moved(found, masked_share * (golden_accuracy or 0.0), 1.0 - masked_share)


def avf(
    changed: ArrayLike, weights: ArrayLike | None = None, level: float = 0.95, seed: int = 0
) -> Interval:
    """Architectural vulnerability factor: share of sites × cycles whose fault changes the outcome.

    Args:
        changed: ``[trials]``, each of one fault; whether the outcome changed, or in what share of
            its inferences.
        weights: ``[trials]``, if faults were not drawn uniformly over sites and cycles.
        level: Confidence, in (0, 1).
        seed: Of the resampling.

    Source: Mukherjee et al., MICRO-36, 2003. If every site and cycle was tried, it is
    ``Interval.exact(changed / tried, tried)``.

    >>> avf([1, 0, 0, 0]).value
    0.25
    """
    return _mean(np.asarray(changed, dtype=np.float64), weights, level, seed)


def fit(raw_fit_per_mbit: float, bits: int, vulnerability: Interval) -> Interval:
    """Failures per 10^9 hours of a component: how often it is struck, times how often that counts.

    Args:
        raw_fit_per_mbit: Upsets per 10^9 hours in 10^6 bits.
        bits: Size of the component.
        vulnerability: Its AVF.

    Raises:
        DataError: A negative rate or size.

    >>> fit(600.0, 2_000_000, Interval.exact(0.25, 8)).value
    300.0
    """
    if not (0.0 <= raw_fit_per_mbit < math.inf and bits >= 0):
        raise DataError(f"fit: {raw_fit_per_mbit} FIT per Mbit of {bits} bits is no rate")
    return _moved(vulnerability, 0.0, raw_fit_per_mbit * bits / BITS_PER_MBIT)


def total(parts: Iterable[Interval]) -> Interval:
    """Sum of independent estimates, for example the FIT of all components of a chip.

    Square and add (Zou and Donner 2008): distances of the ends from the values add as squares.

    Raises:
        DataError: Nothing to add, or intervals of different levels.

    >>> both = total([Interval(2, 1, 5, 0.95, 9, "a"), Interval(3, 3, 7, 0.95, 9, "a")])
    >>> both.value, both.low, both.high
    (5, 4.0, 10.0)
    """
    items = list(parts)
    sampled = [part for part in items if part.level < 1.0] or items
    if not items or len({part.level for part in sampled}) > 1:
        raise DataError(
            f"total: expected intervals of one level, got {[part.level for part in items]}"
        )
    value = sum(part.value for part in items)
    low = value - math.hypot(*(part.value - part.low for part in items))
    high = value + math.hypot(*(part.high - part.value for part in items))
    methods = " and ".join(dict.fromkeys(part.method for part in sampled))
    fewest = min(part.n for part in sampled)
    return Interval(value, low, high, sampled[0].level, fewest, f"sum, square and add ({methods})")


def importance_weights(target: ArrayLike, proposal: ArrayLike) -> NDArray[np.float64]:
    """Weight of each case that is drawn with another probability than it has.

    Args:
        target: ``[cases]``, probabilities with which faults occur.
        proposal: ``[cases]``, probabilities with which they are drawn.

    Returns:
        ``[cases]``, target / proposal; 0 for what can be neither.

    Raises:
        DataError: They are not probabilities of the same cases, or a case that can occur is never
            drawn, so that no weight could make up for it.

    >>> importance_weights([0.5, 0.5, 0.0], [0.25, 0.75, 0.0]).round(3).tolist()
    [2.0, 0.667, 0.0]
    """
    p, q = (np.asarray(x, dtype=np.float64) for x in (target, proposal))
    for name, x in (("target", p), ("proposal", q)):
        if x.ndim != 1 or not (x >= 0).all() or abs(x.sum() - 1) > WHOLE:
            raise DataError(f"importance_weights: the {name} is not probabilities that add up to 1")
    if p.shape != q.shape:
        raise DataError(f"importance_weights: {p.size} cases occur, {q.size} are drawn")
    never = np.flatnonzero((p > 0) & (q == 0))
    if never.size:
        raise DataError(
            f"importance_weights: case {never[0]} occurs with probability {p[never[0]]} and is"
            f" never drawn ({never.size} such cases); give each a share, however small"
        )
    return np.divide(p, q, out=np.zeros_like(p), where=q > 0)


def effective_sample_size(weights: ArrayLike) -> float:
    """How many equal weights would leave an average as uncertain: (Σw)² / Σw² (Kish 1965).

    Raises:
        DataError: A weight is negative or no number, or all are 0.

    >>> effective_sample_size([1, 1, 1, 1]), effective_sample_size([3, 1])
    (4.0, 1.6)
    """
    w = _checked_weights(weights)
    return float(w.sum() ** 2 / (w**2).sum())


def weighted_mean_interval(
    x: ArrayLike,
    weights: ArrayLike,
    self_normalised: bool = True,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
) -> Interval:
    """Interval of a mean over faults as they occur, from trials that drew them otherwise.

    Self-normalised, Σwx / Σw: within the bounds, right for weights known up to a factor, biased by
    about 1 / trials. Not, Σwx / trials: unbiased with `importance_weights`, may leave the bounds,
    and is the narrower one for losses, most of which are 0, but not for accuracies. The effective
    sample size stands in ``method``: when it is small, a few trials decide, and the interval is
    too narrow without showing it.

    Args:
        x: ``[trials]``, one number per trial.
        weights: ``[trials]``, of the faults that were drawn.
        self_normalised: Which of the two.
        level: Confidence, in (0, 1).
        bounds: Smallest and largest value that a trial can have.
        seed: Of the resampling.

    Raises:
        DataError: As for `mean_interval`, or weights that are none.

    >>> weighted_mean_interval([1.0, 0.0], [1.0, 3.0]).value
    0.25
    """
    x, w = checked_trials("weighted_mean_interval", x, level, bounds), _checked_weights(weights)
    if x.shape != w.shape:
        raise DataError(f"weighted_mean_interval: {x.size} trials have {w.size} weights")
    if np.ptp(w) == 0.0 and (self_normalised or w[0] == 1.0):
        return mean_interval(x, level, bounds, seed)
    trials, size = x.size, effective_sample_size(w)
    if self_normalised:
        # Trials without weight are in neither sum; a resample of them alone would be 0 / 0.
        x, w = x[w > 0], w[w > 0]
    told = x if self_normalised else w * x
    if np.ptp(told) <= SAME * (bounds[1] - bounds[0]):
        low, high = unseen_bounds(float(told[0]), size, level, bounds)
        method = "approximate bound, all trials equal"
        found = Interval(float(told[0]), low, high, level, trials, method)
    elif self_normalised:
        columns = np.stack([w * x, w], axis=1)
        found = function_interval(columns, lambda m: m[..., 0] / m[..., 1], level, seed)
        found = replace(found, low=max(found.low, bounds[0]), high=min(found.high, bounds[1]))
    else:
        found = function_interval(told[:, None], lambda m: m[..., 0], level, seed)
    return replace(found, n=trials, method=f"{found.method}, weighted, effective size {size:.1f}")


def sample_size(
    population: float = math.inf, e: float = 0.01, t: float = 2.58, p: float = 0.5
) -> int:
    """Trials of one fault that estimate a share within ± e: what is usually asked for beforehand.

    Args:
        population: How many different faults there are; infinite if drawn with replacement.
        e: Half width wanted.
        t: Quantile of the normal distribution: 1.96 for 95 %, 2.58 for 99 %.
        p: The share expected; 0.5 is the worst.

    Raises:
        DataError: A number that is none of these.

    Source: Leveugle, Calvez, Maistri, Vanhauwaert: Statistical fault injection: quantified error
    and confidence. DATE 2009.

    >>> sample_size(10_000), sample_size()
    (6247, 16641)
    """
    if not (population >= 1 and 0.0 < e < 1.0 and t > 0.0 and 0.0 < p < 1.0):
        raise DataError(
            f"sample_size: population={population}, e={e}, t={t}, p={p}; expected at least one"
            " fault, an error and a share between 0 and 1, and a quantile above 0"
        )
    endless = t * t * p * (1 - p) / (e * e)
    trials = endless if math.isinf(population) else population / (1 + (population - 1) / endless)
    return math.ceil(round(trials, 6))  # 1600.0000000000002 trials are 1600


def _mean(x: ArrayLike, weights: ArrayLike | None, level: float, seed: int) -> Interval:
    if weights is None:
        return mean_interval(x, level, seed=seed)
    return weighted_mean_interval(x, weights, level=level, seed=seed)


def _moved(found: Interval, offset: float, factor: float) -> Interval:
    """The interval of offset + factor · what was found; the factor is not negative."""
    value, low, high = (offset + factor * end for end in (found.value, found.low, found.high))
    return replace(found, value=value, low=low, high=high)


def _checked_weights(weights: ArrayLike) -> NDArray[np.float64]:
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 1 or not (np.isfinite(w) & (w >= 0)).all() or not w.any():
        raise DataError(
            "weights: expected one per trial, none negative or infinite, and not all 0; an"
            " infinite one belongs to a fault that was drawn although it never is"
        )
    return w
