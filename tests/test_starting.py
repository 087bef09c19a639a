"""`codesign new`: what it writes loads, maps and says of every field what it is for."""

from __future__ import annotations

import dataclasses
import re

import pytest
from cores_cases import dense
from systolic_cases import tiny

import accelerators
from codesign.cli import main
from codesign.design import Design
from codesign.errors import StudyError
from codesign.network import NetworkGraph
from codesign.shipped import catalogue
from codesign.study.loading import datasheet, load_study
from codesign.study.spec import AcceleratorSpec
from codesign.study.starting import write_start
from codesign.study.starts import DATASHEETS

SMALL: dict[str, NetworkGraph] = {"Systolic": tiny(), "Cores": dense()}
FAMILIES = sorted(DATASHEETS)
assert FAMILIES


def test_every_start_is_of_a_family_that_is_shipped():
    assert set(FAMILIES) <= {entry.name for entry in catalogue("accelerators")}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_datasheet_loads_and_maps_as_it_stands(family, tmp_path):
    path = write_start("accelerator", "bread", family, tmp_path)
    assert path == tmp_path / "bread.yaml"
    sheet = datasheet(AcceleratorSpec(datasheet="bread.yaml"), tmp_path)
    chip = sheet.build()
    assert chip.name == "bread"
    assert isinstance(sheet, getattr(accelerators, family))
    mapping = Design("design", SMALL[family], chip).mapping
    assert mapping.assignments()
    known = set(chip.sources)
    quantities = re.findall(r"^[^#\n]*source: (\w+)", path.read_text(), re.MULTILINE)
    assert quantities
    assert set(quantities) <= known


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_datasheet_names_every_field_of_its_family(family):
    fields = [field.name for field in dataclasses.fields(getattr(accelerators, family))]
    assert len(fields) > 10
    for field in fields:
        assert re.search(rf"^(# )?{field}:", DATASHEETS[family], re.MULTILINE), field


def test_a_new_study_passes_check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "study", "mine"]) == 0
    assert capsys.readouterr().out == "mine.yaml\n"
    assert main(["check", "mine.yaml"]) == 0
    assert capsys.readouterr().out.endswith("ok\n")
    assert load_study("mine.yaml").spec.title == "mine"


def test_the_command_writes_a_datasheet_of_the_family_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "accelerator", "mesh-2", "--family", "Cores"]) == 0
    assert main(["new", "accelerator", "array_1"]) == 0
    assert capsys.readouterr().out == "mesh-2.yaml\narray_1.yaml\n"
    assert "use: accelerators:Cores\nname: mesh-2\n" in (tmp_path / "mesh-2.yaml").read_text()
    assert "use: accelerators:Systolic\nname: array_1\n" in (tmp_path / "array_1.yaml").read_text()


def test_what_is_there_already_is_not_written_over(tmp_path):
    (tmp_path / "mine.yaml").write_text("precious")
    with pytest.raises(StudyError, match=r"mine\.yaml is there already"):
        write_start("accelerator", "mine", None, tmp_path)
    assert (tmp_path / "mine.yaml").read_text() == "precious"


@pytest.mark.parametrize(
    "name", ["", "8bit", "a/b", "../a", "a.yaml", "a b", "name\n", "é", "a" * 65]
)
def test_what_is_no_name_is_refused(name, tmp_path):
    with pytest.raises(StudyError, match="is no name: expected"):
        write_start("study", name, None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_mistakes_are_answered_with_the_nearest(tmp_path):
    with pytest.raises(StudyError, match="did you mean 'accelerator'"):
        write_start("acelerator", "a", None, tmp_path)
    with pytest.raises(StudyError, match="did you mean 'Systolic'"):
        write_start("accelerator", "a", "Systolik", tmp_path)
    with pytest.raises(StudyError, match="a study has no --family"):
        write_start("study", "a", "Systolic", tmp_path)
    with pytest.raises(StudyError, match="cannot write it: No such file"):
        write_start("study", "a", None, tmp_path / "nowhere")
