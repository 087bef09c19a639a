"""Requantisation in float32, proved exact for a channel before it is used there.

``floor(sum * multiplier + offset)`` in float32 rounds twice. But it never decreases with the sum,
and neither does the rule in integers, so both agree everywhere if they agree at each code's
smallest sum and one below it: that is tried. Channels that fail are done in float64.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.formats import Requantise

__all__ = ["FLOAT32_INTEGERS", "Rounder"]

FLOAT32_INTEGERS = 1 << 24
ULPS = 24  # of the multiplier, tried on both sides of the nearest
OFFSETS = {"half_up": 0.5, "floor": 0.0}

Ints = NDArray[np.int64]
Floats = tuple[float, float]  # multiplier and offset


class Rounder:
    """One layer's requantisation of sums below 2**24 in size, in place.

    Args:
        rule: In integers.
        channels: Of the layer.
        axes: Dimensions of the sums, samples included; channels are axis 1.
        exact: False for float32 in all channels, which is cheaper and one off in a few codes of a
            million.

    Attributes:
        slow: Channels that need float64.

    Raises:
        NotImplementedError: A rounding that no lowered network has.
    """

    def __init__(self, rule: Requantise, channels: int, axes: int, *, exact: bool = True) -> None:
        if rule.rounding not in OFFSETS:
            raise NotImplementedError(f"a forward that rounds {rule.rounding}")
        each = np.broadcast_to(np.asarray(rule.multiplier, dtype=np.int64), (channels,))
        offset = OFFSETS[rule.rounding]
        plain = {int(m): (float(m) * 2.0**-rule.shift, offset) for m in np.unique(each)}
        known = {m: _floats(m, rule) for m in plain} if exact else plain
        slow = [i for i, m in enumerate(each.tolist()) if known[m] is None]
        shape = (1, channels) + (1,) * (axes - 2)
        table = torch.tensor([known[m] or plain[m] for m in each.tolist()], dtype=torch.float32)
        self.low, self.high = rule.low, rule.high
        self.multiplier = table[:, 0].reshape(shape).clone()
        self.offset: Tensor | float = table[:, 1].reshape(shape).clone()
        if bool((table[:, 1] == offset).all()):
            self.offset = offset
        self.slow = torch.tensor(slow, dtype=torch.int64)
        self.exact = torch.tensor(each[slow] * 2.0**-rule.shift).reshape(-1, *(1,) * (axes - 2))
        self.exact_offset = offset

    def __call__(self, sums: Tensor) -> Tensor:
        """Codes of sums, which are overwritten."""
        if not len(self.slow):
            return self._fast(sums)
        exact = sums[:, self.slow].double().mul_(self.exact).add_(self.exact_offset)
        codes = exact.floor_().clamp_(self.low, self.high).float()
        self._fast(sums)[:, self.slow] = codes
        return sums

    def _fast(self, sums: Tensor) -> Tensor:
        return sums.mul_(self.multiplier).add_(self.offset).floor_().clamp_(self.low, self.high)


def _floats(multiplier: int, rule: Requantise) -> Floats | None:
    """A float32 multiplier and offset that give one channel's codes of all sums, or None."""
    offset = OFFSETS[rule.rounding]
    if multiplier == 0:
        return 0.0, offset
    codes, firsts = _firsts(multiplier, rule)
    nearest = np.float32(multiplier * 2.0**-rule.shift)
    m = (nearest.view(np.int32) + np.arange(-ULPS, ULPS + 1, dtype=np.int32)).view(np.float32)
    exact = m.astype(np.float64)[:, None]
    # The offset in the middle of what the smallest sums allow has the most room.
    above = (firsts * exact + offset - codes).min(1, initial=1)
    below = (codes - (firsts - 1) * exact - offset).min(1, initial=1)
    b = (offset + (below - above) / 2).astype(np.float32)[:, None]
    m = m[:, None]
    reached = (np.floor(firsts.astype(np.float32) * m + b) >= codes).all(1)
    short = (np.floor((firsts - 1).astype(np.float32) * m + b) < codes).all(1)
    found = np.flatnonzero(reached & short)
    return (float(m[found[0], 0]), float(b[found[0], 0])) if len(found) else None


def _firsts(multiplier: int, rule: Requantise) -> tuple[Ints, Ints]:
    """Codes above the lowest, and the smallest sum of each, of those within 2**24."""
    codes = np.arange(rule.low + 1, rule.high + 1, dtype=np.int64)
    half = (1 << rule.shift) >> 1 if rule.rounding == "half_up" else 0
    firsts = -((half - (codes << rule.shift)) // multiplier)
    met = np.abs(firsts) < FLOAT32_INTEGERS
    return codes[met], firsts[met]
