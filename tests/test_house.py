"""The house: its laws, its catalogues, its configurations, and what no file of it may hold."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import laws
import pytest

from codesign import shipped
from codesign.errors import CodesignError
from codesign.schema import load
from codesign.study.search_spec import SpaceSpec
from codesign.study.spec import StudySpec

ROOT = Path(__file__).resolve().parent.parent
LONGEST_FILE_LINES = 400


def tracked(*patterns: str) -> list[Path]:
    """The committed files that match, as they stand in the checkout."""
    command = ["git", "ls-files", "-z", "--", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


# The laws


def test_every_noun_has_one_place() -> None:
    assert len(laws.NOUNS) == len(set(laws.NOUNS))


def test_the_house_keeps_its_laws() -> None:
    assert laws.violations(ROOT) == []


BREACHES = [
    # Law 1: shelves.
    ("codesign/design.py", "import networks", "codesign imports the shelf 'networks'"),
    ("codesign/cli.py", "def f():\n    from accelerators import a", "the shelf 'accelerators'"),
    ("networks/a.py", "import mitigation.b", "shelf 'networks' imports the shelf 'mitigation'"),
    ("mitigation/a/b.py", "from networks.c import d", "shelf 'mitigation' imports the shelf"),
    # Law 2: floors.
    ("codesign/errors.py", "from codesign.formats import x", "'errors' imports 'formats'"),
    ("codesign/formats.py", "import codesign.network", "'formats' imports 'network'"),
    ("codesign/formats.py", "def f():\n    from .effects import x", "'formats' imports 'effects'"),
    ("codesign/formats.py", "from . import metrics", "'formats' imports 'metrics'"),
    ("codesign/formats.py", "import codesign", "'formats' imports '__init__'"),
    ("codesign/formats.py", "from codesign import *", "'formats' imports '__init__'"),
    ("codesign/formats.py", "from codesign.cli import main", "'formats' imports 'cli'"),
    ("codesign/metrics.py", "from codesign.engine import x", "'metrics' imports 'engine'"),
    ("codesign/engine/fast.py", "from codesign.mapping import x", "'engine' imports 'mapping'"),
    ("codesign/engine/fast.py", "from ..faults import x", "'engine' imports 'faults'"),
    ("codesign/engine/fast.py", "from codesign import accelerator", "imports 'accelerator'"),
    ("codesign/learning/a.py", "from codesign.study import x", "'learning' imports 'study'"),
    ("codesign/study/a.py", "from codesign.report import x", "'study' imports 'report'"),
    ("codesign/report/a.py", "from codesign.engine import x", "'report' imports 'engine'"),
    ("codesign/report/a.py", "from codesign.__main__ import x", "'report' imports '__main__'"),
    ("codesign/utils.py", "", "give it a place in the list of nouns"),
    ("codesign/helpers/a.py", "", "give it a place in the list of nouns"),
    # Law 3: torch.
    ("codesign/design.py", "import torch", "torch is imported at module level"),
    ("codesign/study/a.py", "try:\n    from torch import nn\nexcept E:\n    pass", "torch is imp"),
    ("codesign/study/a.py", "class A:\n    import snntorch", "snntorch is imported at module"),
    ("codesign/study/a.py", "if not TYPE_CHECKING:\n    import torch", "torch is imported"),
    ("accelerators/a.py", "import torch.nn as nn", "torch is imported at module level"),
    ("mitigation/a.py", "import torch", "torch is imported at module level"),
    ("networks/__init__.py", "import torch", "torch is imported at module level"),
    ("codesign/engine/__init__.py", "import torch", "torch is imported at module level"),
    # Dynamic imports.
    ("codesign/study/a.py", "import importlib", "importlib imports what no text names"),
    ("codesign/study/a.py", "from importlib import import_module", "what no text names"),
    ("codesign/study/a.py", "def f():\n    __import__('x')", "__import__ imports or runs"),
    ("codesign/study/a.py", "eval('1')", "eval imports or runs"),
    ("codesign/study/a.py", "import pkgutil", "pkgutil imports what no text names"),
    ("networks/a.py", "from importlib import import_module", "what no text names"),
    ("networks/__init__.py", "from importlib import reload", "what no text names"),
]

KEPT = [
    ("codesign/design.py", "from codesign.mapping import Mapping\nfrom codesign import errors"),
    ("codesign/design.py", "def f():\n    import torch"),
    ("codesign/design.py", "if TYPE_CHECKING:\n    import torch"),
    ("codesign/study/a.py", "from codesign import __version__\nfrom codesign.learning import x"),
    (
        "codesign/study/a.py",
        "from . import rows\nfrom .rows import Row\nimport codesign.study.rows",
    ),
    ("codesign/cli.py", "from codesign.report import page\nfrom importlib.metadata import version"),
    ("codesign/engine/dense.py", "import torch\nfrom ..effects import Effects"),
    ("codesign/learning/train.py", "import torch\nfrom codesign.engine import fast"),
    ("codesign/parts.py", "import importlib\nimportlib.import_module('x')"),
    ("networks/resnet.py", "import torch\nfrom codesign.learning import x\nfrom .blocks import y"),
    ("networks/__init__.py", "from importlib import import_module"),
    ("codesign/formats.py", "model.eval()"),
]


def house_with(root: Path, name: str, text: str) -> Path:
    """A house of one file below `root`."""
    file = root / name
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(("name", "text", "what"), BREACHES)
def test_a_breach_is_named_with_file_and_line(
    tmp_path: Path, name: str, text: str, what: str
) -> None:
    found = laws.violations(house_with(tmp_path, name, text))
    assert len(found) == 1, found
    assert re.match(rf"{re.escape(name)}:\d+: ", found[0])
    assert what in found[0]


@pytest.mark.parametrize(("name", "text"), KEPT)
def test_what_the_laws_allow_is_not_named(tmp_path: Path, name: str, text: str) -> None:
    assert laws.violations(house_with(tmp_path, name, text)) == []


def test_a_breach_is_named_at_its_line(tmp_path: Path) -> None:
    text = '"""Doc."""\n\n\ndef f():\n    from codesign.network import x\n'
    (found,) = laws.violations(house_with(tmp_path, "codesign/formats.py", text))
    assert found.startswith("codesign/formats.py:5: ")


def test_every_breach_in_a_file_is_named(tmp_path: Path) -> None:
    text = "import torch\nimport networks\nfrom codesign.study import x\n"
    assert len(laws.violations(house_with(tmp_path, "codesign/formats.py", text))) == 3


def test_importing_any_noun_or_shelf_loads_no_torch() -> None:
    nouns = [name for name in laws.NOUNS if (ROOT / "codesign" / f"{name}.py").is_file()]
    assert len(nouns) > 2
    wanted = ", ".join([*(f"codesign.{name}" for name in nouns), "codesign.cli", *laws.SHELVES])
    code = f"import sys, {wanted}; print(sorted({laws.TORCH!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The catalogues


@pytest.mark.parametrize("shelf", shipped.SHELVES)
def test_a_shelf_with_modules_has_a_catalogue(shelf: str) -> None:
    modules = [path for path in (ROOT / shelf).glob("*.py") if path.name != "__init__.py"]
    assert shipped.catalogue(shelf) or not modules


@pytest.mark.parametrize("shelf", shipped.SHELVES)
def test_every_catalogue_entry_can_be_imported_and_is_documented(shelf: str) -> None:
    package = importlib.import_module(shelf)
    entries = shipped.catalogue(shelf)
    assert sorted(package.__all__) == [entry.name for entry in entries]
    for entry in entries:
        part = getattr(package, entry.name)
        assert part is getattr(importlib.import_module(entry.home), entry.name)
        assert re.fullmatch(r"[A-Z0-9].*\.", entry.summary), f"{entry}: no sentence"
        if callable(part):
            told = inspect.getdoc(part) or ""
            silent = [name for name in arguments_of(part) if not re.search(rf"\b{name}\b", told)]
            assert silent == [], f"{entry.home}.{entry.name}: the docstring leaves out {silent}"


def arguments_of(part: Callable[..., Any]) -> list[str]:
    """The names that a study may give to a part."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in inspect.signature(part).parameters.values() if p.kind not in variadic]


