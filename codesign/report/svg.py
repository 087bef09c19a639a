"""Small SVG: scales, axes, lines, marks with whiskers, labels that do not overlap.

Colours are CSS variables of the page, so that a figure follows light, dark and print. Every text is
escaped here and nowhere else. What hovering tells stands in a ``<title>`` of an element of class
``t``; the page's script shows it at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = [
    "LARGE",
    "Panel",
    "axis_x_linear",
    "axis_x_log",
    "axis_y",
    "figure",
    "label_column",
    "line",
    "mark",
    "nice_ticks",
    "rect",
    "shortened",
    "spread",
    "still",
    "text",
    "text_width",
    "tip",
    "whisker",
]

# Widths of characters by font size, those of Liberation Sans and Segoe UI, on the safe side.
NARROW, WIDE = "iljtfrI.,:;!|'()[] ·", "mwMWG%@—"
NARROW_WIDTH, WIDE_WIDTH, CAPITAL_WIDTH, OTHER_WIDTH = 0.33, 0.87, 0.68, 0.565
MARKS = 7
LARGE = 14.5  # pixels of a plot's names on narrow screens, see page.css

Place = tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """A plotting area: where it is, and how values become places.

    Attributes:
        left, top, width, height: In pixels.
        x, y: Value to pixel.
    """

    left: float
    top: float
    width: float
    height: float
    x: Callable[[float], float]
    y: Callable[[float], float]

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height

    @staticmethod
    def of(
        box: tuple[float, float, float, float], x_range: Place, y_range: Place, log_x: bool = False
    ) -> Panel:
        """A panel with linear scales, or a logarithmic x."""
        left, top, width, height = box
        low, high = (math.log10(v) for v in x_range) if log_x else x_range
        span_x, span_y = (high - low) or 1.0, (y_range[1] - y_range[0]) or 1.0

        def x(value: float) -> float:
            at = math.log10(value) if log_x else value
            return left + width * (at - low) / span_x

        def y(value: float) -> float:
            return top + height * (1 - (value - y_range[0]) / span_y)

        return Panel(left, top, width, height, x, y)


def figure(
    width: float, height: float, parts: Iterable[str], title: str, kind: str = "plot"
) -> str:
    """An SVG element that scales with the page; the title is read aloud.

    Plots (kind ``plot``) have room for the larger texts that they get on narrow screens.
    """
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    named = f'role="group" aria-label="{escape(title)}"'
    return f'<svg class="{kind}" {size} {named}>{"".join(parts)}</svg>'


def shortened(name: str, most: int = 28) -> str:
    """A name that fits beside a figure.

    >>> shortened("range restriction"), shortened("abcdefgh", 4)
    ('range restriction', 'abc…')
    """
    return name if len(name) <= most else f"{name[: most - 1]}…"


def text_width(what: str, size: float = 12.0) -> float:
    """Pixels that a text may need."""
    return size * sum(map(_character, what))


def text(x: float, y: float, what: str, anchor: str = "start", kind: str = "tick") -> str:
    """A text; ``kind`` is a class of the page's style: tick, axis, name or head."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind} {anchor}">{escape(what, quote=False)}</text>'
    )


def tip(told: str, parts: str, kind: str = "") -> str:
    """Elements that tell something when the pointer or the keyboard comes to them."""
    title = escape(told, quote=False)
    return f'<g class="t {kind}" tabindex="0"><title>{title}</title>{parts}</g>'


def still(told: str, parts: str) -> str:
    """The same for cells of a large grid, which the keyboard does not stop at one by one."""
    return f'<g class="t"><title>{escape(told, quote=False)}</title>{parts}</g>'


