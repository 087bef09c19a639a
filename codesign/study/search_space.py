"""A space, read: its dimensions, the study behind it, and the design that a point of it means.

Nothing is run and no torch is imported: `codesign check` reads a space with this.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from codesign.digests import digest
from codesign.errors import StudyError
from codesign.schema import Loaded, load
from codesign.shipped import find_config
from codesign.study.kinds import kind_of, require_kind
from codesign.study.loading import LoadedStudy, datasheet, load_study
from codesign.study.plan import NONE, REEXECUTION
from codesign.study.search_spec import ParameterSpec, SpaceSpec
from codesign.study.spec import EffortSpec, OutputSpec
from codesign.study.strategy import Dimension, Point
from codesign.yaml_nodes import Items, Node, Scalar
from codesign.yaml_writer import node_of, write

__all__ = [
    "DESIGN",
    "MITIGATION",
    "DesignText",
    "LoadedSpace",
    "changed_study",
    "design_text",
    "dimension_of",
    "is_space",
    "only",
    "read_space",
]

DESIGN, MITIGATION = "design", "mitigation"  # paths that choose instead of changing
CHIP = re.compile(r"accelerators\.([^.]+)\.change\.(.+)")


@dataclass(frozen=True)
class LoadedSpace:
    """A space that was read; `codesign.study.search_check` says whether it makes sense.

    Attributes:
        name: Of the file, without its ending.
        loaded: Its content and places.
        base: The study it starts from.
        dimensions: Its parameters, for a strategy.
        allow: Packages outside our shelves that may run.
    """

    name: str
    loaded: Loaded[SpaceSpec]
    base: LoadedStudy
    dimensions: tuple[Dimension, ...]
    allow: tuple[str, ...]

    @property
    def spec(self) -> SpaceSpec:
        """What the space says."""
        return self.loaded.value

    @property
    def folder(self) -> Path:
        """Where results go."""
        return self.spec.outputs.folder or Path("out") / f"{self.name}-search"

    def path(self, parameter: str) -> str:
        """What a parameter changes: a dotted path, ``design`` or ``mitigation``."""
        return self.spec.parameters[parameter].path or parameter

    @property
    def objectives(self) -> dict[str, str]:
        """Names, each with ``max`` or ``min``."""
        return {"faulty accuracy": "max", **dict.fromkeys(self.spec.objectives.costs, "min")}

    @cached_property
    def digest(self) -> str:
        """Identity: what candidates and their worth depend on, and not how long is searched."""
        space, study = self.spec, self.base.spec
        bare = replace(study, title="-", note="", effort=EffortSpec(), outputs=OutputSpec())
        files = [n.weights.read_bytes() for n in study.networks.values() if n.weights]
        effort = (space.effort.trials, space.effort.samples)
        wanted = (self.objectives, space.objectives.accuracy, space.strategy, space.seed, effort)
        return digest((self.dimensions, wanted, bare, self.base.families, files))[:16]


@dataclass(frozen=True)
class DesignText:
    """One design as a study's text, before anything is trained.

    Attributes:
        study: A study of this design alone, with its mitigation or none.
        design: Name in the study.
        mitigation: Name in the study, ``none`` or ``re-execution``.
        identity: Digest of all that the design depends on.
        training: Digest of all that its network depends on.
    """

    study: LoadedStudy
    design: str
    mitigation: str
    identity: str
    training: str

    @property
    def variant(self) -> str:
        """What `codesign.study.building` calls it."""
        return self.design if self.mitigation == NONE else f"{self.design} + {self.mitigation}"


def is_space(name_or_path: str) -> bool:
    """Whether this names a search space rather than a study: it has parameters and a study."""
    return kind_of(name_or_path) == "space"


def read_space(
    name_or_path: str, overrides: Sequence[str] = (), allow: Sequence[str] = ()
) -> LoadedSpace:
    """Read a space by path, or a shipped one by name, and the study that it starts from.

    Raises:
        StudyError: What is wrong with the form of either.
    """
    file = find_config(name_or_path, "spaces")
    require_kind(name_or_path, "space", "spaces")
    loaded = load(file, SpaceSpec, name=str(name_or_path), overrides=overrides)
    beside = loaded.folder / loaded.value.study
    name = str(beside) if beside.is_file() else loaded.value.study
    base = load_study(name, (), allow)
    dimensions = tuple(dimension_of(n, p) for n, p in loaded.value.parameters.items())
    return LoadedSpace(file.stem, loaded, base, dimensions, tuple(allow))


def dimension_of(name: str, parameter: ParameterSpec) -> Dimension:
    """A parameter as strategies know it."""
    return Dimension(
        name,
        choices=tuple(_plain(node) for node in parameter.choices),
        low=parameter.low or 0.0,
        high=parameter.high or 0.0,
        step=parameter.step,
        log=parameter.log,
        when=tuple(
            (other, tuple(_plain(node) for node in nodes))
            for other, nodes in parameter.when.items()
        ),
    )


def design_text(space: LoadedSpace, point: Point) -> DesignText:
    """The design that a point means.

    Raises:
        StudyError: The study cannot be changed so.
    """
    chosen = {DESIGN: next(iter(space.base.spec.designs)), MITIGATION: NONE}
    for name, value in point.items():
        if space.path(name) in chosen:
            chosen[space.path(name)] = str(value)
    return only(changed_study(space, point), chosen[DESIGN], chosen[MITIGATION])


def changed_study(space: LoadedSpace, point: Point) -> LoadedStudy:
    """The study with what a point changes in it, all its designs.

    Raises:
        StudyError: The study cannot be changed so.
    """
    overrides = []
    chips: dict[str, dict[str, Node]] = {}
    for dimension in space.dimensions:
        path = space.path(dimension.name)
        if dimension.name not in point or path in (DESIGN, MITIGATION):
            continue
        node = _node(space.spec.parameters[dimension.name], dimension, point[dimension.name])
        chip = CHIP.fullmatch(path)
        if chip and chip[1] in space.base.spec.accelerators:
            chips.setdefault(chip[1], {})[chip[2]] = node
        else:
            # A text alone is written with the mark that ends a document.
            overrides.append(f"{path}={write(node).strip().removesuffix('...').strip()}")
    study = space.base
    if overrides:
        study = load_study(str(study.file), overrides, space.allow)
    for name, change in chips.items():
        study = _with_chip(study, name, change)
    return study


def _with_chip(study: LoadedStudy, name: str, change: dict[str, Node]) -> LoadedStudy:
    """A study with more changed in a datasheet; its keys are dotted paths as they stand."""
    was = study.spec.accelerators[name]
    chip = replace(was, change={**was.change, **change})
    spec = replace(study.spec, accelerators={**study.spec.accelerators, name: chip})
    families = {**study.families, name: datasheet(chip, study.loaded.folder, study.allow)}
    return replace(study, loaded=replace(study.loaded, value=spec), families=families)


def only(study: LoadedStudy, design: str, mitigation: str) -> DesignText:
    """One design of a study alone, with one of its mitigations, whatever designs that is for."""
    spec = study.spec
    placed = spec.designs[design]
    network, chip = spec.networks[placed.network], study.families[placed.accelerator]
    mine = {}
    if mitigation not in (NONE, REEXECUTION):
        mine = {mitigation: replace(spec.mitigations[mitigation], on=())}
    reduced = replace(
        spec,
        networks={placed.network: network},
        accelerators={placed.accelerator: spec.accelerators[placed.accelerator]},
        designs={design: replace(placed, against="")},
        mitigations=mine,
        faults={},
    )
    alone = replace(
        study,
        loaded=replace(study.loaded, value=reduced),
        families={placed.accelerator: chip},
    )
    made_from = (
        spec.data,
        (network.use, network.arguments, network.weights),
        network.training or spec.training,
        network.quantisation or spec.quantisation,
    )
    training = digest(made_from)[:16]
    protected = (mitigation if mitigation in (NONE, REEXECUTION) else "", tuple(mine.values()))
    identity = digest((training, chip, placed.placement, protected))[:16]
    return DesignText(alone, design, mitigation, identity, training)


def _node(parameter: ParameterSpec, dimension: Dimension, value: Any) -> Node:
    """The node that says a value: as written for a choice."""
    if parameter.choices:
        return parameter.choices[dimension.index(value)]
    return node_of(value)


def _plain(node: Node) -> Any:
    """What a node says, as JSON has it.

    >>> _plain(Items((Scalar("8", False), Scalar("1e-3", False), Scalar("a b", True))))
    [8, 0.001, 'a b']
    """
    if isinstance(node, Items):
        return [_plain(item) for item in node.items]
    if not isinstance(node, Scalar):
        raise StudyError(f"{node.position}: a choice is one value or a list, came a mapping")
    if node.is_text:
        return node.text
    if node.text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[node.text]
    for number in (int, float):
        try:
            return number(node.text)
        except ValueError:
            continue
    return node.text
