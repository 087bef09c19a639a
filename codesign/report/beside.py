"""CNN beside SNN: every base design in one table, and what the last differs by from the first."""

from __future__ import annotations

import math
from collections.abc import Callable

from codesign.intervals import Interval
from codesign.report.figures import Figure, Section, Shown, html_table
from codesign.report.numbers import change, count, points, rate, si
from codesign.report.reading import area_of, bases, binomial, network_of, rated_scenarios, spoken
from codesign.study.findings import DesignFinding, Findings, NetworkFinding

__all__ = ["beside_section", "difference"]

Row = list[Shown]


def beside_section(findings: Findings) -> Section:
    """One table: a column a base design, and with two of them their difference."""
    designs = bases(findings)
    if not designs:
        return Section("beside", "Networks side by side", (), "the study has no design")
    nets = [network_of(findings, d.network) for d in designs]
    both = {n.spiking for n in nets} == {True, False}
    several = "CNN beside SNN" if both else "Networks side by side"
    heading = several if len(designs) > 1 else "The network"
    headings = ["", *(f"{d.name} on {d.accelerator}" for d in designs)]
    if len(designs) == 2:
        headings.append(f"{designs[1].name} to {designs[0].name}")
    rows = [*_of_networks(nets), *_of_costs(designs), *_of_points(findings, designs)]
    notes = [f"{n.name}: {n.note}" for n in dict.fromkeys(nets) if n.note]
    reading = (
        "Shares with their interval; the last column is a difference in points, or a ratio. "
        "Networks on different chips meet different faults, so their difference is unpaired."
        if len(designs) == 2
        else "Shares with their interval where there is one."
    )
    if notes:
        reading += f" {' '.join(notes)}"
    if any(d.cost.missing for d in designs):
        reading += (
            " Incomplete energies lack prices that the datasheet does not tell (designs.csv)."
        )
    used = ("networks", "designs", "points")
    figure = Figure(_title(findings, designs), reading, html_table(headings, rows), used)
    return Section("beside", heading, (figure,))


def difference(one: Interval, other: Interval) -> Interval:
    """One minus other, of independent trials: square and add (Newcombe 1998; Zou, Donner 2008).

    >>> d = difference(
    ...     Interval(0.5, 0.47, 0.53, 0.95, 9, "x"), Interval(0.25, 0.21, 0.29, 0.95, 9, "x")
    ... )
    >>> round(d.value, 9), round(d.low, 9), round(d.high, 9)
    (0.25, 0.2, 0.3)
    """
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    n = min(one.n, other.n)
    return Interval(value, low, high, min(one.level, other.level), n, "square and add")


def _title(findings: Findings, designs: list[DesignFinding]) -> str:
    if len(designs) == 1:
        return f"What {designs[0].network} on {designs[0].accelerator} is and takes"
    if len(designs) > 2:
        return f"{len(designs)} base designs"
    one, other = designs
    told = []
    if one.cost.energy_pj > 0 and other.cost.energy_pj > 0:
        ratio = other.cost.energy_pj / one.cost.energy_pj
        told.append(f"{change(ratio)} energy" if ratio >= 2 else f"{ratio:.2g} times the energy")
    ratio = other.cost.cycles / one.cost.cycles
    told.append(f"{ratio:.2g} times the cycles")
    return f"{other.name} takes {' and '.join(told)} of {one.name}"


def _of_networks(nets: list[NetworkFinding]) -> list[Row]:
    def whole(name: str, of: Callable[[NetworkFinding], int]) -> Row:
        values = [of(n) for n in nets]
        return [name, *(count(v) for v in values), *_ratio([float(v) for v in values])]

    def shown(accuracy: float | None, n: NetworkFinding) -> str:
        return "not known" if accuracy is None else f"{points(binomial(accuracy, n.samples))} %"

    floats = [n.float_accuracy for n in nets]
    codes = [n.quantised_accuracy for n in nets]
    return [
        ["accuracy, float", *map(shown, floats, nets), *_gap(floats)],
        ["accuracy, integer", *map(shown, codes, nets), *_gap(list(codes))],
        whole("parameters", lambda n: n.parameters),
        whole("multiply-accumulates an inference", lambda n: n.macs),
        whole("time steps", lambda n: n.steps),
        whole("weight bits", lambda n: n.weight_bits),
    ]


def _of_costs(designs: list[DesignFinding]) -> list[Row]:
    costs = [d.cost for d in designs]
    cycles = [float(c.cycles) for c in costs]
    rows: list[Row] = [["cycles an inference", *map(count, cycles), *_ratio(cycles)]]
    times = [c.latency_us for c in costs]
    if any(t is not None for t in times):
        told = ["not known" if t is None else si(t * 1e-6, "s") for t in times]
        rows.append(["latency", *told, *_ratio(times)])
    energies = [c.energy_pj or None for c in costs]
    if any(energies):
        told = [
            "not known" if e is None else si(e * 1e-12, "J") + (", incomplete" * bool(c.missing))
            for e, c in zip(energies, costs, strict=True)
        ]
        rows.append(["energy an inference", *told, *_ratio(energies)])
    areas = [area_of(c) for c in costs]
    if any(areas):
        told = ["not known" if a is None else _area(*a) for a in areas]
        same = len({a[1] for a in areas if a}) == 1
        rows.append(
            [
                "area",
                *told,
                *(_ratio([a and a[0] for a in areas]) if same else [""] * (len(areas) == 2)),
            ]
        )
    return rows


def _of_points(findings: Findings, designs: list[DesignFinding]) -> list[Row]:
    golden = [d.golden_accuracy for d in designs]
    rows: list[Row] = [
        ["golden accuracy on the chip", *(f"{100 * v:.1f} %" for v in golden), *_gap(list(golden))]
    ]
    rated = rated_scenarios(findings)
    keys = dict.fromkeys((p.scenario, p.rate) for p in findings.points)
    names = {d.name for d in designs}
    for scenario, at in sorted(keys, key=lambda key: (key[0] not in rated, key[0], key[1] or 0)):
        here = {
            p.design: p
            for p in findings.points
            if (p.scenario, p.rate) == (scenario, at) and p.design in names
        }
        if not here:
            continue
        losses = [here[d.name].loss if d.name in here else None for d in designs]
        row: Row = [f"lost under {spoken(scenario)}, {rate(at)}, points"]
        row += ["" if loss is None else points(loss) for loss in losses]
        if len(designs) == 2:
            one, other = losses
            known = one is not None and other is not None
            row.append(points(difference(other, one), signed=True) if known else "")  # type: ignore[arg-type]
        rows.append(row)
    return rows


def _area(area: float, unit: str) -> str:
    if unit == "GE":
        return f"{count(area)} GE"
    return f"{area / 1e6:.3g} mm²" if area >= 1e4 else f"{area:.3g} µm²"


def _ratio(values: list[float | None] | list[float]) -> list[str]:
    """With two values, the second by the first."""
    if len(values) != 2:
        return []
    one, other = values
    if not one or not other:
        return [""]
    ratio = other / one
    return ["same" if ratio == 1 else f"× {ratio:.3g}"]


def _gap(values: list[float | None]) -> list[str]:
    if len(values) != 2:
        return []
    one, other = values
    if one is None or other is None:
        return [""]
    return [f"{100 * (other - one):+.1f}".replace("-", "−")]
