"""What goes wrong around the program is told in one line, and the page says what to type again."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

OWN = """\
from pathlib import Path
import warnings
from networks import digits

def pixels(folder: str = ""):
    if folder:
        (Path(folder) / "pixels.bin").read_bytes()
    warnings.warn("these pixels\\nare old")
    return digits()
"""
STUDY = """\
title: own
data: {use: "pixels_of_mine:pixels"}
networks:
  a: {use: networks:SmallCnn, channels: [2, 2]}
training: {epochs: 0, qat_epochs: 0}
accelerators: {array: {datasheet: generic8_ws}}
designs: {a: {network: a, accelerator: array}}
faults:
  f: {use: scenarios:RandomFaults, components: [array.weight_register], model: stuck, rates: [1e-2]}
effort: {trials: 2, samples: 20, workers: 1, seen: 0}
outputs: {folder: out}
"""


def typed(folder: Path, *words: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess:
    (folder / "pixels_of_mine.py").write_text(OWN)
    (folder / "own.yaml").write_text(STUDY)
    return subprocess.run(
        [sys.executable, "-m", "codesign", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_is_one_line(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = typed(tmp_path, "list", stdout=full)
    finally:
        os.close(full)
    assert (done.returncode, done.stderr) == (2, "codesign: No space left on device\n")


def test_a_file_that_a_part_of_the_users_own_misses_is_one_line(tmp_path: Path) -> None:
    words = ("run", "own.yaml", "--allow", "pixels_of_mine", "data.folder=nowhere")
    done = typed(tmp_path, *words)
    told = "codesign: nowhere/pixels.bin: No such file or directory\n"
    assert (done.returncode, done.stderr) == (2, told)


def test_the_command_on_the_page_runs_parts_of_the_users_own_and_warnings_are_one_line(
    tmp_path: Path,
) -> None:
    done = typed(tmp_path, "run", "own.yaml", "--quiet", "--allow", "pixels_of_mine")
    assert done.returncode == 0, done.stderr
    assert "codesign: warning: these pixels are old\n" in done.stderr
    assert "warnings.warn" not in done.stderr
    told = json.loads((tmp_path / "out" / "results.json").read_text())["findings"]["command"]
    assert told == "codesign run own.yaml --allow pixels_of_mine"
    again = typed(tmp_path, *shlex.split(told)[1:])
    assert (again.returncode, again.stdout) == (0, done.stdout)


def test_a_trial_that_cannot_be_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    words = ("--allow", "pixels_of_mine", "--task", "a, f at 0.01", "--trial", "-1")
    done = typed(tmp_path, "replay", "own.yaml", *words)
    told = "codesign: trial -1: trials are counted from 0\n"
    assert (done.returncode, done.stderr) == (2, told)
