"""Content digest: the identity of a design, a network, a study is what it says."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

__all__ = ["digest"]


def digest(value: object) -> str:
    """Sha256 of a canonical text of frozen dataclasses and what may stand in them.

    Types count: ``1``, ``1.0``, ``True`` and ``"1"`` differ, and so do equal fields of two classes.
    Not counted: the order of a dict, the memory layout and byte order of an array, fields that
    are left out of comparison (``compare=False``). A numpy scalar is the Python number it holds.

    Args:
        value: None, bool, int, float, str, bytes, paths, enums, numpy scalars and arrays of
            numbers, dataclass instances, tuples, lists, dicts and sets of these.

    Returns:
        64 hexadecimal digits, the same in every process.

    Raises:
        TypeError: The value holds something without content to compare, a function for example.

    >>> digest((1, 2.5, "x")) == digest((1, 2.5, "x")), digest(1) == digest(1.0)
    (True, False)
    """
    return hashlib.sha256(_text(value).encode()).hexdigest()


def _text(value: object) -> str:
    return json.dumps(_canonical(value), separators=(",", ":"), ensure_ascii=True)


def _canonical(value: object) -> object:
    """Lists and texts only, each beginning with the name of its type."""
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        value = value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = [f.name for f in dataclasses.fields(value) if f.compare]
        return [
            "record",
            _type_name(value),
            [[name, _canonical(getattr(value, name))] for name in shown],
        ]
    if isinstance(value, enum.Enum):
        return ["enum", _type_name(value), value.name]
    if isinstance(value, np.ndarray):
        return _canonical_array(value)
    if isinstance(value, tuple | list):
        return [type(value).__name__, *(_canonical(item) for item in value)]
    if isinstance(value, dict):
        pairs = [[_canonical(key), _canonical(item)] for key, item in value.items()]
        return ["dict", *sorted(pairs, key=json.dumps)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted((_canonical(item) for item in value), key=json.dumps)]
    return _canonical_scalar(value)


def _canonical_scalar(value: object) -> list[str]:
    if value is None:
        return ["none"]
    if isinstance(value, bool):
        return ["bool", str(value)]
    if isinstance(value, int):
        return ["int", hex(value)]
    if isinstance(value, float):
        return ["float", value.hex()]
    if isinstance(value, str):
        return ["str", value]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, PurePath):
        return ["path", value.as_posix()]
    raise TypeError(f"a {_type_name(value)} has no content to digest")


def _canonical_array(array: npt.NDArray[np.generic]) -> list[object]:
    if array.dtype.kind not in "biufc":
        raise TypeError(f"an array of {array.dtype} has no content to digest; numbers have")
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    content = hashlib.sha256(little.reshape(-1).view(np.uint8).data).hexdigest()
    return ["array", little.dtype.str, list(array.shape), content]


def _type_name(value: object) -> str:
    cls = type(value)
    return f"{cls.__module__}:{cls.__qualname__}"
