"""The rows that meet spiking neurons at one step, ready for tensors ``[samples, neurons]``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.effects import At, Kind, Op
from codesign.engine.dense_guards import ValueGuard, guards_at
from codesign.engine.dense_moment import NO_ROWS, Moment, distinct_windows
from codesign.engine.dense_numbers import ends_of
from codesign.engine.dense_rows import Rows, Span, expand, spans, windows
from codesign.engine.dense_stack import Stack
from codesign.formats import NumberFormat
from codesign.guards import Silence
from codesign.network import Lif
from codesign.program import Program

__all__ = ["Broken", "LifPlan", "LifRows", "StepRows", "lif_plan"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LifPlan:
    """What a spiking layer needs to know, whatever the effects.

    Attributes:
        index: Of the layer in the network.
        layer: Its rule.
        form: Of the membrane on this chip.
        guards: Of the membrane.
        silence: Spikes in a row at which the output is cut, or None.
        shape: Of the output.
        grid: (M, N).
        element: ``[M, N]`` flat index of neurons.
        threshold: ``[neurons]`` int64.
        device: Of the tensors.
    """

    index: int
    layer: Lif
    form: NumberFormat
    guards: tuple[ValueGuard, ...]
    silence: int | None
    shape: tuple[int, ...]
    grid: tuple[int, int]
    element: Ints
    threshold: Ints
    device: torch.device


def lif_plan(program: Program, index: int, device: torch.device) -> LifPlan:
    """The plan of a spiking layer."""
    network = program.network
    layer = network.layers[index]
    assert isinstance(layer, Lif)
    grid = positions, channels = network.grid(layer.name)
    by_m, by_n = network.element(layer.name, 1, 0), network.element(layer.name, 0, 1)
    element = np.arange(positions)[:, None] * by_m + np.arange(channels) * by_n
    threshold = np.empty(positions * channels, dtype=np.int64)
    threshold[element] = layer.threshold
    after = [g.after for g in program.guards if isinstance(g, Silence) and g.layer == layer.name]
    return LifPlan(
        index=index,
        layer=layer,
        form=program.membrane(layer.name),
        guards=guards_at(program, layer.name, "membrane"),
        silence=min(after, default=None),
        shape=network.shapes[layer.name],
        grid=grid,
        element=element,
        threshold=threshold,
        device=device,
    )


@dataclass(frozen=True, eq=False)
class Broken:
    """How an operation is broken.

    Attributes:
        neurons: ``[broken]`` their flat indices.
        skip: ``[samples or 1, broken]`` where it is not done.
        always: ``[samples or 1, broken]`` where it is always done.
    """

    neurons: Tensor
    skip: Tensor
    always: Tensor


@dataclass(frozen=True, eq=False)
class StepRows:
    """What meets the neurons at one step; empty stacks where nothing does.

    Attributes:
        begin: On membranes as the step begins.
        end: On membranes as they are written back.
        line: On the output spikes.
        threshold: ``[samples or 1, neurons]`` int64.
        broken: By operation.
    """

    begin: Stack
    end: Stack
    line: Stack
    threshold: Tensor
    broken: dict[str, Broken]

    @cached_property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest threshold."""
        low, high = self.threshold.aminmax()
        return int(low), int(high)


