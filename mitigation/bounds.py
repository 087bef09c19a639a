"""Bounds on weights and activations, and neurons that fire without end.

SoftSNN's bound-and-protect: Putra, Hanif, Shafique, DAC 2022 (arXiv 2203.05523); the replacement
rules after a third-party code, as the authors published none. Range restriction: Chen, Li,
Pattabiraman, DSN 2021 (Ranger, arXiv 2003.13874).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from codesign.design import Context, Design
from codesign.effects import Effects
from codesign.errors import MitigationError
from codesign.formats import NumberFormat
from codesign.guards import Clamp, Guard, Replace, Silence, crossing_share
from codesign.network import Add, AvgPool2d, Conv2d, Layer, Lif, Linear, is_mac

__all__ = ["BoundAndProtect", "RangeRestriction"]


@dataclass(frozen=True)
class BoundAndProtect:
    """SoftSNN's BnP: weights outside the clean maximum are replaced; neurons that run away are cut.

    The bound is the largest clean magnitude of each layer's weights, compared strictly, so that a
    golden network is unchanged. It only helps where flips can leave it: quantise with
    ``weight_headroom_bits`` of at least 1.

    Attributes:
        variant: 1 replaces by 0, 2 by the bound, 3 by a representative clean weight (by its
            magnitude where the sign is kept).
        keep_sign: Replace what is below the bound by the negative (the paper's weights are not
            negative; ours are signed).
        representative: Of variant 3: the ``median`` or the ``mode`` of the clean weights.
        neuron_protection: Cut neurons that fire in several steps in a row.
        after: Steps in a row; golden neurons may do so too, and the golden accuracy shows it.
    """

    variant: Literal[1, 2, 3] = 1
    keep_sign: bool = True
    representative: Literal["median", "mode"] = "median"
    neuron_protection: bool = True
    after: int = 2

    def apply(self, design: Design, context: Context) -> Design:
        """The design with a guard at every layer's weights and every neuron's output.

        Raises:
            MitigationError: No flip of any weight can leave its bound.
        """
        bounds = [self._bound(layer) for layer in design.network if is_mac(layer)]
        if all(share == 0 for _, share in bounds):
            raise MitigationError(
                f"{type(self).__name__} on {design.name}: no flip of any weight leaves its bound; "
                "quantise with weight_headroom_bits of at least 1"
            )
        guards: list[Guard] = [guard for guard, _ in bounds]
        if self.neuron_protection:
            neurons = [layer.name for layer in design.network if isinstance(layer, Lif)]
            guards += [Silence(name, self.after) for name in neurons]
        return design.guarded(*guards, name=f"{design.name} + BnP{self.variant}")

    def _bound(self, layer: Layer) -> tuple[Guard, float]:
        assert isinstance(layer, Conv2d | Linear)
        bound = int(np.abs(layer.weight).max())
        typical = self._typical(layer)
        if self.keep_sign:
            typical = abs(typical)  # what is above the bound stays positive, what is below negative
        value = {1: 0, 2: bound, 3: typical}[self.variant]
        guard = Replace(layer.name, "weight", -bound, bound, value, self.keep_sign)
        return guard, crossing_share(layer.weight, layer.weight_format, -bound, bound)

    def _typical(self, layer: Conv2d | Linear) -> int:
        if self.representative == "median":
            return int(np.median(layer.weight))
        values, counts = np.unique(layer.weight, return_counts=True)
        return int(values[counts.argmax()])


@dataclass(frozen=True)
class RangeRestriction:
    """Activations are clamped to the range that calibration samples showed (Ranger).

    Attributes:
        percentile: Of each layer's non-zero golden codes, taken as the upper limit; 100 is the
            maximum. A limit at the top of the requantisation clamp could catch nothing.
    """

    percentile: float = 99.9

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise MitigationError(f"percentile={self.percentile} is not in (0, 100]")

    def apply(self, design: Design, context: Context) -> Design:
        """The design with a clamp behind every layer whose codes are not negative (a ReLU).

        Raises:
            MitigationError: No layer has such codes, or no flip can leave any limit.
        """
        from codesign.engine import dense

        layers = [layer for layer in design.network if _is_rectified(layer)]
        if not layers:
            raise MitigationError(f"RangeRestriction on {design.name}: no layer ends in a ReLU")
        samples = design.network.coding.apply(context.calibration)
        bare = replace(design.layered("RangeRestriction"), guards=())
        names = tuple(layer.name for layer in layers)
        seen = dense.evaluate(bare, samples, Effects.none(1), watch=names).watched
        limits = {name: _limit(seen[name], self.percentile) for name in names}
        shares = [
            crossing_share(np.arange(limit + 1), _stored(layer), 0, limit)
            for layer, limit in zip(layers, limits.values(), strict=True)
        ]
        if all(share == 0 for share in shares):
            raise MitigationError(
                f"RangeRestriction on {design.name}: every limit is the largest code that can be "
                "stored, so nothing can leave it; lower percentile or activation_bits"
            )
        guards = [Clamp(name, "activation", 0, limit) for name, limit in limits.items()]
        return design.guarded(*guards, name=f"{design.name} + range restriction")


def _is_rectified(layer: Layer) -> bool:
    if not isinstance(layer, Conv2d | Linear | Add | AvgPool2d):
        return False
    return layer.requantise is not None and layer.requantise.low == 0


def _limit(codes: np.ndarray, percentile: float) -> int:
    alive = codes[codes > 0]
    return int(np.ceil(np.percentile(alive, percentile))) if alive.size else 0


def _stored(layer: Layer) -> NumberFormat:
    """A stored activation has eight bits (or more, where its codes need them)."""
    assert isinstance(layer, Conv2d | Linear | Add | AvgPool2d)
    assert layer.requantise is not None
    return NumberFormat(max(8, layer.requantise.high.bit_length()), signed=False)
