"""Heat maps: rectangles in cividis with a scale, large grids drawn in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codesign.report import svg
from codesign.report.colours import cividis

__all__ = ["HeatCell", "blocks", "heat_map", "scale_bar"]

LARGEST = 32  # cells along an axis; more of them are drawn in blocks


@dataclass(frozen=True)
class HeatCell:
    """One cell.

    Attributes:
        value: From 0 to 1 of the scale, or None where nothing is known.
        told: What hovering tells.
        text: Written in it, if it is large enough.
    """

    value: float | None
    told: str
    text: str = ""


def blocks(size: int, largest: int = LARGEST) -> list[tuple[int, int]]:
    """Half-open ranges that divide an axis into at most so many equal parts.

    >>> blocks(3), blocks(5, 2)
    ([(0, 1), (1, 2), (2, 3)], [(0, 3), (3, 5)])
    """
    step = -(-size // largest)
    return [(start, min(size, start + step)) for start in range(0, size, step)]


def heat_map(
    head: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[HeatCell]],
    names: tuple[str, str],
    cell: tuple[float, float] | None = None,
) -> str:
    """A grid of cells ``[rows][columns]`` under a head.

    Args:
        head: Over it.
        rows: Name of each row; long grids show a few of them.
        columns: Name of each column.
        cells: The cells.
        names: What rows and columns are.
        cell: Width and height of one in pixels, or None for what suits their number.
    """
    width, height = cell or (_size(len(columns)), _size(len(rows)))
    left = max(40.0, *(svg.text_width(name) for name in rows)) + 14
    top = 44.0
    parts = [
        svg.text(left, 14, head, "start", "head"),
        svg.text(left, 34, f"{names[0]} down, {names[1]} across", "start", "axis"),
    ]
    for i, row in enumerate(cells):
        for j, one in enumerate(row):
            fill = "var(--empty)" if one.value is None else cividis(one.value)
            x, y = left + j * width, top + i * height
            shape = svg.rect(x, y, width - 1, height - 1, fill)
            if one.text:
                on = "on-dark" if (one.value or 0.0) < 0.5 else "on-light"
                shape += svg.text(x + width / 2, y + height / 2 + 4, one.text, "middle", on)
            parts.append(svg.still(one.told, shape))
    for i in _shown(len(rows), height):
        parts.append(svg.text(left - 8, top + (i + 0.5) * height + 4, rows[i], "end"))
    bottom = top + height * len(rows)
    widest = max(svg.text_width(name) for name in columns) + 6
    for j in _shown(len(columns), width, widest):
        parts.append(svg.text(left + (j + 0.5) * width, bottom + 16, columns[j], "middle"))
    wide = max(left + width * len(columns), left + svg.text_width(head, 15))
    return svg.figure(wide + 4, bottom + 24, parts, head, "heat")


def scale_bar(low: str, high: str, name: str) -> str:
    """The colours from low to high, and white for what nobody knows."""
    steps, width, left = 40, 4.0, svg.text_width(low) + 8
    bar = "".join(
        svg.rect(left + i * width, 4, width + 0.5, 10, cividis(i / (steps - 1)))
        for i in range(steps)
    )
    end = left + steps * width + 8
    after = end + svg.text_width(high) + 18
    parts = [
        svg.text(left - 8, 13, low, "end"),
        bar,
        svg.text(end, 13, high),
        svg.text(after, 13, name, "start", "axis"),
    ]
    return svg.figure(
        after + svg.text_width(name) + 8, 20, parts, f"{name}, {low} to {high}", "heat"
    )


def _size(cells: int) -> float:
    return min(30.0, max(10.0, 260.0 / cells))


def _shown(count: int, size: float, needed: float = 16.0) -> range:
    """Every so manieth index that its name has room."""
    step = max(1, -int(-needed // size))
    return range(0, count, step)
