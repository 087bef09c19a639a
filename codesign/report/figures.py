"""What the page is made of: sections of figures."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Figure", "Section"]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        title: States what it shows.
        reading: Says how to read it, in one sentence.
        body: Safe HTML.
        tables: Names of the tables with its data.
    """

    title: str
    reading: str
    body: str
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading and its figures.

    Attributes:
        key: Anchor on the page.
        heading: Its name.
        figures: In order; a section without any is left out.
        absent: Why there is none, if there is none.
    """

    key: str
    heading: str
    figures: tuple[Figure, ...]
    absent: str = ""
