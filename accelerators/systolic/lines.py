"""Tiles on the lines of an array: which positions of a layer stand in which row or column.

A layer's axis (its terms, positions or channels) is cut into tiles as wide as the array has usable
lines; position p stands in tile ``p // width`` on logical line ``p % width``. A placement says in
which *physical* line each logical line sits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codesign.errors import MappingError

__all__ = ["Lines", "Ragged", "Reach", "Tiling", "boxes_of_layer", "lines_of", "runs_of_tile"]

Box: TypeAlias = tuple[int, int, int]
Reach: TypeAlias = Literal["at", "from", "any"]  # a line, it and all behind it, all wherever it is


@dataclass(frozen=True)
class Lines:
    """The rows (or columns) of an array, filled in an order.

    Attributes:
        physical: Physical position of each logical line.
        count: Physical lines there are, used or not.
    """

    physical: tuple[int, ...]
    count: int

    @property
    def width(self) -> int:
        """Lines that are used: positions in a full tile."""
        return len(self.physical)

    @cached_property
    def logical(self) -> NDArray[np.int64]:
        """``[count]`` logical line in each physical one; -1 in an unused one.

        >>> Lines((2, 0), 3).logical.tolist()
        [1, -1, 0]
        """
        found = np.full(self.count, -1, dtype=np.int64)
        found[list(self.physical)] = np.arange(self.width)
        return found

    def reached(self, physical: int, reach: Reach) -> tuple[int, ...]:
        """Logical lines at a physical position, or at it and behind it, ascending."""
        stop = physical + 1 if reach == "at" else self.count
        here = self.logical[physical:stop]
        return tuple(sorted(here[here >= 0].tolist()))

    def in_order(self, used: int) -> NDArray[np.int64]:
        """``[used]`` logical lines of a tile with ``used`` positions, in physical order.

        >>> Lines((2, 0, 1), 3).in_order(2).tolist()
        [1, 0]
        """
        return self.logical[(self.logical >= 0) & (self.logical < used)]

    def passed(self, used: int) -> NDArray[np.int64]:
        """``[count]`` how many of a tile's ``used`` positions stand at or before a physical line.

        >>> Lines((2, 0), 3).passed(2).tolist()
        [1, 1, 2]
        """
        return np.cumsum((self.logical >= 0) & (self.logical < used))


@dataclass(frozen=True)
class Tiling:
    """An axis of a layer cut into tiles, each group of channels for itself.

    Attributes:
        size: Positions of one group.
        width: Positions of a full tile.
        groups: Groups, one behind the other on the axis.
    """

    size: int
    width: int
    groups: int = 1

    @property
    def tiles(self) -> int:
        """Tiles of one group."""
        return -(-self.size // self.width)

    @property
    def last(self) -> int:
        """Positions in the last tile of a group."""
        return self.size - (self.tiles - 1) * self.width

    def used(self, tile: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions in tiles ``[...]``."""
        return np.where(tile == self.tiles - 1, self.last, self.width)

    def boxes(self, lines: Sequence[int]) -> tuple[Box, ...]:
        """All positions on some logical lines, in any tile and group, each in exactly one box.

        >>> Tiling(size=10, width=4).boxes([1])
        ((1, 10, 4),)
        >>> Tiling(size=10, width=4).boxes([2, 3])
        ((2, 10, 4), (3, 10, 4))
        >>> Tiling(size=10, width=4).boxes([0, 1, 2, 3])
        ((0, 10, 1),)
        """
        lines = [line for line in lines if line < min(self.width, self.size)]
        whole = self.size * self.groups
        if len(lines) == min(self.width, self.size):
            return ((0, whole, 1),)
        runs = list(_runs(lines))
        if self.groups == 1 or self.size % self.width == 0:
            by_line = [(line, whole, self.width) for line in lines]
        elif self.size < self.width:
            by_line = [(line, whole, self.size) for line in lines]
        else:
            by_line = [
                (group * self.size + line, (group + 1) * self.size, self.width)
                for group in range(self.groups)
                for line in lines
            ]
        if len(by_line) <= len(runs) * self.tiles * self.groups:
            return tuple(by_line)
        starts = [
            (group * self.size + tile * self.width, (group + 1) * self.size)
            for group in range(self.groups)
            for tile in range(self.tiles)
        ]
        by_tile = [(at + a, min(at + b, end), 1) for at, end in starts for a, b in runs]
        return tuple(box for box in by_tile if box[0] < box[1])


@dataclass(frozen=True, eq=False)
class Ragged:
    """For each key 0, 1, … a list of rows of numbers, of any length.

    Attributes:
        offsets: ``[keys + 1]`` where each key's rows begin.
        rows: ``[total, width]``.
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.int64]

    @staticmethod
    def of(lists: Iterable[Sequence[Sequence[int]]], width: int) -> Ragged:
        """From one list of rows for each key."""
        listed = list(lists)
        offsets = np.cumsum([0, *map(len, listed)])
        flat = [row for rows in listed for row in rows]
        return Ragged(offsets, np.array(flat, dtype=np.int64).reshape(-1, width))

    def expand(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of many keys: (``[total]`` index into ``keys``, ``[total, width]`` rows).

        >>> which, rows = Ragged.of([[(7,)], [], [(8,), (9,)]], 1).expand(np.array([2, 0]))
        >>> which.tolist(), rows[:, 0].tolist()
        ([0, 0, 1], [8, 9, 7])
        """
        counts = self.offsets[keys + 1] - self.offsets[keys]
        which = np.repeat(np.arange(len(keys)), counts)
        first = np.repeat(self.offsets[keys] - np.cumsum(counts) + counts, counts)
        return which, self.rows[first + np.arange(len(which))]


@lru_cache(maxsize=4096)
def boxes_of_layer(tiling: Tiling, lines: Lines, reach: Reach) -> Ragged:
    """By physical line: boxes of the positions reached, over all tiles and groups."""
    return Ragged.of((tiling.boxes(lines.reached(p, reach)) for p in range(lines.count)), 3)


@lru_cache(maxsize=256)
def runs_of_tile(lines: Lines, reach: Reach) -> Ragged:
    """By physical line: (start, stop) runs of the logical lines reached within one full tile."""
    return Ragged.of((tuple(_runs(lines.reached(p, reach))) for p in range(lines.count)), 2)


def lines_of(order: tuple[int, ...], count: int, what: str) -> Lines:
    """The lines of an axis in a placement's order, all in order if it gives none.

    Raises:
        MappingError: A position is outside the array.
    """
    outside = [p for p in order if not 0 <= p < count]
    if outside:
        raise MappingError(
            f"placement.{what} names {outside[0]}; the array has {what} 0..{count - 1}"
        )
    return Lines(order or tuple(range(count)), count)


def _runs(lines: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Half-open runs of ascending numbers."""
    start = 0
    for i in range(1, len(lines) + 1):
        if i == len(lines) or lines[i] != lines[i - 1] + 1:
            yield lines[start], lines[i - 1] + 1
            start = i
