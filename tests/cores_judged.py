"""Faults of small networks on cores, run cycle by cycle once, for the tests to judge effects by."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from cores_cases import (
    INFERENCES,
    SMALL,
    WIDE,
    Case,
    delayed,
    dense,
    every_fault,
    groups_of_equal_effects,
    pooled,
    some_trials,
)
from numpy.typing import NDArray
from oracles_cores import simulate

from accelerators.cores.mapping import CoresMapping
from codesign.engine.reference import evaluate
from codesign.faults import FaultModel, Faults
from codesign.mapping import Placement

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"

CASES = {
    "larger than a core": Case(SMALL, dense()),
    "two cores take turns": Case(replace(SMALL, mesh=(2, 1)), dense(seed=1, readout=True)),
    "each tile a core": Case(replace(SMALL, axons=2, mesh=(3, 2)), dense(seed=1, readout=True)),
    "equal to a core": Case(replace(SMALL, axons=4, columns=3, mesh=(2, 1)), dense()),
    "smaller than a core": Case(replace(SMALL, axons=6, columns=5, weights="reloaded"), dense()),
    "convolution in rounds": Case(WIDE, pooled()),
    "convolution on many cores": Case(replace(WIDE, mesh=(5, 4), weight_words=96), pooled(2)),
    "delays": Case(replace(WIDE, axons=3, columns=3), delayed()),
    "placed with holes": Case(
        replace(SMALL, axons=5, columns=4, mesh=(3, 3)),
        dense(),
        Placement(rows=(4, 1, 3), columns=(3, 1, 2), forbidden=((1,), (0, 1), (2, 3), (5, 2))),
    ),
}
assert CASES


@dataclass(frozen=True, eq=False)
class Judged:
    """One case, all its faults, run cycle by cycle and mapped to effects.

    Attributes:
        mapping: Of the network on the chip.
        table: Faults, one a trial.
        outputs: ``[trials, samples, classes]`` cycle by cycle.
        golden: ``[samples, classes]``.
        groups: ``[trials]`` trials of equal effects share a number.
        faults: The same faults.
    """

    mapping: CoresMapping
    table: NDArray[np.void]
    outputs: NDArray[np.int64]
    golden: NDArray[np.int64]
    groups: NDArray[np.int64]
    faults: Faults

    @property
    def changed(self) -> NDArray[np.bool_]:
        """``[trials]`` whether a fault changes an output."""
        return np.asarray((self.outputs != self.golden).any(axis=(1, 2)))


@cache
def judged(name: str) -> Judged:
    """A case with the faults of its name, run once."""
    case = CASES[name]
    mapping = case.sheet.map(case.network, case.placement)
    cycles = mapping.schedule.inference_cycles
    chip = mapping.accelerator
    bits = sum(unit.sites(part.name) for unit, part in chip.components())
    all_sites = bits * cycles * INFERENCES < 90_000
    table = every_fault(mapping, seed=len(name), most=10**9 if all_sites else 40)
    if not all_sites:
        flips = table["model"] == FaultModel.flip
        draw, quota = np.random.default_rng(1), 5000 if DEEP else 600
        parts = [np.flatnonzero(flips & (table["part"] == p)) for p in np.unique(table["part"])]
        chosen = [draw.permutation(part)[:quota] for part in parts]
        table = table[np.sort(np.concatenate([*chosen, np.flatnonzero(~flips)]))]
        table["trial"] = np.arange(len(table))
    faults = Faults(table, len(table))
    outputs, simulated = simulate(case.sheet, case.network, case.samples, faults, case.placement)
    assert simulated == cycles
    footprint = mapping.footprint(faults, INFERENCES)
    nothing = Faults(table[:0], 1)
    golden, _ = simulate(case.sheet, case.network, case.samples, nothing, case.placement)
    groups = groups_of_equal_effects(footprint.effects)
    return Judged(mapping, table, outputs, golden[0], groups, faults)


def representatives(found: Judged, count: int) -> NDArray[np.int64]:
    """One trial of each set of effects, or ``count`` of them, spread over components and models."""
    _, first = np.unique(found.groups, return_index=True)
    if DEEP or len(first) <= count:
        return np.sort(first)
    draw = np.random.default_rng(len(first))
    kinds = found.table["part"][first].astype(int) * 8 + found.table["model"][first]
    turn = np.zeros(len(first))
    for kind in np.unique(kinds):
        mine = np.flatnonzero(kinds == kind)
        turn[draw.permutation(mine)] = np.arange(len(mine)) + draw.random()
    return np.sort(first[np.argsort(turn)[:count]])


def disagreements(found: Judged, trials: NDArray[np.int64], faults: Faults) -> int:
    """Trials whose effects, evaluated, give other outputs than the cores cycle by cycle."""
    footprint = found.mapping.footprint(faults, INFERENCES)
    program = found.mapping.program(())
    effects = some_trials(footprint.effects, trials)
    samples = next(c for c in CASES.values() if c.network is found.mapping.network).samples
    outputs = evaluate(program, samples, effects).outputs
    return int((outputs != found.outputs[trials]).any(axis=(1, 2)).sum())
