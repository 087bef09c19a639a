"""A network on Gemmini's mesh with its memories, clock by clock; see `oracles_systolic`."""

from __future__ import annotations

import copy

import numpy as np
from oracles_gemmini import NOTHING, Entering, Mesh
from oracles_systolic import MEMORIES, Machine
from oracles_systolic_array import MatrixLayer
from oracles_systolic_parts import Chip, Ints, Strikes, decode, fit, requantise

from accelerators.systolic.family import Systolic
from codesign.faults import Faults
from codesign.network import Conv2d, Linear, NetworkGraph

POSITIONS = 1 << 20  # a tag is entry · POSITIONS + position


def mesh_force(
    sheet: Systolic,
    network: NetworkGraph,
    faults: Faults,
    inputs: Ints,
    rows: tuple[int, ...] = (),
    cols: tuple[int, ...] = (),
) -> Ints:
    """Outputs ``[trials, inferences, outputs]`` of a struck chip; see `brute_force`."""
    lines = (rows or tuple(range(sheet.rows)), cols or tuple(range(sheet.cols)))
    chip = Chip(
        *(sheet.rows, sheet.cols, *lines, "ws"),
        word_bits={name: getattr(sheet, name).word_bits for name in MEMORIES},
        words={name: getattr(sheet, name).words for name in MEMORIES},
    )
    graph = sheet.build()
    parts = {i: f"{u.name}.{c.name}" for i, (u, c) in enumerate(graph.components())}
    parts |= {-1 - i: f"{u.name}.*" for i, u in enumerate(graph.units)}
    widths = dict(zip(MEMORIES, (8, 8, 8, 32), strict=True))
    elements = {f"{name}.words": (chip.word_bits[name], width) for name, width in widths.items()}
    request = sheet.rows + 1
    cycles = request
    for layer in network.layers:
        if isinstance(layer, Conv2d | Linear):
            m, k, n = network.mac_shape(layer.name)
            groups = layer.groups if isinstance(layer, Conv2d) else 1
            folds = -(-k // len(lines[0])) * -(-n // groups // len(lines[1])) * groups
            cycles += folds * -(-m // sheet.rows) * request
    strikes = Strikes(faults, parts, cycles, elements)
    machine = MeshMachine(chip, network, strikes)
    return np.stack([machine.infer(codes) for codes in inputs]).transpose(2, 0, 1)


class MeshLayer(MatrixLayer):
    """What one layer needs to know of itself; the mesh is the machine's."""

    def leave_mesh(self, fold: int, position: int, col: int, value: Ints) -> None:
        """A sum goes to the accumulators."""
        group, _, row_tile = self.folds[fold]
        n = self.channel(self.folds[fold], col, self.per_group)
        if n < 0:
            return
        n += group * self.per_group
        cell = position * self.chip.cols + col
        before: Ints | int = int(self.layer.bias[n])
        if row_tile:
            before = self.machine.read("psum_sram", cell, True)
        total = fit(before + value, 32, True)
        self.machine.write("psum_sram", cell, total[None])
        cells = self.machine.cells["psum_sram"]
        self.machine.strikes.hit("psum_sram.words", self.machine.clock, cells, False)
        if row_tile == -(-self.k // len(self.chip.row_order)) - 1:
            self.totals[position, n] = self.machine.read("psum_sram", cell, True)
            self.taken[position, n] += 1

    def outputs(self) -> Ints:
        """``[*shape, trials]`` once every sum has left."""
        assert (self.taken == 1).all(), "a sum did not leave the mesh, or left it twice"
        shape = self.machine.network.shapes[self.layer.name]
        by_channel = requantise(self.layer, self.totals.transpose(1, 0, 2))
        if isinstance(self.layer, Linear):
            by_channel = by_channel.transpose(1, 0, 2)
        return by_channel.reshape(*shape, -1)


class MeshMachine(Machine):
    """A chip with a mesh; layers follow one another in it without a gap."""

    def __init__(self, chip: Chip, network: NetworkGraph, strikes: Strikes) -> None:
        super().__init__(chip, network, strikes, {x.name: True for x in network.layers})
        self.mesh = Mesh(chip.rows, strikes, resting=True)
        self.request = chip.rows + 1

    def begin(self) -> None:
        """Lay out an inference: (layer, fold, first cycle) of every fold."""
        if self.resident and self.clock == 0:
            base = self.bases["weight_sram"]
            self.due += [(x.name, 0, x.weight.size, base[x.name]) for x in self.macs]
        self.begun, at = self.clock, self.request
        self.layers = {x.name: MeshLayer(self, x) for x in self.macs}
        self.entries: list[tuple[MeshLayer | None, int, int]] = [(None, 0, 0)]
        for layer in self.layers.values():
            for fold in range(len(layer.folds)):
                self.entries.append((layer, fold, at))
                at += -(-layer.m // self.chip.rows) * self.request
        self.end = at
        turned, self.turned = False, []
        for entry in range(len(self.entries)):
            turned ^= entry > 0 or len(self.entries) % 2 == 0  # the folds are one fewer
            self.turned.append(turned)
        self.running: MeshLayer | None = None
        for _ in range(self.request):
            self.cycle()

    def run_layer(self, layer: Conv2d | Linear) -> Ints:
        """All folds of a layer, and on a copy of the mesh what comes out after them."""
        self.running = running = self.layers[layer.name]
        running.attach()
        mine = [i for i, (owner, _, _) in enumerate(self.entries) if owner is running]
        starts = [start for _, _, start in self.entries] + [self.end]
        for _ in range(starts[mine[0]], starts[mine[-1] + 1]):
            self.cycle()
        end, kept = self.clock, copy.deepcopy((self.mesh.__dict__, self.strikes))
        for _ in range(2 * self.chip.rows):
            self.step()
            self.clock += 1
        self.clock = end
        self.mesh.__dict__.update(kept[0])
        self.mesh.strikes = self.strikes
        return running.outputs()

    def cycle(self) -> None:
        """One cycle of chip: memories, then the mesh."""
        following = self.where(self.clock - self.begun)[0] + 1
        if following < len(self.entries):
            layer, fold, start = self.entries[following]
            if layer is not None and self.clock - self.begun == start - self.request:
                layer.load_weights(fold)
        self.begin_cycle()
        self.step()
        self.clock += 1

    def where(self, local: int) -> tuple[int, int]:
        """(entry, cycle in it) of a cycle of the inference; entry -1 outside."""
        if not 0 <= local < self.end:
            return -1, 0
        entry = int(np.searchsorted([start for _, _, start in self.entries], local, "right")) - 1
        return entry, local - self.entries[entry][2]

    def step(self) -> None:
        """One clock of the mesh."""
        local = self.clock - self.begun
        self.mesh.step(
            self.clock, lambda row: self.left(local, row), lambda col: self.top(local, col)
        )
        sums = decode(self.mesh.out["b"], 20)
        for col in np.flatnonzero(self.mesh.out_tag != NOTHING):
            entry, position = divmod(int(self.mesh.out_tag[col]), POSITIONS)
            layer, fold, _ = self.entries[entry]
            if layer is not None and layer is self.running:
                layer.leave_mesh(fold, position, int(col), sums[col])

    def left(self, local: int, row: int) -> Ints | int:
        """The input that enters a row, a cycle later than that above."""
        entry, t = self.where(local - row)
        layer, fold, _ = self.entries[entry] if entry >= 0 else (None, 0, 0)
        block, slot = divmod(t, self.request)
        position = block * self.chip.rows + slot
        if layer is None or layer is not self.running or slot == self.chip.rows:
            return 0
        k = layer.term(layer.folds[fold], row, layer.k)
        if k < 0 or position >= layer.m:
            return 0
        return layer.input_at(position, layer.folds[fold][0], k)

    def top(self, local: int, col: int) -> Entering:
        """The slot that enters a column: no bias; in the last request before a fold, its tile."""
        entry, t = self.where(local - col)
        block, slot = divmod(t, self.request)
        if entry < 0 or slot == self.chip.rows:
            return Entering()
        layer, _, start = self.entries[entry]
        position = block * self.chip.rows + slot
        real = layer is not None and position < layer.m
        tag = entry * POSITIONS + position if real else NOTHING
        weight: Ints | int = 0
        ends = [*(begin for _, _, begin in self.entries), self.end][entry + 1] - start
        if t >= ends - self.request and entry + 1 < len(self.entries):
            weight = self.weight(entry + 1, self.chip.rows - 1 - slot, col)
        return Entering(True, 0, weight, self.turned[entry], tag)

    def weight(self, entry: int, row: int, col: int) -> Ints | int:
        """The weight of a PE in a fold, out of memory."""
        layer, fold, _ = self.entries[entry]
        assert layer is not None
        at = layer.folds[fold]
        k, n = layer.term(at, row, layer.k), layer.channel(at, col, layer.per_group)
        if k < 0 or n < 0:
            return 0
        return decode(layer.weight_at(at[0] * layer.per_group + n, k), 8)
