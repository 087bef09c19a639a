"""The finding in one sentence, four to six key figures, and what was studied in one line."""

from __future__ import annotations

from dataclasses import dataclass

from codesign.intervals import Interval
from codesign.report.numbers import between, change, count, points, rate, share
from codesign.report.reading import (
    Headline,
    Price,
    apart_from_zero,
    bases,
    binomial,
    design_of,
    gain_of,
    headline,
    is_base,
    label,
    price,
    spoken,
)
from codesign.study.findings import DesignFinding, Findings, Point

__all__ = ["KeyFigure", "best_of", "finding_sentence", "key_figures", "studied"]

SPOKEN_OF = 2  # base designs in the sentence; more of them are told by the figures
SMALL_CHANGE = 0.0005  # of a cost: below it there is none


@dataclass(frozen=True)
class KeyFigure:
    """A number of the head of the page.

    Attributes:
        told: As shown.
        unit: Behind it.
        name: Under it.
        interval: The number itself, as a share, or None where ``value`` is exact.
        value: The number itself.
        more: What hovering tells.
    """

    told: str
    unit: str
    name: str
    interval: Interval | None
    value: float
    more: str


def finding_sentence(findings: Findings) -> str:
    """What the study found, from its numbers alone; it says so where they cannot tell.

    Of a search it is the verdict.
    """
    if findings.front is not None and findings.front.verdict:
        return findings.front.verdict
    head = headline(findings)
    if head is None:
        return _without_trials(findings)
    struck = [d for d in bases(findings) if d.name in head.points]
    if not struck:
        return "Only protected designs were struck by faults: there is nothing to compare with."
    struck = _most_told(head, struck)
    clauses = [_clause(findings, head, design, i == 0) for i, design in enumerate(struck)]
    told = "; ".join(clauses)
    return f"{told[0].upper()}{told[1:]}.{_unfinished(head)}"


def best_of(findings: Findings, head: Headline, base: str) -> tuple[DesignFinding, Interval] | None:
    """The relative of a base that surely gains most: the highest low end."""
    gains = []
    for name, point in head.points.items():
        design, gain = design_of(findings, name), gain_of(point)
        if design.base == base and gain is not None:
            gains.append((design, gain))
    return max(gains, key=lambda pair: pair[1].low) if gains else None


def key_figures(findings: Findings) -> list[KeyFigure]:
    """Four to six numbers with intervals, for at most two base designs."""
    head = headline(findings)
    if head is None:
        return [_golden(design, findings) for design in bases(findings)[:6]]
    struck = _most_told(head, [d for d in bases(findings) if d.name in head.points])
    found = []
    for design in struck:
        point = head.points[design.name]
        found += [_golden(design, findings), _loss(point, design)]
        best = best_of(findings, head, design.name)
        if best:
            found.append(_gain(head, *best))
            if len(struck) == 1:
                found += _prices(design, best[0])
        if len(struck) == 1:
            found.append(_sdc(point))
    return found[:6]


def studied(findings: Findings) -> str:
    """Networks, chips, faults, mitigations, trials and samples in one line."""
    networks = [network.name for network in findings.networks]
    chips = list(dict.fromkeys(design.accelerator for design in findings.designs))
    scenarios = list(dict.fromkeys(point.scenario for point in findings.points))
    kinds = {design.mitigation for design in findings.designs if not is_base(design)}
    trials = sum(point.trials for point in findings.points)
    samples = sorted({point.samples for point in findings.points})
    parts = [
        _listed("network", networks),
        _listed("chip", chips),
        _listed("fault scenario", scenarios),
        f"{len(kinds)} mitigation{'s' * (len(kinds) != 1)}" if kinds else "",
        f"{count(trials)} trials of {' or '.join(map(count, samples))} samples" if trials else "",
        f"seed {findings.seed}",
    ]
    return " · ".join(part for part in parts if part)


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return f"{len(names)} {what}{'s' * (len(names) != 1)} ({shown})"


def _most_told(head: Headline, struck: list[DesignFinding]) -> list[DesignFinding]:
    """The first bases of the study; where there are many, the one that loses most and least."""
    if len(struck) <= SPOKEN_OF:
        return struck
    by_loss = sorted(struck, key=lambda design: head.points[design.name].loss.value)
    return [by_loss[-1], by_loss[0]]


def _clause(findings: Findings, head: Headline, design: DesignFinding, first: bool) -> str:
    point = head.points[design.name]
    where = f"on {design.accelerator} {design.network}"
    under = f" under {spoken(head.scenario)}"
    if head.rate is not None:
        under += f" at rate {rate(head.rate)}"
    return where + _losing(point, under if first else "") + _protected(findings, head, design)


def _losing(point: Point, under: str) -> str:
    loss = point.loss
    if not apart_from_zero(loss):
        return (
            f" may lose nothing{under}: {count(point.trials)} trials cannot tell "
            f"({between(loss)} points)"
        )
    verb = "loses" if loss.value > 0 else "gains"
    size = loss if loss.value > 0 else _turned(loss)
    of = " of accuracy" if under else ""
    if point.rate is None:
        return f" {verb} {points(size)} points{of} for a single fault{under}"
    return f" {verb} {points(size)} points{of}{under}"


