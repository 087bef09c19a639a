"""The golden run of a program: what trials start from and fall back on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from codesign.engine.dense_moment import NO_ROWS, Flags
from codesign.engine.dense_numbers import Value, carrier, ends_of, exact_floats
from codesign.engine.dense_plan import Plan, TrialRows, plan_of
from codesign.engine.dense_run import Kept, Run
from codesign.errors import DataError
from codesign.network import Input
from codesign.program import Program
from codesign.samples import Samples

__all__ = ["MEMORY_MB", "Golden", "batches", "check_samples", "golden", "golden_run"]

Ints = NDArray[np.int64]
MEMORY_MB = 512
COPIES, BYTES = 16, 8  # of a layer's numbers that may be alive together, of one
SMALLEST, CACHED_NUMBERS = 16, 1 << 20  # samples, and numbers of one layer and step, of a batch
STATES = 4  # of a spiking layer, that stay in the cache together
NARROW = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Golden:
    """A program's run without effects, from which trials start.

    Attributes:
        program: What was computed.
        samples: On what.
        outputs: ``[samples, classes]`` int64, summed over steps.
        corrected: ``[samples]`` bool, some guard corrected something (a guard that alters golden
            values can make another one speak).
        detected: ``[samples]`` bool.
        plan: The program, prepared.
        kept: What every layer stored.
        end: What reading the output raised.
    """

    program: Program
    samples: Samples
    outputs: NDArray[np.int64]
    corrected: NDArray[np.bool_]
    detected: NDArray[np.bool_]
    plan: Plan = field(repr=False)
    kept: list[Kept] = field(repr=False)
    end: Flags = field(repr=False)


def golden(
    program: Program,
    samples: Samples,
    *,
    device: str | torch.device = "cpu",
    memory_mb: int = MEMORY_MB,
) -> Golden:
    """Run a program without effects and keep what every layer stores.

    Args:
        program: What is computed.
        samples: Codes, ``[samples, ...]``, or ``[samples, steps, ...]`` if timed.
        device: Where to compute.
        memory_mb: Bound on what is computed at once (what is kept comes on top: one to four bytes
            for each stored value).

    Raises:
        DataError: The samples do not fit the program's input.
    """
    check_samples(program, samples)
    device = torch.device(device)
    plan = plan_of(program, device)
    outputs, ends = [], []
    with exact_floats(device):
        kept: list[list[Kept]] = [[] for _ in range(plan.layers)]
        for batch in batches(plan, np.arange(len(samples)), memory_mb):
            run = golden_run(plan, samples, batch)
            output, end = run.output()
            outputs.append(output)
            ends.append(end or Flags.none(len(batch)))
            for index in range(plan.layers):
                kept[index].append(_keep(run.values[index], run.flags[index]))
        layers = [_joined(parts) for parts in kept]
    end = _joined_flags(ends)
    flags = Flags.none(len(samples))
    for part in (*(layer.flags for layer in layers), end):
        flags.add_(part)
    return Golden(
        program=program,
        samples=samples,
        outputs=np.concatenate(outputs),
        corrected=flags.corrected,
        detected=flags.detected,
        plan=plan,
        kept=layers,
        end=end,
    )


def check_samples(program: Program, samples: Samples) -> None:
    """Refuse samples whose shape, steps or codes the program's input layer cannot read.

    Raises:
        DataError: What was expected and what came.
    """
    layer = program.network.layers[0]
    assert isinstance(layer, Input)
    expected = ((program.network.steps,) if samples.timed else ()) + layer.shape
    if samples.inputs.shape[1:] != expected:
        raise DataError(
            f"{samples.name}: a sample has shape {samples.inputs.shape[1:]}, "
            f"{program.network.name} reads {expected}"
        )
    if not layer.format.holds(samples.inputs):
        raise DataError(f"{samples.name}: codes do not fit the input's {layer.format.bits} bits")


def golden_run(plan: Plan, samples: Samples, batch: Ints) -> Run:
    """All layers for some samples."""
    layer = plan.program.network.layers[0]
    assert isinstance(layer, Input)
    low, high = layer.format.low, layer.format.high
    codes = torch.from_numpy(samples.inputs[batch].astype(np.int64)).to(plan.device)
    codes = codes.transpose(0, 1) if samples.timed else codes[None]
    value = Value(codes.to(carrier(low, high, "input codes")).contiguous(), low, high)
    run = Run(plan, TrialRows(plan, NO_ROWS), batch, None, len(samples))
    run.execute(set(range(plan.layers)), inputs=value)
    return run


def _keep(value: Value, flags: Flags) -> Kept:
    """What one batch keeps; its range becomes the one that was met."""
    low, high = ends_of(value.data)
    return Kept(value.data.to(_narrowest(low, high)), low, high, flags)


def _narrowest(low: int, high: int) -> torch.dtype:
    ends = {dtype: torch.iinfo(dtype) for dtype in NARROW}
    return next(d for d, end in ends.items() if end.min <= low and high <= end.max)


def _joined(parts: list[Kept]) -> Kept:
    """What batches of samples kept of one layer."""
    low, high = min(p.low for p in parts), max(p.high for p in parts)
    steps = max(p.data.shape[0] for p in parts)
    dtype = _narrowest(low, high)
    data = [p.data.to(dtype).expand(steps, *p.data.shape[1:]) for p in parts]
    return Kept(torch.cat(data, dim=1), low, high, _joined_flags([p.flags for p in parts]))


def _joined_flags(parts: list[Flags]) -> Flags:
    return Flags(
        np.concatenate([p.corrected for p in parts]), np.concatenate([p.detected for p in parts])
    )


def batches(plan: Plan, samples: Ints, memory_mb: int) -> Iterator[Ints]:
    """Samples to compute at once: as many as stay in a processor's cache, within the bound."""
    numbers, steps = plan.widest_layer, plan.program.network.steps
    most = memory_mb * (1 << 20) // (COPIES * BYTES * numbers * steps)
    cached = CACHED_NUMBERS // (numbers * (STATES if plan.lifs else 1))
    batch = max(1, min(most, max(SMALLEST, cached)))
    for i in range(0, len(samples), batch):
        yield samples[i : i + batch]
