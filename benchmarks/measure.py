"""One mix on one network: every engine in turn, round by round, all on the same faults.

A round times A and B once and every engine on its share of the list. The kernels run the whole list
in every round. Engines that pay about a forward pass for each fault run other faults in each round,
their share of as many as time allows: their cost hardly depends on the fault.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.denominators import Denominators, denominators, instruction_set
from benchmarks.engines import Dense, Engine, Ours, Ran, ours, outputs_by_fault
from benchmarks.equal import Equality, compare
from benchmarks.mixes import Mix, mix_of
from benchmarks.networks import Subject
from benchmarks.peers import installed
from benchmarks.results import Denominator, Row

__all__ = ["Bench", "Budget", "bench_of", "measured"]

SEED = 2026
TOO_LONG = 2.0  # budgets: a trial that alone takes so long is not run again
SEVERAL = 8  # faults by which a quick engine is judged


@dataclass(frozen=True)
class Budget:
    """How much of everything.

    Attributes:
        faults: Of a mix, for the kernels.
        checked: Faults run as whole forward passes, with which all others are compared.
        trials: Of mixes with many faults a trial.
        rounds: Of interleaved timing.
        seconds: Of an engine and mix, in all rounds; the kernels' in each of them.
    """

    faults: int
    checked: int
    trials: int
    rounds: int
    seconds: float


@dataclass
class Bench:
    """A network with its engines, ready.

    Attributes:
        subject: The network.
        paths: Its denominators.
        engines: In the order of the table.
        missing: Engines that are not there, and why.
        forwards: CPU seconds of every A that was timed, and of every B.
    """

    subject: Subject
    paths: Denominators
    engines: list[Engine]
    missing: dict[str, str]
    forwards: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    @property
    def dense(self) -> Dense:
        """The oracle."""
        return next(e for e in self.engines if isinstance(e, Dense))

    def denominator(self) -> Denominator:
        """What the table says of A and B."""
        a, b = self.paths.a, self.paths.b
        return Denominator(
            self.subject.name,
            self.subject.origin,
            self.subject.accuracy,
            len(self.subject.samples),
            1e3 * median(self.forwards[0] or [a.seconds]),
            a.name,
            a.batch,
            a.wrong,
            1e3 * median(self.forwards[1] or [b.seconds]),
            b.name,
            b.batch,
            self.paths.int8,
        )


def bench_of(subject: Subject, peers: bool = True) -> Bench:
    """Set everything up for a network.

    Raises:
        RuntimeError: The oracle's golden outputs are not the engine's: nothing would be comparable.
    """
    probe = mix_of("weight", subject.program, len(subject.samples))
    kernels, torch_only = ours("ours-cpu", subject, probe), ours("ours-torch", subject, probe)
    dense = Dense(subject, 64)
    golden = dense.golden()
    if not np.array_equal(golden, kernels.golden):
        raise RuntimeError(f"{subject.name}: a whole forward pass gives other golden outputs")
    paths = denominators(subject, golden)
    dense.batch = paths.a.batch
    engines: list[Engine] = [kernels, torch_only, dense]
    missing = {}
    for name, tool in installed().items() if peers else ():
        if isinstance(tool, str):
            missing[name] = tool
            continue
        engines.append(tool(subject, golden))
    return Bench(subject, paths, engines, missing)


def measured(bench: Bench, name: str, budget: Budget) -> list[Row]:
    """Time one mix on every engine and compare their outputs.

    Args:
        bench: The network, ready.
        name: Of the mix.
        budget: How much.
    """
    subject = bench.subject
    inputs = len(subject.samples)
    mix = mix_of(name, subject.program, inputs)
    runners = [_Runner(e, mix) for e in bench.engines if not e.refusal(mix)]
    _warm(runners, mix, budget)
    wanted = _Wanted(bench.dense, mix)
    a: list[float] = []
    b: list[float] = []
    for turn in range(budget.rounds):
        a.append(_seconds(bench.paths.a.run))
        b.append(_seconds(bench.paths.b.run))
        # The oracle first, so that every other has something to be compared with.
        for runner in sorted(runners, key=lambda r: r.engine is not bench.dense):
            runner.turn(turn, budget.rounds, wanted)
    bench.forwards[0].extend(a)
    bench.forwards[1].extend(b)
    rows = [_row(r, bench, mix, median(a), median(b)) for r in runners]
    reasons = {e.name: e.refusal(mix) for e in bench.engines if e.refusal(mix)} | bench.missing
    rows += [_nothing(bench, mix, engine, why) for engine, why in reasons.items()]
    return rows


class _Wanted:
    """Outputs of the faults that were run as whole forward passes."""

    def __init__(self, dense: Dense, mix: Mix) -> None:
        self.dense, self.mix = dense, mix
        self.known: dict[int, NDArray[np.int64]] = {}

    def add(self, first: int, outputs: NDArray[np.int64]) -> None:
        for i, output in enumerate(outputs):
            self.known[first + i] = output

    def compared(self, first: int, outputs: NDArray[np.int64], seen: set[int]) -> Equality:
        """Of faults not compared before."""
        at = [i for i in range(len(outputs)) if first + i in self.known and first + i not in seen]
        seen.update(first + i for i in at)
        if not at:
            return Equality()
        return compare(outputs[at], np.stack([self.known[first + i] for i in at]))


class _Runner:
    """One engine on one mix."""

    def __init__(self, engine: Engine, mix: Mix) -> None:
        self.engine, self.mix = engine, mix
        self.packed = mix.transient and engine.packs(mix)
        self.whole = isinstance(engine, Ours) and engine.name == "ours-cpu"
        self.faults = 0  # of all rounds, or of each if ``whole``
        self.seconds: list[float] = []
        self.ran: list[int] = []
        self.equality, self.seen, self.note = Equality(), set[int](), ""
        self.early: NDArray[np.int64] | None = None  # outputs of a first run that was the last

    def timed(self, first: int, last: int) -> tuple[float, Ran]:
        """Draw faults and run them; CPU seconds of both."""
        began = time.process_time()
        effects = self.mix.draw(first, last, SEED, packed=self.packed)
        ran = self.engine.run(effects)
        return time.process_time() - began, ran

    def turn(self, turn: int, rounds: int, wanted: _Wanted) -> None:
        """One round."""
        if self.early is not None:
            self.equality += wanted.compared(0, self.early, self.seen)
            return
        first, last = (0, self.faults) if self.whole else self._share(turn, rounds)
        if last == first:
            return
        seconds, ran = 0.0, []
        for start in range(first, last, self._chunk):
            stop = min(start + self._chunk, last)
            spent, found = self.timed(start, stop)
            seconds += spent
            outputs = outputs_by_fault(found.outputs, self.mix, start, stop, packed=self.packed)
            if isinstance(self.engine, Dense):
                wanted.add(start, outputs)
            self.equality += wanted.compared(start, outputs, self.seen)
            ran.append(found.note)
        self.seconds.append(seconds)
        self.ran.append(last - first)
        self.note = next((note for note in ran if note), self.note)

    @property
    def per_fault(self) -> float:
        """Seconds."""
        if self.whole:
            return median(s / n for s, n in zip(self.seconds, self.ran, strict=True))
        return sum(self.seconds) / sum(self.ran)

    @property
    def _chunk(self) -> int:
        return self.mix.inputs if self.mix.transient else 500

    def _share(self, turn: int, rounds: int) -> tuple[int, int]:
        unit = self.mix.inputs if self.packed else 1
        cuts = np.linspace(0, self.faults // unit, rounds + 1).astype(int) * unit
        return int(cuts[turn]), int(cuts[turn + 1])


def _warm(runners: Sequence[_Runner], mix: Mix, budget: Budget) -> None:
    """Run every engine once, choose how transients come, and say how many faults each gets."""
    for runner in runners:
        unit = mix.inputs if runner.packed else 1
        seconds, ran = runner.timed(0, unit)
        is_dense = isinstance(runner.engine, Dense)
        if seconds > TOO_LONG * budget.seconds and not is_dense:
            runner.early = outputs_by_fault(ran.outputs, mix, 0, unit, packed=runner.packed)
            runner.seconds, runner.ran, runner.note = [seconds], [unit], ran.note
            continue
        if mix.transient and isinstance(runner.engine, Ours):
            runner.packed = False
            apart, _ = runner.timed(0, unit)
            runner.packed = seconds < apart
            seconds = min(seconds, apart)
        wanted, each = _most(mix, budget, is_dense), seconds / unit
        if runner.whole and not mix.rate and not mix.transient:
            each = runner.timed(0, SEVERAL)[0] / SEVERAL  # a call costs something of its own
        # The oracle runs as many as are to be compared, whatever it takes.
        allowed = wanted if is_dense else max(budget.rounds, int(budget.seconds / each))
        step = mix.inputs if mix.transient else 1
        runner.faults = max(min(wanted, allowed) // step, 1) * step


def _most(mix: Mix, budget: Budget, is_dense: bool) -> int:
    """Faults of a mix that an engine runs if it is quick enough."""
    if mix.rate:
        return budget.trials
    if mix.transient:
        return 2 * mix.inputs * budget.rounds
    return budget.checked if is_dense else budget.faults


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def _row(runner: _Runner, bench: Bench, mix: Mix, a: float, b: float) -> Row:
    engine, seconds = runner.engine, runner.per_fault
    notes = [runner.note]
    if mix.transient:
        notes.append("one fault a sample in a trial" if runner.packed else "one fault a trial")
    if hasattr(engine, "golden_seconds"):
        notes.append(f"its own run without faults is {engine.golden_seconds / a:.2f} A")
    checked = runner.equality
    return Row(
        "main",
        bench.subject.name,
        mix.name,
        engine.name,
        instruction_set(),
        max(runner.ran) if runner.whole else sum(runner.ran),
        len(bench.subject.samples),
        seconds / a,
        seconds / b,
        engine.setup_seconds / a,
        checked.checked,
        checked.equal,
        1e3 * seconds,
        note="; ".join(note for note in notes if note),
    )


def _nothing(bench: Bench, mix: Mix, engine: str, why: str) -> Row:
    inputs = len(bench.subject.samples)
    return Row(
        "main", bench.subject.name, mix.name, engine, instruction_set(), 0, inputs,
        None, None, None, 0, 0, note=why,
    )  # fmt: skip


def say(text: str) -> None:
    """Tell on standard error what is being done."""
    print(text, file=sys.stderr, flush=True)
