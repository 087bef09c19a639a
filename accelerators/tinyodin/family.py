"""tinyODIN: 256 time-multiplexed neurons and 64k synapses that work event by event.

**The chip.** One neuron circuit updates one neuron after the other from a memory of 256 words of 32
bits (12-bit saturating potential, 12-bit unsigned threshold, 7-bit leak, disable bit); each of 256
axons has 256 weights of 4 bits in 8192 words of 32 bits. An event of an axon updates all neurons up
to a maximum, a leak moves all potentials towards zero. Who reaches its threshold in any update
fires and returns to zero; its spike leaves the chip and is queued (128 events) as an event of the
axon with the neuron's number. `accelerators.tinyodin.words` has the words,
`accelerators.tinyodin.cycle` what happens in which cycle.

**A network** is a chain of `Linear` layers without bias, each with a `Lif` that resets to zero and
leaks by subtraction or not at all; its input are spikes. All neurons of all layers sit in one scan;
inputs take axons that no neuron has. A `Lif` fires after the sum of a step, the chip after every
event: a neuron may fire before later events of the step would have held it back, or twice in a
step. So the chip's golden outputs are its own, and so is its accuracy.

**An inference.** The host loads the neuron memory, then plays the steps: all neurons leak (before
the spikes or after them, as the `Lif` says), and each input spike is an event. It waits in between
until the chip is idle (``waits``), or only before a leak and at the end.

**Faults.** Flips and stuck bits of both memories and their read registers; stuck bits of five nets:
the word to be written, the weight before and after sign extension, and both memories' addresses.
A window's time is (inference, update): the flip strikes just before that update, counted from 0
through the inference, all neurons of the scan in each of its events and leaks. Weights are loaded
once, before the first inference. Not modelled: the queue, the controller, registers of the serial
port and the output handshake.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelerators.tinyodin.mapping import TinyOdinMapping, layers_of, place
from accelerators.tinyodin.words import NEURONS, SYNAPSE_WORDS
from codesign.accelerator import AcceleratorGraph, Component, Link, Unit
from codesign.mapping import Placement
from codesign.network import NetworkGraph
from codesign.schema import Quantity, spec

__all__ = ["TinyOdin"]


@dataclass(frozen=True)
class TinyOdin:
    """The tinyODIN chip and its host.

    Attributes:
        name: For reports.
        waits: Whether the host lets each event be worked off before it sends the next.
        idle_cycles: Cycles without work that a waiting host counts.
        time_out_cycles: Longest wait of the host; a longer one is a hang.
        clock: If known.
        sources: Citation of each source key.
    """

    name: str = spec(non_empty=True)
    waits: bool = True
    idle_cycles: int = spec(default=4, low=0)
    time_out_cycles: int = spec(default=60_000, low=1)
    clock: Quantity | None = spec(default=None, unit="MHz", above=0)
    sources: dict[str, str] = spec(default_factory=dict)

    def build(self) -> AcceleratorGraph:
        """The chip as a graph: two memories with their registers and nets, and the queue."""
        neurons = Unit(
            "neurons",
            "neuron",
            (),
            (
                Component("memory", 32, "membrane", NEURONS, "per_inference", signed=False),
                Component("read_register", 32, "membrane", signed=False),
                Component("write_bus", 32, "membrane", signed=False, net=True),
                Component("weight", 4, "weight", net=True),
                Component("extended_weight", 12, "weight", net=True),
                Component("address", 8, "spike", signed=False, net=True),
            ),
        )
        synapses = Unit(
            "synapses",
            "sram",
            (),
            (
                Component("memory", 32, "weight", SYNAPSE_WORDS, "never", signed=False),
                Component("read_register", 32, "weight", signed=False),
                Component("address", 13, "spike", signed=False, net=True),
            ),
        )
        queue = Unit("queue", "queue", (), (Component("events", 12, "spike", 128, signed=False),))
        links = (
            Link("queue", "synapses", "axon", 8, 1),
            Link("synapses", "neurons", "weight", 4, 1),
            Link("neurons", "queue", "spike", 8, 1),
        )
        return AcceleratorGraph(
            self.name, self, (queue, synapses, neurons), links, self.clock, self.sources
        )

    def map(self, network: NetworkGraph, placement: Placement) -> TinyOdinMapping:
        """Place a spiking network.

        Raises:
            MappingError: A layer or the placement is impossible here.
            CapacityError: Too many neurons, or inputs.
        """
        layers = layers_of(network)
        return TinyOdinMapping(self, network, layers, place(network, layers, placement))
