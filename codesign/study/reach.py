"""How many outputs one broken instance, or word, of a chip touches: asked of the footprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from codesign.accelerator import Component, Unit
from codesign.design import Design
from codesign.effects import box
from codesign.errors import FaultError, UnsupportedError
from codesign.events import EventProgram
from codesign.faults import FAULT, FaultModel, Faults
from codesign.mapping import Holds
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
        component: The one that touches most; ``*`` is a dead instance, where the family claims
            nothing of its components.
        largest: Share touched by one instance of the component, or one word of a memory.
        mean: Of all, as far as they were looked at.
        looked_at: How many these are; words that hold nothing touch nothing, and need no look.
        places: How many there are; those looked at are spread evenly over those in use.
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
    found = [one for part in unit.components if (one := _of_part(design, unit, part, grids))]
    if not found:
        return _of_part(design, unit, None, grids)
    return max(found, key=lambda one: (one.largest, one.mean))


def _of_part(design: Design, unit: Unit, part: Component | None, grids: Grids) -> Reach | None:
    """Of a component stuck at 1, or at 0 where that is refused or touches nothing; or all of it."""
    found = None
    for model in _lasting(part):
        if found and found.largest:
            break
        try:
            shares, used, places = _shares(design, unit, part, model, grids)
        except (FaultError, UnsupportedError):
            continue  # a kind of fault that this family does not claim
        name, looked = "*" if part is None else part.name, len(shares)
        mean = float(shares.mean()) * used / places
        found = Reach(name, float(shares.max()), mean, places if looked == used else looked, places)
    return found


def _lasting(part: Component | None) -> tuple[FaultModel, ...]:
    if part is None:
        return (FaultModel.dead,)
    if part.role == "operation":
        return (FaultModel.skip,)
    return FaultModel.stuck1, FaultModel.stuck0


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
    design: Design, unit: Unit, part: Component | None, model: FaultModel, grids: Grids
) -> tuple[NDArray[np.float64], int, int]:
    """``[places looked at]`` share of values that each touches; places in use, and all places."""
    words = 1 if part is None else part.words
    bits = np.arange(0, part.bits if part else 1, STRIDE) if words > 1 else np.zeros(1, np.int64)
    places = unit.instances * words
    used = _used(design, unit, part)
    count = min(len(used), max(1, MOST_BITS // len(bits)))
    picked = used[np.arange(count) * len(used) // count]
    faults = np.zeros(count * len(bits), dtype=FAULT)
    faults["part"], faults["model"] = _index(design, unit, part), model
    faults["bit"], faults["last"], faults["execution"] = np.tile(bits, count), -1, -1
    faults["event"] = np.arange(len(faults))
    faults["instance"], faults["word"] = np.divmod(np.repeat(picked, len(bits)), words)
    trial = np.repeat(np.arange(count), len(bits))
    faults["trial"] = trial
    effects = design.mapping.footprint(Faults(faults, count), 1).effects
    total = sum(m * n for m, n in grids.values())
    shares = np.zeros(count)
    starts = np.searchsorted(effects.table["trial"], np.arange(count + 1))
    for i in range(count):
        shares[i] = _touched(effects.table[starts[i] : starts[i + 1]], grids) / total
    return shares, len(used), places


def _used(design: Design, unit: Unit, part: Component | None) -> NDArray[np.int64]:
    """Places ``instance · words + word`` that may touch something: all, or words that are held."""
    words, mapping = 1 if part is None else part.words, cast(object, design.mapping)
    places = np.arange(unit.instances * words)
    if part is None or not isinstance(mapping, Holds):
        return places
    held = [h for h in mapping.holdings() if (h.unit, h.component) == (unit.name, part.name)]
    used = np.zeros((*unit.shape, words), dtype=bool)
    for h in held:
        used[(*(slice(*part) for part in h.instances), slice(*h.words))] = True
    return places[used.ravel()] if held else places


def _index(design: Design, unit: Unit, part: Component | None) -> int:
    """Of a component, or of whole instances, as `codesign.faults.FAULT` has it."""
    chip = design.accelerator
    if part is None:
        return -1 - [u.name for u in chip.units].index(unit.name)
    pairs = chip.components()
    return next(i for i, (u, c) in enumerate(pairs) if u.name == unit.name and c is part)


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
