"""Dataclasses as JSON and back, strictly: what is missing, foreign or of another type is named."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from codesign.errors import CodesignError, StoreError, nearest
from codesign.intervals import Interval

__all__ = ["from_plain", "json_text", "plain", "read_json", "writing"]

T = TypeVar("T")
INTERVAL_KEYS = {field.name for field in fields(Interval)}


def plain(value: object) -> Any:
    """Dataclasses as dicts, tuples as lists, all else as it is."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def json_text(value: object) -> str:
    """JSON of an object, a line for each of its keys; keys keep their order, which has meaning.

    Raises:
        StoreError: It holds what JSON cannot say: infinity, not a number, an array.
    """
    lines = []
    for key, item in plain(value).items():
        try:
            text = json.dumps(item, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise StoreError(f"{key}: JSON cannot say this: {error}") from error
        lines.append(f"{json.dumps(key)}:{text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        StoreError: There is no such file, or it is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: expected JSON: {error}") from error
    if not isinstance(value, dict):
        raise StoreError(f"{path}: expected a JSON object, came {_shown(value)}")
    return value


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make a folder and write into it.

    Raises:
        StoreError: It cannot be made or written, instead of an `OSError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder}: cannot be written: {error.strerror}; name another folder"
        ) from error


def from_plain(cls: type[T], value: object, where: str) -> T:
    """What `plain` made of a dataclass, as that dataclass again.

    A whole number may stand for a float. Where anything may stand (``object``), lists stay lists,
    and an object with an `Interval`'s keys, and no others, is one.

    Args:
        cls: A dataclass.
        value: Of ``json.loads``.
        where: For messages: a path, and what leads to the value.

    Raises:
        StoreError: A key is missing or unknown, a value is of another type or is refused.
    """
    return cast(T, _read(cls, value, where))


def _read(kind: Any, value: object, where: str) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(_but_none(arguments), value, where)
    if kind is object:
        return _anything(value)
    if is_dataclass(kind):
        return _record(cast(type, kind), value, where)
    if origin is tuple:
        return _row(arguments, _expect(value, list, "a list", where), where)
    if origin is list:
        items = _expect(value, list, "a list", where)
        return [_read(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items)]
    if origin is dict:
        pairs = _expect(value, dict, "an object", where)
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in pairs.items()}
    return _scalar(kind, value, where)


def _record(cls: type, value: object, where: str) -> object:
    given = _expect(value, dict, "an object", where)
    hints = _hints(cls)
    names = list(hints)
    for key in given:
        if key not in names:
            raise StoreError(f"{where}: unknown key {key!r}{nearest(key, names)}")
    for name in names:
        if name not in given:
            raise StoreError(f"{where}: {name!r} is missing")
    read = {name: _read(hints[name], given[name], f"{where}.{name}") for name in names}
    try:
        return cls(**read)
    except CodesignError as error:
        raise StoreError(f"{where}: {error}") from error


@lru_cache
def _hints(cls: type) -> dict[str, Any]:
    """Type of each field, in order."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _row(kinds: tuple[Any, ...], items: list[object], where: str) -> tuple[object, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(items)
    if len(kinds) != len(items):
        raise StoreError(f"{where}: expected {len(kinds)} items, came {len(items)}")
    pairs = enumerate(zip(kinds, items, strict=True))
    return tuple(_read(kind, item, f"{where}[{i}]") for i, (kind, item) in pairs)


def _scalar(kind: type, value: object, where: str) -> object:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:  # a bool is an int, and must not pass as one
        raise StoreError(f"{where}: expected {names[kind]}, came {_shown(value)}")
    return value


def _anything(value: object) -> object:
    if isinstance(value, dict):
        if value.keys() == INTERVAL_KEYS:
            return _record(Interval, value, "interval")
        return {key: _anything(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_anything(item) for item in value]
    return value


def _but_none(arguments: tuple[Any, ...]) -> Any:
    (kind,) = (argument for argument in arguments if argument is not type(None))
    return kind


def _expect(value: object, kind: type, name: str, where: str) -> Any:
    if not isinstance(value, kind):
        raise StoreError(f"{where}: expected {name}, came {_shown(value)}")
    return value


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
