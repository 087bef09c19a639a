"""A conventional network's program and golden run, laid out for the kernels.

Element (m, n) of a layer, as `codesign.network` numbers them, is pixel m, channel n. Where a reader
sees the axes otherwise (a convolution that reads a `Linear`'s output, say), a node in between moves
the elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.engine.dense_golden import Golden
from codesign.engine.sparse_cnn_bounds import BY_TERMS, Limits, limits
from codesign.engine.sparse_cnn_data import (
    BY_SHIFT,
    IN_PRODUCTS,
    LANES,
    SMALL,
    CNode,
    CPlan,
    CRequantise,
    CValue,
    Kept,
    Plan,
    format_of,
    requantise_of,
)
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Flatten,
    Input,
    Layer,
    Lif,
    Linear,
    MaxPool2d,
    Pad,
    Slice,
    is_mac,
)
from codesign.program import Program

__all__ = ["plan_of", "why_not"]

Ints = NDArray[np.int64]
KINDS: dict[type[Layer], int] = {
    Input: 0,
    Conv2d: 1,
    Linear: 1,
    Add: 2,
    MaxPool2d: 3,
    AvgPool2d: 4,
    Concat: 5,
    Flatten: 5,
    Pad: 5,
    Slice: 5,
}
MOVES = 5
MOST_INPUTS, MOST_BITS, MOST_CHANNELS = 16, 46, 1 << 16
TYPES = {"uint8": 0, "int8": 1, "int16": 2, "int32": 3, "int64": 4}


def why_not(program: Program) -> str:
    """Why a program has no sparse form, or an empty text."""
    network = program.network
    if network.steps > 1 or any(isinstance(layer, Lif) for layer in network):
        return "it is not a network of one step without neurons"
    if program.guards:
        return "it has guards"
    if any(edge.delay_steps for layer in network for edge in layer.inputs):
        return "it has delayed edges"
    if any(len(layer.inputs) > MOST_INPUTS for layer in network):
        return f"a layer has more than {MOST_INPUTS} inputs"
    if any(network.grid(layer.name)[1] > MOST_CHANNELS for layer in network):
        return f"a layer has more than {MOST_CHANNELS} channels"
    sums = program.arithmetic.values()
    if any(form.bits > MOST_BITS for a in sums for form in (a.inner, a.outer)):
        return f"an accumulator has more than {MOST_BITS} bits"
    return "" if limits(program).most_carried else "32 bits do not carry its values"


def plan_of(golden: Golden) -> Plan:
    """The plan of a golden run whose program has a sparse form; its sums are not computed yet."""
    builder = _Builder(golden, limits(golden.program), Kept(), [], [])
    for index, layer in enumerate(golden.program.network.layers):
        builder.layer(index, layer)
    return builder.plan()


def _keeps_order(places: NDArray[np.int32], channels: int, moved: int) -> bool:
    """Whether the elements of a pixel go to one pixel, and pixels stay in order."""
    pixels = np.where(places < 0, -1, places // moved).reshape(-1, channels)
    last = pixels.max(axis=1)
    stays = bool(((pixels == last[:, None]) | (pixels < 0)).all())
    return stays and bool((np.diff(last[last >= 0]) >= 0).all())


@dataclass(eq=False)
class _Builder:
    """Collects values and nodes; the first values are the layers', in order."""

    golden: Golden
    limits: Limits
    kept: Kept
    nodes: list[CNode]
    more: list[CValue]  # other layouts of layers' values

    def __post_init__(self) -> None:
        self.network = self.golden.program.network
        self.values = [self._value(i) for i in range(len(self.network.layers))]

    def _value(self, index: int) -> CValue:
        name = self.network.layers[index].name
        shape = self.network.shapes[name]
        pixels, channels = self.network.grid(name)
        data = self.golden.kept[index].data[0].numpy()
        by_n = 0 if channels == 1 else self.network.element(name, 0, 1)
        image = len(shape) == 3 and not isinstance(self.network.layers[index], Linear)
        return CValue(
            pixels=pixels,
            channels=channels,
            height=shape[1] if image else 1,
            width=shape[2] if image else pixels,
            kept=self.kept.array(data),
            type=TYPES[str(data.dtype)],
            stride=prod(shape),
            by_m=0 if pixels == 1 else self.network.element(name, 1, 0),
            by_n=by_n,
            wide=self._is_wide(index),
        )

    def _is_wide(self, index: int) -> bool:
        kept = self.golden.kept[index]
        return min(kept.low, 0) < -SMALL or max(kept.high, 0) >= SMALL

    def elements(self, value: CValue, shape: tuple[int, ...]) -> Ints:
        """``[shape]`` element of a value in its own layout."""
        flat = np.arange(prod(shape))
        by_m, by_n = value.by_m, value.by_n
        m, n = np.divmod(np.arange(value.pixels * value.channels), value.channels)
        found = np.empty_like(flat)
        found[m * by_m + n * by_n] = np.arange(len(flat))
        return found.reshape(shape)

    # -- nodes

    def layer(self, index: int, layer: Layer) -> None:
        """Append the node of a layer, and what must stand before it."""
        sources = [self.network.index(edge.source) for edge in layer.inputs]
        shapes = [self.network.shapes[edge.source] for edge in layer.inputs]
        if KINDS[type(layer)] != MOVES or isinstance(layer, Concat):
            sources = [
                self._laid_out(index, layer, source, shape)
                for source, shape in zip(sources, shapes, strict=True)
            ]
        node = CNode(kind=KINDS[type(layer)], layer=index, out=index)
        self._read(node, sources)
        if isinstance(layer, Conv2d | Linear):
            self._sums(node, index, layer)
        elif isinstance(layer, MaxPool2d | AvgPool2d):
            self._window(node, layer.kernel, layer.stride, layer.padding)
        elif isinstance(layer, Add):
            node.multipliers = self.kept.array(np.array(layer.multipliers, dtype=np.int64))
        elif KINDS[type(layer)] == MOVES:
            self._moves(node, layer, sources, shapes)
        if not isinstance(layer, Concat):
            channels = self.values[index].channels
            node.requantise = requantise_of(getattr(layer, "requantise", None), channels, self.kept)
            node.padded = -(-channels // LANES) * LANES
            self._choose(node, layer)
        self.nodes.append(node)

    def _choose(self, node: CNode, layer: Layer) -> None:
        """Whether codes are small, and the quickest way to make them."""
        q = node.requantise
        node.small = bool(q.is_there) and q.low >= -SMALL and q.high < SMALL
        node.small &= not self.values[node.out].wide
        if isinstance(layer, Add) and layer.requantise and q.is_there == IN_PRODUCTS:
            ones = bool((np.asarray(layer.requantise.multiplier) == 1).all())
            if ones and q.shift < 30:  # a half more has room in 32 bits
                q.is_there = BY_SHIFT

    def _read(self, node: CNode, sources: list[int]) -> None:
        node.inputs = len(sources)
        setattr(node, "in", self.kept.array(np.array(sources, dtype=np.int64)))
        for source in sources:
            self._at(source).last_reader = len(self.nodes)

    def _at(self, value: int) -> CValue:
        layers = len(self.values)
        return self.values[value] if value < layers else self.more[value - layers]

    def _laid_out(self, index: int, layer: Layer, source: int, shape: tuple[int, ...]) -> int:
        """The value that a layer reads: the source, or its elements as this layer sees them."""
        channels = shape[-1] if isinstance(layer, Linear) or len(shape) == 1 else shape[0]
        pixels = prod(shape) // channels
        first = not isinstance(layer, Linear) and len(shape) > 1
        seen = CValue(pixels=pixels, channels=channels, height=1, width=pixels)
        seen.by_m, seen.by_n = (1, pixels) if first else (channels, 1)
        if first and len(shape) == 3:
            seen.height, seen.width = shape[1:]
        there, here = self.elements(self.values[source], shape), self.elements(seen, shape)
        sizes = [(v.channels, v.height, v.width) for v in (self.values[source], seen)]
        if sizes[0] == sizes[1] and (there == here).all():
            return source
        places = np.empty(prod(shape), dtype=np.int32)
        places[there.ravel()] = here.ravel()
        seen.wide, seen.kept = self._is_wide(source), None
        node = CNode(kind=MOVES, layer=index, out=len(self.values) + len(self.more))
        self._read(node, [source])
        self._put_maps(node, [places], [CRequantise()])
        node.keeps_order = _keeps_order(places, self.values[source].channels, channels)
        self.more.append(seen)
        self.nodes.append(node)
        return int(node.out)

    def _put_maps(self, node: CNode, maps: list[NDArray[np.int32]], each: list[Any]) -> None:
        places = np.array([self.kept.array(m) for m in maps], dtype=np.int64)
        node.maps = self.kept.array(places)
        node.each = self.kept.structures(each, CRequantise)

    def _moves(
        self, node: CNode, layer: Layer, sources: list[int], shapes: list[tuple[int, ...]]
    ) -> None:
        out_shape = self.network.shapes[layer.name]
        out = self.elements(self.values[node.out], out_shape)
        each, maps, offset = [], [], 0
        for i, (source, shape) in enumerate(zip(sources, shapes, strict=True)):
            there = self.elements(self._at(source), shape)
            q = layer.requantise[i] if isinstance(layer, Concat) else None
            each.append(requantise_of(q, shape[0], self.kept))
            places = np.full(prod(shape), -1, dtype=np.int32)
            if isinstance(layer, Concat):
                places[there] = out[offset : offset + shape[0]]
                offset += shape[0]
            elif isinstance(layer, Slice):
                places[there[tuple(slice(*s) for s in layer.slices)]] = out
            elif isinstance(layer, Pad):
                ends = zip(layer.widths, shape, strict=True)
                places[there] = out[tuple(slice(a, a + n) for (a, _), n in ends)]
            else:
                places[there.ravel()] = out.ravel()
            maps.append(places)
        self._put_maps(node, maps, each)
        channels = self._at(sources[0]).channels
        node.keeps_order = not isinstance(layer, Concat) and _keeps_order(
            maps[0], channels, self.values[node.out].channels
        )

    def _window(self, node: CNode, kernel: Any, stride: Any, padding: Any) -> None:
        node.kh, node.kw = kernel
        node.sy, node.sx = stride
        node.top, node.left = padding[0], padding[2]
        node.groups = 1

    def _sums(self, node: CNode, index: int, layer: Conv2d | Linear) -> None:
        kept, value = self.kept, self.values[index]
        arithmetic = self.golden.program.arithmetic[layer.name]
        weight = layer.weight.reshape(*layer.weight.shape[:2], *layer.weight.shape[2:] or (1, 1))
        if isinstance(layer, Conv2d):
            self._window(node, weight.shape[2:], layer.stride, layer.padding)
            node.groups = layer.groups
        else:
            self._window(node, (1, 1), (1, 1), (0, 0, 0, 0))
        terms = prod(weight.shape[1:])
        node.terms, node.padded = terms, -(-value.channels // LANES) * LANES
        node.mode = self.limits.modes[index]
        node.room = self.limits.room[index]
        node.largest_input, node.struck_input = self.limits.inputs[index]
        node.largest_weight = max(1, int(np.abs(weight).max()))
        if node.groups == 1:
            packed = np.zeros((*weight.shape[2:], weight.shape[1], node.padded), dtype=np.int16)
            packed[..., : value.channels] = weight[:, :, :, ::-1].transpose(2, 3, 1, 0)
            packed = packed.transpose(0, 2, 1, 3)  # [ky][c][kx reversed][n]
            if abs(weight.min() + 0.5) < 128 and weight.max() < 128:
                node.packed = kept.array(packed.astype(np.int8))
            else:
                node.packed16 = kept.array(packed)
        node.weight = kept.array(weight.reshape(-1).astype(np.int32))
        node.bias = kept.array(layer.bias.astype(np.int64))
        node.bias_by_m = layer.bias.ndim == 2
        node.bias_at_load = arithmetic.bias_in == "load"
        node.inner, node.outer = format_of(arithmetic.inner), format_of(arithmetic.outer)
        node.splits = kept.array(np.array(arithmetic.splits, dtype=np.int64))
        node.segments = len(arithmetic.splits)
        if arithmetic.order is not None:
            node.order = kept.array(arithmetic.order.astype(np.int64))
        node.readout = requantise_of(arithmetic.readout, value.channels, kept)
        if node.mode != BY_TERMS:
            samples = len(self.golden.samples)
            elements = value.pixels * value.channels
            node.sums = kept.array(np.zeros(samples * elements + LANES, dtype=np.int32))

    # -- all of it

    def plan(self) -> Plan:
        """The finished plan."""
        network = self.network
        values = self.values + self.more
        at = largest = 0
        for value in values:
            value.at = at
            size = value.pixels * value.channels
            at += (size + LANES) * (4 if value.wide else 2) + 64 & ~63
            largest = max(largest, value.pixels * (-(-value.channels // LANES) * LANES))
        node_of = np.zeros(len(self.values), dtype=np.int64)
        for i, node in enumerate(self.nodes):
            if node.out < len(self.values):
                node_of[node.out] = i
        last = network.layers[-1].name
        positions = self.elements(self.values[-1], network.shapes[last]).ravel()
        kept = self.kept
        c = CPlan(
            nodes=len(self.nodes),
            values=len(values),
            layers=len(self.values),
            classes=len(positions),
            samples=len(self.golden.samples),
            bytes=at,
            largest=largest,
            node=kept.structures(list(self.nodes), CNode),
            value=kept.structures(list(values), CValue),
            node_of=kept.array(node_of),
            positions=kept.array(positions.astype(np.int64)),
        )
        macs = [network.mac_shape(x.name) if is_mac(x) else (0, 0, 0) for x in network]
        bare = [is_mac(x) and getattr(x, "requantise", None) is None for x in network]
        return Plan(
            c=c,
            kept=kept,
            most_excess=self.limits.most_excess,
            most_carried=self.limits.most_carried,
            ranges=self.limits.ranges,
            sums_only=np.array([*bare[:-1], False]),
            terms=np.array([k for _, k, _ in macs], dtype=np.int64),
            products=sum(m * k * n for m, k, n in macs),
        )
