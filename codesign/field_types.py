"""The closed set of things that a field of a YAML file can be.

Whatever reads, describes or writes a configuration matches on `FieldType`; `codesign.annotations`
makes it from the annotations of dataclasses and callables.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "Anything",
    "Choice",
    "Field",
    "FieldType",
    "FilePath",
    "Flag",
    "Many",
    "Maybe",
    "Named",
    "OneOf",
    "Physical",
    "Real",
    "Record",
    "Row",
    "Rules",
    "Text",
    "Untyped",
    "Unwritable",
    "Whole",
    "english",
    "listed",
]


# What a user may call a thing: words of letters, digits, _, + and -. No dots, for they make paths.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]*(?: [A-Za-z0-9_+-]+)*")
DOTTED_NAMES = re.compile(rf"{NAME.pattern}(?:\.{NAME.pattern})*")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a field's metadata demands beyond its type.

    Attributes:
        low: Smallest number allowed.
        high: Largest number allowed.
        above: The number must be greater.
        below: The number must be smaller.
        choices: The texts or whole numbers allowed, where a Literal cannot say it.
        units: One unit for each dimension a quantity may have; the value is converted to it.
        exists: The file or folder must be there.
        non_empty: The text, list or mapping must not be empty.
        non_finite: Infinity and NaN are allowed.
        rest: The field takes every key that no other field has.
        paths: The keys of the mapping are dotted paths.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str | int, ...] = ()
    units: tuple[str, ...] = ()
    exists: bool = False
    non_empty: bool = False
    non_finite: bool = False
    rest: bool = False
    paths: bool = False

    def used(self) -> set[str]:
        """The names of the rules that demand something."""
        return {f.name for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}


@dataclass(frozen=True, slots=True)
class Flag:
    """``true`` or ``false``."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number."""

    rules: Rules = Rules()


@dataclass(frozen=True, slots=True)
class Real:
    """A number."""

    rules: Rules = Rules()


@dataclass(frozen=True, slots=True)
class Text:
    """A text."""

    rules: Rules = Rules()


@dataclass(frozen=True, slots=True)
class FilePath:
    """A path, relative to the folder of the YAML file."""

    rules: Rules = Rules()


@dataclass(frozen=True, slots=True)
class Physical:
    """A `Quantity` in one of these units, or in one that converts to it."""

    rules: Rules


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few texts or whole numbers, or something of another type beside them."""

    options: tuple[str | int, ...]
    otherwise: FieldType | None = None


@dataclass(frozen=True, slots=True)
class Maybe:
    """A value, or ``null``."""

    inner: FieldType


@dataclass(frozen=True, slots=True)
class Many:
    """A list of any length."""

    item: FieldType
    container: type = tuple
    non_empty: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A list of fixed length."""

    items: tuple[FieldType, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A mapping from names the user chooses, or from dotted paths."""

    value: FieldType
    non_empty: bool = False
    paths: bool = False

    @property
    def key_pattern(self) -> re.Pattern[str]:
        """What a key must match."""
        return DOTTED_NAMES if self.paths else NAME


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with the fields of a dataclass."""

    cls: type


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several dataclasses, told apart by what stands under ``key``."""

    key: str
    members: tuple[tuple[str, type], ...]


@dataclass(frozen=True, slots=True)
class Anything:
    """A node as written (`Plain`)."""


@dataclass(frozen=True, slots=True)
class Untyped:
    """A value of no stated type: what it looks like."""


@dataclass(frozen=True, slots=True)
class Unwritable:
    """A Python type that a YAML file cannot say."""

    name: str


FieldType: TypeAlias = (
    Flag
    | Whole
    | Real
    | Text
    | FilePath
    | Physical
    | Choice
    | Maybe
    | Many
    | Row
    | Named
    | Record
    | OneOf
    | Anything
    | Untyped
    | Unwritable
)


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a mapping, or one argument of a callable.

    Attributes:
        name: The key.
        type: What may stand there.
        required: Whether it must be given.
        default: What stands there otherwise; meaningless where required.
        doc: What it is, for people.
        rest: It takes every key that no other field has.
    """

    name: str
    type: FieldType
    required: bool = True
    default: object = None
    doc: str = ""
    rest: bool = False


def english(kind: FieldType) -> str:  # noqa: C901  one line for each type
    """What may stand in a field, for people.

    >>> english(Maybe(Real(Rules(low=0, high=1))))
    'a number from 0 to 1, or null'
    """
    match kind:
        case Flag():
            return "true or false"
        case Whole(rules):
            return "a whole number" + _range(rules)
        case Real(rules):
            return "a number" + _range(rules)
        case Text(rules):
            return listed(rules.choices) or ("a text" + (", not empty" * rules.non_empty))
        case FilePath(rules):
            return "a path" + (" of a file or folder that exists" * rules.exists)
        case Physical(rules):
            return f"a quantity in {' or '.join(rules.units)}" + _range(rules)
        case Choice(options, otherwise):
            return listed(options) + (f", or {english(otherwise)}" if otherwise else "")
        case Maybe(inner):
            return f"{english(inner)}, or null"
        case Many(item, _, non_empty):
            return "a list, " + ("not empty, " * non_empty) + f"each {english(item)}"
        case Row(items):
            return f"a list of {len(items)}: {'; '.join(english(item) for item in items)}"
        case Named(value, non_empty, paths):
            keys, some = "dotted paths" if paths else "names", "not empty, " * non_empty
            return f"a mapping from {keys}, {some}each {english(value)}"
        case Record():
            return "a mapping"
        case OneOf(key, members):
            return f"a mapping whose {key} is {listed(tuple(tag for tag, _ in members))}"
        case Anything() | Untyped():
            return "any value"
        case Unwritable(name):
            return f"a {name}, which a YAML file cannot say"


def _range(rules: Rules) -> str:
    if rules.choices:
        return f", {listed(rules.choices)}"
    low = _number(rules.low)
    high = _number(rules.high)
    if rules.low is not None and rules.high is not None:
        return f" from {low} to {high}"
    parts = []
    if rules.low is not None:
        parts.append(f"at least {low}")
    if rules.above is not None:
        parts.append(f"above {_number(rules.above)}")
    if rules.high is not None:
        parts.append(f"at most {high}")
    if rules.below is not None:
        parts.append(f"below {_number(rules.below)}")
    return ", " + " and ".join(parts) if parts else ""


def _number(value: float | None) -> str:
    return "" if value is None else repr(value) if isinstance(value, int) else f"{value:g}"


def listed(options: tuple[str | int, ...]) -> str:
    """The options for a message: ``one of a, b``."""
    if not options:
        return ""
    if len(options) == 1:
        return str(options[0])
    return f"one of {', '.join(str(option) for option in options)}"
