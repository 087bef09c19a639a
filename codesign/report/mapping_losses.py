"""What campaigns of the same designs have found, for the mapping report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codesign.report.mapping_view import MappingView
from codesign.report.page import load_findings

__all__ = ["found_losses"]


def found_losses(views: Sequence[MappingView], results: Path) -> list[MappingView]:
    """Views with the accuracy lost to one fault in each unit, where a run has found it.

    Args:
        views: Of designs.
        results: A study's ``results.json``; if there is none, nothing is known. A design counts as
            the same if network, chip, placement and guards are the same.

    Raises:
        StoreError: The file is not what a run writes.
    """
    if not results.is_file():
        return list(views)
    designs = {design.digest: design for design in load_findings(results).designs}
    found = []
    for view in views:
        units = designs[view.digest].units if view.digest in designs else ()
        losses = {u.name: u.vulnerability for u in units if u.vulnerability is not None}
        found.append(replace(view, losses=losses))
    return found
