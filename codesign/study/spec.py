"""What a study file may say. Loading it tells every mistake at once; nothing is run or imported.

`codesign.study.loading` reads the YAML strictly (`codesign.schema`), then checks what no single
field can know: that names exist, that parts are on their shelves and take the arguments given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codesign.learning.settings import Quantisation, Training
from codesign.schema import Plain, spec
from codesign.yaml_nodes import Table

__all__ = [
    "AcceleratorSpec",
    "DataSpec",
    "DesignSpec",
    "EffortSpec",
    "FaultSpec",
    "MitigationSpec",
    "NetworkSpec",
    "OutputSpec",
    "PlacementSpec",
    "StudySpec",
]


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where samples come from."""

    use: str = spec(doc="A data set of the networks shelf, for example networks:digits.")
    arguments: Table = spec(rest=True, doc="Arguments of the data set.")


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """One network: a model, its training and quantisation."""

    use: str = spec(doc="A model of the networks shelf, or of an allowed package.")
    weights: Path | None = spec(
        default=None, exists=True, doc="State dict to load instead of training (epochs are then 0)."
    )
    training: Training | None = spec(default=None, doc="Instead of the study's.")
    quantisation: Quantisation | None = spec(default=None, doc="Instead of the study's.")
    note: str = spec(default="", doc="What a reader of the report must know.")
    arguments: Table = spec(rest=True, doc="Arguments of the model.")


@dataclass(frozen=True, kw_only=True)
class AcceleratorSpec:
    """One chip: a datasheet, and what is changed in it."""

    datasheet: str = spec(doc="A shipped datasheet's name, or a path relative to this file.")
    change: dict[str, Plain] = spec(
        default_factory=dict, paths=True, doc="Dotted path: value, over the datasheet."
    )


@dataclass(frozen=True, kw_only=True)
class PlacementSpec:
    """Where things go on the chip."""

    rows: tuple[int, ...] = spec(default=(), low=0, doc="Physical rows in the order of use.")
    columns: tuple[int, ...] = spec(default=(), low=0, doc="Physical columns in the order of use.")
    forbidden: tuple[tuple[int, ...], ...] = spec(
        default=(), low=0, doc="Instances not to be used."
    )


@dataclass(frozen=True, kw_only=True)
class DesignSpec:
    """A network on a chip."""

    network: str = spec(doc="One of this study's networks.")
    accelerator: str = spec(doc="One of this study's accelerators.")
    placement: PlacementSpec = spec(
        default_factory=PlacementSpec, doc="Where things go; in order if left out."
    )
    against: str = spec(
        default="", doc="Design that it and its mitigations are compared with; itself if left out."
    )


@dataclass(frozen=True, kw_only=True)
class MitigationSpec:
    """A change of designs that is to be judged against the unprotected ones."""

    use: str = spec(doc="A mitigation of the shelf, for example mitigation:RangeRestriction.")
    on: tuple[str, ...] = spec(default=(), doc="Designs it is applied to; all if left out.")
    arguments: Table = spec(rest=True, doc="Arguments of the mitigation.")


@dataclass(frozen=True, kw_only=True)
class FaultSpec:
    """A scenario, at one rate or several."""

    use: str = spec(doc="A scenario, for example codesign.scenarios:RandomFaults.")
    on: tuple[str, ...] = spec(default=(), doc="Base designs that are struck; all if left out.")
    rates: tuple[float, ...] = spec(
        default=(), low=0, high=1, doc="Probabilities per site; empty for scenarios without a rate."
    )
    trials: int | None = spec(default=None, low=1, doc="Instead of effort.trials.")
    mitigations: bool = spec(default=True, doc="Whether mitigated designs meet it too.")
    arguments: Table = spec(rest=True, doc="Arguments of the scenario.")


@dataclass(frozen=True, kw_only=True)
class EffortSpec:
    """How long to work. No part of a campaign's identity: more trials extend it."""

    trials: int = spec(default=30, low=1, doc="Trials (fault draws) of each point, at most.")
    samples: int = spec(default=200, low=1, doc="Test samples of each trial.")
    half_width: float | None = spec(
        default=None, above=0, below=1, doc="Stop a point when its interval is so narrow."
    )
    workers: int = spec(default=0, low=0, doc="Processes; 0 is one for each core.")
    seen: int = spec(default=3, low=0, doc="Trials shown in detail on the page, per design.")


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """Where results go."""

    folder: Path | None = spec(
        default=None, doc="Relative to this file; out/<study> of the working folder if left out."
    )


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """A study: from data to a page of answers."""

    title: str = spec(non_empty=True, doc="What the page is called.")
    data: DataSpec = spec(doc="Where samples come from.")
    networks: dict[str, NetworkSpec] = spec(non_empty=True, doc="Networks by name.")
    accelerators: dict[str, AcceleratorSpec] = spec(non_empty=True, doc="Chips by name.")
    designs: dict[str, DesignSpec] = spec(non_empty=True, doc="Networks on chips, by name.")
    faults: dict[str, FaultSpec] = spec(default_factory=dict, doc="Scenarios by name.")
    mitigations: dict[str, MitigationSpec] = spec(
        default_factory=dict, doc="Mitigations by name; none and re-execution are always compared."
    )
    training: Training = spec(default_factory=Training, doc="Of every network that has none.")
    quantisation: Quantisation = spec(
        default_factory=Quantisation, doc="Of every network that has none."
    )
    effort: EffortSpec = spec(default_factory=EffortSpec, doc="How long to work.")
    outputs: OutputSpec = spec(default_factory=OutputSpec, doc="Where results go.")
    seed: int = spec(default=1, low=0, doc="Of every draw of faults.")
    note: str = spec(default="", doc="A sentence for the head of the page.")
