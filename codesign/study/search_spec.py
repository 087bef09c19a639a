"""What a search space file may say. Nothing is run or imported.

`codesign.study.search_space` reads it, `codesign.study.search_check` judges it.

A space names a study and what may be changed in it. A point of the space is one design: one of the
study's designs, changed at dotted paths, with one of its mitigations or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codesign.schema import Plain, spec

__all__ = [
    "COSTS",
    "AccuracySpec",
    "ObjectivesSpec",
    "ParameterSpec",
    "SearchEffortSpec",
    "SearchOutputSpec",
    "SpaceSpec",
    "VerifySpec",
]

CostName = Literal["energy_pj", "latency_cycles", "latency_us", "area_um2", "area_ge"]
COSTS = ("energy_pj", "latency_cycles", "latency_us", "area_um2", "area_ge")


@dataclass(frozen=True, kw_only=True)
class ParameterSpec:
    """One thing that the search may choose: a list of choices, or a range."""

    path: str = spec(
        default="",
        doc="What it changes: a dotted path into the study, or design, or mitigation; "
        "the parameter's own name if left out.",
    )
    choices: tuple[Plain, ...] = spec(default=(), doc="Values to choose from.")
    low: float | None = spec(default=None, doc="Smallest value of a range.")
    high: float | None = spec(default=None, doc="Largest value of a range.")
    step: float | None = spec(
        default=None, above=0, doc="Between neighbours of a range; 1 for whole numbers."
    )
    log: bool = spec(default=False, doc="Equal ratios are equally likely; for ranges without step.")
    when: dict[str, tuple[Plain, ...]] = spec(
        default_factory=dict,
        doc="Parameters above this one, each with the choices at which this one counts.",
    )


@dataclass(frozen=True, kw_only=True)
class AccuracySpec:
    """The accuracy that is to be high: of the struck design."""

    scenario: str = spec(doc="One of the study's faults.")
    rate: float | None = spec(
        default=None, low=0, high=1, doc="Probability per site, for scenarios that have rates."
    )


@dataclass(frozen=True, kw_only=True)
class ObjectivesSpec:
    """What is wanted: accuracy under faults high, costs of an inference low."""

    accuracy: AccuracySpec = spec(doc="Accuracy under faults.")
    costs: tuple[CostName, ...] = spec(
        default=("energy_pj", "latency_cycles"), non_empty=True, doc="Costs of one inference."
    )


@dataclass(frozen=True, kw_only=True)
class SearchEffortSpec:
    """How long to search. Candidates and trainings are no part of a search's identity."""

    candidates: int = spec(default=40, low=1, doc="Different designs to evaluate.")
    trainings: int = spec(
        default=6, low=1, doc="Networks to train, those of the hand-made designs not counted."
    )
    trials: int = spec(default=20, low=2, doc="Fault draws of each candidate.")
    samples: int = spec(default=200, low=1, doc="Validation samples of each trial, at most.")


@dataclass(frozen=True, kw_only=True)
class VerifySpec:
    """How the best are judged again: on test samples, with faults that the search never saw."""

    members: int = spec(default=5, low=1, doc="Members of the front, at most.")
    trials: int = spec(default=100, low=2, doc="Fault draws of each design.")
    samples: int = spec(default=300, low=1, doc="Test samples of each trial, at most.")
    seed: int = spec(default=1001, low=0, doc="Of the draws of faults; not the search's.")
    margin: float = spec(
        default=0.01, low=0, below=1, doc="Accuracy that a cheaper design may lose and still match."
    )
    workers: int = spec(default=0, low=0, doc="Processes; 0 is one for each core.")


@dataclass(frozen=True, kw_only=True)
class SearchOutputSpec:
    """Where results go."""

    folder: Path | None = spec(
        default=None, doc="Relative to the working folder; out/<name of the space>-search."
    )


@dataclass(frozen=True, kw_only=True)
class SpaceSpec:
    """A search: which designs there could be, and what is wanted of them."""

    title: str = spec(non_empty=True, doc="What the page is called.")
    study: str = spec(doc="The study to start from: a shipped one's name, or a path from here.")
    parameters: dict[str, ParameterSpec] = spec(
        non_empty=True, paths=True, doc="What may be chosen, by name or by dotted path."
    )
    objectives: ObjectivesSpec = spec(doc="What is wanted.")
    strategy: Literal["auto", "tpe", "nsga2", "random"] = spec(
        default="auto", doc="Who proposes; auto is TPE below 500 candidates, NSGA-II from there."
    )
    effort: SearchEffortSpec = spec(default_factory=SearchEffortSpec, doc="How long to search.")
    verify: VerifySpec = spec(default_factory=VerifySpec, doc="How the best are judged again.")
    outputs: SearchOutputSpec = spec(default_factory=SearchOutputSpec, doc="Where results go.")
    seed: int = spec(default=1, low=0, doc="Of proposals and of the faults that judge them.")
    note: str = spec(default="", doc="A sentence for the head of the page.")
