"""What comes with the package: configuration files, and catalogues read without importing them.

`codesign list` and `codesign check` answer at once because they learn the names here, from the
source text, and import neither torch nor a shelf.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.errors import CodesignError, StudyError, nearest

__all__ = [
    "CONFIG_KINDS",
    "PACKAGE",
    "SHELVES",
    "Entry",
    "catalogue",
    "configs",
    "configs_folder",
    "engines",
    "find_config",
    "kernel_files",
    "scenarios",
]

SHELVES = ("accelerators", "networks", "mitigation")
CONFIG_KINDS = ("studies", "papers", "accelerators", "spaces")
PACKAGE = Path(__file__).parent

_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Entry:
    """One line of `codesign list`.

    Attributes:
        name: What a study says to use it.
        home: The module that defines it, or the folder of a file.
        summary: The first line of its docstring, or the first comment of a file.
    """

    name: str
    home: str
    summary: str


def configs_folder() -> Path:
    """The folder of shipped configurations: inside the package when installed, else beside it.

    Raises:
        CodesignError: Neither is there; the installation is incomplete.
    """
    for folder in (PACKAGE / "configs", PACKAGE.parent / "configs"):
        if folder.is_dir():
            return folder
    raise CodesignError(
        f"no configs folder in {PACKAGE} or beside it: this installation is incomplete, "
        "install codesign again"
    )


def find_config(text: str, *kinds: str) -> Path:
    """The file that `text` names: a path as it stands, else a shipped file.

    A shipped file is named by its path in `configs/`, with or without that word in front, or by
    its bare name, which is looked for in the folders `kinds` in their order.

    Args:
        text: For example ``my/study.yaml``, ``configs/studies/quickstart.yaml``,
            ``studies/quickstart.yaml`` or ``quickstart``.
        *kinds: Some of `CONFIG_KINDS`; none means all.

    Raises:
        StudyError: There is no such file.
    """
    kinds = kinds or CONFIG_KINDS
    local = Path(text)
    if local.is_file():
        return local
    named = Path(*local.parts[1:]) if local.parts[:1] == ("configs",) else local
    # Only what is inside: a path that climbs out names nothing that is shipped.
    if not named.is_absolute() and ".." not in named.parts:
        for folder in (configs_folder(), *(_folder_of(kind) for kind in kinds)):
            for path in (folder / named, folder / f"{named}.yaml"):
                if path.is_file():
                    return path
    what = "a folder" if local.is_dir() else "not a file"
    known = [entry.name for kind in kinds for entry in configs(kind)]
    raise StudyError(
        f"{text}: {what}; expected the path of a YAML file or the name of a shipped one in "
        f"{', '.join(kinds)}{nearest(local.stem, known)}"
    )


def configs(kind: str) -> tuple[Entry, ...]:
    """The shipped files of one of `CONFIG_KINDS`, by name."""
    files = sorted(_folder_of(kind).glob("*.yaml"))
    return tuple(Entry(path.stem, f"configs/{kind}", _first_comment(path)) for path in files)


def catalogue(shelf: str) -> tuple[Entry, ...]:
    """The names that a shelf offers, by name: its literal `__all__`, each with its summary.

    Args:
        shelf: One of `SHELVES`.

    Raises:
        CodesignError: The shelf is not installed, or its catalogue names what is not there.
    """
    folder = PACKAGE.parent / shelf
    init = folder / "__init__.py"
    if not init.is_file():
        raise CodesignError(f"the shelf {shelf!r} is not installed beside {PACKAGE}")
    tree = ast.parse(init.read_text(encoding="utf-8"))
    names, homes = _literal(tree, "__all__", init), _literal(tree, "_HOME", init)
    entries = []
    for name in sorted(names):
        if name not in homes:
            raise CodesignError(f"{init}: {name!r} stands in __all__ but has no module in _HOME")
        module = folder / f"{homes[name].replace('.', '/')}.py"
        entries.append(Entry(name, f"{shelf}.{homes[name]}", _summary_of(name, module)))
    return tuple(entries)


def scenarios() -> tuple[Entry, ...]:
    """The scenarios that come with `codesign`, by name: the public classes of their module."""
    tree = ast.parse((PACKAGE / "scenarios.py").read_text(encoding="utf-8"))
    public = _literal(tree, "__all__", PACKAGE / "scenarios.py")
    entries = [
        Entry(node.name, "codesign.scenarios", _first_line(node))
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and node.name in public
        and "Protocol" not in [ast.unparse(base) for base in node.bases]
    ]
    return tuple(sorted(entries, key=lambda entry: entry.name))


def engines() -> tuple[Entry, ...]:
    """The modules of the engine that define `evaluate`, by name."""
    found = []
    for path in sorted((PACKAGE / "engine").glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(_defines(node, "evaluate") for node in tree.body):
            found.append(Entry(path.stem, f"codesign.engine.{path.stem}", _first_line(tree)))
    return tuple(found)


def kernel_files() -> tuple[Path, ...]:
    """The compiled kernels of this installation; none where there was no compiler."""
    folder = PACKAGE / "engine"
    return tuple(sorted([*folder.glob("_kernels*.so"), *folder.glob("_kernels*.pyd")]))


def _folder_of(kind: str) -> Path:
    if kind not in CONFIG_KINDS:
        raise ValueError(f"{kind!r} is no kind of configuration{nearest(kind, CONFIG_KINDS)}")
    return configs_folder() / kind


def _summary_of(name: str, module: Path) -> str:
    if not module.is_file():
        raise CodesignError(f"the catalogue says that {name} is in {module}, which is not there")
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in tree.body:
        if _defines(node, name):
            return _first_line(node if isinstance(node, _DEFINITIONS) else tree)
    raise CodesignError(f"the catalogue says that {name} is in {module}, which does not define it")


def _defines(node: ast.stmt, name: str) -> bool:
    if isinstance(node, _DEFINITIONS):
        return node.name == name
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _first_line(node: _Documented) -> str:
    text = ast.get_docstring(node)
    return text.splitlines()[0] if text else ""


def _first_comment(path: Path) -> str:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                break
            if "yaml-language-server" not in line:
                return line.lstrip("#").strip()
    return ""


def _literal(tree: ast.Module, name: str, file: Path) -> Any:
    for node in tree.body:
        if _defines(node, name) and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            return ast.literal_eval(node.value)
    raise CodesignError(f"{file}: {name} is missing; a shelf states it as a literal")
