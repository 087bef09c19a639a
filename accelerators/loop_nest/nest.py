"""LoopNest: one layer as nested loops over memories, and what moves between these.

A layer is a set of loops over dimensions (of a convolution: B, K, C, OY, OX, FY, FX) around one
multiply-accumulate. Some run one after another (*temporal*), some side by side (*spatial*, lanes of
an array). Every operand has a stack of memories, innermost first; each of its levels holds what a
run of the temporal loops needs, and feeds the instances that the spatial loops below it make::

    for …                         temporal loops of level 1: around everything below
        for … side by side        spatial loops below level 1: instances of the memory of level 0
            for …                 temporal loops of level 0
                for … side by side     spatial loops below level 0: multipliers it feeds
                    output += weight · input

Levels are cut for each operand apart, through one common order of loops. A loop is *irrelevant* to
an operand if its dimension is on none of its axes: the data stay the same while it runs. A level
must not begin (inside) with an irrelevant loop that the level below could have kept; `fill` in
`accelerators.loop_nest.fill` cuts an order of loops so.

What moves, and what it costs, is counted in `accelerators.loop_nest.moves`, cycles in
`accelerators.loop_nest.latency`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import gcd, prod
from typing import Literal, TypeAlias, get_args

from codesign.errors import MappingError, nearest

__all__ = [
    "MOVES",
    "Axis",
    "Level",
    "Loop",
    "LoopNest",
    "Move",
    "NestMemory",
    "Operand",
    "Port",
]

# Seen from a memory: to the level below, from it, from the level above, to it.
Move: TypeAlias = Literal["read_down", "write_up", "write_down", "read_up"]
MOVES: tuple[Move, ...] = get_args(Move)


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop over a part of a dimension.

    Attributes:
        dim: Dimension, for example ``OX``.
        size: Times it runs; of spatial loops the mean number of lanes at work, which need not be
            whole (27 columns on 16 lanes take two turns of 13.5).
    """

    dim: str
    size: float


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an operand: its index is a sum of strides times loop counters.

    Attributes:
        terms: One or two (dimension, stride).
        extent: Elements that there really are: what lies in the padding is not stored.
    """

    terms: tuple[tuple[str, int], ...]
    extent: int | None = None

    def __post_init__(self) -> None:
        if len(self.terms) not in (1, 2) or any(stride < 1 for _, stride in self.terms):
            raise MappingError(f"an axis has one or two dimensions, strides from 1: {self.terms}")

    def length(self, sizes: dict[str, float]) -> float:
        """Different elements that loops of these sizes touch.

        Two dimensions take whole lanes only: 13.5 are counted as 13, as ZigZag does.

        >>> Axis((("OX", 1), ("FX", 1))).length({"OX": 8, "FX": 3})
        10
        """
        if len(self.terms) == 1:
            return sizes.get(self.terms[0][0], 1)
        (a, a_stride), (b, b_stride) = ((int(sizes.get(dim, 1)), s) for dim, s in self.terms)
        common = gcd(a_stride, b_stride)
        twice = max(0, b - a_stride // common) * max(0, a - b_stride // common)
        found = a * b - twice
        return found if self.extent is None else min(found, self.extent)


@dataclass(frozen=True, slots=True)
class Level:
    """A memory as one operand sees it.

    Attributes:
        memory: Its name.
        temporal: Loops whose data it keeps beyond the level below, innermost first.
        below: Spatial loops between the level below (or the multipliers) and it.
    """

    memory: str
    temporal: tuple[Loop, ...] = ()
    below: tuple[Loop, ...] = ()


@dataclass(frozen=True, slots=True)
class Operand:
    """What the loops read or write.

    Attributes:
        name: For example ``W``.
        axes: What indexes it.
        bits: Width of an element; of an output, of an unfinished sum.
        levels: Innermost first.
        final_bits: Width of a finished output; None for what is only read.
    """

    name: str
    axes: tuple[Axis, ...]
    bits: int
    levels: tuple[Level, ...]
    final_bits: int | None = None

    @property
    def is_output(self) -> bool:
        """Whether the loops write it."""
        return self.final_bits is not None

    def indexes(self, dim: str) -> Literal["alone", "shared", "never"]:
        """Whether a dimension is on an axis: alone, with another one, or on none."""
        for axis in self.axes:
            if dim in (name for name, _ in axis.terms):
                return "alone" if len(axis.terms) == 1 else "shared"
        return "never"

    def elements(self, loops: Iterable[Loop]) -> float:
        """Different elements that loops touch."""
        sizes: dict[str, float] = {}
        for loop in loops:
            sizes[loop.dim] = sizes.get(loop.dim, 1) * loop.size
        return prod(axis.length(sizes) for axis in self.axes)

    def partial(self, level: int) -> bool:
        """Whether unfinished sums cross the lower side of a level; at its number of levels, none.

        They do if anything irrelevant to the output runs in it, beside it or further out.
        """
        outer = [loop for lv in self.levels[level:] for loop in lv.temporal]
        outer += [loop for lv in self.levels[level + 1 :] for loop in lv.below]
        return self.is_output and any(
            loop.size > 1 and self.indexes(loop.dim) == "never" for loop in outer
        )

    def bits_below(self, level: int) -> int:
        """Width of what crosses the lower side of a level."""
        unfinished = self.final_bits is None or self.partial(level)
        return self.bits if unfinished else int(self.final_bits or 0)


@dataclass(frozen=True, slots=True)
class Port:
    """A way into or out of a memory.

    Attributes:
        bits: Bits in a cycle: a word.
        granule_bits: The smallest part of a word that is paid for.
        serves: (operand, move) pairs that share it.
    """

    bits: int
    granule_bits: int
    serves: tuple[tuple[str, Move], ...]


@dataclass(frozen=True, slots=True)
class NestMemory:
    """A memory; the spatial loops of a nest say how many instances it has.

    Attributes:
        name: Of every instance.
        bits: Capacity of one instance.
        read_pj: Energy of reading a word.
        write_pj: Energy of writing a word.
        ports: Each instance has these.
    """

    name: str
    bits: int
    read_pj: float
    write_pj: float
    ports: tuple[Port, ...]


@dataclass(frozen=True)
class LoopNest:
    """One layer's loops on a hierarchy of memories.

    Attributes:
        operands: Inputs and one output.
        memories: By which their levels are named.
        mac_pj: Energy of one multiply-accumulate.
        drain_lanes: Lanes of each systolic direction of the array, which the last results cross one
            a cycle; () if they leave at once.
    """

    operands: tuple[Operand, ...]
    memories: tuple[NestMemory, ...]
    mac_pj: float
    drain_lanes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        known = [memory.name for memory in self.memories]
        if sum(operand.is_output for operand in self.operands) != 1:
            raise MappingError("a loop nest has exactly one output")
        seen = {}
        for operand in self.operands:
            for level in operand.levels:
                if level.memory not in known:
                    raise MappingError(
                        f"{operand.name}: no memory {level.memory!r}{nearest(level.memory, known)}"
                    )
            seen[operand.name] = (
                [loop for level in operand.levels for loop in level.temporal],
                Counter(loop for level in operand.levels for loop in level.below),
            )
        first = self.operands[0].name
        for name, loops in seen.items():
            for kind, mine, theirs in zip(("temporal", "spatial"), loops, seen[first], strict=True):
                if mine != theirs:
                    raise MappingError(
                        f"the {kind} loops of {name} and {first} differ: {mine}, {theirs}"
                    )

    def memory(self, name: str) -> NestMemory:
        """A memory by name."""
        return next(memory for memory in self.memories if memory.name == name)

    def port(self, memory: str, operand: str, move: Move) -> Port:
        """The port that serves a move.

        Raises:
            MappingError: The memory has none for it.
        """
        for port in self.memory(memory).ports:
            if (operand, move) in port.serves:
                return port
        raise MappingError(f"{memory}: no port serves {move} of {operand}; name it in its serves")

    @cached_property
    def cycles(self) -> int:
        """Turns of all temporal loops: cycles without a stall."""
        levels = self.operands[0].levels
        return round(prod(loop.size for level in levels for loop in level.temporal))

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates."""
        levels = self.operands[0].levels
        return round(self.cycles * prod(loop.size for level in levels for loop in level.below))
