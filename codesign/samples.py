"""Samples: inputs with labels in a fixed order; sample i of that order is inference i.

A data set gives *raw* samples (pixels 0..255, or events); a network's `InputCoding` turns them into
the codes that its first layer reads. What a chip computes begins at the codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from codesign.digests import digest
from codesign.errors import DataError
from codesign.formats import NumberFormat, Quantizer, read_only

__all__ = ["InputCoding", "Samples", "Splits", "made_up", "of_shape"]

Maker = TypeVar("Maker", bound=Callable[..., Any])


def of_shape(*shape: int, full_scale: float = 255.0) -> Callable[[Maker], Maker]:
    """Say of a function that gives `Splits` which shape a sample has.

    With it a network can be mapped where the data set's files are not at hand.

    >>> @of_shape(1, 8, 8, full_scale=16.0)
    ... def digits(): ...
    >>> digits.sample_shape, digits.full_scale
    ((1, 8, 8), 16.0)
    """

    def mark(maker: Maker) -> Maker:
        for name, value in (("sample_shape", shape), ("full_scale", full_scale)):
            setattr(maker, name, value)
        return maker

    return mark


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and labels of one split, in a fixed order.

    Attributes:
        name: Data set, for the report.
        split: ``train``, ``calibration``, ``validation`` or ``test``.
        inputs: ``[samples, ...]`` integers, or ``[samples, steps, ...]`` if ``timed``.
        labels: ``[samples]`` int64 class numbers.
        timed: Whether axis 1 of ``inputs`` is time.
    """

    name: str
    split: str
    inputs: NDArray[np.generic]
    labels: NDArray[np.int64]
    timed: bool = False

    def __post_init__(self) -> None:
        inputs, labels = np.asarray(self.inputs), np.asarray(self.labels)
        if inputs.dtype.kind not in "iub":
            raise DataError(f"{self.name}: inputs are integers, came {inputs.dtype}")
        if labels.ndim != 1 or len(labels) != len(inputs):
            raise DataError(
                f"{self.name}: {len(inputs)} inputs but labels of shape {labels.shape}; "
                "expected one label for each input"
            )
        if labels.dtype.kind not in "iu" or (labels.size and labels.min() < 0):
            came = labels.min() if labels.dtype.kind in "iu" else labels.dtype
            raise DataError(f"{self.name}: labels are class numbers from 0 on, came {came}")
        object.__setattr__(self, "inputs", read_only(inputs, inputs.dtype.str))
        object.__setattr__(self, "labels", read_only(labels))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """Content digest of inputs, labels and split."""
        return digest((self.split, self.timed, self.inputs, self.labels))

    def take(self, count: int, seed: int | None = None) -> Samples:
        """The first ``count`` samples, or a fixed permutation's first if a seed is given.

        Raises:
            DataError: There are fewer than ``count``.
        """
        if not 0 < count <= len(self):
            raise DataError(f"{self.name}/{self.split} has {len(self)} samples, asked for {count}")
        order = np.arange(len(self))
        if seed is not None:
            order = np.random.default_rng(seed).permutation(order)
        return replace(self, inputs=self.inputs[order[:count]], labels=self.labels[order[:count]])


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set: raw samples in four parts that share none.

    Attributes:
        train: For training.
        calibration: For ranges and bounds; mitigations may look at it.
        validation: For choosing: a search judges candidates here.
        test: For final answers only.
        full_scale: Raw value that means 1.0.
    """

    train: Samples
    calibration: Samples
    validation: Samples
    test: Samples
    full_scale: float = 255.0

    def split(self, name: str) -> Samples:
        """``train``, ``calibration``, ``validation`` or ``test``.

        Raises:
            DataError: Another name.
        """
        parts = {p.split: p for p in (self.train, self.calibration, self.validation, self.test)}
        if name not in parts:
            raise DataError(f"no split {name!r}; there are {', '.join(parts)}")
        return parts[name]

    @property
    def classes(self) -> int:
        """Number of classes, from the largest label of all parts."""
        parts = (self.train, self.calibration, self.validation, self.test)
        return 1 + max(int(part.labels.max()) for part in parts)

    @staticmethod
    def of(
        name: str,
        inputs: NDArray[np.generic],
        labels: NDArray[np.int64],
        test: tuple[NDArray[np.generic], NDArray[np.int64]],
        share: float = 0.1,
        full_scale: float = 255.0,
        timed: bool = False,
    ) -> Splits:
        """Carve calibration and validation out of the training samples by a fixed permutation.

        Args:
            name: Of the data set.
            inputs: ``[samples, ...]`` training inputs.
            labels: ``[samples]`` training labels.
            test: Inputs and labels of the test set, which is not touched.
            share: Of the training samples, for each of the two parts.
            full_scale: Raw value that means 1.0.
            timed: Whether axis 1 of the inputs is time.
        """
        order = np.random.default_rng(0).permutation(len(labels))
        part = max(1, int(len(labels) * share))
        picked = {
            "calibration": order[:part],
            "validation": order[part : 2 * part],
            "train": order[2 * part :],
        }
        made = {
            split: Samples(name, split, inputs[rows], labels[rows], timed)
            for split, rows in picked.items()
        }
        tested = Samples(name, "test", *test, timed)
        return Splits(**made, test=tested, full_scale=full_scale)


def made_up(shape: tuple[int, ...], full_scale: float, count: int, seed: int) -> Splits:
    """Noise in the place of a data set: whole numbers from 0 to full scale, all of class 0.

    >>> made_up((1, 2, 2), 16.0, 3, 0).test.inputs.shape
    (3, 1, 2, 2)
    """
    rng = np.random.default_rng(seed)

    def part(split: str) -> Samples:
        inputs = rng.integers(0, int(full_scale) + 1, (count, *shape))
        return Samples("made up", split, inputs, np.zeros(count, dtype=np.int64))

    train, calibration, validation, test = map(part, ("train", "calibration", "validation", "test"))
    return Splits(train, calibration, validation, test, full_scale)


@dataclass(frozen=True)
class InputCoding:
    """How raw samples become the codes that the first layer reads, outside the chip.

    ``real = (raw / full_scale - mean) / std``, per channel where three numbers are given; then

    - ``direct``: code = nearest code of ``real`` on ``scale`` in ``format``; an SNN sees it at
      every step;
    - ``rate``: a spike at each step with probability ``clip(raw / full_scale, 0, 1)``, drawn from
      (seed, sample's position, step) so that a sample's spikes do not depend on the others;
    - ``latency``: one spike at step ``round((1 - raw / full_scale) · (steps - 1))``; raw = 0 has
      none.

    Attributes:
        kind: ``direct``, ``rate`` or ``latency``.
        format: Format of the codes; 1 bit unsigned for spikes.
        scale: Real value of one code step (direct only).
        full_scale: Raw value that means 1.0.
        mean: Per-channel mean in units of full scale, or empty for none.
        std: Per-channel standard deviation in units of full scale, or empty for none.
        steps: Time steps of rate and latency coding.
        seed: Of rate coding.
    """

    kind: Literal["direct", "rate", "latency"] = "direct"
    format: NumberFormat = NumberFormat(8, signed=False)
    scale: float = 1.0
    full_scale: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    steps: int = 1
    seed: int = 0

    def apply(self, raw: Samples) -> Samples:
        """Samples of codes, ``[samples, ...]`` (direct) or ``[samples, steps, ...]`` timed int8.

        Raw samples that are timed already (events) pass unchanged if their values fit the format.
        """
        if raw.timed:
            self.format.encode(raw.inputs)
            return raw
        share = np.asarray(raw.inputs, dtype=np.float64) / self.full_scale
        if self.kind == "direct":
            codes = Quantizer(self.scale, self.format).code(self.normalise(share))
            return replace(raw, inputs=codes.astype(_narrow(self.format)))
        share = np.clip(share, 0.0, 1.0)
        spikes = self._rate(share) if self.kind == "rate" else self._latency(share)
        return replace(raw, inputs=spikes.astype(np.int8), timed=True)

    def normalise(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(share - mean) / std`` along axis 1 of ``[samples, channels, ...]``."""
        if not self.mean and not self.std:
            return share
        shape = (1, -1) + (1,) * (share.ndim - 2)
        mean = np.asarray(self.mean or (0.0,)).reshape(shape)
        std = np.asarray(self.std or (1.0,)).reshape(shape)
        return np.asarray((share - mean) / std)

    def _rate(self, share: NDArray[np.float64]) -> NDArray[np.bool_]:
        spikes = np.empty((len(share), self.steps, *share.shape[1:]), dtype=bool)
        for i, sample in enumerate(share):
            draw = np.random.Generator(np.random.Philox(key=[self.seed, i]))
            spikes[i] = draw.random((self.steps, *sample.shape)) < sample
        return spikes

    def _latency(self, share: NDArray[np.float64]) -> NDArray[np.bool_]:
        when = np.rint((1.0 - share) * (self.steps - 1)).astype(np.int64)
        steps = np.arange(self.steps).reshape((1, -1) + (1,) * (share.ndim - 1))
        return np.asarray((steps == when[:, None]) & (share[:, None] > 0))


def _narrow(form: NumberFormat) -> str:
    """The smallest numpy dtype that holds a format."""
    for dtype in ("uint8", "int8", "int16", "int32"):
        info = np.iinfo(dtype)
        if info.min <= form.low and form.high <= info.max:
            return dtype
    return "int64"
