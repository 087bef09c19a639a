"""The chip, drawn from its geometry: units of cells, links between them as wide as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from codesign.report import svg
from codesign.report.cells import Cell, Look, groups_in, look_of, shape_text
from codesign.report.layout import Layout, layered
from codesign.study.findings import UnitPicture

__all__ = ["ChipLink", "Drawing", "chip_svg", "draw"]

GAP_X, GAP_Y = 122.0, 58.0
MARGIN, HEAD, FOOT = 8.0, 26.0, 18.0
TRACK = 30.0  # between links that run back below the chip
LOOP = 30.0
LOOP_TEXT = 26.0  # from a unit to what its link to itself carries


@dataclass(frozen=True)
class ChipLink:
    """A link as drawn.

    Attributes:
        source, target, carries, bits, words_per_cycle: Of the accelerator's link.
    """

    source: str
    target: str
    carries: str
    bits: int
    words_per_cycle: float | None = None

    def told(self) -> str:
        """What it carries and how wide it is."""
        told = f"{self.carries} {self.bits} b"
        if self.words_per_cycle is not None and self.words_per_cycle != 1:
            told += f" × {self.words_per_cycle:g}"
        return told


@dataclass(frozen=True)
class Drawing:
    """A laid out chip.

    Attributes:
        units, looks: One look a unit.
        links: Of the chip.
        layout: Of boxes that hold a unit and its texts.
        edges: Links that are not loops, as in the layout: index of the link each.
    """

    units: tuple[UnitPicture, ...]
    looks: tuple[Look, ...]
    links: tuple[ChipLink, ...]
    layout: Layout
    edges: tuple[int, ...]


def draw(
    units: Sequence[UnitPicture],
    links: Sequence[ChipLink],
    words: Mapping[str, int] | None = None,
) -> Drawing:
    """Lay out a chip.

    Args:
        units: Its units.
        links: Its links.
        words: By name, how many words a memory has that is drawn in banks.
    """
    counts = words or {}
    units = tuple(units)
    groups = groups_in(units)
    looks = tuple(look_of(unit, groups, counts.get(unit.name, 0)) for unit in units)
    sizes = [
        (max(look.width, _text_width(unit)), HEAD + look.height + FOOT)
        for unit, look in zip(units, looks, strict=True)
    ]
    names = [unit.name for unit in units]
    edges = tuple(i for i, link in enumerate(links) if link.source != link.target)
    pairs = [(names.index(links[i].source), names.index(links[i].target)) for i in edges]
    return Drawing(units, looks, tuple(links), layered(sizes, pairs, GAP_X, GAP_Y), edges)


def chip_svg(
    drawing: Drawing, title: str, fill: Callable[[int, Cell], str] | None = None, style: str = ""
) -> str:
    """The picture; ``fill`` colours a cell of a unit by index, else all are pale.

    Cells carry their instances in ``data-r`` (``0,4;3,4``: a range an axis), so that the page's
    script can colour them and tell of them.
    """
    layout = drawing.layout
    below = TRACK * len(layout.back) + (14.0 if layout.back else 0.0)
    loops = any(link.source == link.target for link in drawing.links)
    width = max([layout.width + 2 * MARGIN, *(_loop_end(drawing, link) for link in drawing.links)])
    height = layout.height + 2 * MARGIN + max(below, LOOP if loops else 0.0)
    parts = [style, *_links(drawing), *_loops(drawing)]
    names = []
    for u in range(len(drawing.units)):
        parts.append(_unit(drawing, u, fill))
        names.append(_texts(drawing, u))
    return svg.figure(width, height, [*parts, *names], title, "picture")


def _text_width(unit: UnitPicture) -> float:
    return max(svg.text_width(unit.name, 14), svg.text_width(shape_text(unit)))


def _corner(drawing: Drawing, u: int) -> tuple[float, float]:
    """Left upper corner of a unit's cells: its box is as wide as its texts may be."""
    look, (x, y) = drawing.looks[u], drawing.layout.boxes[u]
    wide = max(look.width, _text_width(drawing.units[u]))
    return MARGIN + x + (wide - look.width) / 2, MARGIN + y + HEAD


def _unit(drawing: Drawing, u: int, fill: Callable[[int, Cell], str] | None) -> str:
    unit, look = drawing.units[u], drawing.looks[u]
    left, top = _corner(drawing, u)
    parts = [
        f'<line class="wire" x1="{left + x1:.1f}" y1="{top + y1:.1f}" '
        f'x2="{left + x2:.1f}" y2="{top + y2:.1f}"/>'
        for x1, y1, x2, y2 in look.wires
    ]
    for cell in look.cells:
        ranges = ";".join(f"{first},{stop}" for first, stop in cell.ranges)
        colour = "var(--empty)" if fill is None else fill(u, cell)
        more = f' data-r="{ranges}"'
        x, y = left + cell.x, top + cell.y
        parts.append(svg.rect(x, y, cell.width, cell.height, colour, "cell", more))
    name = escape(f"{unit.name}, {unit.kind}, {shape_text(unit)}")
    return (
        f'<g class="unit" data-unit="{u}" tabindex="0" role="button" aria-label="{name}">'
        f"{''.join(parts)}</g>"
    )


def _texts(drawing: Drawing, u: int) -> str:
    unit, look = drawing.units[u], drawing.looks[u]
    left, top = _corner(drawing, u)
    middle = left + look.width / 2
    below = top + look.height + 14
    return svg.text(middle, top - 9, unit.name, "middle", "head halo") + svg.text(
        middle, below, shape_text(unit), "middle", "tick halo"
    )


