"""Systolic arrays: a grid of multiply-accumulate elements fed from memories, and its datasheet.

The generic array computes each layer as matrix products, tile by tile (im2col); what happens in
which cycle stands in `accelerators.systolic.schedule`, what its memories hold in
`accelerators.systolic.memories`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from accelerators.systolic.gemmini_mesh import mesh
from accelerators.systolic.schedule import Dataflow
from accelerators.systolic.wires import bus_units
from codesign.accelerator import AcceleratorGraph, Component, Link, Unit
from codesign.errors import StudyError
from codesign.mapping import Mapping, Placement
from codesign.network import NetworkGraph
from codesign.schema import Quantity, spec

if TYPE_CHECKING:
    from codesign.accelerator import Reload, Role

__all__ = ["Memory", "Systolic"]

Overflow = Literal["wrap", "saturate"]


@dataclass(frozen=True)
class Memory:
    """A memory of a systolic array.

    Attributes:
        bytes: Capacity.
        word_bits: Bits read or written at once; a whole number of elements stands in a word.
        read: Energy of reading one word.
        write: Energy of writing one word.
        area: Of the whole memory.
        static_power: Of the whole memory.
    """

    bytes: int = spec(low=1)
    word_bits: int = spec(low=1, high=1024)
    read: Quantity | None = spec(unit="pJ", default=None)
    write: Quantity | None = spec(unit="pJ", default=None)
    area: Quantity | None = spec(unit="um2", default=None)
    static_power: Quantity | None = spec(unit="mW", default=None)

    @property
    def words(self) -> int:
        """Words that fit."""
        return self.bytes * 8 // self.word_bits


@dataclass(frozen=True)
class Systolic:
    """A systolic array with its memories.

    Attributes:
        name: For reports.
        rows: Rows of processing elements.
        cols: Columns of processing elements.
        dataflow: What stays in an element while the rest streams through.
        datapath: ``generic``, or ``gemmini`` for the mesh of that generator: weight stationary,
            int8 operands, signed inputs, 20-bit sums that wrap.
        timing: Rule by which cycles are counted: ``scale_sim`` (the generic datapath's, see
            `accelerators.systolic.schedule`), ``gemmini`` (its mesh's), or ``datapath`` for
            whichever belongs to the datapath.
        zero_gating: Operands whose zeros keep a multiplier and its adder from switching; it saves
            energy and no cycle, for all elements work in step.
        weight_bits: Width of the weight registers.
        input_bits: Width of the input registers.
        psum_bits: Width of the partial sums in the array.
        psum_overflow: What a partial sum does that does not fit.
        accumulator_bits: Width of the sums in psum_sram, in which the passes are added up.
        accumulator_overflow: What such a sum does that does not fit.
        weight_sram: Holds the weights of one layer (of all, if they fit).
        activation_sram: Holds the codes that layers read.
        psum_sram: Holds the sums of the outputs at work.
        dram: Holds the weights of the network.
        clock: Frequency of everything.
        multiply: Energy of one multiplication.
        add: Energy of one addition to a partial sum.
        register_bit: Energy of writing one bit of a register.
        element_area: Area of one processing element.
        static_power: Of the whole array of elements.
        cycle_energy: Of the whole array in every cycle, whatever it does: its clock.
        sources: Citation of each source key used by the numbers.
    """

    name: str = "systolic"
    rows: int = spec(default=16, low=1, high=1024)
    cols: int = spec(default=16, low=1, high=1024)
    dataflow: Dataflow = "weight_stationary"
    datapath: Literal["generic", "gemmini"] = "generic"
    timing: Literal["datapath", "scale_sim", "gemmini"] = "datapath"
    zero_gating: Literal["none", "input", "weight", "both"] = "none"
    weight_bits: int = spec(default=8, low=2, high=16)
    input_bits: int = spec(default=8, low=1, high=16)
    psum_bits: int = spec(default=32, low=2, high=48)
    psum_overflow: Overflow = "wrap"
    accumulator_bits: int = spec(default=32, low=2, high=48)
    accumulator_overflow: Overflow = "saturate"
    weight_sram: Memory = Memory(bytes=1 << 18, word_bits=128)
    activation_sram: Memory = Memory(bytes=1 << 18, word_bits=128)
    psum_sram: Memory = Memory(bytes=1 << 18, word_bits=128)
    dram: Memory = Memory(bytes=1 << 26, word_bits=64)
    clock: Quantity | None = spec(unit="MHz", default=None)
    multiply: Quantity | None = spec(unit="pJ", default=None)
    add: Quantity | None = spec(unit="pJ", default=None)
    register_bit: Quantity | None = spec(unit="pJ", default=None)
    element_area: Quantity | None = spec(unit="um2", default=None)
    static_power: Quantity | None = spec(unit="mW", default=None)
    cycle_energy: Quantity | None = spec(unit="pJ", default=None)
    sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        elements = {
            "weight_sram": self.weight_bits,
            "activation_sram": self.input_bits,
            "psum_sram": self.accumulator_bits,
            "dram": self.weight_bits,
        }
        for name, bits in elements.items():
            memory: Memory = getattr(self, name)
            if memory.word_bits % bits or not memory.words:
                raise StudyError(
                    f"{self.name}.{name}: expected words of a whole number of {bits}-bit elements "
                    f"and room for at least one, came {memory.bytes} bytes in words of "
                    f"{memory.word_bits} bits"
                )
        if self.timing not in ("datapath", self.timing_rule):
            raise StudyError(
                f"{self.name}.timing: the {self.datapath} datapath is timed by {self.timing_rule}, "
                f"came {self.timing}"
            )
        if self.datapath == "gemmini":
            self._check_mesh()

    @property
    def timing_rule(self) -> Literal["scale_sim", "gemmini"]:
        """Rule by which cycles are counted."""
        return "gemmini" if self.datapath == "gemmini" else "scale_sim"

    def build(self) -> AcceleratorGraph:
        """The chip as a graph of memories and the array."""
        return AcceleratorGraph(
            self.name,
            self,
            (
                _memory("dram", "dram", self.dram, "weight", "never"),
                _memory("weight_sram", "sram", self.weight_sram, "weight", "per_layer"),
                _memory("activation_sram", "sram", self.activation_sram, "activation", "per_layer"),
                _memory("psum_sram", "sram", self.psum_sram, "psum", "per_tile"),
                *(self._mesh() if self.datapath == "gemmini" else self._array_and_buses()),
            ),
            self._links(),
            self.clock,
            self.sources,
        )

    def map(self, network: NetworkGraph, placement: Placement) -> Mapping:
        """Place a network; see `accelerators.systolic.mapping.SystolicMapping`."""
        from accelerators.systolic.mapping import SystolicMapping

        return SystolicMapping(self, network, placement)

    def _check_mesh(self) -> None:
        fixed = {
            "dataflow": "weight_stationary",
            "cols": self.rows,
            "weight_bits": 8,
            "input_bits": 8,
            "psum_bits": 20,
            "psum_overflow": "wrap",
        }
        for name, value in fixed.items():
            came = getattr(self, name)
            if came != value:
                raise StudyError(
                    f"{self.name}.{name}: the gemmini datapath here has {value}, came {came}"
                )

    def _array_and_buses(self) -> tuple[Unit, ...]:
        return self._array(), *bus_units(self)

    def _array(self) -> Unit:
        held = {"weight_stationary": "weight", "input_stationary": "input"}.get(self.dataflow)
        rewritten: dict[str, Reload] = {held or "": "per_tile"}
        product_bits = self.weight_bits + self.input_bits
        components = (
            Component(
                "weight_register",
                self.weight_bits,
                "weight",
                reload=rewritten.get("weight", "per_cycle"),
            ),
            Component(
                "input_register",
                self.input_bits,
                "activation",
                reload=rewritten.get("input", "per_cycle"),
            ),
            Component("psum_register", self.psum_bits, "psum"),
            Component(
                "product", product_bits, "product", energy=_energy(op=self.multiply), net=True
            ),
            Component("mac_out", self.psum_bits, "psum", energy=_energy(op=self.add), net=True),
        )
        return Unit(
            "array",
            "pe_array",
            (self.rows, self.cols),
            components,
            self.static_power,
            self.element_area,
        )

    def _mesh(self) -> tuple[Unit, Unit]:
        """The mesh with this datasheet's numbers."""
        array, edge = mesh(self.rows)
        prices = {"product": _energy(op=self.multiply), "mac_out": _energy(op=self.add)}
        parts = tuple(replace(c, energy=prices.get(c.name, {})) for c in array.components)
        power, area = self.static_power, self.element_area
        return replace(array, components=parts, static_power_mw=power, area_um2=area), edge

    def _links(self) -> tuple[Link, ...]:
        weights, inputs, sums = self.weight_bits, self.input_bits, self.psum_bits * self.cols
        turned = self.dataflow == "input_stationary"
        weights *= self.rows if turned else self.cols
        inputs *= self.cols if turned else self.rows
        ways: tuple[tuple[str, str, str, int], ...]
        if self.datapath == "gemmini":
            ways = (
                ("weight_sram", "array", "weight", weights),
                ("activation_sram", "array", "activation", inputs),
                ("array", "edge", "psum", sums),
                ("edge", "psum_sram", "psum", sums),
            )
        else:
            ways = (
                ("weight_sram", "weight_bus", "weight", weights),
                ("weight_bus", "array", "weight", weights),
                ("activation_sram", "activation_bus", "activation", inputs),
                ("activation_bus", "array", "activation", inputs),
                ("array", "sum_bus", "psum", sums),
                ("sum_bus", "psum_sram", "psum", sums),
            )
        return (
            Link("dram", "weight_sram", "weight", self.dram.word_bits),
            *(Link(*way, 1.0) for way in ways),
            Link("psum_sram", "activation_sram", "activation", self.activation_sram.word_bits),
        )


def _memory(name: str, kind: str, memory: Memory, role: Role, reload: Reload) -> Unit:
    words = Component(
        "words",
        memory.word_bits,
        role,
        memory.words,
        reload,
        energy=_energy(read=memory.read, write=memory.write),
        area_um2=memory.area,
    )
    bits = max(1, (memory.words - 1).bit_length())
    address = Component("row_address", bits, "address", signed=False)
    return Unit(name, kind, (), (words, address), memory.static_power)


def _energy(**actions: Quantity | None) -> dict[str, Quantity]:
    return {name: energy for name, energy in actions.items() if energy is not None}
