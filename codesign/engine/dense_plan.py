"""What a program comes to for the dense engine, and what a trial's rows come to on it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from codesign.effects import Kind
from codesign.engine.dense_guards import ValueGuard, guards_at
from codesign.engine.dense_lif_rows import LifPlan, LifRows, lif_plan
from codesign.engine.dense_mac import MacPlan, mac_plan
from codesign.engine.dense_moment import NO_ROWS, Moment
from codesign.engine.dense_rows import Rows, expand, spans, take, windows
from codesign.engine.dense_stack import Stack
from codesign.engine.dense_sums import MacRows
from codesign.network import Lif, is_mac
from codesign.program import Program

__all__ = ["OUTSIDE", "Plan", "Read", "TrialRows", "plan_of"]

Ints = NDArray[np.int64]
OUTSIDE = -2  # the reader of the network's output and of watched layers


@dataclass(frozen=True, eq=False)
class Plan:
    """A program, ready to run.

    Attributes:
        program: What is computed.
        device: Of the tensors.
        macs: Plans of the multiply-accumulate layers, by index.
        lifs: Plans of the spiking layers, by index.
        guards: Of every layer's stored values, by index.
        last_reader: Index of the last layer that reads each; of what the outside reads, beyond all.
        rounds: (first, last, steps) runs of layers in order: together for all steps, or step by
            step where an edge reads backwards in time.
    """

    program: Program
    device: torch.device
    macs: dict[int, MacPlan]
    lifs: dict[int, LifPlan]
    guards: tuple[tuple[ValueGuard, ...], ...]
    last_reader: tuple[int, ...]
    rounds: tuple[tuple[int, int, bool], ...]

    @property
    def layers(self) -> int:
        """How many."""
        return len(self.program.network.layers)

    def shape(self, index: int) -> tuple[int, ...]:
        """Output shape of a layer."""
        network = self.program.network
        return network.shapes[network.layers[index].name]

    def sources(self, index: int) -> list[tuple[int, int]]:
        """(layer, delay in steps) of every edge of a layer."""
        network = self.program.network
        edges = network.layers[index].inputs
        return [(network.index(edge.source), edge.delay_steps) for edge in edges]

    def elements(self, index: int, rows: Rows) -> tuple[Ints, Ints]:
        """Stored elements that rows touch: (row, flat index)."""
        network = self.program.network
        name = network.layers[index].name
        by_m, by_n = network.element(name, 1, 0), network.element(name, 0, 1)
        positions, channels = network.grid(name)
        owner, (m, n) = expand([spans(rows, "m", positions), spans(rows, "n", channels)])
        return owner, m * by_m + n * by_n

    @property
    def widest_layer(self) -> int:
        """Numbers of the largest layer of one sample, all steps together."""
        return max(prod(self.shape(i)) for i in range(self.layers))


def plan_of(program: Program, device: torch.device) -> Plan:
    """The plan of a program."""
    layers = list(enumerate(program.network.layers))
    return Plan(
        program=program,
        device=device,
        macs={i: mac_plan(program, i, device) for i, x in layers if is_mac(x)},
        lifs={i: lif_plan(program, i, device) for i, x in layers if isinstance(x, Lif)},
        guards=tuple(guards_at(program, x.name, "activation") for _, x in layers),
        last_reader=_last_readers(program),
        rounds=_rounds(program),
    )


def _last_readers(program: Program) -> tuple[int, ...]:
    network = program.network
    found = [0] * len(network.layers)
    for reader, layer in enumerate(network.layers):
        for edge in layer.inputs:
            found[network.index(edge.source)] = reader
    found[-1] = len(found)
    return tuple(found)


def _rounds(program: Program) -> tuple[tuple[int, int, bool], ...]:
    """Runs of layers; those between an edge's two ends go step by step if it points backwards."""
    network = program.network
    looped = np.zeros(len(network.layers), dtype=bool)
    joined = np.zeros(len(network.layers), dtype=bool)  # with the layer before
    for reader, layer in enumerate(network.layers):
        for edge in layer.inputs:
            source = network.index(edge.source)
            if source >= reader:
                looped[reader : source + 1] = True
                joined[reader + 1 : source + 1] = True
    starts = [i for i in range(len(joined)) if not joined[i]]
    stops = [*starts[1:], len(joined)]
    return tuple((a, b, bool(looped[a])) for a, b in zip(starts, stops, strict=True))


