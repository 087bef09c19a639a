"""One fault, explained: what stood there, what it touches, what the outputs do, what masks it.

Everything is read from what every mapping answers: its footprint names the elements and consumers,
the program gives the values. So this works for any family whose programs are layered; a program
that can hang ends as such and is not looked into layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codesign.design import Design
from codesign.effects import Effects, Kind, box
from codesign.engine import dense
from codesign.engine.observables import Observables, Outcomes, outcomes
from codesign.errors import CodesignError, DataError
from codesign.faults import Fault, FaultModel, Faults, Window
from codesign.guards import Recompute, Silence
from codesign.program import Program
from codesign.samples import Samples
from codesign.study.explain_masking import Masked, changed_layers, run, why_masked
from codesign.study.explain_place import Values
from codesign.study.explain_values import touched
from codesign.study.explained import Ended, Explanation, LayerChange, Reached, Story, Struck

__all__ = ["DETAILED", "ended_of", "explain", "outcome_of"]

Ints: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = NDArray[np.void]

DETAILED = 3  # faults of a trial that are told one by one
MOST_EFFECTS = 1000  # of a trial whose values are looked up to say that none changes
SCANNED = 2000  # cycles before and after a flip that met nothing, in which another is tried


def explain(
    design: Design, faults: Faults, samples: Samples, sample: int | None = None
) -> Explanation:
    """Explain the faults of one trial on one sample of a run.

    Args:
        design: Is struck.
        faults: Of one trial.
        samples: Codes, as the design's network reads them; sample i is inference i.
        sample: Which to look at; None takes the first that ended worst.

    Raises:
        DataError: No such sample.
        FaultError: A fault or window that cannot exist.
        UnsupportedError: A fault that the family does not claim, or a program without layers.
    """
    program = design.layered("an explanation layer by layer")
    footprint = design.mapping.footprint(faults, len(samples))
    rows = footprint.effects.of_trial(0)
    golden = dense.golden(program, samples)
    faulty = dense.evaluate(program, samples, footprint.effects, golden=golden)
    classes = [outcome_of(faulty, golden.outputs, samples.labels, i) for i in range(len(samples))]
    ended = tuple(ended_of(classes))
    if sample is None:
        sample = ended[0].first
    if not 0 <= sample < len(samples):
        raise DataError(f"sample {sample}: the run has samples 0..{len(samples) - 1}")
    one, mine = _alone(samples, rows, sample)
    stored = _before_guards(program, one, rows[:0])
    stories = tuple(
        _story(design, faults, number, len(samples), sample, stored)
        for number in range(min(DETAILED, len(faults)))
    )
    looked = not faulty.hang[0, sample]
    same = bool((golden.outputs[sample] == faulty.outputs[0, sample]).all())
    return Explanation(
        design=design.name,
        design_steps=program.network.steps,
        layers=tuple(layer.name for layer in program.network),
        stories=stories,
        faults=len(faults),
        idle=int(footprint.idle[0]),
        sample=sample,
        label=int(samples.labels[sample]),
        golden=tuple(golden.outputs[sample].tolist()),
        faulty=tuple(faulty.outputs[0, sample].tolist()),
        outcome=classes[sample],
        changes=_changes(program, one, mine) if looked and len(mine) else (),
        masked=_masked(program, one, rows, mine, stored) if looked and same else (),
        ended=ended,
    )


def outcome_of(faulty: Observables, golden: Ints, labels: Ints, i: int) -> str:
    """How sample i ended, in the words of `codesign.engine.observables.Outcomes`."""
    at = slice(i, i + 1)
    alone = Observables(
        faulty.outputs[:1, at],
        faulty.corrected[:1, at],
        faulty.detected[:1, at],
        faulty.hang[:1, at],
    )
    counted = outcomes(alone, golden[at], labels[at])
    names = [f.name for f in fields(Outcomes) if f.name != "correct"]
    return next(name for name in names if getattr(counted, name)[0])


def ended_of(classes: Sequence[str]) -> Iterator[Ended]:
    """The outcomes that were met, the worst first."""
    for name in ("hang", "sdc", "detected", "tolerated", "corrected", "masked"):
        which = [i for i, outcome in enumerate(classes) if outcome == name]
        if which:
            yield Ended(name, len(which), which[0])


def _alone(samples: Samples, rows: Rows, sample: int) -> tuple[Samples, Rows]:
    """One sample of the run, and the effects that act on it, their windows moved with it."""
    one = replace(
        samples,
        inputs=samples.inputs[sample : sample + 1],
        labels=samples.labels[sample : sample + 1],
    )
    starts, stops = rows["samples"].T
    mine = rows[(starts <= sample) & ((stops < 0) | (sample < stops))].copy()
    mine["samples"] = (0, -1)
    return one, mine


def _before_guards(program: Program, one: Samples, none: Rows) -> Values:
    """Golden values of every layer as they stand before its own activation guards."""
    _, values = run(program, one, none)
    for guard in program.guards:
        if isinstance(guard, Recompute | Silence) or guard.place != "activation":
            continue
        kept = tuple(
            g
            for g in program.guards
            if isinstance(g, Recompute | Silence)
            or (g.layer, g.place) != (guard.layer, guard.place)
        )
        values[guard.layer] = run(replace(program, guards=kept), one, none)[1][guard.layer]
    return values


def _story(
    design: Design, faults: Faults, number: int, inferences: int, sample: int, stored: Values
) -> Story:
    """One fault as if it were alone."""
    fault, program = faults.fault(number, design.accelerator), design.layered()
    rows = _rows(design, [fault], inferences).of_trial(0)
    acts = (rows["samples"][:, 0] <= sample) & (
        (rows["samples"][:, 1] < 0) | (sample < rows["samples"][:, 1])
    )
    order = np.argsort(rows["layer"], kind="stable")
    struck = tuple(
        Struck(rows[i], touched(rows[i], program, stored) if acts[i] else None) for i in order
    )
    meets = None
    if fault.model is FaultModel.flip and not acts.any():
        meets = _meets(design, fault, inferences, sample)
    reached = tuple(_reached(program, rows))
    return Story(fault, struck, reached, _at_work(design, fault), meets)


def _at_work(design: Design, fault: Fault) -> tuple[tuple[str, int], ...]:
    """(layer, pass) of the assignments that hold the instance in the cycle the fault begins."""
    if fault.window.first == (0, 0) and fault.model is not FaultModel.flip:
        return ()
    cycle = fault.window.first[1]
    found = [
        (a.layer, a.number)
        for a in design.mapping.assignments()
        if a.unit == fault.site.unit
        and a.first_cycle <= cycle < a.last_cycle
        and all(
            low <= i < high
            for (low, high), i in zip(a.instances, fault.site.instance, strict=False)
        )
    ]
    return tuple(dict.fromkeys(found))


def _rows(design: Design, faults: list[Fault], inferences: int) -> Effects:
    """Effects of single faults, one a trial."""
    table = Faults.of([[fault] for fault in faults], design.accelerator)
    return design.mapping.footprint(table, inferences).effects


def _reached(program: Program, rows: Rows) -> Iterator[Reached]:
    network = program.network
    for index in np.unique(rows["layer"]).tolist():
        layer = network.layers[index].name
        mine = rows[rows["layer"] == index]
        positions, channels = network.grid(layer)
        hit = np.zeros((positions, channels), dtype=bool)
        readers = list(network.readers(layer))
        for row in mine:
            hit[np.ix_(box(row["m"], positions), box(row["n"], channels))] = True
        stored = mine[mine["kind"] == Kind.activation]
        if len(stored) == len(mine) and (stored["reader"] >= 0).all():
            readers = [network.layers[int(i)].name for i in np.unique(stored["reader"])]
        yield Reached(layer, int(hit.sum()), hit.size, tuple(readers))


def _meets(
    design: Design, fault: Fault, inferences: int, sample: int
) -> tuple[tuple[int, int], ...]:
    """Ranges of cycles around a flip's in which a flip at its site acts on the sample."""
    cycles = max((a.last_cycle for a in design.mapping.assignments()), default=0)
    inference, at = fault.window.first
    tried = range(max(0, at - SCANNED), min(cycles, at + SCANNED + 1))
    windows = [replace(fault, window=Window((inference, cycle))) for cycle in tried]
    try:
        effects = _rows(design, windows, inferences)
    except CodesignError:
        return ()
    start, stop = effects.table["samples"].T
    acts = (start <= sample) & ((stop < 0) | (sample < stop))
    found = np.unique(effects.table["trial"][acts]) + tried.start
    parts = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1) if len(found) else []
    return tuple((int(part[0]), int(part[-1]) + 1) for part in parts)


