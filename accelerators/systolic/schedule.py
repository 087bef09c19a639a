"""Which fold runs when on a systolic array, and what each register holds in each cycle.

A layer with weights is a matrix product of M positions, K terms and N channels (for each group of a
grouped convolution). A *fold* is one pass of one tile over the whole array of H × W processing
elements (PEs). Folds, layers and inferences follow one another without a gap:

================= ==== ======= ================== =============== ======================
dataflow          rows columns streamed (T)       cycles          order of folds
================= ==== ======= ================== =============== ======================
weight stationary K    N       M                  2H + W + T - 2  group, N tile, K tile
output stationary M    N       K                  H + W + T - 2   group, N tile, M tile
input stationary  K    M       N of one group     2H + W + T - 2  group, M tile, K tile
================= ==== ======= ================== =============== ======================

These are the cycles of SCALE-Sim 3.0.0; nothing overlaps. Within every cycle, in this order:

1. memories that are due are written, and faults strike them (`accelerators.systolic.memories`);
2. every register takes its new value, those at the array's edge from a memory;
3. faults strike registers;
4. products and sums settle, faults on these nets act, sums that leave the array go to psum_sram.

With t counted from the fold's first cycle, r and c the *physical* row and column of a PE:

*Weight stationary* (input stationary: the same with weights and inputs, m and n exchanged)

- Loading, t = 0 … H - 1: weights enter at row 0, last row first, and move down a row each cycle.
  ``weight_register[r, c]`` holds the weight of row ``H - 1 - t + r``: its own at t = H - 1; what
  would be a row beyond H - 1 is left over from the fold before. From then on they rest.
- Streaming: ``input_register[r, c]`` holds x[m, r] at ``t = H - 1 + m + r + c``; it enters at
  column 0 and moves right a column each cycle. In that cycle ``product`` is weight · input, and
  ``mac_out`` the sum from above plus the product. ``psum_register[r, c]`` takes mac_out and holds
  it one cycle later, at ``t = H + m + r + c``, when the row below adds to it. Above row 0 stands
  zero.
- The sum of column c leaves psum_register[H - 1, c] at ``t = 2H - 1 + m + c`` and is added in
  psum_sram to those of the K tiles before (the first one to the bias).
- A row that holds no term of the tile is disabled: its products are gated off, and sums pass it
  unchanged.

*Output stationary*

- ``input_register[r, c]`` holds x[m_r, k] (moving right) and ``weight_register[r, c]`` w[n_c, k]
  (moving down) at ``t = k + r + c``. In that cycle product and mac_out = psum_register + product
  settle (k = 0: without psum_register); ``psum_register[r, c]`` holds the sum of k + 1 terms one
  cycle later, at ``t = k + r + c + 1``.
- The finished sum goes from psum_register to psum_sram while it stands there, at ``t = K + r + c``:
  for the last PE of the array that is the first cycle of the next fold. (The cycles are
  SCALE-Sim's, which does not count handing results over.)

A column without a channel (position) of the tile is not collected; data still pass through it.
Layers without weights run in a vector unit beside the array that takes no time: they are not
timed, priced or struck.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.systolic.lines import Lines, Tiling
from codesign.network import Conv2d, NetworkGraph, is_mac

__all__ = ["Axis", "Dataflow", "LayerPlan", "Pieces", "Schedule", "Timing", "plan"]

Dataflow: TypeAlias = Literal["weight_stationary", "output_stationary", "input_stationary"]
Axis: TypeAlias = Literal["m", "k", "n"]

ROLES: dict[Dataflow, tuple[Axis, Axis, Axis]] = {  # rows, columns, streamed
    "weight_stationary": ("k", "n", "m"),
    "output_stationary": ("m", "n", "k"),
    "input_stationary": ("k", "m", "n"),
}


@dataclass(frozen=True)
class Timing:
    """When things enter the array, in cycles of a fold.

    Attributes:
        first: Position 0 is multiplied in PE (0, 0).
        load: The resting operand of row q enters at row 0 at ``load - q``.
        skew: Cycles by which each column's resting operands enter later than those of the column
            before.
        burst: Positions that follow one another before a cycle without one; 0: all.
    """

    first: int
    load: int = 0
    skew: int = 0
    burst: int = 0

    def cycle_of(self, position: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cycles after position 0 at which positions follow.

        >>> Timing(first=0, burst=4).cycle_of(np.array([3, 4, 8])).tolist()
        [3, 5, 10]
        """
        return position + position // self.burst if self.burst else position

    def positions_before(self, cycle: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of positions before a cycle counted from position 0's.

        >>> Timing(first=0, burst=4).positions_before(np.array([3, 4, 5, 6])).tolist()
        [3, 4, 4, 5]
        """
        if not self.burst:
            return cycle
        whole, rest = np.divmod(cycle, self.burst + 1)
        return whole * self.burst + np.minimum(rest, self.burst)


@dataclass(frozen=True)
class LayerPlan:
    """One multiply-accumulate layer on the array.

    Attributes:
        name: Of the layer.
        index: Of the layer in the network.
        m, k, n: Positions, terms and channels (of all groups).
        groups: Groups of channels.
        dataflow: What stays in the array.
        rows: How the rows' axis is cut.
        cols: How the columns' axis is cut.
        fold_cycles: Of one fold.
        first_cycle: Of the layer, within an inference.
        timing: Within a fold.
    """

    name: str
    index: int
    m: int
    k: int
    n: int
    groups: int
    dataflow: Dataflow
    rows: Tiling
    cols: Tiling
    fold_cycles: int
    first_cycle: int
    timing: Timing

    @property
    def stream(self) -> int:
        """Positions that one fold streams through the array."""
        sizes = {"m": self.m, "k": self.k, "n": self.n // self.groups}
        return sizes[ROLES[self.dataflow][2]]

    @property
    def folds(self) -> int:
        """Number of folds."""
        return self.groups * self.rows.tiles * self.cols.tiles

    @property
    def last_cycle(self) -> int:
        """The cycle after the layer's last."""
        return self.first_cycle + self.folds * self.fold_cycles

    def efficiency(self, rows: int, cols: int) -> float:
        """Mean over folds of the share of a rows × cols array that has work to do."""
        used = self.rows.size * self.cols.size / (self.rows.tiles * self.cols.tiles)
        return used / (rows * cols)

    @property
    def segments(self) -> int:
        """Passes over the array that make up one sum."""
        return self.rows.tiles if ROLES[self.dataflow][0] == "k" else 1

    def tiles(
        self, fold: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(group, column tile, row tile) of folds ``[...]``."""
        rest, row_tile = np.divmod(fold, self.rows.tiles)
        group, col_tile = np.divmod(rest, self.cols.tiles)
        return group, col_tile, row_tile


@dataclass(frozen=True, eq=False)
class Pieces:
    """Parts of windows that lie in one fold of one inference, in columns.

    Attributes:
        which: ``[pieces]`` index of the window.
        inference: ``[pieces]``.
        layer: ``[pieces]`` index of the layer's plan; -1 before the first fold.
        fold: ``[pieces]`` fold within the layer.
        start, stop: ``[pieces]`` half open, in cycles of the fold.
    """

    which: NDArray[np.int64]
    inference: NDArray[np.int64]
    layer: NDArray[np.int64]
    fold: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    def take(self, index: NDArray[np.int64]) -> Pieces:
        """Some of them, in another order or several times."""
        columns = (self.which, self.inference, self.layer, self.fold, self.start, self.stop)
        return Pieces(*(column[index] for column in columns))


@dataclass(frozen=True, eq=False)
class Schedule:
    """All multiply-accumulate layers of a network, one after the other.

    Attributes:
        dataflow: What stays in the array.
        rows, cols: Physical lines and who sits there.
        layers: In the order they run.
        preload: Cycles of an inference before its first fold.
    """

    dataflow: Dataflow
    rows: Lines
    cols: Lines
    layers: tuple[LayerPlan, ...]
    preload: int = 0

    @property
    def roles(self) -> tuple[Axis, Axis, Axis]:
        """What stands on the rows and the columns, and what is streamed."""
        return ROLES[self.dataflow]

    @property
    def held(self) -> str:
        """The operand that rests in the array: ``weight``, ``input``, or none (sums rest)."""
        return {"weight_stationary": "weight", "input_stationary": "input"}.get(self.dataflow, "")

    @property
    def cycles(self) -> int:
        """Cycles of one inference."""
        return self.layers[-1].last_cycle

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """``[folds]`` first cycle of every fold of an inference, and of what precedes the first."""
        runs = [p.first_cycle + p.fold_cycles * np.arange(p.folds) for p in self.layers]
        return np.concatenate([np.zeros(int(self.preload > 0), dtype=np.int64), *runs])

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """``[folds, 2]`` layer (index in `layers`) and fold in it, of every entry of `starts`."""
        pairs = [
            np.stack([np.full(p.folds, i), np.arange(p.folds)], axis=1)
            for i, p in enumerate(self.layers)
        ]
        before = np.full((int(self.preload > 0), 2), -1)
        return np.concatenate([before, *pairs])

    def pieces(self, start: NDArray[np.int64], stop: NDArray[np.int64]) -> Pieces:
        """Cut windows at the borders of folds.

        Args:
            start: ``[windows]`` global cycle: inference · cycles + cycle.
            stop: ``[windows]``, half open; an empty window has no pieces.
        """
        folds, ends = len(self.starts), np.append(self.starts[1:], self.cycles)
        first, last = self._fold_at(start), self._fold_at(np.maximum(stop - 1, 0))
        counts = np.where(stop > start, last - first + 1, 0)
        which = np.repeat(np.arange(len(start)), counts)
        number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        inference, fold = np.divmod(number, folds)
        at = inference * self.cycles
        return Pieces(
            which,
            inference,
            self.owners[fold, 0],
            self.owners[fold, 1],
            np.maximum(start[which], at + self.starts[fold]) - at - self.starts[fold],
            np.minimum(stop[which], at + ends[fold]) - at - self.starts[fold],
        )

    def _fold_at(self, cycle: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the fold at a global cycle, counted over all inferences."""
        inference, within = np.divmod(cycle, self.cycles)
        at = np.searchsorted(self.starts, within, side="right") - 1
        return inference * len(self.starts) + at


def plan(
    network: NetworkGraph, dataflow: Dataflow, rows: Lines, cols: Lines, mesh: bool = False
) -> Schedule:
    """Lay every multiply-accumulate layer of a network on an array, in the network's order.

    Args:
        network: What is computed.
        dataflow: What stays in the array.
        rows: Physical rows in the order they are filled.
        cols: Physical columns in the order they are filled.
        mesh: Whether the array is Gemmini's mesh (`accelerators.systolic.gemmini_network`).
    """
    height = rows.count
    load = height if dataflow != "output_stationary" else 0
    timing = Timing(first=load - 1, load=load - 1) if load else Timing(first=0)
    if mesh:
        timing = Timing(first=0, load=-2, skew=1, burst=height)
    layers: list[LayerPlan] = []
    for index, layer in enumerate(network.layers):
        if not is_mac(layer):
            continue
        m, k, n = network.mac_shape(layer.name)
        groups = layer.groups if isinstance(layer, Conv2d) else 1
        sizes = {"m": (m, 1), "k": (k, 1), "n": (n // groups, groups)}
        row, col, stream = ROLES[dataflow]
        cycles = load + height + cols.count + sizes[stream][0] - 2
        if mesh:
            cycles = -(-m // height) * (height + 1)
        layers.append(
            LayerPlan(
                layer.name,
                index,
                *(m, k, n, groups, dataflow),
                Tiling(sizes[row][0], rows.width, sizes[row][1]),
                Tiling(sizes[col][0], cols.width, sizes[col][1]),
                fold_cycles=cycles,
                first_cycle=layers[-1].last_cycle if layers else mesh * (height + 1),
                timing=timing,
            )
        )
    return Schedule(dataflow, rows, cols, tuple(layers), mesh * (height + 1))
