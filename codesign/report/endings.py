"""How trials ended: what became of every (trial, sample), and how many draws could act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codesign.report import svg
from codesign.report.figures import Figure, Section
from codesign.report.numbers import count, points, rate, share
from codesign.report.reading import (
    Headline,
    bases,
    design_of,
    family,
    headline,
    is_base,
    label,
    spoken,
)
from codesign.study.findings import Findings, Point

__all__ = ["ending_section", "endings_of"]

ENDINGS = (  # name, colour, class of the number in it
    ("masked by proof", "var(--proof)", "name"),
    ("masked", "var(--masked)", "name"),
    ("tolerated", "var(--c6)", "on-light"),
    ("detected and corrected", "var(--c3)", "on-light"),
    ("detected only", "var(--c5)", "on-light"),
    ("SDC", "var(--c2)", "on-light"),
    ("hang", "var(--c4)", "on-light"),
)
KEYS = ("proof", "masked", "tolerated", "corrected", "detected", "sdc", "hang")
BAR, WIDTH, RIGHT, TOP = 24.0, 540.0, 260.0, 44.0

READING = (
    "Each bar is all (trial, sample) pairs of a point: what became of the prediction. Masked by "
    "proof: no fault of the trial stood where this network's values pass. On the right, trials in "
    "which a fault could act, and in which it changed any value."
)

Line = tuple[str, Point | None]  # a head has no point


def ending_section(findings: Findings) -> Section:
    """One bar for each scenario and rate of the base designs, and for each design at one rate."""
    head = headline(findings)
    if head is None:
        return Section("endings", "How trials ended", (), "no trial is stored")
    struck = [p for p in findings.points if is_base(design_of(findings, p.design))]
    figures = []
    if struck:
        lines = list(_by_scenario(findings, struck))
        figures.append(_figure(_title(struck), READING, lines))
    mitigated = [name for name in head.points if not is_base(design_of(findings, name))]
    if mitigated:
        where = spoken(head.scenario) + (f" at {rate(head.rate)}" if head.rate else "")
        title = f"What mitigations change in it, under {where}"
        reading = "The same bars for every design, all at one rate."
        figures.append(_figure(title, reading, list(_by_design(findings, head))))
    return Section("endings", "How trials ended", tuple(figures))


def endings_of(point: Point) -> dict[str, float]:
    """Shares of all (trial, sample)s, adding to 1; ``proof`` is taken out of ``masked``.

    A trial none of whose faults could act is masked by proof in all its samples.
    """
    proof = min(1 - point.could_act / point.trials, point.shares["masked"])
    shares = {"proof": proof, **point.shares, "masked": point.shares["masked"] - proof}
    return {key: shares[key] for key in KEYS}


def _title(struck: Sequence[Point]) -> str:
    worst = max(struck, key=lambda p: p.shares["sdc"])
    at = f" at {rate(worst.rate)}" if worst.rate else ""
    if worst.shares["sdc"] == 0:
        trials = max(point.trials for point in struck)
        return f"No prediction was silently wrong ({share(0.0, trials)})"
    return (
        f"Up to {share(worst.shares['sdc'], worst.trials)} of predictions are silently wrong: "
        f"{worst.design} under {spoken(worst.scenario)}{at}"
    )


def _by_scenario(findings: Findings, struck: Sequence[Point]) -> Iterator[Line]:
    for base in bases(findings):
        for scenario in dict.fromkeys(p.scenario for p in struck if p.design == base.name):
            yield f"{base.name}, {spoken(scenario)}", None
            here = [p for p in struck if (p.design, p.scenario) == (base.name, scenario)]
            for point in sorted(here, key=lambda p: p.rate or 0):
                yield rate(point.rate), point


def _by_design(findings: Findings, head: Headline) -> Iterator[Line]:
    for base in bases(findings):
        mine = [d for d in family(findings, base.name) if d.name in head.points]
        if mine:
            yield base.name, None
        for design in mine:
            yield label(design), head.points[design.name]


def _figure(title: str, reading: str, lines: Sequence[Line]) -> Figure:
    names = [svg.text_width(name, 12.5) for name, point in lines if point is not None]
    left = max(60.0, *names) + 14
    parts = [_key(left)]
    y = TOP
    for name, point in lines:
        if point is None:
            y += 12.0
            parts.append(svg.text(left, y + 12, name, "start", "head"))
        else:
            parts.append(svg.text(left - 10, y + 16, name, "end", "name"))
            parts.append(_bar(left, y, point))
            acts = f"{count(point.could_act)} of {count(point.trials)} trials"
            acts += f" could act, {count(point.acted)} did"
            parts.append(svg.text(left + WIDTH + 14, y + 16, acts))
        y += BAR + (2.0 if point is None else 6.0)
    body = svg.figure(left + WIDTH + RIGHT, y + 8, parts, title, "bars")
    return Figure(title, reading, f'<div class="wide">{body}</div>', ("points",))


def _key(left: float) -> str:
    parts, x = [], left
    for name, colour, _ in ENDINGS:
        parts.append(svg.rect(x, 4, 11, 11, colour))
        parts.append(svg.text(x + 16, 14, name, "start", "name"))
        x += 16 + svg.text_width(name, 12.5) + 14
    return "".join(parts)


def _bar(left: float, y: float, point: Point) -> str:
    x, parts = left, []
    shares = endings_of(point)
    for (name, colour, kind), part in zip(ENDINGS, shares.values(), strict=True):
        width = WIDTH * part
        if width <= 0:
            continue
        shape = svg.rect(x, y, max(0.5, width - 0.75), BAR, colour)
        told = f"{100 * part:.1f}" if part >= 0.06 else ""
        if told:
            shape += svg.text(x + width / 2, y + BAR / 2 + 4, told, "middle", kind)
        more = f"{name}: {share(part)} of {count(point.trials * point.samples)} pairs"
        more += f"; accuracy {points(point.accuracy)} %"
        parts.append(svg.tip(more, shape))
        x += width
    return "".join(parts)
