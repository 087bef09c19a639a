"""Cutting an order of loops into the levels of each operand, as far as memories hold the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelerators.loop_nest.nest import Axis, Level, Loop, NestMemory, Operand
from codesign.errors import CapacityError

__all__ = ["Stored", "fill"]


@dataclass(frozen=True)
class Stored:
    """An operand and where it may be kept.

    Attributes:
        name, axes, bits, final_bits: As of `accelerators.loop_nest.nest.Operand`.
        memories: Innermost first.
        below: For each of them, the spatial loops below it.
    """

    name: str
    axes: tuple[Axis, ...]
    bits: int
    memories: tuple[NestMemory, ...]
    below: tuple[tuple[Loop, ...], ...]
    final_bits: int | None = None


def fill(stored: Stored, order: Sequence[Loop]) -> Operand:
    """Keep as many loops as fit in each memory, innermost first; the outermost takes the rest.

    Each operand is given its memories' whole capacity: a memory that several share must be the
    outermost, or larger than all together. A loop that adds no data stays where the data are, so
    no level begins with a loop that is irrelevant to the operand.

    Args:
        stored: The operand.
        order: Temporal loops, innermost first.

    Raises:
        CapacityError: A memory does not even hold what the loops inside it need.
    """
    empty = tuple(Level(m.name, (), b) for m, b in zip(stored.memories, stored.below, strict=True))
    operand = Operand(stored.name, stored.axes, stored.bits, empty, stored.final_bits)
    rest = list(order)
    for at, memory in enumerate(stored.memories):
        last = at + 1 == len(stored.memories)
        kept = len(rest) if last else _loops_that_fit(operand, at, memory, rest)
        operand = _with(operand, at, tuple(rest[:kept]))
        rest = rest[kept:]
        needed = _bits(operand, at, rest)
        if needed > memory.bits:
            raise CapacityError(
                f"{memory.name}: {stored.name} needs {needed} bits there, it has {memory.bits}; "
                "a larger memory or fewer loops inside it help"
            )
    return operand


def _loops_that_fit(operand: Operand, at: int, memory: NestMemory, rest: list[Loop]) -> int:
    kept = 0
    # An unfinished sum stays wide while any irrelevant loop is left, whatever is taken in.
    wide = _wide(operand, at, rest)
    while kept < len(rest):
        elements = _elements(operand, at, rest[: kept + 1])
        if elements * wide > memory.bits:
            break
        kept += 1
    return kept


def _bits(operand: Operand, at: int, rest: list[Loop]) -> int:
    return round(_elements(operand, at, []) * _wide(operand, at, rest))


def _elements(operand: Operand, at: int, more: Sequence[Loop]) -> float:
    levels = operand.levels[: at + 1]
    loops = [loop for level in levels for loop in (*level.temporal, *level.below)]
    return operand.elements([*loops, *more])


def _wide(operand: Operand, at: int, rest: Sequence[Loop]) -> int:
    """Bits of an element in a memory, with these loops around what it has already."""
    outer = [*rest, *(loop for level in operand.levels[at + 1 :] for loop in level.below)]
    unfinished = any(loop.size > 1 and operand.indexes(loop.dim) == "never" for loop in outer)
    final = operand.final_bits
    return operand.bits if unfinished or final is None else final


def _with(operand: Operand, at: int, temporal: tuple[Loop, ...]) -> Operand:
    levels = list(operand.levels)
    levels[at] = replace(levels[at], temporal=temporal)
    return replace(operand, levels=tuple(levels))
