"""Struck sites in columns, and the rows of effects they turn into."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accelerators.cores.times import Clock, rectangles
from codesign.effects import ALL, EFFECT, At, Kind, Op
from codesign.faults import FaultModel
from codesign.formats import NumberFormat

__all__ = ["Box", "EffectRows", "Place", "Span", "Struck", "each"]

Ints = NDArray[np.int64]
Bounds = tuple[Ints, Ints]
Box = dict[str, "Bounds | Ints | int"]
"""Columns of effects: ``m``, ``k``, ``n`` as (start, stop), ``segment`` and ``after``."""

RANK_OF_STAGE = np.int64(2**40)  # later stages of a value's way act later, whatever their times


@dataclass(frozen=True, eq=False)
class Struck:
    """Faults of one component, in columns.

    Attributes:
        index: ``[faults]`` row of the fault table.
        instance: ``[faults, axes]`` index in the unit's shape.
        word, bit: ``[faults]``.
        model: ``[faults]``.
        first: ``[faults]`` first cycle, from the beginning of the run.
        last: ``[faults]`` the cycle after the last; a flip has one cycle.
        form: Format of the component, None for whole instances and operations.
    """

    index: Ints
    instance: Ints
    word: Ints
    bit: Ints
    model: Ints
    first: Ints
    last: Ints
    form: NumberFormat | None = None

    def __len__(self) -> int:
        return len(self.index)

    def take(self, which: NDArray[np.generic]) -> Struck:
        """Some of them, in another order or several times."""
        return Struck(
            self.index[which],
            self.instance[which],
            self.word[which],
            self.bit[which],
            self.model[which],
            self.first[which],
            self.last[which],
            self.form,
        )

    @property
    def core(self) -> Ints:
        """``[faults]`` the core, first axis of every unit."""
        return self.instance[:, 0]

    @property
    def flips(self) -> NDArray[np.bool_]:
        """``[faults]`` whether a fault inverts once."""
        return self.model == FaultModel.flip

    def by_core(self) -> dict[int, Struck]:
        """The faults of each core that has any."""
        order = np.argsort(self.core, kind="stable")
        cores, starts = np.unique(self.core[order], return_index=True)
        ends = [*starts[1:], len(order)]
        return {
            int(core): self.take(order[start:end])
            for core, start, end in zip(cores, starts, ends, strict=True)
        }


@dataclass(frozen=True)
class Place:
    """Where a value stands on its way.

    Attributes:
        kind, at: As in `codesign.effects`.
        layer: Number of the layer.
        stage: Orders places that look the same to a program: later stages act later.
    """

    kind: Kind
    at: At
    layer: int
    stage: int = 0


@dataclass(frozen=True, eq=False)
class Span:
    """Which repetitions of an event each fault touches: half open, empty where it touches none."""

    first: Ints
    last: Ints


@dataclass(eq=False)
class EffectRows:
    """A growing table of effects of the faults of all trials.

    Attributes:
        table: The fault table.
        clock: Of the run.
        rows: Pieces of the effect table so far.
        touched: ``[faults]`` whether a fault has a row.
    """

    table: NDArray[np.void]
    clock: Clock
    rows: list[NDArray[np.void]] = field(default_factory=list)
    touched: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.touched = np.zeros(len(self.table), dtype=bool)

    def add(
        self,
        place: Place,
        struck: Struck,
        span: Span,
        box: Box,
        *,
        delay_steps: int = 0,
        factor: Ints | None = None,
    ) -> None:
        """Rows for those faults whose span is not empty.

        Args:
            place: Where the value stands.
            struck: ``[faults]``; their model makes the corruption.
            span: ``[faults]`` repetitions touched.
            box: ``[faults]`` elements touched; an axis that is left out is touched whole.
            delay_steps: Steps later in which they are read, in the same inference.
            factor: ``[faults]`` with which values are multiplied instead.
        """
        acting = np.flatnonzero(span.first < span.last)
        which, inferences, steps = rectangles(self.clock, span.first[acting], span.last[acting])
        which = acting[which]
        if delay_steps:
            steps = np.where(steps < 0, steps, steps + delay_steps)
            steps[steps[:, 1] >= self.clock.steps, 1] = -1
            there = np.flatnonzero(steps[:, 0] < self.clock.steps)
            which, inferences, steps = which[there], inferences[there], steps[there]
        rows = np.zeros(len(which), dtype=EFFECT)
        faults = self.table[struck.index[which]]
        for name in ("trial", "event", "execution"):
            rows[name] = faults[name]
        rows["kind"], rows["at"], rows["layer"] = place.kind, place.at, place.layer
        rows["samples"], rows["steps"] = inferences, steps
        rows["segment"], rows["reader"] = -1, -1
        for axis in ("m", "k", "n"):
            rows[axis] = ALL
        for name, value in box.items():
            if isinstance(value, tuple):
                rows[name][:, 0], rows[name][:, 1] = value[0][which], value[1][which]
            else:
                rows[name] = value if isinstance(value, int) else value[which]
        _corrupt(rows, struck, which, place)
        if factor is not None:
            rows["op"], rows["mask"], rows["value"] = Op.scale, 0, factor[which]
        self.rows.append(rows)
        self.touched[struck.index[which]] = True

    def finish(self) -> NDArray[np.void]:
        """The whole table."""
        table = np.concatenate([np.zeros(0, dtype=EFFECT), *self.rows])
        table.flags.writeable = False
        return table


def each(values: Ints) -> tuple[Ints, Ints]:
    """One index each, as a (start, stop) of boxes."""
    return values, values + 1


def _corrupt(rows: NDArray[np.void], struck: Struck, which: Ints, place: Place) -> None:
    """Corruption and rank. In one place what is in force later acts later."""
    model = struck.model[which]
    time = struck.first[which]
    if struck.form is not None:
        mask = np.int64(1) << struck.bit[which]
        stuck = model != FaultModel.flip
        rows["op"] = np.where(stuck, Op.stuck, Op.xor)
        rows["bits"], rows["signed"] = struck.form.bits, struck.form.signed
        rows["mask"] = mask
        rows["value"] = np.where(model == FaultModel.stuck1, mask, 0)
        time = np.where(stuck, struck.last[which] - 1, time)
    elif place.kind is Kind.operation:
        rows["op"] = np.where(model == FaultModel.always, Op.always, Op.skip)
    else:
        rows["op"] = Op.replace
    rows["rank"] = place.stage * RANK_OF_STAGE + np.minimum(time, RANK_OF_STAGE - 1)
