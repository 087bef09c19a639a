"""The sparse engine: `codesign.engine.dense`'s contract, at a fraction of its cost.

Trials that have a sparse form run in the compiled kernels, those for networks of one step
(`codesign.engine.sparse_cnn`) or those for chains of spiking layers (`codesign.engine.sparse_snn`);
all others, and programs without one, go to the dense engine. Trials of one and the same effect are
run once. Every trial is counted, and every one equals `codesign.engine.reference` bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from codesign.effects import Effects
from codesign.engine import dense, sparse_cnn, sparse_snn
from codesign.engine.dense_golden import Golden
from codesign.engine.golden import check_golden
from codesign.engine.kernels import kernel_name
from codesign.engine.observables import Observables
from codesign.errors import DataError, UnsupportedError
from codesign.network import Lif
from codesign.program import Program
from codesign.samples import Samples

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.void]

__all__ = ["Counts", "evaluate", "evaluate_counted", "why_dense"]

NAMES_ONLY = ("trial", "event", "rank")  # columns that do not matter to an effect that is alone
COUNTED = ("pairs", "layers", "by_terms", "narrow")

_spiking: WeakKeyDictionary[Golden, sparse_snn.SnnGolden] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the trials of a call; ``golden + collapsed + sparse + dense`` is all of them.

    Attributes:
        golden: Nothing acts in them: not run.
        collapsed: Their effect is that of another trial of the call, whose outputs they take.
        sparse: Run in the kernels.
        dense: Run in the dense engine.
        why_dense: Why all of a program's trials are dense, or an empty text.
        pairs: (trial, sample) pairs that the kernels ran; like all below, of networks of one step.
        layers: Layers computed in all of these.
        by_terms: Outputs that were summed again term by term.
        narrow: Layers whose differences were summed in 16 bits.
    """

    golden: int = 0
    collapsed: int = 0
    sparse: int = 0
    dense: int = 0
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
    why = "layers are watched" if watch else why_dense(golden)
    if why:
        found = dense.evaluate(program, samples, effects, golden=golden, watch=watch)
        return found, Counts(dense=effects.trials, why_dense=why)
    effects.check(program)
    check_golden(golden, program, samples)
    table = effects.table if _is_spiking(program) else _acting(effects.table)
    run, twins = _distinct(table, effects.trials)
    outputs = np.repeat(golden.outputs[None], effects.trials, axis=0)
    counts = _run(golden, _of_trials(table, run), run, outputs, workers)
    outputs[twins[:, 0]] = outputs[twins[:, 1]]
    nothing = np.zeros((3, effects.trials, len(samples)), dtype=bool)
    idle = effects.trials - len(run) - len(twins)
    counts = replace(counts, golden=idle, collapsed=len(twins))
    return Observables(outputs, nothing[0], nothing[1], nothing[2]), counts


def why_dense(golden: Golden) -> str:
    """Why no trial of a golden run has a sparse form, or an empty text."""
    if golden.plan.device.type != "cpu":
        return "the golden run is not on the CPU"
    if golden in _spiking:
        return ""
    if _is_spiking(golden.program):
        return sparse_snn.why_dense(golden.program)
    return sparse_cnn.why_dense(golden.program)


def _is_spiking(program: Program) -> bool:
    return any(isinstance(layer, Lif) for layer in program.network)


def _acting(table: Rows) -> Rows:
    return table[sparse_cnn.acting(table)]


def _distinct(table: Rows, trials: int) -> tuple[Ints, Ints]:
    """Trials to run, rising; and ``[n, 2]`` those that have the one effect of an earlier one."""
    rows = np.bincount(table["trial"], minlength=trials)
    single = table[rows[table["trial"]] == 1]
    key = single.copy()
    for name in NAMES_ONLY:
        key[name] = 0
    text = np.ascontiguousarray(key).view(np.dtype((np.void, key.dtype.itemsize)))
    _, first, which = np.unique(text, return_index=True, return_inverse=True)
    twin = single["trial"][first[which.reshape(-1)]]
    later = single["trial"] != twin
    twins = np.stack([single["trial"][later], twin[later]], axis=1)
    rows[twins[:, 0]] = 0
    return np.flatnonzero(rows), twins


def _run(golden: Golden, effects: Effects, places: Ints, outputs: Ints, workers: int) -> Counts:
    """Write outputs of trials in all of which something acts, by the kernels or else densely."""
    if effects.trials == 0:
        return Counts()
    run = _spikes if _is_spiking(golden.program) else _codes
    sparse, counts = run(golden, effects, places, outputs, workers)
    others = np.flatnonzero(~sparse)
    if len(others):
        rest = _of_trials(effects.table, others)
        dense_run = dense.evaluate(golden.program, golden.samples, rest, golden=golden)
        outputs[places[others]] = dense_run.outputs
    return replace(counts, sparse=int(sparse.sum()), dense=len(others))


def _spikes(
    golden: Golden, effects: Effects, places: Ints, outputs: Ints, workers: int
) -> tuple[Bools, Counts]:
    """Write what the kernels for spiking networks can run; which trials they could."""
    start = _spiking_run(golden)
    sparse = sparse_snn.sparse_trials(start.chain, effects)
    mine = np.flatnonzero(sparse)
    if len(mine):
        part = _of_trials(effects.table, mine)
        outputs[places[mine]] = sparse_snn.evaluate(
            golden.program, golden.samples, part, golden=start, workers=workers
        ).outputs
    return sparse, Counts()


def _codes(
    golden: Golden, effects: Effects, places: Ints, outputs: Ints, workers: int
) -> tuple[Bools, Counts]:
    """Write what the kernels for networks of one step can run; which trials they could."""
    sparse, sums = sparse_cnn.sparse_trials(golden, effects.table, effects.trials)
    mine = np.flatnonzero(sparse)
    if len(mine) == 0:
        return sparse, Counts()
    rows = _of_trials(effects.table, mine).table
    starts = np.searchsorted(rows["trial"], np.arange(len(mine) + 1))
    found = sparse_cnn.evaluate(golden, rows, starts, sums[mine], outputs, workers, places[mine])
    return sparse, Counts(**dict(zip(COUNTED, found.tolist(), strict=True)))


def _spiking_run(golden: Golden) -> sparse_snn.SnnGolden:
    """What the kernels for spiking networks start from: made once."""
    if golden not in _spiking:
        run = sparse_snn.golden(golden.program, golden.samples)
        if not np.array_equal(run.outputs, golden.outputs):
            raise UnsupportedError(
                f"{golden.program.network.name}: the kernels' golden outputs are not those of the "
                f"dense engine ({kernel_name()}); use the dense engine and report this"
            )
        _spiking[golden] = run
    return _spiking[golden]


def _of_trials(table: Rows, trials: Ints) -> Effects:
    """The rows of some trials, numbered anew."""
    number = np.full(int(table["trial"].max(initial=-1)) + 1, -1)
    number[trials] = np.arange(len(trials))
    rows = table[number[table["trial"]] >= 0]
    rows["trial"] = number[rows["trial"]]
    return Effects(rows, len(trials))
