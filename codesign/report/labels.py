"""Names beside dots of a scatter plot, where they cover neither each other nor the dots."""

from __future__ import annotations

from collections.abc import Sequence

from codesign.report import svg

__all__ = ["label_dots"]

Box = tuple[float, float, float, float]  # left, top, right, bottom
SIZE, DOT, ROOM = 12.5, 6.0, 9.0


def label_dots(
    dots: Sequence[tuple[float, float, str]], area: Box, taken: Sequence[Box] = ()
) -> str:
    """Texts for dots (x, y, name), each at the first free place around its dot.

    Tried are right, left, above, below, then further up and down on both sides with a hairline; a
    name for which all is taken is left out, as hovering still tells it.

    Args:
        dots: Pixels and names; a dot with an empty name only takes its place.
        area: Where names may stand.
        taken: Where they may not.
    """
    boxes = [*taken, *((x - DOT, y - DOT, x + DOT, y + DOT) for x, y, _ in dots)]
    parts = []
    for x, y, name in dots:
        width = svg.text_width(name, SIZE)
        for at_x, at_y, anchor in _places(x, y):
            left = at_x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            box = (left, at_y - 10, left + width, at_y + 3)
            if name and _inside(box, area) and not any(_overlap(box, other) for other in boxes):
                boxes.append(box)
                if abs(at_y - 4 - y) > 18:
                    ends = ((x, y), (at_x - (3 if anchor == "start" else -3), at_y - 4))
                    parts.append(svg.line(ends, "var(--faint)", "lead"))
                parts.append(svg.text(at_x, at_y, name, anchor, "name halo"))
                break
    return "".join(parts)


def _places(x: float, y: float) -> list[tuple[float, float, str]]:
    near = [
        (x + ROOM, y + 4, "start"),
        (x - ROOM, y + 4, "end"),
        (x, y - ROOM - 1, "middle"),
        (x, y + ROOM + 10, "middle"),
    ]
    far = [
        (x + side * 14, y + 4 + up * step, "start" if side > 0 else "end")
        for step in (16, 30, 44)
        for up in (-1, 1)
        for side in (1, -1)
    ]
    return near + far


def _inside(box: Box, area: Box) -> bool:
    return box[0] >= area[0] and box[1] >= area[1] and box[2] <= area[2] and box[3] <= area[3]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
