"""What moves in a loop nest and what it costs, counted as ZigZag 3.9 counts.

A level reads for the one below, and is written from above, each time that the loops it feeds have
run; sums that are not finished go down as well as up; the outermost level moves nothing further
out. A transfer takes whole granules of a word, and pays for the part of a word that it takes.
(L. Mei et al., ZigZag, IEEE Trans. Computers 70(8), 2021; equal to its version 3.9.1 in the tests.)

This is one rule of counting, called ``zigzag``. `accelerators.systolic.cost` counts by another,
``scale_sim``, in which fills, loads and drains are something else: do not compare their figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from accelerators.loop_nest.nest import Loop, LoopNest, Move, Operand, Port

__all__ = ["RULE", "Access", "Transfer", "Way", "accesses", "energy_pj", "transfers"]

RULE = "zigzag"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one level of one operand moves in one direction.

    Attributes:
        operand: Its name.
        level: Of the operand, 0 innermost.
        memory: Its name.
        move: Direction, seen from the memory.
        elements: Moved by one instance in a period.
        bits: Width of an element.
        period: Cycles from one time to the next.
        periods: Times in the whole layer.
        instances: Of the memory.
    """

    operand: str
    level: int
    memory: str
    move: Move
    elements: int
    bits: int
    period: int
    periods: int
    instances: int

    def words(self, port: Port) -> int:
        """Words through a port in the whole layer; a started granule counts as one."""
        granules = -(-self.elements * self.bits // port.granule_bits)
        return granules * port.granule_bits * self.periods * self.instances // port.bits


@dataclass(frozen=True, slots=True)
class Access:
    """Words that one level of one operand moves in one direction.

    Attributes:
        operand: Its name.
        level: Of the operand, 0 innermost.
        memory: Its name.
        move: Direction, seen from the memory.
        words: In the whole layer, all instances together.
        energy_pj: Of all of them.
    """

    operand: str
    level: int
    memory: str
    move: Move
    words: int
    energy_pj: float


def accesses(nest: LoopNest) -> tuple[Access, ...]:
    """Words moved, and their energy.

    Raises:
        MappingError: A memory has no port for what it must move.
    """
    found = []
    for t in transfers(nest):
        memory = nest.memory(t.memory)
        price = memory.read_pj if t.move.startswith("read") else memory.write_pj
        words = t.words(nest.port(t.memory, t.operand, t.move))
        found.append(Access(t.operand, t.level, t.memory, t.move, words, words * price))
    return tuple(found)


def energy_pj(nest: LoopNest) -> float:
    """Of all words and all multiply-accumulates."""
    return sum(access.energy_pj for access in accesses(nest)) + nest.mac_pj * nest.macs


def transfers(nest: LoopNest, whole_lanes: bool = False) -> tuple[Transfer, ...]:
    """Everything that moves.

    Args:
        nest: The loops and memories.
        whole_lanes: Cut lanes at work down to whole ones, as ZigZag does to count cycles (but not
            for words and energy).
    """
    return tuple(t for operand in nest.operands for t in _of(nest, operand, whole_lanes))


def _of(nest: LoopNest, operand: Operand, whole: bool) -> Iterator[Transfer]:
    way = Way(operand, whole)
    for at, level in enumerate(operand.levels):
        inward: tuple[Move, ...] = ("read_down",)
        outward: tuple[Move, ...] = ("write_down",)
        if operand.is_output:
            inward = ("write_up", "read_down") if operand.partial(at) else ("write_up",)
            outward = ("read_up", "write_down") if operand.partial(at + 1) else ("read_up",)
        sides = [(inward, at, way.fan(at))]
        if at + 1 < len(operand.levels):
            sides.append((outward, at + 1, 1))
        for moves, side, fan in sides:
            period = way.period(side)
            for move in moves:
                yield Transfer(
                    *(operand.name, at, level.memory, move),
                    *(way.held(side) * fan, operand.bits_below(side)),
                    *(period, nest.cycles // period, way.instances(at)),
                )


@dataclass(frozen=True)
class Way:
    """One operand's way through its levels; side a is the lower side of level a.

    Attributes:
        operand: Whose.
        whole: Whether lanes at work are cut down to whole ones.
    """

    operand: Operand
    whole: bool = False

    def below(self, level: int) -> tuple[Loop, ...]:
        """Spatial loops below a level."""
        loops = self.operand.levels[level].below
        return tuple(Loop(x.dim, int(x.size)) for x in loops) if self.whole else loops

    def held(self, side: int) -> int:
        """Elements that cross a side in a period, for one instance of what lies below it."""
        levels = range(side)
        loops = [loop for a in levels for loop in self.operand.levels[a].temporal]
        return round(self.operand.elements([*loops, *(x for a in levels for x in self.below(a))]))

    def fan(self, level: int) -> int:
        """Different elements that a level gives to the instances below it, for each of theirs."""
        inner = [loop for a in range(level) for loop in self.below(a)]
        mine = self.operand.elements([*inner, *self.below(level)])
        return round(mine / self.operand.elements(inner))

    def instances(self, level: int) -> int:
        """Instances of the memory of a level."""
        outer = range(level + 1, len(self.operand.levels))
        return round(prod(loop.size for a in outer for loop in self.below(a)))

    def period(self, side: int) -> int:
        """Cycles for which the data that cross a side last.

        An element of an input stays at a multiplier while loops irrelevant to it run.
        """
        levels = self.operand.levels
        if side:
            return round(prod(x.size for level in levels[:side] for x in level.temporal))
        stay = 1.0
        for loop in () if self.operand.is_output else levels[0].temporal:
            if self.operand.indexes(loop.dim) != "never":
                break
            stay *= loop.size
        return round(stay)

    def top(self, level: int, kind: Literal["alone", "never"]) -> int:
        """Turns of the outermost loops of a level that are all relevant, or all irrelevant."""
        turns = 1.0
        for loop in reversed(self.operand.levels[level].temporal):
            if self.operand.indexes(loop.dim) != kind:
                break
            turns *= loop.size
        return round(turns)
