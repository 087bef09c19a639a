"""Evaluates many trials of a small network at once: the program's equations on whole tensors.

For tests that need thousands of trials of networks too small for it to matter that every operand of
every term of every trial is held in memory. Equality with the reference engine is tested where it
is used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codesign.effects import At, Effects, Kind, box, corrupt
from codesign.formats import NumberFormat
from codesign.network import (
    Add,
    Concat,
    Conv2d,
    Flatten,
    Input,
    Layer,
    Linear,
    MaxPool2d,
    Slice,
)
from codesign.program import Program

Ints = NDArray[np.int64]


def evaluate_small(program: Program, inputs: Ints, effects: Effects) -> Ints:
    """Outputs ``[trials, samples, outputs]`` on input codes ``[samples, ...]``."""
    return _Evaluation(program, inputs, effects).outputs()


class _Evaluation:
    def __init__(self, program: Program, inputs: Ints, effects: Effects) -> None:
        self.program, self.network = program, program.network
        self.inputs, self.table = inputs, effects.table
        self.shape = (effects.trials, len(inputs))
        self.stored: dict[str, Ints] = {}  # [trials, samples, *shape]

    def outputs(self) -> Ints:
        for index, layer in enumerate(self.network.layers):
            self.stored[layer.name] = self.layer(index, layer)
        return self.stored[self.network.layers[-1].name].reshape(*self.shape, -1)

    def rows(self, kind: Kind, index: int) -> NDArray[np.void]:
        """Rows of a kind and layer in the order in which they act."""
        rows = self.table[(self.table["kind"] == kind) & (self.table["layer"] == index)]
        order = np.lexsort((rows["op"] == 1, rows["rank"]))
        return rows[order]

    def strike(self, values: Ints, row: np.void, *axes: tuple[str, int]) -> None:
        """Corrupt ``values [trials, samples, *axes]`` in place."""
        samples = slice(row["samples"][0], None if row["samples"][1] < 0 else row["samples"][1])
        boxes = tuple(_slice(box(row[axis], size)) for axis, size in axes)
        at = (row["trial"], samples, *boxes)
        values[at] = corrupt(values[at], row)

    def read(self, layer: Layer, number: int) -> Ints:
        name = layer.inputs[number].source
        index, reader = self.network.index(name), self.network.index(layer.name)
        rows = self.rows(Kind.activation, index)
        rows = rows[(rows["reader"] < 0) | (rows["reader"] == reader)]
        values = self.stored[name]
        if len(rows) == 0:
            return values
        m, n = self.network.grid(name)
        at = np.array([[self.network.element(name, i, j) for j in range(n)] for i in range(m)])
        grid = values.reshape(*self.shape, -1)[:, :, at]
        for row in rows:
            self.strike(grid, row, ("m", m), ("n", n))
        flat = np.empty((*self.shape, m * n), dtype=np.int64)
        flat[:, :, at] = grid
        return flat.reshape(values.shape)

    def layer(self, index: int, layer: Layer) -> Ints:
        if isinstance(layer, Input):
            return np.broadcast_to(self.inputs, (*self.shape, *layer.shape)).astype(np.int64)
        xs = [self.read(layer, i) for i in range(len(layer.inputs))]
        shape = (*self.shape, *self.network.shapes[layer.name])
        if isinstance(layer, Conv2d | Linear):
            return self.mac(index, layer, xs[0])
        if isinstance(layer, Flatten):
            return xs[0].reshape(shape)
        if isinstance(layer, Concat):
            assert set(layer.requantise) == {None}
            return np.concatenate(xs, axis=2)
        if isinstance(layer, Slice):
            return xs[0][(slice(None), slice(None), *(slice(*s) for s in layer.slices))]
        if isinstance(layer, Add):
            pairs = zip(layer.multipliers, xs, strict=True)
            total = np.sum([k * x for k, x in pairs], axis=0)
            return total if layer.requantise is None else layer.requantise.code(total, 2)
        assert isinstance(layer, MaxPool2d)
        (kh, kw), (sy, sx) = layer.kernel, layer.stride
        rows, cols = shape[-2:]
        views = [
            xs[0][..., i : i + sy * (rows - 1) + 1 : sy, j : j + sx * (cols - 1) + 1 : sx]
            for i in range(kh)
            for j in range(kw)
        ]
        return np.max(views, axis=0)

    def mac(self, index: int, layer: Conv2d | Linear, x: Ints) -> Ints:
        arithmetic = self.program.arithmetic[layer.name]
        m, k, n = self.network.mac_shape(layer.name)
        operands = np.empty((*self.shape, m, k, n), dtype=np.int64)
        operands[:] = self.im2col(layer, x)
        weights = np.empty_like(operands)
        weights[:] = layer.weight.reshape(n, k).T
        axes = (("m", m), ("k", k), ("n", n))
        for row in self.rows(Kind.operand, index):
            self.strike(weights if row["at"] == At.weight else operands, row, *axes)
        products = weights * operands
        for row in self.rows(Kind.term, index):
            self.strike(products, row, *axes)
        sums = self.rows(Kind.accumulator, index)
        outer, inner = arithmetic.outer, arithmetic.inner
        bias = np.broadcast_to(layer.bias, (m, n))
        total = np.zeros((*self.shape, m, n), dtype=np.int64)
        total[:] = outer.fit(bias) if arithmetic.bias_in == "outer" else 0
        for s in range(len(arithmetic.segments)):
            here = sums[(sums["segment"] < 0) | (sums["segment"] == s)]
            acc = np.zeros_like(total)
            if s == 0 and arithmetic.bias_in == "load":
                acc[:] = bias
            self.strike_sums(acc, here[here["at"] == At.load], axes)
            for j, term in enumerate(arithmetic.terms(s).tolist(), 1):
                acc = _added(inner, acc, products[:, :, :, term])
                now = (here["at"] == At.every) | ((here["at"] == At.after) & (here["after"] == j))
                self.strike_sums(acc, here[now], axes)
            if arithmetic.readout is not None:
                acc = arithmetic.readout.code(acc, 3)
            self.strike_sums(acc, here[here["at"] == At.out], axes)
            if arithmetic.readout is not None:
                acc = np.clip(acc, arithmetic.readout.low, arithmetic.readout.high)
            total = _added(outer, total, acc)
            self.strike_sums(total, here[here["at"] == At.total], axes)
        if layer.requantise is not None:
            total = layer.requantise.code(total, 3)
        if isinstance(layer, Conv2d):
            total = total.transpose(0, 1, 3, 2)
        return total.reshape(*self.shape, *self.network.shapes[layer.name])

    def strike_sums(
        self, sums: Ints, rows: NDArray[np.void], axes: tuple[tuple[str, int], ...]
    ) -> None:
        for row in rows:
            self.strike(sums, row, axes[0], axes[2])

    def im2col(self, layer: Conv2d | Linear, x: Ints) -> Ints:
        """``[trials, samples, m, k, n or 1]``."""
        if isinstance(layer, Linear):
            return x.reshape(*self.shape, -1, x.shape[-1])[..., None]
        n, per_group, kh, kw = layer.weight.shape
        _, rows, cols = self.network.shapes[layer.name]
        top, bottom, left, right = layer.padding
        padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (top, bottom), (left, right)))
        (sy, sx), found = layer.stride, []
        for i in range(kh):
            for j in range(kw):
                found.append(
                    padded[..., i : i + sy * (rows - 1) + 1 : sy, j : j + sx * (cols - 1) + 1 : sx]
                )
        taps = np.stack(found, axis=3)  # [trials, samples, channels, taps, rows, cols]
        taps = taps.reshape(*self.shape, layer.groups, per_group * kh * kw, rows * cols)
        by_channel = np.repeat(taps, n // layer.groups, axis=2)  # [trials, samples, n, k, m]
        return by_channel.transpose(0, 1, 4, 3, 2)


def _slice(indices: range) -> slice:
    return slice(indices.start, indices.stop, indices.step)


def _added(form: NumberFormat, a: Ints, b: Ints) -> Ints:
    return form.fit(a + b)
