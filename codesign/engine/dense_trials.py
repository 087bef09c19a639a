"""Trials: executions, batches of samples, votes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from codesign.effects import At
from codesign.engine.dense_golden import Golden, batches
from codesign.engine.dense_moment import Flags
from codesign.engine.dense_plan import OUTSIDE, TrialRows
from codesign.engine.dense_rows import Rows, spans, take, windows
from codesign.engine.dense_run import Run
from codesign.engine.observables import Observables

__all__ = ["Trials"]

Ints = NDArray[np.int64]
Seen = dict[str, NDArray[np.int64]]
FEW_CUTS = 16  # ends of windows at which samples are always split
PASS_TERMS = 1 << 14  # terms looked at one by one that cost as much as a layer of one sample


class Trials:
    """Evaluates trials into one table of observables.

    Attributes:
        observed: Of the trials evaluated so far; the others are golden.
    """

    def __init__(self, golden: Golden, watch: tuple[str, ...], memory_mb: int, trials: int) -> None:
        self.golden, self.plan, self.memory_mb = golden, golden.plan, memory_mb
        self.network = golden.program.network
        self.watch = watch
        samples = len(golden.samples)
        self.observed = Observables(
            outputs=np.repeat(golden.outputs[None], trials, axis=0),
            corrected=np.repeat(golden.corrected[None], trials, axis=0),
            detected=np.repeat(golden.detected[None], trials, axis=0),
            hang=np.zeros((trials, samples), dtype=bool),
            watched={
                name: np.zeros((trials, samples, self.network.steps, *shape), dtype=np.int64)
                for name, shape in self._watched_shapes()
            },
        )

    def evaluate(self, trial: int, rows: Rows) -> None:
        """Evaluate one trial."""
        seen = self.observed
        done: dict[bytes, tuple[NDArray[np.int64], Flags]] = {}
        runs = []
        for execution in range(self.golden.program.executions):
            mine = (rows["execution"] == -1) | (rows["execution"] == execution)
            key = mine.tobytes()
            if key not in done:
                watched = {n: x[trial] for n, x in seen.watched.items()} if not done else {}
                done[key] = self._execute(take(rows, mine), watched)
            runs.append(done[key])
        chosen, corrected, detected = _vote(np.stack([outputs for outputs, _ in runs]))
        flags = Flags(corrected, detected)
        for _, found in done.values():
            flags.add_(found)
        seen.outputs[trial] = chosen
        seen.corrected[trial], seen.detected[trial] = flags.corrected, flags.detected

    def _watched_shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for name in self.watch:
            index = self.network.index(name)
            yield name, self.plan.shape(index)
            if index in self.plan.lifs:
                yield f"{name}.membrane", self.plan.shape(index)

    def _execute(self, rows: Rows, watched: Seen) -> tuple[NDArray[np.int64], Flags]:
        """Outputs and flags of all samples under some rows; what is watched is written."""
        golden = self.golden
        outputs = golden.outputs.copy()
        flags = Flags(golden.corrected.copy(), golden.detected.copy())
        for samples, some in self._parts(rows, everything=bool(watched)):
            mine = TrialRows(self.plan, some)
            lifs = frozenset(i for i in self.plan.lifs if self.network.layers[i].name in watched)
            stale = mine.stale(lifs)
            cuts = frozenset() if watched else mine.cuts(stale)
            ends = self.plan.layers - 1 in stale or mine.read(self.plan.layers - 1, OUTSIDE)
            for batch in batches(self.plan, samples, self.memory_mb):
                run = Run(self.plan, mine, batch, golden.kept, len(golden.samples))
                run.execute(stale, watched=lifs, cuts=cuts, keep=bool(watched))
                found = golden.end.at(batch)
                if ends and len(run.alive):
                    outputs[batch[run.alive]], end = run.output()
                    found.clear_(run.alive)
                    found.add_(end, run.alive)
                for index, kept in enumerate(golden.kept):
                    found.add_(run.flags.get(index) or kept.flags.at(batch))
                flags.corrected[batch], flags.detected[batch] = found.corrected, found.detected
                self._watch(run, batch, watched)
        return outputs, flags

    def _watch(self, run: Run, batch: Ints, watched: Seen) -> None:
        for name in watched:
            if name not in self.watch:
                continue
            index = self.network.index(name)
            value, _ = run.read(index, OUTSIDE)
            seen = value.data.long().cpu().numpy()
            steps = self.network.steps
            watched[name][batch] = np.swapaxes(
                np.broadcast_to(seen, (steps, *seen.shape[1:])), 0, 1
            )
            if index in self.plan.lifs:
                shape = len(batch), *self.plan.shape(index)
                for step, membrane in enumerate(run.states[index].history or ()):
                    values = membrane.long().cpu().numpy().reshape(shape)
                    watched[f"{name}.membrane"][batch, step] = values

    def _parts(self, rows: Rows, everything: bool) -> Iterator[tuple[Ints, Rows]]:
        """Samples that windows hold, with the rows that act on them.

        Samples are cut where windows begin and end, if they do so in a few places only, or if what
        changes from sample to sample is so much that each is better computed alone.
        """
        count = len(self.golden.samples)
        first, last = windows(rows, "samples", count)
        from_step, to_step = windows(rows, "steps", self.network.steps)
        acting = (last > first) & (to_step > from_step)
        rows, first, last = take(rows, acting), first[acting], last[acting]
        held = np.zeros(count + 1, dtype=np.int64)
        np.add.at(held, first, 1)
        np.add.at(held, last, -1)
        present = np.flatnonzero((np.cumsum(held[:-1]) > 0) | everything)
        cuts = np.unique(np.concatenate([first, last]))
        if len(cuts) > FEW_CUTS and not self._many_terms(rows, last - first, len(cuts)):
            cuts = cuts[:0]
        for part in np.split(present, np.searchsorted(present, cuts)):
            if len(part) == len(present):
                yield part, rows
            elif len(part):
                yield part, take(rows, (first <= part[-1]) & (last > part[0]))

    def _many_terms(self, rows: Rows, samples: Ints, cuts: int) -> bool:
        """Whether weights that differ from sample to sample touch more terms than passes cost."""
        changing = take(rows, (rows["at"] == At.weight) & (samples * 2 < len(self.golden.samples)))
        terms = 0
        for index, plan in self.plan.macs.items():
            mine = take(changing, changing["layer"] == index)
            axes = zip("mkn", plan.shape, strict=True)
            sizes = np.prod([spans(mine, axis, size).count for axis, size in axes], axis=0)
            terms += int(sizes.sum())
        return terms * self.network.steps > cuts * self.plan.layers * PASS_TERMS


def _vote(
    outputs: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """The majority's outputs ``[samples, classes]`` of ``[executions, samples, classes]``.

    Returns:
        Outputs; samples where not all agreed but most did; samples without a majority.
    """
    executions = len(outputs)
    if executions == 1:
        return outputs[0], *np.zeros((2, outputs.shape[1]), dtype=bool)
    same = (outputs[:, None] == outputs[None]).all(axis=3).sum(axis=1)
    agreed = (same == executions).all(axis=0)
    most = 2 * same > executions
    winner = most.argmax(axis=0)  # the first execution of the majority, or execution 0
    chosen = outputs[winner, np.arange(outputs.shape[1])]
    return chosen, ~agreed & most.any(axis=0), ~agreed & ~most.any(axis=0)
