"""Figures of a mapping's layers, units and energy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from codesign.mapping import Phases
from codesign.report import svg
from codesign.report.figures import Figure, Shown, html_table
from codesign.report.mapping_tables import mapping_tables
from codesign.report.mapping_units import exposure_cells, uses
from codesign.report.mapping_view import MappingView
from codesign.report.numbers import count, points, share, si
from codesign.study.reach import Reach

__all__ = ["energy_figure", "layer_figures", "unit_figure"]

LONGEST = 12  # bars of energy
PHASES = (("load", "--c3"), ("compute", "--c1"), ("drain", "--c2"), ("stall", "--faint"))
TENSORS = {"weight": "weights", "activation": "activations", "sum": "sums", "neuron": "neurons"}


MOVED = (
    *(("reads", count), ("read_bits", lambda value: _figures(value))),
    *(("writes", count), ("written_bits", lambda value: _figures(value))),
)


def layer_figures(view: MappingView) -> Iterator[Figure]:
    """What each layer takes, and what its cycles are spent on."""
    yield _layer_table(view)
    if view.cost.phases:
        yield _phases(view)


def _layer_table(view: MappingView) -> Figure:
    timed = view.accelerator.clock_mhz is not None
    headings = (
        *("layer", "kind", "units", "folds", "cycles", "utilisation", "occupancy"),
        *("multiply-accumulates", "words read, written", "bits of them", "energy"),
        "exposure, bit·s" if timed else "exposure, bit·cycles",
    )
    (table, *_) = mapping_tables([view])
    at = {name: i for i, name in enumerate(table.columns)}
    rows: list[tuple[Shown, ...]] = []
    for row in table.rows:
        mine = [r for r in view.cost.rows if r.layer == row[at["layer"]]]
        moved = [r for r in mine if r.action in ("read", "write")]
        energy = sum(r.energy_pj or 0.0 for r in mine)
        name = "no layer" if row[1] == "*" else str(row[1])
        exposed = row[at["exposure_bit_seconds" if timed else "exposure_bit_cycles"]]
        rows.append(
            (
                *(name, str(row[at["kind"]]), str(row[at["units"]])),
                *(_shown(row[at[key]], count) for key in ("folds", "cycles")),
                *(_shown(row[at[key]], share) for key in ("utilisation", "occupancy")),
                _shown(row[at["macs"]], count),
                _shown(sum(r.count for r in moved) or None, count),
                _shown(sum(r.count * r.bits for r in moved) or None, count),
                _shown(energy or None, lambda pj: si(pj * 1e-12, "J")),
                _shown(exposed, _figures),
            )
        )
    title = f"{view.name}: what each layer takes"
    reading = (
        "Of one inference. Utilisation is the share of instances and cycles that do useful work, "
        "occupancy the share of its unit that is given to the layer; exposure adds up bits of the "
        "layer for as long as they are stored."
    )
    return Figure(title, reading, html_table(headings, rows, sortable=True), ("layers",))


def _phases(view: MappingView) -> Figure:
    """A bar a layer: load, compute, drain, stall."""
    parts = {name: phases for name, phases in view.cost.phases.items() if phases.cycles}
    names = {name: "no layer" if name == "*" else name for name in parts}
    left = max(svg.text_width(name, svg.LARGE) for name in names.values()) + 16
    most = max(phases.cycles for phases in parts.values())
    drawn, x = [], left
    for name, colour in PHASES:
        drawn.append(svg.rect(x, 3, 11, 11, f"var({colour})"))
        drawn.append(svg.text(x + 17, 13, name))
        x += svg.text_width(name) + 40
    for i, (name, phases) in enumerate(parts.items()):
        y, x = 26 + 23.0 * i, left
        drawn.append(svg.text(left - 10, y + 13, names[name], "end", "name"))
        bars = []
        for part, colour in PHASES:
            width = 330.0 * getattr(phases, part) / most
            bars.append(svg.rect(x, y, width, 17, f"var({colour})"))
            x += width
        drawn.append(svg.tip(f"{names[name]}: {_split(phases, 'cycles')}", "".join(bars)))
        drawn.append(svg.text(x + 8, y + 13, f"{count(phases.cycles)}: {_split(phases)}"))
    total = Phases(*(sum(getattr(p, n) for p in parts.values()) for n, _ in PHASES))
    title = f"{view.name}: {share(total.compute / total.cycles)} of the cycles compute"
    picture = svg.figure(left + 660, 26 + 23.0 * len(parts) + 4, drawn, title)
    reading = (
        "Cycles of each layer: operands come in and nothing is computed yet (load), from the first "
        "operation to the last (compute), results still move out (drain), nothing moves (stall)."
    )
    return Figure(title, reading, f'<div class="panels">{picture}</div>', ("layers",))


def _split(phases: Phases, unit: str = "") -> str:
    """Shares of what there is, or cycles."""
    known = [(name, getattr(phases, name)) for name, _ in PHASES if getattr(phases, name)]
    if unit:
        return ", ".join(f"{name} {count(value)} {unit}" for name, value in known)
    return ", ".join(f"{share(value / phases.cycles)} {name}" for name, value in known)


def unit_figure(view: MappingView) -> Figure:
    """What passes through each unit, what it costs, and what one broken instance touches."""
    timed = view.accelerator.clock_mhz is not None
    headings = [
        *("unit", "elements that pass", "one touches, at most", "on average", "occupancy"),
        *("exposure, bit·s" if timed else "exposure, bit·cycles", "words read", "in bits"),
        *("words written", "in bits", "energy", "guards"),
    ]
    if view.losses:
        headings.append("lost to one fault, points")
    rows: list[tuple[Shown, ...]] = []
    for use in uses(view):
        rows.append(_unit_row(view, use, timed))
    title = f"{view.name}: what passes through each unit"
    reading = (
        "Of one inference. One instance, or one word of a memory, that is broken for good touches "
        "so large a share of all layers' outputs at first hand (by the component that touches "
        "most)."
    )
    looked = [
        f"{count(reach.looked_at)} of {count(reach.places)} in {name}"
        for name, reach in view.reaches.items()
        if reach.looked_at < reach.places
    ]
    if looked:
        reading += f" Not all words in use were looked at: {', '.join(looked)}, evenly spread."
    silent = [u.name for u in view.accelerator.units if u.name not in view.reaches]
    if silent:
        reading += f" Nothing broken for good is modelled in {', '.join(silent)}."
    if not view.losses:
        reading += " No campaign of this design is in the study's results."
    return Figure(title, reading, html_table(headings, rows, sortable=True), ("units",))


def _unit_row(view: MappingView, use: dict[str, Any], timed: bool) -> tuple[Shown, ...]:
    reach, lost = use["reach"], use["vulnerability"]
    exposed = exposure_cells(view, use["exposure_bit_cycles"])[int(timed)]
    elements = use["elements"]
    passing = ", ".join(
        f"{count(elements[t])} {name}" for t, name in TENSORS.items() if t in elements
    )
    row: list[Shown] = [
        use["unit"],
        (passing, float(sum(elements.values())) if elements else None),
        (f"{share(reach.largest)} ({_broken(reach)})", reach.largest) if reach else ("", None),
        (share(reach.mean), reach.mean) if reach else ("", None),
        _shown(use["occupancy"], share),
        _shown(exposed, _figures),
        *(_shown(use[key] or None, tell) for key, tell in MOVED),
        _shown(use["energy_pj"], lambda pj: si(pj * 1e-12, "J")),
        ", ".join(use["guards"]) or "none",
    ]
    if view.losses:
        row.append((points(lost), lost.value) if lost else ("", None))
    return tuple(row)


def _broken(reach: Reach) -> str:
    return "dead" if reach.component == "*" else reach.component


def _figures(value: float) -> str:
    return si(value, "").strip()


def _shown(value: object, tell: Callable[[float], str]) -> Shown:
    if not isinstance(value, int | float):
        return ("", None)
    return (tell(float(value)), float(value))


def energy_figure(view: MappingView) -> Figure | None:
    """The dearest actions as bars; None where nothing is priced."""
    sums: dict[str, tuple[float, float, str]] = {}
    for row in view.cost.rows:
        if row.energy_pj:
            key = f"{row.unit}.{row.component} {row.action}"
            energy, number, _ = sums.get(key, (0.0, 0.0, ""))
            sums[key] = (energy + row.energy_pj, number + row.count, row.grade)
    if not sums:
        return None
    ranked = sorted(sums.items(), key=lambda item: (-item[1][0], item[0]))[:LONGEST]
    left = max(svg.text_width(name, svg.LARGE) for name, _ in ranked) + 16
    most, total = ranked[0][1][0], view.cost.energy_pj
    parts = []
    for i, (name, (energy, number, grade)) in enumerate(ranked):
        y = 4 + 26.0 * i
        width = max(1.0, 360.0 * energy / most)
        told = f"{name}: {count(number)} times, {si(energy * 1e-12, 'J')}, price {grade}"
        parts.append(svg.text(left - 10, y + 14, name, "end", "name"))
        parts.append(svg.tip(told, svg.rect(left, y, width, 19, "var(--c1)")))
        amount = f"{si(energy * 1e-12, 'J')}, {share(energy / total)}"
        parts.append(svg.text(left + width + 8, y + 14, amount))
    height = 26.0 * len(ranked) + 8
    title = f"{view.name}: {ranked[0][0]} takes {share(most / total)} of the energy"
    reading = (
        "The dearest actions of one inference, all layers together, as far as prices are known."
    )
    picture = svg.figure(left + 500, height, parts, title)
    return Figure(title, reading, f'<div class="panels">{picture}</div>', ("costs",))
