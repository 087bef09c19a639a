"""Who reads whom in a chain of spiking layers: index tables for the kernels.

Lines are a stage's inputs and sums what its synapses add up, in flat order; neurons read windows of
sums. A position counts pixels of one channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from codesign.engine.sparse_snn_chain import Pool, Stage
from codesign.network import AvgPool2d, Conv2d, NetworkGraph

__all__ = ["PACK", "Tables", "tables_of"]

PACK = 8  # lanes of a vector

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of one stage; -1 stands for padding.

    Attributes:
        positions: Of the neurons.
        sums: Positions of the sums.
        parts: Groups of the convolution.
        padded: Channels, filled up to whole vectors.
        weight: ``[part, k; padded]``: zero in channels of other parts.
        line_of: ``[sums, parts, k]`` line of each term.
        reach_start: ``[lines + 1]`` where a line's entries start in ``reach``.
        reach: ``[entries, 4]`` position of the sum, row of the weights, vectors from and to.
        windows: ``[positions, window]`` positions of the sums that a neuron pools.
        owner_start: ``[sums + 1]`` where a sum's entries start in ``owner``.
        owner: Positions of the neurons that pool it.
        in_windows: ``[lines, window]`` neurons of the stage before that a line pools, or None.
        in_owner_start: As ``owner_start``, by neurons of the stage before.
        in_owner: As ``owner``: the lines.
        in_table: ``[channels, window + 1]`` value of a line by how many of them spike, or None if
            one spike is enough.
    """

    positions: int
    sums: int
    parts: int
    padded: int
    weight: Ints
    line_of: Ints
    reach_start: Ints
    reach: Ints
    windows: Ints
    owner_start: Ints
    owner: Ints
    in_windows: Ints | None = None
    in_owner_start: Ints | None = None
    in_owner: Ints | None = None
    in_table: Ints | None = None

    @property
    def in_area(self) -> int:
        """Neurons that a line pools."""
        return 1 if self.in_windows is None else self.in_windows.shape[1]

    @property
    def in_positions(self) -> int:
        """Lines of one channel, where they are values and not spikes."""
        if self.in_windows is None or self.in_table is None:
            return 0
        return len(self.in_windows) // len(self.in_table)


def tables_of(network: NetworkGraph, stage: Stage) -> Tables:
    """The tables of one stage."""
    layer = stage.sums
    source = network.shapes[layer.inputs[0].source]
    sums, channels = network.grid(layer.name)
    parts = layer.groups if isinstance(layer, Conv2d) else 1
    padded = -(-channels // PACK) * PACK
    line_of = _terms(layer, source, sums)
    if stage.pool is None:
        windows = np.arange(sums).reshape(sums, 1)
    else:
        windows = _windows(stage.pool, network.shapes[layer.name][1:])
    found = Tables(
        len(windows), sums, parts, padded, _weight(layer, parts, padded), _packed(line_of),
        *_reach(line_of, prod(source), channels // parts), _packed(windows),
        *_owners(windows, sums),
    )  # fmt: skip
    if stage.read is None:
        return found
    before = network.shapes[stage.read.inputs[0].source]
    pooled = _windows(stage.read, before[1:])
    apart = (np.arange(before[0]) * prod(before[1:])).reshape(-1, 1, 1)
    in_windows = np.where(pooled < 0, -1, pooled + apart).reshape(-1, pooled.shape[1])
    return Tables(
        **vars(found) | dict(
            in_windows=_packed(in_windows),
            in_table=_table(stage.read, before[0]),
            **dict(zip(("in_owner_start", "in_owner"), _owners(in_windows, prod(before)),
                       strict=True)),
        )
    )  # fmt: skip


def _packed(values: NDArray[np.int64]) -> Ints:
    return np.ascontiguousarray(values, dtype=np.int32)


def _terms(layer: object, source: tuple[int, ...], sums: int) -> NDArray[np.int64]:
    """``[sums, parts, k]`` flat input of each term, or -1."""
    if not isinstance(layer, Conv2d):
        return np.arange(prod(source)).reshape(1, 1, -1)
    channels, height, width = source
    _, per_part, kh, kw = layer.weight.shape
    top, bottom, left, right = layer.padding
    flat = np.full((channels, height + top + bottom, width + left + right), -1)
    flat[:, top : top + height, left : left + width] = np.arange(prod(source)).reshape(source)
    seen = np.lib.stride_tricks.sliding_window_view(flat, (kh, kw), axis=(1, 2))
    seen = seen[:, :: layer.stride[0], :: layer.stride[1]]
    by_part = seen.reshape(layer.groups, per_part, sums, kh * kw)
    return by_part.transpose(2, 0, 1, 3).reshape(sums, layer.groups, -1)


def _weight(layer: object, parts: int, padded: int) -> Ints:
    weight = np.asarray(layer.weight)  # type: ignore[attr-defined]
    channels, terms = len(weight), prod(weight.shape[1:])
    rows = np.zeros((parts, terms, padded), dtype=np.int32)
    per_part = channels // parts
    for part in range(parts):
        mine = slice(part * per_part, (part + 1) * per_part)
        rows[part, :, mine] = weight[mine].reshape(per_part, terms).T
    return rows


def _reach(line_of: NDArray[np.int64], lines: int, per_part: int) -> tuple[Ints, Ints]:
    """What each line adds to: its entries by sum."""
    position, part, term = np.nonzero(line_of >= 0)
    line = line_of[position, part, term]
    first, last = part * per_part // PACK, -(-(part + 1) * per_part // PACK)
    entries = np.stack([position, part * line_of.shape[2] + term, first, last], axis=1)
    order = np.argsort(line, kind="stable")
    return _starts(line, lines), _packed(entries[order])


def _owners(windows: NDArray[np.int64], count: int) -> tuple[Ints, Ints]:
    """By element, which windows hold it."""
    window, place = np.nonzero(windows >= 0)
    element = windows[window, place]
    return _starts(element, count), _packed(window[np.argsort(element, kind="stable")])


def _starts(keys: NDArray[np.int64], count: int) -> Ints:
    return _packed(np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=count))]))


def _windows(layer: Pool, size: tuple[int, ...]) -> NDArray[np.int64]:
    """``[positions, window]`` pixels under each window of a pooling layer, or -1."""
    height, width = size
    top, bottom, left, right = layer.padding
    flat = np.full((height + top + bottom, width + left + right), -1)
    flat[top : top + height, left : left + width] = np.arange(height * width).reshape(size)
    seen = np.lib.stride_tricks.sliding_window_view(flat, layer.kernel)
    return seen[:: layer.stride[0], :: layer.stride[1]].reshape(-1, prod(layer.kernel))


def _table(layer: Pool, channels: int) -> Ints | None:
    if not isinstance(layer, AvgPool2d):
        return None
    counts = np.tile(np.arange(prod(layer.kernel) + 1), (channels, 1))
    return _packed(counts if layer.requantise is None else layer.requantise.code(counts))