def _layers(layer: NDArray[np.int32]) -> list[int]:
    return np.unique(layer).tolist()


@dataclass(frozen=True, eq=False)
class Read:
    """Rows on a layer's stored values as one reader gets them.

    Attributes:
        rows: Activation rows.
        stack: Their corruptions.
    """

    rows: Rows
    stack: Stack

    def acts(self, moment: Moment) -> tuple[bool, bool]:
        """Whether any row acts at a moment, and whether one acts at some of its steps only."""
        share = moment.share(self.rows)
        here = share.min(axis=0) > 0
        return bool(here.any()), bool((share[1][here] == 1).any())


class TrialRows:
    """The rows of one trial (and execution), by the layers that they concern.

    Attributes:
        plan: Of the program.
        macs: Of the multiply-accumulate layers, by index.
        lifs: Of the spiking layers, by index.
        first: Layers whose own computation rows change.
    """

    def __init__(self, plan: Plan, rows: Rows) -> None:
        self.plan = plan
        kind, layer = rows["kind"], rows["layer"]
        stored = kind == Kind.activation
        self._stored = {i: take(rows, stored & (layer == i)) for i in _layers(layer[stored])}
        own = {i: take(rows, ~stored & (layer == i)) for i in _layers(layer[~stored])}
        self.first = set(own)
        self.macs = {i: MacRows(p, own.get(i, NO_ROWS)) for i, p in plan.macs.items()}
        self.lifs = {i: LifRows(p, own.get(i, NO_ROWS)) for i, p in plan.lifs.items()}
        self._reads: dict[tuple[int, int], Read | None] = {}

    def read(self, source: int, reader: int) -> Read | None:
        """Rows on what a reader gets of a layer, or None."""
        if source not in self._stored:
            return None
        if (source, reader) not in self._reads:
            rows = self._stored[source]
            rows = rows[(rows["reader"] == -1) | (rows["reader"] == reader)]
            self._reads[source, reader] = self._make(source, rows) if len(rows) else None
        return self._reads[source, reader]

    def _make(self, source: int, rows: Rows) -> Read:
        network, size = self.plan.program.network, np.iinfo(np.int64).max
        window = [*windows(rows, "samples", size), *windows(rows, "steps", network.steps)]
        owner, element = self.plan.elements(source, rows)
        return Read(rows, Stack(rows, owner, element, self.plan.device, np.stack(window)))

    def cuts(self, stale: set[int]) -> frozenset[int]:
        """Layers behind which a sample is golden if it is golden there.

        No row acts behind them, and no other stale layer before them is read behind them.
        """
        last = self.plan.last_reader
        if self.read(self.plan.layers - 1, OUTSIDE) is not None:
            return frozenset()
        readers = [
            reader
            for reader in range(self.plan.layers)
            for source, _ in self.plan.sources(reader)
            if self.read(source, reader) is not None
        ]
        first = max([0, *self.first, *readers])
        return frozenset(
            i
            for i in stale
            if i >= first and all(last[j] <= i for j in stale if j < i) and last[i] > i
        )

    def stale(self, watched: frozenset[int]) -> set[int]:
        """Layers to compute again: that rows change, that read a changed value, or are watched."""
        found = self.first | watched
        size = -1
        while len(found) != size:
            size = len(found)
            for reader in range(self.plan.layers):
                for source, _ in self.plan.sources(reader):
                    if source in found or self.read(source, reader) is not None:
                        found.add(reader)
        return found
