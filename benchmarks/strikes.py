"""What one trial's effects do to the tensors of a full forward pass, written here once more.

Shares no code with the engines: with it a full forward pass is their oracle. It knows the effects
that `benchmarks.mixes` draws, and refuses others.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from codesign.effects import At, Kind, Op
from codesign.network import NetworkGraph

__all__ = ["Element", "Strike", "strike_of", "xor"]


@dataclass(frozen=True, eq=False)
class Element:
    """Bits of one or many elements of a layer, by flat index.

    Attributes:
        flat: ``[elements]`` int64.
        mask: ``[elements]`` int64, bits struck.
        level: ``[elements]`` int64, what stuck bits hold; None if they flip.
        bits: Width of the place.
        signed: Whether it is two's complement.
        samples: ``[elements, 2]`` first and last + 1 sample struck, or None for all.
        steps: (first, last + 1), last -1 for the end.
    """

    flat: Tensor
    mask: Tensor
    level: Tensor | None
    bits: int
    signed: bool
    samples: Tensor | None
    steps: tuple[int, int]

    def applied(self, values: Tensor) -> Tensor:
        """Struck values ``[samples, elements]``, in their type; all samples."""
        return corrupted(values, self.mask, self.level, self.bits, self.signed)

    def strike_(self, values: Tensor, first: int) -> None:
        """Strike values ``[samples, ...]`` in place; the first row is sample ``first``."""
        table = values.view(len(values), -1)
        if self.samples is None:
            table[:, self.flat] = self.applied(table[:, self.flat])
            return
        rows = self.samples[:, 0] - first
        here = (rows >= 0) & (rows < len(values))
        at = rows[here], self.flat[here]
        level = None if self.level is None else self.level[here]
        table[at] = corrupted(table[at], self.mask[here], level, self.bits, self.signed)


@dataclass(frozen=True, eq=False)
class Strike:
    """One trial's effects by layer.

    Attributes:
        weights: (flat index, mask) of struck weights, all of 8 bits or fewer, by layer.
        weight_bits: Width of a layer's weights.
        sums: Of finished sums.
        stored: Of stored codes.
        membranes: Of membranes.
        thresholds: Of thresholds, one a neuron.
        fires: (flat index, 0 or 1) of neurons that never or always fire.
    """

    weights: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    weight_bits: dict[str, int] = field(default_factory=dict)
    sums: dict[str, list[Element]] = field(default_factory=dict)
    stored: dict[str, list[Element]] = field(default_factory=dict)
    membranes: dict[str, list[Element]] = field(default_factory=dict)
    thresholds: dict[str, list[Element]] = field(default_factory=dict)
    fires: dict[str, list[tuple[Tensor, int]]] = field(default_factory=dict)


GROUPS = {
    (Kind.accumulator, At.total): "sums",
    (Kind.activation, At.stored): "stored",
    (Kind.state, At.cell): "membranes",
    (Kind.parameter, At.threshold): "thresholds",
}


def strike_of(rows: np.ndarray, network: NetworkGraph) -> Strike:
    """One trial's rows as tensors; in Python once per layer, place and window, not per row."""
    found = Strike()
    groups: dict[str, dict[str, list]] = {
        name: defaultdict(list) for name in (*GROUPS.values(), "fires")
    }
    places = (rows["layer"].astype(np.int64) * 32 + rows["kind"]) * 32 + rows["at"]
    for place in np.unique(places).tolist():
        part = rows[places == place]
        layer, where = network.layers[place >> 10], (Kind(place >> 5 & 31), At(place & 31))
        if where == (Kind.operand, At.weight):
            terms = network.mac_shape(layer.name)[1]
            flat = part["n"][:, 0] * terms + part["k"][:, 0]
            _require((part["op"] == Op.xor).all() and len(set(part["bits"].tolist())) == 1)
            found.weights[layer.name] = _tensor(flat), _tensor(part["mask"])
            found.weight_bits[layer.name] = int(part["bits"][0])
            continue
        positions, channels = network.grid(layer.name)
        by_m = network.element(layer.name, 1, 0) if positions > 1 else 0
        by_n = network.element(layer.name, 0, 1) if channels > 1 else 0
        flat = part["m"][:, 0] * by_m + part["n"][:, 0] * by_n
        if where == (Kind.operation, At.fire):
            _require(len(part) == 1)
            level = int(part["op"][0] == Op.always)
            groups["fires"][layer.name].append((_tensor(flat), level))
            continue
        _require(where in GROUPS)
        groups[GROUPS[where]][layer.name] += _elements(part, flat)
    for name, by_layer in groups.items():
        getattr(found, name).update(by_layer)
    return found


def xor(values: Tensor, mask: Tensor, bits: int, signed: bool) -> Tensor:
    """Values whose bits flip, in their type.

    >>> xor(torch.tensor([0.0, -128.0]), torch.tensor([128, 128]), 8, True).tolist()
    [-128.0, 0.0]
    """
    return corrupted(values, mask, None, bits, signed)


def corrupted(
    values: Tensor, mask: Tensor, level: Tensor | None, bits: int, signed: bool
) -> Tensor:
    """Values of a place after flips, or with bits stuck at a level."""
    pattern = values.to(torch.int64) & ((1 << bits) - 1)
    pattern = pattern ^ mask if level is None else (pattern & ~mask) | (level & mask)
    if signed:
        sign = 1 << (bits - 1)
        pattern = (pattern ^ sign) - sign
    return pattern.to(values.dtype)


def _elements(part: np.ndarray, flat: np.ndarray) -> list[Element]:
    """Elements of one layer and place; all share an operation, a width and a window of steps."""
    alike = all((part[name] == part[name][0]).all() for name in ("op", "bits", "signed", "steps"))
    _require(alike and int(part["op"][0]) in (Op.xor, Op.stuck))
    samples = part["samples"]
    whole = bool((samples[:, 0] == 0).all() and (samples[:, 1] == -1).all())
    _require(whole or bool((samples[:, 1] - samples[:, 0] == 1).all()))
    level = _tensor(part["value"]) if part["op"][0] == Op.stuck else None
    first, last = (int(x) for x in part["steps"][0])
    made = Element(
        _tensor(flat),
        _tensor(part["mask"]),
        level,
        int(part["bits"][0]),
        bool(part["signed"][0]),
        None if whole else _tensor(samples),
        (first, last),
    )
    return [made]


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.int64))


def _require(known: bool) -> None:
    if not known:
        raise NotImplementedError("an effect that no mix of the benchmarks draws")
