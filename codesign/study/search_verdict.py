"""Whether found designs win over hand-made ones, trial by trial, at no more cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codesign.comparisons import paired_difference, unpaired_difference
from codesign.intervals import Interval

__all__ = ["Contender", "Duel", "duels", "spoken", "verdict"]

SAME_COST = 1e-9  # of the larger: sums of energies differ by rounding
ERROR = 0.05  # chance of any false difference among all duels together
Outcome = Literal["beats", "matches", "neither"]
OUTCOMES: tuple[Outcome, ...] = ("beats", "matches", "neither")


@dataclass(frozen=True, eq=False)
class Contender:
    """A design with what was measured of it.

    Attributes:
        name: For people.
        accuracy: ``[trials]`` faulty accuracy, 0 to 1.
        costs: By name; less is better.
        strikes: Contenders that share it met the same faults, trial by trial.
    """

    name: str
    accuracy: NDArray[np.float64]
    costs: dict[str, float]
    strikes: str


@dataclass(frozen=True)
class Duel:
    """A found design against a hand-made one that costs at least as much in everything.

    Attributes:
        found: Name.
        hand_made: Name.
        gain: Accuracy of the found one minus the other's; all duels together at 95 % (Bonferroni).
        is_paired: Whether both met the same faults.
        outcome: ``beats``: surely more accurate; ``matches``: cheaper in something, and surely not
            worse by more than the margin; ``neither``.
    """

    found: str
    hand_made: str
    gain: Interval
    is_paired: bool
    outcome: Outcome

    def __str__(self) -> str:
        gain, pairs = self.gain, "paired" if self.is_paired else "unpaired"
        ends = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}, {pairs}"
        text = f"{self.found} against {self.hand_made}: {100 * gain.value:+.1f} points ({ends})"
        return f"{text}: {self.outcome}"


def duels(
    found: Sequence[Contender], hand_made: Sequence[Contender], margin: float
) -> tuple[Duel, ...]:
    """Every found design against every hand-made one that is not cheaper in anything.

    Args:
        found: Designs of the search.
        hand_made: Designs of people.
        margin: Accuracy that a cheaper design may lose and still match.
    """
    pairs = [(f, h) for f in found for h in hand_made if _costs_no_more(f, h)]
    level = 1 - ERROR / max(1, len(pairs))
    return tuple(_duel(one, other, margin, level) for one, other in pairs)


def verdict(
    fought: Sequence[Duel],
    found: Sequence[str],
    hand_made: Sequence[str],
    costs: Sequence[str],
    margin: float,
) -> str:
    """One sentence: how many hand-made designs are beaten, matched or neither.

    Args:
        fought: See `duels`.
        found: Names of the found designs.
        hand_made: Names of the hand-made designs.
        costs: Names of the costs.
        margin: As for `duels`.
    """
    if not found:
        return f"The search found no design to set against the {len(hand_made)} hand-made ones."
    beaten = _first(fought, "beats", hand_made)
    matched = [h for h in _first(fought, "matches", hand_made) if h not in beaten]
    spoken = " and ".join(cost.rpartition("_")[0] or cost for cost in costs)
    within = f"{100 * margin:g} point{'' if margin == 0.01 else 's'}"
    if not beaten and not matched:
        return (
            f"The search does not win: none of its {len(found)} designs beats any of the "
            f"{len(hand_made)} hand-made ones at no more {spoken}, nor matches one within {within} "
            "at less."
        )
    parts = []
    if beaten:
        best = max(beaten.values(), key=lambda duel: duel.gain.value)
        points = f"{100 * best.gain.value:+.1f} points"
        ends = f"{100 * best.gain.low:+.1f} to {100 * best.gain.high:+.1f}"
        parts.append(
            f"beat {len(beaten)} of {len(hand_made)} hand-made designs at no more {spoken} "
            f"(above all {best.hand_made}, by {best.found}: {points}, {ends})"
        )
    if matched:
        what = "more " if beaten else f"of {len(hand_made)} hand-made designs "
        parts.append(f"match {len(matched)} {what}within {within} at less cost")
    rest = len(hand_made) - len(beaten) - len(matched)
    tail = f"; {rest} stand unbeaten" if rest else ""
    return f"Found designs {' and '.join(parts)}{tail}."


def spoken(fought: Sequence[Duel], hand_made: Sequence[str]) -> list[str]:
    """For each hand-made design a line: the clearest duel against it, the best outcome first."""
    lines = []
    for name in hand_made:
        for outcome in OUTCOMES:
            clearest = _first(fought, outcome, [name])
            if clearest:
                lines.append(str(clearest[name]))
                break
        else:
            lines.append(f"{name}: every found design costs more in something")
    return lines


def _duel(one: Contender, other: Contender, margin: float, level: float) -> Duel:
    is_paired = one.strikes == other.strikes and len(one.accuracy) == len(other.accuracy)
    difference = paired_difference if is_paired else unpaired_difference
    gain = difference(one.accuracy, other.accuracy, level)
    outcome: Outcome = "neither"
    if gain.low > 0:
        outcome = "beats"
    elif gain.low > -margin and not _costs_no_more(other, one):
        outcome = "matches"
    return Duel(one.name, other.name, gain, is_paired, outcome)


def _costs_no_more(one: Contender, other: Contender) -> bool:
    return all(
        cost <= other.costs[name] + SAME_COST * max(abs(cost), abs(other.costs[name]))
        for name, cost in one.costs.items()
    )


def _first(fought: Sequence[Duel], outcome: Outcome, hand_made: Sequence[str]) -> dict[str, Duel]:
    """By hand-made design, its clearest duel of an outcome."""
    clearest: dict[str, Duel] = {}
    for name in hand_made:
        mine = [duel for duel in fought if duel.hand_made == name and duel.outcome == outcome]
        if mine:
            clearest[name] = max(mine, key=lambda duel: duel.gain.low)
    return clearest
