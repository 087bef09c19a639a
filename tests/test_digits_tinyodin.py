"""The shipped study of a trained SNN on tinyODIN, with next to no effort: every command works."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from codesign.cli import main

TINY = (
    "training.epochs=2",
    "training.qat_epochs=0",
    "effort.trials=2",
    "effort.samples=6",
    "effort.workers=1",
    "effort.seen=2",
    "networks.snn.steps=4",
    "accelerators.tinyodin.change.time_out_cycles=20000",
    "faults.one stuck neuron bit.trials=30",
    "faults.one stuck weight bit.trials=4",
    "faults.stuck weight bits.rates=[1e-3]",
    "faults.flipped weight bits.rates=[1e-3]",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of the study."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("digits")
    assert main(["run", "digits_tinyodin", *settings(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """What it found."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))["findings"]


def settings(folder) -> list[str]:
    """The study, made small."""
    return [*TINY, f"outputs.folder={folder}"]


def test_every_pair_of_trial_and_sample_ends_in_one_way_and_hangs_are_among_them(found):
    assert len(found["points"]) == 10
    for point in found["points"]:
        assert sum(point["shares"].values()) == pytest.approx(1)
        assert point["shares"]["detected"] == point["shares"]["corrected"] == 0
    stuck = [p for p in found["points"] if p["scenario"] == "stuck neuron bits"]
    hangs = {p["rate"]: p["shares"]["hang"] for p in stuck}
    # 58 neurons of 32 bits: at 1e-2 nearly nineteen are stuck; one that fires without end hangs.
    assert hangs[1e-2] > 0.4 > hangs[1e-4]
    assert all(p["accuracy"]["value"] <= 1 - p["shares"]["hang"] for p in stuck)


def test_the_page_tells_three_accuracies_the_engine_and_hangs(folder, found):
    (network,), (design,) = found["networks"], found["designs"]
    assert network["weight_bits"] == 4
    assert found["versions"]["engine"] == "serial (numpy)"
    page = (folder / "report.html").read_text(encoding="utf-8")
    rows = ("accuracy, float", "accuracy, integer", "golden accuracy on the chip")
    for row in (*rows, "hang: "):
        assert row in page
    assert f"{100 * design['golden_accuracy']:.1f} %" in page
    # Golden outputs are the chip's own: they agree with the layered network mostly, not always.
    assert abs(design["golden_accuracy"] - network["quantised_accuracy"]) < 0.5


def test_rasters_of_the_struck_neurons_are_shown_step_by_step(found):
    shown = found["seen"]
    assert {seen["choice"] for seen in shown} >= {"worst"}
    for seen in shown:
        size = {"lif.0": 48, "lif.1": 10}[seen["layer"]]
        assert np.shape(seen["golden"]) == np.shape(seen["faulty"]) == (4, size)
        assert len(seen["membrane_golden"]) == 4
        assert seen["threshold"] > 0
    worst = next(seen for seen in shown if seen["choice"] == "worst")
    assert worst["golden"] != worst["faulty"]


def test_a_trial_comes_again_and_is_told(folder, capsys):
    task = ["--task", "digits, one stuck neuron bit", "--trial", "3"]
    assert main(["replay", "digits_tinyodin", *settings(folder), *task]) == 0
    told = capsys.readouterr().out
    assert "stored row: equal" in told
    assert re.search(r"all 6 samples: ", told)


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        ("neurons.memory@200:3 stuck1", "masked 6"),  # nobody sits on neuron 200
        ("neurons.memory@3:8 stuck1", "hang 6"),  # 256 at rest: it fires in every update, and again
    ],
)
def test_faults_are_explained(folder, capsys, fault, ending):
    assert main(["explain", "digits_tinyodin", fault, *settings(folder)]) == 0
    assert f"all 6 samples: {ending}" in capsys.readouterr().out


def test_who_is_where_is_written(folder, tmp_path):
    out = tmp_path / "map"
    assert main(["map", "digits_tinyodin", *settings(folder), "--out", str(out)]) == 0
    told = json.loads((out / "mapping.json").read_text(encoding="utf-8"))
    assert "neurons" in json.dumps(told)
    assert (out / "mapping.html").is_file()


def test_what_the_built_study_says_of_potentials_is_printed(folder, capsys):
    assert main(["check", "digits_tinyodin", *settings(folder), "--build"]) == 0
    told = capsys.readouterr().out
    assert "updates at most" in told
    assert "golden saturations: fc.0 0, fc.1 0" in told


def test_advice_is_refused(folder, capsys):
    assert main(["advise", "digits_tinyodin", *settings(folder), "--quiet"]) == 2
    assert "there is no advice for digits: tinyodin works off events" in capsys.readouterr().err


def test_a_mitigation_that_needs_guards_is_refused_at_its_place(folder, capsys):
    added = "mitigations.ecc.use=mitigation:ErrorCorrection"
    assert main(["check", "digits_tinyodin", *settings(folder), added, "--build"]) == 2
    told = capsys.readouterr().err
    assert "re-execution: tinyodin works off events, and programs of events take no guards" in told
