"""Neuromorphic cores on a mesh: crossbars of weight registers with one neuron under each column.

**Parts.** A core has ``axons`` rows and ``columns`` columns. A row's *axon register* holds one
input code of the current pass; a crosspoint's *weight register* holds one weight; a column has a
*current register*, and one *membrane*, *threshold* and *bias* word for each group of neurons
(*slot*) that the core serves in turn. A weight memory beside the crossbar holds the tiles of the
core, one word a crosspoint. Crosspoints of a tile where no synapse is (a convolution's inputs that
a neuron does not see) are disabled: whatever their register holds adds nothing.

**A tile** is a rectangle of a layer's synapses: rows are inputs, columns are neurons (of a
convolution: its Toeplitz matrix, one column an output position and channel). If there is a core for
every tile of the network, weights are *resident*: copied into the registers once, before cycle 0 of
inference 0, from the memories as they are then (faults in force at cycle 0 included), and never
again. Else they are *reloaded* in every pass.

**An inference** begins with one cycle that clears all membranes. Then, for each step, layer after
layer, round after round (a round is what all cores do at the same time)::

    for each segment of terms, one after the other (resident: all at once, each on its own core)
        load      a cycle a row  the row's weight registers := weight memory      (reloaded only)
        deliver   1 cycle        axon registers := inputs; before the first segment of a core also
                                 current registers := bias (home) or 0 (other cores)
        integrate a cycle a row  current := fit(current + weight · axon) in every column
    gather        a cycle a column and further segment, segment after segment (resident only)
                                 home's current := fit(current + the other core's current)
    neurons       4 cycles       the four operations in the layer's order. In the first, membrane
                                 and threshold words are read; after the last, the membrane written
    send          1 cycle        spikes leave on the spike lines (a readout: currents leave)

The home of a group of neurons is the core of its first segment. Rounds and segments with fewer rows
or columns wait for the longest. Rows are integrated in the order of the layer's terms wherever a
placement puts them. Within a cycle registers are read before they are written.

**Faults.** A flip strikes at the beginning of its cycle, a stuck bit holds from the beginning of
its first cycle to the end of its last; what is wrong in a register or word stays wrong until that
is written again. An operation, line or instance is broken in exactly the cycles of its window;
``dead`` makes a column, core or memory give zeros (spikes, currents, weights), an axon or
crosspoint read as 0. Under re-execution time runs within each execution alone: a fault of execution
e is met by execution e of the inferences in its window.
What faults of routers, links and ports do to packets stands in `accelerators.cores.packets`.
Not modelled: registers in pipelines, the enables of crosspoints, the spike memory between the four
operations, address decoders of memories and control logic, a packet's bits in flight (it arrives or
is lost), and the units between cores that pool, flatten and buffer spikes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from accelerators.checks import Check
from accelerators.cores.graph import check_prices, links_of, units_of
from accelerators.cores.mapping import CoresMapping
from accelerators.cores.schedule import schedule
from codesign.accelerator import AcceleratorGraph
from codesign.errors import StudyError
from codesign.formats import NumberFormat
from codesign.mapping import Placement
from codesign.network import NetworkGraph
from codesign.schema import Quantity, spec

__all__ = ["Cores"]


@dataclass(frozen=True)
class Cores:
    """Spiking crossbar cores on a mesh: weight registers, LIF neurons, XY routed spikes.

    Attributes:
        name: For reports.
        mesh: Routers in x and y; router r is at (r mod x, r div x).
        tile: Cores at each router; core g is at router g div tile.
        host: Core at whose router inputs come in and outputs leave.
        axons: Rows of a crossbar.
        columns: Columns of a crossbar, and neurons of a core.
        weight, current, membrane, threshold: Formats of the registers; biases have the current's.
        axon_bits: Width of the axon registers; 1 bit takes spikes only.
        axon_signed: Whether they hold two's complement.
        neuron_words: Membrane, threshold and bias words of each column: groups a core can serve.
        weight_words: Words of a core's weight memory.
        weights: ``resident``, ``reloaded``, or ``auto``: resident if all tiles fit at once.
        packet_bits: Width of the links of the mesh.
        counting: Rule by which actions are counted: ``schedule`` (`accelerators.cores.cost`) or
            ``sana_fe`` (`accelerators.cores.events`), which knows no time: cycles are still those
            of the schedule, but no latency, static or clock energy is derived from them.
        zero_gating: Whether multipliers rest while a directly coded input is 0 (energy, not time).
        idle_neurons: Whether a neuron is ``updated`` or ``skipped`` in a step in which no spike
            reaches it and its membrane is 0 (energy, not time).
        clock: If known.
        energy: Marginal energy of an action, by ``component.action``.
        area: Of all words of a component in one instance by ``component``, or of an instance beyond
            its components by unit.
        static_power: Of a whole group of units, by unit.
        cycle_energy: Of a whole group of units in every cycle, whatever it does, by unit: its
            clock.
        check: Published figures of the whole chip that these numbers must give again.
        sources: Citation of each source key.
    """

    name: str = spec(non_empty=True)
    mesh: tuple[int, int] = spec(default=(1, 1), low=1)
    tile: int = spec(default=1, low=1)
    host: int = spec(default=0, low=0)
    axons: int = spec(default=256, low=1)
    columns: int = spec(default=256, low=1)
    weight: NumberFormat = NumberFormat(8)
    axon_bits: int = spec(default=8, low=1, high=16)
    axon_signed: bool = False
    current: NumberFormat = NumberFormat(24)
    membrane: NumberFormat = NumberFormat(24)
    threshold: NumberFormat = NumberFormat(24)
    neuron_words: int = spec(default=16, low=1)
    weight_words: int = spec(default=1 << 20, low=1)
    weights: Literal["auto", "resident", "reloaded"] = "auto"
    packet_bits: int = spec(default=32, low=1)
    counting: Literal["schedule", "sana_fe"] = "schedule"
    zero_gating: bool = False
    idle_neurons: Literal["updated", "skipped"] = "updated"
    clock: Quantity | None = spec(default=None, unit="MHz", above=0)
    energy: dict[str, Quantity] = spec(default_factory=dict, unit="pJ", low=0, paths=True)
    area: dict[str, Quantity] = spec(default_factory=dict, unit="um2", low=0)
    static_power: dict[str, Quantity] = spec(default_factory=dict, unit="mW", low=0)
    cycle_energy: dict[str, Quantity] = spec(default_factory=dict, unit="pJ", low=0)
    check: tuple[Check, ...] = ()
    sources: dict[str, str] = spec(default_factory=dict)

    def __post_init__(self) -> None:
        if self.host >= self.cores:
            raise StudyError(
                f"{self.name}.host: expected one of cores 0..{self.cores - 1}, came {self.host}"
            )
        check_prices(self)

    @property
    def axon(self) -> NumberFormat:
        """Format of the axon registers."""
        return NumberFormat(self.axon_bits, self.axon_signed)

    @property
    def cores(self) -> int:
        """Number of cores."""
        return self.mesh[0] * self.mesh[1] * self.tile

    def build(self) -> AcceleratorGraph:
        """The chip as a graph: weight memories, axons, crossbars, neurons, cores and their mesh."""
        return AcceleratorGraph(
            self.name, self, units_of(self), links_of(self), self.clock, self.sources
        )

    def map(self, network: NetworkGraph, placement: Placement) -> CoresMapping:
        """Place a spiking network.

        Raises:
            MappingError: A layer or the placement is impossible here.
            CapacityError: Cores or memory are too small.
        """
        return CoresMapping(self, network, schedule(network, self, placement))
