"""Judge our models of chips by recorded faults of their RTL: ``python -m tests.rtl [FOLDER]``.

Exit code 0: all that is claimed is equal; 1: something differs; 2: a file or the folder cannot be
used. With ``--control NAME`` something is wrong on purpose: exit code 0 if equality fell.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rtl import gemmini, tinyodin
from rtl.rows import Row

__all__ = ["main"]

DEFAULT = Path("../shared/oracles/rtl")
LEVELS = ("cycle", "effects")


@dataclass(frozen=True)
class Judge:
    """Who judges a file that holds these keys."""

    chip: str
    keys: tuple[str, ...]
    judge: Callable[[Path, str], Iterator[Row]]
    controls: tuple[str, ...]


JUDGES = (
    Judge(
        "gemmini",
        ("prog_ctrl", "prog_A", "prog_B", "prog_D", "g_rows", "f_rows", "f_role"),
        gemmini.judge,
        gemmini.CONTROLS,
    ),
    Judge(
        "tinyodin",
        ("neur_init", "syn", "op_type", "g_events", "f_site", "f_events"),
        tinyodin.judge,
        tinyodin.CONTROLS,
    ),
)
CONTROLS = sorted({name for judge in JUDGES for name in judge.controls})


@dataclass(frozen=True)
class Judged:
    """What became of a file: its rows, or why there are none."""

    name: str
    rows: tuple[Row, ...] = ()
    problem: str = ""
    seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge a folder and print what came out; returns the exit code."""
    options = _options(arguments)
    folder = options.folder
    if not folder.is_dir():
        return _unusable(f"{folder}: no such folder; make rtl VECTORS=FOLDER says where they are")
    paths = sorted(folder.glob("*.npz"), key=lambda path: -path.stat().st_size)
    if not paths:
        return _unusable(f"{folder}: holds no vector file (*.npz)")
    judged = _judge_all(paths, options.control, options.jobs)
    if options.control:
        before = _judge_all(paths, "", options.jobs)
        return _report_control(options.control, judged, before)
    rows = [row for file in judged for row in file.rows]
    _print_rows(rows)
    problems = _print_problems(judged)
    _print_totals(rows)
    return 1 if any(row.different for row in rows) else 2 if problems else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.rtl", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT, help="of *.npz files")
    parser.add_argument("--control", default="", choices=["", *CONTROLS], metavar="NAME")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.epilog = f"Negative controls: {', '.join(CONTROLS)}."
    return parser.parse_args(arguments)


def _unusable(message: str) -> int:
    print(f"rtl: {message}", file=sys.stderr)
    return 2


def _judge_all(paths: Sequence[Path], control: str, jobs: int) -> list[Judged]:
    """Every file, by name; a process for each where there are several."""
    judged = []
    for file in _in_processes(paths, control, jobs) if jobs > 1 else _here(paths, control):
        judged.append(file)
        said = file.problem or f"{len(file.rows)} lines in {file.seconds:.0f} s"
        count = f"[{len(judged)}/{len(paths)}]"
        print(f"{count} {file.name} {control}: {said}", file=sys.stderr, flush=True)
    return sorted(judged, key=lambda file: file.name)


def _here(paths: Sequence[Path], control: str) -> Iterator[Judged]:
    yield from (_judge(path, control) for path in paths)


def _in_processes(paths: Sequence[Path], control: str, jobs: int) -> Iterator[Judged]:
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        for done in as_completed([pool.submit(_judge, path, control) for path in paths]):
            yield done.result()


def _judge(path: Path, control: str) -> Judged:
    begun = time.monotonic()
    try:
        with np.load(path) as file:
            keys = set(file.files)
    except Exception as error:  # a torn file fails in many ways
        return Judged(path.name, problem=f"cannot be read: {error}")
    for judge in JUDGES:
        if keys.issuperset(judge.keys):
            if control and control not in judge.controls:
                return Judged(path.name)
            try:
                rows = tuple(judge.judge(path, control))
            except Exception as error:  # may be the file's fault or ours
                traceback.print_exc()
                why = str(error) or type(error).__name__
                return Judged(path.name, problem=f"is not a whole {judge.chip} file: {why}")
            return Judged(path.name, rows, seconds=time.monotonic() - begun)
    chips = ", ".join(f"{judge.chip} ({', '.join(judge.keys)})" for judge in JUDGES)
    return Judged(path.name, problem=f"is of no chip known here; these need keys: {chips}")


def _print_rows(rows: Iterable[Row]) -> None:
    """A line for each file and site class, both levels beside each other."""
    by_class: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        by_class.setdefault((row.file, row.site_class), {})[row.level] = row
    for (name, site), levels in by_class.items():
        print(f"{name} {site:<28} " + " | ".join(_said(row) for row in levels.values()))


def _said(row: Row) -> str:
    tile = f" tile={row.tile}" if row.level == "effects" else ""
    return (
        f"{row.level}: equal={row.equal} different={row.different} "
        f"not_modelled={row.not_modelled}{tile} (unmasked {row.unmasked_equal} of {row.unmasked})"
    )


def _print_problems(judged: Iterable[Judged]) -> int:
    problems = [file for file in judged if file.problem]
    for file in problems:
        print(f"rtl: {file.name} {file.problem}", file=sys.stderr)
    return len(problems)


def _print_totals(rows: Sequence[Row]) -> None:
    last = []
    for level in LEVELS:
        mine = [row for row in rows if row.level == level]
        judged, same = (sum(getattr(r, x) for r in mine) for x in ("unmasked", "unmasked_equal"))
        print(f"of the unmasked ones, {level}: equal={same} of {judged}")
        counts = ("equal", "different", "not_modelled", *(("tile",) if level == "effects" else ()))
        said = (f"{name}={sum(getattr(row, name) for row in mine)}" for name in counts)
        last.append(f"rtl-{level}: {' '.join(said)}")
    print("\n".join(last))


def _report_control(control: str, judged: Sequence[Judged], before: Sequence[Judged]) -> int:
    """How equality falls when something is wrong on purpose; file by file, and in all."""
    totals: dict[str, list[int]] = {}
    documented = {file.name: file for file in before}
    for file in judged:
        if not file.rows:
            print(f"{file.name}: {file.problem or f'knows no control {control!r}'}")
            continue
        for level in LEVELS:
            if all(row.level != level for row in file.rows):
                continue
            right, wrong = (
                sum(row.equal for row in some if row.level == level)
                for some in (documented[file.name].rows, file.rows)
            )
            print(f"{file.name} {level}: equal={right} as documented, {wrong} with {control}")
            total = totals.setdefault(level, [0, 0])
            total[0], total[1] = total[0] + right, total[1] + wrong
    for level, (right, wrong) in totals.items():
        print(f"control {control}, {level}: equal={right} as documented, {wrong} with {control}")
    return 0 if totals and all(wrong < right for right, wrong in totals.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
