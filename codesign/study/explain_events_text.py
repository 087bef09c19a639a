"""An explanation of a fault on an event-serial chip, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from codesign.effects import At, Kind, Op
from codesign.study.explain_events import EventExplanation, EventStory, StoredBit
from codesign.study.explain_fault import window_text
from codesign.study.explain_text import (
    OUTCOMES,
    axis_text,
    corruption_text,
    ended_text,
    outputs_text,
)

__all__ = ["event_explanation_text"]

SHOWN = 5  # effects of one fault, and neurons of a list

_WHAT = {
    Kind.operand: "weights",
    Kind.state: "neuron words (potential)",
    Kind.parameter: "neuron words (parameters)",
    Kind.alias: "addresses",
}
_WHERE = {
    At.cell: "in their cells",
    At.read: "as they are read",
    At.write: "as they are written",
    At.weight: "on their way to the update",
    At.line: "of the spikes that leave",
}
_MASKED = {
    "never used": "the site holds nothing that is used from then on",
    "same value": "what is held there is what the fault makes of it already",
    "golden again": "no spike changes, and at the end all neuron words are golden",
    "no spike": "no spike changes; stored words stay different until the end",
    "equal count": "spikes change, but the output neurons fire as often",
}


def event_explanation_text(told: EventExplanation) -> str:
    """What `codesign explain` prints."""
    return "\n".join(_lines(told))


def _lines(told: EventExplanation) -> Iterator[str]:
    for story in told.stories:
        yield from _story(story)
    if told.faults > len(told.stories):
        yield f"and {told.faults - len(told.stories)} more faults, not told one by one"
    yield ""
    yield f"sample {told.sample} (label {told.label}) on {told.design}: {told.outcome}"
    yield f"  {OUTCOMES[told.outcome]}"
    before, after = told.predictions
    yield f"  golden outputs {outputs_text(told.golden)}, class {before}"
    if told.hang is None:
        yield f"  faulty outputs {outputs_text(told.faulty)}, class {after}"
    else:
        kind, index, number = told.hang
        yield (
            f"  the chip is never idle for so long: the host gives up its wait after "
            f"{told.time_out} cycles, at its action {number} ({kind} {index})"
        )
    yield from _spikes(told)
    if told.masked:
        yield f"  masked ({told.masked}): {_MASKED[told.masked]}"
    yield ""
    yield ended_text(told.ended)


def _story(story: EventStory) -> Iterator[str]:
    when = window_text(story.fault, "update")
    yield f"{story.fault.site} {story.fault.model.name}, {when}"
    if not story.struck:
        yield "  stored there: nothing that this network uses from then on"
    for bit in story.struck[:SHOWN]:
        yield from _effect(bit)
    if len(story.struck) > SHOWN:
        yield f"  and {len(story.struck) - SHOWN} more effects"


def _effect(bit: StoredBit) -> Iterator[str]:
    row = bit.row
    kind = Kind(int(row["kind"]))
    axes = [axis_text("neuron", *(int(i) for i in row["n"]))]
    if kind is Kind.operand:
        axes.insert(0, axis_text("axon", *(int(i) for i in row["k"])))
    what = f"{_WHAT[kind]} {_WHERE[At(int(row['at']))]}"
    yield f"  {what}, {', '.join(axes)}: {corruption_text(row)}{_items(row)}"
    count = len(bit.golden)
    if count == 1:
        word = "as loaded, " if kind is not Kind.operand else ""
        yield f"    {word}{int(bit.golden[0])} becomes {int(bit.faulty[0])}"
    elif count:
        yield f"    {int((bit.golden != bit.faulty).sum())} of {count} values change"


def _items(row: np.void) -> str:
    first, stop = (int(i) for i in row["steps"])
    begins = int(row["op"]) == Op.xor and int(row["at"]) == At.cell
    if (first, stop) == (0, -1) and not begins:
        return ""
    if begins or stop == first + 1:
        return f", in item {first}"
    return f", from item {first} on" if stop < 0 else f", in items {first} to {stop - 1}"


def _spikes(told: EventExplanation) -> Iterator[str]:
    seen = told.spikes
    text = f"  {seen.golden} spikes leave the golden chip, {seen.faulty} the faulty one"
    if seen.same == seen.golden == seen.faulty:
        yield f"{text}, all of them equal"
    elif seen.first is None:
        yield f"{text}; the first {seen.same} are equal, the others are lost"
    else:
        cycle, neuron = seen.first
        yield f"{text}; equal are {seen.same}, then neuron {neuron} fires in cycle {cycle}"
    if seen.words:
        more = f" and {len(seen.words) - SHOWN} more" if len(seen.words) > SHOWN else ""
        told_of = ", ".join(map(str, seen.words[:SHOWN]))
        yield f"  words that differ at the end: neurons {told_of}{more}"
