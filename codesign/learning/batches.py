"""Raw samples → what a float module reads and what an integer network reads, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codesign.errors import LoweringError
from codesign.learning.tracing import reset_neurons
from codesign.samples import InputCoding, Samples

__all__ = ["Batch", "batch_count", "batches", "coded", "outputs_of", "shuffled"]

EVALUATED = 250  # samples at once when nothing is learned


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples in both forms.

    Attributes:
        reals: ``[samples, ...]`` or ``[samples, steps, ...]`` float32, before rounding to codes.
        codes: The same as codes, float32.
        timed: Whether axis 1 is time.
        labels: ``[samples]`` int64.
    """

    reals: Tensor
    codes: Tensor
    timed: bool
    labels: Tensor


def coded(samples: Samples, coding: InputCoding) -> Batch:
    """Samples as the chip gets them, and before rounding to codes."""
    after = coding.apply(samples)
    codes = torch.from_numpy(np.asarray(after.inputs, dtype=np.float32))
    reals = codes
    if coding.kind == "direct" and not after.timed:
        share = np.asarray(samples.inputs, dtype=np.float64) / coding.full_scale
        reals = torch.from_numpy(coding.normalise(share).astype(np.float32))
    elif coding.kind == "direct":
        reals = codes * coding.scale
    return Batch(reals, codes, after.timed, torch.from_numpy(samples.labels.copy()))


def batches(samples: Samples, coding: InputCoding) -> Iterator[Batch]:
    """All samples in order; rate-coded spikes are those of the whole split, sample by sample."""
    if coding.kind == "rate" and not samples.timed:
        whole = coded(samples, coding)
        parts = (t.split(EVALUATED) for t in (whole.reals, whole.codes, whole.labels))
        yield from (Batch(r, c, True, y) for r, c, y in zip(*parts, strict=True))
        return
    for start in range(0, len(samples), EVALUATED):
        yield coded(_part(samples, slice(start, start + EVALUATED)), coding)


def shuffled(
    samples: Samples, coding: InputCoding, size: int, order: np.random.Generator
) -> Iterator[Batch]:
    """All samples once in a drawn order; rate-coded spikes are drawn anew each time.

    Args:
        samples: Raw.
        coding: Of the network.
        size: Of a batch; the last may be smaller, but not a single sample.
        order: Draws the order. Spikes come from torch's own generator.
    """
    permutation = order.permutation(len(samples))
    for number in range(batch_count(len(samples), size)):
        picked = permutation[number * size : (number + 1) * size]
        part = _part(samples, picked)
        if coding.kind != "rate" or samples.timed:
            yield coded(part, coding)
            continue
        share = torch.from_numpy(
            np.asarray(part.inputs, np.float32) / np.float32(coding.full_scale)
        )
        drawn = torch.rand(coding.steps, *share.shape) < share
        spikes = drawn.float().transpose(0, 1)
        yield Batch(spikes, spikes, True, torch.from_numpy(part.labels.copy()))


def batch_count(samples: int, size: int) -> int:
    """Batches of an epoch; a single sample left over is left out, for batch norm cannot use it.

    >>> batch_count(128, 64), batch_count(129, 64), batch_count(130, 64), batch_count(1, 64)
    (2, 2, 3, 1)
    """
    whole, rest = divmod(samples, size)
    return max(whole + (rest > 1), 1)


def outputs_of(module: nn.Module, batch: Batch, steps: int | None) -> Tensor:
    """Outputs ``[samples, classes]`` of a float module, summed over time; time goes first.

    Raises:
        LoweringError: It returns no such tensor.
    """
    reset_neurons(module)
    if steps is None:
        result = _tensor(module(batch.reals.transpose(0, 1) if batch.timed else batch.reals))
    else:
        moments = batch.reals.unbind(1) if batch.timed else [batch.reals] * steps
        result = torch.stack([_tensor(module(x)) for x in moments])
    if result.dim() == 3:
        result = result.sum(0)
    if result.dim() != 2 or len(result) != len(batch.labels):
        raise LoweringError(
            f"{type(module).__name__} returns a tensor of shape {tuple(result.shape)} for "
            f"{len(batch.labels)} samples; expected [samples, classes] or [steps, samples, classes]"
        )
    return result


def _tensor(output: Any) -> Tensor:
    """The first tensor returned, or the first list of tensors stacked."""
    while isinstance(output, tuple | list) and output:
        if isinstance(output, list) and all(isinstance(x, Tensor) for x in output):
            return torch.stack(output)
        output = output[0]
    if not isinstance(output, Tensor):
        raise LoweringError(f"the module returns a {type(output).__name__}; expected a tensor")
    return output


def _part(samples: Samples, picked: slice | NDArray[np.int64]) -> Samples:
    return replace(samples, inputs=samples.inputs[picked], labels=samples.labels[picked])
