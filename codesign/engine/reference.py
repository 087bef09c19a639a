"""The reference engine: loops over plain Python integers, slow, and meant to be obviously right.

It reads the same data as every other engine (program, samples, effects) and shares no arithmetic or
corruption code with them: formats, rounding, selectors and corruptions are written again here.
Exact sums of Python integers cannot overflow, so every wrap and saturation is one that was asked
for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from codesign.effects import At, Effects, Kind, Op
from codesign.engine.observables import Observables
from codesign.engine.reference_layers import PLAIN
from codesign.engine.reference_numbers import (
    Values,
    corrupt,
    fit,
    leak,
    nested,
    picks,
    position,
    requantise,
    terms,
    vote,
    within,
)
from codesign.errors import DataError
from codesign.formats import NumberFormat
from codesign.guards import Clamp, Correct, Recompute, Replace, Silence
from codesign.network import Conv2d, Input, Layer, Lif, Linear
from codesign.program import Program
from codesign.samples import Samples

__all__ = ["count_overflows", "evaluate"]


def evaluate(
    program: Program, samples: Samples, effects: Effects, *, watch: tuple[str, ...] = ()
) -> Observables:
    """Evaluate every trial on every sample.

    Args:
        program: What is computed.
        samples: Codes, ``[samples, ...]``, or ``[samples, steps, ...]`` if timed.
        effects: Of all trials; checked against the program first.
        watch: Layers whose values (and membranes) are returned.

    Raises:
        FaultError: An effect cannot exist.
        DataError: The samples do not fit the program's input.
    """
    effects.check(program)
    check_samples(program, samples)
    classes = int(np.prod(program.network.shapes[program.network.layers[-1].name]))
    shape = (effects.trials, len(samples))
    outputs = np.zeros((*shape, classes), dtype=np.int64)
    corrected, detected = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    seen: dict[str, list[list[object]]] = {}
    for trial in range(effects.trials):
        rows = [row for row in effects.of_trial(trial)]
        for i in range(len(samples)):
            runs = []
            for execution in range(program.executions):
                mine = [row for row in rows if row["execution"] in (-1, execution)]
                run = _Inference(program, samples, i, mine)
                run.execute()
                runs.append(run)
            outputs[trial, i], voted = vote([run.output() for run in runs])
            corrected[trial, i] = any(run.corrected for run in runs) or voted == "corrected"
            detected[trial, i] = any(run.detected for run in runs) or voted == "detected"
            for name, value in runs[0].watched(watch).items():
                per_trial = seen.setdefault(name, [[] for _ in range(effects.trials)])
                per_trial[trial].append(value)
    watched = {name: np.array(value, dtype=np.int64) for name, value in seen.items()}
    return Observables(outputs, corrected, detected, np.zeros(shape, dtype=bool), watched)


def count_overflows(program: Program, samples: Samples) -> dict[str, int]:
    """Golden wraps and saturations of running sums and totals, by multiply-accumulate layer."""
    check_samples(program, samples)
    counts = dict.fromkeys(program.arithmetic, 0)
    for i in range(len(samples)):
        run = _Inference(program, samples, i, [])
        run.execute()
        for name, count in run.overflows.items():
            counts[name] += count
    return counts


def check_samples(program: Program, samples: Samples) -> None:
    """Refuse samples whose shape, steps or codes the program's input layer cannot read.

    Raises:
        DataError: What was expected and what came.
    """
    layer = program.network.layers[0]
    if not isinstance(layer, Input):
        raise DataError(f"{program.network.name}: the first layer is not the input")
    expected = ((program.network.steps,) if samples.timed else ()) + layer.shape
    if samples.inputs.shape[1:] != expected:
        raise DataError(
            f"{samples.name}: a sample has shape {samples.inputs.shape[1:]}, "
            f"{program.network.name} reads {expected}"
        )
    if not layer.format.holds(samples.inputs):
        raise DataError(f"{samples.name}: codes do not fit the input's {layer.format.bits} bits")


# ---------------------------------------------------------------------------------- one inference


@dataclass
class _Inference:
    """One sample under the effects of one trial (and execution)."""

    program: Program
    samples: Samples
    sample: int
    rows: list[np.void]
    corrected: bool = False
    detected: bool = False
    step: int = 0
    stored: list[dict[str, Values]] = field(default_factory=list)  # per step, before corruption
    membranes: dict[str, Values] = field(default_factory=dict)
    fired: dict[str, Values] = field(default_factory=dict)
    runs: dict[str, Values] = field(default_factory=dict)  # steps fired in a row
    history: dict[str, list[Values]] = field(default_factory=dict)  # membranes when steps end
    overflows: dict[str, int] = field(default_factory=dict)

    def execute(self) -> None:
        """All steps, all layers."""
        network = self.program.network
        for self.step in range(network.steps):
            self.stored.append({})
            for index, layer in enumerate(network.layers):
                self.stored[-1][layer.name] = self.layer(index, layer)

    def output(self) -> list[int]:
        """The last layer's stored values, summed over steps, in flat order."""
        last = self.program.network.layers[-1].name
        steps = [self.read(last, t, reader=-2) for t in range(len(self.stored))]
        return [sum(step[at] for step in steps) for at in sorted(steps[0])]

    def watched(self, names: tuple[str, ...]) -> dict[str, list[object]]:
        """Values of watched layers, nested lists [steps][flat], reshaped by the caller's array."""
        found: dict[str, list[object]] = {}
        for name in names:
            shape = self.program.network.shapes[name]
            steps = [self.read(name, t, reader=-2) for t in range(len(self.stored))]
            found[name] = [nested(values, shape) for values in steps]
            if name in self.history:
                found[f"{name}.membrane"] = [nested(v, shape) for v in self.history[name]]
        return found

    # -- reading

    def read(self, name: str, step: int, reader: int) -> Values:
        """What a reader (layer index; -2 the outside) gets of a layer's value stored at a step."""
        network = self.program.network
        index = network.index(name)
        values = dict(self.stored[step][name])
        rows = [
            row
            for row in self.active(Kind.activation, index, step)
            if row["reader"] in (-1, reader)
        ]
        guards = [g for g in self.guards(name, "activation")]
        if not rows and not guards:
            return values
        for at in values:
            m, n = position(self.program, name, at)
            hits = [row for row in rows if picks(row["m"], m) and picks(row["n"], n)]
            values[at] = self.pass_guards(values[at], corrupt(values[at], hits), guards)
        return values

    def source(self, layer: Layer, number: int) -> Values:
        """Input ``number`` of a layer, as it reads it at this step."""
        edge = layer.inputs[number]
        step = self.step - edge.delay_steps
        shape = self.program.network.shapes[edge.source]
        if step < 0:
            return dict.fromkeys(np.ndindex(shape), 0)
        return self.read(edge.source, step, self.program.network.index(layer.name))

    def active(self, kind: Kind, layer: int, step: int | None = None) -> list[np.void]:
        """Rows of a kind and layer that act on this sample at this step."""
        now = self.step if step is None else step
        return [
            row
            for row in self.rows
            if row["kind"] == kind
            and row["layer"] == layer
            and within(row["samples"], self.sample)
            and within(row["steps"], now)
        ]

    def guards(self, name: str, place: str) -> list[Clamp | Replace | Correct]:
        """Guards of a place of a layer, in order."""
        return [
            g
            for g in self.program.guards
            if not isinstance(g, Recompute | Silence) and (g.layer, g.place) == (name, place)
        ]

    def pass_guards(self, before: int, value: int, guards: list[Clamp | Replace | Correct]) -> int:
        """A value after its guards; ``before`` is what it was before corruption."""
        for guard in guards:
            if isinstance(guard, Clamp):
                value = min(max(value, guard.low), guard.high)
            elif isinstance(guard, Replace):
                if value > guard.high:
                    value = guard.value
                elif value < guard.low:
                    value = -guard.value if guard.keep_sign else guard.value
            else:
                wrong = bin((before ^ value) % 2**guard.word_bits).count("1")
                if 0 < wrong <= guard.bits:
                    value, self.corrected = before, True
                elif wrong == guard.bits + 1:
                    self.detected = True
        return value

    # -- layers

    def layer(self, index: int, layer: Layer) -> Values:
        """The values that a layer stores at this step."""
        if isinstance(layer, Input):
            codes = self.samples.inputs[self.sample]
            codes = codes[self.step] if self.samples.timed else codes
            return {at: int(codes[at]) for at in np.ndindex(layer.shape)}
        if isinstance(layer, Conv2d | Linear):
            return self.mac(index, layer)
        if isinstance(layer, Lif):
            return self.lif(index, layer)
        inputs = [self.source(layer, i) for i in range(len(layer.inputs))]
        return PLAIN[type(layer)](layer, inputs, self.program.network.shapes[layer.name])

    def mac(self, index: int, layer: Conv2d | Linear) -> Values:
        """A multiply-accumulate layer, as the program's docstring tells it."""
        arithmetic = self.program.arithmetic[layer.name]
        operand = self.active(Kind.operand, index)
        product = self.active(Kind.term, index)
        sums = self.active(Kind.accumulator, index)
        biases = [r for r in self.active(Kind.parameter, index) if r["at"] == At.bias]
        guards = self.guards(layer.name, "weight")
        x = self.source(layer, 0)
        result: Values = {}
        for at in np.ndindex(self.program.network.shapes[layer.name]):
            m, n = position(self.program, layer.name, at)
            inputs, weights = terms(layer, x, at)
            mine = [r for r in operand if picks(r["m"], m) and picks(r["n"], n)]
            prods = [r for r in product if picks(r["m"], m) and picks(r["n"], n)]
            accs = [r for r in sums if picks(r["m"], m) and picks(r["n"], n)]
            bias = int(layer.bias[m, n]) if layer.bias.ndim == 2 else int(layer.bias[n])
            bias = corrupt(bias, [r for r in biases if picks(r["m"], m) and picks(r["n"], n)])
            total = self.fit(layer.name, arithmetic.outer, bias * (arithmetic.bias_in == "outer"))
            for s in range(len(arithmetic.segments)):
                here = [r for r in accs if r["segment"] in (-1, s)]
                acc = bias if s == 0 and arithmetic.bias_in == "load" else 0
                acc = corrupt(acc, [r for r in here if r["at"] == At.load])
                for j, k in enumerate(arithmetic.terms(s).tolist(), 1):
                    on_k = [r for r in mine if picks(r["k"], k)]
                    w = corrupt(weights[k], [r for r in on_k if r["at"] == At.weight])
                    w = self.pass_guards(weights[k], w, guards)
                    v = corrupt(inputs[k], [r for r in on_k if r["at"] == At.input])
                    p = corrupt(w * v, [r for r in prods if picks(r["k"], k)])
                    acc = self.fit(layer.name, arithmetic.inner, acc + p)
                    now = [
                        r
                        for r in here
                        if r["at"] == At.every or (r["at"] == At.after and r["after"] == j)
                    ]
                    acc = corrupt(acc, now)
                readout = arithmetic.readout
                if readout is not None:
                    acc = requantise(readout, acc, n)
                acc = corrupt(acc, [r for r in here if r["at"] == At.out])
                if readout is not None:
                    acc = min(max(acc, readout.low), readout.high)
                total = self.fit(layer.name, arithmetic.outer, total + acc)
                total = corrupt(total, [r for r in here if r["at"] == At.total])
            result[at] = (
                total if layer.requantise is None else requantise(layer.requantise, total, n)
            )
        return result

    def fit(self, name: str, form: NumberFormat, value: int) -> int:
        """A sum written to a place, overflows counted."""
        fitted = fit(form, value)
        self.overflows[name] = self.overflows.get(name, 0) + (fitted != value)
        return fitted

    def lif(self, index: int, layer: Lif) -> Values:
        """One step of spiking neurons."""
        form = self.program.membrane(layer.name)
        currents = [self.source(layer, i) for i in range(len(layer.inputs))]
        shape = self.program.network.shapes[layer.name]
        state = self.membranes.setdefault(layer.name, dict.fromkeys(np.ndindex(shape), 0))
        fired = self.fired.setdefault(layer.name, dict.fromkeys(np.ndindex(shape), 0))
        runs = self.runs.setdefault(layer.name, dict.fromkeys(np.ndindex(shape), 0))
        silences = [
            g for g in self.program.guards if isinstance(g, Silence) and g.layer == layer.name
        ]
        spikes: Values = {}
        for at in np.ndindex(shape):
            m, n = position(self.program, layer.name, at)
            mine = _Neuron(self, index, m, n)
            threshold = mine.threshold(
                int(layer.threshold[n]) if layer.threshold.ndim else int(layer.threshold)
            )
            before = state[at]
            v = self.pass_guards(before, mine.begin(before), self.guards(layer.name, "membrane"))
            f = fired[at]
            for operation in layer.order:
                broken = mine.broken(operation)
                if operation == "leak" and broken is None:
                    v = fit(form, leak(layer, v))
                elif operation == "integrate" and broken is None:
                    v = fit(form, v + sum(current[at] for current in currents))
                elif operation == "fire":
                    crossed = v > threshold if layer.strict else v >= threshold
                    f = {None: int(crossed), Op.skip: 0, Op.always: 1}[broken]
                elif operation == "reset":
                    due = {None: bool(f), Op.skip: False, Op.always: True}[broken]
                    if due and layer.reset == "zero":
                        v = 0
                    elif due and layer.reset == "subtract":
                        v = fit(form, v - threshold)
            runs[at] = runs[at] + 1 if f else 0
            silent = any(runs[at] >= guard.after for guard in silences)
            spikes[at] = mine.line(0 if silent else f)
            state[at], fired[at] = mine.end(v), f
        self.history.setdefault(layer.name, []).append(dict(state))
        return spikes


