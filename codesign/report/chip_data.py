"""What the page's script must know of a chip: units, layers, and every assignment, packed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import DataError, nearest
from codesign.mapping import Assignment, Holding
from codesign.report.chip import ChipLink
from codesign.report.hurts import instance_losses
from codesign.study.findings import UnitPicture, Vulnerability

__all__ = ["MOST_SEGMENTS", "busy_shares", "chip_data", "merged", "packed", "words_of"]

MOST_SEGMENTS = 100_000  # of a chip; beyond, neighbours in time of one layer are joined
STORED = ("weight", "activation", "psum", "bias", "membrane", "threshold", "spike")
TENSORS = ("weight", "activation", "sum", "neuron")
ORDERS = ("", "n", *("".join(order) for order in permutations("mkn", 2)))
HELD = 18  # unit, layer, two cycles; tensor, order, per word, offset; instances, words, m, k, n
COLUMNS = 6  # unit, layer, first and last cycle, number, step; then ranges, then m, k, n


def chip_data(
    name: str,
    units: Sequence[UnitPicture],
    links: Sequence[ChipLink],
    assignments: Sequence[Assignment],
    cycles: int,
    steps: int,
    vulnerabilities: Sequence[Vulnerability] = (),
    holdings: Sequence[Holding] = (),
) -> dict[str, Any]:
    """One chip as JSON.

    Args:
        name: Of the design.
        units: Of the chip.
        links: Of the chip.
        assignments: Who is where, when.
        cycles: Of one inference.
        steps: Time steps: an assignment of step −1 happens in each.
        vulnerabilities: By instance, of this design.
        holdings: What stands in the words of memories.

    Raises:
        DataError: Something is assigned to a unit that is not among them.
    """
    layers = _layers(assignments, holdings)
    shown = merged(assignments)
    axes = max((len(unit.shape) for unit in units), default=0)
    ends = [a.last_cycle for a in assignments] + [h.last_cycle for h in holdings]
    last = max(ends, default=0)
    words = words_of(units, holdings)
    return {
        "name": name,
        "units": [_unit(unit, vulnerabilities, words) for unit in units],
        "links": [[link.source, link.target, link.told()] for link in links],
        "layers": layers,
        "cycles": max(cycles, last),
        "steps": steps,
        "axes": axes,
        "merged": len(shown) < len(assignments),
        "segments": packed(_records(shown, units, layers, axes)),
        "holdings": packed(_held(holdings, units, layers)),
    }


def words_of(units: Sequence[UnitPicture], holdings: Sequence[Holding]) -> dict[str, int]:
    """By unit, words of an instance of the memory whose words are told."""
    parts = {h.unit: h.component for h in holdings}
    return {
        unit.name: words
        for unit in units
        for name, _, words, _ in unit.components
        if parts.get(unit.name) == name
    }


def _layers(assignments: Sequence[Assignment], holdings: Sequence[Holding]) -> list[str]:
    """In the order in which they first work, or, if nobody works on them, are stored."""
    first: dict[str, int] = {}
    for a in assignments:
        first[a.layer] = min(a.first_cycle, first.get(a.layer, a.first_cycle))
    for h in holdings:
        first.setdefault(h.layer, h.first_cycle)
    return sorted(first, key=lambda name: first[name])


def packed(numbers: NDArray[np.int64]) -> dict[str, str]:
    """Whole numbers as base64, in as few bytes each as they need: type u1, i4 or f8."""
    low, high = (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)
    form = "u1" if low >= 0 and high < 2**8 else "i4" if max(-low, high) < 2**31 else "f8"
    raw = np.ascontiguousarray(numbers, dtype=np.dtype(form).newbyteorder("<")).tobytes()
    return {"type": form, "data": base64.b64encode(raw).decode()}


def merged(assignments: Sequence[Assignment], most: int = MOST_SEGMENTS) -> list[Assignment]:
    """At most so many assignments if joining helps: runs of a layer on the same instances.

    Two are joined where one ends when the other begins; the pass number is the first's, ranges of
    the tensors become those of the first.
    """
    if len(assignments) <= most:
        return list(assignments)
    found: list[Assignment] = []
    for one in sorted(assignments, key=lambda a: (_where(a), a.first_cycle)):
        last = found[-1] if found else one
        if found and _where(last) == _where(one) and last.last_cycle >= one.first_cycle:
            found[-1] = replace(last, last_cycle=max(last.last_cycle, one.last_cycle))
        else:
            found.append(one)
    return found


def busy_shares(
    unit: UnitPicture,
    ranges: Sequence[tuple[tuple[int, int], ...]],
    assignments: Sequence[Assignment],
    cycles: int,
    steps: int,
    holdings: Sequence[Holding] = (),
) -> list[float]:
    """Share of an inference in which the instances of each cell are in use.

    What overlaps in time on the same instances counts twice.

    Args:
        unit: Of the chip.
        ranges: Instances of each cell.
        assignments: All of the chip.
        cycles: Of one inference.
        steps: How often an assignment of step −1 happens.
        holdings: All of the chip; a memory's cells are then told by them.
    """
    held = [h for h in holdings if h.unit == unit.name]
    if held:
        whole = ((0, words_of([unit], held)[unit.name]),)
        cells = [cell if len(cell) > len(unit.shape) else (*cell, *whole) for cell in ranges]
        return [_held_share(held, cell, cycles) for cell in cells]
    mine = [a for a in assignments if a.unit == unit.name]
    if not mine:
        return [0.0] * len(ranges)
    time = np.array([a.last_cycle - a.first_cycle for a in mine], dtype=np.float64)
    time *= np.array([steps if a.step < 0 else 1 for a in mine], dtype=np.float64)
    boxes = np.array([_ranges(a, unit) for a in mine], dtype=np.int64)
    shares = []
    for cell in ranges:
        inside = np.ones(len(mine))
        for axis, (first, stop) in enumerate(cell):
            common = np.minimum(stop, boxes[:, axis, 1]) - np.maximum(first, boxes[:, axis, 0])
            inside *= np.clip(common, 0, None) / (stop - first)
        shares.append(float((inside * time).sum() / cycles))
    return shares


def _held_share(held: Sequence[Holding], cell: tuple[tuple[int, int], ...], cycles: int) -> float:
    """Share of the words and cycles of a bank, or of a core, in which something stands there."""
    total = 0.0
    for h in held:
        share = 1.0
        for (first, stop), (start, end) in zip(cell, (*h.instances, h.words), strict=True):
            share *= max(0, min(stop, end) - max(first, start)) / (stop - first)
        total += share * (h.last_cycle - h.first_cycle) / cycles
    return min(1.0, total)


def _where(one: Assignment) -> tuple[str, tuple[tuple[int, int], ...], str]:
    return one.unit, one.instances, one.layer


def _unit(
    unit: UnitPicture, vulnerabilities: Sequence[Vulnerability], counts: Mapping[str, int]
) -> dict[str, Any]:
    losses = [
        [*instance, one.loss.value, one.trials]
        for part, by_instance in instance_losses(vulnerabilities).items()
        if part.split(".")[0] == unit.name
        for instance, one in by_instance.items()
        if len(instance) == len(unit.shape)
    ]
    seen = unit.vulnerability
    count = counts.get(unit.name, 0)
    stored = [(bits, words) for _, bits, words, role in unit.components if role in STORED]
    return {
        "name": unit.name,
        "kind": unit.kind,
        "shape": list(unit.shape),
        "components": [list(part) for part in unit.components],
        "layers": list(unit.layers),
        "bits": sum(bits * (words if not count else words == count) for bits, words in stored),
        "words": count,
        "occupancy": unit.occupancy,
        "vulnerability": None if seen is None else [seen.value, seen.low, seen.high, seen.n],
        "losses": losses,
    }


def _records(
    assignments: Sequence[Assignment],
    units: Sequence[UnitPicture],
    layers: Sequence[str],
    axes: int,
) -> NDArray[np.int64]:
    """``[segments, 6 + 2 · axes + 9]``, by unit and time."""
    at = {unit.name: u for u, unit in enumerate(units)}
    names = {layer: i for i, layer in enumerate(layers)}
    rows = []
    for a in assignments:
        if a.unit not in at:
            raise DataError(f"{a.layer} is assigned to a unit {a.unit!r}{nearest(a.unit, at)}")
        unit = units[at[a.unit]]
        box = [end for pair in _ranges(a, unit) for end in pair]
        box += [0, 1] * (axes - len(unit.shape))
        head = [at[a.unit], names[a.layer], a.first_cycle, a.last_cycle, a.number, a.step]
        rows.append([*head, *box, *a.m, *a.k, *a.n])
    if not rows:
        return np.zeros((0, COLUMNS + 2 * axes + 9), dtype=np.int64)
    rows.sort(key=lambda row: (row[0], row[2], row[3]))
    return np.array(rows, dtype=np.int64)


def _held(
    holdings: Sequence[Holding], units: Sequence[UnitPicture], layers: Sequence[str]
) -> NDArray[np.int64]:
    """``[holdings, HELD]``; only units with at most one axis of instances have any."""
    at = {unit.name: u for u, unit in enumerate(units)}
    names = {layer: i for i, layer in enumerate(layers)}
    rows = []
    for h in holdings:
        if h.unit not in at:
            raise DataError(f"{h.layer} is held in a unit {h.unit!r}{nearest(h.unit, at)}")
        place = [end for pair in (*h.instances, (0, 1))[:1] for end in pair]
        how = [TENSORS.index(h.tensor), ORDERS.index(h.order), h.per_word, h.offset]
        box = [*h.m, *h.k, *h.n]
        head = [at[h.unit], names[h.layer], h.first_cycle, h.last_cycle]
        rows.append([*head, *how, *place, *h.words, *box])
    return np.array(rows, dtype=np.int64).reshape(-1, HELD)


def _ranges(assignment: Assignment, unit: UnitPicture) -> list[tuple[int, int]]:
    """Instances used, an axis a range; an axis that is not told is used whole."""
    told = list(assignment.instances)
    return told + [(0, size) for size in unit.shape[len(told) :]]
