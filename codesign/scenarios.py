"""Scenarios: which faults a trial meets, drawn on hardware sites.

Draws are keyed (`codesign.draws`): the faults of one component in one trial depend on (seed, trial,
accelerator's geometry of that component) alone, and those at a low rate are among those at a
higher one. Two designs that share a component therefore meet the same faults and are compared in
pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from codesign.accelerator import AcceleratorGraph, Component, Unit
from codesign.design import Design
from codesign.draws import nested_sites, site_per_trial, uniform_for
from codesign.errors import FaultError, nearest
from codesign.events import EventProgram
from codesign.faults import FAULT, FaultModel, Faults

__all__ = ["FaultList", "RandomFaults", "Scenario", "SingleFaults", "targets"]

Model = Literal["flip", "stuck", "stuck0", "stuck1", "skip", "always", "broken", "dead"]
Exposure = Literal["start", "stored", "inference"]


class Scenario(Protocol):
    """Draws the faults of some trials; independent of which other trials are drawn with them."""

    def draw(self, design: Design, trials: Sequence[int], seed: int, inferences: int) -> Faults:
        """Faults of the trials, numbered 0, 1, … in the order given.

        Args:
            design: Whose accelerator is struck. Guards change nothing here, but a design that
                executes each inference several times meets transients in each execution.
            trials: Numbers of the trials.
            seed: Of the study.
            inferences: How many inferences a trial runs.
        """
        ...


@dataclass(frozen=True)
class RandomFaults:
    """Every site of some components is faulty with probability ``rate``, independently.

    Attributes:
        components: ``unit.component`` names, ``unit.*`` for whole instances (model ``dead``), or
            ``role:weight`` for every component that holds weights (any role of `Component`).
        model: ``flip``, ``stuck0``, ``stuck1``, ``stuck`` (half of each), ``dead``; for operations
            ``skip``, ``always``, or ``broken`` (skip; a fire operation half of each).
        rate: Probability per site, in [0, 1]. A site is a bit, an operation or an instance.
        exposure: When a ``flip`` strikes. ``start``: once before the first inference; it stays
            until the component is written again. ``stored``: once each value that is stored there
            during the first inference, just after it was loaded. ``inference``: in every inference
            anew, at a uniform cycle. Other models are permanent and ignore it. On a chip that works
            off events time is counted in neuron updates: ``start`` is update 0 of inference 0, and
            ``inference`` draws one of the updates that the golden inference has (see `timed`).
        upset_bits: Adjacent bits of a word that one strike takes with it, towards the most
            significant and not past it: one event.
        anew: Of a design that executes each inference several times: each execution loads its state
            again and is struck anew (true), or nothing is loaded again and one strike is there in
            all of them (false), where voting cannot help.
        updates: See `timed`; part of the identity.
    """

    components: tuple[str, ...]
    model: Model
    rate: float = 0.0
    exposure: Exposure = "start"
    upset_bits: int = 1
    anew: bool = True
    updates: tuple[int, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise FaultError(f"rate={self.rate} is not a probability in [0, 1]")
        _check_upset(self.upset_bits, self.model)

    def draw(self, design: Design, trials: Sequence[int], seed: int, inferences: int) -> Faults:
        """See `Scenario.draw`."""
        tables = [
            self._draw_one(design, number, trial, seed, inferences, target)
            for number, trial in enumerate(trials)
            for target in targets(design.accelerator, self.components, self.model)
        ]
        return _numbered(tables, len(trials))

    def timed(self, updates: Sequence[int]) -> RandomFaults:
        """The same, knowing how many neuron updates each inference of a run has.

        On a chip that works off events that depends on the samples. A study tells it, from the
        golden run; whoever draws by hand does so (`codesign.engine.serial.SerialGolden.updates`).
        """
        told = replace(self)
        object.__setattr__(told, "updates", tuple(int(count) for count in updates))
        return told

    def _draw_one(
        self, design: Design, number: int, trial: int, seed: int, inferences: int, target: Target
    ) -> NDArray[np.void]:
        """Faults of one target in one trial, all executions and exposures."""
        transient = self.model == "flip"
        executions = design.program.executions if transient and self.anew else 1
        cycles: tuple[int, ...] = (0,)
        if transient and self.exposure == "stored":
            cycles = design.mapping.exposures(target.unit.name, target.name)
        repeats = inferences if transient and self.exposure == "inference" else 1
        during = transient and self.exposure == "inference"
        spans = self._spans(design, inferences) if during else np.ones(0, dtype=np.int64)
        tables = []
        for execution in range(executions):
            key = target.key if execution == 0 else f"{target.key}/execution {execution}"
            drawn = nested_sites(seed, trial, key, target.sites * len(cycles) * repeats, self.rate)
            rest, site = np.divmod(drawn, target.sites)
            table = target.faults(site, self.model, seed, trial, drawn)
            table["trial"] = number
            table["event"] = np.arange(len(drawn))
            if transient:
                inference, exposure = np.divmod(rest, len(cycles))
                table["first"][:, 0] = inference
                table["first"][:, 1] = np.asarray(cycles, dtype=np.int64)[exposure]
                if during:
                    when = uniform_for(seed, trial, f"{key}/cycle", drawn)
                    table["first"][:, 1] = np.floor(when * spans[inference])
                table["execution"] = execution if executions > 1 else -1
            tables.append(_widened(table, target, self.upset_bits))
        return np.concatenate(tables)

    def _spans(self, design: Design, inferences: int) -> NDArray[np.int64]:
        """``[inferences]`` cycles, or updates, of each."""
        if not isinstance(design.program, EventProgram):
            cycles = max((a.last_cycle for a in design.mapping.assignments()), default=1)
            return np.full(inferences, cycles, dtype=np.int64)
        if len(self.updates) != inferences:
            told = f"those of {len(self.updates)}" if self.updates else "none"
            raise FaultError(
                f"exposure 'inference' on {design.accelerator.name}, which works off events: a "
                f"uniform update of {inferences} inferences cannot be drawn, as the number of "
                f"their updates depends on the samples and {told} were told; use "
                "RandomFaults.timed, or exposure 'start'"
            )
        return np.array(self.updates, dtype=np.int64)


@dataclass(frozen=True)
class SingleFaults:
    """Each trial has one fault (one event), uniform over all sites of some components.

    The experiment that shows where it hurts: outcomes are grouped by the fault's site. A ``flip``
    strikes once before the first inference and stays until the component is written again: for
    memories and registers that keep what they hold. In a register that is written before it is
    read it changes nothing.

    Attributes:
        components: As in `RandomFaults`.
        model: As in `RandomFaults`.
        upset_bits: As in `RandomFaults`.
        anew: Of a design that executes each inference several times: a ``flip`` strikes one
            execution, and the others load their state again (true), or nothing is loaded again and
            it is there in all of them (false).
    """

    components: tuple[str, ...]
    model: Model
    upset_bits: int = 1
    anew: bool = True

    def __post_init__(self) -> None:
        _check_upset(self.upset_bits, self.model)

    def draw(self, design: Design, trials: Sequence[int], seed: int, inferences: int) -> Faults:
        """See `Scenario.draw`."""
        aims = targets(design.accelerator, self.components, self.model)
        ends = np.cumsum([t.sites for t in aims])
        key = "single/" + "/".join(t.key for t in aims)
        drawn = site_per_trial(seed, np.asarray(trials, dtype=np.int64), key, int(ends[-1]))
        which = np.searchsorted(ends, drawn, side="right")
        in_one = self.model == "flip" and self.anew and design.program.executions > 1
        tables = []
        for i, target in enumerate(aims):
            mine = np.flatnonzero(which == i)
            site = drawn[mine] - (ends[i] - target.sites)
            table = target.faults(site, self.model, seed, 0, drawn[mine])
            table["trial"] = mine
            table["event"] = 0
            table["execution"] = 0 if in_one else -1
            tables.append(_widened(table, target, self.upset_bits))
        return _numbered(tables, len(trials))


@dataclass(frozen=True)
class FaultList:
    """Faults that somebody listed in a file: trial i of the campaign is trial i of the list.

    Attributes:
        file: A CSV as `Faults.to_csv` writes it.
        content: Digest of the file as it was when this was made; part of the identity.
    """

    file: Path
    content: str = field(init=False, default="")

    def __post_init__(self) -> None:
        try:
            content = hashlib.sha256(self.file.read_bytes()).hexdigest()
        except OSError as error:
            raise FaultError(f"fault list {self.file}: {error.strerror}") from error
        object.__setattr__(self, "content", content)

    def draw(self, design: Design, trials: Sequence[int], seed: int, inferences: int) -> Faults:
        """See `Scenario.draw`."""
        listed = Faults.from_csv(self.file, design.accelerator)
        tables = []
        for number, trial in enumerate(trials):
            if not 0 <= trial < listed.trials:
                raise FaultError(f"{self.file} lists {listed.trials} trials, asked for {trial}")
            table = listed.table[listed.table["trial"] == trial].copy()
            table["trial"] = number
            tables.append(table)
        return _numbered(tables, len(trials))


# ------------------------------------------------------------------------------------------ targets


@dataclass(frozen=True)
class Target:
    """A component (or, without one, the instances of a unit) that faults are drawn in.

    Attributes:
        unit: The unit.
        component: The component, or None for whole instances.
        part: Its number in fault tables.
    """

    unit: Unit
    component: Component | None
    part: int

    @property
    def name(self) -> str:
        """Component name, ``*`` for whole instances."""
        return self.component.name if self.component else "*"

    @property
    def sites(self) -> int:
        """Number of sites."""
        return self.unit.sites(self.name) if self.component else self.unit.instances

    @property
    def key(self) -> str:
        """What draws are keyed by: designs of equal geometry meet the same faults."""
        shape = "x".join(map(str, self.unit.shape))
        inner = f"{self.component.words}x{self.component.bits}" if self.component else "instance"
        return f"{self.unit.name}[{shape}].{self.name}:{inner}"

    def faults(
        self, site: NDArray[np.int64], model: Model, seed: int, trial: int, drawn: NDArray[np.int64]
    ) -> NDArray[np.void]:
        """Fault rows at sites; what is random about the model is keyed by the drawn position."""
        table = np.zeros(len(site), dtype=FAULT)
        words, bits = (self.component.words, self.component.bits) if self.component else (1, 1)
        table["part"] = self.part
        rest, table["bit"] = np.divmod(site, bits)
        table["instance"], table["word"] = np.divmod(rest, words)
        table["last"] = -1
        table["execution"] = -1
        table["model"] = self._models(model, seed, trial, drawn)
        return table

    def _models(
        self, model: Model, seed: int, trial: int, drawn: NDArray[np.int64]
    ) -> NDArray[np.int8] | FaultModel:
        if model not in ("stuck", "broken"):
            return FaultModel[model]
        half = uniform_for(seed, trial, f"{self.key}/model", drawn) < 0.5
        if model == "stuck":
            return np.where(half, FaultModel.stuck0, FaultModel.stuck1).astype(np.int8)
        either = half & (self.name == "fire")
        return np.where(either, FaultModel.always, FaultModel.skip).astype(np.int8)


def targets(
    chip: AcceleratorGraph, components: tuple[str, ...], model: Model
) -> tuple[Target, ...]:
    """The components of a chip that names and roles pick, in the chip's order.

    One scenario may be for several chips: names that this chip does not have are passed over as
    long as one picks something. (A study refuses names that none of its chips has.)

    Raises:
        FaultError: No name picks anything, or the model cannot be in what it picks.
    """
    found: dict[int, Target] = {}
    for name in components:
        for target in _named(chip, name, model):
            _check_model(target, model)
            found[target.part] = target
    if not found:
        known = [f"{u.name}.{c.name}" for u, c in chip.components()]
        roles = sorted({f"role:{c.role}" for _, c in chip.components()})
        whole = [f"{u.name}.*" for u in chip.units]
        name = components[0] if components else ""
        options = whole if model == "dead" else known + roles
        raise FaultError(f"{chip.name} has no component {name!r}{nearest(name, options)}")
    return tuple(found[part] for part in sorted(found))


def _named(chip: AcceleratorGraph, name: str, model: Model) -> list[Target]:
    """What one name picks; whole instances for a dead unit."""
    if model == "dead":
        if not name.endswith(".*"):
            raise FaultError(f"a dead instance is named unit.*, came {name!r}")
        return [Target(u, None, -1 - i) for i, u in enumerate(chip.units) if u.name == name[:-2]]
    return [
        Target(unit, component, i)
        for i, (unit, component) in enumerate(chip.components())
        if name in (f"{unit.name}.{component.name}", f"role:{component.role}")
    ]


def _check_model(target: Target, model: Model) -> None:
    operation = target.component is not None and target.component.role == "operation"
    if operation != (model in ("skip", "always", "broken")):
        kinds = "skip, always, broken" if operation else "flip, stuck, stuck0, stuck1"
        raise FaultError(f"{target.unit.name}.{target.name} cannot have {model!r} faults; {kinds}")


def _check_upset(bits: int, model: str) -> None:
    if bits < 1 or (bits > 1 and model in ("skip", "always", "broken", "dead")):
        raise FaultError(f"upset_bits={bits} with model {model!r}: only bits have neighbours")


def _widened(table: NDArray[np.void], target: Target, upset_bits: int) -> NDArray[np.void]:
    """Each fault with its neighbours towards the most significant bit, as one event.

    A bit that two strikes reach is struck once, by the first.
    """
    if upset_bits == 1 or target.component is None or len(table) == 0:
        return table
    wide = np.repeat(table, upset_bits)
    wide["bit"] += np.tile(np.arange(upset_bits, dtype=np.int32), len(table))
    wide = wide[wide["bit"] < target.component.bits]
    bits, words = target.component.bits, target.component.words
    site = (wide["instance"] * words + wide["word"]) * bits + wide["bit"]
    order = np.lexsort((np.arange(len(wide)), site, *wide["first"].T, wide["trial"]))
    where = np.stack([site, *wide["first"].T, wide["trial"]])[:, order]
    again = np.zeros(len(wide), dtype=bool)
    again[order[1:]] = (where[:, 1:] == where[:, :-1]).all(axis=0)
    return wide[~again]


def _numbered(tables: list[NDArray[np.void]], trials: int) -> Faults:
    """One table of those of single components and executions; events numbered through a trial."""
    table = np.concatenate([np.zeros(0, dtype=FAULT), *tables])
    if len(table) == 0:
        return Faults(table, trials)
    source = np.repeat(np.arange(len(tables)), [len(t) for t in tables])
    if (np.diff(table["trial"]) < 0).any():
        order = np.argsort(table["trial"], kind="stable")
        table, source = table[order], source[order]
    new = np.ones(len(table), dtype=bool)
    for of in (table["trial"], source, table["event"]):
        new[1:] &= of[1:] == of[:-1]
    new[1:] = ~new[1:]
    count = np.cumsum(new) - 1
    starts = np.searchsorted(table["trial"], np.arange(trials))
    offset = count[np.minimum(starts, len(table) - 1)]
    table["event"] = count - offset[table["trial"]]
    table.flags.writeable = False
    return Faults(table, trials)
