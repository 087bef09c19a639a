"""Tables: every number of the page, as CSV files and inside ``results.json``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from codesign.intervals import Interval

__all__ = ["Cell", "Table", "csv_text", "interval_cells", "interval_columns", "write_tables"]

Cell: TypeAlias = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows under headings.

    Attributes:
        name: Of its file, without ``.csv``.
        columns: Headings; units in their names.
        rows: As many cells each as there are headings; None is what is not known.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def interval_columns(name: str) -> tuple[str, ...]:
    """Headings of an interval.

    >>> interval_columns("loss")
    ('loss', 'loss_low', 'loss_high', 'loss_level', 'loss_n', 'loss_method')
    """
    return (name, *(f"{name}_{part}" for part in ("low", "high", "level", "n", "method")))


def interval_cells(interval: Interval | None) -> tuple[Cell, ...]:
    """Cells below `interval_columns`."""
    if interval is None:
        return (None,) * 6
    return (
        interval.value,
        interval.low,
        interval.high,
        interval.level,
        interval.n,
        interval.method,
    )


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Comma-separated values, a heading line first, floats in the shortest exact form.

    >>> csv_text(("layer", "loss"), [("conv1", 0.1), ("a,b", None)]).splitlines()
    ['layer,loss', 'conv1,0.1', '"a,b",']
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()


def write_tables(tables: Iterable[Table], folder: Path) -> list[Path]:
    """One file each. A table without a row has none; one that an earlier report left is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        path = folder / f"{table.name}.csv"
        if table.rows:
            path.write_text(csv_text(table.columns, table.rows), encoding="utf-8")
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return written
