"""The page of every weight bit, made from the recorded numbers and from nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

__all__ = ["heat_map", "markdown", "write_page"]

CELL, LEFT, TOP, STRIP = 44, 110, 30, 300
TITLE = """\
# Every weight bit, flipped

`python -m benchmarks.exhaustive` flips each bit of each stored weight of a network, one at a time
and for good, on every sample, exactly. Nothing here is an estimate, so nothing has an interval, but
where a campaign of {share:.0%} of the bits is held against the truth. Chunks are stored as they
come: a killed run goes on. All numbers of this page are made from `benchmarks/exhaustive.json`.
"""
ABOUT = """
## `{name}`

{origin}; right without faults: {golden:.1%}. Of all bits, {masked:.1%} change no output of any
sample, {harmless:.1%} no prediction, and {over_1_point:.2%} cost more than a point of accuracy. On
average a bit changes {sdc:.3%} of predictions and costs {points:.4f} points.

![Accuracy lost by layer, bit and channel, in points]({picture})

Points of accuracy that a flipped bit costs on average, by layer and bit.

| the ten worst bits | layer | output channel | term | bit | points lost |
|---|---|---|---|---|---|
"""
SAMPLED = """
**A campaign of {share:.0%} of the bits** ({bits:,}) against the truth, {campaigns} times: it misses
the mean loss of {truth:.4f} points by {typical_error:.4f} (root mean square; at most
{largest_error:.4f}); its 95 % interval ({method}) is ± {half_width:.4f} and holds the truth in
{covered} of {campaigns}.
"""
IN_POINTS = ("truth", "typical_error", "largest_error", "half_width")


def write_page(known: dict[str, dict[str, Any]], page: Path) -> None:
    """Write the page and a picture for each network beside it."""
    for name, told in known.items():
        picture = page.with_name(f"{page.stem}-{name}.svg")
        picture.write_text(heat_map(told), encoding="utf-8")
    page.write_text(markdown(known, page.stem), encoding="utf-8")


def markdown(known: dict[str, dict[str, Any]], stem: str) -> str:
    """All tables.

    Args:
        known: What was recorded, by network.
        stem: First part of the pictures' names.
    """
    parts = [TITLE.format(share=_share(known))]
    head = "| network | weight bits | samples | kernel | wall time, all runs | runs | most memory |"
    parts.append(f"\n{head}\n|{'---|' * 7}\n")
    for name, told in known.items():
        log = told["log"]
        parts.append(
            f"| `{name}` | {told['bits']:,} | {told['samples']} | {told['kernel']} | "
            f"{_time(log['seconds'])} | {log['runs']} | {log['peak_mb']:,.0f} MB |\n"
        )
    parts.append(
        "\nOf several runs all but the last were killed. Wall time is that of a shared machine of "
        "two cores.\n"
    )
    for name, told in known.items():
        parts.append(_network(name, told, f"{stem}-{name}.svg"))
    return "".join(parts)


def heat_map(told: dict[str, Any]) -> str:
    """Accuracy lost by layer and bit, and beside it by layer and output channel, as an SVG."""
    rows, bits = told["by_bit"], len(told["by_bit"][0])
    most = max((v for row in rows for v in row if v is not None), default=0.0) or 1.0
    tallest = max((max(row, default=0.0) for row in told["by_channel"]), default=0.0) or 1.0
    right = LEFT + bits * CELL + 20
    width, height = right + STRIP + 10, TOP + len(rows) * 22 + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{right}" y="18">by output channel, at most {100 * tallest:.2g} points</text>',
    ]
    for b in range(bits):
        out.append(f'<text x="{LEFT + b * CELL + 22}" y="18" text-anchor="middle">bit {b}</text>')
    for r, (name, row, strip) in enumerate(
        zip(told["layers"], rows, told["by_channel"], strict=True)
    ):
        y = TOP + r * 22
        out.append(f'<text x="{LEFT - 6}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        for b, value in enumerate(row):
            if value is not None:
                x, colour = LEFT + b * CELL, _colour(value / most)
                ink = "#fff" if value > 0.6 * most else "#222"
                out.append(
                    f'<rect x="{x}" y="{y}" width="{CELL - 1}" height="20" fill="{colour}"/>'
                    f'<text x="{x + 22}" y="{y + 14}" text-anchor="middle" fill="{ink}">'
                    f"{100 * value:.2g}</text>"
                )
        wide = STRIP / len(strip)
        for c, value in enumerate(strip):
            out.append(
                f'<rect x="{right + c * wide:.2f}" y="{y}" width="{wide:.2f}" height="20" '
                f'fill="{_colour(value / tallest)}"/>'
            )
    return "\n".join([*out, "</svg>", ""])


def _network(name: str, told: dict[str, Any], picture: str) -> str:
    lines = [
        ABOUT.format(**{**told, "name": name, "points": 100 * told["loss"], "picture": picture})
    ]
    for i, one in enumerate(told["worst"]):
        lines.append(
            f"| {i + 1} | {one['layer']} | {one['channel']} | {one['term']} | {one['bit']} | "
            f"{100 * one['loss']:.1f} |\n"
        )
    sampled = told["sampled"]
    points = {field: 100 * sampled[field] for field in IN_POINTS}
    share = sampled["bits"] / told["bits"]
    return "".join([*lines, SAMPLED.format(**{**sampled, **points, "share": share})])


def _share(known: dict[str, dict[str, Any]]) -> float:
    return max(told["sampled"]["bits"] / told["bits"] for told in known.values())


def _colour(part: float) -> str:
    """From white to dark red; green where a flipped bit helps."""
    if part < 0:
        return "#dff0e0"
    strong = min(1.0, part) ** 0.5
    red, green, blue = (255 - 105 * strong, 250 - 225 * strong, 245 - 215 * strong)
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
