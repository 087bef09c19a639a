"""The chip and who is on it: the picture, what colours it, and the passes of each unit in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from codesign.mapping import Assignment
from codesign.report.cells import Look
from codesign.report.chip import ChipLink, chip_svg, draw
from codesign.report.chip_data import chip_data
from codesign.report.figures import Figure, Section
from codesign.report.numbers import count
from codesign.report.reading import bases, network_of
from codesign.study.findings import DesignFinding, Findings, UnitPicture

__all__ = ["chip_body", "chip_figure", "chip_section"]

OPEN = 2  # chips that are shown at once; further ones open by a click
MODES = ("layer", "occupancy", "exposure", "vulnerability")


def chip_section(findings: Findings) -> tuple[Section, list[dict[str, Any]]]:
    """A figure for each base design with a chip to draw, and the data for the page's script."""
    figures: list[Figure] = []
    data: list[dict[str, Any]] = []
    for design in bases(findings):
        if not design.units:
            continue
        steps = network_of(findings, design.network).steps
        losses = [
            v for v in findings.vulnerabilities if v.design == design.name and v.group == "instance"
        ]
        figures.append(_design_figure(design, len(data)))
        links = [ChipLink(*link) for link in design.links]
        one = (design.units, links, design.assignments, design.cost.cycles, steps)
        data.append(chip_data(design.name, *one, losses))
    reason = "the study keeps no picture of its chips"
    return Section("chip", "The chip and who is on it", tuple(figures), reason), data


def _design_figure(design: DesignFinding, place: int) -> Figure:
    links = [ChipLink(*link) for link in design.links]
    has_losses = any(unit.vulnerability is not None for unit in design.units)
    figure = chip_figure(
        f"{design.network} on {design.accelerator}",
        design.units,
        links,
        design.assignments,
        design.cost.cycles,
        place,
        MODES if has_losses else MODES[:-1],
    )
    return Figure(figure.title, figure.reading, figure.body, ("units", "links", "assignments"))


def chip_figure(
    name: str,
    units: Sequence[UnitPicture],
    links: Sequence[ChipLink],
    assignments: Sequence[Assignment],
    cycles: int,
    place: int,
    modes: Sequence[str] = MODES[:-1],
    words: Mapping[str, int] | None = None,
) -> Figure:
    """The figure of one chip.

    ``place`` is its number in the page's data, ``words`` what `codesign.report.chip.draw` asks for.
    """
    layers = len({a.layer for a in assignments})
    passes = len({(a.layer, a.number, a.step) for a in assignments})
    title = f"{name}: {layers} layers in {count(passes)} passes and {count(cycles)} cycles"
    drawing = draw(units, links, words)
    reading = (
        "Click a unit or a cell, or go there with the keyboard, to see what it works on and when. "
        "Layers that share a cell share its colour by their time. Lines are links, as thick as "
        "they are wide, with their bits."
    )
    reading += _notes(units, drawing.looks)
    body = chip_body(chip_svg(drawing, title), place, modes)
    if place >= OPEN:
        body = f'<details class="more"><summary>Show {escape(name)}</summary>{body}</details>'
    return Figure(title, reading, body)


def _notes(units: Sequence[UnitPicture], looks: Sequence[Look]) -> str:
    """What the picture leaves out, in sentences."""
    told = ""
    rows: dict[int, list[str]] = {}
    for unit, look in zip(units, looks, strict=True):
        if look.in_row:
            rows.setdefault(look.in_row, []).append(unit.name)
    for in_row, names in sorted(rows.items()):
        told += f" In rows of {in_row} instances: {', '.join(names)}."
    pairs = [f"{k.block} in {u.name}" for u, k in zip(units, looks, strict=True) if k.block]
    if pairs:
        told += f" One cell stands for {', '.join(pairs)}."
    return told


def chip_body(picture: str, place: int, modes: Sequence[str]) -> str:
    """The picture with its controls, its panel and its Gantt chart."""
    radios = "".join(
        f'<label><input type="radio" name="colour-{place}" value="{mode}"'
        f"{' checked' if mode == 'layer' else ''}> {_mode(mode)}</label>"
        for mode in modes
    )
    return (
        f'<div class="chip" data-chip="{place}">'
        f'<fieldset class="controls"><legend>Colour</legend>{radios}</fieldset>'
        '<div class="legend" aria-live="polite"></div>'
        f'<div class="chip-main"><div class="wide">{picture}</div>'
        '<aside class="side" aria-live="polite"></aside></div>'
        '<div class="gantt"><div class="gantt-head"><span class="axis">passes of each unit, '
        'cycles of one inference</span><span class="controls">'
        '<button type="button" data-zoom="in" aria-label="zoom in">+</button>'
        '<button type="button" data-zoom="out" aria-label="zoom out">−</button>'
        '<button type="button" data-zoom="all">all</button></span></div>'
        '<canvas tabindex="0" role="img" aria-label="Gantt chart of passes; arrow keys move, '
        'plus and minus zoom, 0 shows all; the same data is in assignments.csv"></canvas></div>'
        "</div>"
    )


def _mode(mode: str) -> str:
    return {"layer": "layer mapped"}.get(mode, mode)