def line(places: Sequence[Place], colour: str, kind: str = "line") -> str:
    """A thin line through pixel places."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{joined}" class="{kind}" stroke="{colour}"/>'


def rect(
    x: float, y: float, width: float, height: float, fill: str, kind: str = "", more: str = ""
) -> str:
    """A filled rectangle; ``more`` are attributes."""
    named = f' class="{kind}"' if kind else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{fill}"{named}{more}/>'
    )


def mark(x: float, y: float, colour: str, number: int, size: float = 4.0) -> str:
    """A small shape; classes differ in shape as well as in colour.

    Circle, square, triangle, diamond, triangle down, plus, cross.
    """
    number %= MARKS
    r = size
    shapes = {
        1: f"M{-0.85 * r:.1f} {-0.85 * r:.1f}h{1.7 * r:.1f}v{1.7 * r:.1f}h{-1.7 * r:.1f}z",
        2: f"M0 {-1.15 * r:.1f}L{1.1 * r:.1f} {0.8 * r:.1f}H{-1.1 * r:.1f}z",
        3: f"M0 {-1.2 * r:.1f}L{1.2 * r:.1f} 0L0 {1.2 * r:.1f}L{-1.2 * r:.1f} 0z",
        4: f"M0 {1.15 * r:.1f}L{1.1 * r:.1f} {-0.8 * r:.1f}H{-1.1 * r:.1f}z",
        5: f"M{-0.35 * r:.1f} {-r:.1f}h{0.7 * r:.1f}v{0.65 * r:.1f}h{0.65 * r:.1f}v{0.7 * r:.1f}"
        f"h{-0.65 * r:.1f}v{0.65 * r:.1f}h{-0.7 * r:.1f}v{-0.65 * r:.1f}h{-0.65 * r:.1f}"
        f"v{-0.7 * r:.1f}h{0.65 * r:.1f}z",
        6: f"M{-r:.1f} {-0.6 * r:.1f}L{-0.6 * r:.1f} {-r:.1f}L0 {-0.4 * r:.1f}L{0.6 * r:.1f} "
        f"{-r:.1f}L{r:.1f} {-0.6 * r:.1f}L{0.4 * r:.1f} 0L{r:.1f} {0.6 * r:.1f}L{0.6 * r:.1f} "
        f"{r:.1f}L0 {0.4 * r:.1f}L{-0.6 * r:.1f} {r:.1f}L{-r:.1f} {0.6 * r:.1f}L{-0.4 * r:.1f} 0z",
    }
    if number == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{0.9 * r:.1f}" fill="{colour}"/>'
    path = shapes[number]
    return f'<path transform="translate({x:.1f} {y:.1f})" d="{path}" fill="{colour}"/>'


def whisker(start: Place, end: Place, colour: str) -> str:
    """An interval as a thin line between two pixel places."""
    (x1, y1), (x2, y2) = start, end
    return (
        f'<line class="whisker" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}"/>'
    )


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most so many round numbers from low to high.

    >>> nice_ticks(0.0, 1.0), nice_ticks(-7, 40, 4)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 20.0, 40.0])
    """
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    for step in (1, 2, 2.5, 5, 10, 20, 25, 50, 100):
        first = math.ceil(low / (step * power) - 1e-9)
        last = math.floor(high / (step * power) + 1e-9)
        if last - first + 1 <= most:
            break
    return [i * step * power for i in range(first, last + 1)]


def axis_x_log(panel: Panel, span: Place, name: str) -> str:
    """Ticks at whole powers of ten; the name once, below."""
    first = math.ceil(math.log10(span[0]) - 1e-9)
    last = math.floor(math.log10(span[1]) + 1e-9)
    ticks = [(panel.x(10.0**power), f"1e{power}") for power in range(first, last + 1)]
    return _axis_x(panel, ticks, name)


def axis_x_linear(
    panel: Panel, values: Sequence[float], show: Callable[[float], str], name: str
) -> str:
    """Ticks at these values; the name once, below."""
    return _axis_x(panel, [(panel.x(value), show(value)) for value in values], name)


def axis_y(panel: Panel, values: Sequence[float], show: Callable[[float], str]) -> str:
    """Hairlines across the panel at these values, told on the left."""
    parts = []
    for value in values:
        y = panel.y(value)
        parts.append(_straight(panel.left, y, panel.right, y, "grid"))
        parts.append(text(panel.left - 8, y + 4, show(value), "end"))
    return "".join(parts)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near to the wanted ones as may be, in their order, ``gap`` apart, within the ends.

    >>> spread([10, 11, 50], 10, 0, 100)
    [5.5, 15.5, 50]
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    groups: list[tuple[list[int], float]] = []  # members, place of the first
    for i in order:
        members, start = [i], wanted[i]
        while True:
            start = min(max(start, low), max(low, high - gap * (len(members) - 1)))
            if not groups or groups[-1][1] + gap * len(groups[-1][0]) <= start:
                break
            members = groups.pop()[0] + members
            start = sum(wanted[m] - gap * j for j, m in enumerate(members)) / len(members)
        groups.append((members, start))
    places = [0.0] * len(wanted)
    for members, start in groups:
        for j, member in enumerate(members):
            places[member] = start + gap * j
    return places


def label_column(
    x: float, labels: Sequence[tuple[float, str, str, int]], low: float, high: float
) -> str:
    """Names right of a panel, beside where their lines end: (y pixel, name, colour, shape).

    Shape −1 is a name without a mark, for reference lines. Pushed apart, a hairline leads to where
    a name belongs.
    """
    places = spread([y for y, *_ in labels], 16.0, low, high)
    parts = []
    for place, (y, name, colour, shape) in zip(places, labels, strict=True):
        if abs(place - y) > 2:
            parts.append(_straight(x + 2, y, x + 12, place, "lead"))
        else:
            parts.append(_straight(x + 2, y, x + 12, y, "lead"))
        if shape >= 0:
            parts.append(mark(x + 19, place, colour, shape))
        kind = "name" if shape >= 0 else "tick"
        parts.append(
            text(x + (28 if shape >= 0 else 15), place + 4, shortened(name), "start", kind)
        )
    return "".join(parts)


def _character(one: str) -> float:
    if one in NARROW:
        return NARROW_WIDTH
    if one in WIDE:
        return WIDE_WIDTH
    return CAPITAL_WIDTH if one.isupper() else OTHER_WIDTH


def _axis_x(panel: Panel, ticks: Sequence[Place | tuple[float, str]], name: str) -> str:
    parts = [_straight(panel.left, panel.bottom, panel.right, panel.bottom, "axisline")]
    for x, told in ticks:
        parts.append(_straight(x, panel.bottom, x, panel.bottom + 4, "axisline"))
        parts.append(text(x, panel.bottom + 18, str(told), "middle"))
    if name:
        middle = panel.left + panel.width / 2
        parts.append(text(middle, panel.bottom + 36, name, "middle", "axis"))
    return "".join(parts)


def _straight(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
