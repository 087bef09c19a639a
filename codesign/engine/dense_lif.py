"""A spiking layer under effects: neurons of all samples together, step after step.

Membranes are integers carried in the narrowest number that holds every intermediate result, which
interval arithmetic over the steps proves beforehand; where the intervals stay inside the membrane's
format, nothing can wrap or saturate and no write is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from codesign.engine.dense_guards import pass_guards
from codesign.engine.dense_lif_rows import Broken, LifPlan, LifRows, StepRows
from codesign.engine.dense_moment import Flags, Moment
from codesign.engine.dense_numbers import (
    FLOAT32_BITS,
    FLOAT64_BITS,
    Value,
    carrier,
    ends_of,
    fit_long,
    widest,
    within_long,
)
from codesign.guards import Clamp, Replace

__all__ = ["LifState", "lif_layer"]

LONGEST_SHIFT = 62  # of an int64; a longer one gives the same


@dataclass(eq=False)
class LifState:
    """What neurons remember between steps, ``[samples, neurons]``; None before the first.

    Attributes:
        membrane: Integers.
        fired: 0 or 1.
        run: Steps fired in a row, if a guard asks.
        low: No membrane is lower.
        high: None is higher.
        history: Membranes as steps end, if they are watched.
    """

    membrane: Tensor | None = None
    fired: Tensor | None = None
    run: Tensor | None = None
    low: int = 0
    high: int = 0
    history: list[Tensor] | None = None


def lif_layer(
    mine: LifRows, currents: list[Value], state: LifState, moment: Moment
) -> tuple[Value, Flags]:
    """Spikes ``[steps, samples, *shape]`` and what the membrane's guards noticed.

    Args:
        mine: Plan and rows of the layer.
        currents: As the layer reads them, ``[steps or 1, samples, *shape]``.
        state: Of the neurons; moves on.
        moment: Of the computation.
    """
    plan = mine.plan
    rows = [mine.at(moment, t) for t in range(moment.first, moment.last)]
    current = _sum(currents)
    proof = _prove(mine, rows, current, state)
    if proof.dtype != torch.float32 or not proof.fits:
        current = _tightened(current)
        proof = _prove(mine, rows, current, state)
    neurons = _Neurons(plan, state, proof, len(moment.samples))
    flags = Flags.none(len(moment.samples))
    low, high = _line_ends(rows)
    spikes = torch.empty(
        (len(rows), len(moment.samples), len(plan.threshold)),
        dtype=carrier(low, high, f"spikes of {plan.layer.name}"),
        device=plan.device,
    )
    total = current.data.flatten(2).to(proof.dtype)
    for i, step in enumerate(rows):
        neurons.begin(step, proof.begins[i], moment, flags)
        neurons.operate(step, total[min(i, len(total) - 1)], spikes[i])
        neurons.spike(step, spikes[i], moment)
        neurons.end(step, proof.ends[i], moment)
    state.low, state.high = proof.low, proof.high
    neurons.keep(state)
    return Value(spikes.unflatten(2, plan.shape), low, high), flags


def _sum(currents: list[Value]) -> Value:
    """All currents together."""
    if len(currents) == 1:
        return currents[0]
    low, high = sum(c.low for c in currents), sum(c.high for c in currents)
    ends = [min(c.low, 0) for c in currents], [max(c.high, 0) for c in currents]
    dtype = carrier(sum(ends[0]), sum(ends[1]), "a sum of currents")
    data = currents[0].data.to(dtype)
    for current in currents[1:]:
        data = data + current.data.to(dtype)
    return Value(data, low, high)


def _tightened(current: Value) -> Value:
    """With the range that its elements have, a little widened so that few ranges differ."""
    low, high = ends_of(current.data)
    grain = max(1, (1 << widest(low, high).bit_length()) >> 4)
    low, high = low // grain * grain, -(-high // grain) * grain
    return Value(current.data, max(low, current.low), min(high, current.high))


def _prove(mine: LifRows, rows: list[StepRows], current: Value, state: LifState) -> _Proof:
    """The proof for some steps, remembered."""
    key = (state.low, state.high, current.low, current.high, *map(id, rows))
    if key not in mine.proofs:
        proof = mine.proofs[key] = _Proof(mine.plan, state.low, state.high)
        for step in rows:
            proof.step(step, current)
    return mine.proofs[key]


def _line_ends(rows: list[StepRows]) -> tuple[int, int]:
    ends = [step.line.reach(0, 1) for step in {id(step): step for step in rows}.values()]
    return min(low for low, _ in ends), max(high for _, high in ends)


@dataclass(eq=False)
class _Proof:
    """Interval arithmetic over the steps.

    Attributes:
        plan: Of the layer.
        low: No membrane is lower so far.
        high: None is higher.
        peak: Largest magnitude of any intermediate result.
        fits: Whether no write can leave the format.
        stray: Whether a reset may find a membrane outside of it, left by a wider corruption.
        begins: Range of the membranes before and after corruption, by step.
        ends: Range of the membranes before they are written back, by step.
    """

    plan: LifPlan
    low: int
    high: int
    peak: int = 0
    fits: bool = True
    stray: bool = False
    begins: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)
    _last: tuple[int, tuple[int, int]] | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The narrowest number that carries every intermediate result."""
        within_long(0, self.peak, f"a membrane of {self.plan.layer.name}")
        wraps = not self.fits and self.plan.form.overflow == "wrap"
        if self.peak <= 1 << FLOAT32_BITS and not wraps:
            return torch.float32
        return torch.float64 if self.peak <= 1 << FLOAT64_BITS and not wraps else torch.int64

    def step(self, rows: StepRows, current: Value) -> None:
        """One step further."""
        before = self.low, self.high
        if self._last == (id(rows), before):  # the step before changed nothing
            self.begins.append(self.begins[-1])
            self.ends.append(self.ends[-1])
            return
        self._last = id(rows), before
        self._become(*rows.begin.reach(*before))
        self.begins.append((before, (self.low, self.high)))
        self._guard(before)
        for operation in self.plan.layer.order:
            kept = (self.low, self.high) if operation in rows.broken else None
            if operation == "leak":
                self._leak()
            elif operation == "integrate":
                self._write(self.low + current.low, self.high + current.high)
            elif operation == "fire":
                self._see(*rows.limits)
            elif self.plan.layer.reset != "none":
                kept = self.low, self.high
                self._reset(*rows.limits)
            if kept:
                self._become(min(self.low, kept[0]), max(self.high, kept[1]))
        self.ends.append((self.low, self.high))
        self._become(*rows.end.reach(self.low, self.high))

    def _see(self, low: int, high: int) -> None:
        self.peak = max(self.peak, widest(low, high))

    def _become(self, low: int, high: int) -> None:
        self.low, self.high = low, high
        self._see(low, high)

    def _write(self, low: int, high: int) -> None:
        self._see(low, high)
        form = self.plan.form
        if form.low <= low and high <= form.high:
            self.low, self.high = low, high
            return
        self.fits = False
        if form.overflow == "wrap":
            self.low, self.high = form.low, form.high
        else:
            self.low, self.high = (min(max(end, form.low), form.high) for end in (low, high))

    def _guard(self, before: tuple[int, int]) -> None:
        for guard in self.plan.guards:
            if isinstance(guard, Clamp):
                low, high = (min(max(v, guard.low), guard.high) for v in (self.low, self.high))
                self._become(low, high)
            elif isinstance(guard, Replace):
                if not guard.low <= self.low <= self.high <= guard.high:
                    ends = self.low, self.high, guard.value, -guard.value
                    self._become(min(ends), max(ends))
            else:
                self._become(min(self.low, before[0]), max(self.high, before[1]))

    def _leak(self) -> None:
        leak = self.plan.layer.leak
        low, high = min(self.low, 0), max(self.high, 0)
        if leak.kind == "multiply":
            half = (1 << leak.amount) >> 1
            ends = [(v * leak.factor + half) >> leak.amount for v in (self.low, self.high)]
            self._see(0, 2 * (widest(self.low, self.high) * abs(leak.factor) + half))
            low, high = min(ends), max(ends)
        elif leak.kind == "subtract" and leak.amount < 0:
            low, high = low + leak.amount, high - leak.amount
        self._write(low, high)

    def _reset(self, low: int, high: int) -> None:
        if self.plan.layer.reset == "zero":
            self._become(min(self.low, 0), max(self.high, 0))
        else:
            form = self.plan.form
            self.stray |= not form.low <= self.low <= self.high <= form.high
            self._write(self.low - high, self.high - low)


