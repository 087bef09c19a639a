"""The three laws of the house, read from the source text: which room may import which.

1. The shelves import `codesign` and never each other; `codesign` imports no shelf.
2. A noun imports only nouns above it in `NOUNS`; each room of verbs what `FLOORS` says.
3. Torch is imported at module level only where `may_import_torch` says.

And nobody imports what the text does not name, but `codesign/parts.py`. Imports inside functions
count for all of it but the third.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHELVES = ("accelerators", "networks", "mitigation")

# A new noun gets its place here: below all that it imports, above all that import it.
NOUNS = (
    "errors",
    "shipped",
    "digests",
    "quantities",
    "yaml_nodes",
    "yaml_scalars",
    "field_types",
    "annotations",
    "yaml_leaves",
    "yaml_reader",
    "yaml_writer",
    "schema_docs",
    "overrides",
    "schema",
    "part_source",
    "parts",
    "store",
    "formats",
    "samples",
    "layers",
    "network",
    "guards",
    "program",
    "accelerator",
    "faults",
    "effect_rows",
    "effects",
    "events",
    "mapping",
    "design",
    "draws",
    "scenarios",
    "intervals",
    "looks",
    "comparisons",
    "metrics",
)
TOP = ("__init__", "__main__", "terminal", "cli")
FLOORS = {
    "engine": {
        *("errors", "formats", "samples", "layers", "network", "guards", "program"),
        *("effect_rows", "effects", "events"),
    },
    "learning": {*NOUNS, "engine"},
    "study": {*NOUNS, "engine", "learning"},
    "report": {*NOUNS, "study"},
}
ROOMS = (*NOUNS, *FLOORS, *TOP)
TORCH = {"torch", "snntorch", "torchvision"}
DYNAMIC_MODULES = {"importlib", "imp", "pkgutil", "runpy"}
DYNAMIC_NAMES = {"__import__", "eval", "exec"}
TYPE_CHECKING = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
# They read what is installed and import nothing.
HARMLESS = {"importlib.metadata", "importlib.resources"}


@dataclass(frozen=True)
class Import:
    """One imported name: the module it comes from or is, and whether importing the file does it."""

    module: str
    line: int
    at_import: bool


def violations(root: Path) -> list[str]:
    """Every breach of the laws in the four packages below `root`, as ``file:line: what``."""
    found = []
    for package in ("codesign", *SHELVES):
        for path in sorted((root / package).rglob("*.py")):
            where = path.relative_to(root)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [f"{where}:{line}: {what}" for line, what in _breaches(where, tree)]
    return found


def may_import_torch(where: Path) -> bool:
    """Whether a file may import torch at module level: it is used only when something computes."""
    inside = where.parts[:2] in (("codesign", "learning"), ("codesign", "engine"))
    return (inside or where.parts[0] == "networks") and where.name != "__init__.py"


def imports(where: Path, tree: ast.Module) -> Iterator[Import]:
    """What a file imports, relative imports made absolute, each name of a ``from`` on its own."""
    package = where.parts[:-1]
    for node, at_import in _with_moment(tree, at_import=True):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_import)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                yield Import(".".join([*base, alias.name]), node.lineno, at_import)


def _with_moment(node: ast.AST, *, at_import: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, and whether it runs when the file is imported."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        at_import = False
    dormant: set[int] = set()
    if isinstance(node, ast.If) and ast.unparse(node.test) in TYPE_CHECKING:
        dormant = {id(child) for child in node.body}
    for child in ast.iter_child_nodes(node):
        runs = at_import and id(child) not in dormant
        yield child, runs
        yield from _with_moment(child, at_import=runs)


def _breaches(where: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    room = _room(where)
    if where.parts[0] == "codesign" and room not in ROOMS:
        yield (
            1,
            f"codesign has no room {room!r}: give it a place in the list of nouns (tests/laws.py)",
        )
        return
    for imported in imports(where, tree):
        for what in (
            _shelf_breach(where, imported),
            _floor_breach(where, room, imported),
            _torch_breach(where, imported),
            _dynamic_breach(where, imported),
        ):
            if what:
                yield imported.line, what
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in DYNAMIC_NAMES and not _is_parts(where):
            yield node.lineno, f"{node.id} imports or runs what no text names; only parts may"


def _shelf_breach(where: Path, imported: Import) -> str:
    shelf = imported.module.split(".")[0]
    if shelf not in SHELVES or shelf == where.parts[0]:
        return ""
    if where.parts[0] == "codesign":
        return f"codesign imports the shelf {shelf!r} ({imported.module})"
    return f"the shelf {where.parts[0]!r} imports the shelf {shelf!r} ({imported.module})"


def _floor_breach(where: Path, room: str, imported: Import) -> str:
    parts = imported.module.split(".")
    if where.parts[0] != "codesign" or parts[0] != "codesign" or room in TOP:
        return ""
    if imported.module == "codesign.__version__":
        return ""
    # `import codesign` and a name that is no room come from codesign/__init__.py, which is the top.
    target = parts[1] if len(parts) > 1 and parts[1] in ROOMS else "__init__"
    allowed = FLOORS.get(room) or set(NOUNS[: NOUNS.index(room)])
    if target in allowed or target == room:
        return ""
    return f"{room!r} imports {target!r} ({imported.module}), which does not stand below it"


def _torch_breach(where: Path, imported: Import) -> str:
    name = imported.module.split(".")[0]
    if name not in TORCH or not imported.at_import or may_import_torch(where):
        return ""
    return f"{name} is imported at module level; import it inside the function that needs it"


def _dynamic_breach(where: Path, imported: Import) -> str:
    if imported.module.split(".")[0] not in DYNAMIC_MODULES or _is_parts(where):
        return ""
    if any(imported.module == name or imported.module.startswith(f"{name}.") for name in HARMLESS):
        return ""
    # A shelf loads its entries when they are asked for, each from a literal in the same file.
    lazy = imported.module == "importlib.import_module"
    if lazy and len(where.parts) == 2 and where.parts[0] in SHELVES and where.stem == "__init__":
        return ""
    return f"{imported.module} imports what no text names; only codesign/parts.py may"


def _room(where: Path) -> str:
    return where.parts[1].removesuffix(".py") if len(where.parts) > 1 else ""


def _is_parts(where: Path) -> bool:
    return where.parts == ("codesign", "parts.py")
