"""`codesign new`: a commented start of a datasheet or a study, in a file of its own."""

from __future__ import annotations

import re
from pathlib import Path

from codesign.errors import StudyError, nearest
from codesign.study.starts import DATASHEETS, STUDY

__all__ = ["KINDS", "write_start"]

KINDS = ("accelerator", "study")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
LONGEST_NAME = 64


def write_start(kind: str, name: str, family: str | None = None, folder: Path = Path()) -> Path:
    """Write ``NAME.yaml`` and give its path.

    Args:
        kind: One of `KINDS`.
        name: Letters, digits, ``_`` and ``-``, beginning with a letter; no ending.
        family: Of an accelerator; None is Systolic.
        folder: Where.

    Raises:
        StudyError: No such kind or family, no valid name, or the file is there already.
    """
    if kind not in KINDS:
        raise StudyError(f"new makes {' or '.join(KINDS)}, came {kind!r}{nearest(kind, KINDS)}")
    if kind == "study" and family is not None:
        raise StudyError("a study has no --family; its chips are datasheets of their own")
    if family is not None and family not in DATASHEETS:
        raise StudyError(
            f"no start for a datasheet of family {family!r}{nearest(family, DATASHEETS)}"
        )
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise StudyError(
            f"{name!r} is no name: expected at most {LONGEST_NAME} letters, digits, _ and -, a "
            "letter first, without folder and ending"
        )
    path = folder / f"{name}.yaml"
    text = STUDY if kind == "study" else DATASHEETS[family or "Systolic"]
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace("NAME", name))
    except FileExistsError as error:
        raise StudyError(f"{path} is there already; choose another name or move it") from error
    except OSError as error:
        raise StudyError(f"{path}: cannot write it: {error.strerror}") from error
    return path
