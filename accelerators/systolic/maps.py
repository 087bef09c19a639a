"""Feature maps of a network on a systolic array: their codes, when they are read, where they stand.

Layers with weights run one after the other; slot q is the time of the q-th, boundary q the instant
at which it begins. Layers without weights run at a boundary and take no time: what one of them, or
a layer with weights, hands to another at the same boundary does not pass through memory. A map
that is read later is written to activation_sram at its boundary, at the lowest free place that is
large enough (maps in the network's order), and keeps it until its last reader is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from accelerators.systolic.store import Store
from codesign.errors import CapacityError, MappingError
from codesign.formats import Requantise
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Flatten,
    Input,
    Layer,
    MaxPool2d,
    NetworkGraph,
    Pad,
    Slice,
    is_mac,
)

__all__ = ["FeatureMap", "code_ranges", "feature_maps"]

Range = tuple[int, int] | None  # None: a sum of no stated range


@dataclass(frozen=True)
class FeatureMap:
    """A layer's output in the activation memory.

    Attributes:
        name: Of the layer.
        index: Of the layer in the network.
        size: Elements.
        signed: Whether its codes are two's complement.
        first_word: Where it begins.
        written: Boundary at which it is written.
        freed: Boundary at which its last reader is done.
        readers: (index of the reading layer, its slot or boundary, whether it has weights).
    """

    name: str
    index: int
    size: int
    signed: bool
    first_word: int
    written: int
    freed: int
    readers: tuple[tuple[int, int, bool], ...]


def code_ranges(network: NetworkGraph) -> dict[str, Range]:
    """Smallest and largest code each layer can give, as far as its definition says so."""
    found: dict[str, Range] = {}
    for layer in network:
        found[layer.name] = _range(layer, [found[edge.source] for edge in layer.inputs])
    return found


def feature_maps(
    network: NetworkGraph, store: Store, *, always_signed: bool = False
) -> tuple[FeatureMap, ...]:
    """The maps that pass through a memory.

    Args:
        network: Whose maps.
        store: The memory's geometry.
        always_signed: The array reads all codes as two's complement.

    Raises:
        MappingError: A map holds codes that do not fit an element.
        CapacityError: The maps alive at one time do not fit.
    """
    ranges, placed = code_ranges(network), list[FeatureMap]()
    for index, layer in enumerate(network.layers):
        written, readers = _boundary(network, index), tuple(_readers(network, index))
        freed = max((at + has_weights for _, at, has_weights in readers), default=written)
        if freed == written:
            continue
        signed = _is_signed(network, layer.name, ranges[layer.name], store.width, always_signed)
        size = prod(network.shapes[layer.name])
        alive = [x for x in placed if x.freed > written]
        needed = store.words_for(size)
        first = _lowest(alive, needed, store)
        if first + needed > store.words:
            raise CapacityError(
                f"activation_sram: the output of {layer.name} needs {needed} words beside "
                f"{len(alive)} other maps, of {store.words} in all; a larger activation_sram helps"
            )
        placed.append(FeatureMap(layer.name, index, size, signed, first, written, freed, readers))
    return tuple(placed)


def _boundary(network: NetworkGraph, index: int) -> int:
    """When a layer's output is there: the boundary after the layers with weights up to it."""
    return sum(is_mac(layer) for layer in network.layers[: index + 1])


def _readers(network: NetworkGraph, index: int) -> Iterator[tuple[int, int, bool]]:
    """Readers that get the map through memory."""
    written = _boundary(network, index)
    for name in network.readers(network.layers[index].name):
        reader = network.index(name)
        before = sum(is_mac(layer) for layer in network.layers[:reader])
        if is_mac(network.layers[reader]) or before > written:
            yield reader, before, is_mac(network.layers[reader])


def _lowest(alive: list[FeatureMap], words: int, store: Store) -> int:
    at = 0
    for other in sorted(alive, key=lambda x: x.first_word):
        if at + words <= other.first_word:
            break
        at = max(at, other.first_word + store.words_for(other.size))
    return at


def _is_signed(network: NetworkGraph, name: str, codes: Range, bits: int, always: bool) -> bool:
    """Whether the codes of a map need a sign; refuses codes wider than an element."""
    if codes is not None and codes[0] >= 0 and codes[1] < 1 << bits and not always:
        return False
    if codes is not None and -(1 << (bits - 1)) <= codes[0] and codes[1] < 1 << (bits - 1):
        return True
    came = "sums that are not requantised" if codes is None else f"codes {codes[0]}..{codes[1]}"
    raise MappingError(
        f"{network.name}: {name} gives {came} to be stored and read by the array; an element has "
        f"{bits} bits{', one of them a sign' if always else ''}: requantise {name} to fit"
    )


def _range(layer: Layer, incoming: list[Range]) -> Range:
    q = getattr(layer, "requantise", None)
    if isinstance(layer, Input):
        return layer.format.low, layer.format.high
    if isinstance(q, Requantise):
        return q.low, q.high
    if any(r is None for r in incoming):
        return None
    known = [r for r in incoming if r is not None]
    if isinstance(layer, Concat):
        after = [
            r if q is None else (q.low, q.high)
            for q, r in zip(layer.requantise, known, strict=True)
        ]
        return min(r[0] for r in after), max(r[1] for r in after)
    if isinstance(layer, Add):
        pairs = list(zip(layer.multipliers, known, strict=True))
        return sum(k * r[0] for k, r in pairs), sum(k * r[1] for k, r in pairs)
    if isinstance(layer, AvgPool2d):
        area = prod(layer.kernel)
        return min(known[0][0], 0) * area, max(known[0][1], 0) * area
    if isinstance(layer, Pad):
        return min(known[0][0], 0), max(known[0][1], 0)
    if isinstance(layer, MaxPool2d | Flatten | Slice):
        return known[0]
    return None
