"""One fault as people write it: a site, a window, a model.

```
array[3,5].weight_register:6                          stuck at 1, for good
array[3,5].weight_register:6 stuck0@cycle=120..130    from cycle 120 on, until before cycle 130
array[3,5].weight_register:6@cycle=120                a flip in cycle 120 of the shown inference
weight_sram.words@12:3@inference=2,cycle=7 flip       word 12, bit 3, in inference 2
neuron[0,3].fire skip                                 an operation; also always
array[3,5] dead                                       a whole instance
```
"""

from __future__ import annotations

import re

from codesign.accelerator import AcceleratorGraph, Component
from codesign.errors import FaultError, nearest
from codesign.faults import Fault, FaultModel, Faults, FaultSite, Window

__all__ = ["parse_fault", "window_text"]

_FORM = re.compile(
    r"(?P<unit>[A-Za-z]\w*)(?:\[(?P<instance>\d+(?:,\d+)*)\])?"
    r"(?:\.(?P<component>[A-Za-z]\w*|\*))?(?:@(?P<word>\d+))?(?::(?P<bit>\d+))?"
    r"(?P<rest>(?:[@ ].*)?)"
)
_WINDOW = re.compile(r"(?:(cycle)=(\d+)(?:\.\.(\d+))?|(inference|execution)=(\d+))")
_EXPECTED = "expected unit[row,col].component@word:bit, then @cycle=N or @cycle=N..M and a model"


def parse_fault(text: str, accelerator: AcceleratorGraph, inference: int = 0) -> Fault:
    """Read one fault, checked against the chip that is to have it.

    Args:
        text: As in the module's examples. Without a model it is a flip if a cycle is given, else
            stuck at 1; an operation is skipped, an instance without a component is dead.
        accelerator: The chip.
        inference: Which inference a cycle is counted in, if the text does not say.

    Raises:
        FaultError: Not of that form, or no such unit, instance, component, word, bit or model;
            the nearest right name is offered.
    """
    found = _FORM.fullmatch(text.strip())
    if not found:
        raise FaultError(f"{text!r} is no fault; {_EXPECTED}")
    unit = accelerator.unit(found["unit"])
    name = found["component"] or "*"
    part = None if name == "*" else unit.component(name)
    model, times = _rest(text, found["rest"])
    site = FaultSite(
        unit.name,
        tuple(int(i) for i in found["instance"].split(",")) if found["instance"] else (),
        name,
        int(found["word"] or 0),
        _bit(text, found["bit"], part, accelerator),
    )
    model = _usual(part, times) if model is None else model
    if model is FaultModel.flip and times.get("cycle", (0, None))[1] is not None:
        raise FaultError(f"{text!r}: a flip strikes in one cycle; stuck0 and stuck1 last")
    fault = Fault(site, model, _window(model, times, inference))
    Faults.of([[fault]], accelerator)
    return fault


def window_text(fault: Fault, clock: str = "cycle") -> str:
    """When a fault is there, in words; ``clock`` is what time is counted in.

    >>> site = FaultSite("array", (3, 5), "product", 0, 6)
    >>> window_text(Fault(site, FaultModel.stuck1, Window((2, 7), (2, 9))))
    'from inference 2, cycle 7, until before inference 2, cycle 9'
    """
    window = fault.window
    lasts = fault.model is not FaultModel.flip
    if lasts and window.first == (0, 0) and window.last is None:
        when = "for good"
    else:
        inference, moment = window.first
        when = f"{'from' if lasts else 'in'} inference {inference}, {clock} {moment}"
        if window.last is not None:
            when += f", until before inference {window.last[0]}, {clock} {window.last[1]}"
    return when + (f", in execution {window.execution}" if window.execution >= 0 else "")


def _rest(text: str, rest: str) -> tuple[FaultModel | None, dict[str, tuple[int, int | None]]]:
    """The model, if one is named, and (start, stop) of what the window says."""
    model: FaultModel | None = None
    times: dict[str, tuple[int, int | None]] = {}
    for word in re.split(r"[@, ]+", rest.strip("@ ")):
        found = _WINDOW.fullmatch(word)
        if found:
            stop = None if found[3] is None else int(found[3])
            times[found[1] or found[4]] = (int(found[2] or found[5]), stop)
        elif word in FaultModel.__members__:
            if model is not None:
                raise FaultError(f"{text!r} names two models, {model.name} and {word}")
            model = FaultModel[word]
        elif "=" in word:
            known, name = ("cycle", "inference", "execution"), word.partition("=")[0]
            raise FaultError(
                f"{text!r}: {word!r} is no time; expected cycle=N, cycle=N..M, inference=N or "
                f"execution=N, counted from 0{'' if name in known else nearest(name, known)}"
            )
        elif word:
            raise FaultError(
                f"{text!r}: unknown fault model {word!r}{nearest(word, FaultModel.__members__)}"
            )
    return model, times


def _bit(text: str, bit: str | None, part: Component | None, chip: AcceleratorGraph) -> int:
    if bit is not None:
        return int(bit)
    if part is None or part.bits == 1:
        return 0
    unit = next(u for u, component in chip.components() if component is part)
    raise FaultError(
        f"{text!r} names no bit: {unit.name}.{part.name} has bits 0..{part.bits - 1}; {_EXPECTED}"
    )


def _usual(part: Component | None, times: dict[str, tuple[int, int | None]]) -> FaultModel:
    if part is None:
        return FaultModel.dead
    if part.role == "operation":
        return FaultModel.skip
    return FaultModel.flip if "cycle" in times else FaultModel.stuck1


def _window(model: FaultModel, times: dict[str, tuple[int, int | None]], inference: int) -> Window:
    """A flip begins in its cycle; whatever else lasts from its first cycle to before its last."""
    timed = "cycle" in times or model is FaultModel.flip
    number = times.get("inference", (inference if timed else 0, None))[0]
    start, stop = times.get("cycle", (0, None))
    execution = times.get("execution", (-1, None))[0]
    return Window((number, start), None if stop is None else (number, stop), execution)
