"""Parts of a user's own that are not what a study needs are refused at their place."""

import sys

import pytest

from codesign.errors import StudyError
from codesign.study.building import build
from codesign.study.loading import load_study
from codesign.study.mapped import mapped_designs
from codesign.study.running import campaigns_of

STUDY = """\
title: own
data: {use: networks:digits}
networks:
  a: {use: networks:SmallCnn, channels: [2, 2]}
training: {epochs: 0, qat_epochs: 0}
accelerators: {array: {datasheet: generic8_ws}}
designs: {a: {network: a, accelerator: array}}
faults:
  f: {use: scenarios:RandomFaults, components: [array.weight_register], model: stuck, rates: [1e-2]}
effort: {trials: 2, samples: 20}
"""
OWN = """\
from dataclasses import dataclass
def five(): return 5
class Idle:
    def apply(self, design, context): return 7
class Loose:
    rate = 0.0
    def draw(self, design, trials, seed, inferences): return []
@dataclass(frozen=True)
class Rateless:
    def draw(self, design, trials, seed, inferences): return []
"""
CASES = [
    (
        "networks:digits",
        "own_parts_of_mine:five",
        "2:7: data: a data set gives .*Splits; came a int",
    ),
    (
        "networks:SmallCnn, channels: [2, 2]",
        "own_parts_of_mine:five",
        "4:6: networks.a: .*Module; came a int",
    ),
    ("effort:", None, "mitigations.m: apply gives a codesign.design.Design, came int"),
    (
        "scenarios:RandomFaults, components: [array.weight_register], model: stuck",
        "own_parts_of_mine:Loose",
        "9:6: faults.f: a scenario is a frozen dataclass .*; came a Loose",
    ),
    (
        "scenarios:RandomFaults, components: [array.weight_register], model: stuck",
        "own_parts_of_mine:Rateless",
        "9:6: faults.f: .* has a field rate; came a Rateless",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), CASES)
def test_a_part_that_gives_something_else_is_refused_at_its_place(
    old, new, message, tmp_path, monkeypatch
):
    (tmp_path / "own_parts_of_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_parts_of_mine", raising=False)
    mitigation = "mitigations: {m: {use: 'own_parts_of_mine:Idle'}}\neffort:"
    text = STUDY.replace(old, f"'{new}'" if new else mitigation)
    assert text != STUDY
    (tmp_path / "s.yaml").write_text(text)
    study = load_study(str(tmp_path / "s.yaml"), (), ("own_parts_of_mine",))
    with pytest.raises(StudyError, match=message):
        campaigns_of(build(study, tmp_path / "out", lambda _: None))


def test_a_mapping_refuses_a_network_that_is_no_module_at_its_place(tmp_path, monkeypatch):
    (tmp_path / "own_parts_of_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_parts_of_mine", raising=False)
    text = STUDY.replace("networks:SmallCnn, channels: [2, 2]", "'own_parts_of_mine:five'")
    (tmp_path / "s.yaml").write_text(text)
    study = load_study(str(tmp_path / "s.yaml"), (), ("own_parts_of_mine",))
    with pytest.raises(StudyError, match=r"4:6: networks\.a: .*Module; came a int"):
        mapped_designs(study, lambda _: None)
