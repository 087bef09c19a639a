"""A study, run: built, checked, struck, concluded. Running again is resuming.

Stages, each stored before the next begins: training (cached by content), golden runs, campaigns
trial by trial, findings.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from codesign.engine import pick
from codesign.engine.observables import predictions
from codesign.errors import StudyError
from codesign.looks import narrow_enough, planned_looks
from codesign.study.building import Built, build, scenario_of
from codesign.study.campaign import Campaign, make_worker
from codesign.study.conclude import Concluded
from codesign.study.findings import Findings
from codesign.study.loading import LoadedStudy
from codesign.study.plan import plan
from codesign.study.progress import Progress
from codesign.study.results import Results
from codesign.study.rows import Task, TrialRow
from codesign.study.schedule import Job
from codesign.study.struck import timed
from codesign.study.summary import summarise
from codesign.study.trials import run_trials

__all__ = ["campaigns_of", "claim", "jobs_of", "output_folder", "run_study", "stop_rule"]

OWNER = "study"
FIRST_LOOK = 20  # an interval of fewer trials says little about what was not seen
CHUNK = 10
MOST = 128  # trials in a chunk, where one takes less than handing it out does

Say = Callable[[str], None]


def run_study(study: LoadedStudy, command: str, say: Say, quiet: bool = False) -> Findings:
    """Run what is missing of a study and tell everything it has found.

    Args:
        study: As loaded.
        command: That was typed, for the page.
        say: Gets one line a stage.
        quiet: No progress bars.

    Raises:
        CodesignError: What a user can mend, before anything long has begun where possible.
    """
    started = time.monotonic()
    folder = output_folder(study)
    built = build(study, folder, say)
    campaigns = campaigns_of(built)
    golden = golden_accuracies(built)
    for name, accuracy in golden.items():
        say(f"golden    {name}: {accuracy:.1%}")
    with Results(folder / "results.sqlite") as results:
        claim(results, study.name)
        concluded = _run(results, built, campaigns, golden, say, quiet)
        seconds = time.monotonic() - started
        return summarise(built, concluded, golden, command, seconds)


def claim(results: Results, name: str) -> None:
    """Make a results file a study's own: its page must not replace another's.

    Raises:
        StudyError: The file holds the results of a study of another name.
    """
    owner = results.notes(OWNER).get(OWNER, name)
    if owner != name:
        raise StudyError(
            f"{results.path.parent} holds the results and the page of the study {owner!r}, this is "
            f"{name!r}; give it another outputs.folder"
        )
    results.put_note(OWNER, name)


def output_folder(study: LoadedStudy) -> Path:
    """Where a study's results go."""
    return study.spec.outputs.folder or Path("out") / study.name


def campaigns_of(built: Built) -> tuple[Campaign, ...]:
    """Every planned campaign, with its design and scenario made."""
    spec = built.study.spec
    coded = {variant.name: built.coded(variant.name) for variant in built.variants}
    return tuple(
        Campaign(
            name=planned.name,
            design=built.designs[planned.variant.name],
            scenario=timed(
                scenario_of(built.study, planned),
                built.designs[planned.variant.name],
                coded[planned.variant.name],
            ),
            samples=coded[planned.variant.name],
            seed=spec.seed,
            labels={
                "design": planned.variant.name,
                "base": planned.variant.base,
                "mitigation": planned.variant.mitigation,
                "scenario": planned.scenario,
                "rate": planned.rate,
            },
        )
        for planned in plan(spec)
    )


def golden_accuracies(built: Built) -> dict[str, float]:
    """Accuracy of every design without faults, its guards in place."""
    found = {}
    for name, design in built.designs.items():
        samples = built.coded(name)
        outputs = pick.run_golden(design.program, samples).outputs
        found[name] = float((predictions(outputs) == samples.labels).mean())
    return found


def _run(
    results: Results,
    built: Built,
    campaigns: Sequence[Campaign],
    golden: dict[str, float],
    say: Say,
    quiet: bool,
) -> tuple[Concluded, ...]:
    """Run the missing trials of every campaign and read all of them back."""
    effort = built.study.spec.effort
    planned = plan(built.study.spec)
    wanted = [(c.task, p.trials) for c, p in zip(campaigns, planned, strict=True)]
    jobs = jobs_of(wanted, effort.half_width)
    workers = effort.workers or os.cpu_count() or 1
    left = sum(len(results.missing(results.add_task(job.task), job.trials)) for job in jobs)
    say(f"campaigns {len(jobs)}, {left} of {sum(job.trials for job in jobs)} trials to run")
    progress = Progress("trials", quiet=quiet)
    ended = run_trials(
        results,
        jobs,
        partial(make_worker, tuple(campaigns)),
        workers=min(workers, max(1, left // CHUNK)),
        chunk=CHUNK,
        most=MOST,
        stop=stop_rule(jobs, effort.half_width),
        progress=progress,
    )
    counted = {outcome.task: outcome.trials for outcome in ended}
    return tuple(
        Concluded(
            campaign=campaign,
            rows=tuple(results.rows(job.task.digest, counted[job.task.digest])),
            golden_accuracy=golden[str(campaign.labels["design"])],
            target=job.trials,
            looks=job.looks,
            baseline=str(campaign.labels["base"]),
        )
        for campaign, job in zip(campaigns, jobs, strict=True)
    )


def jobs_of(wanted: Sequence[tuple[Task, int]], half_width: float | None) -> list[Job]:
    """How many trials of each task, and when to look whether its interval is narrow enough.

    Args:
        wanted: Tasks and how many trials of each, at most.
        half_width: Of the interval at which a task may stop; None runs every trial.
    """
    jobs = []
    for task, trials in wanted:
        is_watched = half_width is not None and trials > FIRST_LOOK
        jobs.append(Job(task, trials, planned_looks(FIRST_LOOK, trials) if is_watched else ()))
    return jobs


def stop_rule(
    jobs: Sequence[Job], half_width: float | None
) -> Callable[[str, list[TrialRow]], bool] | None:
    """Stop a job at a planned look when the interval that will be reported is narrow enough."""
    if half_width is None:
        return None
    looks = {job.task.digest: job.looks for job in jobs}

    def stop(task: str, rows: list[TrialRow]) -> bool:
        accuracy = np.array([row.correct / row.samples for row in rows])
        return narrow_enough(accuracy, half_width, looks[task])

    return stop
