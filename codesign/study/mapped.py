"""Designs as they stand on their chips, without any campaign: what `codesign map` shows."""

from __future__ import annotations

from collections.abc import Callable

from codesign.design import Design
from codesign.engine import dense
from codesign.mapping import Activity, Cost
from codesign.study.building import build
from codesign.study.loading import LoadedStudy
from codesign.study.running import output_folder

__all__ = ["mapped_designs"]


def mapped_designs(
    study: LoadedStudy, say: Callable[[str], None]
) -> tuple[tuple[Design, Cost], ...]:
    """Every design of a study, unprotected, with the cost of one golden inference."""
    built = build(study, output_folder(study), say)
    found = []
    for name in study.spec.designs:
        design = built.designs[name]
        golden = dense.golden(design.program, built.coded(name))
        cost = design.mapping.cost(Activity(**dense.activity(golden)), design.guards)
        found.append((design, cost))
    return tuple(found)