class _Neurons:
    """Membranes at work, ``[samples, neurons]`` in the dtype that was proved."""

    def __init__(self, plan: LifPlan, state: LifState, proof: _Proof, samples: int) -> None:
        self.plan, self.layer, self.dtype = plan, plan.layer, proof.dtype
        self.fits, self.stray = proof.fits, proof.stray
        shape = samples, len(plan.threshold)

        def start(kept: Tensor | None) -> Tensor:
            if kept is None:
                return torch.zeros(shape, dtype=self.dtype, device=plan.device)
            return kept.to(self.dtype)

        self.v, self.f, self.run = (start(x) for x in (state.membrane, state.fired, state.run))
        self.history = state.history
        self.spare = torch.empty_like(self.v)
        self._rows: StepRows | None = None
        self._limit = self.v

    def keep(self, state: LifState) -> None:
        """Remember for the next steps."""
        state.membrane, state.fired, state.run = self.v, self.f, self.run

    def begin(
        self,
        rows: StepRows,
        ends: tuple[tuple[int, int], tuple[int, int]],
        moment: Moment,
        flags: Flags,
    ) -> None:
        """Membranes are struck and guarded."""
        before = self.v
        if len(rows.begin):
            self.v = before.clone()
            rows.begin.apply_(self.v[None], ends[0], moment.samples)
        if self.plan.guards:
            golden = Value(before[None], *ends[0])
            struck = golden if self.v is before else Value(self.v[None], *ends[1])
            passed = pass_guards(golden, struck, self.plan.guards)
            self.v = passed.value.data[0].to(self.dtype)
            flags.add_(passed.flags())

    def operate(self, rows: StepRows, current: Tensor, line: Tensor) -> None:
        """The four operations in their order; what fires is written to the line where it can be."""
        direct = self.dtype == line.dtype and self.plan.silence is None and not len(rows.line)
        for operation in self.layer.order:
            broken = rows.broken.get(operation)
            if operation == "fire":
                self.f = line if direct else torch.empty_like(self.v)
                self._fire(rows, broken)
            elif operation == "reset":
                self._reset(rows, broken)
            else:
                kept = None if broken is None else self.v.index_select(1, broken.neurons)
                if operation == "leak":
                    self._leak()
                else:
                    self.v.add_(current)
                self._fit()
                if broken is not None and kept is not None:
                    done = self.v.index_select(1, broken.neurons)
                    self.v.index_copy_(1, broken.neurons, torch.where(broken.skip, kept, done))

    def spike(self, rows: StepRows, line: Tensor, moment: Moment) -> None:
        """Write the output spikes."""
        out = self.f
        if self.plan.silence is not None:
            self.run = (self.run + 1) * self.f
            out = self.f * (self.run < self.plan.silence)
        if out is not line:
            line.copy_(out)
        rows.line.apply_(line[None], (0, 1), moment.samples)

    def end(self, rows: StepRows, ends: tuple[int, int], moment: Moment) -> None:
        """Membranes are written back."""
        rows.end.apply_(self.v[None], ends, moment.samples)
        if self.history is not None:
            self.history.append(self.v.clone())

    # -- operations

    def _fit(self) -> None:
        if self.fits:
            return
        form = self.plan.form
        if form.overflow == "saturate":
            self.v.clamp_(form.low, form.high)
        else:
            self.v = fit_long(self.v, form)

    def _leak(self) -> None:
        leak, v = self.layer.leak, self.v
        if leak.kind == "shift":
            shift = min(leak.amount, LONGEST_SHIFT)
            if self.dtype == torch.int64:
                v.sub_(v >> shift)
            else:
                v.sub_(torch.mul(v, 2.0**-shift, out=self.spare).floor_())
        elif leak.kind == "multiply" and self.dtype == torch.int64:
            v.mul_(leak.factor).add_((1 << leak.amount) >> 1).bitwise_right_shift_(leak.amount)
        elif leak.kind == "multiply":
            v.mul_(leak.factor * 2.0**-leak.amount)
            if leak.amount:
                v.add_(0.5).floor_()
        elif leak.kind == "subtract" and leak.amount >= 0:
            v.sub_(torch.clamp(v, -leak.amount, leak.amount, out=self.spare))
        elif leak.kind == "subtract":
            self.v = torch.where(v > 0, v - leak.amount, v + leak.amount)

    def _fire(self, rows: StepRows, broken: Broken | None) -> None:
        compare = torch.gt if self.layer.strict else torch.ge
        compare(self.v, self._threshold(rows), out=self.f)
        if broken is not None:
            fired = self.f.index_select(1, broken.neurons)
            fired = torch.where(broken.skip, 0, torch.where(broken.always, 1, fired))
            self.f.index_copy_(1, broken.neurons, fired.to(self.dtype))

    def _reset(self, rows: StepRows, broken: Broken | None) -> None:
        if self.layer.reset == "none":
            return
        due = self.f
        if broken is not None:
            fired = due.index_select(1, broken.neurons)
            fired = torch.where(broken.skip, 0, torch.where(broken.always, 1, fired))
            due = due.index_copy(1, broken.neurons, fired.to(self.dtype))
        if self.layer.reset == "zero":
            self.v.addcmul_(self.v, due, value=-1)
        else:
            kept = self.v.clone() if self.stray else None
            self.v.addcmul_(self._threshold(rows), due, value=-1)
            self._fit()
            if kept is not None:  # what is not reset is not written
                self.v = torch.where(due != 0, self.v, kept)

    def _threshold(self, rows: StepRows) -> Tensor:
        """In the dtype of the membranes."""
        if rows is not self._rows:
            self._rows, self._limit = rows, rows.threshold.to(self.dtype)
        return self._limit
