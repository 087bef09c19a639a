"""What one forward pass costs here: A, what anybody pays, and B, the fastest exact dense path.

A is float32 carrying integers, images [channels, height, width], in inference mode, in the best
batch of 16 to 256; of a spiking network the loop over its steps. B is the fastest of those below
that give the golden outputs bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.forward import Forward
from benchmarks.int8 import Int8Sums
from benchmarks.networks import Subject
from benchmarks.spiking import StepLoop, TimeBatched

__all__ = ["BATCHES", "Denominators", "Path", "denominators", "instruction_set"]

Model = Forward | StepLoop | TimeBatched
BATCHES = (16, 32, 64, 128, 256)
TRIES = 3


@dataclass(frozen=True, eq=False)
class Path:
    """One way of one forward pass.

    Attributes:
        name: For the table.
        batch: The best.
        run: Once over all samples.
        seconds: The least it took while batches were tried.
        wrong: Of how many samples the outputs are not golden.
    """

    name: str
    batch: int
    run: Callable[[], Tensor]
    seconds: float
    wrong: int


@dataclass(frozen=True, eq=False)
class Denominators:
    """A and B of one network, and what else was tried.

    Attributes:
        a: What ratios to a forward pass are taken of.
        b: What ratios to the best dense path are taken of.
        others: Slower exact paths.
        int8: What became of the int8 operators.
    """

    a: Path
    b: Path
    others: tuple[Path, ...]
    int8: str


def instruction_set() -> str:
    """The instruction set that torch uses on this processor."""
    return str(torch.backends.cpu.get_cpu_capability())


def denominators(subject: Subject, golden: np.ndarray, tries: int = TRIES) -> Denominators:
    """Try every path with every batch.

    Args:
        subject: The network and its samples.
        golden: ``[samples, classes]`` what exact is.
        tries: Of each; the least time counts.

    Raises:
        RuntimeError: No path is exact.
    """
    codes = subject.samples.inputs
    int8 = Int8Sums(subject.program)
    said = f"layers in which int8 operators are exact: {len(int8.exact)}"
    if int8.wrong:
        said += f"; in which they give wrong sums here, and are not used: {len(int8.wrong)}"
    tried = _spiking(subject, int8) if subject.spiking else _plain(subject, int8)
    paths = [_best(name, model, model.ready(codes), golden, tries) for name, model in tried.items()]
    exact = sorted((p for p in paths if not p.wrong), key=lambda p: p.seconds)
    if not exact:
        raise RuntimeError(f"{subject.name}: no forward pass gives the golden outputs")
    return Denominators(paths[0], exact[0], tuple(exact[1:]), said)


def _plain(subject: Subject, int8: Int8Sums) -> dict[str, Model]:
    """Paths of a network of one step, A first."""
    program = subject.program
    models: dict[str, Model] = {
        "float32, channels first, requantised in float32": Forward(program, exact=False),
        "float32, channels first": Forward(program),
        "float32, channels last": Forward(program, channels_last=True),
    }
    if int8.exact:
        models["int8 sums, channels last"] = Forward(program, channels_last=True, sums=int8)
    return models


def _spiking(subject: Subject, int8: Int8Sums) -> dict[str, Model]:
    """Paths of a spiking network, A first."""
    program = subject.program
    models: dict[str, Model] = {
        "float32, step by step": StepLoop(program),
        "float32, sums of all steps at once": TimeBatched(program),
        "float32 sums of all steps at once, integer membranes": TimeBatched(program, integers=True),
    }
    if int8.exact:
        models["int8 sums of all steps at once, integer membranes"] = TimeBatched(
            program, integers=True, sums=int8
        )
    return models


def _best(name: str, model: Model, codes: Tensor, golden: np.ndarray, tries: int) -> Path:
    """A model with its best batch; every shape is run once before it is timed."""
    count, times = len(golden), {}
    for batch in sorted({min(batch, count) for batch in BATCHES}):
        outputs = model.run(codes, batch)
        took = [_timed(lambda: model.run(codes, batch)) for _ in range(tries)]  # noqa: B023
        times[batch] = min(took)
    best = min(times, key=lambda batch: times[batch])
    wrong = int((outputs.to(torch.int64).numpy() != golden).any(1).sum())
    return Path(name, best, lambda: model.run(codes, best), times[best], wrong)


def _timed(run: Callable[[], Tensor]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began
