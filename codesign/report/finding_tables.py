"""The tables of a study: what `Findings` hold, flat, and what the page works out from them."""

from __future__ import annotations

from collections.abc import Iterator

from codesign.report.reading import area_of, design_of, gain_of, headline, is_base, price
from codesign.report.sentence import key_figures
from codesign.report.tables import Cell, Table, interval_cells, interval_columns
from codesign.study.findings import DesignFinding, Findings, Front
from codesign.study.rows import OUTCOMES

__all__ = ["derived_tables", "tables_of"]


def tables_of(findings: Findings) -> tuple[Table, ...]:
    """Every table; those without a row are not written."""
    return (
        *derived_tables(findings),
        _points(findings),
        _networks(findings),
        _vulnerabilities(findings),
        *_cost_tables(findings),
        *_chip_tables(findings),
        _seen(findings),
        _membranes(findings),
        *_search_tables(findings),
        Table("versions", ("what", "version"), tuple(sorted(findings.versions.items()))),
    )


def derived_tables(findings: Findings) -> tuple[Table, ...]:
    """What is not in `Findings` as such: key figures, designs beside their base, gain and price."""
    return _key_figures(findings), _designs(findings), _gains(findings)


def _key_figures(findings: Findings) -> Table:
    columns = ("name", "unit", "shown", "number", *interval_columns("share"))
    rows = tuple(
        (figure.name, figure.unit, figure.told, figure.value, *interval_cells(figure.interval))
        for figure in key_figures(findings)
    )
    return Table("key_figures", columns, rows)


def _designs(findings: Findings) -> Table:
    columns = (
        *("design", "base", "mitigation", "network", "accelerator", "golden_accuracy"),
        *("cycles", "latency_us", "energy_pj", "area", "area_unit"),
        *("energy_ratio", "cycles_ratio", "area_ratio", "prices_missing"),
        *("bound_crossing_share", "overflows", "guards", "digest"),
    )
    return Table("designs", columns, tuple(_design(findings, d) for d in findings.designs))


def _design(findings: Findings, design: DesignFinding) -> tuple[Cell, ...]:
    cost = design.cost
    ratios = price(design_of(findings, design.base), design)
    area, unit = area_of(cost) or (None, None)
    return (
        design.name,
        design.base,
        design.mitigation,
        design.network,
        design.accelerator,
        design.golden_accuracy,
        cost.cycles,
        cost.latency_us,
        cost.energy_pj,
        area,
        unit,
        ratios.energy,
        ratios.cycles,
        ratios.area,
        "; ".join(cost.missing),
        design.crossing,
        "; ".join(f"{layer} {count}" for layer, count in sorted(design.overflows.items())),
        "; ".join(design.guards),
        design.digest,
    )


def _gains(findings: Findings) -> Table:
    columns = (
        *("design", "base", "mitigation", "scenario", "rate", "paired"),
        *interval_columns("gain"),
        *("energy_ratio", "cycles_ratio", "area_ratio", "in_figure"),
    )
    head = headline(findings)
    rows: list[tuple[Cell, ...]] = []
    for point in findings.points:
        design, gain = design_of(findings, point.design), gain_of(point)
        if gain is None:
            continue
        ratios = price(design_of(findings, design.base), design)
        shown = head is not None and (point.scenario, point.rate) == (head.scenario, head.rate)
        rows.append(
            (
                *(design.name, design.base, design.mitigation, point.scenario, point.rate),
                int(point.gain is not None),
                *interval_cells(gain),
                *(ratios.energy, ratios.cycles, ratios.area, int(shown)),
            )
        )
    return Table("gains", columns, tuple(rows))


def _points(findings: Findings) -> Table:
    columns = (
        *("design", "scenario", "rate", "trials", "target", "stopped", "samples"),
        *interval_columns("accuracy"),
        *interval_columns("loss"),
        *interval_columns("gain"),
        *interval_columns("unpaired_gain"),
        *(f"share_{name}" for name in OUTCOMES),
        *("faults_drawn", "faults_idle", "collapsed", "trials_could_act", "trials_acted"),
        *("seconds", "task"),
    )
    rows = tuple(
        (
            *(p.design, p.scenario, p.rate, p.trials, p.target, p.stopped, p.samples),
            *interval_cells(p.accuracy),
            *interval_cells(p.loss),
            *interval_cells(p.gain),
            *interval_cells(p.unpaired_gain),
            *(p.shares[name] for name in OUTCOMES),
            *(p.drawn, p.idle, p.collapsed, p.could_act, p.acted, p.seconds, p.task),
        )
        for p in findings.points
    )
    return Table("points", columns, rows)


def _networks(findings: Findings) -> Table:
    columns = (
        *("network", "spiking", "parameters", "macs", "steps", "weight_bits"),
        *("float_accuracy", "quantised_accuracy", "samples", "training_seconds", "note"),
    )
    rows = tuple(
        (
            *(n.name, int(n.spiking), n.parameters, n.macs, n.steps, n.weight_bits),
            *(n.float_accuracy, n.quantised_accuracy, n.samples, n.training_seconds, n.note),
        )
        for n in findings.networks
    )
    return Table("networks", columns, rows)


def _vulnerabilities(findings: Findings) -> Table:
    columns = ("design", "scenario", "group", "key", "trials", *interval_columns("loss"))
    rows = tuple(
        (v.design, v.scenario, v.group, v.key, v.trials, *interval_cells(v.loss))
        for v in findings.vulnerabilities
    )
    return Table("vulnerabilities", columns, rows)


