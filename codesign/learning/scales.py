"""From real numbers to the integers of each layer: scales, multipliers, thresholds, leaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor, inf, isfinite, log2

import numpy as np
from numpy.typing import NDArray

from codesign.errors import LoweringError
from codesign.formats import NumberFormat, Requantise
from codesign.learning.roles import Role
from codesign.learning.settings import Quantisation
from codesign.learning.skeleton import TRANSPARENT, Skeleton, receivers
from codesign.network import Add, AvgPool2d, Concat, Conv2d, Layer, Leak, Lif, Linear, is_mac

__all__ = ["Numbers", "numbers_of", "ratio_to_integers", "weight_limit"]

Array = NDArray[np.float64]

SMALLEST_CHANNEL = 2.0**-8  # of the largest channel's weight scale: below, multipliers have no bits
BIAS_BITS = 32
CURRENT_STEPS = 64  # units of a sum of unlike values in the finest of them
THRESHOLD_STEPS = 256  # units of a sum of values that are no weighted sums in a threshold, at least


@dataclass(frozen=True, eq=False)
class Numbers:
    """The integers of one layer, and the scales behind them.

    Attributes:
        scale: Real value of one code (or one unit of a sum) of the output.
        weight_scale: ``[]`` or ``[n]`` real value of one weight code.
        sum_scale: ``[]`` or ``[n]`` real value of one unit of the sum.
        requantise: Of the output; of a concatenation, one for each input.
        multipliers: Of an addition's inputs.
        threshold: ``[]`` or ``[n]`` of neurons.
        leak: Of neurons.
    """

    scale: float
    weight_scale: Array = field(default_factory=lambda: np.ones(()))
    sum_scale: Array = field(default_factory=lambda: np.ones(()))
    requantise: tuple[Requantise | None, ...] = (None,)
    multipliers: tuple[int, ...] = ()
    threshold: NDArray[np.int64] = field(default_factory=lambda: np.ones((), dtype=np.int64))
    leak: Leak = Leak()


def weight_limit(quantisation: Quantisation) -> int:
    """Largest weight code: the format's largest, less the headroom.

    >>> weight_limit(Quantisation(weight_bits=8, weight_headroom_bits=1))
    63
    """
    limit = ((1 << (quantisation.weight_bits - 1)) - 1) >> quantisation.weight_headroom_bits
    if limit < 1:
        raise LoweringError(
            f"weights of {quantisation.weight_bits} bits with {quantisation.weight_headroom_bits} "
            "bits of headroom have no code but 0; use more weight_bits or less headroom"
        )
    return limit


def ratio_to_integers(ratio: Array | float, where: str) -> tuple[NDArray[np.int64], int]:
    """Multipliers below 2**15 and one shift: ``multiplier / 2**shift`` is nearest to the ratios.

    >>> ratio_to_integers(0.25, "x")
    (array(16384), 16)
    """
    ratios = np.asarray(ratio, dtype=np.float64)
    top = float(ratios.max())
    if not (top > 0 and isfinite(top)):
        raise LoweringError(f"{where}: a requantisation by {top}; are all weights finite?")
    shift = 14 - floor(log2(top))
    if np.rint(top * 2.0**shift) >= 1 << 15:
        shift -= 1
    if not 0 <= shift <= 47:
        raise LoweringError(
            f"{where}: a requantisation by {top:.3g} is beyond a 15-bit multiplier and a shift of "
            "0 to 47; its weights are extremely large or small against its activations"
        )
    return np.asarray(np.rint(ratios * 2.0**shift), dtype=np.int64), shift


def numbers_of(
    skeleton: Skeleton,
    roles: dict[str, Role],
    quantisation: Quantisation,
    peaks: dict[str, Array],
    ranges: dict[str, float],
) -> dict[str, Numbers]:
    """The integers of every layer.

    Args:
        skeleton: The network.
        roles: Of its layers.
        quantisation: Widths.
        peaks: ``[n]`` largest |weight| of each output channel, by layer.
        ranges: Largest real activation, by layer with the role ``codes``.

    Raises:
        LoweringError: A number does not fit its place: which layer, and what to change.
    """
    return _Scaling(skeleton, roles, quantisation, peaks, ranges).all()


class _Scaling:
    """Walks the layers in order; later layers need the scales of earlier ones."""

    def __init__(
        self,
        skeleton: Skeleton,
        roles: dict[str, Role],
        quantisation: Quantisation,
        peaks: dict[str, Array],
        ranges: dict[str, float],
    ) -> None:
        self.skeleton, self.roles, self.quantisation = skeleton, roles, quantisation
        self.peaks, self.ranges = peaks, ranges
        self.limit = weight_limit(quantisation)
        self.found: dict[str, Numbers] = {}
        self.shared: dict[str, float] = {}  # sum scale of layers that feed the same neurons

    def all(self) -> dict[str, Numbers]:
        graph = self.skeleton.graph
        self.found[graph.layers[0].name] = Numbers(self._input_scale())
        for layer in graph.layers[1:]:
            self.found[layer.name] = self._layer(layer)
        for lif in [x for x in graph if isinstance(x, Lif)]:
            self.found[lif.name] = self._neurons(lif)
        return self.found

    def _input_scale(self) -> float:
        coding = self.skeleton.graph.coding
        return coding.scale if coding.kind == "direct" else 1.0

    def _layer(self, layer: Layer) -> Numbers:
        if isinstance(layer, Lif):  # its threshold waits for the currents, which may be recurrent
            return Numbers(self.skeleton.neurons[layer.name].factor)
        role = self.roles[layer.name]
        scales = [self.found[edge.source].scale for edge in layer.inputs]
        if isinstance(layer, Conv2d | Linear):
            return self._mac(layer, role, scales[0])
        if isinstance(layer, AvgPool2d):
            area = layer.kernel[0] * layer.kernel[1]
            if role.rule in ("sum", "whole"):
                return Numbers(scales[0] / area)
            return Numbers(scales[0], requantise=(self._by(1 / area, layer, role, scales[0]),))
        if isinstance(layer, Add):
            return self._add(layer, role, scales)
        if isinstance(layer, Concat):
            return self._concat(layer, role, scales)
        return Numbers(scales[0])

    def _by(self, ratio: Array | float, layer: Layer, role: Role, scale: float) -> Requantise:
        """Requantisation by a ratio to codes of a role on a scale."""
        multiplier, shift = ratio_to_integers(ratio, f"layer {layer.name!r}")
        low, high = self._ends(layer, role, scale)
        value = multiplier if multiplier.ndim else int(multiplier)
        return Requantise(value, shift, low, high)

    def _ends(self, layer: Layer, role: Role, scale: float) -> tuple[int, int]:
        low, high = self.skeleton.clip(layer.name)
        first = role.low if low == -inf else max(role.low, round(low / scale))
        last = role.high if high == inf else min(role.high, round(high / scale))
        return first, max(last, 1)

    def _code_scale(self, layer: Layer, role: Role, natural: float) -> float:
        """Real value of one code, so that the range is filled; ``natural`` where nothing came."""
        low, high = self.skeleton.clip(layer.name)
        widest = max(high, -low) if low > -inf else high
        top = min(self.ranges[layer.name], widest)
        return top / role.high if top > 0 else natural

    # -- multiply-accumulate layers

    def _mac(self, layer: Conv2d | Linear, role: Role, scale: float) -> Numbers:
        peak = self.peaks[layer.name]
        largest = float(peak.max()) or 1.0
        if role.rule == "sum":
            unit = self._sum_scale(layer, scale * largest / self.limit)
            return Numbers(unit, np.asarray(unit / scale), np.asarray(unit))
        weight = np.asarray(largest / self.limit)
        if self.quantisation.per_channel:
            weight = np.maximum(peak, largest * SMALLEST_CHANNEL) / self.limit
        total = np.asarray(scale * weight)
        code = self._code_scale(layer, role, float(total.max()))
        return Numbers(code, weight, total, (self._by(total / code, layer, role, code),))

    def _sum_scale(self, layer: Layer, least: float) -> float:
        """Real value of one unit of a sum, at least so much that the weights fit.

        Of layers that feed spiking neurons, chosen so that the threshold is a whole number of
        units, and equal for layers that feed the same neurons.
        """
        if layer.name in self.shared:
            return self.shared[layer.name]
        lif, gain = self._reached(layer)
        if lif is None:
            return least
        together = [x for x in map(self._origin, (e.source for e in lif.inputs)) if x is not None]
        for other in together:
            before = self._scale_of(other.inputs[0].source)
            least = max(least, before * float(self.peaks[other.name].max()) / self.limit)
        threshold = self.skeleton.neurons[lif.name].threshold
        if threshold.ndim == 0:
            goal = float(threshold) * gain
            least = goal / max(floor(goal / least), 1) if goal / least >= 1 else least
        self.shared.update({other.name: least for other in together})
        return least

    def _scale_of(self, name: str) -> float:
        """Scale of a layer's output, which of a recurrent layer's input comes later: spikes."""
        layer = self.skeleton.graph[name]
        while layer.name not in self.found and type(layer).__name__ in TRANSPARENT:
            layer = self.skeleton.graph[layer.inputs[0].source]
        known = self.found.get(layer.name)
        return known.scale if known else self.skeleton.neurons[layer.name].factor

    def _reached(self, layer: Layer) -> tuple[Lif | None, int]:
        """The one spiking layer that a sum is for, and how many of its units a neuron's unit is."""
        gain = 1
        while True:
            readers = receivers(self.skeleton.graph, layer.name)
            if len(readers) != 1:
                return None, gain
            layer = readers[0]
            if isinstance(layer, Lif):
                return layer, gain
            if isinstance(layer, AvgPool2d):
                gain *= layer.kernel[0] * layer.kernel[1]
            elif type(layer).__name__ not in TRANSPARENT:
                return None, gain

    def _origin(self, name: str) -> Layer | None:
        """The multiply-accumulate layer that a current comes from through plain layers."""
        layer = self.skeleton.graph[name]
        while not is_mac(layer) and (
            type(layer).__name__ in TRANSPARENT or isinstance(layer, AvgPool2d)
        ):
            layer = self.skeleton.graph[layer.inputs[0].source]
        return layer if is_mac(layer) else None

    # -- layers that join

    def _add(self, layer: Add, role: Role, scales: list[float]) -> Numbers:
        if role.rule == "clip":
            low, high = self._ends(layer, role, scales[0])
            only = Requantise(1, 0, low, high)
            return Numbers(scales[0], requantise=(only,), multipliers=(1,))
        if role.rule == "whole":
            return Numbers(scales[0], multipliers=(1,) * len(scales))
        if role.rule == "sum":
            unit = min(scales) / self._steps(layer, scales)
            parts = np.rint(np.asarray(scales) / unit).astype(np.int64)
            return Numbers(unit, multipliers=tuple(parts.tolist()))
        code = self._code_scale(layer, role, max(scales))
        parts, shift = ratio_to_integers(np.asarray(scales) / code, f"layer {layer.name!r}")
        low, high = self._ends(layer, role, code)
        only = Requantise(1, shift, low, high)
        return Numbers(code, requantise=(only,), multipliers=tuple(parts.tolist()))

    def _steps(self, layer: Add, scales: list[float]) -> int:
        """Units of a sum in its finest input, so that ratios and a threshold are near enough."""
        spread = max(scales) / min(scales)
        if spread >= 1 << 14:
            raise LoweringError(
                f"layer {layer.name!r} adds values whose scales differ {spread:.0f} times; put a "
                "convolution or linear layer before the smaller one"
            )
        wanted = 1 if len(set(scales)) == 1 else CURRENT_STEPS
        lif, gain = self._reached(layer)
        if lif is not None:
            threshold = float(self.skeleton.neurons[lif.name].threshold.min())
            wanted = max(wanted, ceil(THRESHOLD_STEPS * min(scales) / (threshold * gain)))
        return min(wanted, floor((1 << 14) / spread))

    def _concat(self, layer: Concat, role: Role, scales: list[float]) -> Numbers:
        incoming = [self.roles[edge.source] for edge in layer.inputs]
        if len(set(scales)) == 1:
            return Numbers(scales[0], requantise=(None,) * len(scales))
        code = max(s * x.high for s, x in zip(scales, incoming, strict=True)) / role.high
        each = tuple(None if s == code else self._by(s / code, layer, role, code) for s in scales)
        return Numbers(code, requantise=each)

    # -- neurons

    def _neurons(self, lif: Lif) -> Numbers:
        neuron = self.skeleton.neurons[lif.name]
        # Where there are several currents, `_sum_scale` has given them one scale.
        unit = self.found[lif.inputs[0].source].scale
        threshold = np.asarray(np.rint(neuron.threshold.numpy() / unit), dtype=np.int64)
        form = NumberFormat(self.quantisation.membrane_bits)
        if threshold.min() < 1 or threshold.max() > form.high:
            raise LoweringError(
                f"layer {lif.name!r}: a threshold of {int(threshold.max())} units of the sum; "
                f"expected 1 to {form.high}, what a membrane of {form.bits} bits holds; change "
                "membrane_bits"
            )
        return Numbers(neuron.factor, threshold=threshold, leak=self._leak(neuron.beta))

    def _leak(self, beta: float) -> Leak:
        bits = self.quantisation.leak_bits
        factor = round(beta * 2**bits)
        if factor == 1 << bits:
            return Leak()
        lost = (1 << bits) - factor
        if lost & (lost - 1) == 0:  # a power of two: a shift and a subtraction, no multiplier
            return Leak("shift", bits - lost.bit_length() + 1)
        return Leak("multiply", bits, factor)
