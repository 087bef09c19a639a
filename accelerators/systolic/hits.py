"""Which elements of which layers a struck part of the array meets: boxes of positions, by window.

A window that covers whole inferences meets all folds of all layers, said in a few strided boxes;
the parts of an inference before and after are cut into folds, each met in a run of its stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.systolic.effects import Struck, Windows
from accelerators.systolic.lines import Reach, boxes_of_layer, runs_of_tile
from accelerators.systolic.schedule import LayerPlan, Pieces, Schedule

__all__ = ["Hits", "Strike"]

Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Hits:
    """Elements of one layer that faults meet, in columns.

    Attributes:
        plan: The layer's.
        which: ``[hits]`` index of the fault among those struck.
        samples: ``[hits, 2]`` inferences, half open; -1 as stop means to the end.
        boxes: By axis, ``[hits, 3]`` start, stop, step; an axis that is left out is met whole.
        row_tile: ``[hits]`` of hits within one fold, empty for hits in all folds.
        first: ``[hits]`` streamed position at which a hit within a fold begins.
    """

    plan: LayerPlan
    which: Ints
    samples: Ints
    boxes: dict[str, Ints]
    row_tile: Ints
    first: Ints

    def take(self, index: Ints) -> Hits:
        """Some of them, in another order or several times."""
        return Hits(
            self.plan,
            self.which[index],
            self.samples[index],
            {axis: box[index] for axis, box in self.boxes.items()},
            self.row_tile[index] if len(self.row_tile) else self.row_tile,
            self.first[index] if len(self.first) else self.first,
        )

    def without(self, axis: str) -> Hits:
        """The same, whole along an axis."""
        return replace(self, boxes={a: box for a, box in self.boxes.items() if a != axis})


@dataclass(frozen=True, eq=False)
class Strike:
    """Faults of one component of the array, and how their elements are found.

    Attributes:
        schedule: Of the network on the array.
        struck: The faults.
        inferences: Of the run.
    """

    schedule: Schedule
    struck: Struck
    inferences: int

    @property
    def row(self) -> Ints:
        """``[faults]`` physical row."""
        return self.struck.instance // self.schedule.cols.count

    @property
    def col(self) -> Ints:
        """``[faults]`` physical column."""
        return self.struck.instance % self.schedule.cols.count

    def windows(self, delay: Ints | int) -> Windows:
        """Windows in a time that is 0 when a PE meets position 0 of the first fold."""
        start, stop = self.struck.start - delay, self.struck.stop - delay
        return Windows.cut(start, stop, self.schedule.cycles, self.inferences)

    def everywhere(self, windows: Windows, rows: Reach, cols: Reach) -> Iterator[Hits]:
        """What windows meet in whole inferences, layer by layer."""
        for plan in self.schedule.layers if len(windows.whole) else ():
            which = np.arange(len(windows.whole))
            boxes: dict[str, Ints] = {}
            for axis, tiling, lines, line, reach in (
                (self.schedule.roles[0], plan.rows, self.schedule.rows, self.row, rows),
                (self.schedule.roles[1], plan.cols, self.schedule.cols, self.col, cols),
            ):
                if reach == "any":
                    continue
                ragged = boxes_of_layer(tiling, lines, reach)
                again, box = ragged.expand(line[windows.whole[which]])
                which, boxes = which[again], {a: b[again] for a, b in boxes.items()}
                boxes[axis] = box
            none = np.zeros(0, dtype=np.int64)
            yield Hits(plan, windows.whole[which], windows.samples[which], boxes, none, none)

    def pieces(self, windows: Windows) -> Iterator[tuple[LayerPlan, Pieces]]:
        """The parts of windows, fold by fold, gathered by layer; `Pieces.which` names faults."""
        found = self.schedule.pieces(windows.start, windows.stop)
        found = replace(found, which=windows.part[found.which])
        for number in np.unique(found.layer[found.layer >= 0]):
            yield self.schedule.layers[number], found.take(np.flatnonzero(found.layer == number))

    def in_folds(
        self, plan: LayerPlan, pieces: Pieces, rows: Reach, cols: Reach, row: Ints | None = None
    ) -> Hits:
        """What pieces meet whose start and stop are positions of the stream.

        Args:
            plan: Of the layer that all pieces are in.
            pieces: Parts of windows.
            rows: How far the site reaches over rows.
            cols: How far over columns.
            row: ``[pieces]`` physical rows; those of the faults if None.
        """
        start, stop = pieces.start, np.minimum(pieces.stop, plan.stream)
        group, col_tile, row_tile = plan.tiles(pieces.fold)
        at = np.flatnonzero(start < stop)
        boxes: dict[str, Ints] = {}
        row = self.row[pieces.which] if row is None else row
        col = self.col[pieces.which]
        for axis, tiling, lines, line, tile, reach in (
            (self.schedule.roles[0], plan.rows, self.schedule.rows, row, row_tile, rows),
            (self.schedule.roles[1], plan.cols, self.schedule.cols, col, col_tile, cols),
        ):
            if reach == "any":
                continue
            again, runs = runs_of_tile(lines, reach).expand(line[at])
            used = tiling.used(tile[at[again]])
            kept = np.flatnonzero(runs[:, 0] < used)
            again, runs, used = again[kept], runs[kept], used[kept]
            at, boxes = at[again], {a: b[again] for a, b in boxes.items()}
            base = tile[at] * tiling.width
            boxes[axis] = _box(base + runs[:, 0], base + np.minimum(runs[:, 1], used))
        boxes[self.schedule.roles[2]] = _box(start[at], stop[at])
        if "n" in boxes:
            boxes["n"][:, :2] += (group[at] * (plan.n // plan.groups))[:, None]
        inference = pieces.inference[at]
        samples = np.stack([inference, inference + 1], axis=1)
        return Hits(plan, pieces.which[at], samples, boxes, row_tile[at], start[at])


def _box(start: Ints, stop: Ints) -> Ints:
    """``[boxes, 3]`` runs as start, stop, step."""
    return np.stack([start, stop, np.ones_like(start)], axis=1)
