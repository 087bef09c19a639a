"""From a template of this folder to a page that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codesign.report.colours import CIVIDIS

__all__ = ["render"]


def render(template: str, data: dict[str, Any], scripts: Sequence[str], **context: object) -> str:
    """A page of a template of this folder, with the common style, its scripts and its data."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("codesign.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["firm"] = _firm
    script = "\n".join(_source(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=_source("page.css"),
        script=script,
        script_hash=digest,
        data=_escaped({**data, "cividis": CIVIDIS}),
        **context,
    )


def _firm(told: str) -> str:
    """Numbers stay with their ± and units: no line is broken between them."""
    space = "\N{NO-BREAK SPACE}"
    return told.replace(" ± ", f"{space}±{space}").replace(" %", f"{space}%")


def _escaped(data: dict[str, Any]) -> str:
    """JSON that cannot end a script: no ``<`` is left in it."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _source(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