def _cost_tables(findings: Findings) -> tuple[Table, ...]:
    actions: tuple[tuple[Cell, ...], ...] = tuple(
        (d.name, r.layer, r.unit, r.component, r.action, r.count, r.bits, r.energy_pj, r.grade)
        for d in findings.designs
        for r in d.cost.rows
    )
    layers = tuple(
        (d.name, layer, cycles, d.cost.utilisation.get(layer))
        for d in findings.designs
        for layer, cycles in d.cost.layer_cycles.items()
    )
    areas: tuple[tuple[Cell, ...], ...] = tuple(
        (d.name, unit, area, name)
        for d in findings.designs
        for table, name in ((d.cost.area_um2, "µm²"), (d.cost.area_ge, "GE"))
        for unit, area in table.items()
    )
    columns = ("design", "layer", "unit", "component", "action", "count", "bits", "energy_pj")
    return (
        Table("costs", (*columns, "grade"), actions),
        Table("layers", ("design", "layer", "cycles", "utilisation"), layers),
        Table("areas", ("design", "unit", "area", "area_unit"), areas),
    )


def _chip_tables(findings: Findings) -> tuple[Table, ...]:
    """Chips of base designs: a mitigation that changes nothing of who is where is not repeated."""
    shown = _drawn(findings)
    unit_columns = ("design", "unit", "kind", "shape", "component", "bits", "words", "role")
    units: tuple[tuple[Cell, ...], ...] = tuple(
        (
            *(d.name, u.name, u.kind, "x".join(map(str, u.shape))),
            *(name, bits, words, role),
            *("; ".join(u.layers), u.occupancy),
            *interval_cells(u.vulnerability),
        )
        for d in shown
        for u in d.units
        for name, bits, words, role in u.components
    )
    links = tuple((d.name, *link) for d in shown for link in d.links)
    return (
        Table(
            "units",
            (*unit_columns, "layers", "occupancy", *interval_columns("vulnerability")),
            units,
        ),
        Table("links", ("design", "source", "target", "carries", "bits"), links),
        assignment_table(shown),
    )


def assignment_table(designs: list[DesignFinding]) -> Table:
    """Who is where, when."""
    columns = (
        *("design", "layer", "unit", "instances", "positions", "terms", "channels"),
        *("first_cycle", "last_cycle", "number", "step"),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            *(d.name, a.layer, a.unit),
            " ".join(f"{first}:{stop}" for first, stop in a.instances),
            *(":".join(map(str, part)) for part in (a.m, a.k, a.n)),
            *(a.first_cycle, a.last_cycle, a.number, a.step),
        )
        for d in designs
        for a in d.assignments
    )
    return Table("assignments", columns, rows)


def _drawn(findings: Findings) -> list[DesignFinding]:
    """Base designs, and relatives that are placed otherwise."""
    found: list[DesignFinding] = []
    for design in findings.designs:
        base = design_of(findings, design.base)
        same = (design.units, design.assignments) == (base.units, base.assignments)
        if is_base(design) or not same:
            found.append(design)
    return found


def _seen(findings: Findings) -> Table:
    """Elements that differ or are not zero: of a raster (0, step, neuron), of a map (c, y, x)."""
    columns = ("design", "scenario", "choice", "trial", "sample", "layer", "a", "b", "c")
    rows: list[tuple[Cell, ...]] = []
    for seen in findings.seen:
        head = (seen.design, seen.scenario, seen.choice, seen.trial, seen.sample, seen.layer)
        golden, faulty = ([one] if seen.spiking else one for one in (seen.golden, seen.faulty))
        pairs = zip(_elements(golden), _elements(faulty), strict=True)
        for (place, before), (_, after) in pairs:
            if before or after:
                rows.append((*head, *place, before, after))
    return Table("seen", (*columns, "golden", "faulty"), tuple(rows))


def _elements(values: object, place: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], int]]:
    if isinstance(values, list | tuple):
        for i, item in enumerate(values):
            yield from _elements(item, (*place, i))
    elif isinstance(values, int | float):
        yield place, int(values)


def _membranes(findings: Findings) -> Table:
    columns = ("design", "scenario", "choice", "trial", "sample", "layer", "neuron", "threshold")
    rows = tuple(
        (
            *(s.design, s.scenario, s.choice, s.trial, s.sample, s.layer, s.neuron, s.threshold),
            *(step, golden, faulty),
        )
        for s in findings.seen
        for step, (golden, faulty) in enumerate(
            zip(s.membrane_golden, s.membrane_faulty, strict=True)
        )
    )
    return Table("membranes", (*columns, "step", "golden", "faulty"), rows)


def _search_tables(findings: Findings) -> tuple[Table, ...]:
    front = findings.front or Front({}, (), ())
    names = list(front.objectives)
    parameters = list(
        dict.fromkeys(name for c in front.candidates for name in _dict(c.get("parameters")))
    )
    candidates = tuple(
        (
            *(_cell(c.get("number")), _cell(c.get("state")), int(bool(c.get("on_front")))),
            *(_cell(_dict(c.get("parameters")).get(name)) for name in parameters),
            *(_cell(_dict(c.get("objectives")).get(name)) for name in names),
        )
        for c in front.candidates
    )
    verified = tuple(
        (
            *(_cell(v.get("name")), _cell(v.get("kind"))),
            *(cell for name in names for cell in _verified(v.get(name))),
        )
        for v in front.verified
    )
    columns = ("number", "state", "on_front", *parameters, *names)
    ends = tuple(heading for name in names for heading in (name, f"{name}_low", f"{name}_high"))
    return (
        Table("search_candidates", columns, candidates),
        Table("search_verified", ("name", "kind", *ends), verified),
    )


def _verified(value: object) -> tuple[Cell, ...]:
    low, high = getattr(value, "low", value), getattr(value, "high", value)
    return _cell(getattr(value, "value", value)), _cell(low), _cell(high)


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _cell(value: object) -> Cell:
    if isinstance(value, bool):
        return int(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)
