"""A whole study, small: run, killed, resumed, extended, replayed."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

STUDY = """\
title: small
data: {use: networks:digits}
networks:
  cnn: {use: networks:SmallCnn, channels: [4, 8]}
  snn:
    use: networks:FcLif
    hidden: [16]
    steps: 4
    coding: direct
    quantisation: {weight_headroom_bits: 1}
training: {epochs: 1, qat_epochs: 0, batch: 128}
accelerators:
  array: {datasheet: generic8_ws}
  cores: {datasheet: cores4_mesh}
designs:
  cnn: {network: cnn, accelerator: array}
  snn: {network: snn, accelerator: cores}
mitigations:
  BnP1: {use: mitigation:BoundAndProtect, neuron_protection: false, on: [snn]}
faults:
  stuck:
    use: scenarios:RandomFaults
    components: [array.weight_register, crossbar.weight_register]
    model: stuck
    rates: [1e-2]
  single:
    use: scenarios:SingleFaults
    components: [array.weight_register, neuron.membrane]
    model: stuck
    trials: 12
    mitigations: false
effort: {trials: 6, samples: 20, workers: 1, seen: 1}
"""


def start(folder, *more):
    """The real command, in a folder of its own."""
    (folder / "small.yaml").write_text(STUDY)
    command = [sys.executable, "-m", "codesign", "run", "small.yaml", "--quiet", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out


def rows(folder):
    file = f"file:{folder / 'out/small/results.sqlite'}?mode=ro"  # else asking would make one
    with sqlite3.connect(file, uri=True) as store:
        return sorted(store.execute("SELECT * FROM trials"))


def has_a_network(folder):
    """Whether training has stored something."""
    return any((folder / "out/small/networks").glob("*"))


def has_a_trial(folder):
    """Whether a campaign has."""
    try:
        return bool(rows(folder))
    except sqlite3.Error:  # no file yet, or no table
        return False


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, finish(start(folder))


@pytest.mark.timeout(400)
def test_a_run_ends_with_its_finding_and_its_page(whole):
    folder, out = whole
    finding, page = out.strip().splitlines()
    assert page == "out/small/report.html"
    assert (folder / page).is_file()
    results = json.loads((folder / "out/small/results.json").read_text())
    names = {point["design"] for point in results["findings"]["points"]}
    assert names == {"cnn", "snn", "snn + re-execution", "snn + BnP1"}
    assert len(rows(folder)) == 4 * 6 + 2 * 12
    assert finding


@pytest.mark.timeout(400)
def test_running_again_runs_nothing_and_more_trials_extend(whole):
    folder, _ = whole
    before = rows(folder)
    finish(start(folder))
    assert rows(folder) == before
    finish(start(folder, "effort.trials=8"))
    after = rows(folder)
    assert set(before) < set(after)
    assert len(after) == 4 * 8 + 2 * 12


@pytest.mark.timeout(500)
def test_a_killed_run_goes_on_and_ends_with_the_rows_of_an_uninterrupted_one(whole, tmp_path):
    folder, _ = whole
    draw = random.Random(5)
    for reached in (has_a_network, has_a_trial):
        process = start(tmp_path)
        while not reached(tmp_path) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"ended before {reached.__name__} and a kill"
    finish(start(tmp_path))
    wanted = {row[:2] for row in rows(tmp_path)}
    assert rows(tmp_path) == [row for row in rows(folder) if row[:2] in wanted]
    assert len(wanted) == 4 * 6 + 2 * 12


@pytest.mark.timeout(300)
def test_a_trial_replayed_alone_is_the_stored_one(whole):
    folder, _ = whole
    command = [sys.executable, "-m", "codesign", "replay", "small.yaml"]
    more = ["--task", "cnn, stuck at 0.01", "--trial", "4"]
    run = subprocess.run([*command, *more], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("stored row: equal\n")
    assert "array[" in run.stdout
