"""Arguments of parts are judged as strictly as YAML, from source text and when binding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_shelf import imported, installed_toys

from codesign.errors import StudyError
from codesign.parts import Part, bind, check_arguments, check_part
from codesign.schema import SchemaErrors, dump, load, spec
from codesign.yaml_nodes import Items


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with installed_toys(tmp_path, monkeypatch) as folder:
        yield folder


@pytest.mark.usefixtures("toys")
def test_arguments_are_read_as_the_annotations_say() -> None:
    mlp = bind("networks:Mlp", {"width": 8, "rate": 1, "mode": "slow", "hidden": [1, 2]})
    assert mlp.said == (8, 1.0, "slow", (1, 2), None)
    assert isinstance(mlp.said[1], float)
    assert bind("networks:build", {"depth": 2, "loose": "1"}) == (
        "built",
        2,
        None,
        "1",
        1,
    )
    assert bind("networks:takes_all", {"x": 1.5, "y-z": "a"}) == (1, {"x": 1.5, "y-z": "a"})
    drift = bind("my_lab.rram:Drift", {"rate": 1e-3, "levels": [1, 2]}, ("my_lab",))
    assert drift.said == (0.001, [1, 2], None)
    area = {"value": 1, "unit": "mm2", "source": "book", "grade": "assumed"}
    chip = bind("networks:Bigger", {"rows": 4, "area": area, "tags": {"a": 1}, "columns": 2})
    assert (chip.rows, chip.area.value, chip.tags, chip.columns) == (4, 1e6, {"a": 1.0}, 2)


# What is wrong with the arguments of a part of ours: both ways of checking say the same.
WRONG: list[tuple[str, dict[str, object], list[str]]] = [
    ("Mlp", {}, [": missing argument 'width'; expected a whole number"]),
    (
        "Mlp",
        {"width": "8"},
        ["width: expected a whole number, came the text '8'; remove the quotes"],
    ),
    ("Mlp", {"width": 8.5}, ["width: expected a whole number, came 8.5"]),
    ("Mlp", {"width": True}, ["width: expected a whole number, came true"]),
    ("Mlp", {"width": None}, ["width: expected a whole number, came null"]),
    (
        "Mlp",
        {"widht": 8, "width": 1, "rate": "5e-2"},
        [
            "widht: unknown argument 'widht'; did you mean 'width'?",
            "rate: expected a number, came the text '5e-2'; remove the quotes",
        ],
    ),
    (
        "Mlp",
        {"width": 1, "mode": "fats", "hidden": 3},
        [
            "mode: expected one of fast, slow, came the text 'fats'; did you mean 'fast'?",
            "hidden: expected a list, came 3; write [3]",
        ],
    ),
    (
        "Mlp",
        {"width": 1, "hidden": [1, "x"]},
        ["hidden.1: expected a whole number, came the text 'x'"],
    ),
    ("Chip", {"rows": 65}, ["rows: expected a whole number from 1 to 64, came 65"]),
    ("Chip", {"rows": 1, "kinds": 1}, ["kinds: unknown argument 'kinds'"]),
    ("Chip", {"rows": 1, "hidden": 1}, ["hidden: unknown argument 'hidden'"]),
    ("Chip", {"rows": 1, "area": 5}, ["area: a physical number carries value, unit, source and"]),
    ("Chip", {"rows": 1, "file": "nosuch"}, ["file: no such file or folder: "]),
    ("Chip", {"rows": 1, "tags": {"a": "b"}}, ["tags.a: expected a number, came the text 'b'"]),
    ("Bigger", {"columns": 1}, [": missing argument 'rows'; expected a whole number from 1 to 64"]),
    ("Bigger", {"rows": 0, "columns": "a"}, ["rows: expected", "columns: expected"]),
    ("Silent", {"x": 1}, ["x: unknown argument 'x'"]),
    ("build", {"depht": 1}, ["depht: unknown argument 'depht'; did", ": missing argument 'depth'"]),
    ("takes_all", {"depth": "a", "x": 1}, ["depth: expected a whole number, came the text 'a'"]),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), WRONG)
@pytest.mark.usefixtures("toys")
def test_wrong_arguments_are_told_without_importing_and_by_binding(
    name: str, arguments: dict[str, object], expected: list[str]
) -> None:
    use = f"networks:{name}"
    static = [str(problem) for problem in check_arguments(use, arguments)]
    assert imported("networks", "elsewhere") == set()
    with pytest.raises(SchemaErrors) as caught:
        bind(use, arguments)
    dynamic = str(caught.value).split("\n")
    for told in (static, dynamic):
        assert len(told) == len(expected)
        for message, begin in zip(told, expected, strict=True):
            assert message.startswith(f"{use}: {begin}".replace(": : ", ": "))


@pytest.mark.usefixtures("toys")
def test_what_the_source_does_not_tell_is_left_to_binding() -> None:
    assert check_arguments("networks:Foreign", {"own": 1, "inherited": 2}) == []
    assert check_arguments("networks:build", {"depth": 1, "plan": 5}) == []
    with pytest.raises(SchemaErrors) as caught:
        bind("networks:build", {"depth": 1, "plan": 5})
    assert str(caught.value) == ("networks:build: plan: is a Base, which a YAML file cannot say")


@pytest.mark.usefixtures("toys")
def test_a_strangers_arguments_are_not_looked_at_before_binding() -> None:
    assert check_arguments("my_lab.rram:Drift", {"rat": "x"}) == []
    assert imported("my_lab") == set()
    with pytest.raises(SchemaErrors) as caught:
        bind("my_lab.rram:Drift", {"rat": "x"}, ("my_lab",))
    assert str(caught.value).split("\n") == [
        "my_lab.rram:Drift: rat: unknown argument 'rat'; did you mean 'rate'?",
        "my_lab.rram:Drift: missing argument 'rate'; expected a number",
    ]


@pytest.mark.usefixtures("toys")
def test_what_the_part_itself_refuses_is_told_at_its_place() -> None:
    with pytest.raises(SchemaErrors) as caught:
        bind("networks:Mlp", {"width": 13}, path="networks.small")
    assert str(caught.value) == "networks:Mlp: networks.small: 13 brings bad luck"


@pytest.mark.usefixtures("toys")
def test_arguments_must_have_names() -> None:
    for use, arguments, message in [
        ("networks:positional", {"depth": 1}, "the argument 'depth' cannot be given by its name"),
        ("networks:Mlp", Items(()), "networks:Mlp: its arguments are a mapping from names"),
        ("builtins:dict", {}, "<class 'dict'>: Python does not know its arguments"),
    ]:
        with pytest.raises(StudyError, match=re.escape(message)):
            bind(use, arguments, ("builtins",))  # type: ignore[arg-type]


# In a configuration


@dataclass(frozen=True)
class Study:
    """Something with parts in it."""

    networks: dict[str, Part] = spec(doc="the networks")


STUDY = """\
networks:
  small: {use: networks:Mlp, width: 8, rate: 5e-2}
  wrong: {use: networks:Mlp, width: "8", rat: 1}
  typo: {use: networks:Mlpp}
  lab: {use: my_lab.rram:Drift, rate: x}
