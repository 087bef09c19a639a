"""`codesign explain` and `codesign replay` on a small study, as they are typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from codesign.cli import main

torch.set_num_threads(1)

STUDY = """\
title: small
data: {use: networks:digits}
networks:
  cnn: {use: networks:SmallCnn, channels: [4, 8]}
  snn: {use: networks:FcLif, hidden: [16], steps: 4, coding: direct}
training: {epochs: 1, qat_epochs: 0, batch: 128}
accelerators:
  array: {datasheet: generic8_ws}
  cores: {datasheet: cores4_mesh}
designs:
  cnn: {network: cnn, accelerator: array}
  snn: {network: snn, accelerator: cores}
mitigations:
  ecc: {use: mitigation:ErrorCorrection, places: [weight], on: [cnn]}
faults:
  many:
    use: scenarios:RandomFaults
    components: [array.weight_register]
    model: stuck
    on: [cnn]
    rates: [1e-2]
effort: {trials: 2, samples: 10, workers: 1, seen: 0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the study stands; what it trains is trained once."""
    found = tmp_path_factory.mktemp("explained")
    (found / "small.yaml").write_text(STUDY)
    return found


@pytest.fixture
def typed(folder: Path, monkeypatch, capsys):
    """Run a command beside the study; its code, stdout and stderr."""
    monkeypatch.chdir(folder)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_fault_is_explained_on_the_first_design_that_can_have_it(typed):
    code, out, _ = typed("explain", "small.yaml", "array[0,0].weight_register:7")
    assert code == 0
    assert out.startswith("array[0,0].weight_register:7 stuck1, for good\n")
    assert re.search(r"^sample \d \(label \d\) on cnn: (masked|tolerated|sdc)$", out, re.MULTILINE)
    code, out, _ = typed("explain", "small.yaml", "neuron[0,3].membrane:20@cycle=90", "--sample=2")
    assert code == 0
    assert "flip, in inference 2, cycle 90" in out
    assert "sample 2 (label" in out
    assert "on snn: " in out
    assert "lif.0: membranes in their cells, position 0, channel 3" in out


def test_a_protected_design_is_explained_by_its_name(typed):
    words = ("explain", "small.yaml", "weight_sram.words@3:7", "--design", "cnn + ecc")
    _, out, _ = typed(*words, "effort.samples=4")
    assert "on cnn + ecc: corrected" in out
    assert "all 4 samples: corrected 4" in out


MISTAKES = [
    (["arry[0,0].weight_register:7"], "no chip of the study has a unit 'arry'; did you mean"),
    (["array[0,0].weight_registr:7"], "did you mean 'weight_register'?"),
    (["array[0,8].weight_register:7"], "array has instances of shape (8, 8)"),
    (["array[0,0].weight_register:7", "--design", "cn"], "no design 'cn'; did you mean 'cnn'?"),
    (["array[0,0].weight_register:7", "--sample", "10"], "sample 10: the run has samples 0..9"),
    (["array[0,0].psum_register:7@cycle=3", "--sample", "10"], "sample 10: the run has samples"),
    (["array[0,0].psum_register:7@cycle=3", "--sample=-1"], "sample -1: the run has samples 0..9"),
    (["array[0,0].psum_register:7@cycle=-1"], "execution=N, counted from 0\n"),
    (["array[0,0].psum_register:7@cyle=1"], "counted from 0; did you mean 'cycle'?"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_a_mistake_ends_with_2_and_the_nearest_right_name(typed, words, message):
    code, out, err = typed("explain", "small.yaml", *words)
    assert (code, out) == (2, "")
    assert message in err


def test_a_site_that_no_chip_has_is_named_before_anything_is_trained(typed, folder):
    text = (folder / "small.yaml").read_text().replace("title: small", "title: never run")
    (folder / "never.yaml").write_text(text)
    for site in ("arry[0,0].weight_register:7", "array[0,8].weight_register:7"):
        code, _, err = typed("explain", "never.yaml", site)
        assert (code, err.startswith("codesign: ")) == (2, True)
    assert not (folder / "out" / "never").exists()


def test_a_trial_is_replayed_and_explained(typed):
    words = ("replay", "small.yaml", "--task", "cnn, many at 0.01", "--trial", "1")
    code, out, _ = typed(*words)
    assert code == 0
    assert out.endswith("stored row: none yet; of this campaign 0 trials are stored\n")
    (drawn,) = re.findall(r"^drawn: (\d+)$", out, re.MULTILINE)
    assert int(drawn) > 3
    assert len(re.findall(r"^array\[.*, for good$", out, re.MULTILINE)) == 3
    assert f"and {int(drawn) - 3} more faults" in out
    # The row's counts are those of the explanation.
    for outcome in ("sdc", "tolerated", "masked"):
        (count,) = re.findall(rf"^{outcome}: (\d+)$", out, re.MULTILINE)
        told = re.findall(rf"\b{outcome} (\d+) \(first", out)
        assert told == ([count] if int(count) else [])
    again = typed(*words, "--sample", "4")[1]
    assert "\nsample 4 (label" in again
