"""The results file: what it says, written whole after every part, and gone on with after a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Denominator", "Results", "Row", "load", "save"]


@dataclass(frozen=True)
class Row:
    """What one engine cost on one mix.

    Attributes:
        table: ``main`` or ``scaling``.
        network: Which.
        fault_mix: Which.
        engine: Which.
        isa: Instruction set that torch uses, of which the denominators depend.
        faults: How many it ran, the first of the same list for all engines; 0 if it ran none.
        inputs: Samples; a fault is judged on all of them, a transient one on its own.
        ratio_to_forward: Seconds per fault / A; None if it ran none.
        ratio_to_best: Seconds per fault / B.
        setup_forwards: Set-up in A, apart.
        equal_checked: Faults whose outputs were compared with whole forward passes.
        equal: Of these, in how many every output of every sample agreed.
        ms_per_fault: Milliseconds, of this processor.
        workers: Threads.
        clock: ``cpu`` (time of the process) or ``wall``.
        note: What else must be said; why nothing ran, if nothing did.
        axis: Of scaling: ``faults``, ``inputs``, ``depth`` or ``workers``.
    """

    table: str
    network: str
    fault_mix: str
    engine: str
    isa: str
    faults: int
    inputs: int
    ratio_to_forward: float | None
    ratio_to_best: float | None
    setup_forwards: float | None
    equal_checked: int
    equal: int
    ms_per_fault: float | None = None
    workers: int = 1
    clock: str = "cpu"
    note: str = ""
    axis: str = ""


@dataclass(frozen=True)
class Denominator:
    """What one forward pass of a network cost.

    Attributes:
        network: Which.
        origin: Of its weights and samples.
        accuracy: On the test split.
        inputs: Samples of a forward pass.
        a_ms, b_ms: Milliseconds of A and of B, medians over the run.
        a_name, b_name: How they are computed.
        a_batch, b_batch: Samples at once.
        a_wrong: Of how many samples A's outputs are not exact.
        int8: What became of the int8 operators.
    """

    network: str
    origin: str
    accuracy: float
    inputs: int
    a_ms: float
    a_name: str
    a_batch: int
    a_wrong: int
    b_ms: float
    b_name: str
    b_batch: int
    int8: str


@dataclass
class Results:
    """Everything of one run.

    Attributes:
        settings: What was asked for; a run goes on only with equal ones.
        about: Processor, versions, kernel.
        denominators: By network.
        rows: In the order they were measured.
        done: Parts that are finished.
        absent: Networks that could not be made, and why.
    """

    settings: dict[str, object]
    about: dict[str, str]
    denominators: list[Denominator] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    def finish(self, part: str, rows: Sequence[Row], *made: Denominator) -> None:
        """Add what a part found."""
        self.rows += rows
        self.done.append(part)
        self.denominators += made


def save(results: Results, path: Path) -> None:
    """Write a file; it is whole or the one before, whatever kills the process."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def load(path: Path) -> Results:
    """Read a file that `save` wrote.

    Raises:
        ValueError: It is no such file.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        raw["rows"] = [Row(**row) for row in raw["rows"]]
        raw["denominators"] = [Denominator(**x) for x in raw["denominators"]]
        return Results(**raw)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no results file of this benchmark: {error}") from error