"""


@pytest.mark.usefixtures("toys")
def test_the_parts_of_a_study_are_checked_with_lines_and_without_importing() -> None:
    loaded = load(STUDY, Study, name="s.yaml")
    problems = [
        str(problem)
        for name, part in loaded.value.networks.items()
        for problem in check_part(loaded, f"networks.{name}", part)
    ]
    assert problems == [
        "s.yaml:3:37: networks.wrong.width: expected a whole number, came the text '8'; "
        "remove the quotes",
        "s.yaml:3:42: networks.wrong.rat: unknown argument 'rat'; did you mean 'rate'?",
        "s.yaml:4:15: networks.typo.use: no 'Mlpp' in networks; did you mean 'Mlp'?",
    ]
    assert imported("networks", "my_lab") == set()


@pytest.mark.usefixtures("toys")
def test_a_part_of_a_study_is_made_from_what_is_written() -> None:
    loaded = load(STUDY, Study, name="s.yaml", overrides=["networks.small.width=16"])
    small = loaded.value.networks["small"]
    assert bind(small.use, small.arguments).said == (16, 0.05, "fast", (), None)
    lab = loaded.value.networks["lab"]
    with pytest.raises(SchemaErrors) as caught:
        bind(lab.use, lab.arguments, ("my_lab",), path="networks.lab")
    assert str(caught.value) == (
        "s.yaml:5:39: networks.lab.rate: expected a number, came the text 'x'"
    )


def test_paths_among_the_arguments_are_relative_to_the_study(toys: Path) -> None:
    (toys / "studies").mkdir()
    (toys / "studies" / "w.npz").write_bytes(b"")
    study = toys / "studies" / "a.yaml"
    study.write_text("networks: {a: {use: networks:Chip, rows: 1, file: w.npz}}\n")
    loaded = load(study, Study)
    part = loaded.value.networks["a"]
    assert check_part(loaded, "networks.a", part) == []
    chip = bind(part.use, part.arguments, folder=loaded.folder)
    assert chip.file == toys / "studies" / "w.npz"


def test_a_study_with_parts_is_dumped_and_loads_back_equal() -> None:
    study = load(STUDY, Study).value
    assert load(dump(study), Study).value == study
