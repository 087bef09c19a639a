"""One trial, seen: what the struck layer did, golden and faulty, for a few trials in turn."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from codesign.errors import DataError
from codesign.report.chip_data import packed
from codesign.report.figures import Figure, Section
from codesign.report.reading import spoken
from codesign.study.findings import Findings, SeenTrial

__all__ = ["seen_section"]


def seen_section(findings: Findings) -> tuple[Section, list[dict[str, Any]]]:
    """A figure for spiking networks, one for the others, and the data for the page's script."""
    figures: list[Figure] = []
    data: list[dict[str, Any]] = []
    for spiking in (True, False):
        mine = [seen for seen in findings.seen if seen.spiking == spiking]
        if mine:
            first = len(data)
            data += [_data(seen) for seen in mine]
            figures.append(_figure(mine, first, spiking))
    reason = "no trial was kept to be shown (effort.seen)"
    return Section("seen", "One trial, seen", tuple(figures), reason), data


def _figure(mine: list[SeenTrial], first: int, spiking: bool) -> Figure:
    options = "".join(
        f'<option value="{first + i}">{escape(_name(seen))}</option>' for i, seen in enumerate(mine)
    )
    canvases = (
        '<canvas class="raster" role="img" aria-label="spikes; the same data is in seen.csv">'
        '</canvas><canvas class="membrane" role="img" '
        'aria-label="membrane; the same data is in membranes.csv"></canvas>'
        if spiking
        else '<canvas class="maps" role="img" aria-label="feature maps; the same data is in '
        'seen.csv"></canvas><p class="scale"></p>'
    )
    body = (
        f'<div class="seen" data-kind="{"raster" if spiking else "maps"}"><p class="controls">'
        f"<label>Trial <select>{options}</select></label>"
        '<button type="button" data-step="-1" aria-label="previous trial">←</button>'
        '<button type="button" data-step="1" aria-label="next trial">→</button></p>'
        f'<p class="told" aria-live="polite"></p>{canvases}</div>'
    )
    if spiking:
        reading = (
            "Grey: spikes of both runs. Open orange squares: spikes that the fault took away. Full "
            "blue squares: spikes that it made. Below, the membrane of the struck neuron, golden "
            "in grey, faulty in blue, and its threshold."
        )
        tables: tuple[str, ...] = ("seen", "membranes")
        return Figure("Spikes, golden and faulty", reading, body, tables)
    reading = (
        "Upper row before, middle row after the fault, on one scale; lower row the difference, "
        "orange for what is less, blue for what is more. The most changed channels come first."
    )
    return Figure("Feature maps, before and after", reading, body, ("seen",))


def _name(seen: SeenTrial) -> str:
    where = f"{seen.design}, {spoken(seen.scenario)}"
    return f"{seen.choice}: {where}, trial {seen.trial}, sample {seen.sample}"


def _data(seen: SeenTrial) -> dict[str, Any]:
    golden, faulty = (np.array(values, dtype=np.int64) for values in (seen.golden, seen.faulty))
    axes = 2 if seen.spiking else 3
    if golden.ndim != axes or golden.shape != faulty.shape:
        raise DataError(
            f"seen trial {seen.trial} of {seen.design}: expected golden and faulty with the same "
            f"{axes} axes, came {golden.shape} and {faulty.shape}"
        )
    ended = f"{seen.golden_prediction} became {seen.faulty_prediction}"
    if seen.golden_prediction == seen.faulty_prediction:
        ended = "the prediction is unchanged"
    if seen.hang:
        ended = "a hang, no output in time"
    return {
        "told": f"{seen.fault}. Layer {seen.layer}, a sample of class {seen.label}: {ended}.",
        "shape": list(golden.shape),
        "golden": packed(golden),
        "faulty": packed(faulty),
        "neuron": seen.neuron,
        "membranes": [list(seen.membrane_golden), list(seen.membrane_faulty)],
        "threshold": seen.threshold,
    }
