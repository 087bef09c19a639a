"""The search: front and hand-made designs, verified; its history; what the winners share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codesign.intervals import Interval
from codesign.report import svg
from codesign.report.figures import Figure, Section, Shown, html_table
from codesign.report.labels import label_dots
from codesign.report.numbers import count, figures, share
from codesign.study.findings import Findings, Front

__all__ = ["front_section"]

LEFT, TOP, WIDTH, HEIGHT = 64.0, 34.0, 430.0, 300.0
KINDS = {"found": ("var(--c1)", 0), "hand-made": ("var(--c2)", 1)}
DATA = ("search_candidates", "search_verified")
FEW_VALUES = 8  # of a parameter: more are told as a range


@dataclass(frozen=True)
class _Axis:
    """One objective: where it reaches, and which way is better."""

    name: str
    way: str
    span: tuple[float, float]

    def told(self) -> str:
        """Its name with the better way."""
        return f"{self.name} ({'more' if self.way == 'max' else 'less'} is better)"


def front_section(findings: Findings) -> Section:
    """Three figures, if there was a search that told of any candidate."""
    front = findings.front
    told = [] if front is None else [c for c in front.candidates if c.get("state") == "told"]
    if front is None or not told:
        return Section("search", "The search", (), "no search was run")
    axes = [_axis(front, name, told) for name in front.objectives]
    made = (_scatter(front, axes, told), _history(axes, told), _shared(front, told))
    return Section("search", "The search", tuple(figure for figure in made if figure))


def _axis(front: Front, name: str, told: Sequence[dict[str, Any]]) -> _Axis:
    values = [float(c["objectives"][name]) for c in told]
    for one in front.verified:
        interval = _interval(one.get(name))
        values += [] if interval is None else [interval.low, interval.high]
    low, high = min(values), max(values)
    room = 0.07 * (high - low) or 0.5
    return _Axis(name, front.objectives[name], (low - room, high + room))


def _scatter(front: Front, axes: Sequence[_Axis], told: Sequence[dict[str, Any]]) -> Figure:
    """The first objective up, each other across."""
    across = axes[1:] or axes[:1]
    panels = [_panel(front, axes[0], axis, told) for axis in across]
    found = [v for v in front.verified if v.get("kind") == "found"]
    hand = [v for v in front.verified if v.get("kind") == "hand-made"]
    failed = sum(c.get("state") == "failed" for c in front.candidates)
    title = (
        f"{len(told)} candidates, {sum(bool(c.get('on_front')) for c in told)} not dominated, "
        f"{len(found)} of them and {len(hand)} hand-made designs verified"
    )
    reading = (
        "Faint dots are candidates as the search saw them; circles were found and evaluated again "
        "on unseen samples and fault seeds, squares are hand-made, with 95 % intervals. A faint "
        "dot above its circle is what the search believed by luck."
    )
    if failed:
        reading += f" Not drawn, because they failed: {failed}."
    return Figure(title, reading, f'<div class="panels">{"".join(panels)}</div>', DATA)


def _panel(front: Front, up: _Axis, across: _Axis, told: Sequence[dict[str, Any]]) -> str:
    panel = svg.Panel.of((LEFT, TOP, WIDTH, HEIGHT), across.span, up.span)
    parts = [
        svg.text(LEFT, 16, up.told(), "start", "axis"),
        svg.axis_y(panel, svg.nice_ticks(*up.span, 6), figures),
        svg.axis_x_linear(panel, svg.nice_ticks(*across.span, 6), figures, across.told()),
    ]
    dots: list[tuple[float, float, str]] = []
    for one in told:
        x, y = (panel.x(_goal(one, across.name)), panel.y(_goal(one, up.name)))
        size = 3.0 if one.get("on_front") else 2.2
        dot = svg.mark(x, y, "var(--faint)", 0, size)
        parts.append(svg.still(_told_candidate(one), dot))
        dots.append((x, y, ""))
    if len(front.objectives) == 2:
        best = sorted(
            (panel.x(_goal(one, across.name)), panel.y(_goal(one, up.name)))
            for one in told
            if one.get("on_front")
        )
        parts.append(svg.line(best, "var(--faint)", "line"))
    for one in front.verified:
        there = _interval(one.get(across.name)), _interval(one.get(up.name))
        if there[0] is None or there[1] is None:
            continue
        colour, shape = KINDS.get(str(one.get("kind")), ("var(--c3)", 3))
        parts.append(_verified(panel, one, there[0], there[1], (colour, shape)))
        name = str(one.get("name", "")) if one.get("kind") == "hand-made" else ""
        dots.append((panel.x(there[0].value), panel.y(there[1].value), name))
    parts.append(label_dots(dots, (LEFT, TOP, panel.right + 60, panel.bottom)))
    title = f"{up.name} against {across.name}"
    return svg.figure(LEFT + WIDTH + 64, TOP + HEIGHT + 44, parts, title)


def _verified(
    panel: svg.Panel, one: dict[str, Any], x: Interval, y: Interval, style: tuple[str, int]
) -> str:
    at = (panel.x(x.value), panel.y(y.value))
    lines = ""
    if y.half_width > 0:
        lines += svg.whisker((at[0], panel.y(y.low)), (at[0], panel.y(y.high)), style[0])
    if x.half_width > 0:
        lines += svg.whisker((panel.x(x.low), at[1]), (panel.x(x.high), at[1]), style[0])
    told = f"{one.get('name', '')}, {one.get('kind', '')}: {_between(y)} and {_between(x)}"
    settings = _settings(one)
    told += f"; {settings}" if settings else ""
    return svg.tip(told, lines + svg.mark(*at, *style, 4.5))


def _history(axes: Sequence[_Axis], told: Sequence[dict[str, Any]]) -> Figure:
    """Each objective in the order in which candidates were asked, and the best so far."""
    last = max(int(c["number"]) for c in told)
    panels = []
    for axis in axes:
        box = (LEFT, TOP, WIDTH, 150.0)
        panel = svg.Panel.of(box, (-1.0, last + 1.0), axis.span)
        parts = [
            svg.text(LEFT, 16, axis.told(), "start", "axis"),
            svg.axis_y(panel, svg.nice_ticks(*axis.span, 5), figures),
            svg.axis_x_linear(panel, svg.nice_ticks(0, last, 6), figures, "candidate, as asked"),
        ]
        best, steps = None, []
        for one in sorted(told, key=lambda c: int(c["number"])):
            number, goal = int(one["number"]), _goal(one, axis.name)
            dot = svg.mark(panel.x(number), panel.y(goal), "var(--faint)", 0, 2.4)
            parts.append(svg.still(_told_candidate(one), dot))
            better = max if axis.way == "max" else min
            new = goal if best is None else better(best, goal)
            if best is not None:
                steps.append((panel.x(number), panel.y(best)))
            steps.append((panel.x(number), panel.y(new)))
            best = new
        steps.append((panel.right, steps[-1][1]))
        parts.append(svg.line(steps, "var(--c1)"))
        panels.append(svg.figure(LEFT + WIDTH + 64, TOP + 194, parts, axis.name))
    title = f"History of {count(len(told))} candidates"
    reading = "A dot is a candidate, the line the best so far of that objective alone."
    return Figure(title, reading, f'<div class="panels">{"".join(panels)}</div>', DATA[:1])


def _shared(front: Front, told: Sequence[dict[str, Any]]) -> Figure | None:
    """How often each choice stands on the front, beside how often it was tried."""
    best = [c for c in told if c.get("on_front")]
    names = dict.fromkeys(name for c in told for name in c.get("parameters", {}))
    rows: list[list[Shown]] = []
    for name in names:
        tried = [c["parameters"].get(name) for c in told]
        won = [c["parameters"].get(name) for c in best]
        values = sorted(set(map(str, tried)), key=lambda v: (-_share(won, v), v))
        if len(values) > FEW_VALUES:
            rows.append([name, _range(tried), _range(won)])
            continue
        for value in values:
            of_won, of_tried = _share(won, value), _share(tried, value)
            rows.append([f"{name} = {value}", share(of_tried), share(of_won)])
    if not rows or not best:
        return None
    top = max(rows, key=lambda row: _percent(row[2]))
    title = f"What the winners share: {top[0]} in {top[2]} of the front"
    headings = ("parameter", "of all candidates", "of the front")
    reading = (
        f"A choice that is more frequent on the front ({len(best)} candidates) than among all is "
        "what winning had to do with; with few candidates it may be chance."
    )
    body = html_table(headings, rows)
    return Figure(title, reading, body, DATA[:1])


def _interval(value: object) -> Interval | None:
    if isinstance(value, Interval):
        return value
    if isinstance(value, int | float):
        return Interval.exact(float(value), 1)
    return None


def _goal(candidate: dict[str, Any], name: str) -> float:
    return float(candidate["objectives"][name])


def _between(interval: Interval) -> str:
    if interval.half_width == 0:
        return figures(interval.value)
    ends = f"{figures(interval.low)} to {figures(interval.high)}"
    return f"{figures(interval.value)} ({ends}, {count(interval.n)} trials)"


def _told_candidate(one: dict[str, Any]) -> str:
    goals = ", ".join(f"{name} {figures(float(v))}" for name, v in one["objectives"].items())
    return f"candidate {one['number']}: {goals}; {_settings(one)}"


def _settings(one: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in one.get("parameters", {}).items())


def _share(values: Sequence[object], value: str) -> float:
    return sum(str(v) == value for v in values) / len(values) if values else 0.0


def _range(values: Sequence[object]) -> str:
    numbers = [float(v) for v in values if isinstance(v, int | float)]
    if not numbers:
        return f"{len(set(map(str, values)))} values"
    return f"{figures(min(numbers))} to {figures(max(numbers))}"


def _percent(shown: Shown) -> float:
    told = shown if isinstance(shown, str) else shown[0]
    return float(told.removesuffix(" %")) if told.endswith(" %") else -1.0
