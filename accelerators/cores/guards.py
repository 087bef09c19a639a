"""What guards add to cores, in gate equivalents (`accelerators.gates`).

A column reads one weight a cycle, so one guard on weights stands under each column of a crossbar;
a guard on membranes or a silencer stands in each neuron unit; one on stored activations at each
axon register. Guards of one kind at one place share their hardware, whatever the layers; bounds are
kept in registers, one set a core. Counters and check bits of memories are memory cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from accelerators.gates import AND, FLIP_FLOP, FULL_ADDER, MUX, check_bits, comparator, decoder
from codesign.guards import Clamp, Correct, Guard, Recompute, Replace, Silence
from codesign.mapping import CostRow

if TYPE_CHECKING:
    from accelerators.cores.family import Cores

__all__ = ["MEMORY_BIT", "bound_ge", "guard_area_ge", "guard_missing", "guard_rows", "silence_ge"]

MEMORY_BIT = 1.5  # six transistors of a memory cell against four of a NAND2; no periphery

# Components whose words carry check bits of a guard, by place.
_CODED = {
    "weight": ("weights", "weight_register"),
    "membrane": ("membrane",),
    "activation": ("axon_register",),
}
_UNITS = {"weight": "crossbar", "membrane": "neuron", "activation": "axon_in"}


def bound_ge(bits: int) -> float:
    """Two comparators against bounds and two multiplexers.

    >>> bound_ge(8)  # 2 · 8 full adders, 2 · 8 multiplexer bits
    136.0
    """
    return 2 * comparator(bits) + 2 * bits * MUX


def silence_ge(after: int, words: int) -> float:
    """A counter word for each neuron of a column, its increment and comparison, and the gate.

    >>> silence_ge(after=2, words=1)  # 2 bits: 3.0 stored, 12.0 added up, 12.0 compared, 1.5
    28.5
    """
    bits = after.bit_length()
    return words * bits * MEMORY_BIT + bits * FULL_ADDER + comparator(bits) + AND


def guard_area_ge(sheet: Cores, guards: tuple[Guard, ...]) -> dict[str, float]:
    """Gate equivalents that guards add, by unit."""
    found: dict[str, float] = {}
    for guard in {_hardware(g): g for g in guards if not isinstance(g, Recompute)}.values():
        for unit, area in _areas(sheet, guard):
            found[unit] = found.get(unit, 0.0) + area
    silences = [g.after for g in guards if isinstance(g, Silence)]
    if silences:
        more = sheet.cores * sheet.columns * silence_ge(max(silences), sheet.neuron_words)
        found["neuron"] = found.get("neuron", 0.0) + more
    return found


def guard_rows(
    rows: tuple[CostRow, ...], guards: tuple[Guard, ...], feeds: dict[str, str]
) -> Iterator[CostRow]:
    """Accesses to check bits, as their share of the words that hold them.

    Args:
        rows: Accesses without guards.
        guards: Of the design.
        feeds: By layer whose weights, membranes or outputs are guarded, the layer that is charged.
    """
    for guard in guards:
        if isinstance(guard, Correct):
            for row in rows:
                mine = row.layer in (guard.layer, feeds.get(guard.layer))
                if mine and row.component in _CODED[guard.place]:
                    checks = check_bits(row.bits, guard.bits)
                    energy = None if row.energy_pj is None else row.energy_pj * checks / row.bits
                    name = f"{row.component}.check_bits"
                    yield replace(row, component=name, bits=checks, energy_pj=energy)


def guard_missing(guards: tuple[Guard, ...]) -> tuple[str, ...]:
    """Numbers that would be needed to price guards fully."""
    kinds = {type(guard).__name__ for guard in guards if not isinstance(guard, Recompute)}
    return tuple(f"guard.{kind}.energy" for kind in sorted(kinds))


def _hardware(guard: Guard) -> tuple[str, str, int]:
    """Guards with equal (kind, place, corrected bits) are one piece of hardware."""
    if isinstance(guard, Correct):
        return "Correct", guard.place, guard.bits
    if isinstance(guard, Clamp | Replace):
        return type(guard).__name__, guard.place, 0
    return type(guard).__name__, "", 0


def _areas(sheet: Cores, guard: Guard) -> Iterator[tuple[str, float]]:
    """What one piece of guard hardware adds to units."""
    if not isinstance(guard, Clamp | Replace | Correct):
        return
    lanes = sheet.cores * (sheet.axons if guard.place == "activation" else sheet.columns)
    forms = {"weight": sheet.weight, "membrane": sheet.membrane, "activation": sheet.axon}
    bits = forms[guard.place].bits
    unit = _UNITS[guard.place]
    if not isinstance(guard, Correct):
        yield unit, lanes * bound_ge(bits) + sheet.cores * 3 * bits * FLIP_FLOP
        return
    checks = check_bits(bits, guard.bits)
    yield unit, lanes * decoder(bits, guard.bits)
    if guard.place == "weight":
        crosspoints = sheet.cores * sheet.axons * sheet.columns
        yield unit, crosspoints * checks * (FLIP_FLOP + AND)
        yield "weight_memory", sheet.cores * sheet.weight_words * checks * MEMORY_BIT
    elif guard.place == "membrane":
        yield unit, lanes * sheet.neuron_words * checks * MEMORY_BIT
    else:
        yield unit, lanes * checks * FLIP_FLOP
