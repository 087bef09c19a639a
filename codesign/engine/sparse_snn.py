"""The sparse engine for spiking networks: a fault costs what differs from the golden run.

Exact, bit for bit as `codesign.engine.reference`. A trial starts at its first faulty neuron, at the
first step at which a fault can act; it computes that neuron again, and of the neurons behind it
only samples in which a spike differs, from the first step at which one does, until spikes and
membranes are golden again. Membranes are always computed by the rule itself, never linearised, so
every rounding, wrap and saturation is exact. The work is done by compiled kernels.

`supports` says which trials have this form; the dense engine runs the others.
"""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codesign.effects import Effects
from codesign.engine.dense_golden import check_samples
from codesign.engine.golden import check_golden
from codesign.engine.kernels import library
from codesign.engine.observables import Observables, Outcomes
from codesign.engine.sparse_snn_chain import Chain, chain_of
from codesign.engine.sparse_snn_model import Arrays, arrays_of, check_sizes
from codesign.engine.sparse_snn_rows import sparse_trials
from codesign.errors import UnsupportedError
from codesign.program import Program
from codesign.samples import Samples

__all__ = [
    "Judged",
    "SnnGolden",
    "evaluate",
    "golden",
    "outcomes",
    "sparse_trials",
    "supports",
    "why_dense",
]

CHUNK = 64  # trials that a worker takes at a time


@dataclass(frozen=True, eq=False)
class SnnGolden:
    """A program's run without effects: currents, membranes and spikes of every stage.

    Attributes:
        program: What was computed.
        samples: On what.
        outputs: ``[samples, classes]`` int64, spikes summed over steps.
        chain: The program as stages.
        arrays: What the kernels read.
    """

    program: Program
    samples: Samples
    outputs: NDArray[np.int64]
    chain: Chain = field(repr=False)
    arrays: Arrays = field(repr=False)


@dataclass(frozen=True, eq=False)
class Judged:
    """How trials ended.

    Attributes:
        outcomes: Counts over samples.
        computed: ``[trials]`` bool; the others were proved masked from the golden run alone.
    """

    outcomes: Outcomes
    computed: NDArray[np.bool_]


def why_dense(program: Program) -> str:
    """Why no trial of a program has a sparse form here, or an empty text."""
    if library() is None:
        return "no kernel is compiled"
    return (
        "" if chain_of(program) is not None else "it is no chain of spiking layers, or has guards"
    )


def supports(program: Program, effects: Effects) -> NDArray[np.bool_]:
    """``[trials]`` whether this engine runs a trial; none without compiled kernels."""
    chain = None if library() is None else chain_of(program)
    if chain is None:
        return np.zeros(effects.trials, dtype=bool)
    return sparse_trials(chain, effects)


def golden(program: Program, samples: Samples, *, portable: bool = False) -> SnnGolden:
    """Run a program without effects and keep what trials start from.

    Memory: about ``steps * neurons * 4`` bytes a sample, ``steps * sums * 2`` more where sums are
    pooled, all twice behind the first stage; and twice that where values leave 16 bits.

    Args:
        program: What is computed.
        samples: Codes, ``[samples, ...]``, or ``[samples, steps, ...]`` if timed.
        portable: Whether to do without the vectors of this processor.

    Raises:
        DataError: The samples do not fit the program's input.
        UnsupportedError: The program is no chain of this engine, or there are no kernels.
    """
    check_samples(program, samples)
    kernels, chain = library(), chain_of(program)
    if kernels is None or chain is None:
        why = "no kernels are compiled" if kernels is None else "not a chain of spiking layers"
        raise UnsupportedError(
            f"{program.network.name}: the sparse engine for spiking networks cannot run it "
            f"({why}); use codesign.engine.dense"
        )
    check_sizes(kernels)
    kernels.snn_golden.restype = ctypes.c_int64
    steps = chain.steps if samples.timed else 1
    codes = np.ascontiguousarray(samples.inputs.reshape(len(samples), steps, -1), dtype=np.int16)
    narrow, too_large = (1 << len(chain.stages)) - 1, -1
    while too_large:  # stages whose golden values leave 16 bits: those in 32, all once more
        narrow &= ~too_large if too_large > 0 else -1
        arrays = arrays_of(chain, len(samples), still=not samples.timed, narrow=narrow)
        too_large = kernels.snn_golden(
            ctypes.byref(arrays.model), _address(codes), _address(arrays.outputs), int(portable)
        )
    return SnnGolden(program, samples, arrays.outputs, chain, arrays)


