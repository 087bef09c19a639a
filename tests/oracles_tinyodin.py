"""A tinyODIN chip and its host as a clocked machine: every register, every edge, nothing skipped.

Written from the description of the chip's blocks (controller, queue, neuron, memories, output
handshake, synchronisers) and of the host, with one `edge` for each clock edge. It knows no
timeline: what takes how long comes out of it. Faults are put into the registers after the edge of
their cycle, stuck ones after every edge; nets are forced where they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WAIT, LEAK, PUSH, SCAN, VIRTUAL, LEAVE, REQUEST_DOWN = range(7)


@dataclass
class Machine:
    """One chip, one host, one list of faults: (place, word, bit, kind, cycle)."""

    neurons: list[int]
    synapses: list[int]
    max_neuron: int
    open_loop: bool
    operations: list[tuple[int, bool]]  # 10-bit address or -1 to sample; wait for idle
    faults: Sequence[tuple[str, int, int, str, int]] = ()
    time_out: int = 60_000

    def __post_init__(self) -> None:
        self.neurons, self.synapses = list(self.neurons), list(self.synapses)
        self.loaded = list(self.synapses)
        self.q = self.syn_q = 0
        self.state, self.count, self.neuron = WAIT, 0, 0
        self.fifo: list[int] = []
        self.request = self.request_1 = self.request_2 = 0
        self.out_request = self.out_busy = 0
        self.ack_1 = self.ack_2 = self.ack_3 = 0
        self.out_ack = 0
        self.address_in = 0
        self.events: list[tuple[int, int]] = []
        self.samples: list[list[int]] = []
        self.cycle = 0
        self.operation, self.phase, self.waited, self.idle = 0, "begin", 0, 0
        self.hang = -1
        self.strike()
        self.impose()

    # faults

    def impose(self) -> None:
        """Stuck registers and memory bits get their value back."""
        for place, word, bit, kind, _ in self.faults:
            if kind != "flip" and place in ("neuron_memory", "synapse_memory"):
                memory = self.neurons if place == "neuron_memory" else self.synapses
                memory[word] = forced(memory[word], bit, kind)
            elif kind != "flip" and place == "neuron_register":
                self.q = forced(self.q, bit, kind)
            elif kind != "flip" and place == "synapse_register":
                self.syn_q = forced(self.syn_q, bit, kind)

    def strike(self) -> None:
        """Flips of this cycle."""
        for place, word, bit, kind, cycle in self.faults:
            if kind == "flip" and cycle == self.cycle:
                if place == "neuron_memory":
                    self.neurons[word] ^= 1 << bit
                elif place == "synapse_memory":
                    self.synapses[word] ^= 1 << bit
                elif place == "neuron_register":
                    self.q ^= 1 << bit
                else:
                    self.syn_q ^= 1 << bit

    def net(self, name: str, value: int) -> int:
        """A net's value, stuck bits forced."""
        for place, _, bit, kind, _ in self.faults:
            if place == name:
                value = forced(value, bit, kind)
        return value

    # one clock

    def run(self) -> Machine:
        """Until the host is done or gives up."""
        while True:
            if not self.host():
                return self
            self.edge()
            self.cycle += 1
            self.strike()
            self.impose()

    def host(self) -> bool:
        """What the host does between two edges; false when it stops."""
        while self.operation < len(self.operations):
            address, waits = self.operations[self.operation]
            if self.waited > self.time_out:
                self.hang = self.operation
                return False
            if self.phase == "begin":
                if waits and self.idle < 4:
                    break
                if address < 0:
                    self.samples.append([w & 0xFFF for w in self.neurons[: self.max_neuron + 1]])
                    self.next_operation()
                    continue
                self.address_in, self.request, self.phase, self.waited = address, 1, "up", 0
            elif self.phase == "up" and self.ack_in:
                self.request, self.phase, self.waited = 0, "down", 0
            elif self.phase == "down" and not self.ack_in:
                self.next_operation()
                continue
            break
        if self.operation == len(self.operations):
            return False
        self.waited += 1
        self.out_ack_next = self.out_request
        return True

    def next_operation(self) -> None:
        """Go on to the next operation."""
        self.operation, self.phase, self.waited, self.idle = self.operation + 1, "begin", 0, 0

    @property
    def ack_in(self) -> bool:
        """Acknowledge of the input."""
        return self.state == REQUEST_DOWN

    @property
    def working(self) -> bool:
        """Whether a neuron is being updated."""
        return self.state in (LEAK, SCAN, VIRTUAL)

    def edge(self) -> None:
        """All registers load at once."""
        full, busy, second = len(self.fifo) == 128, self.out_busy, self.count & 1
        head = self.fifo[0] if self.fifo else 0
        address = self.neuron_address(head)
        following = self.following(full, busy, head)
        spike, written = self.update(address, head) if self.working and second else (0, 0)
        self.load(address, head)
        if self.working and second:
            self.neurons[address] = written
        self.queue(address, spike, full=full, busy=busy)
        self.handshake(address, spike)
        grows = self.working and second and (self.state == SCAN or self.address_in & 0xFF == 0xFF)
        if self.state == WAIT:
            self.count = self.neuron = 0
        elif not busy:
            self.count += 1
            self.neuron += bool(grows)
        self.request_2, self.request_1 = self.request_1, self.request
        self.state = following
        idle = self.state == WAIT and not self.fifo and not self.out_busy and not self.request
        self.idle = self.idle + 1 if idle else 0

    def neuron_address(self, head: int) -> int:
        """The address net."""
        address = self.neuron
        if self.state == LEAK and self.address_in & 0xFF != 0xFF:
            address = self.address_in & 0xFF
        if self.state == VIRTUAL:
            address = head & 0xFF
        return self.net("neuron_address", address)

    def load(self, address: int, head: int) -> None:
        """Read registers."""
        if self.working:
            self.q = self.neurons[address]
        if self.state == SCAN and self.neuron % 8 == 0:
            row = (head & 0xFF) << 5 | self.neuron >> 3
            self.syn_q = self.synapses[self.net("synapse_address", row)]

    def queue(self, address: int, spike: int, *, full: bool, busy: int) -> None:
        """Push and pop."""
        if self.state == PUSH and not full:
            low = self.address_in & 0xFF
            virtual = self.address_in >> 9 & 1
            self.fifo.append((low & 0xF0) << 4 | low & 15 if virtual else low)
        if spike and not self.open_loop and not full:
            self.fifo.append(address)
        if (self.state == VIRTUAL and self.count & 1) or (self.state == LEAVE and not busy):
            self.fifo.pop(0)

    def handshake(self, address: int, spike: int) -> None:
        """Output."""
        if spike and not self.ack_2:
            self.events.append((self.cycle + 1, address))
            self.out_request = self.out_busy = 1
        elif self.ack_2:
            self.out_request, self.out_busy = 0, 1
        elif self.ack_3:
            self.out_request = self.out_busy = 0
        self.ack_3, self.ack_2, self.ack_1 = self.ack_2, self.ack_1, self.out_ack_next

    def following(self, full: bool, busy: int, head: int) -> int:
        """Next state of the controller."""
        if self.state == WAIT:
            return self.woken(full, busy, VIRTUAL if head >> 8 else SCAN)
        if self.state == LEAK:
            last = self.neuron == self.max_neuron or self.address_in & 0xFF != 0xFF
            return REQUEST_DOWN if last and self.count & 1 else LEAK
        if self.state == SCAN:
            return LEAVE if self.count == 2 * self.max_neuron + 1 else SCAN
        if self.state == VIRTUAL:
            return WAIT if self.count & 1 else VIRTUAL
        if self.state == LEAVE:
            return LEAVE if busy else WAIT
        return REQUEST_DOWN if self.state == PUSH or self.request_2 else WAIT

    def woken(self, full: bool, busy: int, pop: int) -> int:
        """Next state of a controller that waits."""
        if busy:
            return WAIT
        if full:
            return pop
        if self.request_2:
            return LEAK if self.address_in >> 8 & 1 else PUSH
        return pop if self.fifo else WAIT

    def update(self, address: int, head: int) -> tuple[int, int]:
        """Spike and word to be written of the neuron in the read register."""
        v = self.q & 0xFFF
        threshold, leak, disabled = self.q >> 12 & 0xFFF, self.q >> 24 & 0x7F, self.q >> 31
        if self.state == LEAK:
            negative = v >> 11
            v = (v + leak if negative else v - leak) & 0xFFF
            if v >> 11 != negative:
                v = 0
        else:
            weight = head >> 8 or self.syn_q >> 4 * (address & 7) & 15
            weight = self.net("weight", weight)
            weight = self.net("extended_weight", weight | 0xFF0 if weight & 8 else weight)
            total = v + weight & 0xFFF
            if v >> 11 == weight >> 11 != total >> 11:
                total = 0x800 if v >> 11 else 0x7FF
            v = total
        fires = not v >> 11 and v >= threshold
        word = self.q & 0xFFFFF000 | (0 if fires else v)
        return int(fires and not disabled), self.net("write_bus", word)


def forced(value: int, bit: int, kind: str) -> int:
    """A value with one bit stuck."""
    return value | 1 << bit if kind == "sa1" else value & ~(1 << bit)
