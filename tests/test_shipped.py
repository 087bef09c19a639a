"""What comes with the package: found by name, and listed from its source text."""

from __future__ import annotations

from pathlib import Path

import pytest

from codesign import shipped
from codesign.errors import CodesignError, StudyError


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small installation: one shelf, three configurations, one engine."""
    package = tmp_path / "site" / "codesign"
    files = {
        "codesign/engine/__init__.py": '"""Rooms."""\n',
        "codesign/engine/plain.py": '"""The slow one.\n\nMore."""\n\ndef evaluate():\n    ...\n',
        "codesign/engine/rows.py": '"""No engine."""\n',
        "codesign/configs/studies/first.yaml": "# yaml-language-server: $schema=x\n# Begin here.\n",
        "codesign/configs/studies/bare.yaml": "name: bare\n",
        "codesign/configs/papers/first.yaml": "# A paper.\n",
        "codesign/configs/papers/second.yaml": "# Another.\n",
        "networks/__init__.py": '__all__ = ["Net", "net"]\n_HOME = {"Net": "n", "net": "n"}\n',
        "networks/n.py": '"""Doc."""\n\nclass Net:\n    """A net.\n\n    More."""\n\nnet = 1\n',
    }
    for name, text in files.items():
        file = package.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(shipped, "PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    return package.parent


@pytest.mark.parametrize(
    ("text", "kinds", "found"),
    [
        ("first", ("studies", "papers"), "studies/first.yaml"),
        ("first", ("papers", "studies"), "papers/first.yaml"),
        ("first.yaml", ("studies",), "studies/first.yaml"),
        ("second", ("studies", "papers"), "papers/second.yaml"),
        ("second", (), "papers/second.yaml"),
        ("papers/first", ("studies",), "papers/first.yaml"),
        ("papers/first.yaml", ("studies",), "papers/first.yaml"),
        ("configs/papers/first.yaml", ("studies",), "papers/first.yaml"),
    ],
)
def test_a_shipped_file_is_found_by_its_name(
    house: Path, text: str, kinds: tuple[str, ...], found: str
) -> None:
    assert shipped.find_config(text, *kinds) == house / "codesign/configs" / found


def test_a_local_file_is_taken_before_a_shipped_one(house: Path) -> None:
    Path("configs/papers").mkdir(parents=True)
    Path("configs/papers/first.yaml").write_text("mine: true\n", encoding="utf-8")
    found = shipped.find_config("configs/papers/first.yaml", "papers")
    assert found == Path("configs/papers/first.yaml")


def test_a_missing_file_is_answered_with_the_nearest_shipped_name(house: Path) -> None:
    with pytest.raises(StudyError, match=r"frist: not a file; .*did you mean 'first'\?"):
        shipped.find_config("frist", "studies")


def test_a_folder_is_refused_as_a_folder(house: Path) -> None:
    Path("mine").mkdir()
    with pytest.raises(StudyError, match=r"^mine: a folder; expected the path of a YAML file"):
        shipped.find_config("mine", "studies")


def test_a_name_cannot_climb_out_of_the_shipped_folder(house: Path) -> None:
    (house / "codesign/secret.yaml").write_text("a: 1\n", encoding="utf-8")
    with pytest.raises(StudyError):
        shipped.find_config("configs/../secret.yaml", "studies")


def test_an_unknown_kind_is_a_bug_of_the_caller(house: Path) -> None:
    with pytest.raises(ValueError, match=r"'study' is no kind .*did you mean 'studies'\?"):
        shipped.find_config("first", "study")


def test_in_a_checkout_the_configurations_stand_beside_the_package(house: Path) -> None:
    (house / "codesign/configs").rename(house / "configs")
    assert shipped.configs_folder() == house / "configs"


def test_without_configurations_the_installation_is_called_incomplete(house: Path) -> None:
    (house / "codesign/configs").rename(house / "elsewhere")
    with pytest.raises(CodesignError, match="incomplete"):
        shipped.configs_folder()


def test_a_configuration_is_summed_up_by_its_first_comment(house: Path) -> None:
    assert [(e.name, e.summary) for e in shipped.configs("studies")] == [
        ("bare", ""),
        ("first", "Begin here."),
    ]


def test_a_catalogue_is_read_without_importing_its_shelf(house: Path) -> None:
    entries = shipped.catalogue("networks")
    assert [(e.name, e.home, e.summary) for e in entries] == [
        ("Net", "networks.n", "A net."),
        ("net", "networks.n", "Doc."),
    ]


@pytest.mark.parametrize(
    ("init", "what"),
    [
        (
            '__all__ = ["Other"]\n_HOME = {}',
            r"'Other' stands in __all__ but has no module in _HOME",
        ),
        ('__all__ = ["Other"]\n_HOME = {"Other": "n"}', r"n\.py, which does not define it"),
        ('__all__ = ["Other"]\n_HOME = {"Other": "m"}', r"m\.py, which is not there"),
        ('__all__ = ["Other"]', r"_HOME is missing; a shelf states it as a literal"),
    ],
)
def test_a_broken_catalogue_says_what_is_missing(house: Path, init: str, what: str) -> None:
    (house / "networks/__init__.py").write_text(init, encoding="utf-8")
    with pytest.raises(CodesignError, match=what):
        shipped.catalogue("networks")


def test_a_shelf_that_is_not_installed_is_named(house: Path) -> None:
    with pytest.raises(CodesignError, match="the shelf 'mitigation' is not installed"):
        shipped.catalogue("mitigation")


def test_an_engine_is_a_module_that_defines_evaluate(house: Path) -> None:
    (entry,) = shipped.engines()
    assert (entry.name, entry.home) == ("plain", "codesign.engine.plain")
    assert entry.summary == "The slow one."


def test_a_compiled_kernel_is_found(house: Path) -> None:
    assert shipped.kernel_files() == ()
    (house / "codesign/engine/_kernels.abi3.so").write_bytes(b"")
    assert [path.name for path in shipped.kernel_files()] == ["_kernels.abi3.so"]
