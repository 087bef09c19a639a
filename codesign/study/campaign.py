"""A campaign: one design under one scenario, trial by trial. What a worker process does.

A trial's row depends on the campaign and the trial's number alone, never on who computes it or
with which others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.design import Design
from codesign.digests import digest
from codesign.effects import Effects
from codesign.engine import pick
from codesign.engine.observables import outcomes
from codesign.faults import Faults
from codesign.samples import Samples
from codesign.scenarios import Scenario
from codesign.study.rows import Task, TrialRow, canonical_json
from codesign.study.struck import reached_layers

__all__ = ["Campaign", "evaluate_trials", "make_worker"]

MOST_FAULTS = 2**20  # of the trials evaluated together; a fault and an effect take 240 bytes


@dataclass(frozen=True, eq=False)
class Campaign:
    """What trials need to be drawn and evaluated.

    Attributes:
        name: For people.
        design: Is struck.
        scenario: Strikes, at one rate.
        samples: Codes, as the design's network reads them.
        seed: Of the study.
        labels: Columns for tables: design, base, mitigation, scenario, rate.
    """

    name: str
    design: Design
    scenario: Scenario
    samples: Samples
    seed: int
    labels: dict[str, object]

    @property
    def task(self) -> Task:
        """The campaign's identity: everything a trial depends on, and not how many are wanted."""
        description = {
            "design": self.design.digest,
            "scenario": digest(self.scenario),
            "samples": self.samples.digest,
            "seed": self.seed,
        }
        return Task.of(self.name, description, self.labels)

    @property
    def strikes(self) -> str:
        """Digest of what draws depend on: campaigns that share it meet the same faults, in pairs.

        Where stored values are struck, when they are loaded depends on the whole mapping.
        """
        stored = getattr(self.scenario, "exposure", "start") == "stored"
        placed = (self.design.network.digest, self.design.placement) if stored else ()
        chip = self.design.accelerator.digest
        return digest((chip, self.scenario, self.seed, len(self.samples), placed))


def make_worker(
    campaigns: tuple[Campaign, ...],
) -> Callable[[str, Sequence[int]], list[TrialRow]]:
    """A function that evaluates trials of any of the campaigns, golden runs kept.

    Args:
        campaigns: All of the study; a worker gets them once.
    """
    import torch

    torch.set_num_threads(1)
    by_task = {campaign.task.digest: campaign for campaign in campaigns}
    kept: dict[tuple[str, str], pick.Golden] = {}

    def work(task: str, trials: Sequence[int]) -> list[TrialRow]:
        campaign = by_task[task]
        key = (campaign.design.program.digest, campaign.samples.digest)
        if key not in kept:
            if len(kept) >= 4:  # golden runs are large; tasks of one design come together
                kept.pop(next(iter(kept)))
            kept[key] = pick.run_golden(campaign.design.program, campaign.samples)
        return evaluate_trials(campaign, kept[key], trials)

    return work


def evaluate_trials(
    campaign: Campaign, golden: pick.Golden, trials: Sequence[int]
) -> list[TrialRow]:
    """Draw, carry to effects, evaluate and count the given trials.

    Trials of very many faults are taken a few at a time: what is held stays bounded.
    """
    rows: list[TrialRow] = []
    while left := trials[len(rows) :]:
        faults = _draw(campaign, left[:1])
        part = left[: max(1, MOST_FAULTS // max(1, len(faults)))]
        if len(part) > 1:
            faults = _draw(campaign, part)
        rows += _evaluate(campaign, golden, part, faults)
    return rows


def _draw(campaign: Campaign, trials: Sequence[int]) -> Faults:
    design, samples = campaign.design, campaign.samples
    return campaign.scenario.draw(design, trials, campaign.seed, len(samples))


def _evaluate(
    campaign: Campaign, golden: pick.Golden, trials: Sequence[int], faults: Faults
) -> list[TrialRow]:
    """Trials whose faults are drawn."""
    design, samples = campaign.design, campaign.samples
    footprint = design.mapping.footprint(faults, len(samples))
    faulty = pick.run_faulty(golden, footprint.effects)
    ended = outcomes(faulty, golden.outputs, samples.labels)
    task = campaign.task.digest
    rows = []
    for i, trial in enumerate(trials):
        drawn, idle = int(footprint.faults[i]), int(footprint.idle[i])
        changed = int(ended.masked[i]) < len(samples)
        mine = faults.table[faults.table["trial"] == i]
        rows.append(
            TrialRow(
                task=task,
                trial=trial,
                samples=len(samples),
                correct=int(ended.correct[i]),
                masked=int(ended.masked[i]),
                tolerated=int(ended.tolerated[i]),
                sdc=int(ended.sdc[i]),
                corrected=int(ended.corrected[i]),
                detected=int(ended.detected[i]),
                hang=int(ended.hang[i]),
                drawn=drawn,
                could_act=drawn - idle,
                acted=min(drawn - idle, int(changed)),
                collapsed=0,
                proven=idle,
                faults_digest=_digest_of(mine),
                extra=_site(campaign, faults, mine, footprint.effects, i),
            )
        )
    return rows


def _digest_of(table: NDArray[np.void]) -> str:
    """Digest of a trial's faults, whatever number the trial had in its chunk."""
    return digest(
        tuple(np.ascontiguousarray(table[n]) for n in table.dtype.names or () if n != "trial")
    )[:16]


def _site(
    campaign: Campaign, faults: Faults, mine: NDArray[np.void], effects: Effects, number: int
) -> str:
    """For a trial of one event: where it struck, and which layers it reached."""
    if len(mine) == 0 or mine["event"].min() != mine["event"].max():
        return "{}"
    first = int(np.flatnonzero(faults.table["trial"] == number)[0])
    site = faults.fault(first, campaign.design.accelerator).site
    reached = reached_layers(campaign.design, effects.of_trial(number))
    return canonical_json(
        {
            "site": str(site),
            "unit": f"{site.unit}.{site.component}",
            "instance": list(site.instance),
            "bit": site.bit,
            "layers": reached,
        }
    )
