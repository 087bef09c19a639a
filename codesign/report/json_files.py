"""Dataclasses as JSON and back, strictly: what is missing, foreign or of another type is named."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from codesign.errors import CodesignError, StoreError, nearest
from codesign.intervals import Interval

__all__ = ["from_plain", "json_text", "read_json", "writing"]

T = TypeVar("T")
INTERVAL_KEYS = {field.name for field in fields(Interval)}


def json_text(value: dict[str, object]) -> str:
    """JSON of an object, a line for each of its keys; keys keep their order, which has meaning.

    Raises:
        StoreError: It holds what JSON cannot say: infinity, not a number, an array.
    """
    lines = []
    for key, item in value.items():
        try:
            text = json.dumps(
                item,
                separators=(",", ":"),
                allow_nan=False,
                ensure_ascii=False,
                default=_fields_of,
            )
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
    """What `json_text` made of a dataclass, as that dataclass again.

    A whole number may stand for a float. Where anything may stand (``object``), lists stay lists,
    and an object with an `Interval`'s keys, and no others, is one.

    Args:
        cls: A dataclass.
        value: Of ``json.loads``.
        where: For messages: a path, and what leads to the value.

    Raises:
        StoreError: A key is missing or unknown, a value is of another type or is refused.
    """
    return cast(T, _reader(cast(Any, cls))(value, where))


Reader: TypeAlias = Callable[[Any, str], Any]


@cache
def _reader(kind: Any) -> Reader:
    """What reads a type, made once for each: a study has a hundred thousand assignments."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (other,) = (argument for argument in arguments if argument is not type(None))
        inner = _reader(other)
        return lambda value, where: None if value is None else inner(value, where)
    if kind is object:
        return lambda value, where: _anything(value)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin is list:
        inner = _reader(arguments[0])
        return lambda value, where: _items(inner, value, where)
    if origin is dict:
        inner = _reader(arguments[1])
        return lambda value, where: {
            key: inner(item, f"{where}.{key}")
            for key, item in _expect(value, dict, "an object", where).items()
        }
    return _record_reader(kind) if is_dataclass(kind) else _scalar_reader(kind)


def _record_reader(cls: Any) -> Reader:
    hints = get_type_hints(cls)
    readers = {field.name: _reader(hints[field.name]) for field in fields(cls)}

    def read(value: Any, where: str) -> object:
        given = _expect(value, dict, "an object", where)
        if given.keys() != readers.keys():
            raise StoreError(f"{where}: {_other_keys(given, list(readers))}")
        read = {name: inner(given[name], f"{where}.{name}") for name, inner in readers.items()}
        try:
            return cls(**read)
        except CodesignError as error:
            raise StoreError(f"{where}: {error}") from error

    return read


def _other_keys(given: dict[str, object], names: list[str]) -> str:
    for key in given:
        if key not in names:
            return f"unknown key {key!r}{nearest(key, names)}"
    missing = next(name for name in names if name not in given)
    return f"{missing!r} is missing"


def _tuple_reader(kinds: tuple[Any, ...]) -> Reader:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        inner = _reader(kinds[0])
        return lambda value, where: tuple(_items(inner, value, where))
    readers = [_reader(kind) for kind in kinds]

    def read(value: Any, where: str) -> tuple[object, ...]:
        items = _expect(value, list, "a list", where)
        if len(readers) != len(items):
            raise StoreError(f"{where}: expected {len(readers)} items, came {len(items)}")
        pairs = enumerate(zip(readers, items, strict=True))
        return tuple(inner(item, f"{where}[{i}]") for i, (inner, item) in pairs)

    return read


def _items(inner: Reader, value: Any, where: str) -> list[object]:
    items = _expect(value, list, "a list", where)
    return [inner(item, f"{where}[{i}]") for i, item in enumerate(items)]


def _scalar_reader(kind: type) -> Reader:
    name = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]

    def read(value: Any, where: str) -> object:
        if type(value) is kind:  # a bool is an int, and must not pass as one
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise StoreError(f"{where}: expected {name}, came {_shown(value)}")

    return read


def _anything(value: object) -> object:
    if isinstance(value, dict):
        if value.keys() == INTERVAL_KEYS:
            return from_plain(Interval, value, "interval")
        return {key: _anything(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_anything(item) for item in value]
    return value


def _expect(value: object, kind: type, name: str, where: str) -> Any:
    if not isinstance(value, kind):
        raise StoreError(f"{where}: expected {name}, came {_shown(value)}")
    return value


def _fields_of(value: object) -> dict[str, object]:
    """For JSON: a dataclass as an object of its fields."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} is no JSON")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
