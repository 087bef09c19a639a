"""Where a spiking network sits on cores, found by trying: the placement that `oracles_cores` runs.

Written from the rules in the docstrings of `accelerators.cores` (`family` and `tiles`),
term by term and neuron by neuron.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.mapping import Placement
from codesign.network import Conv2d, Linear, NetworkGraph

Neuron = tuple[int, int]  # (m, n)


@dataclass
class Block:
    """One segment of one group on one core: what a crossbar holds."""

    core: int
    columns: list[int]  # physical, in the order of neurons
    neurons: list[Neuron]
    rows: list[int]  # element of the source in each row, in order
    weight: NDArray[np.int64]  # [rows, columns] codes
    joined: NDArray[np.bool_]  # [rows, columns] whether there is a synapse
    base: int = 0


@dataclass
class Team:
    """The blocks of one group of neurons, segment by segment; the first one's core is home."""

    blocks: list[Block]
    slot: int = 0


@dataclass
class Placed:
    """A layer: rounds of teams."""

    name: str
    lif: str | None
    rounds: list[list[Team]]


def element(network: NetworkGraph, layer: Any, m: int, n: int, k: int) -> int | None:
    """The element of the source that term k of output (m, n) reads, None in the padding."""
    if isinstance(layer, Linear):
        return m * layer.weight.shape[1] + k
    _, height, width = network.shapes[layer.inputs[0].source]
    _, _, cols = network.shapes[layer.name]
    channels, per_group, kh, kw = layer.weight.shape
    c, rest = divmod(k, kh * kw)
    ky, kx = divmod(rest, kw)
    y = (m // cols) * layer.stride[0] + ky - layer.padding[0]
    x = (m % cols) * layer.stride[1] + kx - layer.padding[2]
    if not (0 <= y < height and 0 <= x < width):
        return None
    return ((n // (channels // layer.groups) * per_group + c) * height + y) * width + x


def place(sheet: Any, network: NetworkGraph, placement: Placement) -> tuple[list[Placed], bool]:
    """Every tile its own core if they suffice, else in rounds."""
    columns = list(placement.columns) or list(range(sheet.columns))
    height = len(placement.rows) or sheet.axons
    free = {}
    for core in range(sheet.mesh[0] * sheet.mesh[1]):
        left = [c for c in columns if (core, c) not in placement.forbidden]
        if (core,) not in placement.forbidden and left:
            free[core] = left
    layers = [x for x in network.layers if isinstance(x, Conv2d | Linear)]
    if sheet.weights != "reloaded":
        attempt = _side_by_side(network, layers, free, height)
        if attempt is not None:
            return _finish(network, attempt), True
    return _finish(network, [_in_rounds(network, x, free, height) for x in layers]), False


def _side_by_side(
    network: NetworkGraph, layers: Any, free: dict[int, list[int]], height: int
) -> Any:
    """Teams of blocks on cores of their own, or None."""
    cores = list(free)
    placed = []
    for layer in layers:
        for count in range(1, 100):
            pool = list(cores)
            groups = []
            todo = _neurons_of(network, layer)
            while todo:
                if len(pool) < count:
                    return None
                mine, pool = pool[:count], pool[count:]
                width = min(min(len(free[c]) for c in mine), _widest(network, layer, height))
                groups.append((mine, todo[:width]))
                todo = todo[width:]
            spans = _segments(network, layer, [g[1] for g in groups], height)
            if len(spans) <= count:
                break
        cores = pool
        teams = [
            Team(
                [
                    _block(network, layer, c, free[c], who, s)
                    for c, s in zip(mine, spans, strict=False)
                ]
            )
            for mine, who in groups
        ]
        placed.append((layer, [teams]))
    return placed


def _in_rounds(network: NetworkGraph, layer: Any, free: dict[int, list[int]], height: int) -> Any:
    """Groups dealt to the cores one after the other; a team's blocks share its core."""
    todo = _neurons_of(network, layer)
    groups = []
    while todo:
        for core in free:
            if todo:
                width = min(len(free[core]), _widest(network, layer, height))
                groups.append((core, todo[:width]))
                todo = todo[width:]
    spans = _segments(network, layer, [g[1] for g in groups], height)
    teams = [Team([_block(network, layer, c, free[c], who, s) for s in spans]) for c, who in groups]
    size = len(free)
    return layer, [teams[i : i + size] for i in range(0, len(teams), size)]


def _neurons_of(network: NetworkGraph, layer: Any) -> list[Neuron]:
    positions, _, channels = network.mac_shape(layer.name)
    return [(m, n) for m in range(positions) for n in range(channels)]


def _widest(network: NetworkGraph, layer: Any, height: int) -> int:
    """A fully connected layer is as wide as a core, others at most as wide as it is high."""
    groups = getattr(layer, "groups", 1)
    return 10**9 if network.mac_shape(layer.name)[0] * groups == 1 else height


def _segments(network: NetworkGraph, layer: Any, groups: Any, height: int) -> list[list[int]]:
    """Ranges of terms, each as long as all groups' inputs fit the rows."""
    terms = network.mac_shape(layer.name)[1]
    spans = [[0, 0]]
    for k in range(terms):
        start = spans[-1][0]
        for who in groups:
            inputs = {element(network, layer, m, n, j) for m, n in who for j in range(start, k + 1)}
            if len(inputs - {None}) > height:
                spans.append([k, k])
                break
        spans[-1][1] = k + 1
    return spans


def _block(
    network: NetworkGraph, layer: Any, core: int, columns: list[int], who: list[Neuron], span: Any
) -> Block:
    """Rows, weights and synapses of one tile."""
    k_range = range(*span)
    flat = layer.weight.reshape(layer.weight.shape[0], -1)
    seen = {element(network, layer, m, n, k) for m, n in who for k in k_range}
    rows = sorted(e for e in seen if e is not None)
    weight = np.zeros((len(rows), len(who)), dtype=np.int64)
    joined = np.zeros((len(rows), len(who)), dtype=bool)
    for c, (m, n) in enumerate(who):
        for k in k_range:
            e = element(network, layer, m, n, k)
            if e is not None:
                weight[rows.index(e), c] = flat[n, k]
                joined[rows.index(e), c] = True
    return Block(core, list(columns[: len(who)]), list(who), rows, weight, joined)


def _finish(network: NetworkGraph, placed: Any) -> list[Placed]:
    """Addresses in the weight memories and words of the neurons' memories, in order."""
    used: dict[int, int] = {}
    slots: dict[int, int] = {}
    result = []
    for layer, rounds in placed:
        for teams in rounds:
            for team in teams:
                home = team.blocks[0].core
                team.slot = slots.get(home, 0)
                slots[home] = team.slot + 1
                for b in team.blocks:
                    b.base = used.get(b.core, 0)
                    used[b.core] = b.base + b.weight.size
        reader = [x.name for x in network.layers if any(e.source == layer.name for e in x.inputs)]
        result.append(Placed(layer.name, reader[0] if reader else None, rounds))
    return result