def _links(drawing: Drawing) -> list[str]:
    """Curves from right to left sides; those against the flow run below everything."""
    names = [unit.name for unit in drawing.units]
    ports = _ports(drawing)
    bottom = drawing.layout.height + MARGIN
    lines, texts = [], []
    for e, i in enumerate(drawing.edges):
        link = drawing.links[i]
        source, target = names.index(link.source), names.index(link.target)
        if e in drawing.layout.back:
            track = bottom + TRACK * (drawing.layout.back.index(e) + 0.5) + 8
            path, at = _below(drawing, source, target, track)
        else:
            path, at = _across(drawing, (source, target), ports[e], drawing.layout.forward[e])
        lines.append(_line(path, link))
        texts.append(svg.text(at[0], at[1], link.told(), "middle", "tick halo"))
    return [*lines, *texts]


def _ports(drawing: Drawing) -> dict[int, tuple[float, float]]:
    """Heights at which each forward edge leaves and enters, spread over the sides."""
    names = [unit.name for unit in drawing.units]
    found: dict[int, list[float]] = {e: [0.0, 0.0] for e in drawing.layout.forward}
    for u, unit in enumerate(drawing.units):
        _, top = _corner(drawing, u)
        for side, mine in (
            (0, [e for e in found if drawing.links[drawing.edges[e]].source == unit.name]),
            (1, [e for e in found if drawing.links[drawing.edges[e]].target == unit.name]),
        ):
            other = "target" if side == 0 else "source"
            far = {e: names.index(getattr(drawing.links[drawing.edges[e]], other)) for e in mine}
            mine.sort(key=lambda e, far=far: drawing.layout.boxes[far[e]][1])  # type: ignore[misc]
            for place, e in enumerate(mine):
                share = (place + 1) / (len(mine) + 1)
                found[e][side] = top + drawing.looks[u].height * share
    return {e: (start, end) for e, (start, end) in found.items()}


def _across(
    drawing: Drawing,
    ends: tuple[int, int],
    heights: tuple[float, float],
    bends: Sequence[tuple[float, float]],
) -> tuple[str, tuple[float, float]]:
    """A path through its bends, and where its text stands: over the gap before its target."""
    source, target = ends
    start = (_corner(drawing, source)[0] + drawing.looks[source].width + 3, heights[0])
    end = (_corner(drawing, target)[0] - 8, heights[1])
    stops = [start, *((MARGIN + x, MARGIN + y) for x, y in bends), end]
    path = f"M{start[0]:.1f} {start[1]:.1f}"
    for (x1, y1), (x2, y2) in pairwise(stops):
        bend = (x2 - x1) / 2
        path += f"C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    (x1, y1), (x2, y2) = stops[-2], stops[-1]
    path += f"M{x2 - 5:.1f} {y2 - 5:.1f}L{x2 + 1:.1f} {y2:.1f}L{x2 - 5:.1f} {y2 + 5:.1f}"
    steep = abs(y2 - y1) > 16  # then the text stands in the line, else above it
    return path, ((x1 + x2) / 2, (y1 + y2) / 2 + (4 if steep else -7))


def _below(
    drawing: Drawing, source: int, target: int, track: float
) -> tuple[str, tuple[float, float]]:
    """Down from the source, back along a track, up into the target."""
    corners = []
    for u, share in ((source, 0.65), (target, 0.35)):
        left, top = _corner(drawing, u)
        corners.append((left + drawing.looks[u].width * share, top + drawing.looks[u].height + 20))
    (x1, y1), (x2, y2) = corners
    turn = 12.0 if x1 > x2 else -12.0
    path = (
        f"M{x1:.1f} {y1:.1f}V{track - 12:.1f}Q{x1:.1f} {track:.1f} {x1 - turn:.1f} {track:.1f}"
        f"H{x2 + turn:.1f}Q{x2:.1f} {track:.1f} {x2:.1f} {track - 12:.1f}V{y2 + 4:.1f}"
        f"M{x2 - 5:.1f} {y2 + 9:.1f}L{x2:.1f} {y2 + 3:.1f}L{x2 + 5:.1f} {y2 + 9:.1f}"
    )
    return path, ((x1 + x2) / 2, track - 6)


def _loops(drawing: Drawing) -> list[str]:
    """Links from a unit to itself, at its lower right corner."""
    names = [unit.name for unit in drawing.units]
    parts = []
    for link in drawing.links:
        if link.source != link.target:
            continue
        u = names.index(link.source)
        left, top = _corner(drawing, u)
        x = left + drawing.looks[u].width
        y = top + drawing.looks[u].height
        path = f"M{x + 3:.1f} {y - 22:.1f}h6q12 0 12 12v0q0 12 -12 12h-1"
        parts.append(_line(path, link))
        parts.append(svg.text(x + LOOP_TEXT, y - 6, link.told(), "start", "tick halo"))
    return parts


def _loop_end(drawing: Drawing, link: ChipLink) -> float:
    """Where the text of a link from a unit to itself ends; 0 for other links."""
    if link.source != link.target:
        return 0.0
    u = [unit.name for unit in drawing.units].index(link.source)
    left, _ = _corner(drawing, u)
    return left + drawing.looks[u].width + LOOP_TEXT + svg.text_width(link.told()) + LOOP_TEXT / 2


def _line(path: str, link: ChipLink) -> str:
    width = 1.0 + math.log2(link.bits + 1) / 2.4
    told = f"{link.source} to {link.target}: {link.carries}, {link.bits} bits"
    if link.words_per_cycle is not None:
        told += f", {link.words_per_cycle:g} words a cycle"
    line = f'<path class="link" d="{path}" stroke-width="{width:.2f}"/>'
    return svg.still(told, line)
