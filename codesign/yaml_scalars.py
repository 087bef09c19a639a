"""What one word of YAML means to a field of a known type.

The YAML 1.1 traps end here: ``on`` is no truth, ``010`` no number, ``1e-3`` is one, and text that
another reader would take for a number, a date or nothing must be quoted. Each function returns
the value or raises ValueError with what was expected, what came and what to write.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TypeGuard

from codesign.yaml_nodes import Items, Node, Scalar, Table, looks_like_text

__all__ = [
    "came",
    "float_text",
    "is_null",
    "read_flag",
    "read_plain",
    "read_real",
    "read_text",
    "read_whole",
]

_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_REAL = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NON_FINITE = {".nan": math.nan, ".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf}
_NUMBER_LENGTH_MAX = 100  # characters; Python refuses int() of more than 4300
_SHOWN_MAX = 60  # characters of a value in a message

_TRUTHS = {"true": True, "false": False}
_OTHER_TRUTHS = {"yes": "true", "on": "true", "no": "false", "off": "false"} | {
    word: word for word in _TRUTHS
}


def came(node: Node) -> str:
    """What came, for a message.

    >>> came(Scalar("5e-2", is_text=True)), came(Scalar("12", is_text=False)), came(Table())
    ("the text '5e-2'", '12', 'an empty mapping')
    """
    match node:
        case Scalar(text, is_text):
            shown = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
            if is_text:
                return f"the text {shown!r}"
            return shown or "nothing"
        case Items(items):
            return f"a list of {len(items)}" if items else "an empty list"
        case Table(entries):
            return "a mapping" if entries else "an empty mapping"


def is_null(node: Node) -> bool:
    """Whether ``null`` (or ``~``) is written; an empty place is not, it may be forgotten."""
    return isinstance(node, Scalar) and not node.is_text and node.text in ("null", "~")


def read_flag(node: Node) -> bool:
    """Read ``true`` or ``false``, in no other spelling.

    >>> read_flag(Scalar("true", is_text=False))
    True
    """
    if isinstance(node, Scalar) and node.text in _TRUTHS and not node.is_text:
        return _TRUTHS[node.text]
    hint = ""
    if isinstance(node, Scalar) and not node.is_text and node.text.lower() in _OTHER_TRUTHS:
        hint = f"; write {_OTHER_TRUTHS[node.text.lower()]}"
    if isinstance(node, Scalar) and node.is_text and node.text in _TRUTHS:
        hint = "; remove the quotes"
    raise ValueError(f"expected true or false, came {came(node)}{hint}")


def read_whole(node: Node) -> int:
    """Read a whole number in decimal digits.

    >>> read_whole(Scalar("-12", is_text=False))
    -12
    """
    if _is_number(node, _WHOLE):
        return int(node.text)
    raise ValueError(f"expected a whole number, came {came(node)}{_number_hint(node, whole=True)}")


def read_real(node: Node, *, non_finite: bool = False) -> float:
    """Read a number; ``1e-3``, ``1.5e3`` and ``2`` are numbers.

    Args:
        node: What is written.
        non_finite: Whether ``.inf``, ``-.inf`` and ``.nan`` may be written.

    >>> read_real(Scalar("1e-3", is_text=False))
    0.001
    """
    if isinstance(node, Scalar) and not node.is_text and node.text in _NON_FINITE:
        if non_finite:
            return _NON_FINITE[node.text]
        raise ValueError(f"expected a finite number, came {node.text}")
    if not _is_number(node, _REAL):
        raise ValueError(f"expected a number, came {came(node)}{_number_hint(node, whole=False)}")
    value = float(node.text)
    if math.isinf(value):
        raise ValueError(f"expected a number below 1.8e308, came {node.text}")
    if value == 0.0 and re.search("[1-9]", re.split("[eE]", node.text)[0]):
        raise ValueError(f"expected zero or a number above 5e-324, came {node.text}")
    return value


def read_text(node: Node) -> str:
    """Read text; what could also be a number, a truth, a date or nothing must be quoted.

    >>> read_text(Scalar("systolic", is_text=True))
    'systolic'
    """
    if isinstance(node, Scalar) and node.is_text:
        return node.text
    hint = f'; quote it: "{came(node)}"' if isinstance(node, Scalar) and node.text else ""
    raise ValueError(f"expected text, came {came(node)}{hint}")


def read_plain(node: Node) -> object:
    """Read a value of no stated type: the number, truth, null, text, list or dict it looks like.

    >>> read_plain(Items((Scalar("1e-3", is_text=False), Scalar("a", is_text=True))))
    [0.001, 'a']
    """
    match node:
        case Items(items):
            return [read_plain(item) for item in items]
        case Table(entries):
            return {entry.key: read_plain(entry.value) for entry in entries}
    if is_null(node):
        return None
    if node.is_text:
        return node.text
    if node.text in _TRUTHS:
        return _TRUTHS[node.text]
    if _is_number(node, _WHOLE):
        return int(node.text)
    if _is_number(node, _REAL):
        return read_real(node)
    if not node.text:
        raise ValueError("expected a value, came nothing; write null if nothing is meant")
    raise ValueError(f'expected a value, came {came(node)}; if it is text, quote it: "{node.text}"')


def float_text(value: float) -> str:
    """Write a float so that every YAML reader takes it for the same number.

    >>> float_text(1e-05), float_text(3.0), float_text(1e300)
    ('1.0e-05', '3.0', '1.0e+300')
    """
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(float(value))
    mantissa, exponent, power = text.partition("e")
    if "." not in mantissa:
        mantissa += ".0"
    return mantissa + exponent + power


def _is_number(node: Node, pattern: re.Pattern[str]) -> TypeGuard[Scalar]:
    return (
        isinstance(node, Scalar)
        and not node.is_text
        and len(node.text) <= _NUMBER_LENGTH_MAX
        and pattern.fullmatch(node.text) is not None
    )


def _number_hint(node: Node, *, whole: bool) -> str:
    """What to write instead, where that is plain to see."""
    if not isinstance(node, Scalar) or not node.text:
        return ""
    if len(node.text) > _NUMBER_LENGTH_MAX:
        return f"; a number has at most {_NUMBER_LENGTH_MAX} characters"
    if node.is_text:
        unquoted = not looks_like_text(node.text) and (_WHOLE if whole else _REAL)
        return "; remove the quotes" if unquoted and unquoted.fullmatch(node.text) else ""
    bare = node.text.replace("_", "")
    if re.fullmatch(r"[-+]?0+[0-9]+(\.[0-9]*)?", bare):
        sign = "-" if bare.startswith("-") else ""
        return f"; some readers take a leading zero for octal: write {sign}{_without_zeros(bare)}"
    if (_WHOLE if whole else _REAL).fullmatch(bare):
        return f"; write {bare}"
    if whole and _REAL.fullmatch(bare):
        value = Decimal(bare)
        if value.adjusted() < 18 and value == value.to_integral_value():
            return f"; write {int(value)}"
    return ""


def _without_zeros(text: str) -> str:
    stripped = text.lstrip("+-").lstrip("0")
    return stripped if stripped[:1].isdigit() else "0" + stripped
