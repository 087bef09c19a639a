"""Every mistake in a YAML file is told at once: where, what was expected, what came, what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from schema_example import Study

from codesign.schema import Problem, SchemaErrors, load, raise_all

SMALL = """\
name: first
accelerators:
  small:
    kind: systolic
    rows: 8
    energy: {value: 0.2, unit: pJ, source: book, grade: published}
"""


def instead(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new)


def problems_of(text: str | Path, **options: object) -> list[str]:
    with pytest.raises(SchemaErrors) as caught:
        load(text, Study, **options)  # type: ignore[call-overload]
    return str(caught.value).split("\n")


def from_blocks(text: str) -> dict[str, tuple[str, list[str]]]:
    """The cases of ``broken_yaml.txt``: by name, the YAML and the lines of the message."""
    cases = {}
    for block in text.split("\n# ")[1:]:
        name, *lines = block.rstrip("\n").split("\n")
        expected = [line.removeprefix("!! ") for line in lines if line.startswith("!! ")]
        body = [line for line in lines if not line.startswith("!! ")]
        if body[0].startswith("+ "):
            yaml = SMALL + "".join(f"{line[2:]}\n" for line in body)
        elif " ==> " in body[0]:
            old, new = body[0].replace("\\n", "\n").split(" ==> ")
            yaml = instead(old, "" if new == "<>" else new)
        else:
            yaml = "\n".join(body) + "\n"
        cases[name] = (yaml, expected)
    return cases


BROKEN = from_blocks((Path(__file__).parent / "data" / "broken_yaml.txt").read_text("utf-8"))

# What cannot stand in a text file, or is too long to.
UNPRINTABLE: dict[str, tuple[str, str]] = {
    "empty": ("", "1:1: empty: nothing is written here"),
    "only a comment": ("# nothing\n", "1:1: empty: nothing is written here"),
    "a character of zeros": (
        "name: a\0b\n",
        "1:8: the character U+0000 cannot stand in a YAML file",
    ),
    "half a character": (
        "name: \ud800\n",
        "1:7: the character U+D800 cannot stand in a YAML file",
    ),
    "zeros as an escape": (
        'name: "a\\0b"\n',
        "1:7: the text holds the character U+0000; leave it out",
    ),
    "half a character as an escape": (
        'name: "\\ud800"\n',
        "1:7: the text holds the character U+D800; leave it out",
    ),
    "an escape beyond Unicode": (
        'name: "\\UFFFFFFFF"\n',
        "1:10: not YAML: an escape or a version number here is out of range",
    ),
    "a version of 5000 digits": (
        f"%YAML 1.{'9' * 5000}\n---\nname: x\n",
        "1:9: not YAML: an escape or a version number here is out of range",
    ),
    "a number of 5000 digits": (
        SMALL + f"effort: {{trials: {'9' * 5000}}}\n",
        f"7:18: effort.trials: expected a whole number, came {'9' * 60}…; "
        "a number has at most 100 characters",
    ),
    "a number of 65 bits": (
        SMALL + f"effort: {{trials: {2**63}}}\n",
        "7:18: effort.trials: expected a whole number of at most 64 bits, came 9223372036854775808",
    ),
    "a thousand brackets": (
        f"name: {'[' * 1000}{']' * 1000}\n",
        "1:71: nested too deep: more than 64 levels",
    ),
    "a row too short": (
        "name: x\naccelerators: {a: {kind: core_array, mesh: [8]}}\n",
        "2:44: accelerators.a.mesh: expected a list of 2, came a list of 1",
    ),
    "a key of two lines": (
        instead("small:", r'"very\nsmall":'),
        r"3:3: 'accelerators.very\nsmall': the name 'very\nsmall' is not words of letters, digits, "
        "_, + and -",
    ),
    "a name of nothing": (
        instead("name: first", 'name: ""'),
        "1:7: name: expected a text that is not empty, came the text ''",
    ),
}


def test_the_unbroken_file_is_read() -> None:
    assert load(SMALL, Study).value.name == "first"


def test_there_are_more_than_eighty_broken_files_all_different() -> None:
    texts = {text for text, _ in BROKEN.values()} | {text for text, _ in UNPRINTABLE.values()}
    assert len(texts) >= 80


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_the_place_and_what_to_do(name: str) -> None:
    text, expected = BROKEN[name]
    assert expected
    assert problems_of(text, name="s.yaml", folder=Path("/data")) == expected


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_what_is_out_of_bounds_is_refused_with_its_place(name: str) -> None:
    text, expected = UNPRINTABLE[name]
    assert problems_of(text, name="s.yaml") == [f"s.yaml:{expected}"]


def test_more_values_than_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codesign.yaml_nodes.NODES_MAX", 1000)  # the real bound takes seconds
    text = f"notes: [{'1,' * 1000}]\n"  # with the mapping, its key and the list 1003
    assert problems_of(text, name="s.yaml") == ["s.yaml:1:2003: too long: more than 1000 values"]


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = (
        "name: 12\n"
        "name: twice\n"
        "acelerators: {}\n"
        "accelerators:\n"
        "  a: {kind: systolic, rows: 0, energy: 1}\n"
        "  b: {kind: core_array, mesh: [1]}\n"
        "faults: [{model: flip}, {rate: 2}]\n"
    )
    places = [line.split(": ")[:2] for line in problems_of(text, name="s.yaml")]
    assert places == [
        ["s.yaml:1:7", "name"],
        ["s.yaml:2:1", "name"],
        ["s.yaml:3:1", "acelerators"],
        ["s.yaml:5:29", "accelerators.a.rows"],
        ["s.yaml:5:40", "accelerators.a.energy"],
        ["s.yaml:6:31", "accelerators.b.mesh"],
        ["s.yaml:7:10", "faults.0"],
        ["s.yaml:7:25", "faults.1"],
        ["s.yaml:7:32", "faults.1.rate"],
    ]


def test_problems_carry_their_parts() -> None:
    with pytest.raises(SchemaErrors) as caught:
        load(SMALL + "resume: on\n", Study, name="s.yaml")
    message = "expected true or false, came on; write true"
    assert caught.value.problems == (Problem("s.yaml", 7, 9, "resume", message),)


def test_windows_line_endings_a_byte_order_mark_and_comments_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + f"# a comment\n{SMALL}".replace("\n", "\r\n").encode())
    assert load(file, Study).value == load(SMALL, Study).value


def test_positions_are_right_with_windows_line_endings() -> None:
    text = instead("rows: 8", "rows: x").replace("\n", "\r\n")
    assert problems_of(text, name="s.yaml")[0].startswith("s.yaml:5:11: ")


def test_text_that_is_not_utf8_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(b"\xef\xbb\xbfname: x\nnotes: [caf\xe9]\n")
    message = "s.yaml:2:12: the byte 0xe9 is not UTF-8; save it as UTF-8"
    assert problems_of(file, name="s.yaml") == [message]


def test_a_missing_file_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text(SMALL)
    file = tmp_path / "quikstart.yaml"
    assert problems_of(file) == [f"{file}: no such file; did you mean 'quickstart.yaml'?"]


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == [f"{tmp_path}: expected a file, came a folder"]


def test_a_path_that_no_system_could_open_is_refused() -> None:
    assert problems_of(Path("a\0b"), name="s.yaml") == [
        "s.yaml: cannot be read: embedded null byte"
    ]


def test_a_file_that_leads_through_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = "s.yaml: cannot be read: Not a directory"
    assert problems_of(tmp_path / "file" / "study.yaml", name="s.yaml") == [message]


def test_a_file_of_more_than_ten_million_bytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(b"#" * 10_000_001)
    assert problems_of(file, name="s.yaml") == ["s.yaml: longer than 10000000 bytes"]


def test_a_missing_file_named_in_a_study_is_told_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").write_bytes(b"")
    text = SMALL + "weights: wieghts.npz\n"
    missing = tmp_path / "wieghts.npz"
    assert problems_of(text, name="s.yaml", folder=tmp_path) == [
        f"s.yaml:7:10: weights: no such file or folder: {missing}; did you mean 'weights.npz'?"
    ]


def test_a_name_longer_than_the_file_system_allows_is_a_missing_file(tmp_path: Path) -> None:
    text = SMALL + f"weights: {'x' * 5000}\n"
    assert "no such file or folder" in problems_of(text, folder=tmp_path)[0]


def test_reading_from_deep_inside_a_program_is_refused_and_does_not_crash() -> None:
    def deeper(levels: int) -> list[str]:
        if levels:
            return deeper(levels - 1)
        return problems_of("name: " + "[" * 60 + "]" * 60, name="s.yaml")

    seen = set()
    for spare in range(40, 400, 10):
        try:
            seen.update(deeper(sys.getrecursionlimit() - spare))
        except RecursionError:
            continue  # too little was left to begin
    assert seen >= {"s.yaml:1:1: nested too deep: more than 64 levels"}


def test_nothing_wrong_raises_nothing() -> None:
    raise_all([])


def test_problems_found_later_are_raised_together_with_overrides_last() -> None:
    loaded = load(SMALL, Study, name="s.yaml", overrides=["effort.trials=5"])
    problems = [
        loaded.problem("effort.trials", "too few"),
        loaded.problem("accelerators.small", "too small"),
        loaded.problem("faults.3.rate", "not here"),
    ]
    with pytest.raises(SchemaErrors) as caught:
        raise_all(problems)
    assert str(caught.value).split("\n") == [
        "s.yaml:1:1: faults.3.rate: not here",
        "s.yaml:4:5: accelerators.small: too small",
        "override 'effort.trials=5': effort.trials: too few",
    ]
