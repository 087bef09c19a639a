"""From stored trials to findings: intervals, paired gains, vulnerability by site.

Everything here is a function of rows, so an interrupted campaign concludes like a finished one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.comparisons import paired_difference, unpaired_difference
from codesign.intervals import Interval, mean_interval
from codesign.looks import interval_at_look
from codesign.study.campaign import Campaign
from codesign.study.findings import Point, Vulnerability
from codesign.study.rows import OUTCOMES, TrialRow

__all__ = ["Concluded", "failures", "points", "vulnerabilities"]


@dataclass(frozen=True, eq=False)
class Concluded:
    """A campaign with what is stored of it.

    Attributes:
        campaign: Its design, scenario and labels.
        rows: Stored trials in index order.
        golden_accuracy: Of the design, guards included, on the campaign's samples.
        target: Trials asked for.
        looks: Planned looks if the campaign may stop by width, else ().
        baseline: Name of the design that gains are against.
    """

    campaign: Campaign
    rows: tuple[TrialRow, ...]
    golden_accuracy: float
    target: int
    looks: tuple[int, ...] = ()
    baseline: str = ""

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """``[trials]`` faulty accuracy."""
        return np.array([row.correct / row.samples for row in self.rows])

    @property
    def label(self) -> tuple[str, float | None]:
        """(scenario, rate): what two designs must share to be compared."""
        labels = self.campaign.labels
        rate = labels["rate"]
        return str(labels["scenario"]), None if rate is None else float(str(rate))


def points(concluded: Sequence[Concluded]) -> tuple[Point, ...]:
    """One point for each campaign that has stored trials."""
    by_key = {(c.campaign.labels["design"], c.label): c for c in concluded if c.rows}
    found = []
    for one in concluded:
        if not one.rows:
            continue
        base = by_key.get((one.baseline, one.label))
        found.append(_point(one, base if base is not one else None))
    return tuple(found)


def _point(one: Concluded, base: Concluded | None) -> Point:
    accuracy = one.accuracy
    enough = len(one.rows) in one.looks
    interval = interval_at_look(accuracy, one.looks) if enough else mean_interval(accuracy)
    samples = sum(row.samples for row in one.rows)
    scenario, rate = one.label
    gain, unpaired = _gain(one, base)
    return Point(
        task=one.campaign.task.digest,
        design=str(one.campaign.labels["design"]),
        scenario=scenario,
        rate=rate,
        trials=len(one.rows),
        target=one.target,
        stopped=_stopped(one),
        samples=one.rows[0].samples,
        accuracy=interval,
        loss=_minus(one.golden_accuracy, interval),
        gain=gain,
        unpaired_gain=unpaired,
        shares={name: sum(getattr(r, name) for r in one.rows) / samples for name in OUTCOMES},
        drawn=sum(row.drawn for row in one.rows),
        idle=sum(row.proven for row in one.rows),
        collapsed=sum(row.collapsed for row in one.rows),
        could_act=sum(row.could_act > 0 for row in one.rows),
        acted=sum(row.acted > 0 for row in one.rows),
    )


def _gain(one: Concluded, base: Concluded | None) -> tuple[Interval | None, Interval | None]:
    """Accuracy gained over the baseline: paired where both met the same faults."""
    if base is None:
        return None, None
    mine = {row.trial: row for row in one.rows}
    theirs = {row.trial: row for row in base.rows}
    shared = sorted(mine.keys() & theirs.keys())
    a = np.array([mine[t].correct / mine[t].samples for t in shared])
    b = np.array([theirs[t].correct / theirs[t].samples for t in shared])
    if not shared:
        return None, None
    if one.campaign.strikes == base.campaign.strikes:
        if len(shared) in one.looks:  # the data decided when to stop, so a fixed number is no plan
            return interval_at_look(a - b, one.looks, bounds=(-1.0, 1.0)), None
        return paired_difference(a, b), None
    return None, unpaired_difference(a, b)


def _stopped(one: Concluded) -> str:
    if len(one.rows) >= one.target:
        return "effort"
    return "narrow" if len(one.rows) in one.looks else "interrupted"


def _minus(golden: float, accuracy: Interval) -> Interval:
    return Interval(
        golden - accuracy.value,
        golden - accuracy.high,
        golden - accuracy.low,
        accuracy.level,
        accuracy.n,
        accuracy.method,
    )


def vulnerabilities(concluded: Sequence[Concluded]) -> tuple[Vulnerability, ...]:
    """Mean loss of single faults by layer, bit, layer and bit, component, and instance."""
    found: list[Vulnerability] = []
    for one in concluded:
        if one.campaign.labels["rate"] is not None:
            continue  # a trial that happened to draw one fault at some rate is no such experiment
        groups: dict[tuple[str, str], list[float]] = {}
        for row in one.rows:
            site = json.loads(row.extra)
            if "site" not in site:
                continue
            loss = one.golden_accuracy - row.correct / row.samples
            for group_and_key in _groups(site):
                groups.setdefault(group_and_key, []).append(loss)
        for (group, key), losses in sorted(groups.items()):
            interval = mean_interval(np.array(losses), bounds=(-1.0, 1.0))
            labels = one.campaign.labels
            found.append(
                Vulnerability(
                    design=str(labels["design"]),
                    scenario=str(labels["scenario"]),
                    group=group,
                    key=key,
                    loss=interval,
                    trials=len(losses),
                )
            )
    return tuple(found)


def _groups(site: dict[str, object]) -> Iterable[tuple[str, str]]:
    bit = str(site["bit"])
    layers = site["layers"] if isinstance(site["layers"], list) else []
    yield "unit.component", str(site["unit"])
    yield "bit", f"{site['unit']}·{bit}"
    if isinstance(site["instance"], list) and len(site["instance"]) == 2:
        yield "instance", f"{site['unit']}·{','.join(map(str, site['instance']))}"
    for layer in layers:
        yield "layer", str(layer)
        yield "layer·bit", f"{layer}·{bit}"


def failures(concluded: Sequence[Concluded], chance: float) -> tuple[str, ...]:
    """Sentences about experiments that could not have shown anything."""
    found = []
    for one in concluded:
        if not one.rows:
            continue
        name = one.campaign.name
        if not any(row.drawn for row in one.rows):
            found.append(f"{name}: no fault was drawn in {len(one.rows)} trials; raise the rate")
        elif not any(row.could_act for row in one.rows):
            found.append(f"{name}: no drawn fault stood where this network's values pass")
        elif all(row.masked == row.samples for row in one.rows):
            found.append(f"{name}: every trial was masked; no output changed in any sample")
    golden = {str(c.campaign.labels["design"]): c.golden_accuracy for c in concluded}
    for design, accuracy in golden.items():
        if accuracy <= chance:
            found.append(
                f"{design}: golden accuracy {accuracy:.1%} is not above chance {chance:.1%}"
            )
    return tuple(found)
