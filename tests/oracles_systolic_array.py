"""One layer on a systolic array, cycle by cycle and register by register, for `oracles_systolic`.

Every register, memory cell and net of every copy of the chip exists as a number; clock edges move
them, faults strike them, counters feed the edges of the array, and tags that travel with the data
say what a sum that leaves the array belongs to. The last axis of every array is the copy (the
trial); a trial may have any number of faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from oracles_systolic_parts import Ints, decode, fit, requantise

from codesign.network import Conv2d, Linear

if TYPE_CHECKING:
    from oracles_systolic import Machine

NOTHING = -1  # the tag of data that belong to nothing
FOLD = 1 << 20  # a tag is fold · FOLD + position


class MatrixLayer:
    """One layer on the machine's array, from its first fold to the last sum that leaves."""

    def __init__(self, machine: Machine, layer: Conv2d | Linear) -> None:
        self.machine, self.layer, self.chip = machine, layer, machine.chip
        network = machine.network
        self.m, self.k, self.n = network.mac_shape(layer.name)
        self.groups = layer.groups if isinstance(layer, Conv2d) else 1
        self.per_group = self.n // self.groups
        chip, trials = self.chip, machine.trials
        shape = (chip.rows, chip.cols, trials)
        self.weight, self.input, self.psum = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        self.mac = np.zeros(shape, dtype=np.int64)
        self.moving_tag = np.full(shape[:2], NOTHING)
        self.psum_tag = np.full(shape[:2], NOTHING)
        self.down_tag = np.full(shape[:2], NOTHING)
        self.totals = np.zeros((self.m, self.n, trials), dtype=np.int64)
        self.taken = np.zeros((self.m, self.n), dtype=np.int64)
        self.folds = self.all_folds()
        self.loaded = (0, 0)  # channels whose weights stand in weight_sram
        self.first_weight = 0  # where weight (0, 0) stands or would stand

    # -- what goes where

    def attach(self) -> None:
        """Find the map that the layer reads, now that it stands in memory."""
        source = self.layer.inputs[0].source
        (self.source,) = [x for x in self.machine.maps if x.name == source]
        self.signed_input = self.machine.signed.get(source, False)
        self.address = self.im2col(self.machine.network.shapes[source])

    def im2col(self, shape: tuple[int, ...]) -> Ints:
        """``[m, groups, k]`` element of the source map that is term k of position m, or -1."""
        layer = self.layer
        if isinstance(layer, Linear):
            return np.arange(self.m * self.k).reshape(self.m, 1, self.k)
        channels, height, width = shape
        _, per_group, kh, kw = layer.weight.shape
        found = np.full((self.m, self.groups, self.k), -1)
        out_width = self.machine.network.shapes[layer.name][2]
        for m in range(self.m):
            top = m // out_width * layer.stride[0] - layer.padding[0]
            left = m % out_width * layer.stride[1] - layer.padding[2]
            for c in range(channels):
                for i in range(kh):
                    for j in range(kw):
                        y, x = top + i, left + j
                        if 0 <= y < height and 0 <= x < width:
                            k = (c % per_group * kh + i) * kw + j
                            found[m, c // per_group, k] = (c * height + y) * width + x
        return found

    def all_folds(self) -> list[tuple[int, int, int]]:
        """(group, column tile, row tile) in the order they run."""
        across = {"ws": self.per_group, "os": self.per_group, "is": self.m}[self.chip.dataflow]
        down = {"ws": self.k, "os": self.m, "is": self.k}[self.chip.dataflow]
        width, height = len(self.chip.col_order), len(self.chip.row_order)
        return [
            (g, i, j)
            for g in range(self.groups)
            for i in range(-(-across // width))
            for j in range(-(-down // height))
        ]

    def term(self, fold: tuple[int, int, int], row: int, size: int) -> int:
        """Position of the rows' axis in a physical row, or -1."""
        if row not in self.chip.row_order:
            return -1
        at = fold[2] * len(self.chip.row_order) + self.chip.row_order.index(row)
        return at if at < size else -1

    def channel(self, fold: tuple[int, int, int], col: int, size: int) -> int:
        """Position of the columns' axis in a physical column, or -1."""
        if col not in self.chip.col_order:
            return -1
        at = fold[1] * len(self.chip.col_order) + self.chip.col_order.index(col)
        return at if at < size else -1

    # -- memories

    def load_weights(self, number: int) -> None:
        """Order the weights that the fold needs and that are not there, as many as fit."""
        machine = self.machine
        if machine.resident:
            self.first_weight = machine.bases["weight_sram"][self.layer.name]
            return
        per_fold = len(self.chip.col_order) if self.chip.dataflow != "is" else self.per_group
        pieces = []  # (first channel, channels) in the order they are needed
        for g in range(self.groups):
            for start in range(0, self.per_group, per_fold):
                pieces.append((g * self.per_group + start, min(per_fold, self.per_group - start)))
        g, tile, _ = self.folds[number]
        channel = g * self.per_group + (tile * per_fold if self.chip.dataflow != "is" else 0)
        if number and self.loaded[0] <= channel < self.loaded[1]:
            return
        room = machine.cells["weight_sram"].shape[1]
        stop = channel
        for first, count in pieces:
            if first >= channel and (first + count - channel) * self.k <= room:
                stop = first + count
        assert stop > channel
        self.loaded = (channel, stop)
        machine.due.append((self.layer.name, channel * self.k, (stop - channel) * self.k, 0))
        self.first_weight = -channel * self.k

    def weight_at(self, n: int, k: int) -> Ints:
        """Pattern of a weight, out of memory."""
        at = self.first_weight + n * self.k + k
        return self.machine.read("weight_sram", at, True) & ((1 << self.chip.weight_bits) - 1)

    def input_at(self, m: int, group: int, k: int) -> Ints | int:
        """Pattern of an input, out of memory; a zero of the padding stands nowhere."""
        at = int(self.address[m, group, k])
        if at < 0:
            return 0
        value = self.machine.read("activation_sram", self.source.base + at, False)
        return value & ((1 << self.chip.input_bits) - 1)

    # -- the run

    def run(self) -> Ints:
        """All folds and the drain; outputs ``[*shape, trials]``."""
        self.attach()
        flow = self.chip.dataflow
        load = 0 if flow == "os" else self.chip.rows
        stream = {"ws": self.m, "os": self.k, "is": self.per_group}[flow]
        cycles = load + self.chip.rows + self.chip.cols + stream - 2
        step = self.resting_cycle if flow == "os" else self.passing_cycle
        for number in range(len(self.folds)):
            for t in range(cycles):
                if t == 0:
                    self.load_weights(number)
                self.machine.begin_cycle()
                step(number, t, stream)
                self.machine.clock += 1
        end = self.machine.clock
        for t in range(cycles, cycles + 3):  # nothing more enters; what is inside comes out
            step(len(self.folds) - 1, t, stream)
            self.machine.clock += 1
        self.machine.clock = end
        assert (self.taken == 1).all(), "a sum did not leave the array, or left it twice"
        shape = self.machine.network.shapes[self.layer.name]
        if isinstance(self.layer, Conv2d):
            return requantise(self.layer, self.totals.transpose(1, 0, 2)).reshape(*shape, -1)
        flat = requantise(self.layer, self.totals.transpose(1, 0, 2)).transpose(1, 0, 2)
        return flat.reshape(*shape, -1)

    def passing_cycle(self, number: int, t: int, stream: int) -> None:
        """Weight (input) stationary: one clock of loading or streaming."""
        fold, chip = self.folds[number], self.chip
        flow = chip.dataflow
        held, moving = (self.weight, self.input) if flow == "ws" else (self.input, self.weight)
        if t < chip.rows:
            held[1:] = held[:-1].copy()
            feed = [self.held_feed(fold, chip.rows - 1 - t, col) for col in range(chip.cols)]
            held[0] = self.wires("weight_bus" if flow == "ws" else "activation_bus", feed)
        self.psum[:], self.psum_tag[:] = self.mac, self.moving_tag
        moving[:, 1:], self.moving_tag[:, 1:] = (
            moving[:, :-1].copy(),
            self.moving_tag[:, :-1].copy(),
        )
        feed = []
        for row in range(chip.rows):
            count = t - (chip.rows - 1) - row  # each row starts a cycle after the one above
            on = 0 <= count < stream
            feed.append(self.moving_feed(fold, row, count) if on else 0)
            self.moving_tag[row, 0] = number * FOLD + count if on else NOTHING
        moving[:, 0] = self.wires("activation_bus" if flow == "ws" else "weight_bus", feed)
        self.strike_registers()
        product = self.products()
        above = np.zeros_like(self.mac)
        above[1:] = decode(self.psum[:-1], chip.psum_bits)
        for row in range(1, chip.rows):
            both = (self.moving_tag[row] != NOTHING) & (self.psum_tag[row - 1] != NOTHING)
            assert (self.moving_tag[row] == self.psum_tag[row - 1])[both].all()
        for row in range(chip.rows):
            if self.term(fold, row, self.k) < 0:
                product[row] = 0
        self.settle(above + product)
        for col in range(chip.cols):
            self.leave(chip.rows - 1, col, int(self.psum_tag[-1, col]))

    def resting_cycle(self, number: int, t: int, stream: int) -> None:
        """Output stationary: one clock of streaming; sums stay."""
        fold, chip = self.folds[number], self.chip
        was_on = self.moving_tag != NOTHING
        self.psum[was_on] = self.mac[was_on]
        self.psum_tag[:] = self.moving_tag
        self.input[:, 1:], self.moving_tag[:, 1:] = (
            self.input[:, :-1].copy(),
            self.moving_tag[:, :-1].copy(),
        )
        self.weight[1:], self.down_tag[1:] = self.weight[:-1].copy(), self.down_tag[:-1].copy()
        inputs: list[Ints | int] = []
        for row in range(chip.rows):
            k, m = t - row, self.term(fold, row, self.m)
            on = 0 <= k < stream
            inputs.append(self.input_at(m, fold[0], k) if on and m >= 0 else 0)
            self.moving_tag[row, 0] = number * FOLD + k if on else NOTHING
        self.input[:, 0] = self.wires("activation_bus", inputs)
        weights: list[Ints | int] = []
        for col in range(chip.cols):
            k, n = t - col, self.channel(fold, col, self.per_group)
            on = 0 <= k < stream
            at = fold[0] * self.per_group + n
            weights.append(self.weight_at(at, k) if on and n >= 0 else 0)
            self.down_tag[0, col] = number * FOLD + k if on else NOTHING
        self.weight[0] = self.wires("weight_bus", weights)
        assert (self.moving_tag == self.down_tag).all()
        self.strike_registers()
        product = self.products()
        before = decode(self.psum, chip.psum_bits)
        before[(self.moving_tag != NOTHING) & (self.moving_tag % FOLD == 0)] = 0
        self.settle(before + product)
        for row in range(chip.rows):
            for col in range(chip.cols):
                tag = int(self.psum_tag[row, col])
                if tag != NOTHING and tag % FOLD == stream - 1:
                    self.leave(row, col, tag)

    def held_feed(self, fold: tuple[int, int, int], row: int, col: int) -> Ints | int:
        """What enters at the top of a column for a row."""
        k = self.term(fold, row, self.k)
        size = self.per_group if self.chip.dataflow == "ws" else self.m
        across = self.channel(fold, col, size)
        if k < 0 or across < 0:
            return 0
        if self.chip.dataflow == "ws":
            return self.weight_at(fold[0] * self.per_group + across, k)
        return self.input_at(across, fold[0], k)

    def moving_feed(self, fold: tuple[int, int, int], row: int, count: int) -> Ints | int:
        """What enters at the left of a row, the count-th of the fold."""
        k = self.term(fold, row, self.k)
        if k < 0:
            return 0
        if self.chip.dataflow == "ws":
            return self.input_at(count, fold[0], k)
        return self.weight_at(fold[0] * self.per_group + count, k)

    def wires(self, bus: str, words: list[Ints | int]) -> Ints:
        """``[lanes, trials]`` what comes out of the lanes of a bus in this cycle."""
        machine = self.machine
        patterns = np.zeros((len(words), 1, machine.trials), dtype=np.int64)
        for lane, word in enumerate(words):
            patterns[lane, 0] = word
        machine.strikes.hit(f"{bus}.wire", machine.clock, patterns)
        machine.strikes.hit(f"{bus}.*", machine.clock, patterns)
        return patterns[:, 0]

    def strike_registers(self) -> None:
        """Faults strike what the registers now hold."""
        for name in ("weight", "input", "psum"):
            patterns = getattr(self, name)
            bits = getattr(self.chip, f"{name}_bits")
            patterns &= (1 << bits) - 1
            flat = patterns.reshape(-1, 1, self.machine.trials)
            self.machine.strikes.hit(f"array.{name}_register", self.machine.clock, flat)

    def products(self) -> Ints:
        """What the multipliers give, faults on their outputs and dead elements included."""
        chip, strikes, clock = self.chip, self.machine.strikes, self.machine.clock
        weight = decode(self.weight, chip.weight_bits)
        product = weight * decode(self.input, chip.input_bits, self.signed_input)
        bits = chip.weight_bits + chip.input_bits
        flat = product.reshape(-1, self.machine.trials)
        flat = strikes.net("array.product", clock, flat, bits)
        flat = strikes.net("array.*", clock, flat, bits)
        return flat.reshape(self.mac.shape)

    def settle(self, sums: Ints) -> None:
        """What the adders give, faults on their outputs included."""
        sums = fit(sums, self.chip.psum_bits, self.chip.psum_saturates)
        flat = sums.reshape(-1, self.machine.trials)
        flat = self.machine.strikes.net(
            "array.mac_out", self.machine.clock, flat, self.chip.psum_bits
        )
        self.mac[:] = flat.reshape(self.mac.shape)

    def leave(self, row: int, col: int, tag: int) -> None:
        """A sum in a psum register goes to the accumulators, if it belongs to something."""
        if tag == NOTHING:
            return
        chip, machine = self.chip, self.machine
        (group, col_tile, row_tile), position = self.folds[tag // FOLD], tag % FOLD
        fold = (group, col_tile, row_tile)
        across = self.channel(fold, col, self.m if chip.dataflow == "is" else self.per_group)
        m, n = {
            "ws": (position, across),
            "is": (across, position),
            "os": (self.term(fold, row, self.m), across),
        }[chip.dataflow]
        if m < 0 or n < 0 or across < 0:
            return
        n += group * self.per_group
        cell = (row if chip.dataflow == "os" else position) * chip.cols + col
        out: list[Ints | int] = [0] * chip.cols
        out[col] = self.psum[row, col] & ((1 << chip.psum_bits) - 1)
        value = decode(self.wires("sum_bus", out)[col], chip.psum_bits)
        if row_tile == 0 or chip.dataflow == "os":
            bias = self.layer.bias
            before: Ints | int = int(bias[m, n] if bias.ndim == 2 else bias[n])
        else:
            before = machine.read("psum_sram", cell, True)
        total = fit(before + value, chip.outer_bits, True)
        machine.write("psum_sram", cell, total[None])
        machine.strikes.hit("psum_sram.words", machine.clock, machine.cells["psum_sram"], False)
        if chip.dataflow == "os" or row_tile == -(-self.k // len(chip.row_order)) - 1:
            self.totals[m, n] = machine.read("psum_sram", cell, True)
            self.taken[m, n] += 1
