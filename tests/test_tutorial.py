"""The tutorial is run: its files are written, its commands typed, its output compared."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from codesign.cli import COMMANDS, main

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block of the page.

    Attributes:
        kind: ``yaml``, ``python`` or ``console``.
        file: Where its text goes; blocks of one Python file follow one another in it.
        text: What it says.
    """

    kind: str
    file: str
    text: str


def blocks() -> list[Block]:
    """Every block of the page, in order."""
    found = []
    for info, text in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        kind, _, file = info.partition(" file=")
        found.append(Block(kind, file, text))
    return found


def typed(block: Block) -> Iterator[tuple[str, str]]:
    """(command, what it is said to print) of a console block."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, on Python's path, as `PYTHONPATH=.` puts it there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("vector_unit", None)


def run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a typed command: ours in this process, which saves the start of torch, others in a shell.

    Returns:
        What it prints.
    """
    if "codesign " in command:
        words = shlex.split(command.partition("codesign ")[2])
        code = main(words)
        told = capsys.readouterr()
        assert code == 0, f"{command}: {told.err}"
        return told.out
    environment = os.environ | {
        "CODESIGN": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_tutorial_does_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = 0
    written: set[str] = set()
    for block in blocks():
        if block.file:
            more = block.kind == "python" and block.file in written
            with (folder / block.file).open("a" if more else "w", encoding="utf-8") as file:
                file.write("\n" * more + block.text)
            written.add(block.file)
            continue
        for command, expected in typed(block):
            commands += 1
            came = run(command, capsys)
            matches = doctest.OutputChecker().check_output(expected, came, LOOSE)
            assert matches, f"$ {command}\n{came}\nis said to be\n{expected}"
    assert commands >= 9
    assert written == {
        "bread.yaml",
        "study.yaml",
        "vector_unit.py",
        "test_vector_unit.py",
        "lanes.yaml",
        "lanes_study.yaml",
    }
    for made in ("out/study-map/mapping.html", "out/study/report.html"):
        assert (folder / made).stat().st_size > 1000


def test_every_block_of_the_tutorial_is_run_or_written():
    found = blocks()
    assert {block.kind for block in found} == {"console", "yaml", "python"}
    for block in found:
        assert bool(block.file) == (block.kind != "console")
        assert block.kind != "console" or block.text.startswith("$ ")


def test_every_command_that_the_tutorial_names_exists():
    told = set(re.findall(r"`codesign (\w+)", PAGE.read_text(encoding="utf-8")))
    told |= set(re.findall(r"^\$ (?:PYTHONPATH=\. )?codesign (\w+)", PAGE.read_text(), re.M))
    assert len(told) >= 6
    assert told <= {command.name for command in COMMANDS}


def test_the_tutorial_keeps_the_width_of_the_house():
    assert max(len(line) for line in PAGE.read_text(encoding="utf-8").splitlines()) <= 100


def test_the_python_of_the_tutorial_passes_the_lint_of_the_house(tmp_path: Path) -> None:
    for name in ("vector_unit.py", "test_vector_unit.py"):
        parts = [block.text for block in blocks() if block.file == name]
        assert parts
        (tmp_path / name).write_text("\n".join(parts), encoding="utf-8")
    lint = [sys.executable, "-m", "ruff", "check", "--select", "E,F,B,UP,SIM,C90"]
    style = ["--line-length", "100", "--target-version", "py311", "--isolated", "vector_unit.py"]
    done = subprocess.run(
        [*lint, *style], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
