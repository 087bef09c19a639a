"""Queue, controller and host of an event-serial program: which item comes next, in all lanes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.events import ACTION, Action, EventProgram

__all__ = ["Host", "Items"]

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
NONE = -1


@dataclass(eq=False)
class Items:
    """The next item of every lane.

    Attributes:
        kind: ``[lanes]`` an `Action`, or -1 where the lane is done.
        index, weight: ``[lanes]`` as in an action.
        queued: Whether it came out of the queue (else from the host).
        start: ``[lanes]`` its first cycle.
    """

    kind: Ints
    index: Ints
    weight: Ints
    queued: Flags
    start: Ints


class Host:
    """All lanes' hosts, controllers and queues."""

    def __init__(
        self, program: EventProgram, stimuli: list[NDArray[np.void]], sample: Ints
    ) -> None:
        lanes = len(sample)
        self.program, self.cycles = program, program.cycles
        longest = max((len(s) for s in stimuli), default=0)
        table = np.zeros((len(stimuli), longest + 1), dtype=ACTION)
        for i, stimulus in enumerate(stimuli):
            table[i, : len(stimulus)] = stimulus
        self.table, self.sample = table, sample
        self.count = np.array([len(s) for s in stimuli], dtype=np.int64)[sample]
        self.action = np.zeros(lanes, dtype=np.int64)
        self.cycle, self.since = np.ones(lanes, np.int64), np.ones(lanes, np.int64)
        self.busy = np.zeros(lanes, dtype=np.int64)
        self.request = np.full(lanes, NONE, dtype=np.int64)
        self.deadline = self.since + self.cycles.time_out
        self.queue = np.zeros((lanes, program.queue_capacity), dtype=np.int64)
        self.head, self.length = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
        self.hang = np.full(lanes, NONE, dtype=np.int64)
        self.alive = np.ones(lanes, dtype=bool)

    def next(self) -> Items:
        """The next item of every lane that is alive; lanes that are done, or hang, die."""
        lanes = len(self.alive)
        ints = [np.full(lanes, fill, dtype=np.int64) for fill in (NONE, 0, 0, 0)]
        items = Items(ints[0], ints[1], ints[2], np.zeros(lanes, dtype=bool), ints[3])
        while True:
            self._give_up(self.alive & (items.kind == NONE) & (self.request == NONE))
            open_ = self.alive & (items.kind == NONE)
            if not open_.any():
                return items
            self._begin(np.flatnonzero(open_ & (self.request == NONE)), items)
            waiting = self.alive & (items.kind == NONE) & (self.request != NONE)
            self._serve(np.flatnonzero(waiting), items)

    def _give_up(self, turning: Flags) -> None:
        self.alive &= ~(turning & (self.action >= self.count))

    def _begin(self, at: Ints, items: Items) -> None:
        """The host turns to an action, or still waits for idleness."""
        action = self.table[self.sample[at], self.action[at]]
        self.deadline[at] = self.since[at] + self.cycles.time_out
        self.request[at[~action["waits"]]] = self.since[at[~action["waits"]]]
        at, action = at[action["waits"]], action[action["waits"]]
        busy = self.length[at] > 0
        self._pop(at[busy], items)
        at, action = at[~busy], action[~busy]
        request = np.maximum(np.maximum(self.cycle[at], self.busy[at]), self.since[at])
        request = request + self.cycles.idle
        late = request > self.deadline[at]
        self.give_up(at[late])
        at, action, request = at[~late], action[~late], request[~late]
        self.cycle[at] = request
        sample = action["kind"] == Action.sample
        self.request[at[~sample]] = request[~sample]
        self.deadline[at[~sample]] = request[~sample] + self.cycles.time_out
        at, request = at[sample], request[sample]
        items.kind[at], items.start[at] = Action.sample, request
        self.since[at] = request
        self.action[at] += 1

    def _serve(self, at: Ints, items: Items) -> None:
        """A request stands: the queue is worked off before it, or it is served."""
        free = np.maximum(self.cycle[at], self.busy[at])
        late = free >= self.deadline[at]
        self.give_up(at[late])
        at, free = at[~late], free[~late]
        full = self.length[at] == self.program.queue_capacity
        first = full | ((free <= self.request[at]) & (self.length[at] > 0))
        self._pop(at[first], items)
        at, free = at[~first], free[~first]
        free = np.maximum(free, self.request[at] + 1)
        self.cycle[at] = free
        action = self.table[self.sample[at], self.action[at]]
        leak = (action["kind"] == Action.leak_all) | (action["kind"] == Action.leak_one)
        now = at[leak]
        items.kind[now], items.index[now] = action["kind"][leak], action["index"][leak]
        items.start[now] = free[leak] + 1
        at, action = at[~leak], action[~leak]
        self._push(at, self._event(action))
        self._acknowledge(at, free[~leak] + self.cycles.acknowledge)

    def _event(self, action: NDArray[np.void]) -> Ints:
        """A queue's entry: an axon, or beyond the axons a neuron and a weight's pattern."""
        bits = self.program.weight_bits
        own = action["index"].astype(np.int64) << bits | action["weight"] & (1 << bits) - 1
        scan = action["kind"] == Action.scan
        return np.where(scan, action["index"], self.program.axons + own)

    def _push(self, at: Ints, events: Ints) -> None:
        self.queue[at, (self.head[at] + self.length[at]) % self.program.queue_capacity] = events
        self.length[at] += 1

    def push_spikes(self, lanes: Ints, addresses: Ints) -> None:
        """Queue own spikes, lane after lane and in order within a lane; full queues lose them."""
        rank = np.arange(len(lanes)) - np.searchsorted(lanes, lanes)
        place = self.length[lanes] + rank
        fits = place < self.program.queue_capacity
        lanes, place = lanes[fits], place[fits]
        where = (self.head[lanes] + place) % self.program.queue_capacity
        self.queue[lanes, where] = addresses[fits]
        np.add.at(self.length, lanes, 1)

    def _pop(self, at: Ints, items: Items) -> None:
        """The queue's oldest event becomes the item; it leaves the queue when it is done."""
        event = self.queue[at, self.head[at]]
        bits, axons = self.program.weight_bits, self.program.axons
        scan = event < axons
        items.kind[at] = np.where(scan, Action.scan, Action.immediate)
        items.index[at] = np.where(scan, event, event - axons >> bits)
        items.weight[at] = np.where(scan, 0, event - axons & (1 << bits) - 1)
        items.queued[at] = True
        items.start[at] = np.maximum(self.cycle[at], self.busy[at]) + 1

    def _acknowledge(self, at: Ints, when: Ints) -> None:
        self.cycle[at] = when + self.cycles.release
        self.since[at] = self.cycle[at] + self.cycles.turn
        self.request[at] = NONE
        self.action[at] += 1

    def give_up(self, at: Ints) -> None:
        """These lanes hang, in their current action."""
        self.hang[at] = self.action[at]
        self.alive[at] = False

    def done(self, at: Ints, items: Items, last: Ints, spiked: Flags) -> None:
        """Items of some lanes end.

        Args:
            at: ``[n]`` lanes.
            items: Of all lanes.
            last: ``[n]`` cycle in which the last update's word is written.
            spiked: ``[n]`` whether that update gave a spike.
        """
        late = last >= self.deadline[at]
        self.give_up(at[late])
        at, last, spiked = at[~late], last[~late], spiked[~late]
        after = last + 1 + self.cycles.spike
        self.busy[at] = np.where(spiked, after, self.busy[at])
        queued = items.queued[at]
        self._acknowledge(at[~queued], last[~queued] + 1)
        at, last = at[queued], last[queued]
        scan = items.kind[at] == Action.scan
        waited = np.maximum(last + 1, self.busy[at]) + self.cycles.pop
        self.cycle[at] = np.where(scan, waited, last + 1)
        self.head[at] = (self.head[at] + 1) % self.program.queue_capacity
        self.length[at] -= 1
