"""The terminal: what is written there when it is of another encoding, full, or has to be warned."""

from __future__ import annotations

import codecs
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["leave_output", "plain_output", "plain_warnings"]

PLAINLY = "codesign.plainly"
PLAIN = {"−": "-", "–": "-", "±": "+-", "×": "x", "·": "*", "…": "...", "→": "->", "µ": "u"}


def plain_output() -> None:
    """Have signs that the encoding of stdout and stderr lacks written in other words."""
    codecs.register_error(PLAINLY, _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAINLY)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Have warnings told in one line each, without the line of code that they come from."""
    before = warnings.formatwarning
    warnings.formatwarning = _in_one_line
    try:
        yield
    finally:
        warnings.formatwarning = before


def leave_output() -> None:
    """Send what is left of the output nowhere: Python would complain again at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that a terminal or file of another encoding cannot have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    told = (
        PLAIN.get(each, each.encode("ascii", "backslashreplace").decode())
        for each in error.object[error.start : error.end]
    )
    return "".join(told), error.end


def _in_one_line(message: Warning | str, *_: object, **__: object) -> str:
    return f"codesign: warning: {' '.join(str(message).split())}\n"
