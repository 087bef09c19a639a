"""The page's tables and plot, made from a results file and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import log10
from pathlib import Path

from benchmarks.results import Denominator, Results, Row

__all__ = ["BEGIN", "END", "markdown", "plot", "write_page"]

BEGIN = "<!-- made by benchmarks/run.py: begin -->"
END = "<!-- made by benchmarks/run.py: end -->"
COLOURS = {
    "ours-cpu": "#0b6e4f",
    "ours-torch": "#c9a227",
    "ours-dense": "#4a5568",
    "PyTorchFI": "#b5446e",
    "MRFI": "#3d5a98",
}
LOWEST = -6  # decades of the plot: ratios from 1e-6
WIDTH, LEFT, ROW, TOP = 860, 230, 15, 46


def write_page(results: Results, page: Path) -> None:
    """Put the tables between the markers of a page, and the plot beside it as an SVG.

    Raises:
        ValueError: The page has no markers.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{page}: expected the lines {BEGIN!r} and {END!r}, once each, in order")
    picture = page.with_suffix(".svg")
    picture.write_text(plot(results), encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    made = (
        f"![Cost of a fault, as a share of a forward pass]({picture.name})\n\n{markdown(results)}"
    )
    page.write_text(f"{before}{BEGIN}\n\n{made}\n{END}{after}", encoding="utf-8")


def markdown(results: Results) -> str:
    """All tables."""
    parts = [_about(results)]
    for denominator in results.denominators:
        rows = [r for r in results.rows if r.network == denominator.network and r.table == "main"]
        parts.append(_network(denominator, rows))
    parts += [f"`{name}` was left out: {why}.\n" for name, why in results.absent.items()]
    scaling = [r for r in results.rows if r.table == "scaling"]
    if scaling:
        parts.append(_scaling(scaling))
    return "\n".join(parts)


def plot(results: Results) -> str:
    """A dot for every engine and mix on an axis of ratios to a forward pass, each ten times."""
    rows = [r for r in results.rows if r.table == "main" and r.ratio_to_forward]
    lines = list(dict.fromkeys((r.network, r.fault_mix) for r in rows))
    height = TOP + ROW * len(lines) + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for i, (engine, colour) in enumerate(COLOURS.items()):
        x = LEFT + 110 * i
        out.append(f'<circle cx="{x}" cy="14" r="4" fill="{colour}"/>')
        out.append(f'<text x="{x + 8}" y="18">{escape(engine)}</text>')
    for decade in range(LOWEST, 2):
        at, bottom = _x(10.0**decade), TOP + ROW * len(lines)
        shade = "#333333" if decade == 0 else "#dddddd"
        out.append(f'<line x1="{at}" x2="{at}" y1="{TOP - 8}" y2="{bottom}" stroke="{shade}"/>')
        label = "one forward pass" if decade == 0 else f"{10.0**decade:g}"
        out.append(f'<text x="{at}" y="{TOP - 12}" text-anchor="middle">{label}</text>')
    for i, (network, mix) in enumerate(lines):
        y = TOP + ROW * i + 8
        out.append(f'<text x="{LEFT - 90}" y="{y + 4}" text-anchor="end">{escape(network)}</text>')
        out.append(f'<text x="{LEFT - 82}" y="{y + 4}">{escape(mix)}</text>')
        for row in rows:
            if (row.network, row.fault_mix) == (network, mix) and row.ratio_to_forward:
                out.append(
                    f'<circle cx="{_x(row.ratio_to_forward)}" cy="{y}" r="4" fill-opacity="0.85" '
                    f'fill="{COLOURS.get(row.engine, "#000000")}"><title>{escape(row.engine)} '
                    f"{row.ratio_to_forward:.2g}</title></circle>"
                )
    out.append(f'<text x="{LEFT}" y="{height - 12}">CPU time of a fault / A, one thread</text>')
    return "\n".join([*out, "</svg>", ""])


def _x(ratio: float) -> float:
    place = (log10(max(ratio, 10.0**LOWEST)) - LOWEST) / (1.3 - LOWEST)
    return round(LEFT + 20 + place * (WIDTH - LEFT - 40), 1)


def _about(results: Results) -> str:
    said = "; ".join(f"{name}: {value}" for name, value in results.about.items())
    return f"Measured on one thread. {said}.\n"


def _network(denominator: Denominator, rows: Sequence[Row]) -> str:
    d = denominator
    wrong = f"; not exact on {d.a_wrong} of {d.inputs} samples" if d.a_wrong else ""
    isa = rows[0].isa if rows else ""
    head = (
        f"### {d.network}\n\n{d.origin}; {d.accuracy:.1%} right; {d.inputs} samples.\n\n"
        f"- A = {d.a_ms:.1f} ms: {d.a_name}, batches of {d.a_batch}{wrong}.\n"
        f"- B = {d.b_ms:.1f} ms: {d.b_name}, batches of {d.b_batch}; {d.int8}.\n"
        f"- Instruction set of torch: {isa}.\n"
    )
    cells = [
        (
            row.fault_mix,
            row.engine,
            _ratio(row.ratio_to_forward),
            _ratio(row.ratio_to_best),
            "" if row.ms_per_fault is None else f"{row.ms_per_fault:.3g}",
            str(row.faults or ""),
            f"{row.equal} of {row.equal_checked}" if row.faults else "",
            "" if row.setup_forwards is None else f"{row.setup_forwards:.1f}",
            row.note,
        )
        for row in rows
    ]
    heads = ("faults", "engine", "/ A", "/ B", "ms", "run", "equal", "set-up / A", "")
    return f"{head}\n{_table(heads, cells)}"


def _scaling(rows: Sequence[Row]) -> str:
    cells = [
        (
            row.axis,
            row.network,
            f"{row.faults:,}",
            str(row.inputs),
            str(row.workers),
            _ratio(row.ratio_to_forward),
            f"{row.ms_per_fault:.3g} {row.clock}" if row.ms_per_fault is not None else "",
            "" if row.setup_forwards is None else f"{row.setup_forwards:.1f}",
        )
        for row in rows
    ]
    heads = ("along", "network", "faults", "samples", "threads", "/ A", "ms", "set-up / A")
    text = "### How it grows\n\n`ours-cpu`, one flipped bit of a weight; A of the same samples.\n"
    return f"{text}\n{_table(heads, cells)}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(c.replace("|", "/") for c in line) + " |\n" for line in lines)


def _ratio(value: float | None) -> str:
    """Three figures, not in powers of ten.

    >>> _ratio(0.000171), _ratio(1.0253), _ratio(None)
    ('0.000171', '1.03', '-')
    """
    if value is None:
        return "-"
    if value == 0:
        return "0"
    return f"{value:.{max(2 - int(log10(value) // 1), 0)}f}"
