"""How many outputs one broken instance, or word, of a chip touches: asked of the footprint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.accelerator import Component, Unit
from codesign.design import Design
from codesign.effects import box
from codesign.errors import FaultError, UnsupportedError
from codesign.events import EventProgram
from codesign.faults import FAULT, FaultModel, Faults
from codesign.network import Concat, Flatten, Pad, Slice

__all__ = ["MOST_BITS", "Reach", "reach_of"]

MOST_BITS = 16_384  # stuck bits of one component that are asked for
STRIDE = 4  # bits of a memory's word: no element is narrower where several share a word
MOVERS = (Concat, Flatten, Pad, Slice)  # their outputs are other layers' outputs

Grids = dict[int, tuple[int, int]]  # (positions, channels) by layer index


@dataclass(frozen=True)
class Reach:
    """Share of the network's values that are wrong at first hand when something is broken for good.

    Values are the outputs of all layers that compute or bring in something, once for all steps; of
    a chip that works event by event, its neurons. What wrong values do to later layers is no part
    of it.

    Attributes:
        component: The one that touches most.
        largest: Share touched by one instance of the component, or one word of a memory.
        mean: Of all that were looked at.
        looked_at: How many these are.
        places: How many there are; those looked at are spread evenly.
    """

    component: str
    largest: float
    mean: float
    looked_at: int
    places: int


def reach_of(design: Design, unit: Unit) -> Reach | None:
    """The component of a unit that touches most; None if no fault there is modelled.

    Args:
        design: Its footprint is asked.
        unit: Of its chip.
    """
    grids = _grids(design)
    found = []
    for part in unit.components:
        try:
            shares, places = _shares(design, unit, part, grids)
        except (FaultError, UnsupportedError):
            continue  # a kind of fault that this family does not claim
        largest, mean = float(shares.max()), float(shares.mean())
        found.append(Reach(part.name, largest, mean, len(shares), places))
    return max(found, key=lambda one: (one.largest, one.mean), default=None)


def _grids(design: Design) -> Grids:
    program = design.program
    if isinstance(program, EventProgram):
        return {0: (1, program.scan)}
    network = design.network
    return {
        i: network.grid(layer.name)
        for i, layer in enumerate(network.layers)
        if not isinstance(layer, MOVERS)
    }


def _shares(
    design: Design, unit: Unit, part: Component, grids: Grids
) -> tuple[NDArray[np.float64], int]:
    """``[places looked at]`` share of the values that each touches, and how many places exist."""
    bits = np.arange(0, part.bits, STRIDE) if part.words > 1 else np.zeros(1, dtype=np.int64)
    places = unit.instances * part.words
    count = min(places, max(1, MOST_BITS // len(bits)))
    picked = np.arange(count) * places // count
    faults = _faults(design, unit, part, np.repeat(picked, len(bits)), np.tile(bits, count))
    trial = np.repeat(np.arange(count), len(bits))
    faults["trial"] = trial
    effects = design.mapping.footprint(Faults(faults, count), 1).effects
    total = sum(m * n for m, n in grids.values())
    shares = np.zeros(count)
    starts = np.searchsorted(effects.table["trial"], np.arange(count + 1))
    for i in range(count):
        shares[i] = _touched(effects.table[starts[i] : starts[i + 1]], grids) / total
    return shares, places


def _faults(
    design: Design,
    unit: Unit,
    part: Component,
    place: NDArray[np.int64],
    bit: NDArray[np.int64],
) -> NDArray[np.void]:
    """Bits stuck for good, or operations skipped, in places ``instance · words + word``."""
    pairs = design.accelerator.components()
    index = next(i for i, (u, c) in enumerate(pairs) if u.name == unit.name and c is part)
    faults = np.zeros(len(place), dtype=FAULT)
    faults["part"], faults["bit"], faults["last"] = index, bit, -1
    faults["event"] = np.arange(len(place))
    faults["instance"], faults["word"] = np.divmod(place, part.words)
    operation = part.role == "operation"
    faults["model"] = FaultModel.skip if operation else FaultModel.stuck1
    faults["execution"] = -1
    return faults


def _touched(rows: NDArray[np.void], grids: Grids) -> int:
    """Values that some effects name, each once."""
    count = 0
    for index in np.unique(rows["layer"]):
        if int(index) not in grids:
            continue
        positions, channels = grids[int(index)]
        mine = rows[rows["layer"] == index]
        boxes = {(tuple(row["m"].tolist()), tuple(row["n"].tolist())) for row in mine}
        if len(boxes) == 1:
            ((m, n),) = boxes
            count += len(box(m, positions)) * len(box(n, channels))
            continue
        seen = np.zeros((positions, channels), dtype=bool)
        for m, n in boxes:
            over, across = box(m, positions), box(n, channels)
            seen[over.start : over.stop : over.step, across.start : across.stop : across.step] = 1
        count += int(seen.sum())
    return count
