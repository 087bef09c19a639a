"""Find the time loop in a recorded run, and write the network down once.

A spiking module that was called T times makes T steps. The calls of one step recur in the same
order with the same period; what stands before them does not depend on time, what stands behind them
collects the outputs. A value of an earlier step among the arguments of a call is a delayed edge;
before the first step it must be zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from snntorch import SpikingNeuron
from torch import Tensor

from codesign.errors import LoweringError
from codesign.learning.tracing import Call, Recording, Ref, refs_in

__all__ = ["INPUT", "Folded", "fold", "require_equal"]

INPUT = -1  # the number by which folded calls name the network's input

COLLECTORS = {"stack", "cat", "concat", "sum", "mean", "add", "add_", "div", "mul", "unsqueeze"}
SELECTORS = {"__getitem__", "select"}


@dataclass(frozen=True, eq=False)
class Folded:
    """A network written down once.

    Attributes:
        calls: Each stands for its calls at all steps. A `Ref` names a result by its number, which
            is that of the last step, or the input by `INPUT`.
        output: The value that the module's output is made of.
        steps: Time steps.
        shapes: Shape of every value without samples, the input's included.
        every: The output's value at each step, ``[samples, ...]``.
    """

    calls: tuple[Call, ...]
    output: Ref
    steps: int
    shapes: dict[int, tuple[int, ...]]
    every: tuple[Tensor, ...]


def fold(recording: Recording, *, timed: bool) -> Folded:
    """Fold a recording along time.

    Args:
        recording: Of one forward, or of one forward for each step.
        timed: Whether axis 0 of the one input is time.

    Raises:
        LoweringError: The steps of the time loop differ, or the output is not made of one layer's
            output at every step.
    """
    loop = _Loop(recording, timed)
    failures = []
    for begin in loop.begins():
        try:
            return _Folding(recording, loop, begin).result()
        except LoweringError as error:
            failures.append(error)
    raise failures[0] if failures else loop.irregular()


def require_equal(first: Folded, second: Folded) -> None:
    """Refuse a module that did something else on other samples, steps or batch sizes.

    Raises:
        LoweringError: Where the two first differ.
    """
    for one, other in zip(_plain(first), _plain(second), strict=False):
        if one[1:] != other[1:]:
            raise LoweringError(
                f"{one[0]} was not the same in two runs on different samples: the module's forward "
                "depends on the data or on the batch size; an integer program cannot, so take that "
                "out of the forward"
            )
    if len(first.calls) != len(second.calls):
        raise LoweringError(
            f"two runs on different samples made {len(first.calls)} and {len(second.calls)} "
            "different calls: the module's forward depends on the data; take that out of it"
        )


class _Loop:
    """Steps and period of the calls of a recording."""

    def __init__(self, recording: Recording, timed: bool) -> None:
        self.calls = recording.calls
        self.keys = [(call.name, call.where, id(call.module)) for call in self.calls]
        self.timed = timed
        self.by_hand = len(recording.starts) > 1  # one forward for each step
        self.slices = _slices(recording) if timed and not self.by_hand else {}
        self.spiking = [k for k, c in enumerate(self.calls) if isinstance(c.module, SpikingNeuron)]
        if self.by_hand:
            self.steps = len(recording.starts)
            self.period = len(self.calls) // self.steps
        else:
            self.steps, self.period = self._measure()

    def _measure(self) -> tuple[int, int]:
        places: dict[int, list[int]] = {}
        for k in self.spiking:
            places.setdefault(id(self.calls[k].module), []).append(k)
        if not places:
            return 1, len(self.calls)
        first, *others = places.values()
        for other in others:
            if len(other) != len(first):
                raise LoweringError(
                    f"{self.calls[other[0]].title} was called {len(other)} times and "
                    f"{self.calls[first[0]].title} {len(first)} times: every spiking layer is "
                    "called once in each time step"
                )
        return len(first), first[1] - first[0] if len(first) > 1 else len(self.calls)

    def begins(self) -> Iterator[int]:
        """Where a loop of equal periods may begin, nearest to the first spiking call first."""
        if self.by_hand or self.steps == 1:
            if len(self.keys) == self.steps * self.period and self._recurs(0):
                yield 0
            return
        first = self.spiking[0]
        for begin in range(first, max(first - self.period, -1), -1):
            if begin + self.steps * self.period <= len(self.keys) and self._recurs(begin):
                yield begin

    def _recurs(self, begin: int) -> bool:
        stop = begin + (self.steps - 1) * self.period
        return all(self.keys[k] == self.keys[k + self.period] for k in range(begin, stop))

    def irregular(self) -> LoweringError:
        """The error for a loop whose steps differ."""
        where = self.calls[self.spiking[0]].title if self.spiking else "the module"
        return LoweringError(
            f"{where} was called {self.steps} times, but the calls between differ from step to "
            "step: a time loop does the same in each step"
        )


class _Folding:
    """One attempt to fold, with the loop beginning at a given call."""

    def __init__(self, recording: Recording, loop: _Loop, begin: int) -> None:
        self.recording, self.loop, self.begin = recording, loop, begin
        self.steps, self.period = loop.steps, loop.period
        self.producer = {
            value: (k, i)
            for k, call in enumerate(recording.calls)
            for i, value in enumerate(call.results)
        }

    def result(self) -> Folded:
        """The calls that the output depends on, each folded."""
        numbers = self._output()
        folded: dict[int, Call] = {}
        waiting = [numbers[-1]]
        while waiting:
            value = waiting.pop()
            if value == INPUT or self.producer[value][0] in folded:
                continue
            k = self.producer[value][0]
            folded[k] = self._folded(k)
            waiting += [ref.value for ref in refs_in((folded[k].args, folded[k].kwargs))]
        calls = tuple(folded[k] for k in sorted(folded))
        values = self.recording.values
        shapes = {v: tuple(values[v].shape[1:]) for call in calls for v in call.results}
        given = tuple(values[self.recording.inputs[0]].shape)
        shapes[INPUT] = given[2:] if self.loop.timed and not self.loop.by_hand else given[1:]
        return Folded(
            calls, Ref(numbers[-1]), self.steps, shapes, tuple(values[v] for v in numbers)
        )

    def place(self, k: int) -> tuple[int, int] | None:
        """(step, position in the period) of a call in the loop."""
        inside = 0 <= k - self.begin < self.steps * self.period
        return divmod(k - self.begin, self.period) if inside else None

    # -- arguments

    def _folded(self, k: int) -> Call:
        """A call of the last step with its arguments in folded numbers, the same at all steps."""
        call = self.recording.calls[k]
        place = self.place(k)
        if place is None:
            return self._renumbered(call, None)
        result = self._renumbered(call, self.steps - 1)
        for step in range(self.steps - 1):
            before = self.recording.calls[self.begin + step * self.period + place[1]]
            found = self._renumbered(before, step)
            keys = sorted({*result.kwargs, *found.kwargs})
            later, earlier = (
                (*c.args, *(c.kwargs.get(key) for key in keys)) for c in (result, found)
            )
            if not _agree(later, earlier, step):
                raise LoweringError(
                    f"{call.title} reads something else in step {step} than in step "
                    f"{self.steps - 1}: a time loop does the same in each step, and what it "
                    "remembers begins at zero"
                )
        return result

    def _renumbered(self, call: Call, step: int | None) -> Call:
        """A call with folded numbers; ``step`` is None before the loop."""
        args = call.args
        if isinstance(call.module, SpikingNeuron) and len(args) == 1 and not call.kwargs:
            args = (args[0], None)  # so that `lif(x)` at the first step is like `lif(x, mem)` later
        new_args = tuple(self._argument(a, call, step) for a in args)
        kwargs = {key: self._argument(a, call, step) for key, a in call.kwargs.items()}
        return replace(call, args=new_args, kwargs=kwargs)

    def _argument(self, thing: Any, call: Call, step: int | None) -> Any:
        if isinstance(thing, Ref):
            return self._source(thing.value, call, step)
        if isinstance(thing, tuple | list):
            return tuple(self._argument(item, call, step) for item in thing)
        return thing

    def _source(self, value: int, call: Call, step: int | None) -> Ref:
        if value in self.loop.slices:
            if self.loop.slices[value] != step and self.steps > 1:
                raise LoweringError(
                    f"{call.title} reads step {self.loop.slices[value]} of the input "
                    f"{'before the loop' if step is None else f'in step {step}'}: each step reads "
                    "its own"
                )
            return Ref(INPUT)
        if value in self.recording.inputs:
            if self.loop.timed and not self.loop.by_hand:
                raise LoweringError(
                    f"{call.title} works on all time steps at once: take one step, x[t], first"
                )
            return Ref(INPUT)
        k, i = self.producer[value]
        place = self.place(k)
        if place is None or step is None:
            return Ref(value)
        if place[0] > step:
            raise LoweringError(f"{call.title} reads what a later time step computes")
        last = self.begin + (self.steps - 1) * self.period + place[1]
        return Ref(self.recording.calls[last].results[i], step - place[0])

    # -- the output

    def _output(self) -> list[int]:
        """The recorded value of the output at every step."""
        if self.loop.by_hand:
            numbers = [_first(output) for output in self.recording.outputs]
        else:
            numbers = self._collected(self.recording.outputs[0])
        if not numbers or any(value not in self.producer for value in numbers):
            raise LoweringError(
                "the module returns no tensor that its layers computed: return the output of the "
                "last layer, or a tuple that begins with it"
            )
        if self.steps == 1:
            return numbers
        at = {value: (self.place(self.producer[value][0]), value) for value in numbers}
        found = sorted((p[0], p[1], value) for p, value in at.values() if p is not None)
        steps = [step for step, _, _ in found]
        if len({p for _, p, _ in found}) != 1 or steps != list(range(self.steps)):
            raise LoweringError(
                "the module's output is not the sum (or stack, or mean) of one layer's output over "
                f"all {self.steps} time steps: return that of the last spiking layer"
            )
        return [value for _, _, value in found]

    def _collected(self, output: Any) -> list[int]:
        """Numbers of the values that an output was stacked or summed from."""
        if isinstance(output, list | tuple) and output and isinstance(output[0], list | tuple):
            output = output[0]  # (spikes of every step, membranes of every step)
        if self.steps > 1 and isinstance(output, list | tuple) and len(output) == self.steps:
            parts = [_first(item) for item in output]
            if all(p in self.producer and self.place(self.producer[p][0]) for p in parts):
                return parts
        value = _first(output)
        if value not in self.producer:
            return []
        return list(self._expand(value)) if self.steps > 1 else [self._uncollected(value)]

    def _expand(self, value: int) -> Iterator[int]:
        if value not in self.producer:
            return
        k, _ = self.producer[value]
        call, place = self.recording.calls[k], self.place(k)
        if place is not None and not self._accumulates(k, place[0]):
            yield value
        elif call.name in COLLECTORS:
            for source in refs_in((call.args, call.kwargs)):
                yield from self._expand(source.value)
        else:
            raise LoweringError(
                f"{call.title} comes behind the time loop: only sums, means and stacks over time "
                "may"
            )

    def _accumulates(self, k: int, step: int) -> bool:
        """Whether a call in the loop adds to what it gave one step earlier."""
        later = k if step else k + self.period
        call = self.recording.calls[later]
        before = self.recording.calls[later - self.period].results
        return call.name in ("add", "add_") and any(r.value in before for r in refs_in(call.args))

    def _uncollected(self, value: int) -> int:
        """Undo the stack or sum over the one step of a spiking network of one step."""
        call = self.recording.calls[self.producer[value][0]]
        if not self.loop.spiking or call.module or call.name not in ("stack", "sum", "mean"):
            return value
        sources = [ref.value for ref in refs_in(call.args)]
        over_time = call.name == "stack" or (*call.args[1:], *call.kwargs.values()) == (0,)
        if len(sources) != 1 or not over_time or sources[0] not in self.producer:
            return value
        return self._uncollected(sources[0])


def _slices(recording: Recording) -> dict[int, int]:
    """Value → step, for those that are one step of the input."""
    found: dict[int, int] = {}
    for call in recording.calls:
        source = call.args[0] if call.args else None
        if not isinstance(source, Ref) or source.value != recording.inputs[0]:
            continue
        if call.name == "unbind" and (*call.args[1:], *call.kwargs.values()) in ((), (0,)):
            found.update({value: t for t, value in enumerate(call.results)})
        elif call.name in SELECTORS and (step := _step_of(call)) is not None:
            found[call.results[0]] = step
    return found


def _step_of(call: Call) -> int | None:
    """The step that a call selects from its first argument, or None if it selects anything else."""
    index = [*call.args[1:], *call.kwargs.values()]
    if call.name == "select":
        index = index[1:] if index[0] == 0 else []
    elif isinstance(index[0], tuple):
        whole = all(i is Ellipsis or i == slice(None) for i in index[0][1:])
        index = [index[0][0]] if whole else []
    plain = len(index) == 1 and isinstance(index[0], int) and not isinstance(index[0], bool)
    return index[0] if plain and index[0] >= 0 else None


def _agree(later: Any, earlier: Any, step: int) -> bool:
    """Whether an argument of an early step is that of a late one, or zero before the first step."""
    if isinstance(later, Ref) and later.delay_steps > step:
        return earlier is None or _is_zero(earlier)
    if isinstance(later, tuple) and isinstance(earlier, tuple):
        pairs = zip(later, earlier, strict=False)
        return len(later) == len(earlier) and all(_agree(a, b, step) for a, b in pairs)
    if isinstance(later, Tensor) and isinstance(earlier, Tensor):
        return later is earlier or (later.shape == earlier.shape and bool((later == earlier).all()))
    if isinstance(later, Tensor) or isinstance(earlier, Tensor):
        return False
    return bool(later == earlier)


def _is_zero(thing: Any) -> bool:
    if isinstance(thing, Tensor):
        return not bool(thing.any())
    return isinstance(thing, int | float) and thing == 0


def _first(output: Any) -> int:
    """The first recorded value in what a forward returned, or -1."""
    return next((ref.value for ref in refs_in(output)), -1)


def _plain(folded: Folded) -> list[tuple[Any, ...]]:
    """Calls with positions in place of value numbers, to compare two recordings."""
    at = {v: (k, i) for k, call in enumerate(folded.calls) for i, v in enumerate(call.results)}
    at[INPUT] = (INPUT, 0)

    def plain(thing: Any, sizes: bool) -> Any:
        if isinstance(thing, Ref):
            return (at[thing.value], thing.delay_steps)
        if isinstance(thing, tuple | list):
            return [plain(item, sizes) for item in thing]
        if isinstance(thing, Tensor):
            return "tensor"
        # A size that a view is told may be the number of samples.
        return "size" if sizes and isinstance(thing, int) else thing

    rows = []
    for call in folded.calls:
        sizes = call.name in ("view", "reshape")
        given = plain((*call.args, *(call.kwargs[k] for k in sorted(call.kwargs))), sizes)
        shapes = [folded.shapes[value] for value in call.results]
        rows.append((call.title, call.name, call.where, given, shapes))
    return rows
