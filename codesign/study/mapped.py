"""Designs as they stand on their chips, without any campaign: what `codesign map` shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from codesign.study.building import build
from codesign.study.findings import DesignFinding
from codesign.study.loading import LoadedStudy
from codesign.study.running import golden_accuracies
from codesign.study.summary import design_finding

__all__ = ["mapped_designs"]


def mapped_designs(study: LoadedStudy, say: Callable[[str], None]) -> tuple[DesignFinding, ...]:
    """Every design and mitigated design of a study, mapped and priced."""
    folder = study.spec.outputs.folder or Path("out") / study.name
    built = build(study, folder, say)
    golden = golden_accuracies(built)
    return tuple(
        design_finding(built.designs[v.name], v, golden[v.name], built, {}) for v in built.variants
    )
