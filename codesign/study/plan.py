"""What a study will do, known from its text alone: which designs meet which faults, how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codesign.study.spec import StudySpec

__all__ = ["NONE", "REEXECUTION", "Planned", "Variant", "bytes_of", "plan", "variants"]

NONE, REEXECUTION = "none", "re-execution"
ROW_BYTES = 220  # measured: a stored trial with its index, rounded up


@dataclass(frozen=True)
class Variant:
    """A design with or without a mitigation.

    Attributes:
        name: Unique in the study.
        design: The study's design it is made from.
        mitigation: The study's name, ``none`` or ``re-execution``.
        base: Name of the variant that it is compared with.
    """

    name: str
    design: str
    mitigation: str
    base: str


@dataclass(frozen=True)
class Planned:
    """One campaign: a variant under a scenario at a rate.

    Attributes:
        variant: Who is struck.
        scenario: The study's name of the faults.
        rate: Probability per site, or None.
        trials: At most.
    """

    variant: Variant
    scenario: str
    rate: float | None
    trials: int

    @property
    def name(self) -> str:
        """For people and progress.

        >>> v = Variant("cnn", "cnn", "none", "cnn")
        >>> Planned(v, "stuck weights", 0.001, 30).name
        'cnn, stuck weights at 0.001'
        """
        at = "" if self.rate is None else f" at {self.rate:g}"
        return f"{self.variant.name}, {self.scenario}{at}"


def variants(study: StudySpec) -> tuple[Variant, ...]:
    """Every design without protection, with each mitigation that is for it, and re-executed.

    Re-execution is in every comparison of mitigations, unless nothing is compared.
    """
    found = []
    for name, design in study.designs.items():
        base = design.against or name
        found.append(Variant(name, name, NONE, base))
        mine = [m for m, spec in study.mitigations.items() if not spec.on or name in spec.on]
        if mine and not design.against:
            mine = [REEXECUTION, *mine]
        elif study.mitigations and not design.against and _is_base(study, name):
            mine = [REEXECUTION]
        found += [Variant(f"{name} + {m}", name, m, base) for m in mine]
    return tuple(found)


def _is_base(study: StudySpec, name: str) -> bool:
    """Whether another design is compared with this one."""
    return any(design.against == name for design in study.designs.values())


def plan(study: StudySpec) -> tuple[Planned, ...]:
    """Every campaign of a study, in the order of its scenarios."""
    return tuple(_plan(study))


def _plan(study: StudySpec) -> Iterator[Planned]:
    for scenario, faults in study.faults.items():
        for rate in faults.rates or (None,):
            for variant in variants(study):
                if faults.on and variant.design not in faults.on:
                    continue
                if variant.mitigation != NONE and not faults.mitigations:
                    continue
                yield Planned(variant, scenario, rate, faults.trials or study.effort.trials)


def bytes_of(planned: tuple[Planned, ...]) -> int:
    """Disk that the results of so many trials take."""
    return ROW_BYTES * sum(p.trials for p in planned)
