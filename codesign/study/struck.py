"""What a campaign must know of its design's program, layered or of events."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codesign.design import Design
from codesign.effects import Kind, box
from codesign.engine import pick, serial
from codesign.events import EventProgram
from codesign.samples import Samples
from codesign.scenarios import RandomFaults, Scenario

__all__ = ["reached_layers", "timed"]


def reached_layers(design: Design, rows: NDArray[np.void]) -> list[str]:
    """Layers that some effects name, in the network's order.

    In a program of events a weight is of the layer that sums it, a word of its neurons' layer;
    an address that leads elsewhere reaches every layer of neurons.
    """
    if not isinstance(design.program, EventProgram):
        layers = design.network.layers
        return [layers[int(index)].name for index in np.unique(rows["layer"])]
    boxes: dict[bool, set[int]] = {True: set(), False: set()}
    for row in rows:
        boxes[bool(row["kind"] == Kind.operand)] |= set(box(row["n"], design.program.neurons))
    found = set()
    for population in design.program.populations:
        for of_weights, name in ((True, population.weights), (False, population.name)):
            if not boxes[of_weights].isdisjoint(population.neurons):
                found.add(name)
    return [layer.name for layer in design.network.layers if layer.name in found]


def timed(scenario: Scenario, design: Design, samples: Samples) -> Scenario:
    """A scenario with the number of updates of each inference, where it draws one of them.

    Args:
        scenario: Strikes.
        design: Is struck.
        samples: As its network reads them.
    """
    if not isinstance(scenario, RandomFaults) or scenario.exposure != "inference":
        return scenario
    if not isinstance(design.program, EventProgram):
        return scenario
    golden = pick.run_golden(design.program, samples)
    assert isinstance(golden, serial.SerialGolden)
    return scenario.timed(golden.updates.tolist())
