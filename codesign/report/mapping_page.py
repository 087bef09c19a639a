"""The mapping report: which layer is where, when, at which cost; as a page, tables and graphs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from codesign.errors import MappingError
from codesign.report.cells import Cell
from codesign.report.chip import chip_svg, draw
from codesign.report.chip_data import busy_shares, chip_data, words_of
from codesign.report.colours import cividis
from codesign.report.figures import Figure, Section
from codesign.report.json_files import json_text, writing
from codesign.report.mapping_figures import energy_figure, layer_figures, unit_figure
from codesign.report.mapping_json import mapping_json
from codesign.report.mapping_tables import mapping_tables
from codesign.report.mapping_view import MappingView
from codesign.report.numbers import count, figures, share, si
from codesign.report.reading import area_of
from codesign.report.rendering import render
from codesign.report.sentence import KeyFigure
from codesign.report.tables import write_tables
from codesign.report.who import MODES, chip_figure

if TYPE_CHECKING:
    import networkx

__all__ = ["MappingView", "mapping_graph", "write_mapping"]

SCRIPTS = ("page.js", "words.js", "chip.js", "gantt.js")
# chip.svg stands alone, so it brings the few rules of page.css that it needs.
STYLE = """<style>
svg { --paper: #fff; --ink: #16191d; --soft: #565c64; --empty: #eceef0; background: #fff;
  font-family: "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif; }
text { fill: #565c64; font-size: 12px; } text.head { fill: #16191d; font-size: 14px;
  font-weight: 600; } text.middle { text-anchor: middle; } text.end { text-anchor: end; }
text.halo { paint-order: stroke; stroke: #fff; stroke-width: 4px; }
.cell { stroke: #fff; stroke-width: 0.75; } .wire { stroke: #9aa0a8; stroke-width: 1.5; }
.link { fill: none; stroke: #c3c8ce; stroke-linejoin: round; }
</style>"""


def write_mapping(views: Sequence[MappingView], folder: Path) -> Path:
    """Write ``mapping.html``, ``mapping.json`` with its schema, tables, graphs and pictures.

    ``layers.csv``, ``costs.csv`` and ``assignments.csv`` hold all designs. With one design the
    graph is ``graph.graphml`` and the picture ``chip.svg``; with several each has the design's
    name before its ending (``chip.<name>.svg``).

    Args:
        views: At least one, with different names.
        folder: Made if it is not there.

    Returns:
        The path of the page.

    Raises:
        MappingError: There is no design, or two share a name.
        DataError: Something is assigned to a unit that the chip does not have.
        StoreError: The folder cannot be written.
    """
    names = [view.name for view in views]
    if not names or len(set(names)) < len(names):
        raise MappingError(f"expected designs with different names, came {names}")
    page, told = _page(views), json_text(mapping_json(views))
    schema = Path(__file__).with_name("mapping.schema.json").read_text(encoding="utf-8")
    files = {"mapping.html": page, "mapping.json": told, "mapping.schema.json": schema}
    for view in views:
        graph, picture = _file_names(views, view)
        files |= {graph: _graphml(mapping_graph(view)), picture: _standing_alone(view)}
    with writing(folder):
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        write_tables(mapping_tables(views), folder)
    return folder / "mapping.html"


def mapping_graph(view: MappingView) -> networkx.MultiDiGraph:
    """Both graphs in one: units and links, layers and what they read, and who runs where.

    Nodes are ``unit:<name>`` and ``layer:<name>``; edges have ``relation`` ``link``, ``reads`` or
    ``runs_on``.
    """
    import networkx

    graph = networkx.MultiDiGraph(name=view.name)
    for unit in view.accelerator.units:
        bits = sum(c.bits * c.words for c in unit.components)
        shape = "x".join(map(str, unit.shape))
        node = {"relation": "unit", "kind": unit.kind, "shape": shape, "bits": bits}
        graph.add_node(f"unit:{unit.name}", **node, instances=unit.instances)
    for layer in view.network:
        node = {"relation": "layer", "kind": type(layer).__name__}
        shape = "x".join(map(str, view.network.shapes[layer.name]))
        graph.add_node(f"layer:{layer.name}", **node, shape=shape)
    for link in view.accelerator.links:
        ends = (f"unit:{link.source}", f"unit:{link.target}")
        width = {"words_per_cycle": float(link.words_per_cycle)} if link.words_per_cycle else {}
        graph.add_edge(*ends, relation="link", carries=link.carries, bits=link.bits, **width)
    for layer in view.network:
        for edge in layer.inputs:
            ends = (f"layer:{edge.source}", f"layer:{layer.name}")
            graph.add_edge(*ends, relation="reads", delay_steps=edge.delay_steps)
    for name, unit_name in dict.fromkeys((a.layer, a.unit) for a in view.assignments):
        mine = [a for a in view.assignments if (a.layer, a.unit) == (name, unit_name)]
        graph.add_edge(
            f"layer:{name}",
            f"unit:{unit_name}",
            relation="runs_on",
            folds=len({a.number for a in mine}),
            first_cycle=min(a.first_cycle for a in mine),
            last_cycle=max(a.last_cycle for a in mine),
        )
    return graph


def _page(views: Sequence[MappingView]) -> str:
    chips, data = [], []
    for place, view in enumerate(views):
        name = f"{view.network.name} on {view.accelerator.name}"
        units = view.units()
        one = (units, view.links(), view.assignments, view.cost.cycles)
        modes = MODES if view.losses else MODES[:-1]
        figure = chip_figure(name, *one, place, modes, words_of(units, view.holdings))
        if view.time != "cycles":
            told = f"{view.time} of an inference whose inputs all spike in every step"
            body = figure.body.replace("cycles of one inference", told)
            figure = replace(figure, body=body)
        tables = ("assignments", "holdings") if view.holdings else ("assignments",)
        chips.append(Figure(figure.title, figure.reading, figure.body, tables))
        known = chip_data(view.name, *one, view.network.steps, (), view.holdings)
        data.append(known | {"time": view.time})
    sections = (
        Section("chip", "The chip and who is on it", tuple(chips)),
        Section("layers", "Layers", tuple(f for view in views for f in layer_figures(view))),
        Section("units", "Units", tuple(unit_figure(view) for view in views)),
        Section("energy", "Energy", tuple(f for view in views if (f := energy_figure(view)))),
    )
    files = [
        ("layers.csv", "one row a layer: where, folds, cycles, words, bits and energy by action"),
        ("costs.csv", "one row an action of a layer: count, bits, energy, grade of the price"),
        ("assignments.csv", "one row a pass: instances, slice of the layer, cycles"),
        ("units.csv", "one row a unit: traffic, energy, exposure, reach, guards, vulnerability"),
        ("mapping.json", "all of it, as mapping.schema.json says"),
        ("mapping.schema.json", "JSON Schema of mapping.json"),
    ]
    if any(view.holdings for view in views):
        files.append(("holdings.csv", "one row a run of elements in a memory: words, cycles"))
    for view in views:
        graph, picture = _file_names(views, view)
        files.append((graph, f"{view.name}: units, links, layers and who runs where, as GraphML"))
        files.append((picture, f"{view.name}: the chip, coloured by occupancy"))
    return render(
        "mapping.html.j2",
        {"chips": data},
        SCRIPTS,
        title="Hardware mapping",
        sentence=" ".join(_sentence(view) for view in views),
        keys=_keys(views[0]) if len(views) == 1 else [],
        studied="One inference, without faults.",
        note=_note(views),
        failed=(),
        sections=[section for section in sections if section.figures],
        folder="",
        missing=[f"{view.name}: {name}" for view in views for name in view.cost.missing],
        files=files,
    )


def _note(views: Sequence[MappingView]) -> str:
    """What must be known of the numbers, then the guards, each once."""
    notes = dict.fromkeys(note for view in views for note in view.notes)
    guards = dict.fromkeys(line for view in views for line in view.guards)
    return " ".join([*notes, "; ".join(guards)]).strip()


def _sentence(view: MappingView) -> str:
    cost = view.cost
    told = f"On {view.accelerator.name} {view.network.name} takes {count(cost.cycles)} cycles"
    if cost.latency_us is not None:
        told += f" ({si(cost.latency_us * 1e-6, 's')})"
    if cost.energy_pj > 0:
        told += f" and {si(cost.energy_pj * 1e-12, 'J')} an inference"
    if cost.missing:
        many = len(cost.missing)
        told += f"; {many} number{'s are' if many != 1 else ' is'} absent from the datasheet"
    return f"{told}."


def _keys(view: MappingView) -> list[KeyFigure]:
    cost = view.cost
    used = [value for value in cost.utilisation.values()]
    found = [_key(count(cost.cycles), "cycles", "an inference", float(cost.cycles))]
    if cost.latency_us is not None:
        number, unit = si(cost.latency_us * 1e-6, "s").split(" ")
        found.append(_key(number, unit, "latency", cost.latency_us))
    if cost.energy_pj > 0:
        number, unit = si(cost.energy_pj * 1e-12, "J").split(" ")
        name = "energy, incomplete" if cost.missing else "energy"
        found.append(_key(number, unit, name, cost.energy_pj))
    area = area_of(cost)
    if area is not None:
        found.append(_key(figures(area[0]), area[1], "area", area[0]))
    if used:
        worst = min(used)
        number, unit = share(worst).split(" ")
        found.append(_key(number, unit, "utilisation of the worst layer", worst))
    found.append(_key(str(len(cost.missing)), "", "numbers absent", float(len(cost.missing))))
    return found


def _key(told: str, unit: str, name: str, value: float) -> KeyFigure:
    return KeyFigure(told, unit, name, None, value, "counted, not sampled")


def _standing_alone(view: MappingView) -> str:
    """chip.svg: cells coloured by occupancy, from pale to dark."""
    units = view.units()
    drawing = draw(units, view.links(), words_of(units, view.holdings))
    shares: list[dict[tuple[tuple[int, int], ...], float]] = []
    for unit, look in zip(units, drawing.looks, strict=True):
        ranges = [cell.ranges for cell in look.cells]
        cost = (view.assignments, view.cost.cycles, view.network.steps, view.holdings)
        busy = busy_shares(unit, ranges, *cost)
        shares.append(dict(zip(ranges, busy, strict=True)))
    highest = max((value for one in shares for value in one.values()), default=0.0)

    def fill(unit: int, cell: Cell) -> str:
        value = shares[unit][cell.ranges]
        return cividis(value / highest) if value > 0 else "#eceef0"

    name = f"{view.network.name} on {view.accelerator.name}"
    picture = chip_svg(drawing, name, fill, STYLE)
    return picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def _graphml(graph: networkx.MultiDiGraph) -> str:
    import networkx

    return "\n".join(networkx.generate_graphml(graph)) + "\n"


def _file_names(views: Sequence[MappingView], view: MappingView) -> tuple[str, str]:
    """Of the graph and the picture; designs whose names look alike as files are numbered."""
    if len(views) == 1:
        return "graph.graphml", "chip.svg"
    slugs = [re.sub(r"[^\w+-]+", "_", other.name) for other in views]
    place = [other.name for other in views].index(view.name)
    slug = slugs[place] if slugs.count(slugs[place]) == 1 else f"{slugs[place]}.{place}"
    return f"graph.{slug}.graphml", f"chip.{slug}.svg"
