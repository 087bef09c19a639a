"""Our engines under one roof: faults in, outputs of every (fault, sample) out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.forward import Forward
from benchmarks.mixes import Mix
from benchmarks.networks import Subject
from benchmarks.spiking import StepLoop
from benchmarks.strikes import strike_of
from codesign.effects import Effects
from codesign.engine import dense, sparse

__all__ = ["Dense", "Engine", "Ours", "Ran", "ours", "outputs_by_fault"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ran:
    """What a call gave.

    Attributes:
        outputs: ``[trials, samples, classes]``.
        note: What the table should say about how it ran.
    """

    outputs: Ints
    note: str = ""


class Engine(Protocol):
    """Whatever runs faults.

    ``packs`` says whether it takes transients packed, one for each sample in a trial.
    """

    @property
    def name(self) -> str:
        """As the table has it."""
        ...

    @property
    def setup_seconds(self) -> float:
        """CPU time of everything before the first fault."""
        ...

    def refusal(self, mix: Mix) -> str:
        """Why it cannot run a mix, or an empty text."""
        ...

    def packs(self, mix: Mix) -> bool:
        """Whether transients come packed."""
        ...

    def run(self, effects: Effects) -> Ran:
        """Run trials."""
        ...


@dataclass
class Ours:
    """An engine of `codesign`, started from one golden run.

    Attributes:
        name: ``ours-cpu`` or ``ours-torch``.
        setup_seconds: Golden run and what the first call prepares.
        golden: ``[samples, classes]`` outputs without a fault.
        evaluate: Effects to outputs and a note.
        packed: Whether it is quicker with transients packed.
    """

    name: str
    setup_seconds: float
    golden: Ints
    evaluate: Callable[[Effects], Ran]
    packed: bool = True

    def refusal(self, mix: Mix) -> str:
        """See `Engine`."""
        return ""

    def packs(self, mix: Mix) -> bool:
        """See `Engine`."""
        return self.packed

    def run(self, effects: Effects) -> Ran:
        """See `Engine`."""
        return self.evaluate(effects)


def ours(name: str, subject: Subject, probe: Mix, workers: int = 1) -> Ours:
    """Make ``ours-cpu`` (compiled kernels, what they cannot run dense) or ``ours-torch`` (dense).

    Args:
        name: Which.
        subject: What it runs.
        probe: A mix of which one fault is run twice: the first run pays for preparation.
        workers: Threads of the kernels.
    """
    began = time.process_time()
    golden = dense.golden(subject.program, subject.samples)
    program, samples = subject.program, subject.samples

    def by_kernels(effects: Effects) -> Ran:
        found, counts = sparse.evaluate_counted(
            program, samples, effects, golden=golden, workers=workers
        )
        notes = [counts.why_dense] if counts.why_dense else []
        if counts.dense:
            notes.append(f"{counts.dense} of {effects.trials} dense")
        return Ran(found.outputs, "; ".join(notes))

    def by_torch(effects: Effects) -> Ran:
        return Ran(dense.evaluate(program, samples, effects, golden=golden).outputs)

    evaluate = by_kernels if name == "ours-cpu" else by_torch
    one = probe.draw(0, 1, 0)
    evaluate(one)
    first = time.process_time()
    evaluate(one)
    again = time.process_time() - first
    return Ours(name, first - began - again, golden.outputs, evaluate)


class Dense:
    """``ours-dense``: a whole exact forward pass for every fault; the oracle of all others.

    Shares no code with the engines of `codesign`.

    Args:
        subject: What it runs.
        batch: Samples at once.
    """

    name = "ours-dense"

    def __init__(self, subject: Subject, batch: int) -> None:
        began = time.process_time()
        self.network, self.batch = subject.program.network, batch
        program, codes = subject.program, subject.samples.inputs
        self.model = StepLoop(program, integers=True) if subject.spiking else Forward(program)
        self.codes = self.model.ready(codes)
        self.setup_seconds = time.process_time() - began

    def refusal(self, mix: Mix) -> str:
        """See `Engine`."""
        return ""

    def packs(self, mix: Mix) -> bool:
        """See `Engine`."""
        return True

    def run(self, effects: Effects) -> Ran:
        """See `Engine`."""
        return Ran(np.stack([self._one(effects.of_trial(i)) for i in range(effects.trials)]))

    def golden(self) -> Ints:
        """Outputs without a fault, ``[samples, classes]``."""
        return self.model.run(self.codes, self.batch).to(torch.int64).numpy()

    def _one(self, rows: NDArray[np.void]) -> Ints:
        strike = strike_of(rows, self.network)
        return self.model.run(self.codes, self.batch, strike).to(torch.int64).numpy()


def outputs_by_fault(ran: Ints, mix: Mix, first: int, last: int, *, packed: bool) -> Ints:
    """Outputs that a fault can change: ``[faults, samples, classes]``, of a transient one sample.

    >>> from types import SimpleNamespace
    >>> mix = SimpleNamespace(transient=True, inputs=2)
    >>> outputs_by_fault(np.arange(4).reshape(2, 2, 1), mix, 0, 3, packed=True).ravel().tolist()
    [0, 1, 2]
    """
    if not mix.transient:
        return ran
    index = np.arange(first, last)
    sample = index % mix.inputs
    trial = index // mix.inputs - first // mix.inputs if packed else index - first
    return ran[trial, sample][:, None]
