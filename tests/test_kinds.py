"""A file of another kind than the command takes is refused as what it is."""

import pytest

from codesign.errors import StudyError
from codesign.study.kinds import kind_of
from codesign.study.loading import load_study
from codesign.study.search_check import load_space

STUDY = "title: t\ndata: {use: networks:digits}\nnetworks: {}\n"
SPACE = "title: t\nstudy: quickstart\nparameters: {}\n"
SHEET = "use: accelerators:Systolic\nname: s\nrows: 2\n"
CASES = [
    (load_study, SPACE, "expected a study, came a search space: codesign search"),
    (load_study, SHEET, "expected a study, came a datasheet: name it in a study"),
    (load_space, STUDY, "expected a search space, came a study: codesign run"),
    (load_space, SHEET, "expected a search space, came a datasheet"),
]


@pytest.mark.parametrize(("read", "text", "told"), CASES)
def test_a_file_of_another_kind_is_refused_as_what_it_is(read, text, told, tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text(text)
    with pytest.raises(StudyError, match=told) as refused:
        read(str(file))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["a: 1\n", "- 1\n", "title: t\n", "a: [\n"])
def test_what_is_of_no_kind_is_left_to_those_who_read_it(text, tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text(text)
    assert kind_of(str(file)) is None


def test_shipped_files_are_of_their_kind():
    assert kind_of("quickstart", "studies") == "study"
    assert kind_of("quickstart", "spaces") == "space"
    assert kind_of("generic8_ws") == "datasheet"