class LifRows:
    """The rows of one layer in one trial, prepared once for each way in which a step meets them."""

    def __init__(self, plan: LifPlan, rows: Rows) -> None:
        self.plan, self._rows = plan, rows
        self._distinct, self._which = distinct_windows(rows)
        self._steps: dict[tuple[bytes, ...], StepRows] = {}
        self.proofs: dict[tuple[int, ...], Any] = {}

    def at(self, moment: Moment, step: int) -> StepRows:
        """The rows of one step of a moment."""
        if len(self._rows) == 0:
            return self._nothing
        now = Moment(moment.samples, step, step + 1, moment.size)
        share = now.share(self._distinct)
        first = self._distinct["steps"][:, 0] == step
        partial = moment.samples if (share[0] == 1).any() else np.zeros(0, dtype=np.int64)
        key = (share.tobytes(), first.tobytes(), partial.tobytes())
        if key not in self._steps:
            here = (share.min(axis=0) > 0)[self._which]
            self._steps[key] = self._build(self._rows[here], first[self._which][here], now)
        return self._steps[key]

    @cached_property
    def _nothing(self) -> StepRows:
        none = Stack(NO_ROWS, *self._elements(NO_ROWS), self.plan.device)
        threshold = torch.from_numpy(self.plan.threshold)[None].to(self.plan.device)
        return StepRows(none, none, none, threshold, {})

    def _build(self, rows: Rows, first: NDArray[np.bool_], moment: Moment) -> StepRows:
        at, stuck = rows["at"], rows["op"] == Op.stuck
        state = rows["kind"] == Kind.state
        cell = state & (at == At.cell)
        held = cell & stuck
        begin = (state & (at == At.read)) | held | (cell & first)
        end = (state & (at == At.write)) | held
        return StepRows(
            self._stack(rows[begin], moment),
            self._stack(rows[end], moment),
            self._stack(rows[rows["kind"] == Kind.spike], moment),
            self._threshold(rows[at == At.threshold], moment),
            self._broken(rows[rows["kind"] == Kind.operation], moment),
        )

    def _elements(self, rows: Rows) -> tuple[Ints, Ints]:
        """Neurons that rows meet: (row, flat index)."""
        m, n = (spans(rows, a, size) for a, size in zip("mn", self.plan.grid, strict=True))
        owner, (at_m, at_n) = expand([m, n])
        return owner, self.plan.element[at_m, at_n]

    def _stack(self, rows: Rows, moment: Moment) -> Stack:
        return Stack(rows, *self._elements(rows), self.plan.device, _windows(rows, moment))

    def _threshold(self, rows: Rows, moment: Moment) -> Tensor:
        base = torch.from_numpy(self.plan.threshold)
        window = _windows(rows, moment)
        samples = 1 if window is None else len(moment.samples)
        found = base.repeat(1, samples, 1).to(self.plan.device)
        stack = self._stack(rows, moment)
        ends = ends_of(base)
        stack.reach(*ends)
        stack.apply_(found, ends, moment.samples)
        return found[0]

    def _broken(self, rows: Rows, moment: Moment) -> dict[str, Broken]:
        found = {}
        for at in (At.leak, At.integrate, At.fire, At.reset):
            mine = rows[rows["at"] == at]
            if len(mine):
                found[at.name] = self._masks(mine, moment)
        return found

    def _masks(self, rows: Rows, moment: Moment) -> Broken:
        owner, element = self._elements(rows)
        neurons, column = np.unique(element, return_inverse=True)
        skip = (rows["op"] == Op.skip)[owner]
        window = _windows(rows, moment)
        samples = 1 if window is None else len(moment.samples)
        masks = np.zeros((2, samples, len(neurons)), dtype=bool)
        if window is None:
            masks[1 - skip.astype(int), 0, column.ravel()] = True
        else:
            s0, s1 = np.searchsorted(moment.samples, window[:2])[:, owner]
            entry, (s,) = expand([Span(s0, s1 - s0, np.ones_like(s0))])
            masks[1 - skip[entry].astype(int), s, column.ravel()[entry]] = True
        device = self.plan.device
        skips, always = (torch.from_numpy(mask).to(device) for mask in masks)
        return Broken(torch.from_numpy(neurons).to(device), skips, always & ~skips)


def _windows(rows: Rows, moment: Moment) -> Ints | None:
    """``[4, rows]`` sample windows of rows that act at a step, or None if all act on all samples.

    The step is always the only one, number 0, of the tensor that is corrupted.
    """
    if (moment.share(rows)[0] == 2).all():
        return None
    first, last = windows(rows, "samples", moment.size[0])
    return np.stack([first, last, np.zeros_like(first), np.ones_like(first)])
