"""One effect's place in a program: its box, and the golden values around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codesign.effects import box, corrupt
from codesign.network import Conv2d, Linear, NetworkGraph, is_mac
from codesign.program import MacArithmetic, Program

__all__ = ["Place", "Touched", "Values", "source_elements"]

Ints: TypeAlias = NDArray[np.int64]
Values: TypeAlias = dict[str, Ints]  # by layer ``[steps, *shape]``, membranes as the engines say

NAMED = 4  # values that are shown with their names
MOST = 1 << 20  # values of one effect that are looked at


@dataclass(frozen=True, eq=False)
class Touched:
    """The values of one effect on one sample.

    Attributes:
        names: Of the first few, as ``c.weight[1,0,0,1]`` or ``f[3] at step 2``.
        golden: ``[values]`` int64 that stand there without the fault.
        faulty: ``[values]`` int64 after the corruption of the golden ones.
        complete: Whether these are all; False if there are too many, or they are not known.
    """

    names: tuple[str, ...]
    golden: Ints
    faulty: Ints
    complete: bool = True

    @property
    def changed(self) -> int:
        """How many the corruption changes."""
        return int((self.golden != self.faulty).sum())


def source_elements(network: NetworkGraph, name: str, m: Ints, k: Ints, n: Ints) -> Ints:
    """Flat index in its source of the input that term k of output (m, n) reads; -1: padding.

    Args:
        network: The network.
        name: A layer with weights.
        m: Positions; of equal shape with k and n, or shapes that broadcast.
        k: Terms.
        n: Channels.
    """
    layer = network[name]
    if isinstance(layer, Linear):
        return np.asarray(m * layer.weight.shape[1] + k + 0 * n)
    assert isinstance(layer, Conv2d)
    outputs, per_group, height, width = layer.weight.shape
    _, rows, cols = network.shapes[layer.inputs[0].source]
    across = network.shapes[name][2]
    channel = k // (height * width) + n // (outputs // layer.groups) * per_group
    y = m // across * layer.stride[0] + k // width % height - layer.padding[0]
    x = m % across * layer.stride[1] + k % width - layer.padding[2]
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < cols)
    return np.where(inside, (channel * rows + y) * cols + x, -1)


class Place:
    """One effect row with what is needed to look its values up.

    Attributes:
        row: Of `codesign.effects.EFFECT`.
        layer: The layer it names.
        m, k, n, steps: What its selectors pick; k of a layer with weights only.
        complete: Whether none of these was cut.
    """

    def __init__(self, row: np.void, program: Program, golden: Values) -> None:
        self.row, self.program, self.golden = row, program, golden
        self.network = program.network
        self.layer = self.network.layers[int(row["layer"])]
        self.name = self.layer.name
        positions, channels = self.network.grid(self.name)
        self.m = np.array(box(row["m"], positions))
        self.n = np.array(box(row["n"], channels))
        self.steps = np.array(box((*row["steps"], 1), self.network.steps))
        self.steps = self.steps[self.steps < self.network.steps]
        self.complete = True
        if is_mac(self.layer):
            self.k = np.array(box(row["k"], self.network.mac_shape(self.name)[1]))

    def cut(self, others: int) -> None:
        """Keep so many positions that at most `MOST` values are looked at."""
        most = max(1, MOST // max(1, others))
        self.complete &= len(self.m) <= most
        self.m = self.m[:most]

    def result(
        self, golden: Ints, name: Callable[[int], str], faulty: int | None = None
    ) -> Touched:
        """Corrupt flat values, or take what is there instead; ``name`` tells the i-th one's."""
        flat = golden.reshape(-1)
        names = tuple(name(i) for i in range(min(NAMED, len(flat))))
        wrong = corrupt(flat, self.row) if faulty is None else np.full_like(flat, faulty)
        return Touched(names, flat, wrong, self.complete)

    def arithmetic(self) -> MacArithmetic:
        """How the chip sums the layer's terms."""
        return self.program.arithmetic[self.name]

    def weights(self) -> Ints:
        """``[n, k]`` of the layer."""
        assert isinstance(self.layer, Conv2d | Linear)
        return self.layer.weight.reshape(self.layer.weight.shape[0], -1)

    def bias(self) -> Ints:
        """``[m, n]`` of the box."""
        assert isinstance(self.layer, Conv2d | Linear)
        bias = self.layer.bias
        some = bias[np.ix_(self.m, self.n)] if bias.ndim == 2 else bias[self.n][None]
        return np.broadcast_to(some, (len(self.m), len(self.n)))

    def inputs(self, k: Ints) -> Ints:
        """``[steps, m, k, n]`` what is read for terms of the box (n is 1 without groups)."""
        edge = self.layer.inputs[0]
        grouped = isinstance(self.layer, Conv2d) and self.layer.groups > 1
        n = self.n if grouped else self.n[:1]
        at = source_elements(
            self.network, self.name, self.m[:, None, None], k[:, None], n[None, None]
        )
        values = self.source(edge.source, edge.delay_steps)
        return np.where(at >= 0, values[:, np.maximum(at, 0)], 0)

    def source(self, name: str, delay_steps: int) -> Ints:
        """``[steps, elements]`` what a layer gave at the steps of the effect."""
        values = self.golden[name].reshape(self.network.steps, -1)
        late = self.steps - delay_steps
        return np.where(late[:, None] >= 0, values[np.maximum(late, 0)], 0)

    def element(self, name: str, flat: int) -> str:
        """An element of a layer's output, named by its index in the shape."""
        index = np.unravel_index(flat, self.network.shapes[name])
        return f"{name}[{','.join(str(int(i)) for i in index)}]"

    def output(self, m: int, n: int) -> str:
        """An output of the layer."""
        return self.element(self.name, self.network.element(self.name, m, n))

    def at_step(self, step: int) -> str:
        """When, where there are steps."""
        return f" at step {step}" if self.network.steps > 1 else ""

    def outputs(self, values: Ints, prefix: str = "", faulty: int | None = None) -> Touched:
        """Values ``[steps, m, n]``, named by their outputs."""

        def name(i: int) -> str:
            step, m, n = (int(x) for x in np.unravel_index(i, values.shape))
            told = self.output(int(self.m[m]), int(self.n[n]))
            return f"{prefix}{told}{self.at_step(int(self.steps[step]))}"

        return self.result(values, name, faulty)

    def of_layer(self, key: str, steps: Ints) -> Ints:
        """``[steps, m, n]`` of the layer's values or membranes."""
        return self.golden[key].reshape(self.network.steps, -1)[steps][:, self.elements()]

    def elements(self) -> Ints:
        """``[m, n]`` flat index in the layer's output."""
        element = self.network.element
        return np.array([[element(self.name, int(m), int(n)) for n in self.n] for m in self.m])
