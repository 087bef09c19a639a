"""The network between cores, packet by packet, for `oracles_cores`: who gets what.

Every packet walks from router to router; a core sees the spikes and codes whose packets reached it,
and evaluates the layers in between on these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from oracles_cores_arithmetic import PLAIN

from codesign.network import Input, Lif

if TYPE_CHECKING:
    from oracles_cores import Chip

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def walk(width: int, start: int, end: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Routers and links (router, way out) of a packet's route: in x first, then in y."""
    x, y = start % width, start // width
    routers, links = [start], []
    while (x, y) != (end % width, end // width):
        if x != end % width:
            way, step = (0, 1) if x < end % width else (1, -1)
            links.append((y * width + x, way))
            x += step
        else:
            way, step = (2, 1) if y < end // width else (3, -1)
            links.append((y * width + x, way))
            y += step
        routers.append(y * width + x)
    return routers, links


class Mesh:
    """Routers, links and ports of a chip with one core at each router."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.cores = chip.sheet.mesh[0] * chip.sheet.mesh[1]
        self.lost: dict[tuple[str, int], Bools] = {}  # [trials, elements, cores]

    @property
    def faulty(self) -> bool:
        """Whether any packet can be lost on its way."""
        return not {"dead router", "dead mesh_link"}.isdisjoint(self.chip.hits)

    def gone(self, start: int, end: int) -> Bools:
        """``[trials]`` whether a packet is lost in this cycle."""
        routers, links = walk(self.chip.sheet.mesh[0], start, end)
        dead = np.asarray(self.chip.dead("router", (self.cores,))[:, routers].any(axis=1))
        broken = self.chip.dead("mesh_link", (self.cores, 4))
        for router, way in links:
            dead = dead | broken[:, router, way]
        return dead

    def send(self, name: str, step: int, element: int, core: int) -> None:
        """A packet to every core."""
        trials = self.chip.faults.trials
        count = int(np.prod(self.chip.network.shapes[name]))
        empty = np.zeros((trials, count, self.cores), dtype=bool)
        lost = self.lost.setdefault((name, step), empty)
        for end in range(self.cores) if self.faulty else ():
            lost[:, element, end] = self.gone(core, end)

    def seen(self, history: list[dict[str, Ints]], t: int, name: str, core: int) -> Ints:
        """A layer's values as a core has them."""
        network = self.chip.network
        layer: Any = network[name]
        shape = (self.chip.faults.trials, *network.shapes[name])
        if t < 0:
            return np.zeros(shape, dtype=np.int64)
        if isinstance(layer, Input | Lif):
            return np.where(self.lost[name, t][..., core].reshape(shape), 0, history[t][name])
        read = [self.seen(history, t - e.delay_steps, e.source, core) for e in layer.inputs]
        # What a current step reads of an earlier one is 0 before the first.
        return PLAIN[type(layer)](layer, read)

    def received(self, core: int, codes: dict[int, Ints]) -> dict[int, Ints]:
        """Axon registers after a delivery of ``{row: [trials]}``: cleared, then set by packets."""
        chip, trials = self.chip, self.chip.faults.trials
        if {"axon", "code", "dead port"}.isdisjoint(chip.hits):
            return codes
        registers = np.zeros((trials, 2 * chip.sheet.axons), dtype=np.int64)
        arrived = ~chip.dead("port", (self.cores,))[:, core]
        for row, code in codes.items():
            fields = {"axon": np.full(trials, row), "code": code}
            for name in fields:
                if name in chip.hits:
                    whole = np.zeros((trials, self.cores), dtype=np.int64)
                    whole[:, core] = fields[name]
                    chip.hold(name, whole)
                    fields[name] = whole[:, core]
            there = np.flatnonzero((code != 0) & arrived)
            registers[there, fields["axon"][there]] = fields["code"][there]
        return {row: registers[:, row] for row in codes}
