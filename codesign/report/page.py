"""The page of a study, its tables and its JSON: what `codesign run` leaves behind for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codesign.errors import StoreError
from codesign.report.beside import beside_section
from codesign.report.curves import curve_section
from codesign.report.endings import ending_section
from codesign.report.figures import Figure, Section, html_table
from codesign.report.finding_tables import derived_tables, tables_of
from codesign.report.front import front_section
from codesign.report.helps import help_section
from codesign.report.hurts import hurt_section
from codesign.report.json_files import from_plain, json_text, read_json, writing
from codesign.report.numbers import count, duration
from codesign.report.rendering import render
from codesign.report.seen import seen_section
from codesign.report.sentence import finding_sentence, key_figures, studied
from codesign.report.tables import write_tables
from codesign.report.who import chip_section
from codesign.study.findings import Findings

__all__ = ["load_findings", "write_report"]

FORMAT = "codesign results 1"
SCRIPTS = ("page.js", "words.js", "chip.js", "gantt.js", "seen.js")


def write_report(findings: Findings, folder: Path) -> Path:
    """Write ``report.html``, ``results.json`` and ``csv/*.csv``.

    The same findings give the same bytes. Files of an earlier report are overwritten, its tables
    that are now empty deleted; nothing else in the folder is touched.

    Args:
        findings: Of a study, finished or not.
        folder: Made if it is not there.

    Returns:
        The path of the page.

    Raises:
        StoreError: The findings hold what JSON cannot say (an infinite bound), or the folder cannot
            be written.
    """
    results = json_text(
        {
            "format": FORMAT,
            "finding": finding_sentence(findings),
            "findings": _with_shared(findings),
            "tables": derived_tables(findings),
        }
    )
    page = _page(findings)
    path = folder / "report.html"
    with writing(folder):
        (folder / "results.json").write_text(results, encoding="utf-8")
        write_tables(tables_of(findings), folder / "csv")
        path.write_text(page, encoding="utf-8")
    return path


def load_findings(path: Path) -> Findings:
    """The findings in a ``results.json``.

    Raises:
        StoreError: No such file, of another format, or something in it is missing, unknown or of
            another type.
    """
    content = read_json(path)
    if content.get("format") != FORMAT:
        came = json.dumps(content.get("format"))
        raise StoreError(f"{path}: expected the format {FORMAT!r}, came {came}")
    same = _shared(content.get("findings"), path)
    findings = from_plain(Findings, content.get("findings"), f"{path}: findings")
    if not same:
        return findings
    placed = {design.name: design.assignments for design in findings.designs}
    designs = tuple(
        replace(design, assignments=placed[same[i]]) if i in same else design
        for i, design in enumerate(findings.designs)
    )
    return replace(findings, designs=designs)


def _with_shared(findings: Findings) -> dict[str, object]:
    """Findings for JSON; a design that is placed as its base is says so and repeats nothing."""
    placed = {design.name: design.assignments for design in findings.designs}
    designs = []
    for design in findings.designs:
        same = design.base != design.name and design.assignments == placed.get(design.base)
        told: object = {"same_as": design.base} if same else design.assignments
        designs.append({**vars(design), "assignments": told})
    return {**vars(findings), "designs": designs}


def _shared(findings: Any, path: Path) -> dict[int, str]:
    """Which designs (by index) are placed as which other; their assignments are left empty."""
    designs = findings.get("designs") if isinstance(findings, dict) else None
    designs = [d for d in designs if isinstance(d, dict)] if isinstance(designs, list) else []
    whole = {d.get("name") for d in designs if isinstance(d.get("assignments"), list)}
    found = {}
    for i, design in enumerate(designs):
        told = design.get("assignments")
        if isinstance(told, dict):
            if told.keys() != {"same_as"} or told["same_as"] not in whole:
                names = sorted(str(name) for name in whole)
                raise StoreError(
                    f"{path}: findings.designs[{i}].assignments: expected a list, or same_as and "
                    f"one of {', '.join(names)}; came {json.dumps(told)}"
                )
            found[i], design["assignments"] = told["same_as"], []
    return found


def _page(findings: Findings) -> str:
    chips, chip_data = chip_section(findings)
    seen, seen_data = seen_section(findings)
    written = {table.name for table in tables_of(findings) if table.rows}
    sections = [
        replace(section, figures=tuple(_linked(figure, written) for figure in section.figures))
        for section in (chips, *_sections(findings), seen, front_section(findings))
    ]
    return render(
        "page.html.j2",
        {"chips": chip_data, "seen": seen_data},
        SCRIPTS,
        title=findings.title,
        sentence=finding_sentence(findings),
        keys=key_figures(findings),
        studied=studied(findings),
        note=findings.note,
        failed=findings.failed,
        sections=[section for section in sections if section.figures],
        folder="csv/",
        again=_again(findings, sections),
    )


def _linked(figure: Figure, written: set[str]) -> Figure:
    """The figure with those of its tables that have a row, and so a file."""
    return replace(figure, tables=tuple(name for name in figure.tables if name in written))


def _sections(findings: Findings) -> Iterable[Section]:
    return (
        curve_section(findings),
        hurt_section(findings),
        help_section(findings),
        ending_section(findings),
        beside_section(findings),
    )


def _again(findings: Findings, sections: Sequence[Section]) -> dict[str, Any]:
    """What it takes to do it again, and what is not shown."""
    cost = [f"{duration(findings.seconds)}", f"{count(findings.peak_memory_mb)} MB at most"]
    facts = [(name, findings.versions[name]) for name in sorted(findings.versions)]
    facts += [("seed", str(findings.seed)), ("time and memory", ", ".join(cost))]
    absent = [f"{s.heading}: {s.absent}." for s in sections if not s.figures]
    digests = [[design.name, design.digest] for design in findings.designs]
    return {
        "command": findings.command,
        "study": findings.study,
        "facts": facts,
        "digests": html_table(("design", "digest"), digests),
        "tables": [table.name for table in tables_of(findings) if table.rows],
        "absent": [*findings.absent, *absent],
    }
