"""What one design is worth: its accuracy under faults, and what an inference costs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from codesign.design import Design
from codesign.engine import pick
from codesign.engine.observables import predictions
from codesign.errors import StudyError
from codesign.guards import Recompute
from codesign.mapping import Activity, Cost
from codesign.samples import Samples
from codesign.study.building import Built, build, scenario_of
from codesign.study.campaign import Campaign, make_worker
from codesign.study.plan import NONE, REEXECUTION, Planned, Variant
from codesign.study.progress import Progress
from codesign.study.results import Results
from codesign.study.rows import TrialRow
from codesign.study.schedule import Job
from codesign.study.search_space import DesignText, LoadedSpace
from codesign.study.struck import timed
from codesign.study.trials import run_trials

__all__ = ["Stand", "accuracies", "costs_of", "make_stand", "strike"]

CHUNK = 10
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Stand:
    """A design made and mapped, with the samples it is judged on and the faults it will meet.

    Attributes:
        name: For people, unique in the search.
        text: What it was made from.
        built: A study of it alone; its ``test`` are the samples of this stand.
        campaign: Who is struck by what.
        golden: Accuracy without faults.
        cost: Of one inference, with the activity on these samples.
    """

    name: str
    text: DesignText
    built: Built
    campaign: Campaign
    golden: float
    cost: Cost


def make_stand(
    space: LoadedSpace,
    text: DesignText,
    name: str,
    split: str,
    *,
    seed: int,
    samples: int,
    say: Say,
    base: str = "",
) -> Stand:
    """Train (or load), map and guard one design.

    Args:
        space: For the scenario, the folder of trained networks, and names.
        text: Which design.
        name: What to call it.
        split: ``validation`` or ``test``.
        seed: Of the faults.
        samples: How many of the split, at most.
        say: Gets one line a stage.
        base: Name of what it is compared with; itself if left out.

    Raises:
        CodesignError: It cannot be made, or does not fit its chip.
    """
    built = build(text.study, space.folder, say)
    design = _design(built, text, name)
    part: Samples = getattr(built.splits, split)
    raw = part.take(min(samples, len(part)))
    variant = Variant(name, text.design, text.mitigation, base or name)
    built = replace(built, test=raw, designs={name: design}, variants=(variant,))
    coded = built.coded(name)
    run = pick.run_golden(design.program, coded)
    wanted = space.spec.objectives.accuracy
    planned = Planned(variant, wanted.scenario, wanted.rate, 1)
    labels: dict[str, object] = {
        "design": name,
        "base": variant.base,
        "mitigation": text.mitigation,
        "scenario": wanted.scenario,
        "rate": wanted.rate,
        "split": split,
    }
    scenario = timed(scenario_of(space.base, planned), design, coded)
    campaign = Campaign(f"{planned.name}, {split}", design, scenario, coded, seed, labels)
    return Stand(
        name=name,
        text=text,
        built=built,
        campaign=campaign,
        golden=float((predictions(run.outputs) == coded.labels).mean()),
        cost=design.mapping.cost(Activity(**pick.activity(run)), design.guards),
    )


def strike(
    results: Results,
    stands: Sequence[Stand],
    trials: int,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[list[TrialRow]]:
    """Run the trials that the store lacks; those of each stand, in order.

    Designs that come to the same (a bound that another percentile gives too) share their trials.

    Args:
        results: Open for writing.
        stands: Designs with their faults.
        trials: Of each.
        workers: Processes; 0 is one for each core.
        progress: Told how far it is.
    """
    campaigns = {stand.campaign.task.digest: stand.campaign for stand in stands}
    jobs = [Job(campaign.task, trials) for campaign in campaigns.values()]
    cores = os.cpu_count() or 1
    left = sum(len(results.missing(results.add_task(job.task), trials)) for job in jobs)
    run_trials(
        results,
        jobs,
        partial(make_worker, tuple(campaigns.values())),
        workers=min(workers or cores, max(1, left // CHUNK)),
        chunk=CHUNK,
        progress=progress,
    )
    return [results.rows(stand.campaign.task.digest, trials) for stand in stands]


def accuracies(rows: Sequence[TrialRow]) -> NDArray[np.float64]:
    """``[trials]`` faulty accuracy."""
    return np.array([row.correct / row.samples for row in rows])


def costs_of(cost: Cost, names: Sequence[str]) -> dict[str, float]:
    """Costs by name. Energy is that of what the datasheet prices; `Cost.missing` names the rest.

    Raises:
        StudyError: A number that is needed for one of them is absent from the datasheet.
    """
    return {name: _cost(cost, name) for name in names}


def _cost(cost: Cost, name: str) -> float:
    absent: list[str] = []
    value: float | None
    if name == "latency_cycles":
        value = float(cost.cycles)
    elif name == "energy_pj":
        priced = any(row.energy_pj is not None for row in cost.rows)
        value, absent = (cost.energy_pj if priced else None), ["any action"]
    elif name == "latency_us":
        value, absent = cost.latency_us, ["the clock"]
    elif name == "area_um2":
        absent = [missing for missing in cost.missing if missing.endswith(".area")]
        value = None if absent else sum(cost.area_um2.values())
    else:
        value, absent = (sum(cost.area_ge.values()) or None), ["gate equivalents"]
    if value is None:
        raise StudyError(
            f"{name} cannot be told: the datasheet has no number for {', '.join(absent)}"
        )
    return float(value)


def _design(built: Built, text: DesignText, name: str) -> Design:
    """The design meant, of those that were built."""
    if text.mitigation == REEXECUTION:
        return built.designs[text.design].guarded(Recompute(3), name=name)
    made = text.design if text.mitigation == NONE else text.variant
    return replace(built.designs[made], name=name)