def _protected(findings: Findings, head: Headline, design: DesignFinding) -> str:
    """What the best mitigation gives back, or that none can be seen to."""
    best = best_of(findings, head, design.name)
    if best is None:
        return ""
    mitigated, gain = best
    tried = sum(
        1 for name in head.points if name != design.name and _base(findings, name) == design.name
    )
    name = label(mitigated)
    unpaired = " (unpaired)" if head.points[mitigated.name].gain is None else ""
    if gain.low > 0 and apart_from_zero(gain, head.comparisons[design.name]):
        gives = f", and {name} gives back {points(gain)}{unpaired}"
        given_up = design.golden_accuracy - mitigated.golden_accuracy
        return gives + _for(price(design, mitigated), given_up)
    if gain.high < 0 and apart_from_zero(gain, head.comparisons[design.name]):
        return f", and {name} only makes it worse, by {points(_turned(gain))}{unpaired}"
    none = f"none of {tried} mitigations" if tried > 1 else f"{name} not"
    told = points(gain, signed=True)
    return f", and {none} can be told from no protection (best: {name}, {told}{unpaired})"


def _base(findings: Findings, name: str) -> str:
    return design_of(findings, name).base


def _for(cost: Price, given_up: float) -> str:
    """The price of it, as far as the datasheet tells, golden accuracy given up first."""
    told = [f"{100 * given_up:.1f} points of golden accuracy"] if given_up > SMALL_CHANGE else []
    for ratio, what in ((cost.energy, "energy"), (cost.cycles, "time"), (cost.area, "area")):
        if ratio is not None and abs(ratio - 1) > SMALL_CHANGE:
            told.append(_more(ratio, what))
    if cost.energy is None:
        told.append("an unknown price in energy")
    own = ", its own energy not priced" if cost.energy is not None and cost.unpriced else ""
    if not told:
        free = "" if cost.energy is None or own else "energy or "
        return f" at no cost in {free}time{own}"
    told[-1] = f"and {told[-1]}" if len(told) > 1 else told[-1]
    return f" for {(', ' if len(told) > 2 else ' ').join(told)}{own}"


def _more(ratio: float, what: str) -> str:
    if ratio >= 2:
        return f"{change(ratio).removeprefix('× ')} times the {what}"
    return f"{change(ratio)[1:]} {'more' if ratio > 1 else 'less'} {what}"


def _turned(interval: Interval) -> Interval:
    return Interval(
        -interval.value, -interval.high, -interval.low, interval.level, interval.n, interval.method
    )


def _without_trials(findings: Findings) -> str:
    golden = ", ".join(
        f"{d.network} on {d.accelerator} {points(binomial(d.golden_accuracy, _samples(findings)))}"
        for d in bases(findings)
    )
    told = f" Golden accuracy: {golden} %." if golden else ""
    return f"No trial is stored, so nothing can be said about faults.{told}"


def _unfinished(head: Headline) -> str:
    short = [p for p in head.points.values() if p.stopped == "interrupted"]
    if not short:
        return ""
    point = min(short, key=lambda p: p.trials / p.target)
    return f" (Interrupted: {count(point.trials)} of {count(point.target)} trials.)"


def _samples(findings: Findings) -> int:
    return max((p.samples for p in findings.points), default=0) or max(
        (network.samples for network in findings.networks), default=1
    )


def _golden(design: DesignFinding, findings: Findings) -> KeyFigure:
    struck = [p.samples for p in findings.points if p.design == design.name]
    samples = struck[0] if struck else _samples(findings)
    interval = binomial(design.golden_accuracy, samples)
    more = f"{between(interval)} % in truth, by {count(samples)} test samples ({interval.method})"
    told = points(interval)
    return KeyFigure(
        told, "%", f"golden accuracy, {design.name}", interval, design.golden_accuracy, more
    )


def _loss(point: Point, design: DesignFinding) -> KeyFigure:
    at = "for one fault" if point.rate is None else f"at {rate(point.rate)}"
    name = f"lost by {design.name} {at}"
    return KeyFigure(
        points(point.loss),
        "points",
        name,
        point.loss,
        point.loss.value,
        _more_of(point, point.loss),
    )


def _gain(head: Headline, design: DesignFinding, gain: Interval) -> KeyFigure:
    point = head.points[design.name]
    how = "in pairs" if point.gain is not None else "unpaired"
    more = f"{_more_of(point, gain)}, {how}, best of {head.comparisons[design.base]} comparisons"
    name = f"gained by {label(design)}, {design.network}"
    return KeyFigure(points(gain, signed=True), "points", name, gain, gain.value, more)


def _more_of(point: Point, interval: Interval) -> str:
    return (
        f"{between(interval)} points ({100 * interval.level:g} %, {interval.method}), "
        f"{count(point.trials)} trials of {count(point.samples)} samples"
    )


def _prices(base: DesignFinding, design: DesignFinding) -> list[KeyFigure]:
    cost = price(base, design)
    found = []
    for ratio, what in ((cost.energy, "energy"), (cost.cycles, "latency")):
        if ratio is not None:
            more = "counted, not sampled: no interval"
            if cost.partial and what == "energy":
                more += "; some prices are absent from it"
            found.append(
                KeyFigure(change(ratio), "", f"{what} of {label(design)}", None, ratio, more)
            )
    return found


def _sdc(point: Point) -> KeyFigure:
    told = share(point.shares["sdc"], point.trials)
    number, _, unit = told.rpartition(" ")
    more = f"of {count(point.trials)} trials of {count(point.samples)} samples"
    name = "predictions silently wrong"
    return KeyFigure(number, unit, name, None, point.shares["sdc"], more)
