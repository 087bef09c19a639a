"""When the tiles of a network are worked on: every phase of every pass, in cycles.

The phases and what each register does in them are told in `accelerators.cores`. Here they get
their numbers. A step takes ``step_cycles``; offsets are cycles within an inference, of step 0;
cycle 0 of an inference clears the membranes, so step t is ``t · step_cycles`` later.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelerators.cores.layers import CoreLayer, core_layers
from accelerators.cores.tiles import Bands, Deal, Group, Room, bands_of, deal, room_on, tile_terms
from codesign.errors import CapacityError
from codesign.mapping import Placement
from codesign.network import NetworkGraph

if TYPE_CHECKING:
    from accelerators.cores.family import Cores

__all__ = ["CLEAR_CYCLES", "LayerPlan", "Run", "Schedule", "Tile", "schedule"]

CLEAR_CYCLES = 1  # at the beginning of an inference

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tile:
    """What a crossbar holds at a time.

    Attributes:
        terms: ``[bands, rows]`` the term that each row brings to each band, -1 for none.
        start, stop: Terms of the tile.
        base: Address of its first weight in the core's memory; row by row.
        load: Cycle in which row 0 is written, row r is r later; -1 if resident.
        deliver: Cycle in which the axon registers are written.
        integrate: Cycle in which row 0 is integrated, row r is r later.
    """

    terms: Ints
    start: int
    stop: int
    base: int
    load: int
    deliver: int
    integrate: int

    @property
    def rows(self) -> int:
        """Rows in use."""
        return self.terms.shape[1]


@dataclass(frozen=True, eq=False)
class Run:
    """One group's sum on one core: its own segment, or all of them, and at home the neurons.

    Attributes:
        layer: The layer.
        core: The core.
        segment: Number of the (first) segment it sums.
        home: Whether the neurons are on this core: it then adds up the other segments.
        slot: Word of the neurons' memory, -1 away from home.
        first, width: Neurons of the group.
        bands: Which of them read the same inputs.
        columns: ``[width]`` physical columns.
        tiles: In the order of terms; several if they come after one another.
        others: Number of further segments that are added here, from other cores; 0 away from home.
        gather: Cycle in which column 0 of segment 1 is added; column c of segment s is
            ``(s - 1) · gather_width + c`` later.
        gather_width: Columns of the widest group of the round.
        fire: Cycle of the neurons' first operation, -1 for a readout.
        send: Cycle in which spikes (or the readout's currents) leave.
        round: Number of the round within the layer.
    """

    layer: CoreLayer
    core: int
    segment: int
    home: bool
    slot: int
    first: int
    width: int
    bands: Bands
    columns: Ints
    tiles: tuple[Tile, ...]
    others: int
    gather: int
    gather_width: int
    fire: int
    send: int
    round: int

    @cached_property
    def m(self) -> Ints:
        """``[width]`` position of each column's neuron."""
        return np.arange(self.first, self.first + self.width) // self.layer.channels

    @cached_property
    def n(self) -> Ints:
        """``[width]`` channel of each column's neuron."""
        return np.arange(self.first, self.first + self.width) % self.layer.channels

    def column_at(self, count: int) -> Ints:
        """``[count]`` column of the group in each physical column, -1 for none."""
        found = np.full(count, -1, dtype=np.int64)
        found[self.columns] = np.arange(self.width)
        return found

    def gathered(self, segment: Ints | int, column: Ints) -> Ints:
        """Cycle in which a column of a further segment is added at home."""
        return self.gather + (segment - 1) * self.gather_width + column

    def operation(self, name: str) -> int:
        """Cycle of a neuron operation."""
        return self.fire + self.layer.order.index(name)

    @property
    def consumed(self) -> int:
        """Cycle in which the current is read for the last time, at home."""
        return self.send if self.fire < 0 else self.operation("integrate")


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer's place in a step.

    Attributes:
        layer: The layer.
        splits: End term of each segment in the program.
        runs: By round, segment and group.
        first_cycle, last_cycle: Half open, of step 0.
    """

    layer: CoreLayer
    splits: tuple[int, ...]
    runs: tuple[Run, ...]
    first_cycle: int
    last_cycle: int


@dataclass(frozen=True, eq=False)
class Schedule:
    """All layers of a network on a chip.

    Attributes:
        room: Rows and columns that are used.
        plans: In the order of layers.
        steps: Time steps of an inference.
        resident: Whether weights stay in the crossbars.
    """

    room: Room
    plans: tuple[LayerPlan, ...]
    steps: int
    resident: bool

    @property
    def runs(self) -> tuple[Run, ...]:
        """Of all layers."""
        return tuple(run for plan in self.plans for run in plan.runs)

    @property
    def step_cycles(self) -> int:
        """Cycles of one time step."""
        return self.plans[-1].last_cycle - CLEAR_CYCLES

    @property
    def inference_cycles(self) -> int:
        """Cycles of one inference."""
        return CLEAR_CYCLES + self.steps * self.step_cycles

    def in_every_step(self, offset: int) -> tuple[int, ...]:
        """The cycles of what happens at an offset of step 0, in every step."""
        return tuple(offset + t * self.step_cycles for t in range(self.steps))


def schedule(network: NetworkGraph, sheet: Cores, placement: Placement) -> Schedule:
    """Place and time a network.

    Raises:
        MappingError: A layer or the placement is impossible on this chip.
        CapacityError: Cores, neuron memory or weight memory are too small.
    """
    layers = core_layers(network, sheet)
    room = room_on(sheet, placement)
    deals, resident = deal(layers, room, sheet)
    clerk = _Clerk(sheet, room, resident, CLEAR_CYCLES)
    plans = tuple(clerk.plan(*pair) for pair in zip(layers, deals, strict=True))
    clerk.check()
    return Schedule(room, plans, network.steps, resident)


class _Clerk:
    """Gives out cycles, memory addresses and neuron words, in the order of the schedule."""

    def __init__(self, sheet: Cores, room: Room, resident: bool, cycle: int) -> None:
        self.sheet, self.room, self.resident, self.cycle = sheet, room, resident, cycle
        self.weights = dict.fromkeys(room.cores, 0)
        self.slots = dict.fromkeys(room.cores, 0)

    def plan(self, layer: CoreLayer, deal: Deal) -> LayerPlan:
        """All rounds of a layer."""
        first = self.cycle
        runs: list[Run] = []
        for number in range(deal.groups[-1].round + 1):
            groups = [group for group in deal.groups if group.round == number]
            runs += self._round(layer, deal.splits, groups)
        splits = deal.splits if self.resident else (layer.terms,)
        return LayerPlan(layer, splits, tuple(runs), first, self.cycle)

    def check(self) -> None:
        """Refuse what the memories do not hold."""
        words, slots = max(self.weights.values()), max(self.slots.values())
        if words > self.sheet.weight_words:
            raise CapacityError(
                f"weight memory: {words} words are needed on one core, weight_words = "
                f"{self.sheet.weight_words}; enlarge it, or mesh to spread the tiles"
            )
        if slots > self.sheet.neuron_words:
            raise CapacityError(
                f"neuron memory: {slots} words a column are needed, neuron_words = "
                f"{self.sheet.neuron_words}; enlarge it, or columns or mesh for fewer rounds"
            )

    def _round(self, layer: CoreLayer, splits: tuple[int, ...], groups: list[Group]) -> list[Run]:
        """Groups that are worked on at the same time: tiles, then sums, then neurons."""
        spans = list(zip((0, *splits[:-1]), splits, strict=True))
        bands = [bands_of(layer, group.first, group.width) for group in groups]
        terms = [[tile_terms(layer, band, *span) for span in spans] for band in bands]
        if self.resident:
            tall = max(t.shape[1] for group in terms for t in group)
            times = [self._pass(tall)] * len(spans)
        else:
            times = [self._pass(max(g[s].shape[1] for g in terms)) for s in range(len(spans))]
        width = max(group.width for group in groups)
        others = len(spans) - 1 if self.resident else 0
        gather = self._take(others * width)
        fire = self._take(len(layer.order)) if layer.order else -1
        send = self._take(1)
        runs = []
        for g, group in enumerate(groups):
            tiles = [
                self._tile(terms[g][s], spans[s], group, s, times[s]) for s in range(len(spans))
            ]
            held = [(tile,) for tile in tiles] if self.resident else [tuple(tiles)]
            for segment, mine in enumerate(held):
                core = group.cores[segment]
                slot = self._slot(core) if segment == 0 else -1
                columns = self.room.columns[core][: group.width]
                home = (segment == 0, slot, group.first, group.width, bands[g], columns, mine)
                added = others if segment == 0 else 0
                last = (added, gather, width, fire, send, group.round)
                runs.append(Run(layer, core, segment, *home, *last))
        return runs

    def _pass(self, rows: int) -> tuple[int, int, int]:
        """First cycles of load, deliver and integrate."""
        load = -1 if self.resident else self._take(rows)
        return load, self._take(1), self._take(rows)

    def _tile(
        self,
        terms: Ints,
        span: tuple[int, int],
        group: Group,
        segment: int,
        times: tuple[int, int, int],
    ) -> Tile:
        core = group.cores[segment if self.resident else 0]
        base = self.weights[core]
        self.weights[core] += terms.shape[1] * group.width
        return Tile(terms, *span, base, *times)

    def _slot(self, core: int) -> int:
        self.slots[core] += 1
        return self.slots[core] - 1

    def _take(self, cycles: int) -> int:
        """The first of the next cycles."""
        first = self.cycle
        self.cycle += cycles
        return first
