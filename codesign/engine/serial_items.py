"""Event-serial programs item by item: all trials on all samples at once.

Every (trial, sample) is a lane; all lanes do their i-th item in one pass over arrays. Within a scan
the neurons are independent of each other, but where addresses are aliased: such lanes go neuron by
neuron. See `codesign.events` for what is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codesign.effects import At, Effects
from codesign.engine.serial_host import Host, Items
from codesign.engine.serial_masks import Lanes, Places
from codesign.errors import DataError
from codesign.events import ACTION, Action, EventProgram, Timeline, check
from codesign.formats import NumberFormat

__all__ = ["EventRun", "LaneRun", "evaluate_events", "golden_timeline", "run_lanes"]

Ints = NDArray[np.int64]
LANES = 1024  # at once; bounds memory, not the campaign


@dataclass(frozen=True, eq=False)
class EventRun:
    """What trials on samples show; a lane is ``trial * samples + sample``.

    Attributes:
        events: ``[lanes]`` arrays ``[events, 2]``: cycle and address of every spike, in order.
        samples: ``[lanes]`` arrays ``[samples taken, scan]``: stored potentials, unsigned.
        words: ``[trials, samples, neurons]`` neuron words at the end.
        hang: ``[trials, samples]`` the action whose wait was too long, or -1. Words and events of a
            hang are those before the item that would have ended too late.
        outputs: ``[trials, samples, classes]`` spikes of the program's output neurons; 0 on a hang.
    """

    events: tuple[Ints, ...]
    samples: tuple[Ints, ...]
    words: Ints
    hang: Ints
    outputs: Ints


@dataclass(frozen=True, eq=False)
class LaneRun:
    """The same of some lanes, and more.

    Attributes:
        events, samples: See `EventRun`.
        words: ``[lanes, neurons]``.
        hang: ``[lanes]``.
        outputs: ``[lanes, classes]``.
        causes: ``[lanes]`` arrays ``[events]``: the host's action that a spike belongs to, the last
            one it had sent.
        potentials: If they are traced, ``[lanes, actions, neurons]`` what was stored when the last
            item that belongs to an action had ended; else ``[lanes, 0, neurons]``.
        saturated: ``[neurons]`` how often a sum left the range of potentials, in all lanes.
        updates: ``[lanes]`` neuron updates.
    """

    events: tuple[Ints, ...]
    samples: tuple[Ints, ...]
    words: Ints
    hang: Ints
    outputs: Ints
    causes: tuple[Ints, ...]
    potentials: Ints
    saturated: Ints
    updates: Ints


def evaluate_events(
    program: EventProgram, stimuli: list[NDArray[np.void]], effects: Effects
) -> EventRun:
    """Evaluate every trial on every sample.

    Args:
        program: What is computed.
        stimuli: For each sample its table of `codesign.events.ACTION`.
        effects: Of all trials; checked first.

    Raises:
        FaultError: An effect cannot exist.
        DataError: A stimulus cannot be.
    """
    shape = (effects.trials, len(stimuli))
    run = run_lanes(program, stimuli, effects, np.arange(shape[0] * shape[1]))
    words, outputs = (x.reshape(*shape, x.shape[-1]) for x in (run.words, run.outputs))
    return EventRun(run.events, run.samples, words, run.hang.reshape(shape), outputs)


def run_lanes(
    program: EventProgram,
    stimuli: list[NDArray[np.void]],
    effects: Effects,
    lanes: Ints,
    trace: bool = False,
) -> LaneRun:
    """Evaluate some trials on some samples.

    Args:
        program: What is computed.
        stimuli: For each sample its table of `codesign.events.ACTION`.
        effects: Of all trials; checked first.
        lanes: ``[lanes]`` numbers ``trial * samples + sample``, rising.
        trace: Whether potentials are kept.

    Raises:
        FaultError: An effect cannot exist.
        DataError: A stimulus cannot be.
    """
    check(effects, program)
    for i, stimulus in enumerate(stimuli):
        _check_stimulus(program, i, stimulus)
    runs = [
        _Run(program, stimuli, Lanes(lanes[i : i + LANES], len(stimuli)), effects, trace).finish()
        for i in range(0, len(lanes), LANES)
    ]
    events = tuple(x for run in runs for x in run.events())
    actions = max((len(s) for s in stimuli), default=0) if trace else 0
    nothing = np.zeros((0, program.neurons), dtype=np.int64)
    still = np.zeros((0, actions, program.neurons), dtype=np.int64)
    hang = np.concatenate([np.zeros(0, np.int64), *(run.host.hang for run in runs)])
    outputs = np.array([[(e[:, 1] == n).sum() for n in program.outputs] for e in events])
    outputs = outputs.reshape(len(lanes), len(program.outputs)).astype(np.int64)
    return LaneRun(
        events=events,
        samples=tuple(x for run in runs for x in run.samples()),
        words=np.concatenate([nothing, *(run.places.words for run in runs)]),
        hang=hang,
        outputs=np.where(hang[:, None] < 0, outputs, 0),
        causes=tuple(x for run in runs for x in run.causes()),
        potentials=np.concatenate([still, *(run.potentials for run in runs)]),
        saturated=sum((run.saturated for run in runs), np.zeros(program.neurons, np.int64)),
        updates=np.concatenate([np.zeros(0, np.int64), *(run.updates for run in runs)]),
    )


def golden_timeline(program: EventProgram, stimulus: NDArray[np.void]) -> Timeline:
    """When the items of one inference without faults happen."""
    _check_stimulus(program, 0, stimulus)
    run = _Run(program, [stimulus], Lanes(np.zeros(1, np.int64), 1), Effects.none(1))
    run.finish()
    if not run.timeline:
        nothing = np.zeros(0, dtype=np.int64)
        return Timeline(nothing, nothing, nothing, np.zeros((0, program.neurons), np.int64), 0)
    rows = [x[:3] for x in run.timeline]
    kind, index, start = (np.array(c, dtype=np.int64) for c in zip(*rows, strict=True))
    written = np.stack([x[3] for x in run.timeline])
    end = int(run.host.since[0]) - 1 if run.host.hang[0] < 0 else int(run.host.deadline[0])
    return Timeline(kind, index, start, written, end)


def _check_stimulus(program: EventProgram, i: int, stimulus: NDArray[np.void]) -> None:
    if stimulus.dtype != ACTION or len(stimulus) == 0:
        raise DataError(f"stimulus {i}: expected a table of actions, at least one")
    limits = {Action.scan: program.axons, Action.leak_all: 1, Action.sample: 1}
    limit = np.array([limits.get(a, program.neurons) for a in Action])[stimulus["kind"]]
    bad = (stimulus["index"] < 0) | (stimulus["index"] >= limit)
    bad |= ~stimulus["waits"] & (stimulus["kind"] == Action.sample)
    form = NumberFormat(program.weight_bits)
    bad |= (stimulus["weight"] < form.low) | (stimulus["weight"] > form.high)
    if bad.any():
        row = stimulus[bad][0]
        raise DataError(
            f"stimulus {i}: no {Action(row['kind']).name} {row['index']} with weight "
            f"{row['weight']}{'' if row['waits'] else ' that does not wait'} on this chip"
        )


class _Run:
    """Some lanes from their first item to their last."""

    def __init__(
        self,
        program: EventProgram,
        stimuli: list[NDArray[np.void]],
        lanes: Lanes,
        effects: Effects,
        trace: bool = False,
    ) -> None:
        self.program, self.lanes = program, lanes
        self.host = Host(program, stimuli, lanes.sample)
        self.places = Places(program, lanes, effects)
        self.spiked: list[Ints] = []  # lane, cycle, address, action
        actions = self.host.table.shape[1] - 1 if trace else 0
        self.potentials = np.zeros((len(lanes), actions, program.neurons), dtype=np.int64)
        self.traced = np.zeros((len(lanes), actions), dtype=bool)
        self.saturated = np.zeros(program.neurons, dtype=np.int64)
        self.updates = np.zeros(len(lanes), dtype=np.int64)
        self.sampled: list[tuple[Ints, Ints]] = []
        self.timeline: list[tuple[int, int, int, Ints]] = []

    def finish(self) -> _Run:
        """Do all items."""
        item = 0
        while self.host.alive.any():
            before = self.host.alive.copy()
            items = self.host.next()
            self.places.begin(item, before & (self.host.hang < 0))
            self._do(items)
            item += 1
        self._fill_trace()
        return self

    def events(self) -> list[Ints]:
        """``[events, 2]`` of each lane: cycle, address."""
        rows = self._spiked()
        return self._by_lane(rows[:, 0], rows[:, 1:3])

    def causes(self) -> list[Ints]:
        """``[events]`` of each lane: the host's action."""
        rows = self._spiked()
        return self._by_lane(rows[:, 0], rows[:, 3])

    def _spiked(self) -> Ints:
        return np.concatenate([np.zeros((0, 4), np.int64), *self.spiked])

    def samples(self) -> list[Ints]:
        """``[samples taken, scan]`` of each lane."""
        lanes = np.concatenate([np.zeros(0, np.int64), *(x[0] for x in self.sampled)])
        values = [np.zeros((0, self.program.scan), np.int64), *(x[1] for x in self.sampled)]
        return self._by_lane(lanes, np.concatenate(values))

    def _by_lane(self, lanes: Ints, values: Ints) -> list[Ints]:
        order = np.argsort(lanes, kind="stable")
        bounds = np.searchsorted(lanes[order], np.arange(len(self.lanes) + 1))
        return [values[order[a:b]] for a, b in pairwise(bounds.tolist())]

    def _do(self, items: Items) -> None:
        kind = items.kind
        sample = np.flatnonzero(kind == Action.sample)
        if len(sample):
            words = self.places.words[sample, : self.program.scan]
            field = self.program.layout.potential
            self.sampled.append((sample, (words & field.mask) >> field.low))
        everyone = np.flatnonzero((kind == Action.scan) | (kind == Action.leak_all))
        order = np.arange(self.program.scan)
        self._update(everyone, np.broadcast_to(order, (len(everyone), len(order))), items)
        alone = np.flatnonzero((kind == Action.immediate) | (kind == Action.leak_one))
        self._update(alone, items.index[alone][:, None], items)
        if len(self.lanes) == 1 and kind[0] == Action.sample:
            nobody = np.full(self.program.neurons, -1)
            self.timeline.append((int(kind[0]), 0, int(items.start[0]), nobody))

    def _update(self, lanes: Ints, neurons: Ints, items: Items) -> None:
        """Update ``[lanes, n]`` neurons, each row in order, and book time and spikes."""
        if len(lanes) == 0:
            return
        spikes = np.zeros(neurons.shape, dtype=bool)
        alias = self.places.alias[At.cell]
        serial = np.zeros(len(lanes), dtype=bool)
        if alias.any:
            serial = alias.keep[lanes, 0] != -1
        together = np.flatnonzero(~serial)
        spikes[together] = self._settle(lanes[together], neurons[together], items)
        one_by_one = np.flatnonzero(serial)
        for i in range(neurons.shape[1] if len(one_by_one) else 0):
            column = neurons[one_by_one, i : i + 1]
            spikes[one_by_one, i] = self._settle(lanes[one_by_one], column, items)[:, 0]
        self._book(lanes, neurons, spikes, items)

    def _settle(self, lanes: Ints, neurons: Ints, items: Items) -> NDArray[np.bool_]:
        """The updates themselves; gives who spikes. In a row no word may come twice."""
        places, layout = self.places, self.program.layout
        rows = lanes[:, None]
        cells = places.alias[At.cell].apply(neurons, rows, np.zeros_like(neurons))
        word = places.read.apply(places.words[rows, cells], rows, neurons)
        bits = layout.potential.bits
        form = NumberFormat(bits)
        v = layout.potential.signed(word)
        kind = items.kind[lanes][:, None]
        leaks = (kind == Action.leak_all) | (kind == Action.leak_one)
        amount = (word & layout.leak.mask) >> layout.leak.low
        leaked = np.where(v >= 0, np.maximum(v - amount, 0), np.minimum(v + amount, 0))
        total = v + self._weights(lanes, neurons, items)
        fitted = form.fit(total)
        lost = (fitted != total) & ~leaks
        if lost.any():
            np.add.at(self.saturated, np.broadcast_to(neurons, lost.shape)[lost], 1)
        v = np.where(leaks, leaked, fitted)
        threshold = (word & layout.threshold.mask) >> layout.threshold.low
        fires = (v >= 0) & (v >= threshold)
        pattern = np.where(fires, 0, v) & (1 << bits) - 1
        word_after = word & ~layout.potential.mask | pattern << layout.potential.low
        word_after = places.write.apply(word_after, rows, neurons)
        places.words[rows, cells] = places.cell.apply(word_after, rows, cells)
        return fires & (word & layout.disable.mask == 0)

    def _weights(self, lanes: Ints, neurons: Ints, items: Items) -> Ints:
        """``[lanes, n]`` weights as they are added; anything for a leak."""
        program, places = self.program, self.places
        rows, size = lanes[:, None], program.neurons
        scans = (items.kind[lanes] == Action.scan)[:, None]
        axons = np.where(scans, items.index[lanes][:, None], 0)
        if places.alias[At.weight].any:
            operand = axons * size + neurons
            operand = places.alias[At.weight].apply(operand, rows, np.zeros_like(operand))
            axons, neurons = np.divmod(operand, size)
        pattern = places.memory.read(rows, axons, neurons)
        pattern = places.weight_read.apply(pattern, rows, neurons)
        pattern = np.where(scans, pattern, items.weight[lanes][:, None])
        pattern = places.weight.apply(pattern, rows, neurons)
        weight = NumberFormat(program.weight_bits).decode(pattern & (1 << program.weight_bits) - 1)
        if not places.extended.any:
            return weight
        bits = program.layout.potential.bits
        wide = places.extended.apply(weight & (1 << bits) - 1, rows, neurons)
        return NumberFormat(bits).decode(wide)

    def _book(self, lanes: Ints, neurons: Ints, spikes: NDArray[np.bool_], items: Items) -> None:
        cycles, width = self.program.cycles, neurons.shape[1]
        before: Ints = np.cumsum(spikes, axis=1) - spikes
        written = items.start[lanes][:, None] + cycles.update * (np.arange(width) + 1) - 1
        written = written + cycles.spike * before
        row, column = np.nonzero(spikes)
        numbers = neurons[row, column]
        line = self.places.alias[At.line]
        numbers = line.apply(numbers, lanes[row], np.zeros_like(row))
        when = written[row, column] + 1
        cause = self.host.action[lanes] - items.queued[lanes]  # what is queued has been sent
        self.spiked.append(np.stack([lanes[row], when, numbers, cause[row]], axis=1))
        self._trace(lanes, cause)
        self.updates[lanes] += width
        if self.program.closed_loop:
            self.host.push_spikes(lanes[row], numbers)
        self.host.done(lanes, items, written[:, -1], spikes[:, -1])
        if len(self.lanes) == 1:
            moments = np.full(self.program.neurons, -1)
            moments[neurons[0]] = written[0]
            lane = int(lanes[0])
            entry = (int(items.kind[lane]), int(items.index[lane]), int(items.start[lane]), moments)
            self.timeline.append(entry)

    def _trace(self, lanes: Ints, actions: Ints) -> None:
        """Keep what is stored after an item, under the action that it belongs to."""
        if self.potentials.shape[1]:
            stored = self.program.layout.potential.signed(self.places.words[lanes])
            self.potentials[lanes, actions] = stored
            self.traced[lanes, actions] = True

    def _fill_trace(self) -> None:
        """What no item belongs to leaves potentials as they were."""
        actions = self.potentials.shape[1]
        loaded = self.program.layout.potential.signed(self.program.words)
        last = np.maximum.accumulate(np.where(self.traced, np.arange(actions), -1), axis=1)
        filled = np.take_along_axis(self.potentials, np.maximum(last, 0)[..., None], axis=1)
        self.potentials = np.where(last[..., None] < 0, loaded, filled)
