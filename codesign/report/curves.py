"""Accuracy against rate, and under it what each mitigation gains, in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codesign.intervals import Interval
from codesign.report import svg
from codesign.report.colours import series_colour
from codesign.report.figures import Figure, Section
from codesign.report.numbers import between, count, points, rate, share
from codesign.report.reading import (
    bases,
    design_of,
    family,
    gain_of,
    label,
    rated_scenarios,
    series_number,
    spoken,
)
from codesign.study.findings import DesignFinding, Findings, Point

__all__ = ["curve_section"]

LEFT, TOP, WIDTH = 52.0, 34.0, 330.0
FEWEST_NAMES, MOST_NAMES = 150.0, 230.0  # pixels
HEIGHT, BETWEEN, GAIN_HEIGHT, BELOW = 230.0, 84.0, 140.0, 44.0
PLOT = 400.0  # width of a plot of rows
DODGE, DODGED = 5.0, 36.0  # pixels between designs at one rate, and between the outermost
SMALLEST_REACH = 0.02  # of the axis of gains

Row = tuple[Point, Interval, str]  # a point, the interval drawn, what hovering tells


@dataclass(frozen=True)
class _Frame:
    """What all panels of a figure share."""

    rates: tuple[float, float]
    gains: tuple[float, float] | None
    chance: float


def curve_section(findings: Findings) -> Section:
    """A figure for each scenario with several rates, one for all others together."""
    rated = rated_scenarios(findings)
    figures = [_against_rate(findings, scenario) for scenario in rated]
    single = [p for p in findings.points if p.scenario not in rated]
    if single:
        figures.append(_without_rate(findings, single))
    return Section("rate", "Accuracy against rate", tuple(figures), "no trial is stored")


def _against_rate(findings: Findings, scenario: str) -> Figure:
    mine = [p for p in findings.points if p.scenario == scenario and p.rate]
    rates = sorted({p.rate for p in mine if p.rate})
    gains = [gain for p in mine if (gain := gain_of(p)) is not None]
    frame = _Frame((rates[0] / 1.7, rates[-1] * 1.7), _reach(gains), findings.chance)
    panels = []
    for base in bases(findings):
        names = [d.name for d in family(findings, base.name)]
        struck = [p for p in mine if p.design in names]
        if struck:
            panels.append(_panel(findings, base, struck, frame))
    reading = (
        "A dot is the mean over trials, its line the 95 % interval; dots of one rate stand side "
        "by side. Below, the difference to no protection under the same faults, in pairs: a "
        "mitigation helps where its interval stays above zero."
    )
    body = f'<div class="panels">{"".join(panels)}</div>'
    return Figure(_falls(findings, scenario, mine), reading, body, ("points", "gains"))


def _reach(gains: Sequence[Interval]) -> tuple[float, float] | None:
    """From the lowest to the highest end, zero and a little room included."""
    if not gains:
        return None
    low, high = min(g.low for g in gains), max(g.high for g in gains)
    room = 0.06 * max(high - low, SMALLEST_REACH)
    return min(low, -SMALLEST_REACH / 4) - room, max(high, SMALLEST_REACH / 4) + room


def _falls(findings: Findings, scenario: str, mine: Sequence[Point]) -> str:
    """What the figure shows, in words."""
    told = []
    for base in bases(findings):
        row = sorted((p for p in mine if p.design == base.name), key=lambda p: p.rate or 0)
        if row:
            last = row[-1]
            told.append(
                f"{base.name} from {100 * base.golden_accuracy:.1f} % to "
                f"{points(last.accuracy)} % at {rate(last.rate)}"
            )
    falls = f": {', '.join(told[:3])}{', …' if len(told) > 3 else ''}" if told else ""
    return f"Accuracy under {spoken(scenario)}{falls}"


def _panel(findings: Findings, base: DesignFinding, struck: Sequence[Point], frame: _Frame) -> str:
    """Accuracy above, gains below, of one base and its relatives."""
    box = (LEFT, TOP, WIDTH, HEIGHT)
    upper = svg.Panel.of(box, frame.rates, (0.0, 1.0), log_x=True)
    designs = [d for d in family(findings, base.name) if any(p.design == d.name for p in struck)]
    parts = [
        svg.text(LEFT, 16, f"{base.name} on {base.accelerator}", "start", "head"),
        svg.axis_y(upper, (0, 0.25, 0.5, 0.75, 1.0), lambda v: f"{100 * v:.0f} %"),
        svg.axis_x_log(upper, frame.rates, "fault rate, probability per site"),
    ]
    labels = []
    for value, name in ((base.golden_accuracy, "golden"), (frame.chance, "chance")):
        y = upper.y(value)
        parts.append(svg.line([(LEFT, y), (upper.right, y)], "var(--faint)", "level"))
        labels.append((y, f"{name} {100 * value:.1f} %", "", -1))
    for i, design in reversed(list(enumerate(designs))):
        rows = [(p, p.accuracy, _told(design, p)) for p in struck if p.design == design.name]
        number = series_number(findings, design)
        parts.append(_series(upper, rows, number, _shift(i, len(designs))))
        end = max(rows, key=lambda row: row[0].rate or 0)[1].value
        labels.append((upper.y(end), label(design), series_colour(number), number))
    parts.append(svg.label_column(upper.right, labels, TOP, upper.bottom))
    height = TOP + HEIGHT + BELOW
    if frame.gains:
        parts.append(_gains(findings, designs, struck, frame.rates, frame.gains))
        height += BETWEEN + GAIN_HEIGHT
    title = f"{base.name} on {base.accelerator}: accuracy against fault rate"
    names = max(svg.text_width(svg.shortened(label(d)), svg.LARGE) for d in designs) + 34
    width = LEFT + WIDTH + min(MOST_NAMES, max(FEWEST_NAMES, names))
    return svg.figure(width, height, parts, title)


def _gains(
    findings: Findings,
    designs: Sequence[DesignFinding],
    struck: Sequence[Point],
    rates: tuple[float, float],
    reach: tuple[float, float],
) -> str:
    """Difference of accuracy to the base, in points."""
    box = (LEFT, TOP + HEIGHT + BETWEEN, WIDTH, GAIN_HEIGHT)
    panel = svg.Panel.of(box, rates, reach, log_x=True)
    ticks = svg.nice_ticks(*reach, 5)
    zero = panel.y(0.0)
    parts = [
        svg.text(LEFT, box[1] - 14, "difference to no protection, points", "start", "axis"),
        svg.axis_y(panel, ticks, lambda v: f"{100 * v:+g}".replace("-", "−") if v else "0"),
        svg.line([(LEFT, zero), (panel.right, zero)], "var(--ink)", "level"),
        svg.axis_x_log(panel, rates, ""),
    ]
    labels = []
    for i, design in reversed(list(enumerate(designs))):
        rows = [
            (p, gain, _told_gain(design, p, gain))
            for p in struck
            if p.design == design.name and (gain := gain_of(p)) is not None
        ]
        if rows:
            number = series_number(findings, design)
            parts.append(_series(panel, rows, number, _shift(i, len(designs))))
            end = max(rows, key=lambda row: row[0].rate or 0)[1].value
            labels.append((panel.y(end), label(design), series_colour(number), number))
    parts.append(svg.label_column(panel.right, labels, box[1], panel.bottom))
    return "".join(parts)


def _series(panel: svg.Panel, rows: Sequence[Row], number: int, shift: float) -> str:
    """A thin line and marks with whiskers, moved a little sideways so that they do not hide."""
    colour = series_colour(number)
    ordered = sorted(rows, key=lambda row: row[0].rate or 0)
    places = [(panel.x(p.rate or 1) + shift, panel.y(i.value)) for p, i, _ in ordered]
    parts = [svg.line(places, colour)]
    for (_, interval, told), (x, y) in zip(ordered, places, strict=True):
        ends = (x, panel.y(interval.low)), (x, panel.y(interval.high))
        parts.append(svg.tip(told, svg.whisker(*ends, colour) + svg.mark(x, y, colour, number)))
    return "".join(parts)


def _without_rate(findings: Findings, mine: Sequence[Point]) -> Figure:
    """One row for each design and scenario: what a fault, or one rate of them, costs."""
    names = [
        f"{p.design}, {spoken(p.scenario)}" + (f" at {rate(p.rate)}" if p.rate else "")
        for p in mine
    ]
    left = max(svg.text_width(name, svg.LARGE) for name in names) + 16
    low = min(0.0, *(p.loss.low for p in mine))
    high = max(SMALLEST_REACH / 2, *(p.loss.high for p in mine))
    height = 26.0 * len(mine)
    panel = svg.Panel.of((left, 8.0, PLOT, height), (low, high * 1.04), (0.0, 1.0))
    parts = [
        svg.axis_x_linear(
            panel,
            svg.nice_ticks(low, high * 1.04, 6),
            lambda v: f"{100 * v:g}".replace("-", "−"),
            "accuracy lost, points",
        )
    ]
    for i, (point, name) in enumerate(zip(mine, names, strict=True)):
        y = 8 + 26.0 * i + 13
        design = design_of(findings, point.design)
        number = series_number(findings, design)
        ends = (panel.x(point.loss.low), y), (panel.x(point.loss.high), y)
        dot = svg.whisker(*ends, series_colour(number))
        dot += svg.mark(panel.x(point.loss.value), y, series_colour(number), number)
        parts.append(svg.text(left - 12, y + 4, name, "end", "name"))
        parts.append(svg.tip(_told(design, point), dot))
    title = "What a single fault costs" if not any(p.rate for p in mine) else "Lost at one rate"
    most = max(mine, key=lambda p: p.loss.value)
    title += f" on average: {points(most.loss)} points in {most.design}"
    title += ", the most of all" if len(mine) > 1 and most.loss.low > 0 else ""
    reading = "A dot is the mean accuracy lost over trials, its line the 95 % interval."
    body = svg.figure(left + PLOT + 20, height + 56, parts, title)
    return Figure(title, reading, f'<div class="panels">{body}</div>', ("points",))


def _shift(place: int, of: int) -> float:
    return (place - (of - 1) / 2) * min(DODGE, DODGED / of)


def _told(design: DesignFinding, point: Point) -> str:
    at = "one fault" if point.rate is None else f"rate {rate(point.rate)}"
    return (
        f"{label(design)}, {at}: accuracy {points(point.accuracy)} % "
        f"({between(point.accuracy)}), lost {points(point.loss)} points; {count(point.trials)} "
        f"trials of {count(point.samples)} samples, SDC {share(point.shares['sdc'], point.trials)}"
        f"{_unfinished(point)}"
    )


def _told_gain(design: DesignFinding, point: Point, gain: Interval) -> str:
    how = "in pairs" if point.gain is not None else "unpaired: other sites, other faults"
    return (
        f"{label(design)}, rate {rate(point.rate)}: {points(gain, signed=True)} points "
        f"({between(gain)}), {how}; {count(gain.n)} trials"
    )


def _unfinished(point: Point) -> str:
    if point.stopped != "interrupted":
        return ""
    return f"; interrupted, {count(point.target)} were asked for"
