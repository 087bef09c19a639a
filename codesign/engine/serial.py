"""The engine of event-serial programs: exact, all trials and samples at once, item after item.

A trial computes only the samples that some effect's window holds; the others are golden. What is
computed stands in `codesign.events`; `codesign.engine.serial_items` does it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.effects import Effects
from codesign.engine.golden import check_golden
from codesign.engine.observables import Observables
from codesign.engine.serial_items import (
    EventRun,
    LaneRun,
    evaluate_events,
    golden_timeline,
    run_lanes,
)
from codesign.errors import DataError, nearest
from codesign.events import Action, EventProgram, steps_of_actions, stimuli
from codesign.samples import Samples

__all__ = [
    "EventRun",
    "SerialGolden",
    "activity",
    "count_saturations",
    "evaluate",
    "evaluate_events",
    "golden",
    "golden_timeline",
]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SerialGolden:
    """A program's run without effects.

    Attributes:
        program: What was computed.
        samples: On what.
        outputs: ``[samples, classes]`` int64 spikes of the output neurons.
        spikes: ``[samples, neurons]`` how often each neuron fired.
        sent: ``[samples]`` how many events the host sent.
        saturated: ``[neurons]`` how often a sum left the range of potentials, in all samples.
        updates: ``[samples]`` neuron updates of each inference: what windows count.
    """

    program: EventProgram
    samples: Samples
    outputs: Ints
    spikes: Ints
    sent: Ints
    saturated: Ints
    updates: Ints


def golden(program: EventProgram, samples: Samples) -> SerialGolden:
    """Run a program without effects.

    Raises:
        DataError: The samples do not fit the coding, or the host gives up on one.
    """
    played = stimuli(program, samples)
    run = run_lanes(program, played, Effects.none(1), np.arange(len(samples)))
    hangs = np.flatnonzero(run.hang >= 0)
    if len(hangs):
        raise DataError(
            f"{samples.name}: sample {hangs[0]} hangs without any fault: its host would wait more "
            f"than {program.cycles.time_out} cycles; give it a longer time-out, or let less spike"
        )
    spikes = np.stack([np.bincount(e[:, 1], minlength=program.neurons) for e in run.events])
    sent = np.array([(stimulus["kind"] == Action.scan).sum() for stimulus in played])
    return SerialGolden(program, samples, run.outputs, spikes, sent, run.saturated, run.updates)


def evaluate(
    program: EventProgram,
    samples: Samples,
    effects: Effects,
    *,
    golden: SerialGolden | None = None,
    watch: tuple[str, ...] = (),
) -> Observables:
    """Evaluate every trial on every sample that the program's coding plays.

    Args:
        program: What is computed.
        samples: As its coding plays them.
        effects: Of all trials; checked first.
        golden: This program's golden run on these samples, if there is one; then only samples that
            an effect's window holds are computed.
        watch: Layers of neurons whose spikes in each time step, and potentials at its end, are
            returned. A spike belongs to the step of the last event that the host had sent.

    Raises:
        FaultError: An effect cannot exist.
        DataError: The samples do not fit the coding, a watched layer is none of the program's
            neurons, or the golden run is another program's or of other samples.
    """
    if golden is not None:
        check_golden(golden, program, samples)
    chosen = {p.name: p.neurons for p in program.populations}
    for name in watch:
        if name not in chosen:
            raise DataError(f"cannot watch {name!r}: it has no neurons{nearest(name, chosen)}")
    trials, count = effects.trials, len(samples)
    computed = np.ones((trials, count), dtype=bool)
    if golden is not None and not watch:
        computed = _struck(effects, count)
    lanes = np.flatnonzero(computed)
    run = run_lanes(program, stimuli(program, samples), effects, lanes, trace=bool(watch))
    outputs = np.zeros((trials * count, len(program.outputs)), dtype=np.int64)
    if golden is not None:
        outputs[:] = np.tile(golden.outputs, (trials, 1))
    outputs[lanes] = run.outputs
    hang = np.zeros(trials * count, dtype=bool)
    hang[lanes] = run.hang >= 0
    watched: dict[str, Ints] = {}
    for name in watch:
        watched |= _watched(program, samples, run, name, chosen[name], trials)
    nothing = np.zeros((trials, count), dtype=bool)
    shape = (trials, count)
    return Observables(
        outputs.reshape(*shape, -1), nothing, nothing.copy(), hang.reshape(shape), watched
    )


def activity(golden: SerialGolden) -> dict[str, dict[str, float]]:
    """How busy a golden run was, as a mapping's costs ask for; see `codesign.engine.dense`.

    ``zeros`` are shares of (neuron, step)s without a spike, if no neuron fires twice in a step.
    """
    program, coding = golden.program, golden.program.coding
    spikes: dict[str, float] = {}
    sizes: dict[str, int] = {}
    if coding is not None:
        spikes[coding.name] = float(golden.sent.mean())
        sizes[coding.name] = len(coding.axons)
    for population in program.populations:
        fired = golden.spikes[:, list(population.neurons)].sum(axis=1)
        spikes[population.name] = float(fired.mean())
        sizes[population.name] = len(population.neurons)
    steps = coding.steps if coding is not None else 1
    zeros = {name: max(0.0, 1 - count / (sizes[name] * steps)) for name, count in spikes.items()}
    return {"spikes": spikes, "zeros": zeros}


def count_saturations(golden: SerialGolden) -> dict[str, int]:
    """How often golden sums left the range of potentials, by the layer whose weights were added."""
    return {
        p.weights: int(golden.saturated[list(p.neurons)].sum()) for p in golden.program.populations
    }


def _struck(effects: Effects, samples: int) -> NDArray[np.bool_]:
    """``[trials, samples]`` whether some effect acts there."""
    table, edges = effects.table, np.zeros((effects.trials, samples + 1), dtype=np.int64)
    first, last = (np.minimum(table["samples"][:, i], samples) for i in range(2))
    last = np.where(last < 0, samples, last)
    np.add.at(edges, (table["trial"], first), 1)
    np.add.at(edges, (table["trial"], last), -1)
    return np.asarray(edges.cumsum(axis=1)[:, :-1] > 0)


def _watched(
    program: EventProgram,
    samples: Samples,
    run: LaneRun,
    name: str,
    neurons: tuple[int, ...],
    trials: int,
) -> dict[str, Ints]:
    """Of a layer spikes ``[trials, samples, steps, neurons]``, and potentials when steps end."""
    steps_of = steps_of_actions(program, samples)
    steps = int(steps_of[0][-1]) + 1
    lanes, count = len(run.events), len(samples)
    loaded = program.layout.potential.signed(program.words)
    place = np.full(program.neurons, -1)
    place[list(neurons)] = np.arange(len(neurons))
    spikes = np.zeros((lanes, steps, len(neurons)), dtype=np.int64)
    potentials = np.zeros_like(spikes)
    for lane in range(lanes):
        step_of = steps_of[lane % count]
        to = place[run.events[lane][:, 1]]
        step = step_of[run.causes[lane]]
        np.add.at(spikes[lane], (step[to >= 0], to[to >= 0]), 1)
        ends = np.searchsorted(step_of, np.arange(steps), side="right") - 1
        held = np.where(ends[:, None] < 0, loaded, run.potentials[lane][np.maximum(ends, 0)])
        potentials[lane] = held[:, list(neurons)]
    shape = (trials, count, steps, len(neurons))
    return {name: spikes.reshape(shape), f"{name}.membrane": potentials.reshape(shape)}
