"""What helps, and what it costs: gain against energy, latency and area, and a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codesign.intervals import Interval
from codesign.report import svg
from codesign.report.colours import series_colour
from codesign.report.figures import Figure, Section, Shown, html_table
from codesign.report.labels import label_dots
from codesign.report.numbers import between, change, count, points, rate, share
from codesign.report.reading import (
    Headline,
    Price,
    apart_from_zero,
    bases,
    design_of,
    family,
    gain_of,
    headline,
    is_base,
    label,
    price,
    series_number,
    spoken,
)
from codesign.report.sentence import best_of
from codesign.study.findings import DesignFinding, Findings

__all__ = ["help_section"]

LEFT, TOP, WIDTH, HEIGHT = 52.0, 34.0, 286.0, 220.0
NAMED = 5  # dots; of more than that only those are named that nothing dominates
COSTS: tuple[tuple[str, Callable[[Price], float | None]], ...] = (
    ("energy", lambda price: price.energy),
    ("latency", lambda price: price.cycles),
    ("area", lambda price: price.area),
)


@dataclass(frozen=True)
class _Tried:
    """A mitigated design at the headline: what it gains and costs."""

    design: DesignFinding
    number: int
    gain: Interval
    paired: bool
    price: Price


def help_section(findings: Findings) -> Section:
    """One figure and one table, at the scenario and rate that tell most."""
    head = headline(findings)
    tried = {} if head is None else {d.name: _tried(findings, head, d) for d in bases(findings)}
    tried = {name: found for name, found in tried.items() if found}
    reason = "no mitigation was tried"
    if head is None or not tried:
        return Section("help", "What helps, and what it costs", (), reason)
    figures = (_figure(findings, head, tried), _table(findings, head))
    return Section("help", "What helps, and what it costs", figures)


def _tried(findings: Findings, head: Headline, base: DesignFinding) -> list[_Tried]:
    found = []
    for design in family(findings, base.name):
        point = head.points.get(design.name)
        gain = gain_of(point) if point is not None else None
        if point is not None and gain is not None:
            number = series_number(findings, design)
            paired = point.gain is not None
            found.append(_Tried(design, number, gain, paired, price(base, design)))
    return found


def _figure(findings: Findings, head: Headline, tried: dict[str, list[_Tried]]) -> Figure:
    gains = [t.gain for found in tried.values() for t in found]
    low, high = min(0.0, *(g.low for g in gains)), max(0.01, *(g.high for g in gains))
    room = 0.1 * (high - low)
    reach = (low - room, high + room)
    rows, left_out = [], []
    for name, of in COSTS:
        ratios = [of(t.price) for found in tried.values() for t in found]
        known = [ratio for ratio in ratios if ratio is not None]
        if not known:
            left_out.append(f"{name} is not known")
        elif all(ratio == 1.0 for ratio in known):
            left_out.append(f"{name} is the same for all")
    for base, found in tried.items():
        row = ""
        for name, of in COSTS:
            known = [r for t in found if (r := of(t.price)) is not None]
            if known and any(ratio != 1.0 for ratio in known):
                row += _panel(design_of(findings, base), name, of, found, reach)
        rows.append(f'<div class="panels">{row}</div>')
    reading = (
        "Up is better, left is cheaper. A dot is a mitigation, its line the 95 % interval of the "
        "gain; costs are counted, so they have none. Pale: something else gains as much for less. "
        "Arrows start at no protection."
    )
    if left_out:
        reading += f" Not drawn: {'; '.join(left_out)}."
    if any(t.price.partial for found in tried.values() for t in found):
        reading += " Some prices are absent from the energies (costs.csv)."
    body = "".join(rows)
    return Figure(_states(findings, head, tried), reading, body, ("gains", "designs", "costs"))


def _states(findings: Findings, head: Headline, tried: dict[str, list[_Tried]]) -> str:
    told = []
    for base in tried:
        best = best_of(findings, head, base)
        if best and best[1].low > 0 and apart_from_zero(best[1], head.comparisons[base]):
            told.append(f"{label(best[0])} in {base} ({points(best[1], signed=True)} points)")
    where = f"under {spoken(head.scenario)}" + (f" at {rate(head.rate)}" if head.rate else "")
    if not told:
        return f"Nothing is seen to help {where}"
    return f"What gains most {where}: {', '.join(told[:3])}"


def _panel(
    base: DesignFinding,
    name: str,
    of: Callable[[Price], float | None],
    found: Sequence[_Tried],
    reach: tuple[float, float],
) -> str:
    shown = [(t, ratio - 1) for t in found if (ratio := of(t.price)) is not None]
    low, high = min(0.0, *(x for _, x in shown)), max(0.01, *(x for _, x in shown))
    room = 0.08 * (high - low)
    panel = svg.Panel.of((LEFT, TOP, WIDTH, HEIGHT), (low - room, high + room), reach)
    ticks = svg.nice_ticks(low - room, high + room, 5)
    origin = (panel.x(0.0), panel.y(0.0))
    parts = [
        svg.text(LEFT, 16, f"{base.name}: {name}", "start", "head"),
        svg.axis_y(panel, svg.nice_ticks(*reach, 5), _signed),
        svg.line([(LEFT, origin[1]), (panel.right, origin[1])], "var(--faint)", "level"),
        svg.axis_x_linear(panel, ticks, lambda v: f"{_signed(v)} %", f"more {name}, %"),
        svg.text(LEFT - 8, TOP - 8, "points", "end"),
    ]
    best = [t for t, x in shown if not _dominated(t, x, shown)]
    for t in best:
        parts.append(_arrow(origin, (panel.x((of(t.price) or 1) - 1), panel.y(t.gain.value))))
    dots = []
    for t, x in shown:
        at = (panel.x(x), panel.y(t.gain.value))
        colour = series_colour(t.number)
        ends = (at[0], panel.y(t.gain.low)), (at[0], panel.y(t.gain.high))
        dot = svg.whisker(*ends, colour) + svg.mark(*at, colour, t.number, 4.5)
        parts.append(svg.tip(_told(t, name, x), dot, "" if t in best else "pale"))
        is_named = t in best or len(shown) <= NAMED
        dots.append((*at, label(t.design) if is_named else ""))
    parts.append(svg.mark(*origin, "var(--ink)", 0, 4.5))
    area = (LEFT + 2, TOP - 6, panel.right + 24, panel.bottom - 2)
    parts.append(label_dots([*dots, (*origin, "no protection")], area))
    title = f"{base.name}: gain against {name}"
    return svg.figure(LEFT + WIDTH + 26, TOP + HEIGHT + 44, parts, title)


def _dominated(one: _Tried, x: float, all_of_them: Sequence[tuple[_Tried, float]]) -> bool:
    """Whether another, or doing nothing, gains as much for no more."""
    others = [(t.gain.value, other) for t, other in all_of_them if t is not one]
    return any(
        gain >= one.gain.value and cost <= x and (gain, cost) != (one.gain.value, x)
        for gain, cost in [*others, (0.0, 0.0)]
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A hairline that ends short of its dot, with a small head."""
    length = math.dist(start, end)
    if length < 24:
        return ""
    ux, uy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    tail = (start[0] + 8 * ux, start[1] + 8 * uy)
    tip = (end[0] - 10 * ux, end[1] - 10 * uy)
    wings = [(tip[0] - 6 * ux + s * 3 * uy, tip[1] - 6 * uy - s * 3 * ux) for s in (1, -1)]
    shaft = svg.line([tail, tip], "var(--faint)", "arrow")
    return shaft + svg.line([wings[0], tip, wings[1]], "var(--faint)", "arrow")


