"""A systolic array with its memories, simulated cycle by cycle: many struck copies at once.

Written from the description of the datapath (`accelerators.systolic.schedule` and
`accelerators.systolic.memories`) and from nothing else of the package.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from oracles_systolic_array import MatrixLayer
from oracles_systolic_parts import Chip, Ints, Strikes, decode, requantise

from accelerators.systolic.family import Systolic
from codesign.faults import Faults
from codesign.network import Add, Conv2d, Flatten, Input, Layer, Linear, MaxPool2d, NetworkGraph

MEMORIES = ("dram", "weight_sram", "activation_sram", "psum_sram")


def brute_force(
    sheet: Systolic,
    network: NetworkGraph,
    faults: Faults,
    inputs: Ints,
    rows: tuple[int, ...] = (),
    cols: tuple[int, ...] = (),
    signed: dict[str, bool] | None = None,
) -> Ints:
    """Outputs ``[trials, inferences, outputs]`` of a struck chip on inputs ``[inferences, ...]``.

    Args:
        sheet: The chip; only its plain numbers are used.
        network: A network of one step.
        faults: Of every trial.
        inputs: One inference each, one after the other on the same chip.
        rows: Physical rows in the order they are filled; all in order if empty.
        cols: Columns, likewise.
        signed: Layers whose output codes are two's complement; the others' are unsigned.
    """
    flow = {"weight_stationary": "ws", "output_stationary": "os", "input_stationary": "is"}
    chip = Chip(
        sheet.rows,
        sheet.cols,
        rows or tuple(range(sheet.rows)),
        cols or tuple(range(sheet.cols)),
        flow[sheet.dataflow],
        sheet.weight_bits,
        sheet.input_bits,
        sheet.psum_bits,
        sheet.psum_overflow == "saturate",
        sheet.accumulator_bits,
        {name: getattr(sheet, name).word_bits for name in MEMORIES},
        {name: getattr(sheet, name).words for name in MEMORIES},
    )
    graph = sheet.build()
    parts = {i: f"{u.name}.{c.name}" for i, (u, c) in enumerate(graph.components())}
    parts |= {-1 - i: f"{u.name}.*" for i, u in enumerate(graph.units)}
    widths = (sheet.weight_bits, sheet.weight_bits, sheet.input_bits, sheet.accumulator_bits)
    elements = {
        f"{name}.words": (chip.word_bits[name], width)
        for name, width in zip(MEMORIES, widths, strict=True)
    }
    strikes = Strikes(faults, parts, cycles(chip, network), elements)
    machine = Machine(chip, network, strikes, signed or {})
    return np.stack([machine.infer(codes) for codes in inputs]).transpose(2, 0, 1)


def cycles(chip: Chip, network: NetworkGraph) -> int:
    """Cycles of one inference, counted as SCALE-Sim counts."""
    total = 0
    for layer in network.layers:
        if not isinstance(layer, Conv2d | Linear):
            continue
        m, k, n = network.mac_shape(layer.name)
        groups = layer.groups if isinstance(layer, Conv2d) else 1
        sizes = {"ws": (k, n // groups, m), "os": (m, n // groups, k), "is": (k, m, n // groups)}
        down, across, stream = sizes[chip.dataflow]
        folds = -(-down // len(chip.row_order)) * -(-across // len(chip.col_order)) * groups
        load = 0 if chip.dataflow == "os" else chip.rows
        total += folds * (load + chip.rows + chip.cols + stream - 2)
    return total


@dataclass
class Map:
    """A feature map in the activation memory: what needs it, and where it stands."""

    name: str
    base: int
    size: int


class Machine:
    """A chip that runs a network on all trials at once.

    Args:
        chip: The chip.
        network: A network of one step.
        strikes: The faults.
        signed: Whether the codes that a layer gives are two's complement, by name.
    """

    def __init__(
        self, chip: Chip, network: NetworkGraph, strikes: Strikes, signed: dict[str, bool]
    ) -> None:
        self.chip, self.network, self.strikes, self.signed = chip, network, strikes, signed
        self.trials, self.clock = strikes.trials, 0
        self.element = {
            "dram": chip.weight_bits,
            "weight_sram": chip.weight_bits,
            "activation_sram": chip.input_bits,
            "psum_sram": chip.outer_bits,
        }
        self.cells = {}
        for name, bits in self.element.items():
            count = chip.words[name] * (chip.word_bits[name] // bits)
            self.cells[name] = np.zeros((1, count, self.trials), dtype=np.int64)
        self.macs = [x for x in network.layers if isinstance(x, Conv2d | Linear)]
        self.bases = {name: self.layout(name) for name in ("dram", "weight_sram")}
        self.resident = self.bases["weight_sram"]["end"] <= self.cells["weight_sram"].shape[1]
        for layer in self.macs:
            self.write("dram", self.bases["dram"][layer.name], layer.weight.ravel()[:, None])
        self.maps: list[Map] = []
        self.due: list[tuple[str, int, int, int]] = []  # layer, first element, count, at

    # -- memories

    def layout(self, memory: str) -> dict[str, int]:
        """First element of each layer's weights, each layer in a new word, and the end."""
        per_word = self.chip.word_bits[memory] // self.element[memory]
        bases, at = {}, 0
        for layer in self.macs:
            bases[layer.name] = at
            at += -(-layer.weight.size // per_word) * per_word
        return {**bases, "end": at}

    def write(self, memory: str, at: int, values: Ints) -> None:
        """Put elements behind one another."""
        bits = self.element[memory]
        self.cells[memory][0, at : at + len(values)] = values & ((1 << bits) - 1)

    def read(self, memory: str, at: int, signed: bool) -> Ints:
        """An element, of all trials."""
        value = decode(self.cells[memory][0, at], self.element[memory], signed)
        return np.where(self.strikes.dead(memory), 0, value)

    def begin_cycle(self) -> None:
        """Faults strike DRAM, memories that are due are written, faults strike the SRAMs."""
        self.strikes.hit("dram.words", self.clock, self.cells["dram"])
        for layer, first, count, at in self.due:
            source = self.bases["dram"][layer] + first
            values = self.cells["dram"][0, source : source + count]
            if self.strikes.dead("dram").any():
                values = np.where(self.strikes.dead("dram"), 0, values)
            self.cells["weight_sram"][0, at : at + count] = values
        self.due = []
        for memory in ("weight_sram", "activation_sram", "psum_sram"):
            self.strikes.hit(f"{memory}.words", self.clock, self.cells[memory])

    # -- the network

    def infer(self, inputs: Ints) -> Ints:
        """Outputs ``[outputs, trials]`` of one inference on input codes ``[...]``."""
        direct: dict[str, Ints] = {}  # what the vector unit has at hand, [*shape, trials]
        self.begin()
        last = self.network.layers[-1].name
        new: list[str] = []
        self.maps = []
        for layer in self.network.layers:
            if isinstance(layer, Conv2d | Linear):
                self.store(new, direct, layer)
                direct, new = {layer.name: self.run_layer(layer)}, [layer.name]
            else:
                direct[layer.name] = self.vector(layer, direct, inputs)
                new.append(layer.name)
        return direct[last].reshape(-1, self.trials)

    def begin(self) -> None:
        """What happens before the first layer of an inference."""
        if self.resident and self.clock == 0:
            base = self.bases["weight_sram"]
            self.due += [(x.name, 0, x.weight.size, base[x.name]) for x in self.macs]

    def run_layer(self, layer: Conv2d | Linear) -> Ints:
        """A layer with weights, outputs ``[*shape, trials]``."""
        return MatrixLayer(self, layer).run()

    def vector(self, layer: Layer, direct: dict[str, Ints], inputs: Ints) -> Ints:
        """A layer without weights, done between two cycles."""
        if isinstance(layer, Input):
            return np.repeat(np.asarray(inputs, dtype=np.int64)[..., None], self.trials, axis=-1)
        xs = [self.fetch(edge.source, direct) for edge in layer.inputs]
        if isinstance(layer, Flatten):
            shape = self.network.shapes[layer.name]
            return xs[0].reshape(*shape, self.trials)
        if isinstance(layer, Add):
            pairs = zip(layer.multipliers, xs, strict=True)
            return requantise(layer, np.sum([k * x for k, x in pairs], axis=0))
        assert isinstance(layer, MaxPool2d)
        assert layer.padding == (0, 0, 0, 0)
        _, rows, cols = self.network.shapes[layer.name]
        (kh, kw), (sy, sx) = layer.kernel, layer.stride
        return np.max(
            [
                xs[0][:, i : i + sy * rows : sy, j : j + sx * cols : sx][:, :rows, :cols]
                for i in range(kh)
                for j in range(kw)
            ],
            axis=0,
        )

    def fetch(self, name: str, direct: dict[str, Ints]) -> Ints:
        """A whole map: at hand, or out of memory."""
        if name in direct:
            return direct[name]
        (where,) = [x for x in self.maps if x.name == name]
        values = [
            self.read("activation_sram", where.base + i, self.signed.get(name, False))
            for i in range(where.size)
        ]
        return np.array(values).reshape(*self.network.shapes[name], self.trials)

    def store(self, new: list[str], direct: dict[str, Ints], running: Layer) -> None:
        """Write new maps that somebody will read later, each at the lowest place that is free."""
        names = [x.name for x in self.network.layers]
        now = names.index(running.name)

        def needed(name: str) -> bool:
            # By this layer with weights or anything behind it.
            return any(names.index(r) >= now for r in self.network.readers(name))

        self.maps = [x for x in self.maps if needed(x.name)]
        per_word = self.chip.word_bits["activation_sram"] // self.element["activation_sram"]
        for name in [x for x in new if needed(x)]:
            values = direct[name].reshape(-1, self.trials)
            base = 0
            taken = sorted((x.base, x.base + x.size) for x in self.maps)
            for start, stop in taken:
                if base + len(values) <= start:
                    break
                base = max(base, -(-stop // per_word) * per_word)
            self.write("activation_sram", base, values)
            self.maps.append(Map(name, base, len(values)))
