"""One run: networks one after another, each mix stored before the next begins."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import torch

from benchmarks import networks, scaling
from benchmarks.denominators import instruction_set
from benchmarks.measure import Bench, Budget, bench_of, measured, say
from benchmarks.mixes import CNN_MIXES, MULTI_RATES, SNN_MIXES
from benchmarks.networks import Absent, Subject
from benchmarks.peers import VERSIONS
from benchmarks.results import Results, Row, load, save
from benchmarks.table import write_page
from codesign.engine.kernels import kernel_name

__all__ = ["run"]

ROOT = Path(__file__).resolve().parent.parent
FAULTS = {"resnet20": 320, "lenet": 1600, "fc_snn": 2000, "conv_snn": 640}
CHECKED = {"resnet20": 120, "lenet": 240, "fc_snn": 200, "conv_snn": 100}
QUICK = ("tiny_cnn", "tiny_snn")
COUNTS = (100, 1000, 10_000, 100_000)
RESNET_INPUTS, LENET_INPUTS = 16, 1000  # of the row of 100,000 faults: about half a minute each


def run(asked: argparse.Namespace) -> int:
    """Run what a results file does not have yet, and write its tables.

    Returns:
        0, or 2 where a user has to act.
    """
    torch.set_num_threads(1)
    names = tuple(asked.only or (QUICK if asked.quick else networks.MAIN))
    unknown = [name for name in names if name not in networks.NETWORKS]
    if unknown:
        say(f"no network {unknown[0]!r}; there are {', '.join(networks.NETWORKS)}")
        return 2
    out = asked.out or ROOT / "benchmarks" / ("quick.json" if asked.quick else "results.json")
    data = asked.data if asked.data.is_dir() else None
    if data is None:
        say(f"{asked.data} is not there: ResNets are left out, digits stand for MNIST")
    results = _results(asked, names, out, data)
    for name in names:
        _network(name, asked, results, out, data)
    page = asked.page or (None if asked.quick else ROOT / "docs" / "performance.md")
    if page is not None:
        write_page(results, page)
        say(f"tables: {page}")
    say(f"results: {out}")
    wrong = [row for row in results.rows if row.equal != row.equal_checked]
    for row in wrong:
        say(f"NOT EQUAL: {row.network} {row.fault_mix} {row.engine}: {row.equal} of "
            f"{row.equal_checked}")  # fmt: skip
    return 1 if wrong else 0


def _results(
    asked: argparse.Namespace, names: tuple[str, ...], out: Path, data: Path | None
) -> Results:
    """Those of a run that was stopped, if it was asked for the same; else none."""
    settings: dict[str, object] = {
        "networks": list(names),
        "faults": asked.faults,
        "checked": asked.checked,
        "quick": asked.quick,
        "data": data is not None,
        "kernel": kernel_name(),
        "isa": instruction_set(),
        "torch": torch.__version__,
        "engines": _digest(),
    }
    if out.is_file() and not asked.fresh:
        try:
            found = load(out)
        except ValueError as error:
            say(f"{error}; it is written anew")
        else:
            if found.settings == settings:
                say(f"going on with {out}: {len(found.done)} parts are done")
                return found
            say(f"{out} is of other settings or another version; it is written anew")
    about = {
        "processor": _processor(),
        "torch": f"{torch.__version__}, {instruction_set()}",
        "kernel": kernel_name(),
        "python": platform.python_version(),
        "peers": ", ".join(f"{name} {version}" for name, version in VERSIONS.items()),
        "allocator": "tuned" if "MALLOC_TOP_PAD_" in os.environ else "not tuned",
    }
    return Results(settings, about)


def _network(
    name: str, asked: argparse.Namespace, results: Results, out: Path, data: Path | None
) -> None:
    parts = [f"{name} {mix}" for mix in _mixes(name, asked.quick)]
    extra = [] if asked.quick else [f"{name} {axis}" for axis in _axes(name)]
    if all(part in results.done for part in (*parts, *extra)) or name in results.absent:
        return
    began = time.monotonic()
    try:
        subject = networks.make(name, data, asked.cache)
    except Absent as error:
        say(f"{name}: left out: {error}")
        results.absent[name] = str(error)
        save(results, out)
        return
    say(f"{name}: ready after {time.monotonic() - began:.0f} s; {subject.origin}, "
        f"{subject.accuracy:.1%}")  # fmt: skip
    bench = bench_of(subject)
    for part in parts:
        if part not in results.done:
            _mix(part, bench, asked, results)
            save(results, out)
    for part in extra:
        if part not in results.done:
            results.finish(part, _scaled(part.split()[1], subject, data, asked))
            say(f"{part}: after {time.monotonic() - began:.0f} s")
            save(results, out)


def _mix(part: str, bench: Bench, asked: argparse.Namespace, results: Results) -> None:
    began, mix = time.monotonic(), part.split()[1]
    rows = measured(bench, mix, _budget(bench.subject.name, asked))
    results.finish(part, rows)
    name = bench.subject.name
    results.denominators = [d for d in results.denominators if d.network != name]
    results.denominators.append(bench.denominator())
    ours = next(row for row in rows if row.engine == "ours-cpu")
    say(f"{part}: ours-cpu {ours.ratio_to_forward:.5f} of A, {ours.equal} of "
        f"{ours.equal_checked} equal; {time.monotonic() - began:.0f} s")  # fmt: skip


def _mixes(name: str, quick: bool) -> tuple[str, ...]:
    kinds = SNN_MIXES if name.endswith("snn") else CNN_MIXES
    return (*kinds, *(list(MULTI_RATES)[1:3] if quick else MULTI_RATES))


def _budget(name: str, asked: argparse.Namespace) -> Budget:
    if asked.quick:
        return Budget(asked.faults or 12, min(asked.faults or 6, 6), 2, 2, 0.05)
    faults = asked.faults or FAULTS.get(name, 320)
    checked = min(faults, asked.checked or CHECKED.get(name, 200))
    return Budget(faults, checked, min(faults, 6), 3, 5.0)


def _axes(name: str) -> tuple[str, ...]:
    if name == "resnet20":
        return ("faults", "inputs", "depth", "workers")
    return ("faults", "workers") if name in ("lenet", "fc_snn", "conv_snn") else ()


def _scaled(axis: str, subject: Subject, data: Path | None, asked: argparse.Namespace) -> list[Row]:
    faults = asked.faults or FAULTS.get(subject.name, 320)
    if axis == "faults":
        inputs = RESNET_INPUTS if subject.name == "resnet20" else LENET_INPUTS
        counts = tuple(count for count in COUNTS if not asked.faults or count <= 100 * faults)
        return scaling.by_faults(subject, counts, inputs)
    if axis == "inputs":
        return scaling.by_inputs(subject, (8, 32, 128, 256), faults, axis)
    if axis == "workers":
        return scaling.by_workers(subject, (1, 2), 4 * faults)
    return list(_depths(subject, faults, data, asked.cache))


def _depths(subject: Subject, faults: int, data: Path | None, cache: Path) -> Iterator[Row]:
    """The same campaign on ResNet-20 and on ResNet-32, if its weights are there."""
    yield from scaling.by_inputs(subject, (64,), faults, "depth")
    try:
        deeper = networks.make("resnet32", data, cache)
    except Absent as error:
        say(f"resnet32: left out: {error}")
        return
    yield from scaling.by_inputs(deeper, (64,), faults, "depth")


def _digest() -> str:
    """Of the sources of engines and benchmarks: results of another version are not gone on with."""
    folders = (ROOT / "benchmarks", ROOT / "codesign" / "engine")
    files = sorted(
        path
        for folder in folders
        for ending in ("*.py", "*.cpp", "*.h")
        for path in folder.glob(ending)
    )
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _processor() -> str:
    """Its name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
