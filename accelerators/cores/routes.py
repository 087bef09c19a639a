"""Which packets pass which parts of the mesh, and which spikes a value that is read comes from.

Routes are XY: along x first, then along y. A packet passes the routers of both its ends (also if
they are one) and every router and link between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accelerators.cores.schedule import CLEAR_CYCLES
from codesign.errors import UnsupportedError
from codesign.formats import Requantise
from codesign.network import (
    Add,
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
    from accelerators.cores.schedule import Schedule

__all__ = ["DIRECTIONS", "Senders", "crossed", "late", "origins"]

DIRECTIONS = ("+x", "-x", "+y", "-y")  # of the links out of a router, last index of a link

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def crossed(sheet: Cores, router: int, direction: int | None = None) -> Bools:
    """``[cores, cores]`` whether packets from one core to another pass a router, or its link.

    Args:
        sheet: The chip.
        router: The router.
        direction: Of the link out of it; None for the router itself.
    """
    width = sheet.mesh[0]
    x, y = router % width, router // width
    at = np.arange(sheet.cores) // sheet.tile
    ax, ay = (at % width)[:, None], (at // width)[:, None]
    bx, by = (at % width)[None, :], (at // width)[None, :]
    in_row, in_column = ay == y, bx == x
    if direction is None:
        across = (np.minimum(ax, bx) <= x) & (x <= np.maximum(ax, bx))
        along = (np.minimum(ay, by) <= y) & (y <= np.maximum(ay, by))
        return np.asarray((in_row & across) | (in_column & along))
    return np.asarray(
        (
            in_row & (ax <= x) & (x < bx),
            in_row & (bx < x) & (x <= ax),
            in_column & (ay <= y) & (y < by),
            in_column & (by < y) & (y <= ay),
        )[direction]
    )


@dataclass(frozen=True, eq=False)
class Senders:
    """Every neuron and every input code, numbered through the network.

    Attributes:
        base: By layer, the number of its first element.
        core: ``[senders]`` from where its packets start.
        sent: ``[senders]`` cycle of step 0 in which they pass the mesh.
    """

    base: dict[str, int]
    core: Ints
    sent: Ints

    @staticmethod
    def of(network: NetworkGraph, schedule: Schedule, host: int) -> Senders:
        """Number the senders of a network; input codes start from the host as a step begins."""
        base: dict[str, int] = {}
        count = 0
        for layer in network:
            if isinstance(layer, Input | Lif):
                base[layer.name] = count
                count += int(np.prod(network.shapes[layer.name]))
        core, sent = np.full(count, host), np.full(count, CLEAR_CYCLES)
        for run in schedule.runs:
            if run.home and run.layer.lif is not None:
                name = network.layers[run.layer.lif].name
                pairs = zip(run.m.tolist(), run.n.tolist(), strict=True)
                who = [base[name] + network.element(name, m, n) for m, n in pairs]
                core[who], sent[who] = run.core, run.send
        return Senders(base, core, sent)


def origins(network: NetworkGraph, base: dict[str, int]) -> dict[str, Ints]:
    """By layer, ``[elements, origins, 2]`` senders (-1: none) that an element is made of, how late.

    An element is 0 if all its origins are. Layers with weights have none: they send no packets.

    Raises:
        UnsupportedError: A layer makes something else of zeros.
    """
    found: dict[str, Ints] = {}
    for layer in network:
        count = int(np.prod(network.shapes[layer.name]))
        if layer.name in base:
            own = base[layer.name] + np.arange(count)
            found[layer.name] = np.stack([own, np.zeros_like(own)], axis=1)[:, None]
        elif is_mac(layer):
            found[layer.name] = np.zeros((count, 0, 2), dtype=np.int64)
        else:
            _check_zero(layer)
            found[layer.name] = _made_of(network, layer, found)
    return found


def late(origin: Ints, steps: int) -> Ints:
    """Origins as they are read some steps later."""
    return origin + np.array([0, steps])


def _check_zero(layer: Layer) -> None:
    after = getattr(layer, "requantise", None)
    for one in after if isinstance(after, tuple) else (after,):
        if isinstance(one, Requantise) and not one.low <= 0 <= one.high:
            raise UnsupportedError(
                f"{layer.name} makes {one.low}..{one.high} of zeros: what it makes of lost packets "
                "is not claimed; let its codes include 0"
            )


def _made_of(network: NetworkGraph, layer: Layer, found: dict[str, Ints]) -> Ints:
    """Origins of a layer without weights and neurons."""
    parts = [late(found[edge.source], edge.delay_steps) for edge in layer.inputs]
    shape = network.shapes[layer.inputs[0].source]
    index = np.arange(int(np.prod(shape))).reshape(shape)
    if isinstance(layer, Concat):
        wide = max(part.shape[1] for part in parts)
        return np.concatenate([_widened(part, wide) for part in parts])
    if isinstance(layer, Add):
        return np.concatenate(parts, axis=1)
    if isinstance(layer, MaxPool2d | AvgPool2d):
        return _windows(layer, parts[0], index, network.shapes[layer.name])
    if isinstance(layer, Slice):
        return parts[0][index[tuple(slice(*s) for s in layer.slices)].reshape(-1)]
    if isinstance(layer, Pad):
        return _taken(parts[0], np.pad(index, layer.widths, constant_values=-1).reshape(-1))
    return parts[0]


def _windows(layer: MaxPool2d | AvgPool2d, part: Ints, index: Ints, shape: tuple[int, ...]) -> Ints:
    top, bottom, left, right = layer.padding
    padded = np.pad(index, ((0, 0), (top, bottom), (left, right)), constant_values=-1)
    (height, width), (sy, sx) = layer.kernel, layer.stride
    picked = [
        padded[:, y : y + shape[1] * sy : sy, x : x + shape[2] * sx : sx][:, : shape[1], : shape[2]]
        for y in range(height)
        for x in range(width)
    ]
    return np.concatenate([_taken(part, one.reshape(-1)) for one in picked], axis=1)


def _taken(part: Ints, index: Ints) -> Ints:
    """Elements by index, none where that is -1."""
    taken = part[index]
    taken[index < 0] = (-1, 0)
    return taken


def _widened(part: Ints, wide: int) -> Ints:
    more = np.zeros((len(part), wide - part.shape[1], 2), dtype=np.int64)
    more[..., 0] = -1
    return np.concatenate([part, more], axis=1)