class _Neuron:
    """The rows that meet one neuron at one step."""

    def __init__(self, run: _Inference, layer: int, m: int, n: int) -> None:
        def rows(kind: Kind) -> list[np.void]:
            return [r for r in run.active(kind, layer) if picks(r["m"], m) and picks(r["n"], n)]

        self.step = run.step
        self.state, self.operations = rows(Kind.state), rows(Kind.operation)
        self.lines = rows(Kind.spike)
        self.parameters = [
            r
            for r in run.active(Kind.parameter, layer)
            if r["at"] == At.threshold and picks(r["m"], m) and picks(r["n"], n)
        ]

    def threshold(self, value: int) -> int:
        return corrupt(value, self.parameters)

    def begin(self, v: int) -> int:
        """A membrane as the step begins: struck once in the cell, held by a stuck cell, misread."""
        first = [
            r
            for r in self.state
            if r["at"] == At.read
            or (r["at"] == At.cell and (r["op"] == Op.stuck or r["steps"][0] == self.step))
        ]
        return corrupt(v, first)

    def end(self, v: int) -> int:
        """A membrane as it is written back."""
        last = [
            r
            for r in self.state
            if r["at"] == At.write or (r["at"] == At.cell and r["op"] == Op.stuck)
        ]
        return corrupt(v, last)

    def broken(self, operation: str) -> Op | None:
        """How an operation is broken at this step; ``skip`` wins over ``always``."""
        ops = {Op(r["op"]) for r in self.operations if At(r["at"]).name == operation}
        return Op.skip if Op.skip in ops else Op.always if ops else None

    def line(self, spike: int) -> int:
        return corrupt(spike, self.lines)
