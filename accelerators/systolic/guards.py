"""What guards add to a systolic array.

A guard on weights sees a weight as it is read for a term, so it stands in every processing element,
and check bits travel with the weight from dram on. A guard on stored activations stands where the
array reads them, once for each line that is fed. Guards of one kind at one place share their
hardware, whatever the layers; bounds are kept in registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from accelerators.gates import FLIP_FLOP, MUX, check_bits, comparator, decoder
from codesign.guards import Clamp, Correct, Guard, Replace
from codesign.mapping import CostRow

if TYPE_CHECKING:
    from accelerators.systolic.family import Systolic

__all__ = ["guard_area_ge", "guard_missing", "guard_rows"]


def guard_area_ge(sheet: Systolic, guards: tuple[Guard, ...]) -> dict[str, float]:
    """Gate equivalents that guards add, by unit; memory cells of check bits are not counted."""
    found: dict[str, float] = {}
    for kind, place, corrected in sorted({_hardware(g) for g in guards} - {("", "", 0)}):
        weights = place == "weight"
        bits = sheet.weight_bits if weights else sheet.input_bits
        lanes = sheet.rows * sheet.cols if weights else _fed_lines(sheet)
        if kind == "Correct":
            area = lanes * decoder(bits, corrected)
            if weights:
                area += lanes * check_bits(bits, corrected) * FLIP_FLOP
        else:
            area = lanes * (2 * comparator(bits) + 2 * bits * MUX) + 3 * bits * FLIP_FLOP
        unit = "array" if weights else "activation_sram"
        found[unit] = found.get(unit, 0.0) + area
    return found


def guard_rows(
    sheet: Systolic, rows: tuple[CostRow, ...], guards: tuple[Guard, ...]
) -> Iterator[CostRow]:
    """Accesses to check bits, as their share of the words that hold them."""
    for guard in guards:
        if not isinstance(guard, Correct):
            continue
        units = ("dram", "weight_sram") if guard.place == "weight" else ("activation_sram",)
        bits = sheet.weight_bits if guard.place == "weight" else sheet.input_bits
        checks = check_bits(bits, guard.bits)
        for row in rows:
            if row.unit in units and row.layer == guard.layer and row.component == "words":
                energy = None if row.energy_pj is None else row.energy_pj * checks / bits
                yield replace(row, component="check_bits", bits=checks, energy_pj=energy)


def guard_missing(guards: tuple[Guard, ...]) -> tuple[str, ...]:
    """Numbers that would be needed to price guards fully."""
    kinds = sorted({kind for kind, _, _ in map(_hardware, guards) if kind})
    return tuple(f"guard.{kind}.energy" for kind in kinds)


def _hardware(guard: Guard) -> tuple[str, str, int]:
    """(kind, place, corrected bits) of what must be built; empty if nothing in the array."""
    if isinstance(guard, Correct):
        return "Correct", guard.place, guard.bits
    if isinstance(guard, Clamp | Replace):
        return type(guard).__name__, guard.place, 0
    return "", "", 0


def _fed_lines(sheet: Systolic) -> int:
    """Activations that the array reads at once."""
    return sheet.cols if sheet.dataflow == "input_stationary" else sheet.rows
