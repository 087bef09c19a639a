"""One word of YAML → a value of a leaf type, within the bounds that a field states."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from codesign.errors import nearest
from codesign.field_types import FilePath, Flag, Real, Rules, Text, Whole, english
from codesign.yaml_nodes import Node, Scalar
from codesign.yaml_scalars import came, read_flag, read_real, read_text, read_whole

__all__ = ["Leaf", "bounded", "read_leaf", "suggestion"]

WHOLE_LOW, WHOLE_HIGH = -(2**63), 2**63 - 1  # what a numpy integer holds; a field may widen it

Leaf: TypeAlias = Flag | Whole | Real | Text | FilePath


def read_leaf(kind: Leaf, node: Node, folder: Path) -> object:
    """The value of a node.

    Args:
        kind: What it must be.
        node: What is written.
        folder: What paths are relative to.

    Raises:
        ValueError: What was expected, what came, what to write.
    """
    match kind:
        case Flag():
            return read_flag(node)
        case Whole(rules):
            return _bounded_whole(kind, rules, node)
        case Real(rules):
            value = read_real(node, non_finite=rules.non_finite)
            return bounded(value, rules, english(kind), node)
        case Text(rules):
            return _allowed_text(kind, rules, node)
        case FilePath(rules):
            return _path(rules, node, folder)


def bounded(value: float, rules: Rules, expected: str, node: Node) -> float:
    """The value, if the rules allow it.

    Raises:
        ValueError: They do not.
    """
    is_inside = (
        (rules.low is None or value >= rules.low)
        and (rules.high is None or value <= rules.high)
        and (rules.above is None or value > rules.above)
        and (rules.below is None or value < rules.below)
    )
    if not is_inside:
        raise ValueError(f"expected {expected}, came {came(node)}")
    return value


def suggestion(node: Node, options: Iterable[str | int]) -> str:
    """The nearest option; the message lists them all already."""
    if not isinstance(node, Scalar):
        return ""
    names = [str(option) for option in options]
    same_letters = [name for name in names if name.lower() == node.text.lower()]
    if node.text in names:
        return "; remove the quotes"
    if len(same_letters) == 1:
        return f"; did you mean {same_letters[0]!r}?"
    offer = nearest(node.text, names)
    return offer if offer.startswith("; did you mean") else ""


def _bounded_whole(kind: Whole, rules: Rules, node: Node) -> int:
    value = read_whole(node)
    if rules.choices and value not in rules.choices:
        raise ValueError(f"expected {english(kind)}, came {came(node)}")
    bounded(value, rules, english(kind), node)
    low = WHOLE_LOW if rules.low is None else min(rules.low, WHOLE_LOW)
    high = WHOLE_HIGH if rules.high is None else max(rules.high, WHOLE_HIGH)
    if not low <= value <= high:
        raise ValueError(f"expected a whole number of at most 64 bits, came {came(node)}")
    return value


def _allowed_text(kind: Text, rules: Rules, node: Node) -> str:
    text = read_text(node)
    if rules.choices and text not in rules.choices:
        hint = suggestion(node, rules.choices)
        raise ValueError(f"expected {english(kind)}, came {came(node)}{hint}")
    if rules.non_empty and not text.strip():
        raise ValueError(f"expected a text that is not empty, came {came(node)}")
    return text


def _path(rules: Rules, node: Node, folder: Path) -> Path:
    text = read_text(node)
    if not text:
        raise ValueError("expected a path, came the text ''")
    # A person types relative to where they are; a file means relative to where it stands.
    typed = node.position.file.startswith("override ")
    path = (Path().absolute() if typed else folder) / text
    if rules.exists and not os.path.exists(path):  # Path.exists raises on a long name
        raise ValueError(f"no such file or folder: {path}{_neighbour(path)}")
    return path


def _neighbour(path: Path) -> str:
    try:
        names = [other.name for other in path.parent.iterdir()]
    except OSError:
        return ""
    return suggestion(Scalar(path.name, is_text=True), names)
