"""The files of a report: tables, results and what a broken results file is answered."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_findings import sample_findings, small_findings

from codesign.errors import DataError, StoreError
from codesign.intervals import Interval
from codesign.report import finding_sentence, load_findings, write_report
from codesign.study.findings import Findings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the sample."""
    return write_report(sample_findings(), tmp_path_factory.mktemp("report")).parent


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with (folder / "csv" / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("make", [sample_findings, small_findings])
def test_results_come_back_from_their_file_as_they_were(
    make: Callable[[], Findings], tmp_path: Path
) -> None:
    write_report(make(), tmp_path)
    assert load_findings(tmp_path / "results.json") == make()


def test_a_report_of_loaded_findings_is_the_same_report(folder: Path, tmp_path: Path) -> None:
    page = write_report(load_findings(folder / "results.json"), tmp_path)
    assert page.read_bytes() == (folder / "report.html").read_bytes()


def test_equal_findings_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    write_report(sample_findings(), tmp_path)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) > 15
    assert [f for f in files if (folder / f).read_bytes() != (tmp_path / f).read_bytes()] == []


def test_results_hold_the_sentence(folder: Path) -> None:
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert content["finding"] == finding_sentence(sample_findings())


def test_designs_that_are_placed_alike_repeat_nothing_in_results(folder: Path) -> None:
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    told = [design["assignments"] for design in content["findings"]["designs"]]
    assert [len(one) for one in told] == [60, 1, 1, 1, 200, 1, 1, 1]
    assert told[5] == {"same_as": "snn"}


def test_every_point_stands_in_its_table_to_the_last_digit(folder: Path) -> None:
    points = sample_findings().points
    rows = rows_of(folder, "points")
    assert len(rows) == len(points) > 30
    for point, row in zip(points, rows, strict=True):
        assert float(row["accuracy"]) == point.accuracy.value
        assert float(row["loss_high"]) == point.loss.high
        assert (row["gain_low"] or None) == (None if point.gain is None else repr(point.gain.low))
        assert float(row["share_sdc"]) == point.shares["sdc"]


def test_ratios_of_cost_are_in_tables_and_in_results(folder: Path) -> None:
    rows = {row["design"]: row for row in rows_of(folder, "designs")}
    assert float(rows["cnn+ecc"]["energy_ratio"]) == pytest.approx(1.31)
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    (table,) = (table for table in content["tables"] if table["name"] == "designs")
    at = table["columns"].index("energy_ratio")
    ratios = {row[0]: row[at] for row in table["rows"]}
    assert ratios["cnn+ecc"] == float(rows["cnn+ecc"]["energy_ratio"])


def test_tables_hold_every_assignment_cost_and_seen_spike(folder: Path) -> None:
    made = sample_findings()
    bases = [design for design in made.designs if design.base == design.name]
    assert len(rows_of(folder, "assignments")) == sum(len(d.assignments) for d in bases) > 200
    assert len(rows_of(folder, "costs")) == sum(len(d.cost.rows) for d in made.designs) > 50
    seen = made.seen[0]
    mine = [r for r in rows_of(folder, "seen") if (r["design"], r["choice"]) == ("snn", "worst")]
    there = {(int(r["b"]), int(r["c"])): (int(r["golden"]), int(r["faulty"])) for r in mine}
    for step, (golden, faulty) in enumerate(zip(seen.golden, seen.faulty, strict=True)):
        assert isinstance(golden, list)
        assert isinstance(faulty, list)
        for neuron, pair in enumerate(zip(golden, faulty, strict=True)):
            assert there.get((step, neuron), (0, 0)) == pair


def test_tables_that_are_now_empty_do_not_stay_from_an_earlier_report(tmp_path: Path) -> None:
    write_report(sample_findings(), tmp_path)
    (tmp_path / "csv" / "mine.csv").write_text("a\n1\n", encoding="utf-8")
    write_report(small_findings(), tmp_path)
    left = {path.stem for path in (tmp_path / "csv").iterdir()}
    assert {"gains", "points", "seen", "search_candidates"} & left == set()
    assert {"mine", "designs", "networks"} <= left


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(StoreError, match=r"taken: cannot be written: .*; name another folder"):
        write_report(small_findings(), tmp_path / "taken")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="codesign results 9"), "expected the format"),
        (lambda c: c["findings"].pop("seed"), "findings: 'seed' is missing"),
        (lambda c: c["findings"].update(sed=1), "unknown key 'sed'; did you mean 'seed'?"),
        (
            lambda c: c["findings"]["points"][3].update(trials="x"),
            r'points\[3\]\.trials: expected a whole number, came "x"',
        ),
        (
            lambda c: c["findings"]["points"][0].update(trials=True),
            "expected a whole number, came true",
        ),
        (
            lambda c: c["findings"]["designs"][1].update(assignments={"same_as": "cm"}),
            r"designs\[1\]\.assignments: expected a list, or same_as and one of cnn, snn; came",
        ),
        (lambda c: c["findings"].update(designs=7), "designs: expected a list, came 7"),
        (lambda c: c["findings"].update(chance=None), "chance: expected a number, came null"),
        (lambda c: c["findings"].update(points={}), "points: expected a list, came {}"),
        (lambda c: c["findings"].update(versions=[]), "versions: expected an object"),
        (
            lambda c: c["findings"]["designs"][0]["units"][0]["components"][0].pop(),
            r"components\[0\]: expected 4 items, came 3",
        ),
        (
            lambda c: c["findings"]["points"][0]["loss"].update(low=2.0),
            r"points\[0\]\.loss: no interval reaches",
        ),
    ],
)
def test_a_results_file_that_is_not_as_it_was_written_is_refused_by_name(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    change(content)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        load_findings(path)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "expected JSON"), ("[1]", "expected a JSON object"), (None, "read")]
)
def test_what_is_no_results_file_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        load_findings(path)


def test_an_infinite_bound_is_refused_because_json_cannot_say_it(tmp_path: Path) -> None:
    made = sample_findings()
    endless = replace(made.points[0], loss=Interval(0.1, -math.inf, 0.2, 0.95, 9, "x"))
    with pytest.raises(StoreError, match="JSON cannot say this"):
        write_report(replace(made, points=(endless,)), tmp_path)


@pytest.mark.parametrize("field", ["design", "network"])
def test_findings_that_speak_of_what_they_do_not_hold_are_refused(
    field: str, tmp_path: Path
) -> None:
    made = sample_findings()
    if field == "design":
        made = replace(made, points=(replace(made.points[0], design="cmm"),))
    else:
        made = replace(made, networks=made.networks[1:])
    with pytest.raises(DataError, match=f"speak of a {field} 'c..' that they do not hold"):
        write_report(made, tmp_path)


def test_a_seen_trial_of_uneven_shapes_is_refused(tmp_path: Path) -> None:
    made = sample_findings()
    uneven = replace(made.seen[0], faulty=made.seen[0].faulty[1:])
    with pytest.raises(DataError, match=r"the same 2 axes, came \(20, 64\) and \(19, 64\)"):
        write_report(replace(made, seen=(uneven,)), tmp_path)
