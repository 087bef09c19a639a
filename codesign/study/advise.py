"""Advice on a finished study: what to change first, tried at once.

The ranking is read from single faults whose results are stored. What the first change brings is
then measured with faults that the ranking has not seen, in pairs with the unchanged design.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from codesign.comparisons import paired_difference, unpaired_difference
from codesign.design import Design
from codesign.engine import pick
from codesign.engine.observables import predictions
from codesign.errors import StudyError, UnsupportedError
from codesign.intervals import Interval, mean_interval
from codesign.learning.settings import Quantisation
from codesign.program import Program
from codesign.scenarios import FaultList, SingleFaults
from codesign.study.advise_changes import Change, changes, rank
from codesign.study.advise_evidence import Evidence
from codesign.study.building import Built, build
from codesign.study.campaign import Campaign, make_worker
from codesign.study.loading import LoadedStudy
from codesign.study.plan import NONE
from codesign.study.progress import Progress
from codesign.study.results import Results
from codesign.study.rows import TrialRow
from codesign.study.running import campaigns_of, output_folder
from codesign.study.schedule import Job
from codesign.study.trials import run_trials

__all__ = ["Advice", "Gain", "advise"]

FRESH = 1_000_003  # added to the study's seed: faults that the ranking has not seen
TRIES = 3  # changes that are tried before advice gives up
LEVEL = 1 - 0.05 / TRIES  # Bonferroni: the first that helps is one of several
FELT = 0.01  # accuracy that a design must surely lose before protection is tried at that rate
CHUNK = 20
Say = Callable[[str], None]


@dataclass(frozen=True)
class Gain:
    """What a change brought under one scenario.

    Attributes:
        scenario: Name, and rate if it has one.
        accuracy: Changed minus unchanged, over trials that the ranking has not seen.
        is_paired: Whether both met the same faults.
    """

    scenario: str
    accuracy: Interval
    is_paired: bool


@dataclass(frozen=True, eq=False)
class Tried:
    """A change that was applied.

    Attributes:
        change: Which.
        gains: What it brought, the scenario of the ranking first.
        golden: Accuracy without faults, unchanged and changed.
    """

    change: Change
    gains: tuple[Gain, ...]
    golden: tuple[float, float]

    @property
    def helps(self) -> bool:
        """Whether it surely brought something where it was ranked, and took nothing elsewhere."""
        return self.gains[0].accuracy.low > 0 and all(g.accuracy.high > 0 for g in self.gains)


@dataclass(frozen=True, eq=False)
class Advice:
    """A ranked list, and what the first of it brought.

    Attributes:
        hurts: For each campaign read, where its faults cost most.
        ranked: Best first.
        refused: Changes that are not possible, with the reason.
        tried: From the first on, until one helped; empty where none was worth it.
    """

    hurts: tuple[str, ...]
    ranked: tuple[Change, ...]
    refused: tuple[str, ...]
    tried: tuple[Tried, ...] = ()

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def advise(study: LoadedStudy, say: Say, trials: int | None = None, quiet: bool = False) -> Advice:
    """Rank changes of a finished study's designs, and try the first; if it does not help, the next.

    Args:
        study: As loaded; it has been run.
        say: Gets one line a stage.
        trials: Single faults to try a change with; as many as were ranked from if left out.
        quiet: No progress.

    Raises:
        StudyError: The study has no results of single faults.
        UnsupportedError: It has them only for chips that work off events.
    """
    if trials is not None and trials < 2:
        raise StudyError(f"trials={trials}: expected at least 2")
    folder = output_folder(study)
    file = folder / "results.sqlite"
    if not file.is_file():
        raise StudyError(f"{file}: no results yet; codesign run {study.file} makes them")
    built = build(study, folder, say)
    campaigns = campaigns_of(built)
    with Results(file) as results:
        stored = {c.task.digest: tuple(results.rows(c.task.digest)) for c in campaigns}
        found = _evidence(built, campaigns, stored)
        layered = [one for one in found if isinstance(one.design.program, Program)]
        refused = list(dict.fromkeys(_of_events(one) for one in found if one not in layered))
        found = layered
        if refused and not found:
            raise UnsupportedError("; ".join(refused))
        if not found:
            raise StudyError(
                f"{study.name} has no results of single faults; give it a scenario with "
                "use: scenarios:SingleFaults and run it"
            )
        source: dict[int, Evidence] = {}
        every: list[Change] = []
        for evidence in found:
            retrain = _retrain(built, evidence.design.name, say)
            mine, no = changes(evidence, built.splits.calibration, study.spec.seed, retrain)
            source |= {id(change): evidence for change in mine}
            every += mine
            refused += [f"{evidence.campaign.name}: {reason}" for reason in no]
        ranked = rank(every)
        tried: list[Tried] = []
        for change in [one for one in ranked if one.removed.low > 0][:TRIES]:
            say(f"trying    {change.design.name}")
            trier = _Try(results, built, source[id(change)], change, quiet)
            tried.append(trier.run(campaigns, stored, trials))
            if tried[-1].helps:
                break
    return Advice(_hurts(found), tuple(ranked), tuple(refused), tuple(tried))


def _evidence(
    built: Built, campaigns: Sequence[Campaign], stored: dict[str, tuple[TrialRow, ...]]
) -> list[Evidence]:
    """Campaigns of single faults, or of the known faults of a chip, of unprotected designs."""
    found = []
    for campaign in campaigns:
        rows = stored[campaign.task.digest]
        single = isinstance(campaign.scenario, SingleFaults | FaultList)
        if single and campaign.labels["mitigation"] == NONE and rows:
            found.append(Evidence(campaign, rows, _golden(campaign.design, campaign)))
    return found


def _of_events(evidence: Evidence) -> str:
    chip = evidence.design.accelerator.name
    return (
        f"there is no advice for {evidence.design.name}: {chip} works off events, its programs "
        "take no guards, and what would help there is not known"
    )


def _hurts(found: Sequence[Evidence]) -> tuple[str, ...]:
    lines = []
    for evidence in found:
        count, mean = len(evidence.rows), 100 * evidence.losses.mean()
        lines.append(f"{evidence.campaign.name}: {count} faults cost {mean:.3f} points each")
        for unit, (faults, loss) in evidence.loss_by_unit().items():
            ends = f"{100 * loss.low:.3f} to {100 * loss.high:.3f}"
            lines.append(f"  {unit}: {faults} faults, {100 * loss.value:.3f} points each ({ends})")
    return tuple(lines)


def _golden(design: Design, campaign: Campaign) -> float:
    outputs = pick.run_golden(design.program, campaign.samples).outputs
    return float((predictions(outputs) == campaign.samples.labels).mean())


def _retrain(built: Built, design: str, say: Say) -> Callable[[], Design] | None:
    """Makes a design with one bit of headroom in its weights; None where it has one, or must not.

    Weights from a file are not trained again.
    """
    spec = built.study.spec
    placed = spec.designs[design]
    network = spec.networks[placed.network]
    quantisation: Quantisation = network.quantisation or spec.quantisation
    if quantisation.weight_headroom_bits or network.weights:
        return None

    def retrain() -> Design:
        more = replace(quantisation, weight_headroom_bits=1)
        changed = replace(
            spec,
            networks={placed.network: replace(network, quantisation=more)},
            accelerators={placed.accelerator: spec.accelerators[placed.accelerator]},
            designs={design: replace(placed, against="")},
            mitigations={},
            faults={},
        )
        study = replace(built.study, loaded=replace(built.study.loaded, value=changed))
        return build(study, output_folder(built.study), say).designs[design]

    return retrain


@dataclass(frozen=True, eq=False)
class _Try:
    """A change, set against the unchanged design."""

    results: Results
    built: Built
    evidence: Evidence
    change: Change
    quiet: bool

    def run(
        self,
        campaigns: Sequence[Campaign],
        stored: dict[str, tuple[TrialRow, ...]],
        trials: int | None,
    ) -> Tried:
        """Run what is missing of both, and compare."""
        own = self.evidence.campaign
        count = trials or len(self.evidence.rows)
        if isinstance(own.scenario, FaultList):
            count = len(self.evidence.rows)
        wanted = [(own, count)]
        wanted += [
            (campaign, self.built.study.spec.effort.trials)
            for campaign in self.felt(campaigns, stored)
        ]
        gains = self.gains(wanted)
        after = self.fresh(own, self.change.design)
        golden = (self.evidence.golden, _golden(self.change.design, after))
        return Tried(self.change, tuple(gains), golden)

    def felt(
        self, campaigns: Sequence[Campaign], stored: dict[str, tuple[TrialRow, ...]]
    ) -> list[Campaign]:
        """Of each scenario with rates, the lowest rate at which the design surely loses."""
        found: dict[str, Campaign] = {}
        for campaign in sorted(campaigns, key=lambda c: float(str(c.labels["rate"] or 0))):
            rows = stored[campaign.task.digest]
            mine = campaign.design.digest == self.evidence.design.digest
            if not mine or campaign.labels["rate"] is None or len(rows) < 2:
                continue
            lost = np.array([self.evidence.golden - r.correct / r.samples for r in rows])
            if mean_interval(lost, bounds=(-1.0, 1.0)).low > FELT:
                found.setdefault(str(campaign.labels["scenario"]), campaign)
        return list(found.values())

    def gains(self, wanted: Sequence[tuple[Campaign, int]]) -> list[Gain]:
        pairs = [
            (self.fresh(c, self.evidence.design), self.fresh(c, self.change.design), n)
            for c, n in wanted
        ]
        jobs = [Job(campaign.task, n) for *both, n in pairs for campaign in both]
        every = tuple(campaign for *both, _ in pairs for campaign in both)
        workers = self.built.study.spec.effort.workers or os.cpu_count() or 1
        run_trials(
            self.results,
            jobs,
            partial(make_worker, every),
            workers=workers,
            chunk=CHUNK,
            progress=Progress("trials", quiet=self.quiet),
        )
        return [self.gain(before, after, n) for before, after, n in pairs]

    def gain(self, before: Campaign, after: Campaign, trials: int) -> Gain:
        rows = [self.results.rows(c.task.digest, trials) for c in (before, after)]
        was, now = (np.array([r.correct / r.samples for r in mine]) for mine in rows)
        met = [[r.faults_digest for r in mine] for mine in rows]
        is_paired = before.strikes == after.strikes or met[0] == met[1]
        difference = paired_difference if is_paired else unpaired_difference
        rate = before.labels["rate"]
        at = "" if rate is None else f" at {rate:g}"
        return Gain(f"{before.labels['scenario']}{at}", difference(now, was, LEVEL), is_paired)

    def fresh(self, campaign: Campaign, design: Design) -> Campaign:
        """The same with another design, and faults that the ranking has not seen.

        The faults of a chip at hand stay what they are.
        """
        name = f"advise: {design.name}, {campaign.labels['scenario']}"
        seed = self.built.study.spec.seed + FRESH
        labels = {**campaign.labels, "design": design.name, "base": self.evidence.design.name}
        labels["mitigation"] = NONE if design is self.evidence.design else self.change.name
        samples = design.network.coding.apply(self.built.test)
        return Campaign(name, design, campaign.scenario, samples, seed, labels)


def _lines(advice: Advice) -> Sequence[str]:
    lines = [*advice.hurts, ""]
    lines.append("Changes, by what they would remove of that loss for what they cost:")
    for number, change in enumerate(advice.ranked, 1):
        gone = change.removed
        ends = f"{100 * gone.low:.3f} to {100 * gone.high:.3f}"
        lines += [
            f"{number:3}. {change.design.name}",
            f"     would remove {100 * gone.value:.3f} points a fault ({ends}): {change.why}",
            f"     costs {_cost(change)}",
        ]
    lines += [f"not possible: {reason}" for reason in advice.refused]
    if not advice.tried:
        return [*lines, "", "Nothing is worth it: no change surely removes any of the loss."]
    for tried in advice.tried:
        lines += ["", *_told(tried)]
    return lines


def _told(tried: Tried) -> list[str]:
    level = f"{tried.gains[0].accuracy.level:.1%} intervals"
    name = tried.change.design.name
    lines = [f"Tried {name}, on the samples of the ranking, with faults it has not seen ({level}):"]
    for gain in tried.gains:
        a, pairs = gain.accuracy, "paired" if gain.is_paired else "unpaired"
        ends = f"{100 * a.low:+.3f} to {100 * a.high:+.3f}"
        lines.append(
            f"  {gain.scenario}: {100 * a.value:+.3f} points of accuracy ({ends}, {pairs})"
        )
    before, after = tried.golden
    lines.append(f"  without faults: {before:.1%} before, {after:.1%} after")
    lines.append(f"  cost: {_cost(tried.change)}")
    worse = any(gain.accuracy.high < 0 for gain in tried.gains)
    if tried.helps:
        return [*lines, "  It helps."]
    return [*lines, "  It harms." if worse else "  It brings nothing that can be told from zero."]


def _cost(change: Change) -> str:
    parts = [("energy", change.energy), ("cycles", change.cycles), ("area", change.area)]
    told = [f"{name} {100 * part:+.2f} %" for name, part in parts if part is not None]
    return ", ".join(told)
