"""Whatever is done to a YAML text, it is read or refused with places; nothing else comes out."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from schema_example import Study
from test_schema import FULL

from codesign.schema import Problem, SchemaErrors, dump, load
from codesign.yaml_nodes import compose

PIECES = [
    *"\t\n\r :,-?#&*!|>%@`'\"[]{}<=~.0123456789eE_\\\x85\u2028\ufeff\u00e9\U0001f600\x00\x07\ud800",
    "\n---\n",
    "\n...\n",
    "<<: ",
    "? ",
    "? {a: 1}\n: 2\n",
    "&x ",
    "*x",
    "!!int ",
    "!<tag:x> ",
    "%TAG ! tag:\n",
    "%YAML 9.9\n---\n",
    "null",
    "true",
    "on",
    "010",
    "1e999",
    "1_0",
    "0x",
    ".nan",
    "9" * 5000,
    '"\\x00"',
    '"\\UFFFFFFFF"',
    '"\\ud800"',
    "[" * 100,
    "{" * 100,
    "{a: " * 70,
    "- " * 100,
    "|\n ",
    ">-\n\n  ",
    "\r\n",
    "2026-11-24",
    "=",
    "kind: ",
    "value: ",
]
PROBLEM = re.compile(r"(f\.yaml:[1-9][0-9]*:[1-9][0-9]*|override .*): [^\s:].*")


def mutated(text: str, rng: random.Random) -> str:
    """The text after one to four cuts, copies, swaps and insertions."""
    for _ in range(rng.randint(1, 4)):
        i, j = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        j = min(j, i + rng.choice([1, 3, 10, 40]))
        at = rng.randrange(len(text) + 1)
        change = rng.randrange(4)
        if change == 0:
            text = text[:i] + text[j:]
        elif change == 1:
            text = text[:at] + text[i:j] + text[at:]
        elif change == 2:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        else:
            text = text[:i] + rng.choice(PIECES) + text[j:]
    return text


def outcome(source: str | Path, overrides: tuple[str, ...] = ()) -> Study | tuple[Problem, ...]:
    """What was read, or the problems."""
    try:
        return load(source, Study, name="f.yaml", folder=Path("/"), overrides=overrides).value
    except SchemaErrors as error:
        return error.problems


def is_read(source: str | Path, overrides: tuple[str, ...] = ()) -> bool:
    """Whether it was read; then it can be dumped, else its problems are well formed."""
    found = outcome(source, overrides)
    if isinstance(found, Study):
        assert load(dump(found), Study).value == found
        return True
    assert found
    told = [str(problem) for problem in found]
    assert [text for text in told if not PROBLEM.fullmatch(text)] == []
    assert [text for text in told if len(text.splitlines()) != 1] == []
    return False


@pytest.mark.parametrize("seed", range(8))
def test_mutated_files_are_read_or_refused_with_places(seed: int) -> None:
    rng = random.Random(seed)
    read = [is_read(mutated(FULL, rng)) for _ in range(300)]
    assert 0 < sum(read) < 300  # the mutations neither break everything nor nothing


def test_mutated_overrides_are_read_or_refused() -> None:
    rng = random.Random(99)
    good = ["effort.trials=500", "faults.0.rate=1e-3", "notes=[a, b]", "network={use: a, b: [1]}"]
    read = [is_read(FULL, (mutated(rng.choice(good), rng),)) for _ in range(300)]
    assert 0 < sum(read) < 300


def test_random_pieces_are_read_or_refused() -> None:
    rng = random.Random(7)
    for _ in range(1000):
        text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 6)))
        root, problems = compose(text, "f.yaml")
        assert root is not None or problems
        is_read(text)


def test_random_bytes_are_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(11)
    file = tmp_path / "f.yaml"
    for _ in range(200):
        content = bytearray(FULL.encode())
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        file.write_bytes(content)
        is_read(file)