def _changes(program: Program, one: Samples, rows: Rows) -> tuple[LayerChange, ...]:
    """Layers that differ, compared value by value."""
    _, was = run(program, one, rows[:0])
    _, now = run(program, one, rows)
    found = []
    for name in changed_layers(program.network, was, now):
        differs = (was[name] != now[name]).reshape(program.network.steps, -1)
        steps = np.flatnonzero(differs.any(axis=1))
        found.append(
            LayerChange(
                name,
                int(differs.any(axis=0).sum()),
                differs.shape[1],
                int(np.abs(was[name] - now[name]).max()),
                int(steps[0]),
                int(steps[-1]),
            )
        )
    return tuple(found)


def _masked(
    program: Program, one: Samples, rows: Rows, mine: Rows, stored: Values
) -> tuple[Masked, ...]:
    if not len(rows):
        what = "the site holds nothing that is used from then on"
        return (Masked("never used", "", -1, what),)
    if not len(mine):
        starts, stops = rows["samples"].T
        last = "the last" if (stops < 0).any() else str(int(stops.max()) - 1)
        what = f"it acts on inferences {int(starts.min())} to {last} only"
        return (Masked("other inference", "", -1, what),)
    if program.executions > 1 and (mine["execution"] >= 0).all():
        mine = mine.copy()
        struck = np.unique(mine["execution"])
        if len(struck) * 2 < program.executions:
            what = f"execution {', '.join(map(str, struck))} of {program.executions} is outvoted"
            return (Masked("guard", "", -1, what),)
    if len(mine) > MOST_EFFECTS:
        return why_masked(program, one, mine, None)
    return why_masked(program, one, mine, [touched(row, program, stored) for row in mine])