def evaluate(
    program: Program,
    samples: Samples,
    effects: Effects,
    *,
    golden: SnnGolden | None = None,
    workers: int | None = None,
    portable: bool = False,
) -> Observables:
    """Evaluate every trial on every sample.

    Args:
        program: What is computed.
        samples: Codes, ``[samples, ...]``, or ``[samples, steps, ...]`` if timed.
        effects: Of all trials; checked against the program first.
        golden: This program's golden run on these samples, if there is one.
        workers: Threads; None for one on each processor. Results do not depend on it.
        portable: Whether to do without the vectors of this processor.

    Raises:
        FaultError: An effect cannot exist.
        DataError: The samples do not fit the program's input, or the golden run is another's.
        UnsupportedError: A trial has no sparse form (see `supports`).
    """
    golden = _ready(program, samples, effects, golden, portable)
    shape = effects.trials, len(samples)
    outputs = np.empty((*shape, golden.outputs.shape[1]), dtype=np.int64)
    _run(golden, effects, outputs, None, workers, portable)
    corrected, detected, hang = np.zeros((3, *shape), dtype=bool)
    return Observables(outputs, corrected, detected, hang)


def outcomes(
    program: Program,
    samples: Samples,
    effects: Effects,
    *,
    golden: SnnGolden | None = None,
    workers: int | None = None,
    portable: bool = False,
) -> Judged:
    """How every trial ended, without keeping the outputs of each sample.

    What `codesign.engine.observables.outcomes` says of what `evaluate` gives, in memory that does
    not grow with samples times trials. Arguments and errors are those of `evaluate`.
    """
    golden = _ready(program, samples, effects, golden, portable)
    counts = np.empty((effects.trials, 4), dtype=np.int64)
    ran = _run(golden, effects, None, counts, workers, portable)
    masked, tolerated, sdc, correct = np.ascontiguousarray(counts.T)
    nothing = np.zeros(effects.trials, dtype=np.int64)
    found = Outcomes(masked, tolerated, sdc, nothing, nothing, nothing, correct)
    return Judged(found, ran.astype(bool))


run_golden = golden  # where the name is an argument


def _ready(
    program: Program,
    samples: Samples,
    effects: Effects,
    golden: SnnGolden | None,
    portable: bool,
) -> SnnGolden:
    """The golden run, everything checked."""
    effects.check(program)
    if golden is None:
        golden = run_golden(program, samples, portable=portable)
    else:
        check_golden(golden, program, samples)
    sparse = sparse_trials(golden.chain, effects)
    if not sparse.all():
        raise UnsupportedError(
            f"trial {int(np.flatnonzero(~sparse)[0])} has no sparse form; run the trials that "
            "`supports` refuses with codesign.engine.dense"
        )
    return golden


def _run(
    golden: SnnGolden,
    effects: Effects,
    outputs: NDArray[np.int64] | None,
    counts: NDArray[np.int64] | None,
    workers: int | None,
    portable: bool,
) -> NDArray[np.uint8]:
    """Fill outputs or counts; ``[trials]`` 0 where a trial was proved masked, 1 elsewhere."""
    kernels = library()
    assert kernels is not None
    ran = np.zeros(effects.trials, dtype=np.uint8)
    starts = np.searchsorted(effects.table["trial"], np.arange(effects.trials + 1))
    starts = np.ascontiguousarray(starts, dtype=np.int64)
    model, table, labels = ctypes.byref(golden.arrays.model), effects.table, golden.samples.labels

    def run(first: int, last: int) -> None:
        kernels.snn_trials(
            model, _address(table), _address(starts), ctypes.c_int64(first), ctypes.c_int64(last),
            _address(outputs), _address(labels), _address(counts), _address(ran), int(portable),
        )  # fmt: skip

    threads = workers or len(os.sched_getaffinity(0))
    if threads == 1 or effects.trials <= CHUNK:
        run(0, effects.trials)
        return ran
    with ThreadPoolExecutor(threads) as pool:
        firsts = range(0, effects.trials, CHUNK)
        list(pool.map(run, firsts, (min(i + CHUNK, effects.trials) for i in firsts)))
    return ran


def _address(array: NDArray[np.generic] | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)
