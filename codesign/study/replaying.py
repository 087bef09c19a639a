"""One trial again, alone, compared with what is stored of it, and explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from codesign.engine import pick
from codesign.errors import StudyError, nearest
from codesign.study.building import build
from codesign.study.campaign import Campaign, evaluate_trials
from codesign.study.explaining import explained_text
from codesign.study.loading import LoadedStudy
from codesign.study.results import Results
from codesign.study.running import campaigns_of, output_folder

__all__ = ["replay"]

SHOWN = 8  # faults of the trial that are listed


def replay(
    study: LoadedStudy,
    task: str,
    trial: int,
    say: Callable[[str], None],
    sample: int | None = None,
) -> str:
    """Draw and evaluate one trial, say whether the stored row is the same, and explain it.

    Args:
        study: As loaded.
        task: Name or digest of a campaign.
        trial: Its number.
        say: Gets one line a stage.
        sample: Which is shown in detail; None takes the first that ended worst.

    Raises:
        StudyError: No such campaign or trial, or the replayed row differs from the stored one.
    """
    if trial < 0:
        raise StudyError(f"trial {trial}: trials are counted from 0")
    folder = output_folder(study)
    campaigns = campaigns_of(build(study, folder, say))
    found = [c for c in campaigns if task in (c.name, c.task.digest)]
    if not found:
        known = [c.name for c in campaigns]
        raise StudyError(f"the study has no campaign {task!r}{nearest(task, known)}")
    campaign = found[0]
    golden = pick.run_golden(campaign.design.program, campaign.samples)
    (row,) = evaluate_trials(campaign, golden, [trial])
    faults = campaign.scenario.draw(campaign.design, [trial], campaign.seed, len(campaign.samples))
    chip = campaign.design.accelerator
    listed = [faults.fault(i, chip) for i in range(min(SHOWN, len(faults)))]
    lines = [f"{name}: {value}" for name, value in asdict(row).items()]
    lines += [f"fault: {fault.site} {fault.model.name}" for fault in listed]
    with Results(folder / "results.sqlite") as results:
        rows = results.rows(campaign.task.digest)
    stored = [r for r in rows if r.trial == trial]
    if stored and stored[0] != row:
        raise StudyError(f"{campaign.name} trial {trial}: the stored row differs: {stored[0]}")
    lines += ["", _explained(campaign, trial, sample), ""]
    none = f"stored row: none yet; of this campaign {len(rows)} trials are stored"
    lines.append("stored row: equal" if stored else none)
    return "\n".join(lines)


def _explained(campaign: Campaign, trial: int, sample: int | None) -> str:
    design, samples = campaign.design, campaign.samples
    faults = campaign.scenario.draw(design, [trial], campaign.seed, len(samples))
    return explained_text(design, faults, samples, sample)
