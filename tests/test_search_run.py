"""A whole search, small: proposed, killed, resumed, judged again on what no choice has seen."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import chdir

import numpy as np
import pytest

from codesign.errors import StudyError
from codesign.intervals import Interval
from codesign.mapping import Cost, CostRow
from codesign.report import finding_sentence
from codesign.study.results import Results
from codesign.study.search_check import load_space

STUDY = """\
title: small
data: {use: networks:digits}
networks: {cnn: {use: networks:SmallCnn, channels: [4, 4]}}
training: {epochs: 1, qat_epochs: 0, batch: 128}
accelerators: {array: {datasheet: generic8_ws}}
designs: {cnn: {network: cnn, accelerator: array}}
mitigations: {BnP: {use: mitigation:BoundAndProtect, neuron_protection: false}}
faults:
  stuck:
    use: scenarios:RandomFaults
    components: [array.weight_register]
    model: stuck
    rates: [3e-2]
effort: {trials: 4, samples: 20}
"""
SPACE = """\
title: a small search
study: small.yaml
parameters:
  rows: {path: accelerators.array.change.rows, choices: [4, 8]}
  psum sram: {path: accelerators.array.change.psum_sram.bytes, choices: [16, 32768]}
  dataflow: {path: accelerators.array.change.dataflow,
             choices: [weight_stationary, output_stationary]}
  channels: {path: networks.cnn.channels, choices: [[2, 4], [4, 4], [6, 4]]}
