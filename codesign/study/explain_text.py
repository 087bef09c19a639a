"""An explanation in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from codesign.effects import At, Op
from codesign.faults import FaultModel
from codesign.study.explain_fault import window_text
from codesign.study.explain_place import Touched
from codesign.study.explained import Ended, Explanation, LayerChange, Story, Struck

__all__ = [
    "OUTCOMES",
    "axis_text",
    "corruption_text",
    "ended_text",
    "explanation_text",
    "outputs_text",
]

SHOWN_EFFECTS = 5  # of one fault
SHOWN_OUTPUTS = 12
SHOWN_RANGES = 6
WIDEST_PATTERN = 16  # bits that are printed one by one

_PLACES = {
    At.weight: "weights as they are read",
    At.input: "inputs as they are read",
    At.product: "products",
    At.load: "sums as they begin",
    At.every: "running sums",
    At.out: "sums on their way out of the array",
    At.total: "totals",
    At.stored: "stored values",
    At.bias: "biases",
    At.threshold: "thresholds",
    At.cell: "membranes in their cells",
    At.read: "membranes as a step begins",
    At.write: "membranes as a step ends",
    At.line: "spikes",
}
OUTCOMES = {
    "masked": "the outputs are golden",
    "tolerated": "the outputs differ, the prediction is the same",
    "sdc": "silent data corruption: the prediction changes and nothing says so",
    "corrected": "a guard corrected it and the prediction is golden",
    "detected": "a guard saw what it could not correct",
    "hang": "no output in time",
}


def explanation_text(told: Explanation) -> str:
    """What `codesign explain` and `codesign replay` print."""
    return "\n".join(_lines(told))


def _lines(told: Explanation) -> Iterator[str]:
    for story in told.stories:
        yield from _story(told, story)
    if told.faults > len(told.stories):
        yield f"and {told.faults - len(told.stories)} more faults, not told one by one"
    if told.faults > 1:
        yield f"of all {told.faults} faults {told.idle} meet nothing in their window"
    yield ""
    yield f"sample {told.sample} (label {told.label}) on {told.design}: {told.outcome}"
    yield f"  {OUTCOMES[told.outcome]}"
    before, after = told.predictions
    yield f"  golden outputs {outputs_text(told.golden)}, class {before}"
    yield f"  faulty outputs {outputs_text(told.faulty)}, class {after}"
    yield from _way(told)
    yield ""
    yield ended_text(told.ended)


def _story(told: Explanation, story: Story) -> Iterator[str]:
    fault = story.fault
    yield f"{fault.site} {fault.model.name}, {window_text(fault)}"
    for layer, number in story.at_work:
        yield f"  {fault.site.unit} is at work on {layer} then, pass {number}"
    if not story.struck:
        yield "  stored there: nothing that this network uses from then on"
    for one in story.struck[:SHOWN_EFFECTS]:
        yield from _effect(told, one, fault.model)
    if len(story.struck) > SHOWN_EFFECTS:
        yield f"  and {len(story.struck) - SHOWN_EFFECTS} more effects"
    for reached in story.reached:
        readers = ", ".join(reached.readers) or "the output"
        yield (
            f"  touches {reached.outputs} of {reached.of} elements of {reached.layer}, "
            f"read by {readers}"
        )
    if story.meets is not None:
        yield f"  a flip here acts on this sample in {_ranges(story.meets)}"


def _effect(told: Explanation, one: Struck, model: FaultModel) -> Iterator[str]:
    row, layer = one.row, told.layers[int(one.row["layer"])]
    yield f"  {layer}: {_place(row)}, {_box(row)}: {corruption_text(row)}{_when(row, told)}"
    if one.touched is None:
        yield "    not on this sample"
    else:
        yield from _values(one.touched, row)


def _values(found: Touched, row: np.void) -> Iterator[str]:
    for name, golden, faulty in zip(found.names, found.golden, found.faulty, strict=False):
        yield f"    {name} = {_number(int(golden), row)} becomes {int(faulty)}"
    count = len(found.golden)
    if count > 1 or (count and not found.complete):
        partly = "" if found.complete else ", as far as they were looked at"
        yield f"    {found.changed} of {count} values change{partly}"
    elif count and not found.changed:
        yield "    it is so already"


def _number(value: int, row: np.void) -> str:
    """A value, with its bits where a bit is struck."""
    bits = int(row["bits"])
    if int(row["op"]) not in (Op.xor, Op.stuck):
        return str(value)
    pattern = value & ((1 << bits) - 1)
    struck = [i for i in range(bits) if int(row["mask"]) >> i & 1]
    levels = ", ".join(f"bit {i} is {pattern >> i & 1}" for i in struck[:3])
    if bits <= WIDEST_PATTERN:
        return f"{value} ({pattern:0{bits}b}, {levels})"
    return f"{value} ({levels})"


def _place(row: np.void) -> str:
    at = At(int(row["at"]))
    if at in _PLACES:
        told = _PLACES[at]
        return f"{told} of segment {row['segment']}" if _in_segment(row, at) else told
    if at is At.after:
        return f"the sum after {row['after']} terms of segment {row['segment']}"
    return f"the {at.name} operation"


def _in_segment(row: np.void, at: At) -> bool:
    return at in (At.load, At.every, At.out, At.total) and int(row["segment"]) >= 0


def _box(row: np.void) -> str:
    terms = int(row["at"]) in (At.weight, At.input, At.product)
    axes = [("position", row["m"]), ("channel", row["n"])]
    if terms:
        axes.insert(1, ("term", row["k"]))
    return ", ".join(axis_text(name, *(int(i) for i in selector)) for name, selector in axes)


def axis_text(name: str, start: int, stop: int, step: int) -> str:
    """One axis of a box.

    >>> axis_text("channel", 0, -1, 1), axis_text("term", 3, 4, 1), axis_text("term", 0, 12, 3)
    ('all channels', 'term 3', 'terms 0 to 9 in steps of 3')
    """
    if stop < 0:
        every = f"all {name}s" if step == 1 else f"every {step}th {name}"
        return every if start == 0 else f"{every} from {start}"
    last = range(start, stop, step)[-1]
    if last == start:
        return f"{name} {start}"
    return f"{name}s {start} to {last}" + (f" in steps of {step}" if step > 1 else "")


def corruption_text(row: np.void) -> str:
    """What an effect does to a value."""
    op, mask, value = Op(int(row["op"])), int(row["mask"]), int(row["value"])
    struck = [i for i in range(int(row["bits"])) if mask >> i & 1]
    bits = f"bit{'s' if len(struck) > 1 else ''} {', '.join(map(str, struck))}"
    levels = "".join(str(value >> i & 1) for i in struck)
    return {
        Op.xor: f"{bits} of {row['bits']} flipped",
        Op.stuck: f"{bits} of {row['bits']} held at {levels}",
        Op.replace: f"replaced by {value}",
        Op.add: f"{value:+} added",
        Op.scale: f"multiplied by {value}",
        Op.skip: "not done",
        Op.always: "always done",
    }[op]


def _when(row: np.void, told: Explanation) -> str:
    first, stop = (int(i) for i in row["steps"])
    if told.design_steps == 1 or (first, stop) == (0, -1):
        return ""
    last = told.design_steps - 1 if stop < 0 else stop - 1
    return f", in step {first}" if last == first else f", in steps {first} to {last}"


def _way(told: Explanation) -> Iterator[str]:
    """Layer by layer, and where it ended."""
    for change in told.changes:
        yield f"  {change.layer}: {_change(change, told.design_steps)}"
    for masked in told.masked:
        yield f"  masked ({masked.by}): {masked.text}"


def _change(change: LayerChange, steps: int) -> str:
    text = f"{change.changed} of {change.elements} elements differ, by at most {change.largest}"
    if steps == 1:
        return text
    first, last = change.first_step, change.last_step
    text += f", in step {first}" if first == last else f", in steps {first} to {last}"
    return text + (f" of 0 to {steps - 1}" if last == steps - 1 else ", then golden again")


def ended_text(ended: Sequence[Ended]) -> str:
    """How all samples of a run ended."""
    return f"all {sum(e.samples for e in ended)} samples: " + ", ".join(
        f"{e.outcome} {e.samples} (first: sample {e.first})" for e in ended
    )


def outputs_text(values: Sequence[int]) -> str:
    """The first outputs of a sample."""
    more = f", … {len(values) - SHOWN_OUTPUTS} more" if len(values) > SHOWN_OUTPUTS else ""
    return f"[{', '.join(map(str, values[:SHOWN_OUTPUTS]))}{more}]"


def _ranges(ranges: Sequence[tuple[int, int]]) -> str:
    """Cycles, half open as they are, written with their last.

    >>> _ranges([(3, 4), (7, 10)]), _ranges([])
    ('cycles 3, 7 to 9', 'no cycle near this one')
    """
    if not ranges:
        return "no cycle near this one"
    told = [str(a) if b - a == 1 else f"{a} to {b - 1}" for a, b in ranges[:SHOWN_RANGES]]
    more = f" and {len(ranges) - SHOWN_RANGES} more ranges" if len(ranges) > SHOWN_RANGES else ""
    return f"cycles {', '.join(told)}{more}"
