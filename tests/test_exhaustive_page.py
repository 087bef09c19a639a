"""The page of every weight bit says what was recorded; a tiny network is run for it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from benchmarks import exhaustive
from benchmarks.exhaustive_page import heat_map, markdown

TOLD = {
    "origin": "made by hand",
    "kernel": "avx2",
    "bits": 600,
    "samples": 10,
    "golden": 0.9,
    "log": {"seconds": 7300.0, "runs": 2, "peak_mb": 1234.4},
    "masked": 0.5,
    "sdc": 0.0123,
    "harmless": 0.75,
    "loss": 0.001,
    "over_1_point": 0.04,
    "worst": [{"layer": "a<b", "channel": 1, "term": 2, "bit": 3, "loss": 0.25}],
    "layers": ["a<b", "c"],
    "by_bit": [[0.0, 0.5], [-0.1, None]],
    "by_channel": [[0.1, 0.2], [0.0]],
    "sampled": {
        "bits": 6,
        "campaigns": 200,
        "truth": 0.001,
        "typical_error": 0.0002,
        "largest_error": 0.0005,
        "half_width": 0.0004,
        "covered": 188,
        "method": "BCa bootstrap",
    },
}


def test_the_page_has_the_recorded_numbers() -> None:
    text = markdown({"net": TOLD}, "exhaustive")
    assert "| `net` | 600 | 10 | avx2 | 2.0 h | 2 | 1,234 MB |" in text
    assert "50.0% change no output" in text
    assert "changes 1.230% of predictions and costs 0.1000 points" in re.sub(r"\s+", " ", text)
    assert "| 1 | a<b | 1 | 2 | 3 | 25.0 |" in text
    assert "holds the truth in 188 of 200" in re.sub(r"\s+", " ", text)
    assert "(exhaustive-net.svg)" in text


def test_the_map_is_a_picture_with_a_cell_for_each_number_and_none_for_a_missing_bit() -> None:
    picture = ElementTree.fromstring(heat_map(TOLD))
    space = {"s": "http://www.w3.org/2000/svg"}
    cells = picture.findall("s:rect", space)
    assert len(cells) == 1 + 3 + 3  # ground, layer by bit, layer by channel
    assert {"a<b", "c", "50", "-10"} <= {text.text for text in picture.findall("s:text", space)}


def test_a_tiny_network_is_run_and_going_on_runs_nothing_again(tmp_path: Path) -> None:
    out, page = tmp_path / "out.json", tmp_path / "page.md"
    words = ["--only", "tiny_snn", "--data", str(tmp_path / "none"), "--cache", str(tmp_path)]
    words += ["--out", str(out), "--page", str(page), "--workers", "1"]
    assert exhaustive.main(words) == 0
    told = json.loads(out.read_text())["tiny_snn"]
    assert told["bits"] == 8 * (64 * 24 + 24 * 10)
    assert 0 < told["masked"] <= told["harmless"] < 1
    assert told["sampled"]["bits"] == round(0.01 * told["bits"])
    assert exhaustive.main(words) == 0
    assert json.loads(out.read_text())["tiny_snn"]["log"]["runs"] == 1
    assert (tmp_path / "page-tiny_snn.svg").is_file()


def test_a_network_that_cannot_be_made_is_left_out_and_said(tmp_path: Path, capsys) -> None:
    words = ["--only", "resnet20", "--data", str(tmp_path), "--cache", str(tmp_path)]
    words += ["--out", str(tmp_path / "o.json"), "--page", str(tmp_path / "p.md")]
    assert exhaustive.main(words) == 2
    assert "resnet20: left out" in capsys.readouterr().err
