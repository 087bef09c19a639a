"""Faults: WHERE (a site), WHAT (a model), WHEN (a window of hardware time).

Single faults are `Fault` objects that people write and read; campaigns use `Faults`, the same in
columns, because a trial at a rate of 1e-1 has hundreds of thousands.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codesign.accelerator import AcceleratorGraph
from codesign.errors import FaultError, nearest
from codesign.formats import rows_by_trial

__all__ = ["FAULT", "PERMANENT", "Fault", "FaultModel", "FaultSite", "Faults", "Window"]


class FaultModel(IntEnum):
    """What is wrong at a site.

    ``flip`` inverts a stored bit once, at the beginning of the window; the bit stays wrong until
    the component is written again. ``stuck0`` and ``stuck1`` hold it during the whole window.
    ``skip`` and ``always`` break a component of role ``operation``: it is never, or always, done in
    the window. ``dead`` makes the whole instance give zeros; its component is ``*``, word and bit
    are 0.
    """

    flip = 0
    stuck0 = 1
    stuck1 = 2
    skip = 3
    always = 4
    dead = 5


@dataclass(frozen=True, order=True)
class FaultSite:
    """One bit of one word of one component of one instance.

    Attributes:
        unit: Unit name.
        instance: Index in the unit's shape; () for a unit of one instance.
        component: Component name; ``*`` is the whole instance (model ``dead`` only).
        word: Word within the component.
        bit: 0 is the least significant.
    """

    unit: str
    instance: tuple[int, ...]
    component: str
    word: int = 0
    bit: int = 0

    def __str__(self) -> str:
        """As people write it.

        >>> str(FaultSite("array", (3, 5), "weight_register", 0, 7))
        'array[3,5].weight_register:7'
        """
        at = f"[{','.join(map(str, self.instance))}]" if self.instance else ""
        word = f"@{self.word}" if self.word else ""
        return f"{self.unit}{at}.{self.component}{word}:{self.bit}"

    @staticmethod
    def parse(text: str) -> FaultSite:
        """Read ``unit[row,col].component@word:bit``; instance and word may be left out.

        Raises:
            FaultError: Not of that form.

        >>> FaultSite.parse("wsram.words@12:3")
        FaultSite(unit='wsram', instance=(), component='words', word=12, bit=3)
        """
        form = r"([A-Za-z]\w*)(?:\[(\d+(?:,\d+)*)\])?\.([A-Za-z]\w*|\*)(?:@(\d+))?:(\d+)"
        found = re.fullmatch(form, text.strip())
        if not found:
            raise FaultError(
                f"{text!r} is no fault site; expected unit[row,col].component@word:bit"
            )
        unit, instance, component, word, bit = found.groups()
        index = tuple(int(i) for i in instance.split(",")) if instance else ()
        return FaultSite(unit, index, component, int(word or 0), int(bit))


@dataclass(frozen=True)
class Window:
    """When: hardware time as (inference, cycle within it), half open; ``last`` None is for ever.

    Attributes:
        first: (inference, cycle) at which the fault begins.
        last: (inference, cycle) before which it ends, or None.
        execution: The execution struck under re-execution, -1 for all.
    """

    first: tuple[int, int] = (0, 0)
    last: tuple[int, int] | None = None
    execution: int = -1

    def __post_init__(self) -> None:
        if min(self.first) < 0 or (self.last is not None and self.last <= self.first):
            raise FaultError(f"window from {self.first} to {self.last} is empty or negative")


PERMANENT = Window()


@dataclass(frozen=True)
class Fault:
    """One broken bit, operation or instance. Bits of one upset share ``event``."""

    site: FaultSite
    model: FaultModel
    window: Window = PERMANENT
    event: int = 0


FAULT = np.dtype(
    [
        ("trial", "i8"),
        ("event", "i8"),
        ("part", "i4"),  # index in AcceleratorGraph.components(); -1 - (unit index) for component *
        ("instance", "i8"),  # flat in the unit's shape
        ("word", "i8"),
        ("bit", "i4"),
        ("model", "i1"),
        ("first", "i8", (2,)),  # inference, cycle
        ("last", "i8", (2,)),  # (-1, -1): for ever
        ("execution", "i1"),
    ]
)

_HEAD = "trial,event,site,model,first_inference,first_cycle,last_inference,last_cycle,execution"


@dataclass(frozen=True, eq=False)
class Faults:
    """Faults of many trials in columns, sorted by trial.

    Attributes:
        table: ``[faults]`` of `FAULT`, read-only.
        trials: Number of trials, numbered from 0.
    """

    table: NDArray[np.void]
    trials: int

    def __post_init__(self) -> None:
        table = rows_by_trial(self.table, FAULT)
        if len(table) and (table["trial"][0] < 0 or table["trial"][-1] >= self.trials):
            raise FaultError(f"faults name trials outside 0..{self.trials - 1}")
        object.__setattr__(self, "table", table)

    def __len__(self) -> int:
        return len(self.table)

    def parts(self) -> list[int]:
        """Numbers of the parts that are struck, rising."""
        part = self.table["part"]
        if len(part) == 0:
            return []
        least = int(part.min())
        return (np.flatnonzero(np.bincount(part - least)) + least).tolist()

    @staticmethod
    def of(trials: Iterable[Iterable[Fault]], accelerator: AcceleratorGraph) -> Faults:
        """A table from lists of single faults, one list a trial.

        Raises:
            FaultError: A fault cannot exist on this accelerator.
        """
        listed = [list(faults) for faults in trials]
        rows = [
            _row(trial, fault, accelerator)
            for trial, faults in enumerate(listed)
            for fault in faults
        ]
        return Faults(np.array(rows, dtype=FAULT), len(listed))

    def fault(self, index: int, accelerator: AcceleratorGraph) -> Fault:
        """Row ``index`` as a single fault."""
        row = self.table[index]
        parts = accelerator.components()
        part = int(row["part"])
        unit = parts[part][0] if part >= 0 else accelerator.units[-1 - part]
        component = parts[part][1].name if part >= 0 else "*"
        instance = tuple(int(i) for i in np.unravel_index(int(row["instance"]), unit.shape or (1,)))
        site = FaultSite(
            unit.name, instance if unit.shape else (), component, int(row["word"]), int(row["bit"])
        )
        first = (int(row["first"][0]), int(row["first"][1]))
        last = None if row["last"][0] < 0 else (int(row["last"][0]), int(row["last"][1]))
        window = Window(first, last, int(row["execution"]))
        return Fault(site, FaultModel(int(row["model"])), window, int(row["event"]))

    def check(self, accelerator: AcceleratorGraph) -> None:
        """Refuse faults that cannot exist on an accelerator (vectorised; the first is named).

        Raises:
            FaultError: No such part, instance, word or bit, or a model that its part cannot have.
        """
        parts = accelerator.components()
        part, model = self.table["part"], self.table["model"]
        if len(part) and (part.max() >= len(parts) or part.min() < -len(accelerator.units)):
            raise FaultError(f"fault table names part {part.max()} of {len(parts)}")
        for index in self.parts():
            rows = self.table[part == index]
            unit = parts[index][0] if index >= 0 else accelerator.units[-1 - index]
            words, bits = (parts[index][1].words, parts[index][1].bits) if index >= 0 else (1, 1)
            limits = {"instance": unit.instances, "word": words, "bit": bits}
            for column, limit in limits.items():
                bad = (rows[column] < 0) | (rows[column] >= limit)
                if bad.any():
                    name = f"{unit.name}.{parts[index][1].name if index >= 0 else '*'}"
                    raise FaultError(
                        f"{name} has {column} 0..{limit - 1}, came {rows[column][bad][0]}"
                    )
        for i in range(len(parts)):
            self._check_models(model[part == i], parts[i][1].role == "operation", parts[i][1].name)
        self._check_models(model[part < 0], None, "*")

    @staticmethod
    def _check_models(models: NDArray[np.int8], operation: bool | None, name: str) -> None:
        allowed = {
            None: (FaultModel.dead,),
            True: (FaultModel.skip, FaultModel.always),
            False: (FaultModel.flip, FaultModel.stuck0, FaultModel.stuck1),
        }[operation]
        bad = ~np.isin(models, allowed)
        if bad.any():
            came = FaultModel(int(models[bad][0])).name
            known = ", ".join(m.name for m in allowed)
            raise FaultError(f"component {name} cannot have a {came} fault; it can have: {known}")

    def to_csv(self, path: Path, accelerator: AcceleratorGraph) -> None:
        """Write the list, one fault a line, sites as people write them."""
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(_HEAD + "\n")
            writer = csv.writer(file, lineterminator="\n")
            for i, row in enumerate(self.table):
                fault = self.fault(i, accelerator)
                last = fault.window.last or (-1, -1)
                what = (row["trial"], fault.event, fault.site, fault.model.name)
                writer.writerow((*what, *fault.window.first, *last, fault.window.execution))

    @staticmethod
    def from_csv(path: Path, accelerator: AcceleratorGraph, trials: int | None = None) -> Faults:
        """Read a list that `to_csv` (or a person) wrote.

        Raises:
            FaultError: With file and line: a malformed line or a fault that cannot exist.
        """
        rows = []
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            if ",".join(next(lines, [])) != _HEAD:
                raise FaultError(f"{path}:1: expected the heading {_HEAD}")
            for number, cells in enumerate(lines, 2):
                try:
                    rows.append(_row(*_parse(cells), accelerator))
                except (ValueError, FaultError) as error:
                    raise FaultError(f"{path}:{number}: {error}") from error
        table = np.array(rows, dtype=FAULT)
        count = trials if trials is not None else int(table["trial"].max(initial=-1)) + 1
        return Faults(table, count)


def _parse(cells: list[str]) -> tuple[int, Fault]:
    """Trial and fault of one CSV line."""
    if len(cells) != 9:
        raise FaultError(f"expected 9 fields, came {len(cells)}")
    trial, event, site, model, *window = cells
    if model not in FaultModel.__members__:
        raise FaultError(f"unknown fault model {model!r}{nearest(model, FaultModel.__members__)}")
    i0, c0, i1, c1, execution = (int(x) for x in window)
    when = Window((i0, c0), None if i1 < 0 else (i1, c1), execution)
    return int(trial), Fault(FaultSite.parse(site), FaultModel[model], when, int(event))


def _row(trial: int, fault: Fault, accelerator: AcceleratorGraph) -> tuple[object, ...]:
    """One fault as a row of the table, checked against the accelerator."""
    site = fault.site
    unit = accelerator.unit(site.unit)
    shape = unit.shape
    if len(site.instance) != len(shape) or any(
        not 0 <= i < n for i, n in zip(site.instance, shape, strict=False)
    ):
        raise FaultError(f"{site}: {unit.name} has instances of shape {shape}")
    instance = int(np.ravel_multi_index(site.instance, shape)) if shape else 0
    if site.component == "*":
        part = -1 - [u.name for u in accelerator.units].index(unit.name)
    else:
        component = unit.component(site.component)
        if not 0 <= site.bit < component.bits or not 0 <= site.word < component.words:
            raise FaultError(
                f"{site}: {component.name} has words 0..{component.words - 1} "
                f"of bits 0..{component.bits - 1}"
            )
        part = accelerator.components().index((unit, component))
    last = fault.window.last or (-1, -1)
    row = (trial, fault.event, part, instance, site.word, site.bit, int(fault.model))
    whole = (*row, fault.window.first, last, fault.window.execution)
    Faults(np.array([whole], dtype=FAULT), trial + 1).check(accelerator)
    return whole
