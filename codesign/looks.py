"""Watching a campaign: when to look, what may be said then, and whether it is enough.

An interval for a fixed number of trials, looked at again and again until it is narrow, covers less
than it says. The interval of this module holds at all looks together, for every distribution
within the bounds, also for what no trial has shown yet: with 95 %, the chance that it misses the
mean at any look is at most 5 %. It is the interval to report when a campaign stopped by it.

**How.** Bets (Waudby-Smith and Ramdas, JRSS B 2024): somebody who doubts that the mean is m stakes
some of a capital on every next trial being above it, at odds that are fair if m is the mean. A
fair game multiplies a capital by 2 / (1 − level) at any time with a probability of at most
(1 − level) / 2 (Ville 1939); so every m against which it has happened is out. One gambler bets for
each planned look, with the stakes that are best if trials go on spreading as they did up to then,
once boldly and once with caution; together they share the capital.

Extending a campaign beyond its last look is a new plan: what the old and the new one say holds at
the level of each, not of both together.

It is never narrower than about 5 / trials of the range, because trials that were not run may be
catastrophes: with 95 %, a hundred trials rule out no catastrophe rarer than one in twenty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codesign.errors import DataError
from codesign.intervals import Interval, checked_trials

__all__ = ["interval_at_look", "log_capital", "narrow_enough", "planned_looks", "stakes"]

# Largest share of the capital at stake: nearly equal trials want all of it, one zero among them
# then costs nearly all. In simulations of seven kinds of trials the pair came out at most 11 %
# wider than the better of the two, which was 1.6 times as wide as the other or less.
LARGEST_STAKES = (0.5, 0.95)
HALVINGS = 30  # of [0, 1], so that the ends are exact to 1e-9 of the range


def planned_looks(first: int, last: int, factor: float = 2.0) -> tuple[int, ...]:
    """Numbers of trials after which to look, fixed before the first trial runs.

    Args:
        first: Trials before the first look.
        last: Trials at most.
        factor: From one look to the next; above 1.

    Raises:
        DataError: No such row of numbers.

    >>> planned_looks(100, 1000)
    (100, 200, 400, 800, 1000)
    """
    if not (1 <= first <= last and factor > 1.0 and math.isfinite(factor)):
        raise DataError(
            f"planned_looks: first={first}, last={last}, factor={factor}; expected"
            " 1 <= first <= last and a factor above 1"
        )
    looks = [first]
    while looks[-1] < last:
        looks.append(min(last, math.ceil(looks[-1] * factor)))
    return tuple(looks)


def interval_at_look(
    x: ArrayLike,
    looks: Sequence[int] | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """Interval of a mean that covers it at all looks together.

    Args:
        x: ``[trials]``, one number per trial, in index order, up to one of the looks.
        looks: All planned looks; without them this is the only one.
        level: Confidence, in (0, 1).
        bounds: Smallest and largest value that a trial can have.

    Raises:
        DataError: As many trials are no planned look, or a trial is not within the bounds.

    >>> alike = interval_at_look([0.9] * 400)
    >>> round(alike.low, 3), round(alike.high, 3)
    (0.89, 0.903)
    """
    x = checked_trials("interval_at_look", x, level, bounds)
    looks = (x.size,) if looks is None else tuple(looks)
    if x.size not in looks:
        raise DataError(
            f"interval_at_look: {x.size} trials are none of the planned looks"
            f" {', '.join(map(str, looks))}; wait for the next one"
        )
    lowest, width = bounds[0], bounds[1] - bounds[0]
    scaled = (x - lowest) / width
    ends = _lower_end(scaled, looks, level), 1.0 - _lower_end(1.0 - scaled, looks, level)
    low, high = (lowest + width * end for end in ends)
    method = "betting" if len(looks) == 1 else f"betting, {len(looks)} looks"
    return Interval(float(x.mean()), low, high, level, x.size, method)


def narrow_enough(
    x: ArrayLike,
    half_width: float,
    looks: Sequence[int],
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> bool:
    """Whether a campaign may stop at this look: its `interval_at_look` is as narrow as asked.

    Raises:
        DataError: The half width is not positive; or as for `interval_at_look`.

    >>> narrow_enough([0.9] * 400, 0.01, looks=(100, 200, 400))
    True
    """
    if not half_width > 0.0:
        raise DataError(f"narrow_enough: half_width={half_width} is not above 0")
    return interval_at_look(x, looks, level, bounds).half_width <= half_width


def stakes(
    x: NDArray[np.float64], looks: Sequence[int], level: float = 0.95
) -> NDArray[np.float64]:
    """What each look's gambler stakes on each trial, before largest stakes cut it.

    The best stake if all trials up to the look spread as those before this one did: of the trial
    itself and of later ones it knows nothing, or the game would not be fair.

    Args:
        x: ``[trials]``, in [0, 1].
        looks: Planned looks.
        level: Confidence, in (0, 1).

    Returns:
        ``[looks, trials]``, gain per unit that a trial lies above the doubted mean.
    """
    known = np.arange(2, x.size + 2)  # one imagined trial first: 1/2, with a variance of 1/4
    means = (0.5 + np.cumsum(x)) / known
    variances = (0.25 + np.cumsum((x - means) ** 2)) / known
    before = np.append(0.25, variances[:-1])
    return np.sqrt(2 * _needed(looks, level) / (np.array(looks)[:, None] * before))


def log_capital(x: NDArray[np.float64], mean: float, staked: NDArray[np.float64]) -> float:
    """Logarithm of what all gamblers have after all trials, each having begun with 1.

    Falls as ``mean`` rises. If ``mean`` is the mean of the trials, the expected capital is what
    they began with: as many as there are looks and largest stakes.

    Args:
        x: ``[trials]``, in [0, 1].
        mean: The mean that they doubt and believe to be higher, in (0, 1].
        staked: ``[looks, trials]``, from `stakes`.
    """
    capitals = [
        np.log1p(np.minimum(staked, largest / mean) * (x - mean)).sum(axis=1)
        for largest in LARGEST_STAKES
    ]
    return float(np.logaddexp.reduce(np.concatenate(capitals)))


def _needed(looks: Sequence[int], level: float) -> float:
    """Logarithm of the capital of all gamblers at which a mean is out."""
    return math.log(2 / (1 - level)) + math.log(len(looks) * len(LARGEST_STAKES))


def _lower_end(x: NDArray[np.float64], looks: Sequence[int], level: float) -> float:
    """Largest mean in [0, mean of x] that the bets on higher ones have ruled out."""
    needed, staked = _needed(looks, level), stakes(x, looks, level)
    out, possible = 0.0, float(x.mean())
    if possible == 0.0:
        return 0.0
    for _ in range(HALVINGS):
        mean = (out + possible) / 2
        if log_capital(x, mean, staked) >= needed:
            out = mean
        else:
            possible = mean
    return out
