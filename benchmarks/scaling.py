"""How the cost of a fault grows with the number of faults, of inputs, of layers, and of threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from benchmarks.denominators import denominators, instruction_set
from benchmarks.engines import Ours, ours
from benchmarks.measure import SEED, say
from benchmarks.mixes import Mix, mix_of
from benchmarks.networks import Subject
from benchmarks.results import Row

__all__ = ["by_faults", "by_inputs", "by_workers"]

CHUNK = 1000  # faults of a call, as a campaign would
FEW, LONGEST = 50, 90.0  # faults by which a row is judged; seconds that it may take
MIX = "weight"


def by_faults(subject: Subject, counts: tuple[int, ...], inputs: int) -> list[Row]:
    """Cost per fault of campaigns of so many faults on some of the inputs."""
    return _Kernels(subject, inputs).rows("faults", counts)


def by_inputs(subject: Subject, inputs: tuple[int, ...], faults: int, axis: str) -> list[Row]:
    """Cost per fault on so many inputs; ``axis`` is ``inputs``, or ``depth`` between networks."""
    return [row for count in inputs for row in _Kernels(subject, count).rows(axis, (faults,))]


def by_workers(subject: Subject, workers: tuple[int, ...], faults: int) -> list[Row]:
    """Wall time per fault with so many threads; A is CPU time of one."""
    kernels = _Kernels(subject, len(subject.samples))
    return [row for count in workers for row in kernels.rows("workers", (faults,), count)]


class _Kernels:
    """``ours-cpu`` on some inputs, with their own A and B."""

    def __init__(self, subject: Subject, inputs: int) -> None:
        inputs = min(inputs, len(subject.samples))
        self.subject = replace(subject, samples=subject.samples.take(inputs))
        self.mix: Mix = mix_of(MIX, subject.program, inputs)
        self.engine = ours("ours-cpu", self.subject, self.mix)
        self.paths = denominators(self.subject, self.engine.golden, tries=2)

    def timed(self, engine: Ours, clock: Callable[[], float], faults: int) -> tuple[float, str]:
        """Seconds per fault, and the first note."""
        began, notes = clock(), []
        for first in range(0, faults, CHUNK):
            drawn = self.mix.draw(first, min(first + CHUNK, faults), SEED)
            notes.append(engine.run(drawn).note)
        return (clock() - began) / faults, next((note for note in notes if note), "")

    def rows(self, axis: str, counts: tuple[int, ...], workers: int = 1) -> list[Row]:
        """One row for each number of faults."""
        engine = self.engine
        if workers > 1:
            engine = ours("ours-cpu", self.subject, self.mix, workers)
        clock = time.perf_counter if axis == "workers" else time.process_time
        rows: list[Row] = []
        tried, _ = self.timed(engine, clock, FEW)
        for faults in counts:
            if tried * faults > LONGEST:
                say(f"{self.subject.name}: {faults} faults would take {tried * faults:.0f} s")
                break
            seconds, note = self.timed(engine, clock, faults)
            a, b = self.paths.a.seconds, self.paths.b.seconds
            rows.append(
                Row(
                    "scaling",
                    self.subject.name,
                    MIX,
                    engine.name,
                    instruction_set(),
                    faults,
                    len(self.subject.samples),
                    seconds / a,
                    seconds / b,
                    engine.setup_seconds / a,
                    0,
                    0,
                    1e3 * seconds,
                    workers,
                    "wall" if axis == "workers" else "cpu",
                    note,
                    axis,
                )
            )
        return rows
