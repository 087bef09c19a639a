"""Colours: Okabe-Ito for classes, as CSS variables of the page; cividis for quantities."""

from __future__ import annotations

__all__ = ["CIVIDIS", "CLASSES", "cividis", "series_colour"]

CLASSES = 7  # --c1 … --c7: Okabe and Ito 2008, without black, which is the ink
# Nuñez, Anderton, Renslow 2018: ten anchors of the map, linear between them.
CIVIDIS = (
    (0, 34, 78),
    (18, 53, 112),
    (59, 73, 108),
    (87, 93, 109),
    (112, 113, 115),
    (138, 134, 120),
    (165, 156, 116),
    (195, 179, 105),
    (225, 204, 85),
    (254, 232, 56),
)


def cividis(value: float) -> str:
    """Colour of a quantity in [0, 1]; what lies outside has the colour of the end.

    >>> cividis(0.0), cividis(1.0)
    ('#00224e', '#fee838')
    """
    at = min(1.0, max(0.0, value)) * (len(CIVIDIS) - 1)
    i = min(int(at), len(CIVIDIS) - 2)
    pairs = zip(CIVIDIS[i], CIVIDIS[i + 1], strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (at - i)):02x}" for a, b in pairs)


def series_colour(number: int) -> str:
    """Colour of a class by its place: 0 is the ink, for what is not protected; past 7 grey.

    >>> series_colour(0), series_colour(3), series_colour(8)
    ('var(--ink)', 'var(--c3)', 'var(--faint)')
    """
    if number == 0:
        return "var(--ink)"
    return f"var(--c{number})" if number <= CLASSES else "var(--faint)"
