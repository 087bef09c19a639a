"""A tinyODIN chip by itself: memories, read registers, queue, and the update of a neuron.

Two cycles update a neuron: on the edge that ends the first its word is loaded into the read
register; the second, here always ``t``, ends with the write-back of all 32 bits. The synapse word
of eight neurons is loaded in both cycles of the first of them and held for the other seven. After a
spike the scan stands still for six cycles, in the first cycle of the next neuron, until the output
handshake is done. A flip at cycle c is seen by what happens on edge c + 1.

Source: RTL of github.com/ChFrenkel/tinyODIN, commit 18656534.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from accelerators.tinyodin.words import BitFault, Workload, masks

__all__ = ["NEVER", "QUEUE_CAPACITY", "Chip", "ChipState", "Rules", "TimeOutError"]

QUEUE_CAPACITY = 128  # fifo.v, depth
SPIKE_CYCLES = 6  # of the output handshake with a receiver that acknowledges at once
NEVER = 1 << 62


@dataclass(frozen=True)
class Rules:
    """The chip's rules; each can be broken, to show that it is needed.

    Attributes:
        writes_parameters: The write-back rewrites threshold, leak and disable bit too, with what a
            flip has made of them in the read register.
        write_erases: A flip in the cycle of a write-back of its word is lost.
        rereads_weights: The synapse word is loaded again in the second cycle of its first neuron.
        saturates: Sums saturate (else they wrap at 12 bits).
        disabled_resets: A disabled neuron that crosses its threshold is still reset.
    """

    writes_parameters: bool = True
    write_erases: bool = True
    rereads_weights: bool = True
    saturates: bool = True
    disabled_resets: bool = True


@dataclass
class ChipState:
    """A chip between two operations of its host.

    Attributes:
        cells: Neuron words.
        queue: Events that wait, the oldest first: address, from bit 8 on an immediate weight.
        cycle: The next cycle in which the controller waits.
        busy: The first cycle in which the output is free.
        since: The cycle in which the host turned to its current operation.
        events: Spikes that left so far: cycle, address.
        samples: Potentials read so far.
    """

    cells: list[int]
    queue: deque[int] = field(default_factory=deque)
    cycle: int = 1
    busy: int = 0
    since: int = 1
    events: list[tuple[int, int]] = field(default_factory=list)
    samples: list[list[int]] = field(default_factory=list)

    def copy(self) -> ChipState:
        """A state that can go its own way."""
        return ChipState(
            self.cells.copy(),
            self.queue.copy(),
            self.cycle,
            self.busy,
            self.since,
            self.events.copy(),
            self.samples.copy(),
        )

    def continues_as(self, other: ChipState) -> bool:
        """Whether nothing that follows can differ."""
        mine = (self.since, self.cycle, self.busy, self.cells, self.queue)
        return mine == (other.since, other.cycle, other.busy, other.cells, other.queue)


class TimeOutError(Exception):
    """The host waited too long."""


class Chip:
    """A faulty chip that can be run: `pop` and `update` let it work, nothing else moves time."""

    def __init__(self, workload: Workload, rules: Rules, faults: Iterable[BitFault]) -> None:
        self.workload, self.rules = workload, rules
        self.faults = tuple(faults)
        self.state = ChipState(self.workload.neurons.tolist())
        self.synapses = self.workload.synapses.tolist()
        self.held = 0
        self.flips = sorted((f for f in self.faults if f.kind == "flip"), key=lambda f: f.cycle)
        self.flips.reverse()  # the next one last
        self.stuck_cells = self._stuck("neuron_memory")
        self.stuck_synapses = self._stuck("synapse_memory")
        for address, (keep, force) in self.stuck_cells.items():
            self.state.cells[address] = self.state.cells[address] & keep | force
        for address, (keep, force) in self.stuck_synapses.items():
            self.synapses[address] = self.synapses[address] & keep | force
        self.weights = self._weights()
        self.bus, self.address = (
            masks(self.faults, "write_bus"),
            masks(self.faults, "neuron_address"),
        )
        self.register = masks(self.faults, "neuron_register")
        self.word = masks(self.faults, "synapse_register")
        self.synapse_address = masks(self.faults, "synapse_address")
        self.allow(NEVER)

    def _stuck(self, place: str) -> dict[int, tuple[int, int]]:
        words = {f.word for f in self.faults if f.place == place and f.kind != "flip"}
        return {word: masks(self.faults, place, word) for word in words}

    def _weights(self) -> list[int]:
        """The weight that is added for each of the 16 patterns, stuck nets included."""
        keep, force = masks(self.faults, "weight")
        keep12, force12 = masks(self.faults, "extended_weight")
        patterns = [nibble & keep | force for nibble in range(16)]
        extended = [(p | 0xFF0 if p & 8 else p) & keep12 | force12 for p in patterns]
        return [w - 4096 if w & 0x800 else w for w in extended]

    def pop(self) -> None:
        """Work off the event at the head of the queue."""
        state = self.state
        cycle = max(state.cycle, state.busy)
        event = state.queue[0]
        if event >> 8:
            last = self.update(cycle + 1, (event & 0xFF,), immediate=event >> 8)
            state.cycle = last + 1
        else:
            addresses = range(self.workload.max_neuron + 1)
            last = self.update(cycle + 1, addresses, axon=event)
            state.cycle = max(last + 1, state.busy) + 1
        state.queue.popleft()

    def update(
        self,
        cycle: int,
        addresses: Sequence[int],
        axon: int = -1,
        immediate: int = 0,
    ) -> int:
        """Update neurons one after the other, beginning in a cycle; gives the last one's t.

        A neuron event has an axon, a virtual one an immediate weight, a leak neither.
        """
        cells, t, spikes = self.state.cells, cycle + 1, False
        address_keep, address_force = self.address
        for neuron in addresses:
            if t > self.soon:
                self.strike_before(t)
            address = neuron & address_keep | address_force
            word, late = cells[address], 0
            if axon >= 0 and not neuron & 7:
                self._load_weights(axon, neuron)
            if t >= self.soon:
                flip, late = self._strike_at(t, address)
                word ^= flip
            word = word & self.register[0] | self.register[1]
            v, spikes = self._settled(word, self._summed(word, address, axon, immediate))
            self._write(address, word, v, late)
            if axon >= 0 and not neuron & 7 and self.rules.rereads_weights:
                self._load_weights(axon, neuron)
            t += 2
            if spikes:
                self._spike(t - 1, address)
                t += SPIKE_CYCLES
        return t - 2 - SPIKE_CYCLES if spikes else t - 2

    def _load_weights(self, axon: int, neuron: int) -> None:
        keep, force = self.synapse_address
        self.held = self.synapses[(axon << 5 | neuron >> 3) & keep | force]

    def _summed(self, word: int, address: int, axon: int, immediate: int) -> int:
        """The potential after integration or leak."""
        v = word & 0xFFF
        if v & 0x800:
            v -= 0x1000
        if axon >= 0:
            held = self.held & self.word[0] | self.word[1]
            v += self.weights[held >> 4 * (address & 7) & 15]
        elif immediate:
            v += self.weights[immediate]
        else:
            amount = word >> 24 & 0x7F
            return max(v - amount, 0) if v >= 0 else min(v + amount, 0)
        if -0x800 <= v <= 0x7FF:
            return v
        if self.rules.saturates:
            return min(max(v, -0x800), 0x7FF)
        return (v + 0x800) % 0x1000 - 0x800

    def _settled(self, word: int, v: int) -> tuple[int, bool]:
        """The potential after threshold and reset, and whether a spike leaves."""
        if v < 0 or v < word >> 12 & 0xFFF:
            return v, False
        spikes = not word >> 31
        return (0 if spikes or self.rules.disabled_resets else v), spikes

    def _write(self, address: int, word: int, v: int, late: int) -> None:
        """Write back; flips of this cycle are lost unless a broken rule keeps them (``late``)."""
        kept = word
        if not self.rules.writes_parameters:
            kept = self.state.cells[address] & self.register[0] | self.register[1]
        new = (kept & 0xFFFFF000 | v & 0xFFF) & self.bus[0] | self.bus[1]
        new ^= late
        if address in self.stuck_cells:
            keep, force = self.stuck_cells[address]
            new = new & keep | force
        self.state.cells[address] = new

    def _spike(self, cycle: int, address: int) -> None:
        state = self.state
        state.events.append((cycle, address))
        state.busy = cycle + SPIKE_CYCLES
        if not self.workload.open_loop and len(state.queue) < QUEUE_CAPACITY:
            state.queue.append(address)

    # --- flips ----------------------------------------------------------------------------------

    def allow(self, deadline: int) -> None:
        """Let the host wait until a cycle."""
        self.deadline = deadline
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Note the next cycle in which something happens that no rule of the chip says."""
        self.soon = min(self.flips[-1].cycle if self.flips else NEVER, self.deadline)

    def strike_before(self, t: int) -> None:
        """Flips of earlier cycles; one in the neuron's register has been overwritten since."""
        if t > self.deadline:
            raise TimeOutError
        while self.flips and self.flips[-1].cycle < t:
            fault = self.flips.pop()
            if fault.place == "synapse_register":
                self.held ^= 1 << fault.bit
            elif fault.place != "neuron_register":
                self._strike_memory(fault)
        self._look_ahead()

    def _strike_at(self, t: int, address: int) -> tuple[int, int]:
        """Flips of cycle t, when the word of an address is written.

        Returns what they do to the neuron's register, and to its word after it is written.
        """
        if t >= self.deadline:
            raise TimeOutError
        flip = late = 0
        while self.flips and self.flips[-1].cycle == t:
            fault = self.flips.pop()
            if fault.place == "neuron_register":
                flip ^= 1 << fault.bit
            elif fault.place == "synapse_register":
                self.held ^= 1 << fault.bit
            elif fault.place == "neuron_memory" and fault.word == address:
                late ^= 0 if self.rules.write_erases else 1 << fault.bit
            else:
                self._strike_memory(fault)
        self._look_ahead()
        return flip, late

    def _strike_memory(self, fault: BitFault) -> None:
        """A flip in a memory; a bit that is stuck stays as it is."""
        neuron = fault.place == "neuron_memory"
        words, stuck = (
            (self.state.cells, self.stuck_cells) if neuron else (self.synapses, self.stuck_synapses)
        )
        keep, force = stuck.get(fault.word, (-1, 0))
        words[fault.word] = (words[fault.word] ^ 1 << fault.bit) & keep | force
