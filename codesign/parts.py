"""`use:` paths → objects: the only dynamic import, and the only place of ``--allow``.

What our shelves offer may always be used; any other import path runs a stranger's code and is
refused unless the user allows its package on the command line. `exists` and `check_arguments`
judge a path and its arguments from source text, without importing; `bind` makes the object.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from codesign import shipped
from codesign.annotations import documented, fields_of, spec, type_of
from codesign.errors import StudyError, nearest
from codesign.field_types import Field, Untyped
from codesign.part_source import Signature, signature_in
from codesign.schema import Loaded, raise_all
from codesign.yaml_nodes import Node, Position, Problem, Table, moved
from codesign.yaml_reader import Reader
from codesign.yaml_writer import node_of

__all__ = [
    "SHELVES",
    "Part",
    "arguments_of",
    "bind",
    "check_arguments",
    "check_part",
    "exists",
    "needs_allow",
    "resolve",
    "signature_of",
]

SHELVES = (*shipped.SHELVES, "scenarios")
"""The first halves of paths that are always allowed; ``scenarios`` is short for its module."""

_SCENARIOS = "codesign.scenarios"
_USE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """What a configuration says of a pluggable part: ``{use: networks:Mlp, width: 16}``."""

    use: str = spec(doc="what to use: shelf:Name, or package.module:Name of an allowed package")
    arguments: Table = spec(rest=True, doc="an argument of what is used")


def exists(use: str, allow: Sequence[str] | None = None) -> str | None:
    """What is wrong with a `use:` path, judged without importing anything.

    Args:
        use: ``shelf:Name`` or ``package.module:Name``.
        allow: Packages outside our shelves that may be imported; None leaves that question, and
            then only the form of a stranger's path is judged.

    Returns:
        The text of a problem, or None.
    """
    match = _USE.fullmatch(use)
    if match is None:
        return f"expected shelf:Name or package.module:Name, came {use!r}{_offer(use)}"
    module, name = match.groups()
    top = module.partition(".")[0]
    shelf = module.removeprefix("codesign.")
    if module in SHELVES or module == _SCENARIOS:
        names = _names(shelf)
        return None if name in names else f"no {name!r} in {shelf}{nearest(name, names)}"
    if top in (*SHELVES, "codesign"):
        return f"{module} offers no parts by itself{_offer(name)}"
    if allow is not None and top not in allow:
        like = nearest(module, SHELVES)
        hint = like if like.startswith("; did you mean") else ""
        return (
            f"{top!r} is not a shelf of codesign{hint} "
            f"(to let this study run code of {top!r}: --allow {top})"
        )
    return None


def needs_allow(use: str) -> str | None:
    """The package that the user must allow for this path, None for our shelves and for no path."""
    match = _USE.fullmatch(use)
    top = match[1].partition(".")[0] if match else None
    return None if top in (None, *SHELVES, "codesign") else top


def resolve(use: str, allow: Sequence[str] = ()) -> Callable[..., object]:
    """Import what a `use:` path names.

    Args:
        use: ``shelf:Name`` or ``package.module:Name``.
        allow: Packages outside our shelves that may be imported.

    Raises:
        StudyError: There is no such thing, it may not be imported, or it is not callable.
    """
    problem = exists(use, allow)
    if problem:
        raise StudyError(f"{use}: {problem}")
    name = use.partition(":")[2]
    home, file = _home(use)
    module = _imported(use, home)
    if file is not None and Path(module.__file__ or "").resolve() != file.resolve():
        raise StudyError(
            f"{use}: Python finds another {home!r} first, in {module.__file__}; "
            f"rename or move it, codesign's own is {file}"
        )
    if not hasattr(module, name):
        names = (other for other in vars(module) if not other.startswith("_"))
        raise StudyError(f"{use}: no {name!r} in {home}{nearest(name, names)}")
    found = getattr(module, name)
    if not callable(found):
        raise StudyError(f"{use}: expected a class or a function, came a {type(found).__name__}")
    return typing.cast("Callable[..., object]", found)


def bind(
    use: str,
    arguments: Node | dict[str, object],
    allow: Sequence[str] = (),
    *,
    path: str = "",
    folder: Path | None = None,
) -> Any:
    """Make the part: import it, read its arguments as its annotations say, call it.

    Args:
        use: ``shelf:Name`` or ``package.module:Name``.
        arguments: The nodes of a configuration, or plain values (numbers, texts, lists, dicts).
        allow: Packages outside our shelves that may be imported.
        path: Where the part stands in the configuration.
        folder: What path arguments are relative to; the working folder if not given.

    Raises:
        StudyError: As `resolve`; or, as `SchemaErrors`, all that is wrong with the arguments.
    """
    target = resolve(use, allow)
    table = _table(use, arguments)
    reader = Reader((folder or Path()).absolute())
    values = _read(reader, arguments_of(target), table, path)
    made = reader.build(target, values, table, path)
    raise_all(reader.problems)
    return made


def check_arguments(
    use: str,
    arguments: Node | dict[str, object],
    *,
    path: str = "",
    folder: Path | None = None,
) -> list[Problem]:
    """What is wrong with the arguments of a part of our shelves, read from its source text.

    A stranger's part is never looked at, and what the text does not tell is not judged.
    """
    if exists(use) or needs_allow(use):
        return []
    reader = Reader((folder or Path()).absolute())
    _read(reader, signature_of(use), _table(use, arguments), path)
    return reader.problems


def check_part(loaded: Loaded[Any], path: str, part: Part) -> list[Problem]:
    """All that can be said of a part of a configuration without importing it.

    Args:
        loaded: The configuration.
        path: Where the part stands in it.
        part: What stands there.
    """
    problem = exists(part.use)
    if problem:
        return [loaded.problem(f"{path}.use" if path else "use", problem)]
    return check_arguments(part.use, part.arguments, path=path, folder=loaded.folder)


def signature_of(use: str) -> Signature:
    """The arguments of a part of our shelves, from its source text.

    Raises:
        StudyError: Our shelves have no such part.
    """
    problem = exists(use, ())
    if problem:
        raise StudyError(f"{use}: {problem}")
    file = _home(use)[1]
    assert file is not None  # exists() lets through only what stands on a shelf
    return signature_in(file, use.partition(":")[2])


def arguments_of(target: Callable[..., object]) -> Signature:
    """The arguments of an imported class or function, from its annotations.

    Raises:
        StudyError: Python does not know them, or one cannot be given by its name.
    """
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError as error:
        raise StudyError(f"{target!r}: Python does not know its arguments") from error
    own: dict[str, Field] = {}
    if isinstance(target, type) and dataclasses.is_dataclass(target):
        own = {field.name: field for field in fields_of(target)}
    docs = documented(target)
    fields = []
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            message = f"the argument {parameter.name!r} cannot be given by its name"
            raise StudyError(f"{target!r}: {message}")
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            doc = docs.get(parameter.name, "")
            fields.append(own.get(parameter.name) or _field(target, parameter, doc))
    is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return Signature(tuple(fields), is_open)


def _names(shelf: str) -> tuple[str, ...]:
    return tuple(_catalogue(shelf, shipped.PACKAGE))


@cache
def _catalogue(shelf: str, package: Path) -> dict[str, str]:
    """What a shelf offers, and the module of each, from source text."""
    if shelf == "scenarios":
        return {entry.name: entry.home for entry in shipped.scenarios()}
    return {entry.name: entry.home for entry in shipped.catalogue(shelf)}


def _home(use: str) -> tuple[str, Path | None]:
    """The module that defines a part, and its file where it is ours."""
    module, _, name = use.partition(":")
    if needs_allow(use):
        return module, None
    shelf = "scenarios" if module == _SCENARIOS else module
    home = _catalogue(shelf, shipped.PACKAGE)[name]
    return home, shipped.PACKAGE.parent / f"{home.replace('.', '/')}.py"


def _imported(use: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            hint = "is it installed, or its folder on PYTHONPATH?"
            raise StudyError(f"{use}: there is no module {missing!r}; {hint}") from error
        raise StudyError(f"{use}: {module} needs the module {missing!r}") from error
    except (ImportError, SyntaxError) as error:
        raise StudyError(f"{use}: {module} cannot be imported: {error}") from error


def _offer(text: str) -> str:
    """The path that a lone name stands for, where one of our shelves has it."""
    name = re.split(r"[.:]", text)[-1]
    known = [f"{shelf}:{name}" for shelf in SHELVES if name in _names(shelf)]
    return f"; did you mean {known[0]!r}?" if known else ""


def _table(use: str, arguments: Node | dict[str, object]) -> Table:
    if not isinstance(arguments, dict):
        if isinstance(arguments, Table):
            return arguments
        raise StudyError(f"{use}: its arguments are a mapping from names")
    table = moved(node_of(arguments), Position(use))
    assert isinstance(table, Table)
    return table


def _read(reader: Reader, signature: Signature, table: Table, path: str) -> Any:
    known = {field.name for field in signature.fields}
    others = [entry.key for entry in table.entries if entry.key not in known]
    fields = signature.fields
    if signature.is_open:
        fields += tuple(Field(name, Untyped(), required=False) for name in others)
    return reader.read_fields(fields, table, path, word="argument")


def _field(target: Callable[..., object], parameter: inspect.Parameter, doc: str) -> Field:
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    return Field(parameter.name, type_of(_annotation(target, parameter)), required, default, doc)


def _annotation(target: Callable[..., object], parameter: inspect.Parameter) -> object:
    """The annotation; Any where it is missing or names what only a type checker imports."""
    if parameter.annotation is parameter.empty:
        return Any
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    holder: Any = SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        hints = typing.get_type_hints(holder, getattr(inspect.unwrap(function), "__globals__", {}))
    except NameError:
        return Any
    return hints["it"]