objectives: {accuracy: {scenario: stuck, rate: 3e-2}}
seed: 2
effort: {candidates: 5, trainings: 1, trials: 3, samples: 15}
verify: {members: 2, trials: 5, samples: 25, workers: 1}
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder with a finished search, and what it told."""
    import torch

    torch.set_num_threads(1)
    from codesign.study.search import search_space

    folder = tmp_path_factory.mktemp("search")
    write_files(folder)
    said: list[str] = []
    with chdir(folder):
        found = search_space(load_space("space.yaml"), "codesign search x", said.append, quiet=True)
    return folder, found, said


def write_files(folder):
    (folder / "small.yaml").write_text(STUDY)
    (folder / "space.yaml").write_text(SPACE)


def candidates_in(folder):
    """Every row, without the folder in which a reason says that the study stands."""
    with sqlite3.connect(folder / "out" / "space-search" / "results.sqlite") as connection:
        rows = connection.execute("SELECT * FROM candidates ORDER BY number").fetchall()
    return [str(row).replace(str(folder), "") for row in rows]


def tasks_in(folder):
    with Results(folder / "out" / "space-search" / "results.sqlite", readonly=True) as results:
        return [
            (json.loads(t.labels), json.loads(t.description), results.rows(t.digest))
            for t in results.tasks()
        ]


def test_candidates_are_judged_on_validation_and_the_best_again_on_test_with_other_faults(searched):
    folder, found, _ = searched
    splits: dict[str, set[int]] = {"validation": set(), "test": set()}
    names: dict[str, set[str]] = {"validation": set(), "test": set()}
    for labels, description, rows in tasks_in(folder):
        splits[labels["split"]].add(description["seed"])
        names[labels["split"]].add(labels["design"])
        assert len(rows) == {"validation": 3, "test": 5}[labels["split"]]
        assert {row.samples for row in rows} == {{"validation": 15, "test": 25}[labels["split"]]}
    assert splits == {"validation": {2}, "test": {1001}}
    verified = [one["name"] for one in found.findings.front.verified]
    assert "cnn" in verified
    assert "cnn + re-execution" in verified
    # Designs of one content share one task, under the name that came last.
    assert names["test"] <= set(verified)


def test_the_numbers_told_are_those_of_the_stored_trials(searched):
    folder, found, _ = searched
    stored = {
        labels["design"]: np.mean([row.correct / row.samples for row in rows])
        for labels, _, rows in tasks_in(folder)
        if labels["split"] == "test"
    }
    told = {one["name"]: one["faulty accuracy"] for one in found.findings.front.verified}
    assert len(stored) >= 3
    for name, mean in stored.items():
        interval = told[name]
        assert isinstance(interval, Interval)
        assert interval.value == pytest.approx(mean)
        assert interval.n == 5


def test_candidates_that_do_not_fit_are_told_with_their_reason(searched):
    _, found, _ = searched
    failed = [one for one in found.findings.front.candidates if one["state"] == "failed"]
    assert failed
    for one in failed:
        assert one["parameters"]["psum sram"] == 16
        assert "psum_sram" in one["reason"]
    told = [one for one in found.findings.front.candidates if one["state"] == "told"]
    assert told
    assert all(one["parameters"]["psum sram"] == 32768 for one in told)


def test_no_more_networks_are_trained_than_allowed(searched):
    folder, found, _ = searched
    # One is hand-made and free, one more is allowed.
    stored = list((folder / "out" / "space-search").rglob("*.npz"))
    assert len(stored) <= 2
    trained = {json.dumps(c["parameters"]["channels"]) for c in found.findings.front.candidates}
    assert len(trained - {"[4, 4]"}) <= 1


def test_the_front_is_what_no_told_candidate_dominates(searched):
    _, found, _ = searched
    told = [one for one in found.findings.front.candidates if one["state"] == "told"]

    def worse(a, b):
        x, y = a["objectives"], b["objectives"]
        pairs = [
            (-x["faulty accuracy"], -y["faulty accuracy"]),
            (x["energy_pj"], y["energy_pj"]),
            (x["latency_cycles"], y["latency_cycles"]),
        ]
        return all(q <= p for p, q in pairs) and any(q < p for p, q in pairs)

    for one in told:
        assert one["on_front"] is not any(worse(one, other) for other in told)


def test_the_findings_make_a_page_with_the_search_on_it(searched, tmp_path):
    from codesign.report import load_findings, write_report

    _, found, _ = searched
    page = write_report(found.findings, tmp_path)
    assert "a small search" in page.read_text(encoding="utf-8")
    again = load_findings(tmp_path / "results.json")
    assert again.front is not None
    assert len(again.front.candidates) == len(found.findings.front.candidates)
    assert finding_sentence(again) == found.verdict


def test_a_found_design_has_its_own_network_and_chip_where_they_are_not_the_studys(searched):
    _, found, _ = searched
    front = {one["name"]: one for one in found.findings.front.verified}
    names = {network.name for network in found.findings.networks}
    checked = 0
    for design in found.findings.designs:
        assert design.network in names
        if front[design.name]["kind"] == "hand-made":
            assert (design.network, design.accelerator) == ("cnn", "array")
            continue
        point = front[design.name]["parameters"]
        same = point["channels"] == [4, 4]
        assert design.network == ("cnn" if same else f"cnn of {design.name}")
        sheet = (point["rows"], point["dataflow"], point["psum sram"])
        same = sheet == (8, "weight_stationary", 32768)
        assert design.accelerator == ("array" if same else f"array of {design.name}")
        checked += 1
    assert checked


def test_what_is_not_priced_is_named(searched):
    _, found, _ = searched
    assert any("array.*.static" in sentence for sentence in found.findings.absent)


def test_every_design_judged_again_has_a_line_and_every_hand_made_one_a_duel(searched):
    _, found, _ = searched
    told = "\n".join(found.lines)
    for one in found.findings.front.verified:
        assert one["name"] in told
    hand = [v["name"] for v in found.findings.front.verified if v["kind"] == "hand-made"]
    after = found.lines[list(found.lines).index("") + 1 :]
    assert len(after) == len(hand)


def test_running_again_runs_nothing_and_tells_the_same(searched):
    from codesign.study.search import search_space

    folder, found, _ = searched
    before = candidates_in(folder)
    with chdir(folder):
        again = search_space(load_space("space.yaml"), "x", lambda _: None, quiet=True)
    assert candidates_in(folder) == before
    assert (again.verdict, again.lines) == (found.verdict, found.lines)
    assert again.findings.front == found.findings.front


def test_a_search_killed_by_force_ends_as_one_that_was_not(searched, tmp_path):
    folder, _, _ = searched
    write_files(tmp_path)
    command = [sys.executable, "-m", "codesign", "search", "space.yaml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("candidate 1 "):
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL, "".join(said)
    some = candidates_in(tmp_path)
    assert 2 <= len(some) < len(candidates_in(folder))
    from codesign.study.search import search_space

    with chdir(tmp_path):
        search_space(load_space("space.yaml"), "x", lambda _: None, quiet=True)
    assert candidates_in(tmp_path) == candidates_in(folder)


# Prices


def cost(rows=(), **more):
    return Cost(cycles=10, layer_cycles={}, utilisation={}, rows=rows, **more)


def row(energy):
    return CostRow("l", "array", "product", "op", 1.0, 8, energy, "assumed")


def test_costs_are_those_of_the_mapping():
    from codesign.study.search_judge import costs_of

    priced = cost(
        (row(2.0), row(3.0), row(None)),
        area_um2={"a": 5.0, "b": 6.0},
        area_ge={"a": 7.0},
        latency_us=0.5,
    )
    names = ("energy_pj", "latency_cycles", "latency_us", "area_um2", "area_ge")
    assert costs_of(priced, names) == {
        "energy_pj": 5.0,
        "latency_cycles": 10.0,
        "latency_us": 0.5,
        "area_um2": 11.0,
        "area_ge": 7.0,
    }


@pytest.mark.parametrize(
    ("name", "priced", "what"),
    [
        ("energy_pj", cost((row(None),)), "any action"),
        ("latency_us", cost(), "the clock"),
        ("area_um2", cost(area_um2={"a": 1.0}, missing=("dram.area",)), r"dram\.area"),
        ("area_ge", cost(), "gate equivalents"),
    ],
)
def test_a_cost_whose_number_is_absent_is_refused_by_name(name, priced, what):
    from codesign.study.search_judge import costs_of

    with pytest.raises(StudyError, match=f"{name} cannot be told: .* no number for {what}"):
        costs_of(priced, (name,))
