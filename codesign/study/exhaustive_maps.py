"""What is read off the truth: maps of where bits hurt, and how close a sample comes to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codesign.errors import StudyError
from codesign.intervals import mean_interval
from codesign.study.exhaustive import Truth

__all__ = ["Sampled", "by_channel", "by_layer_and_bit", "sample_of"]

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Sampled:
    """How campaigns that draw some of the bits do against the truth.

    Attributes:
        bits: Drawn by each, without replacement.
        campaigns: How many.
        truth: Mean accuracy lost over all bits, as a part of all samples.
        typical_error: Root of the mean square of estimate minus truth.
        largest_error: Largest of its magnitudes.
        half_width: Mean of the intervals' half widths.
        covered: Campaigns whose 95 % interval holds the truth.
        method: Of the intervals.
    """

    bits: int
    campaigns: int
    truth: float
    typical_error: float
    largest_error: float
    half_width: float
    covered: int
    method: str


def by_layer_and_bit(truth: Truth, values: Floats) -> Floats:
    """``[layers, bits]`` mean of a value of each bit; nan where a layer's weights have fewer bits.

    Args:
        truth: Of whose bits.
        values: ``[bits of the truth]``, `Truth.loss` for instance.
    """
    where, _, _, bit = truth.bits.places(np.arange(len(truth.bits)))
    width = int(bit.max()) + 1
    return _means(where * width + bit, values, len(truth.bits.layers) * width).reshape(-1, width)


def by_channel(truth: Truth, values: Floats) -> tuple[Floats, ...]:
    """For each layer ``[output channels]``, the mean of a value over the bits of its weights."""
    where, channel, _, _ = truth.bits.places(np.arange(len(truth.bits)))
    return tuple(
        _means(channel[where == i], values[where == i], len(layer.weight))
        for i, layer in enumerate(truth.bits.layers)
    )


def sample_of(truth: Truth, share: float, campaigns: int, seed: int) -> Sampled:
    """Let campaigns draw a share of the bits, and compare what they say with the truth.

    Each reports a mean and its interval as `codesign run` does (`codesign.intervals`).

    Raises:
        StudyError: The share is none of the bits, or more than all.
    """
    size = round(share * len(truth.bits))
    if not 1 <= size <= len(truth.bits):
        raise StudyError(f"a share of {share} of {len(truth.bits)} bits is {size} bits")
    rng = np.random.default_rng(seed)
    loss, mean = truth.loss, float(truth.loss.mean())
    drawn = [loss[rng.choice(len(loss), size, replace=False)] for _ in range(campaigns)]
    found = [mean_interval(one, bounds=(-1.0, 1.0), seed=i) for i, one in enumerate(drawn)]
    errors = np.array([one.value - mean for one in found])
    return Sampled(
        bits=size,
        campaigns=campaigns,
        truth=mean,
        typical_error=float(np.sqrt((errors**2).mean())),
        largest_error=float(np.abs(errors).max()),
        half_width=float(np.mean([one.half_width for one in found])),
        covered=sum(one.low <= mean <= one.high for one in found),
        method=found[0].method,
    )


def _means(group: NDArray[np.int64], values: Floats, groups: int) -> Floats:
    """``[groups]`` mean of the values of each; nan where there are none."""
    count = np.bincount(group, minlength=groups)
    total = np.bincount(group, weights=values, minlength=groups)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
