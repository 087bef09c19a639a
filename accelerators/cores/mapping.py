"""A spiking network on cores: what the chip computes, who is where, and when what is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelerators.cores.cost import cost_of
from accelerators.cores.footprint import footprint_of
from accelerators.cores.phases import holdings_of
from accelerators.cores.schedule import CLEAR_CYCLES, Run, Schedule
from codesign.accelerator import AcceleratorGraph
from codesign.faults import Faults
from codesign.guards import Guard
from codesign.mapping import Activity, Assignment, Cost, Footprint, Holding
from codesign.network import NetworkGraph
from codesign.program import MacArithmetic, Program

if TYPE_CHECKING:
    from accelerators.cores.family import Cores

__all__ = ["CoresMapping"]

Box = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class CoresMapping:
    """A network on a chip of `accelerators.cores.family.Cores`.

    Attributes:
        sheet: The chip's datasheet.
        network: What is computed.
        schedule: Where and when.
    """

    sheet: Cores
    network: NetworkGraph
    schedule: Schedule

    @cached_property
    def accelerator(self) -> AcceleratorGraph:
        """The chip."""
        return self.sheet.build()

    def program(self, guards: tuple[Guard, ...]) -> Program:
        """What the cores compute; see `accelerators.cores.family` for the order of everything."""
        form = self.sheet.current
        arithmetic = {
            plan.layer.name: MacArithmetic(form, form, plan.splits, bias_in="load")
            for plan in self.schedule.plans
        }
        membranes = {
            self.network.layers[plan.layer.lif].name: self.sheet.membrane
            for plan in self.schedule.plans
            if plan.layer.lif is not None
        }
        return Program(self.network, arithmetic, membranes, guards)

    def assignments(self) -> tuple[Assignment, ...]:
        """Who is where, when, in every step: tiles on crossbars, groups of neurons under them.

        The columns of an assignment are those of its neurons if they lie side by side; where a
        placement scatters rows or columns, the smallest range that holds them is given.
        """
        found: list[Assignment] = []
        for step in range(self.schedule.steps):
            later = step * self.schedule.step_cycles
            for plan in self.schedule.plans:
                for number, run in enumerate(plan.runs):
                    found += _of_run(run, number, step, later, self.schedule)
        return tuple(found)

    def footprint(self, faults: Faults, inferences: int) -> Footprint:
        """What faults touch; vectorised over faults.

        Raises:
            FaultError: A fault or a window that cannot exist on this chip.
            UnsupportedError: Faults in packets that no kind of effect says.
        """
        return footprint_of(self, faults, inferences)

    def exposures(self, unit: str, component: str) -> tuple[int, ...]:
        """When what is stored in a component stands there; see `codesign.mapping.Mapping`.

        A reloaded tile is one content, from its first *deliver* cycle on, although every step loads
        it anew; what changes from step to step (membranes, currents, inputs, spikes) counts in
        every step, membranes at its beginning.

        Raises:
            FaultError: No such unit or component.
        """
        self.accelerator.unit(unit).component(component)
        runs = self.schedule.runs
        if component == "weight_register" and not self.schedule.resident:
            return tuple(sorted({tile.deliver for run in runs for tile in run.tiles}))
        offsets = {
            "code": {tile.deliver for run in runs for tile in run.tiles},
            "axon": {tile.deliver for run in runs for tile in run.tiles},
            "axon_register": {tile.integrate for run in runs for tile in run.tiles},
            "current_register": {run.tiles[0].integrate for run in runs},
            "membrane": {CLEAR_CYCLES},
            "spike_line": {run.send for run in runs if run.layer.lif is not None},
        }
        if component not in offsets:
            return (0,)
        cycles = {c for first in offsets[component] for c in self.schedule.in_every_step(first)}
        return tuple(sorted(cycles))

    def occupied(self, unit: str, component: str) -> NDArray[np.bool_]:
        """``[instances, words]`` which words hold, carry or compute something of this network.

        A fault anywhere else is idle, whenever it strikes.

        Raises:
            FaultError: No such unit or component.
        """
        part = self.accelerator.unit(unit)
        used = np.zeros((*part.shape, part.component(component).words), dtype=bool)
        for run in self.schedule.runs:
            if unit == "neuron":
                _mark_neurons(used, component, run)
            elif unit in ("core", "port"):
                used[run.core] = True
            else:
                _mark_tiles(used, component, run, self.schedule.room.rows)
        return used.reshape(part.instances, -1)

    def holdings(self) -> tuple[Holding, ...]:
        """What stands in the words of the weight memories."""
        return tuple(holdings_of(self))

    def cost(self, activity: Activity, guards: tuple[Guard, ...]) -> Cost:
        """What one inference costs; see `accelerators.cores.cost`."""
        return cost_of(self, activity, guards)


def _of_run(
    run: Run, number: int, step: int, later: int, schedule: Schedule
) -> Iterator[Assignment]:
    """Assignments of one run in one step."""
    name = run.layer.name
    core = (run.core, run.core + 1)
    for m, n, columns in _boxes(run):
        used = run.columns[columns[0] : columns[1]]
        across = (int(used.min()), int(used.max()) + 1)
        for tile in run.tiles:
            rows = schedule.room.rows[: tile.rows]
            if not len(rows):
                continue
            down = (int(rows.min()), int(rows.max()) + 1)
            first = tile.load if tile.load >= 0 else tile.deliver
            cycles = (first + later, tile.integrate + tile.rows + later)
            k = (tile.start, tile.stop, 1)
            yield Assignment(name, "crossbar", (core, down, across), m, k, n, *cycles, number, step)
        if run.home:
            first = run.fire if run.fire >= 0 else run.send
            k = (0, run.layer.terms, 1)
            cycles = (first + later, run.send + 1 + later)
            yield Assignment(name, "neuron", (core, across), m, k, n, *cycles, number, step)


def _boxes(run: Run) -> Iterator[tuple[Box, Box, tuple[int, int]]]:
    """The neurons of a run as at most three boxes (m, n), and their columns of the group."""
    channels = run.layer.channels
    first, stop = run.first, run.first + run.width
    head = min(-(-first // channels) * channels, stop)
    body = max(stop // channels * channels, head)
    for start, end in pairwise(sorted({first, head, body, stop})):
        position, channel = divmod(start, channels)
        columns = (start - first, end - first)
        if (start, end) == (head, body):
            yield (position, end // channels, 1), (0, channels, 1), columns
        else:
            yield (position, position + 1, 1), (channel, channel + end - start, 1), columns


def _mark_neurons(used: NDArray[np.bool_], component: str, run: Run) -> None:
    """Mark what one run needs of ``[cores, columns, words]``."""
    if component == "current_register":
        used[run.core, run.columns, 0] = True
    elif run.home and (component == "bias" or run.layer.lif is not None):
        stored = component in ("bias", "membrane", "threshold")
        used[run.core, run.columns, run.slot if stored else 0] = True


def _mark_tiles(
    used: NDArray[np.bool_], component: str, run: Run, physical: NDArray[np.int64]
) -> None:
    """Mark what the tiles of one run need of axons, crosspoints or the weight memory."""
    for tile in run.tiles:
        rows = physical[: tile.rows]
        synapses = (tile.terms[run.bands.of] >= 0).T
        if component == "axon_register":
            used[run.core, rows, 0] = True
        elif component == "weight_register":
            used[run.core, rows[:, None], run.columns, 0] |= synapses
        else:
            used[run.core, tile.base : tile.base + synapses.size] |= synapses.reshape(-1)
