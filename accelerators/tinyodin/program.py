"""A tinyODIN workload as an event-serial program and its stimulus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelerators.tinyodin.words import LEAK, LEAK_ALL, NEURONS, POTENTIAL, THRESHOLD, Workload
from codesign.events import ACTION, Action, EventCycles, EventProgram, WordField, WordLayout
from codesign.formats import NumberFormat

__all__ = ["CYCLES", "LAYOUT", "program_of", "stimulus_of"]

LAYOUT = WordLayout(
    WordField(*POTENTIAL), WordField(*THRESHOLD), WordField(*LEAK), WordField(31, 1)
)

# Of the RTL (controller.v, aer_out.v) with a receiver that acknowledges at once; idle and time-out
# are the host's of the recorded faults.
CYCLES = EventCycles(
    update=2, spike=6, pop=1, acknowledge=2, release=3, turn=1, idle=4, time_out=60_000
)


def program_of(
    workload: Workload, outputs: tuple[int, ...] = (), cycles: EventCycles = CYCLES
) -> EventProgram:
    """What the chip computes for any stimulus with these memories."""
    nibbles = workload.synapses[:, None] >> 4 * np.arange(8) & 15
    weights = NumberFormat(4).decode(nibbles.reshape(NEURONS, NEURONS))
    return EventProgram(
        words=workload.neurons,
        weights=weights,
        layout=LAYOUT,
        weight_bits=4,
        scan=workload.max_neuron + 1,
        closed_loop=not workload.open_loop,
        queue_capacity=128,
        cycles=cycles,
        outputs=outputs,
    )


def stimulus_of(workload: Workload) -> NDArray[np.void]:
    """The host's operations as actions; a virtual event of weight 0 is a neuron event."""
    rows = []
    for address, waits in workload.operations:
        low = address & 0xFF
        if address < 0:
            row = (Action.sample, 0, 0)
        elif address & LEAK_ALL == LEAK_ALL:
            row = (Action.leak_all, 0, 0)
        elif address & 0x100:
            row = (Action.leak_one, low, 0)
        elif address & 0x200 and low >> 4:
            row = (Action.immediate, low & 15, (low >> 4 ^ 8) - 8)
        else:
            row = (Action.scan, low & 15 if address & 0x200 else low, 0)
        rows.append((*row, waits))
    return np.array(rows, dtype=ACTION)
