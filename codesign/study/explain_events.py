"""One fault on a chip that works off events: what it strikes, which spikes change, and hangs.

`codesign.study.explain` does the same for layered programs. Here time is counted in items (events,
leaks and samplings as the chip does them), effects name neurons and axons, and what is compared is
the stream of spikes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codesign.design import Design
from codesign.effects import At, Effects, Kind, Op, box, corrupt
from codesign.engine.observables import Observables, predictions
from codesign.engine.serial import evaluate_events
from codesign.errors import DataError
from codesign.events import Action, EventProgram, stimuli
from codesign.faults import Fault, Faults
from codesign.formats import NumberFormat
from codesign.samples import Samples
from codesign.study.explain import DETAILED, ended_of, outcome_of
from codesign.study.explained import Ended

__all__ = ["EventExplanation", "EventStory", "Spikes", "StoredBit", "explain_events"]

Ints = NDArray[np.int64]
MaskedBy = Literal["", "never used", "same value", "golden again", "no spike", "equal count"]


@dataclass(frozen=True, eq=False)
class StoredBit:
    """One effect, and what stood there where that is known.

    Attributes:
        row: Of `codesign.effects.EFFECT`: n are neurons, k axons, steps items.
        golden: Weight codes or words as loaded; empty where the value depends on what was done
            before.
        faulty: The same, corrupted.
    """

    row: np.void
    golden: Ints
    faulty: Ints


@dataclass(frozen=True, eq=False)
class EventStory:
    """One fault, alone, with its effects."""

    fault: Fault
    struck: tuple[StoredBit, ...]


@dataclass(frozen=True)
class Spikes:
    """Two streams of spikes, compared.

    Attributes:
        golden, faulty: How many left the chip.
        same: How many at the beginning are equal, cycle and neuron.
        first: (cycle, neuron) of the first that differs in the faulty stream, or None.
        words: Neurons whose stored words differ at the end.
    """

    golden: int
    faulty: int
    same: int
    first: tuple[int, int] | None
    words: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class EventExplanation:
    """What the faults of one trial do; see `codesign.study.explained.Explanation`.

    Attributes:
        design, stories, faults, idle, sample, label, golden, faulty, outcome, ended: As there.
        spikes: The shown sample's.
        hang: (kind, index, number) of the host's action whose wait was too long, or None.
        time_out: Cycles that a host waits at most.
        masked: What ended the fault, if the outputs are golden.
    """

    design: str
    stories: tuple[EventStory, ...]
    faults: int
    idle: int
    sample: int
    label: int
    golden: tuple[int, ...]
    faulty: tuple[int, ...]
    outcome: str
    ended: tuple[Ended, ...]
    spikes: Spikes
    hang: tuple[str, int, int] | None
    time_out: int
    masked: MaskedBy

    @property
    def predictions(self) -> tuple[int, int]:
        """Golden and faulty class; of a hang that of no output."""
        return int(predictions(np.array(self.golden))), int(predictions(np.array(self.faulty)))


def explain_events(
    design: Design, program: EventProgram, faults: Faults, samples: Samples, sample: int | None
) -> EventExplanation:
    """Explain the faults of one trial on one sample of a run.

    Args:
        design: Is struck.
        program: Its program.
        faults: Of one trial.
        samples: Spikes, as the program's coding plays them; sample i is inference i.
        sample: Which to look at; None takes the first that ended worst.

    Raises:
        DataError: No such sample.
        FaultError: A fault or window that cannot exist.
        UnsupportedError: A fault that the family does not claim.
    """
    footprint = design.mapping.footprint(faults, len(samples))
    played = stimuli(program, samples)
    was = evaluate_events(program, played, Effects.none(1))
    now = evaluate_events(program, played, footprint.effects)
    calm = np.zeros(now.hang.shape, dtype=bool)
    seen = Observables(now.outputs, calm, calm, now.hang >= 0)
    classes = [outcome_of(seen, was.outputs[0], samples.labels, i) for i in range(len(samples))]
    ended = tuple(ended_of(classes))
    if sample is None:
        sample = ended[0].first
    if not 0 <= sample < len(samples):
        raise DataError(f"sample {sample}: the run has samples 0..{len(samples) - 1}")
    stories = tuple(
        _story(design, program, faults.fault(i, design.accelerator), len(samples))
        for i in range(min(DETAILED, len(faults)))
    )
    different = np.flatnonzero(was.words[0, sample] != now.words[0, sample])
    words = tuple(int(n) for n in different)
    spikes = _compare(was.events[sample], now.events[sample], words)
    waited = int(now.hang[0, sample])
    action = None if waited < 0 else played[sample][waited]
    return EventExplanation(
        design=design.name,
        stories=stories,
        faults=len(faults),
        idle=int(footprint.idle[0]),
        sample=sample,
        label=int(samples.labels[sample]),
        golden=tuple(was.outputs[0, sample].tolist()),
        faulty=tuple(now.outputs[0, sample].tolist()),
        outcome=classes[sample],
        ended=ended,
        spikes=spikes,
        hang=None
        if action is None
        else (Action(int(action["kind"])).name, int(action["index"]), waited),
        time_out=program.cycles.time_out,
        masked=_masked(classes[sample], stories, spikes),
    )


def _story(design: Design, program: EventProgram, fault: Fault, inferences: int) -> EventStory:
    alone = Faults.of([[fault]], design.accelerator)
    rows = design.mapping.footprint(alone, inferences).effects.of_trial(0)
    return EventStory(fault, tuple(_stored(row, program) for row in rows))


def _stored(row: np.void, program: EventProgram) -> StoredBit:
    """The weights, or the words as they are loaded: later their potentials have changed."""
    neurons = np.array(box(row["n"], program.neurons))
    golden = np.zeros(0, dtype=np.int64)
    kind, at = Kind(int(row["kind"])), At(int(row["at"]))
    layout = program.layout
    fixed = layout.threshold.mask | layout.leak.mask | layout.disable.mask
    if kind is Kind.operand:
        axons = np.array(box(row["k"], program.axons))
        golden = program.weights[np.ix_(axons, neurons)].reshape(-1)
        if at is not At.weight and int(row["bits"]) < program.weight_bits:
            golden = golden[:0]
    elif kind is Kind.parameter or (kind is Kind.state and int(row["steps"][0]) == 0):
        golden = program.words[neurons]
        if kind is Kind.parameter and int(row["mask"]) & ~fixed:
            golden = golden[:0]
    if not len(golden) or int(row["op"]) not in (Op.xor, Op.stuck):
        return StoredBit(row, golden[:0], golden[:0])
    form = NumberFormat(int(row["bits"]), bool(row["signed"]))
    held = form.decode(golden & ((1 << form.bits) - 1))
    return StoredBit(row, held, corrupt(held, row))


def _compare(was: Ints, now: Ints, words: tuple[int, ...]) -> Spikes:
    """Where two streams ``[events, 2]`` part."""
    common = min(len(was), len(now))
    equal = (was[:common] == now[:common]).all(axis=1)
    same = common if equal.all() else int(equal.argmin())
    first = None
    if same < len(now):
        first = (int(now[same, 0]), int(now[same, 1]))
    return Spikes(len(was), len(now), same, first, words)


def _masked(outcome: str, stories: tuple[EventStory, ...], spikes: Spikes) -> MaskedBy:
    if outcome != "masked":
        return ""
    struck = [bit for story in stories for bit in story.struck]
    if not struck:
        return "never used"
    permanent = all(int(bit.row["op"]) == Op.stuck for bit in struck)
    if permanent and all(
        len(bit.golden) and (bit.golden == bit.faulty).all() and bit.row["kind"] != Kind.state
        for bit in struck
    ):
        return "same value"
    if not spikes.same == spikes.golden == spikes.faulty:
        return "equal count"
    return "no spike" if spikes.words else "golden again"
