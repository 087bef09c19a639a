"""Where it hurts: loss of single faults by layer and bit, on the array, and the ten worst."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from codesign.report import svg
from codesign.report.colours import series_colour
from codesign.report.figures import Figure, Section
from codesign.report.heat import HeatCell, blocks, heat_map, scale_bar
from codesign.report.numbers import between, count, points
from codesign.report.reading import apart_from_zero, bases, is_base, spoken
from codesign.study.findings import DesignFinding, Findings, Vulnerability

__all__ = ["hurt_section", "instance_losses"]

WORST = 10
PLOT = 400.0  # pixels
DATA = ("vulnerabilities",)


def hurt_section(findings: Findings) -> Section:
    """Three figures at most, for base designs."""
    names = {design.name for design in bases(findings)}
    mine = [v for v in findings.vulnerabilities if v.design in names]
    made = (
        _by_layer_and_bit(findings, [v for v in mine if v.group == "layer·bit"]),
        _by_instance(findings, [v for v in mine if v.group == "instance"]),
        _worst(findings, mine),
    )
    figures = tuple(figure for figure in made if figure is not None)
    reason = "no scenario of single faults was run, which alone shows what each site costs"
    return Section("hurt", "Where it hurts", figures, reason)


def instance_losses(
    vulnerabilities: Iterable[Vulnerability],
) -> dict[str, dict[tuple[int, ...], Vulnerability]]:
    """By ``unit.component`` and instance; the unit is ``""`` where a key names none."""
    found: dict[str, dict[tuple[int, ...], Vulnerability]] = {}
    for one in vulnerabilities:
        part, _, at = one.key.rpartition("·")
        instance = tuple(int(index) for index in at.split(","))
        found.setdefault(part, {})[instance] = one
    return found


def _by_layer_and_bit(findings: Findings, mine: Sequence[Vulnerability]) -> Figure | None:
    if not mine:
        return None
    high = max(v.loss.value for v in mine)
    maps = []
    for design, scenario in dict.fromkeys((v.design, v.scenario) for v in mine):
        here = {_halves(v.key): v for v in mine if (v.design, v.scenario) == (design, scenario)}
        layers = _in_order(findings, design, (layer for layer, _ in here))
        bits = sorted({bit for _, bit in here}, key=int, reverse=True)
        cells = [[_cell(here.get((layer, bit)), high, True) for bit in bits] for layer in layers]
        head = f"{design}, {spoken(scenario)}"
        maps.append(heat_map(head, layers, bits, cells, ("layers", "bits"), (34.0, 30.0)))
    title = "No bit of a layer is seen to cost accuracy"
    if worst := _surely_worst(mine):
        layer, bit = _halves(worst.key)
        lost = f"{points(worst.loss)} points a fault"
        title = f"Bit {bit} of {layer} in {worst.design} costs most: {lost}"
    reading = (
        "Each cell is the mean accuracy lost by one fault in that bit of that layer; the largest "
        "bit is on the left. All maps share one scale. A fault that touches several layers counts "
        "in each of them."
    )
    return Figure(title, reading, _maps(maps, high), DATA)


def _by_instance(findings: Findings, mine: Sequence[Vulnerability]) -> Figure | None:
    if not mine:
        return None
    high = max(v.loss.value for v in mine)
    maps = []
    for design in (d for d in bases(findings) if any(v.design == d.name for v in mine)):
        here = [v for v in mine if v.design == design.name]
        for part, losses in instance_losses(here).items():
            maps.append(_instance_map(design, part, losses, high))
    title = "No place on the chip is seen to hurt more than nothing"
    if worst := _surely_worst(mine):
        title = f"On the chip, faults hurt most in {worst.key.replace('·', ' ')} of {worst.design}"
    reading = (
        "Each cell is one instance of the unit where it stands, coloured by the mean accuracy lost "
        "by a fault in it; pale cells were not struck. Few trials stand behind one cell: trust "
        "the pattern before the cell."
    )
    return Figure(title, reading, _maps(maps, high), DATA)


def _surely_worst(mine: Sequence[Vulnerability]) -> Vulnerability | None:
    """The place that surely costs most, allowing for how many were looked at; None if none does."""
    surest = max(mine, key=lambda v: v.loss.low)
    hurts = surest.loss.value > 0 and apart_from_zero(surest.loss, len(mine))
    return surest if hurts else None


def _instance_map(
    design: DesignFinding, part: str, losses: dict[tuple[int, ...], Vulnerability], high: float
) -> str:
    shape = next((u.shape for u in design.units if u.name == part.split(".")[0]), ())
    if len(shape) != 2:
        shape = tuple(1 + max(axis) for axis in zip(*losses, strict=True))
    down, across = blocks(shape[0]), blocks(shape[1])
    cells = []
    for rows in down:
        row = []
        for columns in across:
            inside = [
                v
                for (r, c), v in losses.items()
                if rows[0] <= r < rows[1] and columns[0] <= c < columns[1]
            ]
            row.append(_block(inside, high, (rows, columns)))
        cells.append(row)
    head = f"{design.name}, {part}" if part else design.name
    names = [[str(first) for first, _ in axis] for axis in (down, across)]
    return heat_map(head, names[0], names[1], cells, ("rows", "columns"))


def _block(
    inside: Sequence[Vulnerability], high: float, place: tuple[tuple[int, int], ...]
) -> HeatCell:
    """One instance, or the mean over a block of them."""
    if len(inside) == 1:
        return _cell(inside[0], high)
    where = ", ".join(f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in place)
    trials = sum(v.trials for v in inside)
    if not trials:
        return HeatCell(None, f"{where}: not struck")
    mean = sum(v.loss.value * v.trials for v in inside) / trials
    told = f"{where}: lost {100 * mean:.2f} points, mean of {count(trials)} trials"
    return HeatCell(max(0.0, mean) / high if high > 0 else 0.0, told)


def _worst(findings: Findings, mine: Sequence[Vulnerability]) -> Figure | None:
    groups = ("layer·bit", "unit.component", "layer")
    present = [group for group in groups if any(v.group == group for v in mine)]
    if not present:
        return None
    of = [v for v in mine if v.group == present[0]]
    surest = sorted(of, key=lambda v: v.loss.low, reverse=True)[:WORST]
    rows = sorted(surest, key=lambda v: v.loss.value, reverse=True)
    names = [f"{v.design}  {v.key.replace('·', ' bit ')}" for v in rows]
    left = max(svg.text_width(name, svg.LARGE) for name in names) + 16
    low, high = min(0.0, *(v.loss.low for v in rows)), max(v.loss.high for v in rows) * 1.04
    panel = svg.Panel.of((left, 8.0, PLOT, 24.0 * len(rows)), (low, high or 0.01), (0.0, 1.0))
    ticks = svg.nice_ticks(low, high, 6)
    shown = svg.axis_x_linear(panel, ticks, _hundred, "accuracy lost for one fault, points")
    parts = [shown]
    order = [design.name for design in findings.designs if is_base(design)]
    for i, (one, name) in enumerate(zip(rows, names, strict=True)):
        y = 8 + 24.0 * i + 12
        number = order.index(one.design)
        colour = series_colour(number)
        ends = (panel.x(one.loss.low), y), (panel.x(one.loss.high), y)
        dot = svg.whisker(*ends, colour) + svg.mark(panel.x(one.loss.value), y, colour, number)
        parts += [svg.text(left - 12, y + 4, name, "end", "name"), svg.tip(_told(one), dot)]
    if len(rows) == 1:
        title = "The only place for one fault"
    else:
        title = f"The {len(rows)} worst places for one fault"
    reading = (
        "Sorted by mean loss with its 95 % interval; chosen by the interval's low end, so that "
        "a place with few trials does not lead by luck."
    )
    body = svg.figure(left + PLOT + 20, 24.0 * len(rows) + 56, parts, title)
    return Figure(title, reading, f'<div class="panels">{body}</div>', DATA)


def _maps(maps: Sequence[str], high: float) -> str:
    bar = scale_bar("0", f"{100 * high:.1f}", "points of accuracy lost for one fault")
    return f'<div class="scale">{bar}</div><div class="panels">{"".join(maps)}</div>'


def _cell(one: Vulnerability | None, high: float, written: bool = False) -> HeatCell:
    if one is None:
        return HeatCell(None, "not struck")
    value = max(0.0, one.loss.value) / high if high > 0 else 0.0
    return HeatCell(value, _told(one), f"{100 * one.loss.value:.1f}" if written else "")


def _told(one: Vulnerability) -> str:
    key = one.key.replace("·", " bit " if one.group.endswith("bit") else " ")
    return (
        f"{one.design}, {key}: lost {points(one.loss)} points "
        f"({between(one.loss)}), {count(one.trials)} trials"
    )


def _halves(key: str) -> tuple[str, str]:
    layer, _, bit = key.rpartition("·")
    return layer, bit


def _in_order(findings: Findings, design: str, layers: Iterable[str]) -> list[str]:
    """Layers in the order in which the chip runs them; the others behind."""
    mine = next(d for d in findings.designs if d.name == design)
    known = list(mine.cost.layer_cycles)
    return sorted(set(layers), key=lambda name: (known.index(name) if name in known else 999, name))


def _hundred(value: float) -> str:
    return f"{100 * value:.4g}".replace("-", "−")
