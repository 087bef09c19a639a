"""What single faults cost a design, trial by trial, and which guards stand in their way.

Only the losses are measured. What a fault touches is its footprint, made again from its draw, and
whether a guard meets it is read from the two: no trial is run here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codesign.design import Design
from codesign.effects import At, Kind, box, corrupt
from codesign.guards import Clamp, Correct, Guard, Recompute, Replace
from codesign.intervals import Interval, mean_interval
from codesign.network import Conv2d, Linear
from codesign.study.campaign import Campaign
from codesign.study.rows import TrialRow

__all__ = ["Evidence", "Line", "covered", "line_of", "removed"]

CHUNK = 100
Line = tuple[str, tuple[int, ...]]
"""A unit, and what `codesign.mapping.Placement.forbidden` must name to leave a line of it out."""

PLACES = {
    (Kind.operand, At.weight): "weight",
    (Kind.operand, At.input): "input",
    (Kind.activation, At.stored): "activation",
    (Kind.state, At.cell): "membrane",
    (Kind.state, At.read): "membrane",
    (Kind.state, At.write): "membrane",
}


@dataclass(frozen=True, eq=False)
class Evidence:
    """A campaign of single faults, with what is stored of it.

    Attributes:
        campaign: Of an unprotected design.
        rows: Stored trials.
        golden: Accuracy without faults.
    """

    campaign: Campaign
    rows: tuple[TrialRow, ...]
    golden: float

    @property
    def design(self) -> Design:
        """Who was struck."""
        return self.campaign.design

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """``[trials]`` accuracy lost."""
        return np.array([self.golden - row.correct / row.samples for row in self.rows])

    @cached_property
    def effects(self) -> tuple[NDArray[np.void], ...]:
        """For each trial, the effects of its fault."""
        found: list[NDArray[np.void]] = []
        campaign, samples = self.campaign, len(self.campaign.samples)
        for start in range(0, len(self.rows), CHUNK):
            trials = [row.trial for row in self.rows[start : start + CHUNK]]
            faults = campaign.scenario.draw(campaign.design, trials, campaign.seed, samples)
            effects = campaign.design.mapping.footprint(faults, samples).effects
            found += [effects.of_trial(i) for i in range(len(trials))]
        return tuple(found)

    @cached_property
    def places(self) -> tuple[frozenset[tuple[str, str]], ...]:
        """For each trial, the (place, layer)s that its fault corrupts."""
        layers = self.design.network.layers
        return tuple(
            frozenset((_place(row), layers[int(row["layer"])].name) for row in rows)
            for rows in self.effects
        )

    @cached_property
    def lines(self) -> tuple[Line | None, ...]:
        """For each trial, the line of its unit that its fault stands in."""
        return tuple(line_of(self.design, json.loads(row.extra)) for row in self.rows)

    @cached_property
    def struck_lines(self) -> tuple[Line | None, ...]:
        """The line of every fault of every trial, for trials of many faults."""
        campaign, chip = self.campaign, self.design.accelerator
        trials = [row.trial for row in self.rows]
        faults = campaign.scenario.draw(
            campaign.design, trials, campaign.seed, len(campaign.samples)
        )
        sites = [faults.fault(i, chip).site for i in range(len(faults))]
        return tuple(
            line_of(self.design, {"unit": site.unit, "instance": list(site.instance)})
            for site in sites
        )

    def loss_by_unit(self) -> dict[str, tuple[int, Interval]]:
        """For each unit and component struck, how many faults, and their mean loss."""
        names = [str(json.loads(row.extra).get("unit", "several")) for row in self.rows]
        found = {}
        for name in dict.fromkeys(names):
            mine = self.losses[[other == name for other in names]]
            found[name] = len(mine), mean_interval(mine, bounds=(-1.0, 1.0))
        return dict(sorted(found.items(), key=lambda item: -item[1][0] * item[1][1].value))

    def loss_by_place(self) -> dict[tuple[str, str], Interval]:
        """Mean loss, over all trials, of faults in each (place, layer) alone."""
        places = sorted({place for found in self.places for place in found})
        return {
            place: removed(self, np.array([place in found for found in self.places], dtype=float))
            for place in places
        }


def removed(evidence: Evidence, shares: NDArray[np.float64], level: float = 0.95) -> Interval:
    """Measured mean loss that would go if these shares of each trial's fault did nothing.

    Args:
        evidence: Trials with their losses.
        shares: ``[trials]``, usually 0 to 1.
        level: Confidence.
    """
    reach = max(1.0, float(np.abs(shares).max(initial=0.0)))
    return mean_interval(evidence.losses * shares, level, (-reach, reach))


def covered(
    evidence: Evidence, guards: Sequence[Guard], changed: Design | None = None
) -> NDArray[np.float64]:
    """For each trial, the share of what its fault corrupts that some guard meets.

    A code meets every value of its place. A bound meets a weight if its corrupted code leaves the
    bound, and an activation by the share of the codes within the bound that would. Sums are met by
    none, though a bound behind them may catch some of what they do: the estimate is careful there.
    Re-execution meets what strikes one execution alone. A fault that corrupts several layers counts
    for each of them in equal parts; which of them cost how much was not measured.

    Args:
        evidence: Trials and their faults.
        guards: Added.
        changed: The design that they stand in, if its weights are others.

    Returns:
        ``[trials]``, 0 to 1; 0 for a fault that touches nothing.
    """
    design = changed or evidence.design
    scenario = evidence.campaign.scenario
    in_one = getattr(scenario, "model", "") == "flip" and getattr(scenario, "anew", True)
    if in_one and any(isinstance(guard, Recompute) for guard in guards):
        return np.array([float(len(rows) > 0) for rows in evidence.effects])
    return np.array([_share(rows, guards, design) for rows in evidence.effects])


def _share(rows: NDArray[np.void], guards: Sequence[Guard], design: Design) -> float:
    """Mean over the (place, layer)s that a fault corrupts, of the least that is met there."""
    met: dict[tuple[str, int], float] = {}
    for row in rows:
        shares = [_met(guard, row, design) for guard in guards]
        told = [share for share in shares if share is not None]
        if len(told) == len(shares):  # else it changes no value, and nobody need meet it
            where = (_place(row), int(row["layer"]))
            met[where] = min(met.get(where, 1.0), max(told))
    return float(np.mean(list(met.values()))) if met else 0.0


def line_of(design: Design, site: dict[str, object]) -> Line | None:
    """The column (of an array, of a core) that a stored site stands in; None elsewhere."""
    instance = site.get("instance")
    if not isinstance(instance, list):
        return None
    unit = design.accelerator.unit(str(site["unit"]).partition(".")[0])
    if unit.kind == "pe_array" and len(instance) == 2:
        return unit.name, (0, int(instance[1]))
    if unit.kind in ("crossbar", "neuron") and len(instance) in (2, 3):
        return unit.name, (int(instance[0]), int(instance[-1]))
    return None


def _place(row: np.void) -> str:
    kind = Kind(row["kind"])
    return PLACES.get((kind, At(row["at"])), kind.name)


def _met(guard: Guard, row: np.void, design: Design) -> float | None:
    """Share that one guard meets of one effect; None if the effect changes no value."""
    layer = design.network.layers[int(row["layer"])].name
    place = _place(row)
    if isinstance(guard, Correct):
        return float((guard.place, guard.layer) == (place, layer))
    if isinstance(guard, Clamp | Replace) and (guard.place, guard.layer) == (place, layer):
        return _leaving(guard, row, design)
    return 0.0


def _leaving(guard: Clamp | Replace, row: np.void, design: Design) -> float | None:
    """Share of the values, of those that the corruption changes, that leave the bound by it."""
    layer = design.network[guard.layer]
    if guard.place == "weight" and isinstance(layer, Conv2d | Linear):
        weights = layer.weight.reshape(len(layer.weight), -1)
        rows, terms = box(row["n"], weights.shape[0]), box(row["k"], weights.shape[1])
        values = np.asarray(weights[np.ix_(rows, terms)], dtype=np.int64)
    else:
        values = np.arange(max(0, guard.low), guard.high + 1)
    after = corrupt(values, row)
    changed = after != values
    outside = (after < guard.low) | (after > guard.high)
    return float((outside & changed).sum() / changed.sum()) if changed.any() else None
