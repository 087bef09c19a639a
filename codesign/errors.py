"""Everything a user can cause is a `CodesignError`; anything else is a bug of ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CapacityError",
    "CodesignError",
    "DataError",
    "FaultError",
    "LoweringError",
    "MappingError",
    "MitigationError",
    "StoreError",
    "StudyError",
    "UnsupportedError",
    "nearest",
]


class CodesignError(Exception):
    """What a user can mend: printed without a stack trace, exit code 2."""


class StudyError(CodesignError):
    """A study, datasheet or search space says something that cannot be."""


class DataError(CodesignError):
    """Samples, weights or a file of them are not what they should be."""


class LoweringError(CodesignError):
    """A torch model holds something that the integer program cannot express."""


class MappingError(CodesignError):
    """A network cannot be placed on an accelerator as asked."""


class CapacityError(MappingError):
    """A resource is too small: resource, demand, limit and the knob that helps are named."""


class MitigationError(CodesignError):
    """A mitigation cannot help here, or does not fit the design; the message says why."""


class FaultError(CodesignError):
    """A fault cannot exist: no such unit, instance, component, word, bit or model."""


class UnsupportedError(CodesignError):
    """Well formed, but this engine or family does not do it; the message says which does."""


class StoreError(CodesignError):
    """A results file cannot be used: locked, full, foreign, newer, broken."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the nearest right name, or what is known.

    >>> nearest("trails", ["trials", "samples"])
    "; did you mean 'trials'?"
    >>> nearest("xyz", ["trials", "samples"])
    '; known: samples, trials'
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"; known: {shown}"
