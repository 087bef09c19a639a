"""Cutting layers into tiles that fit a core, and dealing the tiles to cores.

The neurons of a layer (columns) are cut into *groups* of neighbours, its terms (rows) into
*segments* of neighbours. A tile is one segment of one group: its rows are the inputs that the
group's neurons read in these terms, each once, ascending. So every column meets its terms in the
order of k, whatever its tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelerators.cores.layers import CoreLayer
from codesign.errors import CapacityError, MappingError
from codesign.mapping import Placement

if TYPE_CHECKING:
    from accelerators.cores.family import Cores

__all__ = ["Bands", "Deal", "Group", "Room", "bands_of", "deal", "room_on", "tile_terms"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Room:
    """Rows and columns that a placement leaves.

    Attributes:
        rows: Physical row of each logical row, the same in every core.
        columns: By usable core, physical column of each logical column.
    """

    rows: Ints
    columns: dict[int, Ints]

    @cached_property
    def cores(self) -> tuple[int, ...]:
        """Usable cores in the order in which they are filled."""
        return tuple(self.columns)

    def row_at(self, count: int) -> Ints:
        """``[count]`` logical row in each physical one, -1 in an unused one."""
        found = np.full(count, -1, dtype=np.int64)
        found[self.rows] = np.arange(len(self.rows))
        return found


@dataclass(frozen=True, eq=False)
class Bands:
    """Neurons of a group that read the same inputs: one position and one group of channels each.

    Attributes:
        m: ``[bands]`` position.
        inputs: ``[bands]`` group of input channels.
        n: ``[bands, 2]`` channels, half open.
        of: ``[width]`` band of each column of the group.
    """

    m: Ints
    inputs: Ints
    n: Ints
    of: Ints


@dataclass(frozen=True)
class Group:
    """Neighbouring neurons of a layer and the cores that sum their segments.

    Attributes:
        first, width: Neurons first … first + width - 1.
        cores: One core for each segment, or one that sums all segments after one another.
        round: Groups of one round are worked on at the same time.
    """

    first: int
    width: int
    cores: tuple[int, ...]
    round: int = 0


@dataclass(frozen=True)
class Deal:
    """How one layer is cut and dealt.

    Attributes:
        splits: End term of each segment.
        groups: In the order of neurons.
    """

    splits: tuple[int, ...]
    groups: tuple[Group, ...]


def room_on(sheet: Cores, placement: Placement) -> Room:
    """What a placement leaves of a chip.

    Raises:
        MappingError: It names a row, column or core that does not exist.
        CapacityError: It leaves no core.
    """
    rows = _order("rows", placement.rows, sheet.axons)
    columns = _order("columns", placement.columns, sheet.columns)
    usable = np.ones((sheet.cores, sheet.columns), dtype=bool)
    for instance in placement.forbidden:
        limits = (sheet.cores, sheet.columns)[: len(instance)]
        if len(instance) not in (1, 2) or any(
            not 0 <= i < n for i, n in zip(instance, limits, strict=True)
        ):
            raise MappingError(
                f"placement.forbidden: {instance} is no (core,) or (core, column) of {sheet.name}, "
                f"which has cores 0..{sheet.cores - 1} and columns 0..{sheet.columns - 1}"
            )
        usable[instance] = False
    left = {g: columns[usable[g, columns]] for g in range(sheet.cores) if usable[g, columns].any()}
    if not left:
        raise CapacityError(
            f"cores: at least 1 is needed and the placement leaves none of {sheet.cores}; "
            "shorten placement.forbidden"
        )
    return Room(rows, left)


def deal(layers: tuple[CoreLayer, ...], room: Room, sheet: Cores) -> tuple[tuple[Deal, ...], bool]:
    """Cut all layers, and whether their weights stay in the crossbars.

    Every tile gets a core of its own if there are enough (segments are then summed in parallel);
    else each layer is dealt to the cores in rounds, and a core sums the segments of its group one
    after the other.

    Raises:
        CapacityError: The datasheet asks for resident weights and they do not fit.
    """
    if sheet.weights == "reloaded":
        return tuple(_in_rounds(layer, room) for layer in layers), False
    deals, needed = _side_by_side(layers, room)
    if needed <= len(room.cores):
        return deals, True
    if sheet.weights == "resident":
        raise CapacityError(
            f"cores: {needed} are needed to keep all weights resident, {len(room.cores)} are "
            f"usable on {sheet.name}; enlarge mesh, axons or columns, or say weights: auto"
        )
    return tuple(_in_rounds(layer, room) for layer in layers), False


def bands_of(layer: CoreLayer, first: int, width: int) -> Bands:
    """The bands of neurons first … first + width - 1."""
    m, n = np.divmod(np.arange(first, first + width), layer.channels)
    inputs = n // (layer.channels // layer.groups)
    key = m * layer.groups + inputs
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    last = np.r_[starts[1:], width] - 1
    of = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, width]))
    return Bands(m[starts], inputs[starts], np.stack([n[starts], n[last] + 1], axis=1), of)


def tile_terms(layer: CoreLayer, bands: Bands, start: int, stop: int) -> Ints:
    """``[bands, rows]`` the term k that each row brings to each band, -1 for none.

    Rows are the elements of the source that terms start … stop - 1 read, ascending.
    """
    elements = layer.elements[bands.m, bands.inputs, start:stop]
    rows = np.unique(elements)
    rows = rows[rows >= 0]
    terms = np.full((len(bands.m), len(rows)), -1, dtype=np.int64)
    band, k = np.nonzero(elements >= 0)
    terms[band, np.searchsorted(rows, elements[band, k])] = k + start
    return terms


def _order(name: str, order: tuple[int, ...], count: int) -> Ints:
    if not order:
        return np.arange(count)
    wrong = [i for i in order if not 0 <= i < count]
    if wrong:
        raise MappingError(f"placement.{name} names {wrong[0]}; there are 0..{count - 1}")
    return np.array(order, dtype=np.int64)


def _widest(layer: CoreLayer, columns: int, room: Room) -> int:
    """Columns of a group: one term of each band always fits the rows."""
    return columns if layer.positions * layer.groups == 1 else min(columns, len(room.rows))


def _in_rounds(layer: CoreLayer, room: Room) -> Deal:
    """Deal a layer's neurons over the cores, round after round."""
    groups: list[Group] = []
    first = 0
    while first < layer.neurons:
        core = room.cores[len(groups) % len(room.cores)]
        width = min(_widest(layer, len(room.columns[core]), room), layer.neurons - first)
        groups.append(Group(first, width, (core,), len(groups) // len(room.cores)))
        first += width
    return Deal(_splits(layer, groups, len(room.rows)), tuple(groups))


def _side_by_side(layers: tuple[CoreLayer, ...], room: Room) -> tuple[tuple[Deal, ...], int]:
    """One core for each tile of all layers, and how many cores that takes."""
    deals = []
    used = 0
    for layer in layers:
        segments = 0
        splits: tuple[int, ...] = (layer.terms,)
        # More segments can narrow the groups (a group is as wide as its narrowest core), never
        # lengthen their terms, so this ends.
        while len(splits) > segments:
            segments = len(splits)
            groups = _groups(layer, room, used, segments)
            splits = _splits(layer, groups, len(room.rows))
        used += segments * len(groups)
        groups = [Group(g.first, g.width, g.cores[: len(splits)]) for g in groups]
        deals.append(Deal(splits, tuple(groups)))
    return tuple(deals), used


def _groups(layer: CoreLayer, room: Room, used: int, segments: int) -> list[Group]:
    """Groups on the next free cores; beyond the last, on imagined ones as wide as the widest."""
    widest = max(len(columns) for columns in room.columns.values())
    groups: list[Group] = []
    first = 0
    while first < layer.neurons:
        mine = range(used, used + segments)
        real = [room.cores[i] for i in mine if i < len(room.cores)]
        width = min([len(room.columns[core]) for core in real], default=widest)
        width = min(_widest(layer, width, room), layer.neurons - first)
        groups.append(Group(first, width, tuple(real)))
        first += width
        used += segments
    return groups


def _splits(layer: CoreLayer, groups: list[Group], rows: int) -> tuple[int, ...]:
    """End terms of the fewest segments whose tiles fit the rows, each as long as it can be."""
    if layer.positions * layer.groups == 1:
        return (*range(rows, layer.terms, rows), layer.terms)
    bands = [bands_of(layer, group.first, group.width) for group in groups]
    ends = []
    start = 0
    while start < layer.terms:
        stop = _longest(layer, bands, start, rows)
        ends.append(stop)
        start = stop
    return tuple(ends)


def _longest(layer: CoreLayer, bands: list[Bands], start: int, rows: int) -> int:
    """The last end of a segment from ``start`` on that fits the rows in every group."""
    fits, too_long = start + 1, layer.terms + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        most = 0
        for band in bands:
            elements = np.unique(layer.elements[band.m, band.inputs, start:middle])
            most = max(most, len(elements) - bool(elements[0] < 0))
        fits, too_long = (middle, too_long) if most <= rows else (fits, middle)
    return fits
