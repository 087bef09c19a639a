"""What a YAML file is, from its first keys: a study, a search space or a datasheet."""

from __future__ import annotations

from typing import Literal

from codesign.errors import StudyError
from codesign.shipped import find_config
from codesign.yaml_nodes import compose

__all__ = ["kind_of", "require_kind"]

Kind = Literal["study", "space", "datasheet"]
IS = {
    "study": "a study: codesign run and codesign check take it",
    "space": "a search space: codesign search and codesign check take it",
    "datasheet": "a datasheet: name it in a study, under accelerators",
}


def kind_of(name_or_path: str, *folders: str) -> Kind | None:
    """What a file seems to be; None where that cannot be told.

    Args:
        name_or_path: Of the file, or the name of a shipped one.
        *folders: Of shipped ones, to look in; all if left out.
    """
    try:
        text = find_config(name_or_path, *folders).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None  # reading it says what is wrong, and where
    root, _ = compose(text, name_or_path)
    keys = {entry.key for entry in getattr(root, "entries", ())}
    if {"parameters", "study"} <= keys:
        return "space"
    if len(keys & {"data", "networks", "accelerators", "designs"}) >= 2:
        return "study"
    return "datasheet" if {"use", "name"} <= keys else None


def require_kind(name_or_path: str, wanted: Kind, folder: str) -> None:
    """Refuse a file that is surely of another kind, instead of naming every key that is wrong.

    Raises:
        StudyError: It is of another kind.
    """
    came = kind_of(name_or_path, folder)
    if came not in (None, wanted):
        article = "a search space" if wanted == "space" else f"a {wanted}"
        raise StudyError(f"{name_or_path}: expected {article}, came {IS[came]}")
