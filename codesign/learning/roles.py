"""The role of each layer in an integer network: what its output is, and which codes it can be."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from codesign.learning.settings import Quantisation
from codesign.learning.skeleton import Skeleton, receivers
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Flatten,
    Input,
    Layer,
    Lif,
    MaxPool2d,
    Pad,
    Slice,
    is_mac,
)

__all__ = ["Role", "code_ends", "roles"]

_SUMS_PASS = (MaxPool2d, AvgPool2d, Flatten, Slice, Pad, Add)


@dataclass(frozen=True)
class Role:
    """What a layer's output is.

    Attributes:
        rule: ``sum``: wide sums, for only neurons or nobody inside the network read them;
            ``codes``: requantised to a range that samples fill; ``average``: a window's mean on
            its input's scale; ``whole``: plain sums, small enough to be codes; ``clip``: a clip
            and nothing else; ``join``: a concatenation; ``pass``: codes as they came, or spikes.
        low, high: Smallest and largest code; of sums, zeros.
        grid: Two layers with equal grids have equal scales.
    """

    rule: Literal["sum", "codes", "average", "whole", "clip", "join", "pass"]
    low: int
    high: int
    grid: tuple[object, ...]


def code_ends(signed: bool, bits: int) -> tuple[int, int]:
    """Smallest and largest activation code.

    >>> code_ends(False, 8), code_ends(True, 8)
    ((0, 255), (-128, 127))
    """
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def roles(skeleton: Skeleton, quantisation: Quantisation) -> dict[str, Role]:
    """The role of every layer by name."""
    sums = _sums(skeleton)
    found: dict[str, Role] = {}
    for layer in skeleton.graph:
        incoming = [found[e.source] for e in layer.inputs if e.source in found]
        if layer.name in sums:
            found[layer.name] = Role("sum", 0, 0, (layer.name,))
        else:
            clip = skeleton.clip(layer.name)
            found[layer.name] = _role(skeleton, layer, incoming, clip, quantisation.activation_bits)
    return found


def _sums(skeleton: Skeleton) -> set[str]:
    """Layers whose output stays a sum."""
    found: set[str] = set()
    for layer in reversed(skeleton.graph.layers):
        to_sums = all(
            isinstance(x, Lif) or (isinstance(x, _SUMS_PASS) and x.name in found)
            for x in receivers(skeleton.graph, layer.name)
        )
        can = is_mac(layer) or isinstance(layer, _SUMS_PASS)
        if can and to_sums and layer.name not in skeleton.clips:
            found.add(layer.name)
    return found


def _role(
    skeleton: Skeleton, layer: Layer, incoming: list[Role], clip: tuple[float, float], bits: int
) -> Role:
    own = (layer.name,)
    if isinstance(layer, Input):
        return Role("pass", layer.format.low, layer.format.high, own)
    if isinstance(layer, Lif):
        return Role("pass", 0, 1, ("spikes", skeleton.neurons[layer.name].factor))
    if is_mac(layer):
        return Role("codes", *code_ends(clip[0] < 0, bits), own)
    low, high = min(x.low for x in incoming), max(x.high for x in incoming)
    floor = low if clip[0] < 0 else max(low, 0)
    if isinstance(layer, AvgPool2d | Add):
        area = layer.kernel[0] * layer.kernel[1] if isinstance(layer, AvgPool2d) else len(incoming)
        return _summed(layer, incoming, (low, high), floor, area, bits, clip)
    if isinstance(layer, Concat):
        if len({x.grid for x in incoming}) == 1:
            return Role("join", low, high, incoming[0].grid)
        return Role("join", *code_ends(low < 0, bits), own)
    if not isinstance(layer, MaxPool2d):
        low = min(low, 0)
    return Role("pass", low, high, incoming[0].grid)


def _summed(
    layer: AvgPool2d | Add,
    incoming: list[Role],
    span: tuple[int, int],
    floor: int,
    area: int,
    bits: int,
    clip: tuple[float, float],
) -> Role:
    """The role of a pooling by mean or an addition, of values within ``span``."""
    low, high = span
    one_grid, own = len({x.grid for x in incoming}) == 1, (layer.name,)
    if isinstance(layer, Add) and area == 1:
        return Role("clip", floor, high, incoming[0].grid)
    ends = code_ends(low < 0, bits)
    fits = ends[0] <= low * area and high * area <= ends[1]
    if one_grid and fits and clip[1] == inf and (clip[0] < 0 or low >= 0):
        grid = (*incoming[0].grid, area) if isinstance(layer, AvgPool2d) else incoming[0].grid
        return Role("whole", low * area, high * area, grid)
    if isinstance(layer, AvgPool2d):
        return Role("average", floor, high, incoming[0].grid)
    return Role("codes", *code_ends(low < 0 and clip[0] < 0, bits), own)
