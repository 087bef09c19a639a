"""What a search has to tell: findings with a front, a verdict, and lines for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from codesign.digests import digest
from codesign.intervals import mean_interval
from codesign.study.conclude import Concluded, failures, points
from codesign.study.findings import DesignFinding, Findings, Front, NetworkFinding
from codesign.study.plan import NONE
from codesign.study.rows import CandidateRow, TrialRow
from codesign.study.search_judge import Stand, accuracies, costs_of
from codesign.study.search_loop import Ended
from codesign.study.search_space import LoadedSpace, only
from codesign.study.search_verdict import Contender, duels, spoken, verdict
from codesign.study.strategy import Point
from codesign.study.summary import summarise
from codesign.yaml_writer import dump

__all__ = ["Searched", "Verified", "tell"]


@dataclass(frozen=True)
class Searched:
    """What a search has to tell.

    Attributes:
        findings: For the page; its ``front`` holds every candidate.
        verdict: One sentence.
        lines: The designs judged again and their duels, for a terminal.
    """

    findings: Findings
    verdict: str
    lines: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Verified:
    """A design judged again on test samples, with faults that no choice has seen.

    Attributes:
        stand: The design.
        rows: Its trials.
        point: Of a found design; None for a hand-made one.
    """

    stand: Stand
    rows: tuple[TrialRow, ...]
    point: Point | None


def tell(
    space: LoadedSpace,
    ended: Ended,
    on_front: Sequence[bool],
    verified: Sequence[Verified],
    command: str,
    seconds: float,
) -> Searched:
    """Findings, the verdict, and lines for a terminal."""
    found = [_contender(space, one) for one in verified if one.point is not None]
    hand = [_contender(space, one) for one in verified if one.point is None]
    margin = space.spec.verify.margin
    fought = duels(found, hand, margin)
    names = [c.name for c in found], [c.name for c in hand]
    sentence = verdict(fought, *names, space.spec.objectives.costs, margin)
    if not found and any(on_front):
        sentence = "The front of the search holds nothing but designs that were made by hand."
    front = Front(
        objectives=space.objectives,
        candidates=tuple(_candidate(r, f) for r, f in zip(ended.rows, on_front, strict=True)),
        verified=tuple(_verified(space, one) for one in verified),
        verdict=sentence,
    )
    told = _summarised(space, verified, command, seconds)
    failed = (*told.failed, *_failed(space, ended))
    findings = replace(told, note=space.spec.note, front=front, failed=failed)
    return Searched(findings, sentence, (*_lines(space, verified), "", *spoken(fought, names[1])))


def _summarised(
    space: LoadedSpace, verified: Sequence[Verified], command: str, seconds: float
) -> Findings:
    """Findings of the designs that were judged again."""
    trials = space.spec.verify.trials
    concluded = tuple(
        Concluded(
            v.stand.campaign, v.rows, v.stand.golden, trials, (), v.stand.built.variants[0].base
        )
        for v in verified
    )
    designs: list[DesignFinding] = []
    networks: dict[str, NetworkFinding] = {}
    for one in verified:
        stand = one.stand
        alone = summarise(stand.built, (), {stand.name: stand.golden}, command, seconds)
        design, network = _own_names(space, one, alone.designs[0], alone.networks[0])
        networks.setdefault(network.name, network)
        designs.append(design)
    return replace(
        alone,
        title=space.spec.title,
        study=dump(space.spec),
        networks=tuple(networks.values()),
        designs=tuple(designs),
        points=points(concluded),
        seed=space.spec.verify.seed,
        failed=failures(concluded, alone.chance),
        absent=_absent(space, verified),
    )


def _own_names(
    space: LoadedSpace, one: Verified, design: DesignFinding, network: NetworkFinding
) -> tuple[DesignFinding, NetworkFinding]:
    """A found design's network and chip by names of their own, where they are not the study's."""
    text, name = one.stand.text, one.stand.name
    if text.training != only(space.base, text.design, NONE).training:
        network = replace(network, name=f"{network.name} of {name}")
    chip = design.accelerator
    own = text.study.families[chip] != space.base.families[chip]
    chip = f"{chip} of {name}" if own else chip
    return replace(design, network=network.name, accelerator=chip), network


def _contender(space: LoadedSpace, one: Verified) -> Contender:
    stand = one.stand
    costs = costs_of(stand.cost, space.spec.objectives.costs)
    # Two dataflows of one array meet equal faults although they are two chips: the rows tell.
    met = digest(tuple(row.faults_digest for row in one.rows))
    return Contender(stand.name, accuracies(one.rows), costs, met)


def _candidate(row: CandidateRow, on_front: bool) -> dict[str, object]:
    notes = json.loads(row.attrs)
    kept = {key: notes[key] for key in ("reason", "same as") if key in notes}
    return {
        "number": row.number,
        "parameters": json.loads(row.parameters),
        "objectives": json.loads(row.objectives),
        "state": row.state,
        "on_front": on_front,
        **kept,
    }


def _verified(space: LoadedSpace, one: Verified) -> dict[str, object]:
    stand, point = one.stand, one.point
    chosen = {"design": stand.text.design, "mitigation": stand.text.mitigation}
    return {
        "name": stand.name,
        "kind": "hand-made" if point is None else "found",
        "parameters": chosen if point is None else point,
        "faulty accuracy": mean_interval(accuracies(one.rows)),
        **costs_of(stand.cost, space.spec.objectives.costs),
        "golden accuracy": stand.golden,
    }


def _absent(space: LoadedSpace, verified: Sequence[Verified]) -> tuple[str, ...]:
    """What the energies do not hold, by who lacks it."""
    if "energy_pj" not in space.spec.objectives.costs:
        return ()
    lacking: dict[str, list[str]] = {}
    for stand in (one.stand for one in verified):
        missing = [m for m in stand.cost.missing if m != "clock" and not m.endswith(".area")]
        if missing:
            lacking.setdefault(", ".join(missing), []).append(stand.name)
    return tuple(
        f"energy_pj of {', '.join(names)} is without {missing}: no number is known"
        for missing, names in lacking.items()
    )


def _failed(space: LoadedSpace, ended: Ended) -> tuple[str, ...]:
    """Sentences about a search that could not have chosen."""
    told = [row for row in ended.rows if row.state == "told"]
    if not told:
        return (f"search: none of {len(ended.rows)} candidates was possible",)
    accuracy = {json.loads(row.objectives)["faulty accuracy"] for row in told}
    if len(told) > 1 and len({row.objectives for row in told}) == 1:
        return (f"search: all {len(told)} candidates are worth the same; none was chosen over any",)
    if len(told) > 1 and len(accuracy) == 1:
        what = space.spec.objectives.accuracy.scenario
        return (f"search: {what} tells no candidate from another; only costs were chosen by",)
    return ()


def _lines(space: LoadedSpace, verified: Sequence[Verified]) -> Iterator[str]:
    wide = max(len(one.stand.name) for one in verified)
    for one in verified:
        stand, interval = one.stand, mean_interval(accuracies(one.rows))
        priced = costs_of(stand.cost, space.spec.objectives.costs)
        costs = ", ".join(f"{name} {value:.6g}" for name, value in priced.items())
        ends = f"{interval.low:6.1%} to {interval.high:6.1%}"
        accuracy = f"{interval.value:6.1%} ({ends}), golden {stand.golden:.1%}"
        yield f"{stand.name:<{wide}}  {accuracy}, {costs}"
        if one.point is not None:
            point = ", ".join(f"{name}={value}" for name, value in one.point.items())
            yield f"{'':<{wide}}  {point}"
