"""Packets on the mesh: who sends to which cores, how far.

A spike (or a nonzero input code) is one packet to each core whose crossbar has a row for it, also
to the core it comes from; pooling and the like happen where it arrives. Routes are XY, so a packet
makes as many hops as the routers of its ends lie apart in x and in y; none within a tile. Inputs
come from the host and outputs go to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codesign.network import (
    AvgPool2d,
    Concat,
    Input,
    Layer,
    Lif,
    MaxPool2d,
    NetworkGraph,
    Pad,
    Slice,
    is_mac,
)

if TYPE_CHECKING:
    from accelerators.cores.family import Cores
    from accelerators.cores.mapping import CoresMapping

__all__ = ["Flow", "flows", "hops"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Flow:
    """Packets of one spiking layer or of the input.

    Attributes:
        layer: Who sends.
        packets: For one spike, mean over the layer's neurons.
        hops_x, hops_y: For one spike, all its packets together, mean over the layer's neurons.
        to_host: Of packets, those to the host.
        host_x, host_y: Of hops, those of packets to the host.
    """

    layer: str
    packets: float
    hops_x: float
    hops_y: float
    to_host: float
    host_x: float
    host_y: float


def flows(mapping: CoresMapping) -> tuple[Flow, ...]:
    """The packets of every layer that sends spikes or codes."""
    network, sheet = mapping.network, mapping.sheet
    needs = _needs(mapping)
    homes = _homes(mapping)
    found = []
    for layer in network:
        if isinstance(layer, Input | Lif):
            wanted = needs[layer.name]
            home = homes.get(layer.name, np.full(len(wanted), sheet.host))
            ends = np.append(np.arange(sheet.cores), sheet.host)
            x, y = hops(ends, home[:, None], sheet)
            means = [part.sum(axis=1).mean() for part in (wanted, wanted * x, wanted * y)]
            means += [part[:, -1].mean() for part in (wanted, wanted * x, wanted * y)]
            found.append(Flow(layer.name, *map(float, means)))
    return tuple(found)


def hops(
    a: NDArray[np.int64] | int, b: NDArray[np.int64] | int, sheet: Cores
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hops in x and in y between the routers of cores."""
    width = sheet.mesh[0]
    a, b = np.asarray(a) // sheet.tile, np.asarray(b) // sheet.tile
    return np.abs(a % width - b % width), np.abs(a // width - b // width)


def _homes(mapping: CoresMapping) -> dict[str, NDArray[np.int64]]:
    """By spiking layer, ``[elements]`` core of each neuron."""
    network = mapping.network
    found: dict[str, NDArray[np.int64]] = {}
    for run in mapping.schedule.runs:
        if run.home and run.layer.lif is not None:
            name = network.layers[run.layer.lif].name
            cores = found.setdefault(name, np.zeros(run.layer.neurons, dtype=np.int64))
            pairs = zip(run.m.tolist(), run.n.tolist(), strict=True)
            cores[[network.element(name, m, n) for m, n in pairs]] = run.core
    return found


def _needs(mapping: CoresMapping) -> dict[str, Bools]:
    """By layer, ``[elements, cores + 1]`` which cores (last: the host) read each of its outputs."""
    network = mapping.network
    cores = mapping.sheet.cores
    needs = {
        name: np.zeros((int(np.prod(shape)), cores + 1), dtype=bool)
        for name, shape in network.shapes.items()
    }
    needs[network.layers[-1].name][:, cores] = True
    for run in mapping.schedule.runs:
        source = network.layers[run.layer.index].inputs[0].source
        for tile in run.tiles:
            band, row = np.nonzero(tile.terms >= 0)
            place = (run.bands.m[band], run.bands.inputs[band], tile.terms[band, row])
            needs[source][run.layer.elements[place], run.core] = True
    for layer in reversed(network.layers):
        if not isinstance(layer, Input | Lif) and layer.inputs:
            for edge, wanted in zip(layer.inputs, _back(network, layer, needs), strict=True):
                needs[edge.source] |= wanted
    return needs


def _back(network: NetworkGraph, layer: Layer, needs: dict[str, Bools]) -> list[Bools]:
    """What the readers of a layer without weights need of each of its inputs."""
    wanted = needs[layer.name]
    shapes = [network.shapes[edge.source] for edge in layer.inputs]
    if is_mac(layer):
        return [np.zeros_like(needs[edge.source]) for edge in layer.inputs]
    if isinstance(layer, Concat):
        return np.split(wanted, np.cumsum([int(np.prod(s)) for s in shapes])[:-1])
    if isinstance(layer, MaxPool2d | AvgPool2d):
        return [_unpooled(layer, wanted, shapes[0], network.shapes[layer.name])]
    grid = wanted.reshape(*network.shapes[layer.name], -1)
    if isinstance(layer, Slice):
        whole = np.zeros((*shapes[0], grid.shape[-1]), dtype=bool)
        whole[tuple(slice(*s) for s in layer.slices)] = grid
        return [whole.reshape(-1, grid.shape[-1])]
    if isinstance(layer, Pad):
        inner = tuple(slice(a, a + n) for (a, _), n in zip(layer.widths, shapes[0], strict=True))
        return [grid[inner].reshape(-1, grid.shape[-1])]
    return [wanted for _ in layer.inputs]


def _unpooled(
    layer: MaxPool2d | AvgPool2d, wanted: Bools, shape: tuple[int, ...], out: tuple[int, ...]
) -> Bools:
    """Every pixel is needed by whoever needs a window that it lies in."""
    top, bottom, left, right = layer.padding
    channels, height, width = shape
    grid = wanted.reshape(*out, -1)
    whole = np.zeros(
        (channels, height + top + bottom, width + left + right, grid.shape[-1]), dtype=bool
    )
    sy, sx = layer.stride
    for y in range(layer.kernel[0]):
        for x in range(layer.kernel[1]):
            whole[:, y : y + out[1] * sy : sy, x : x + out[2] * sx : sx][:, : out[1], : out[2]] |= (
                grid
            )
    return whole[:, top : top + height, left : left + width].reshape(-1, grid.shape[-1])
