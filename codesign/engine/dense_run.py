"""One pass through the layers for some samples, golden where nothing differs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.engine.dense_guards import pass_guards
from codesign.engine.dense_layers import plain_layer
from codesign.engine.dense_lif import LifState, lif_layer
from codesign.engine.dense_moment import Flags, Moment
from codesign.engine.dense_numbers import Value, carrier
from codesign.engine.dense_plan import OUTSIDE, Plan, TrialRows
from codesign.engine.dense_sums import mac_layer, overflow_count
from codesign.network import Input

__all__ = ["Kept", "Run"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Kept:
    """What a golden run left of one layer, for all samples.

    Attributes:
        data: ``[steps or 1, samples, *shape]`` in the narrowest integers.
        low: No element is smaller.
        high: None is larger.
        flags: Raised while the layer was computed.
    """

    data: Tensor
    low: int
    high: int
    flags: Flags

    def at(self, samples: Ints) -> Value:
        """Of some samples, in floats."""
        dtype = carrier(self.low, self.high, "golden values")
        first, count = int(samples[0]), len(samples)
        if int(samples[-1]) - first + 1 == count:
            return Value(self.data[:, first : first + count].to(dtype), self.low, self.high)
        index = torch.from_numpy(samples).to(self.data.device)
        return Value(self.data.index_select(1, index).to(dtype), self.low, self.high)


class Run:
    """Some samples on their way through a program.

    Attributes:
        plan: Of the program.
        moment: The samples still on their way, and all steps.
        alive: ``[samples]`` which of the samples given they are; the others turned golden.
        values: What layers store, by index; missing ones are golden.
        flags: Raised by the layers computed here, by index, for all samples given.
        states: Of the spiking layers, by index.
    """

    def __init__(
        self,
        plan: Plan,
        rows: TrialRows,
        samples: Ints,
        golden: list[Kept] | None,
        total: int,
    ) -> None:
        """Prepare a run.

        Args:
            plan: Of the program.
            rows: Of the trial.
            samples: Ascending numbers of the samples.
            golden: What the golden run kept of each layer, unless this is it.
            total: How many samples there are at all.
        """
        steps = plan.program.network.steps
        self.plan, self.rows, self._golden, self._given = plan, rows, golden, samples
        self.moment = Moment(samples, 0, steps, (total, steps))
        self.alive = np.arange(len(samples))
        self.values: dict[int, Value] = {}
        self.flags: dict[int, Flags] = {}
        self.states = {i: LifState() for i in plan.lifs}

    def execute(
        self,
        layers: set[int],
        *,
        watched: frozenset[int] = frozenset(),
        inputs: Value | None = None,
        cuts: frozenset[int] = frozenset(),
        keep: bool = True,
    ) -> None:
        """Compute layers in their order.

        Args:
            layers: To compute; the others are golden.
            watched: Spiking layers whose membranes are kept.
            inputs: What the first layer stores, if it is among them.
            cuts: Layers behind which everything is golden where they are.
            keep: Whether values are read when all is done; else they are forgotten on the way.
        """
        if inputs is not None:
            self.values[0] = inputs
            self.flags[0] = Flags.none(len(self._given))
        for index in watched:
            self.states[index].history = []
        steps = self.moment.last
        for first, last, looped in self.plan.rounds:
            mine = [i for i in range(first, last) if i in layers and i > 0]
            for step in range(steps if looped else 1):
                ends = (step, step + 1) if looped else (0, steps)
                for index in mine:
                    self._store(index, self._layer(index, *ends), ends)
            if mine and mine[-1] in cuts:
                before = len(self.alive)
                self._drop_golden(mine[-1])
                if len(self.alive) == 0:
                    return
                if len(self.alive) == before:  # looking again would cost more than it saves
                    cuts = frozenset()
            if not keep:
                self._forget(last)

    def read(self, source: int, reader: int, delay: int = 0) -> tuple[Value, Flags | None]:
        """What a reader gets of a layer at all steps, and what guards noticed."""
        return self._read(source, reader, delay, 0, self.moment.last)

    def output(self) -> tuple[NDArray[np.int64], Flags | None]:
        """``[alive, outputs]`` the last layer summed over the steps."""
        value, flags = self.read(self.plan.layers - 1, OUTSIDE)
        total = value.data.flatten(2).long().sum(0)
        if value.constant:
            total = total * self.moment.last
        return total.cpu().numpy(), flags

    def overflows(self, index: int) -> int:
        """Golden writes of a multiply-accumulate layer that did not fit."""
        ((source, delay),) = self.plan.sources(index)
        x, _ = self.read(source, index, delay)
        count = overflow_count(self.plan.macs[index], x, self.moment)
        return count * self.moment.last if x.constant else count

    # -- layers

    def _layer(self, index: int, first: int, last: int) -> Value:
        """What a layer stores at a run of steps."""
        size = self.moment.size
        moment = Moment(self.moment.samples, first, last, size)
        flags = self._flags(index)
        inputs = []
        for source, delay in self.plan.sources(index):
            value, seen = self._read(source, index, delay, first, last)
            inputs.append(value)
            flags.add_(seen, self.alive)
        noticed: Flags | None = None
        if index in self.plan.macs:
            stored, noticed = mac_layer(self.rows.macs[index], inputs[0], moment)
        elif index in self.plan.lifs:
            stored, noticed = lif_layer(self.rows.lifs[index], inputs, self.states[index], moment)
        else:
            layer = self.plan.program.network.layers[index]
            assert not isinstance(layer, Input)
            stored = plain_layer(layer, inputs, self.plan.shape(index))
        flags.add_(noticed, self.alive)
        return stored

    def _flags(self, index: int) -> Flags:
        """Of a layer that is computed: golden for the samples that are no longer on their way."""
        if index not in self.flags:
            if self._golden is None:
                self.flags[index] = Flags.none(len(self._given))
            else:
                self.flags[index] = self._golden[index].flags.at(self._given)
                self.flags[index].clear_(self.alive)
        return self.flags[index]

    def _store(self, index: int, value: Value, ends: tuple[int, int]) -> None:
        if ends == (0, self.moment.last):
            self.values[index] = value
            return
        before = self.values.get(index)
        if before is None:
            shape = (self.moment.last, *value.data.shape[1:])
            data = torch.zeros(shape, dtype=torch.float64, device=self.plan.device)
            before = Value(data, 0, 0)
        before.data[ends[0] : ends[1]] = value.data
        low, high = min(before.low, value.low), max(before.high, value.high)
        self.values[index] = Value(before.data, low, high)

    def _drop_golden(self, index: int) -> None:
        """Give up samples in which a layer's values are golden."""
        assert self._golden is not None
        value, golden = self.values[index], self._golden[index].at(self.moment.samples)
        differs = (value.data != golden.data).flatten(2).any(2).any(0).cpu().numpy()
        if not differs.all():
            left = np.flatnonzero(differs)
            self.alive = self.alive[left]
            self.moment = replace(self.moment, samples=self.moment.samples[left])
            at = torch.from_numpy(left).to(self.plan.device)
            self.values = {index: replace(value, data=value.data.index_select(1, at))}

    def _forget(self, done: int) -> None:
        """Drop values that no layer from ``done`` on reads."""
        self.values = {i: x for i, x in self.values.items() if self.plan.last_reader[i] >= done}

    # -- reading

    def _stored(self, index: int) -> Value:
        """What a layer stores, computed here or golden."""
        if index not in self.values:
            assert self._golden is not None
            self.values[index] = self._golden[index].at(self.moment.samples)
        return self.values[index]

    def _read(
        self, source: int, reader: int, delay: int, first: int, last: int
    ) -> tuple[Value, Flags | None]:
        """What a reader gets of a layer at steps first to last: corrupted, guarded, delayed."""
        begin, end = max(first - delay, 0), max(last - delay, 0)
        if end <= begin:
            shape = (1, len(self.moment.samples), *self.plan.shape(source))
            return Value(torch.zeros(shape, device=self.plan.device), 0, 0), None
        stored = self._stored(source)
        data = stored.data if stored.constant else stored.data[begin:end]
        before = Value(data, stored.low, stored.high)
        passed = pass_guards(
            before, self._corrupted(before, source, reader, begin, end), self.plan.guards[source]
        )
        return _delayed(passed.value, last - first, end - begin), passed.flags()

    def _corrupted(self, value: Value, source: int, reader: int, begin: int, end: int) -> Value:
        read = self.rows.read(source, reader)
        if read is None:
            return value
        moment = Moment(self.moment.samples, begin, end, self.moment.size)
        acts, by_step = read.acts(moment)
        if not acts:
            return value
        low, high = read.stack.reach(value.low, value.high)
        steps = end - begin if by_step else value.data.shape[0]
        shape = (steps, *value.data.shape[1:])
        data = value.data.to(carrier(low, high, "corrupted values")).expand(shape)
        data = data.clone(memory_format=torch.contiguous_format)
        ends = value.low, value.high
        read.stack.apply_(data.view(steps, shape[1], -1), ends, self.moment.samples, begin)
        return Value(data, low, high)


def _delayed(value: Value, steps: int, present: int) -> Value:
    """A value at ``present`` steps behind zeros, ``steps`` of them in all."""
    if present == steps:
        return value
    shape = value.data.shape[1:]
    zeros = value.data.new_zeros((steps - present, *shape))
    data = torch.cat([zeros, value.data.expand(present, *shape)])
    return Value(data, min(value.low, 0), max(value.high, 0))
