"""A network on a systolic array: how it computes, who is where, what faults touch and all costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from accelerators.systolic.cost import cost
from accelerators.systolic.effects import EffectRows, Struck, overruled, struck
from accelerators.systolic.gemmini_network import active_register, refuse_meetings, strike_mesh
from accelerators.systolic.hits import Strike
from accelerators.systolic.holdings import holdings_of
from accelerators.systolic.lines import Lines, lines_of
from accelerators.systolic.maps import feature_maps
from accelerators.systolic.memories import Memories
from accelerators.systolic.registers import Widths, strike_array
from accelerators.systolic.schedule import Axis, LayerPlan, Schedule, plan
from accelerators.systolic.store import Store
from accelerators.systolic.weights import WeightPlan
from accelerators.systolic.wires import BUSES, strike_bus
from codesign.accelerator import AcceleratorGraph
from codesign.effects import Effects
from codesign.errors import MappingError, UnsupportedError
from codesign.faults import Faults
from codesign.formats import NumberFormat
from codesign.guards import Guard
from codesign.mapping import Activity, Assignment, Cost, Footprint, Holding, Placement
from codesign.network import Conv2d, Lif, Linear, NetworkGraph, is_mac
from codesign.program import MacArithmetic, Program

if TYPE_CHECKING:
    from accelerators.systolic.family import Memory, Systolic

__all__ = ["SystolicMapping"]


@dataclass(frozen=True, eq=False)
class SystolicMapping:
    """A convolutional network on a systolic array.

    Attributes:
        sheet: The array's datasheet.
        network: What is computed.
        placement: Which rows and columns are used, in which order.
    """

    sheet: Systolic
    network: NetworkGraph
    placement: Placement

    def __post_init__(self) -> None:
        _refuse_spiking(self.sheet, self.network)
        _refuse_wide_weights(self.sheet, self.network)
        _ = self.schedule, self.widths, self.memories

    @cached_property
    def accelerator(self) -> AcceleratorGraph:
        """The chip."""
        return self.sheet.build()

    @cached_property
    def schedule(self) -> Schedule:
        """Which fold runs when."""
        rows = lines_of(self.placement.rows, self.sheet.rows, "rows")
        mesh = self.sheet.datapath == "gemmini"
        return plan(self.network, self.sheet.dataflow, rows, self._columns(), mesh)

    @cached_property
    def memories(self) -> Memories:
        """What stands in the memories."""
        sheet = self.sheet
        activation = _store("activation_sram", sheet.activation_sram, sheet.input_bits)
        return Memories(
            self.network,
            self.schedule,
            WeightPlan(
                self.schedule,
                _store("weight_sram", sheet.weight_sram, sheet.weight_bits),
                _store("dram", sheet.dram, sheet.weight_bits),
            ),
            feature_maps(self.network, activation, always_signed=self.sheet.datapath == "gemmini"),
            activation,
            _store("psum_sram", sheet.psum_sram, sheet.accumulator_bits),
        )

    @cached_property
    def widths(self) -> Widths:
        """Widths and signs of what stands in the elements."""
        signed = {stored.name: stored.signed for stored in self.memories.maps}
        return Widths(
            self.sheet.weight_bits,
            self.sheet.input_bits,
            self.sheet.psum_bits,
            {layer.name: signed[layer.inputs[0].source] for layer in self.network if is_mac(layer)},
        )

    def program(self, guards: tuple[Guard, ...]) -> Program:
        """What the array computes: each fold over terms sums them from the first row down.

        The bias enters where the passes are added up.
        """
        inner = NumberFormat(self.sheet.psum_bits, overflow=self.sheet.psum_overflow)
        outer = NumberFormat(self.sheet.accumulator_bits, overflow=self.sheet.accumulator_overflow)
        arithmetic = {}
        for layer in self.schedule.layers:
            if layer.segments == 1 and self.schedule.roles[0] != "k":
                arithmetic[layer.name] = MacArithmetic(inner, outer, (layer.k,))
                continue
            tiles = np.arange(layer.rows.tiles)
            used = layer.rows.used(tiles)
            terms = [
                tile * layer.rows.width + self.schedule.rows.in_order(int(count))
                for tile, count in zip(tiles, used, strict=True)
            ]
            order = np.concatenate(terms)
            natural = bool((order == np.arange(layer.k)).all())
            splits = tuple(np.cumsum(used).tolist())
            arithmetic[layer.name] = MacArithmetic(inner, outer, splits, None if natural else order)
        return Program(self.network, arithmetic, guards=guards)

    def footprint(self, faults: Faults, inferences: int) -> Footprint:
        """What faults touch; see the modules of registers and memories for the rules."""
        faults.check(self.accelerator)
        rows = EffectRows(faults.table, self.schedule.cycles)
        parts = self.accelerator.components()
        units = self.accelerator.units
        memories = {i: -1 - units.index(u) for i, (u, c) in enumerate(parts) if c.name == "words"}
        counts = ~overruled(faults.table, self.schedule.cycles, memories)
        if self.sheet.datapath == "gemmini":
            names = {i: c.name for i, (u, c) in enumerate(parts) if u.name == "array"}
            refuse_meetings(faults.table, names, self.schedule)
        for part in faults.parts():
            which = np.flatnonzero((faults.table["part"] == part) & counts)
            found = struck(faults.table, which, self.schedule.cycles, inferences)
            unit = parts[part][0] if part >= 0 else self.accelerator.units[-1 - part]
            component = parts[part][1].name if part >= 0 else "*"
            if unit.name in ("array", "edge"):
                self._strike(unit.name, component, found, inferences, rows)
            elif unit.name in BUSES:
                told = (unit.name, self.schedule, found, self.widths, inferences, rows)
                strike_bus(*told, dead=component == "*")
            elif component == "row_address":
                self.memories.refuse_address(unit.name)
            elif component == "*":
                self.memories.strike_dead(unit.name, found, inferences, rows)
            else:
                self.memories.strike(unit.name, found, inferences, rows)
        count = np.bincount(faults.table["trial"], minlength=faults.trials)
        idle = np.bincount(faults.table["trial"][~rows.hits], minlength=faults.trials)
        return Footprint(Effects(rows.table(), faults.trials), count, idle)

    def _strike(
        self, unit: str, component: str, found: Struck, inferences: int, rows: EffectRows
    ) -> None:
        """Strike the array, or the registers below a mesh, which stand in a row behind its last."""
        if unit == "edge":
            found = replace(found, instance=found.instance + self.sheet.rows * self.sheet.cols)
        strike = Strike(self.schedule, found, inferences)
        if self.sheet.datapath == "generic":
            strike_array(component, strike, self.widths, rows)
        elif component == "*":
            raise UnsupportedError(
                f"{unit}: a dead element is not modelled on the gemmini datapath"
            )
        else:
            strike_mesh(component, strike, rows)

    def exposures(self, unit: str, component: str) -> tuple[int, ...]:
        """Cycles from which on each content of a component stands there.

        Memories: when something is written to them. A resting operand: when a fold's tile is in
        place (in a mesh, whose elements begin one after the other, in the last of them, when the
        first have used it already). Everything else changes every cycle.
        """
        self.accelerator.unit(unit).component(component)
        if unit not in ("array", "edge", *BUSES):
            return self.memories.exposures(unit)
        if component in ("c1", "c2"):
            mine = active_register(self.schedule) == int(component[1])
            mine[0] = False
            skew = 2 * (self.sheet.rows - 1)
            there = np.minimum(self.schedule.starts[mine] + skew, self.schedule.cycles - 1)
            return tuple(there.tolist())
        if component == f"{self.schedule.held}_register":
            return tuple((self.schedule.starts + self.sheet.rows - 1).tolist())
        return tuple(range(self.schedule.cycles))

    def assignments(self) -> tuple[Assignment, ...]:
        """One for each fold; in a mesh the registers below it hand on the fold's sums."""
        folds = [fold for layer in self.schedule.layers for fold in self._folds(layer)]
        if self.sheet.datapath == "generic":
            return tuple(folds)
        below = [replace(fold, unit="edge", instances=fold.instances[1:]) for fold in folds]
        return tuple(one for pair in zip(folds, below, strict=True) for one in pair)

    def holdings(self) -> tuple[Holding, ...]:
        """What stands in the words of the memories."""
        return holdings_of(self.memories)

    def cost(self, activity: Activity, guards: tuple[Guard, ...]) -> Cost:
        """What one inference costs; it depends on the activity only under ``zero_gating``."""
        return cost(self.sheet, self.memories, activity, guards)

    def _folds(self, layer: LayerPlan) -> Iterator[Assignment]:
        """The folds of a layer, in order."""
        channels = layer.n // layer.groups
        sizes: dict[Axis, int] = {"m": layer.m, "k": layer.k, "n": channels}
        for fold in range(layer.folds):
            group, col_tile, row_tile = (int(i) for i in layer.tiles(np.array(fold)))
            boxes: dict[str, tuple[int, int, int]] = {}
            instances = []
            for axis, tiling, lines, tile in (
                (self.schedule.roles[0], layer.rows, self.schedule.rows, row_tile),
                (self.schedule.roles[1], layer.cols, self.schedule.cols, col_tile),
            ):
                used = int(tiling.used(np.array(tile)))
                boxes[axis] = (tile * tiling.width, tile * tiling.width + used, 1)
                seats = lines.physical[:used]
                instances.append((min(seats), max(seats) + 1))
            boxes[self.schedule.roles[2]] = (0, sizes[self.schedule.roles[2]], 1)
            start, stop, step = boxes["n"]
            boxes["n"] = (group * channels + start, group * channels + stop, step)
            first = layer.first_cycle + fold * layer.fold_cycles
            yield Assignment(
                layer.name,
                "array",
                tuple(instances),
                m=boxes["m"],
                k=boxes["k"],
                n=boxes["n"],
                first_cycle=first,
                last_cycle=first + layer.fold_cycles,
                number=fold,
            )

    def _columns(self) -> Lines:
        order = lines_of(self.placement.columns, self.sheet.cols, "columns").physical
        shape = (self.sheet.rows, self.sheet.cols)
        for at in self.placement.forbidden:
            if len(at) != 2 or not all(0 <= i < n for i, n in zip(at, shape, strict=True)):
                raise MappingError(f"placement.forbidden names {at}; the array has shape {shape}")
        left_out = {at[1] for at in self.placement.forbidden}
        kept = tuple(c for c in order if c not in left_out)
        if not kept:
            raise MappingError(
                f"{self.sheet.name}: no column is left; "
                f"forbidden elements stand in {sorted(left_out)}"
            )
        return Lines(kept, self.sheet.cols)


def _store(unit: str, memory: Memory, width: int) -> Store:
    return Store(unit, memory.words, memory.word_bits // width, width)


def _refuse_spiking(sheet: Systolic, network: NetworkGraph) -> None:
    for layer in network:
        delayed = any(edge.delay_steps for edge in layer.inputs)
        if isinstance(layer, Lif) or delayed or network.steps > 1:
            raise MappingError(
                f"{sheet.name}: {network.name} is a spiking network ({layer.name}, "
                f"{network.steps} steps); systolic arrays here run networks of one step"
            )
    if not any(is_mac(layer) for layer in network):
        raise MappingError(f"{sheet.name}: {network.name} has no layer with weights to run")


def _refuse_wide_weights(sheet: Systolic, network: NetworkGraph) -> None:
    held = NumberFormat(sheet.weight_bits)
    for layer in network:
        if isinstance(layer, Conv2d | Linear):
            form = layer.weight_format
            if not held.holds([form.low, form.high]):
                raise MappingError(
                    f"{sheet.name}: weights of {layer.name} are {form.low}..{form.high}; its "
                    f"weight_register holds {held.low}..{held.high}"
                )
