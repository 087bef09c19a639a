"""Entry of the benchmarks: ``python benchmarks/run.py``; see docs/performance.md.

Writes a results file after every part and goes on where a killed run stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().parent
# Without these every large tensor is mapped and returned anew, which doubles torch's time and makes
# it depend on what the process did before. Read by glibc when a process starts.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 31),
    "MALLOC_TOP_PAD_": str(1 << 28),
}
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
READY = "CODESIGN_BENCH"


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--only", action="append", help="a network; more than once for several")
    parser.add_argument("--faults", type=int, default=None, help="of a mix, for the kernels")
    parser.add_argument(
        "--checked", type=int, default=None, help="of a mix, run as whole forward passes too"
    )
    parser.add_argument("--quick", action="store_true", help="two tiny networks, a few seconds")
    parser.add_argument("--fresh", action="store_true", help="begin again, whatever is there")
    parser.add_argument("--out", type=Path, default=None, help="results file (results.json)")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="has sets/ and nets/"
    )
    parser.add_argument("--cache", type=Path, default=FOLDER / ".cache", help="trained weights")
    parser.add_argument("--page", type=Path, default=None, help="the page whose tables are made")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Run what is missing; 0, or 2 where a user has to act."""
    from benchmarks.session import run

    return run(arguments(words))


def _in_tuned_process() -> None:
    """Start again with the allocator, the threads and the path set."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    tuned = {**MALLOC, **THREADS, READY: "1", "PYTHONPATH": os.pathsep.join(paths)}
    os.execve(
        sys.executable,
        [sys.executable, "-m", "benchmarks.run", *sys.argv[1:]],
        {**os.environ, **tuned},
    )


if __name__ == "__main__":
    arguments()  # a mistake is told at once
    if READY not in os.environ:
        _in_tuned_process()
    sys.exit(main())