@pytest.mark.parametrize("shelf", shipped.SHELVES)
def test_a_shelf_has_no_other_names_than_its_catalogue(shelf: str) -> None:
    package = importlib.import_module(shelf)
    with pytest.raises(AttributeError, match=rf"module '{shelf}' has no attribute 'Nothing'"):
        _ = package.Nothing
    assert {entry.name for entry in shipped.catalogue(shelf)} <= set(dir(package))


# The configurations


def read_study(path: Path) -> object:
    """A study, strictly."""
    return load(path, StudySpec)


def read_space_file(path: Path) -> object:
    """A search space, strictly."""
    return load(path, SpaceSpec)


def read_datasheet(path: Path) -> object:
    """Read a file of configs/accelerators as a study does."""
    from codesign.study.loading import datasheet
    from codesign.study.spec import AcceleratorSpec

    return datasheet(AcceleratorSpec(datasheet=path.name), path.parent)


# What reads a file of configs/<kind>: the one place to wire it.
STRICT_LOADERS: dict[str, Callable[[Path], object]] = {
    "accelerators": read_datasheet,
    "studies": read_study,
    "papers": read_study,
    "spaces": read_space_file,
}


def shipped_files(kind: str) -> list[Path]:
    """The YAML files below ``configs/<kind>``."""
    return sorted((ROOT / "configs" / kind).rglob("*.yaml"))


