"""Systolic arrays with one planted mistake each, for the suite that must find it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accelerators import Systolic
from codesign.accelerator import AcceleratorGraph
from codesign.effects import EFFECT, Effects
from codesign.faults import FaultModel, Faults
from codesign.mapping import Activity, Assignment, Cost, Footprint, Mapping, Placement
from codesign.network import Linear, NetworkGraph
from codesign.program import Program

__all__ = ["MISTAKES", "Broken"]

CALLS = itertools.count()


@dataclass(frozen=True)
class Broken:
    """A systolic array whose answers pass one of `MISTAKES`; ``none`` changes nothing."""

    inner: Systolic
    mistake: str

    def build(self) -> AcceleratorGraph:
        """The chip; of a stolen graph the family is somebody else's."""
        chip = self.inner.build()
        return chip if self.mistake == "stolen graph" else replace(chip, family=self)

    def map(self, network: NetworkGraph, placement: Placement) -> BrokenMapping:
        """The network placed."""
        return BrokenMapping(self.inner.map(network, placement), self.mistake)


@dataclass(frozen=True)
class BrokenMapping:
    """Answers of a mapping, changed by a mistake."""

    inner: Mapping
    mistake: str

    def program(self, guards: tuple[Any, ...]) -> Program:
        """See `Mapping`."""
        return self._wrong("program", self.inner.program(guards))

    def assignments(self) -> tuple[Assignment, ...]:
        """See `Mapping`."""
        return self._wrong("assignments", self.inner.assignments())

    def footprint(self, faults: Faults, inferences: int) -> Footprint:
        """See `Mapping`."""
        if self.mistake == "dead instances crash" and (faults.table["part"] < 0).any():
            raise KeyError(int(faults.table["part"][0]))
        found = self.inner.footprint(faults, inferences)
        if MISTAKES[self.mistake][0] != "footprint":
            return found
        changed = MISTAKES[self.mistake][1](found, faults)
        if isinstance(changed, dict):
            return replace(found, **changed)
        table = changed
        idle = np.bincount(table["trial"], minlength=faults.trials) == 0
        return Footprint(Effects(table, faults.trials), found.faults, idle.astype(np.int64))

    def exposures(self, unit: str, component: str) -> tuple[int, ...]:
        """See `Mapping`."""
        return self._wrong("exposures", self.inner.exposures(unit, component))

    def cost(self, activity: Activity, guards: tuple[Any, ...]) -> Cost:
        """See `Mapping`."""
        return self._wrong("cost", self.inner.cost(activity, guards))

    def _wrong(self, method: str, answer: Any) -> Any:
        wrong, change = MISTAKES[self.mistake]
        return change(answer) if wrong == method else answer


def _other_bias(program: Program) -> Program:
    last = program.network.layers[-1]
    assert isinstance(last, Linear)
    layers = (*program.network.layers[:-1], replace(last, bias=last.bias + 1))
    return replace(program, network=replace(program.network, layers=layers))


def _narrow_sums(program: Program) -> Program:
    narrow = {
        name: replace(sums, inner=replace(sums.inner, bits=6))
        for name, sums in program.arithmetic.items()
    }
    return replace(program, arithmetic=narrow)


def _first_layer_only(found: Footprint, faults: Faults) -> Any:
    """Permanent faults forget the layers behind the first."""
    table = found.effects.table
    lasting = (faults.table["model"] != FaultModel.flip) & (faults.table["last"][:, 0] < 0)
    trials = faults.table["trial"][lasting & (faults.table["first"] == 0).all(axis=1)]
    return table[~np.isin(table["trial"], trials) | (table["layer"] <= 1)]


def _beyond(found: Footprint, faults: Faults) -> Any:
    """The last channel but one stands for one that does not exist."""
    table = found.effects.table.copy()
    table["n"][:, 1] = np.where(table["n"][:, 1] > 0, table["n"][:, 1] + 3, table["n"][:, 1])
    return table


def _by_trial(found: Footprint, faults: Faults) -> Any:
    """What a fault does depends on the number of its trial."""
    table = found.effects.table.copy()
    table["mask"] = np.where((table["trial"] > 0) & (table["mask"] > 1), 1, table["mask"])
    return table


def _by_chance(found: Footprint, faults: Faults) -> Any:
    """Every other call leaves an effect out."""
    return found.effects.table[next(CALLS) % 2 :]


def _overruled(found: Footprint, faults: Faults) -> Any:
    """Two faults in one trial are one too many."""
    many = len(faults) > faults.trials
    return np.zeros(0, dtype=EFFECT) if many else found.effects.table


def _costlier(cost: Cost) -> Cost:
    return replace(cost, rows=(replace(cost.rows[0], count=-1.0), *cost.rows[1:]))


def _graded(cost: Cost) -> Cost:
    rows = tuple(
        replace(row, energy_pj=None, grade="published") if i == 0 else row
        for i, row in enumerate(cost.rows)
    )
    return replace(cost, rows=rows)


MISTAKES: dict[str, tuple[str, Callable[..., Any]]] = {
    "none": ("", lambda answer: answer),
    "stolen graph": ("build", lambda answer: answer),
    "dead instances crash": ("", lambda answer: answer),
    "other bias": ("program", _other_bias),
    "narrow sums": ("program", _narrow_sums),
    "a tile is missing": ("assignments", lambda all_: all_[1:]),
    "outside of the array": (
        "assignments",
        lambda all_: (replace(all_[0], instances=((0, 9), (0, 1))), *all_[1:]),
    ),
    "first layer only": ("footprint", _first_layer_only),
    "a channel too many": ("footprint", _beyond),
    "by trial": ("footprint", _by_trial),
    "by chance": ("footprint", _by_chance),
    "two are none": ("footprint", _overruled),
    "nothing is idle": ("footprint", lambda found, _: {"idle": np.zeros_like(found.idle)}),
    "more faults than drawn": ("footprint", lambda found, _: {"faults": found.faults + 1}),
    "loads after the end": ("exposures", lambda cycles: (*cycles, 10**6)),
    "a negative count": ("cost", _costlier),
    "no number, but a grade": ("cost", _graded),
    "too few cycles": ("cost", lambda cost: replace(cost, cycles=1)),
}
"""By name: which answer is changed, and how.

Of a footprint comes another table of effects, or other books.
"""
