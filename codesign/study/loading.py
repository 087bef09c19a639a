"""Reading a study: every mistake at once, each at its place, nothing run and no torch imported."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.accelerator import AcceleratorGraph
from codesign.errors import FaultError, StudyError, nearest
from codesign.faults import Faults
from codesign.mapping import Family
from codesign.parts import Part, bind, check_part, exists, needs_allow
from codesign.scenarios import FaultList, targets
from codesign.schema import Loaded, Problem, load, raise_all
from codesign.shipped import find_config
from codesign.study.kinds import require_kind
from codesign.study.spec import AcceleratorSpec, StudySpec

__all__ = ["LoadedStudy", "datasheet", "load_study"]

RESERVED = ("none", "re-execution")  # mitigations that every study has


@dataclass(frozen=True)
class LoadedStudy:
    """A study that was read and makes sense as far as reading can tell.

    Attributes:
        name: Of the file, without its ending.
        file: Where it was read.
        loaded: Its content and places.
        families: The chips, each datasheet with its changes, by the study's names.
        overrides: As given on the command line.
        allow: Packages outside our shelves that may run.
    """

    name: str
    file: Path
    loaded: Loaded[StudySpec]
    families: dict[str, Family]
    overrides: tuple[str, ...]
    allow: tuple[str, ...]

    @property
    def spec(self) -> StudySpec:
        """What the study says."""
        return self.loaded.value


def load_study(
    name_or_path: str, overrides: Sequence[str] = (), allow: Sequence[str] = ()
) -> LoadedStudy:
    """Read a study by path, or a shipped one by name.

    Raises:
        StudyError: All that is wrong with it, one line each: ``file:line:column: path: what``.
    """
    file = find_config(name_or_path, "studies")
    require_kind(name_or_path, "study", "studies")
    loaded = load(file, StudySpec, name=str(name_or_path), overrides=overrides)
    problems = list(_problems(loaded, tuple(allow)))
    families: dict[str, Family] = {}
    for name, chip in loaded.value.accelerators.items():
        try:
            families[name] = datasheet(chip, loaded.folder, allow)
        except StudyError as error:
            at = f"accelerators.{name}.datasheet"
            problems += getattr(error, "problems", [loaded.problem(at, str(error))])
    problems += _scenarios(loaded, families) if not problems else []
    raise_all(problems)
    return LoadedStudy(file.stem, file, loaded, families, tuple(overrides), tuple(allow))


def datasheet(chip: AcceleratorSpec, folder: Path, allow: Sequence[str] = ()) -> Family:
    """A chip from its datasheet and what is changed in it.

    Args:
        chip: What the study says of it.
        folder: Of the study.
        allow: Packages outside our shelves that a datasheet's family may come from.

    Raises:
        StudyError: The datasheet is not found or not right, or a change does not fit it.
    """
    local = folder / chip.datasheet
    file = local if local.is_file() else find_config(chip.datasheet, "accelerators")
    part = load(file, Part, name=file.name, overrides=tuple(chip.change.items()))
    problem = exists(part.value.use, allow)
    raise_all([part.problem("use", problem)] if problem else check_part(part, "", part.value))
    family: Family = bind(part.value.use, part.value.arguments, allow, folder=part.folder)
    return family


def _problems(loaded: Loaded[StudySpec], allow: tuple[str, ...]) -> Iterator[Problem]:
    """What no single field can know."""
    study = loaded.value
    yield from _parts(loaded, allow)
    for name, design in study.designs.items():
        at = f"designs.{name}"
        yield from _known(loaded, f"{at}.network", design.network, study.networks)
        yield from _known(loaded, f"{at}.accelerator", design.accelerator, study.accelerators)
        if design.against:
            yield from _known(loaded, f"{at}.against", design.against, study.designs)
    for kind, specs in (("faults", study.faults), ("mitigations", study.mitigations)):
        for name, spec in specs.items():
            for i, design_name in enumerate(spec.on):
                yield from _known(loaded, f"{kind}.{name}.on.{i}", design_name, study.designs)
    for name in study.mitigations:
        if name in RESERVED:
            what = f"{name!r} is in every study already; call yours otherwise"
            yield loaded.problem(f"mitigations.{name}", what)
    for name, fault in study.faults.items():
        if len(set(fault.rates)) != len(fault.rates):
            yield loaded.problem(f"faults.{name}.rates", "a rate is named twice")


def _scenarios(loaded: Loaded[StudySpec], families: dict[str, Family]) -> list[Problem]:
    """Faults that the chips they are for cannot have."""
    study = loaded.value
    chips = {name: family.build() for name, family in families.items()}
    problems: list[Problem] = []
    for name, fault in study.faults.items():
        if needs_allow(fault.use):
            continue  # a stranger's scenario is not imported to check it
        at = f"faults.{name}"
        try:
            scenario = bind(fault.use, fault.arguments, path=at, folder=loaded.folder)
        except StudyError as error:
            problems += getattr(error, "problems", [loaded.problem(at, str(error))])
            continue
        struck = {study.designs[design].accelerator for design in fault.on or study.designs}
        for what in _misfits(scenario, [chips[chip] for chip in sorted(struck)]):
            problems.append(loaded.problem(f"{at}.components", what))
    return problems


def _misfits(scenario: Any, chips: list[AcceleratorGraph]) -> Iterator[str]:
    """Chips that a scenario cannot strike, and names that none of them has."""
    try:
        for chip in chips:
            if isinstance(scenario, FaultList):
                Faults.from_csv(scenario.file, chip)
            else:
                targets(chip, scenario.components, scenario.model)
    except FaultError as error:
        yield f"{error} (on: names the designs that are struck)"
        return
    for name in getattr(scenario, "components", ()):
        missing = []
        for chip in chips:
            try:
                targets(chip, (name,), scenario.model)
            except FaultError as error:
                missing.append(str(error))
        if len(missing) == len(chips):
            yield missing[0]


def _parts(loaded: Loaded[StudySpec], allow: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with what the study uses, and with its arguments."""
    study = loaded.value
    parts = {"data": Part(study.data.use, study.data.arguments)}
    for kind in ("networks", "mitigations", "faults"):
        for name, spec in getattr(study, kind).items():
            parts[f"{kind}.{name}"] = Part(spec.use, spec.arguments)
    for path, part in parts.items():
        problem = exists(part.use, allow)
        if problem:
            yield loaded.problem(f"{path}.use", problem)
        else:
            yield from check_part(loaded, path, part)


def _known(
    loaded: Loaded[StudySpec], path: str, name: str, known: Collection[str]
) -> Iterator[Problem]:
    if name not in known:
        yield loaded.problem(path, f"the study has no {name!r}{nearest(name, known)}")