def _table(findings: Findings, head: Headline) -> Figure:
    headings = (
        *("design", "golden accuracy, %", "lost, points", "gain, points", "silently wrong"),
        *("energy", "latency", "area", "trials"),
    )
    rows = [_row(findings, head, findings_of) for findings_of in _listed(findings, head)]
    where = f"under {spoken(head.scenario)}" + (f" at {rate(head.rate)}" if head.rate else "")
    reading = (
        "Costs beside those of the same network and chip without protection. A heading sorts. "
        "A gain in brackets cannot be told from nothing after allowing for all comparisons made."
    )
    body = html_table(headings, rows, sortable=True)
    return Figure(f"Every design {where}", reading, body, ("gains", "points", "designs"))


def _listed(findings: Findings, head: Headline) -> list[DesignFinding]:
    return [
        d for base in bases(findings) for d in family(findings, base.name) if d.name in head.points
    ]


def _row(findings: Findings, head: Headline, design: DesignFinding) -> list[Shown]:
    point = head.points[design.name]
    gain = gain_of(point)
    told = ""
    if gain is not None:
        told = points(gain, signed=True)
        if not apart_from_zero(gain, head.comparisons.get(design.base, 1)):
            told = f"({told})"
    cost = price(design_of(findings, design.base), design)
    ratios: list[Shown] = []
    for _, of in COSTS:
        ratio = of(cost)
        shown = "not known" if ratio is None else "" if is_base(design) else change(ratio)
        ratios.append((shown, ratio))
    return [
        f"{design.name} on {design.accelerator}",
        (f"{100 * design.golden_accuracy:.1f}", design.golden_accuracy),
        (points(point.loss), point.loss.value),
        (told, None if gain is None else gain.value),
        (share(point.shares["sdc"], point.trials), point.shares["sdc"]),
        *ratios,
        (count(point.trials), float(point.trials)),
    ]


def _told(tried: _Tried, name: str, x: float) -> str:
    how = "in pairs" if tried.paired else "unpaired"
    return (
        f"{label(tried.design)}: {points(tried.gain, signed=True)} points "
        f"({between(tried.gain)}), {how}, {count(tried.gain.n)} trials; {name} {change(1 + x)}"
    )


def _signed(value: float) -> str:
    return f"{100 * value:+.4g}".replace("-", "−") if value else "0"