def test_the_kinds_of_configuration_are_the_folders_of_configs() -> None:
    folders = {path.name for path in (ROOT / "configs").iterdir() if path.is_dir()}
    assert folders <= set(shipped.CONFIG_KINDS)
    loose = [path.name for path in (ROOT / "configs").glob("*.y*ml")]
    assert loose == []


@pytest.mark.parametrize("kind", shipped.CONFIG_KINDS)
def test_every_shipped_file_is_read_by_its_strict_loader(kind: str) -> None:
    files = shipped_files(kind)
    assert kind in STRICT_LOADERS or not files, f"wire a loader for configs/{kind}"
    for path in files:
        STRICT_LOADERS[kind](path)


@pytest.mark.parametrize("kind", sorted(STRICT_LOADERS))
def test_a_strict_loader_refuses_what_it_does_not_know(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    needed = "use: accelerators:Systolic\n" if kind == "accelerators" else ""
    file.write_text(f"{needed}no_such_field: 1\n", encoding="utf-8")
    with pytest.raises(CodesignError, match="no_such_field"):
        STRICT_LOADERS[kind](file)


@pytest.mark.parametrize("kind", shipped.CONFIG_KINDS)
def test_every_shipped_file_begins_with_a_sentence_about_itself(kind: str) -> None:
    entries = shipped.configs(kind)
    assert len(entries) == len(shipped_files(kind)), f"configs/{kind} has a folder in it"
    for entry in entries:
        assert re.fullmatch(r"[A-Z0-9].*\.", entry.summary), f"{entry}: no sentence in its comment"


# What no committed file may hold

# Put together here, so that this file does not hold them itself.
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:work|tmp|root|home|Users|opt|mnt)/(?=\w)")
REGISTRY = re.compile(
    r"\b(?:py" + r"pi\.org|files\.pythonhosted\.org|download\.pytorch\.org|anaconda\.org"
    r"|registry\.npmjs\.org|conda\.io)\b"
)


def forbidden_in(text: str) -> list[str]:
    """Machine paths and hosts of package registries in a text."""
    return [found.group() for rule in (MACHINE_PATH, REGISTRY) for found in rule.finditer(text)]


@pytest.mark.parametrize("name", ["work", "tmp", "home", "root"])
def test_a_machine_path_is_recognised(name: str) -> None:
    assert forbidden_in(f"see '/{name}/main'") == [f"/{name}/"]
    assert forbidden_in(f"https://example.org/{name}/main and out/{name}/main") == []


def test_a_registry_host_is_recognised() -> None:
    assert forbidden_in("--index-url https://py" + "pi.org/simple") == ["py" + "pi.org"]


def test_no_committed_file_names_a_machine_path_or_a_registry() -> None:
    files = tracked()
    assert len(files) > 10
    found = {}
    for path in files:
        content = path.read_bytes()
        if b"\0" not in content:
            found[path.relative_to(ROOT)] = forbidden_in(content.decode("utf-8", "replace"))
    assert {path: what for path, what in found.items() if what} == {}


def test_no_python_file_is_longer_than_a_room_should_be() -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in tracked("*.py")
    }
    assert len(lines) > 5
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE_LINES} == {}


def test_tests_import_public_names_only() -> None:
    private = []
    for path in tracked("tests/*.py"):
        where = path.relative_to(ROOT)
        for imported in laws.imports(where, ast.parse(path.read_text(encoding="utf-8"))):
            parts = imported.module.split(".")
            ours = parts[0] in ("codesign", *laws.SHELVES)
            if ours and any(re.match(r"_(?!_)", part) for part in parts):
                private.append(f"{where}:{imported.line}: {imported.module}")
    assert private == []


def test_every_public_name_of_codesign_exists() -> None:
    checked = 0
    for path in sorted((ROOT / "codesign").glob("[!_]*.py")):
        module = importlib.import_module(f"codesign.{path.stem}")
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"codesign.{path.stem}.__all__ names {name!r}"
            checked += 1
    assert checked > 10
