"""The sparse engine: `codesign.engine.dense`'s contract, at a fraction of its cost.

Trials that have a sparse form run in the compiled kernels; all others, and programs without one, go
to the dense engine and are counted. Both equal `codesign.engine.reference` bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.effects import Effects
from codesign.engine import dense, sparse_cnn
from codesign.engine.dense_golden import Golden
from codesign.engine.golden import check_golden
from codesign.engine.observables import Observables
from codesign.errors import DataError
from codesign.program import Program
from codesign.samples import Samples

Ints = NDArray[np.int64]

__all__ = ["Counts", "evaluate", "evaluate_counted"]


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the trials of a call; ``golden + sparse + dense`` is all of them.

    Attributes:
        golden: Nothing acts in them: not run.
        sparse: Run in the kernels.
        dense: Run in the dense engine.
        why_dense: Why all of a program's trials are dense, or an empty text.
        pairs: (trial, sample) pairs that the kernels ran.
        layers: Layers computed in all of these.
        by_terms: Outputs that were summed again term by term.
        narrow: Layers whose differences were summed in 16 bits.
    """

    golden: int
    sparse: int
    dense: int
    why_dense: str = ""
    pairs: int = 0
    layers: int = 0
    by_terms: int = 0
    narrow: int = 0


def evaluate(
    program: Program,
    samples: Samples,
    effects: Effects,
    *,
    golden: Golden | None = None,
    watch: tuple[str, ...] = (),
    workers: int = 1,
) -> Observables:
    """Evaluate every trial on every sample.

    Args:
        program: What is computed.
        samples: Codes, ``[samples, ...]``, or ``[samples, steps, ...]`` if timed.
        effects: Of all trials; checked against the program first.
        golden: This program's golden run on these samples, if there is one.
        watch: Layers whose values are returned: then all trials are dense.
        workers: Threads of the kernels; results do not depend on it.

    Raises:
        FaultError: An effect cannot exist.
        DataError: As `codesign.engine.dense.evaluate`.
        UnsupportedError: As there; or the kernels are stale, see `codesign.engine.kernels`.
    """
    return evaluate_counted(program, samples, effects, golden=golden, watch=watch, workers=workers)[
        0
    ]


def evaluate_counted(
    program: Program,
    samples: Samples,
    effects: Effects,
    *,
    golden: Golden | None = None,
    watch: tuple[str, ...] = (),
    workers: int = 1,
) -> tuple[Observables, Counts]:
    """As `evaluate`, with what became of the trials."""
    if golden is None:
        golden = dense.golden(program, samples)
    if workers < 1:
        raise DataError(f"workers is at least 1, came {workers}")
    why = "layers are watched" if watch else _why_dense(golden, program)
    if why:
        found = dense.evaluate(program, samples, effects, golden=golden, watch=watch)
        return found, Counts(0, 0, effects.trials, why)
    effects.check(program)
    check_golden(golden, program, samples)
    table = effects.table
    table = table[sparse_cnn.acting(table)]
    present = np.bincount(table["trial"], minlength=effects.trials) > 0
    sparse, sums = sparse_cnn.sparse_trials(golden, table, effects.trials)
    mine, others = np.flatnonzero(present & sparse), np.flatnonzero(present & ~sparse)
    outputs = np.repeat(golden.outputs[None], effects.trials, axis=0)
    counts = np.zeros(4, dtype=np.int64)
    if len(mine):
        counts = _in_kernels(golden, table, mine, sums, outputs, workers)
    if len(others):
        rest = _of_trials(table, others)
        outputs[others] = dense.evaluate(program, samples, rest, golden=golden).outputs
    flags = np.zeros((3, effects.trials, len(samples)), dtype=bool)
    observed = Observables(outputs, flags[0], flags[1], flags[2])
    idle = effects.trials - len(mine) - len(others)
    return observed, Counts(idle, len(mine), len(others), "", *counts.tolist())


def _why_dense(golden: Golden, program: Program) -> str:
    if golden.plan.device.type != "cpu":
        return "the golden run is not on the CPU"
    return sparse_cnn.why_dense(program)


def _in_kernels(
    golden: Golden,
    table: NDArray[np.void],
    mine: Ints,
    sums: NDArray[np.uint8],
    outputs: Ints,
    workers: int,
) -> Ints:
    """Write the outputs of some trials; counts."""
    rows = _of_trials(table, mine).table
    starts = np.searchsorted(rows["trial"], np.arange(len(mine) + 1))
    every = len(mine) == len(outputs)
    part = outputs if every else outputs[mine]
    counts = sparse_cnn.evaluate(golden, rows, starts, sums[mine], part, workers)
    if not every:
        outputs[mine] = part
    return counts


def _of_trials(table: NDArray[np.void], trials: Ints) -> Effects:
    """The rows of some trials, numbered anew."""
    number = np.full(int(table["trial"].max()) + 1, -1)
    number[trials] = np.arange(len(trials))
    rows = table[number[table["trial"]] >= 0]
    rows["trial"] = number[rows["trial"]]
    return Effects(rows, len(trials))
