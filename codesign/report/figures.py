"""What the page is made of: sections of figures, and tables inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

__all__ = ["Figure", "Section", "Shown", "html_table"]

Shown: TypeAlias = str | tuple[str, float | None]
"""A cell: its text, or its text and the number it is sorted by."""


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


def html_table(
    headings: Sequence[str], rows: Sequence[Sequence[Shown]], sortable: bool = False
) -> str:
    """A table; with ``sortable`` a click on a heading sorts by its column.

    >>> html_table(("a", "b"), [("x<y", ("1 %", 0.01))]).splitlines()[1]
    '<tbody><tr><th scope="row">x&lt;y</th><td data-value="0.01">1 %</td></tr>'
    """
    ask = "<button>{}</button>" if sortable else "{}"
    sort = ' aria-sort="none"' if sortable else ""
    head = "".join(
        f'<th scope="col"{sort}>{ask.format(escape(heading))}</th>' for heading in headings
    )
    body = "".join(f"<tr>{_cells(row)}</tr>\n" for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[Shown]) -> str:
    made = []
    for i, cell in enumerate(row):
        told, value = cell if isinstance(cell, tuple) else (cell, None)
        sorted_by = ""
        if isinstance(cell, tuple):
            sorted_by = f' data-value="{"" if value is None else repr(float(value))}"'
        text = escape(told)
        made.append(
            f'<th scope="row"{sorted_by}>{text}</th>' if i == 0 else f"<td{sorted_by}>{text}</td>"
        )
    return "".join(made)
