"""Where a corruption ended: which layer, guard or step made what was wrong equal again.

Golden and faulty runs are compared layer by layer. A layer that is not changed although something
in it, or something it reads, was changed is where a corruption ended; why is found out by running
the program again up to that layer, without its guards or without its requantisation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codesign.effects import At, Effects, Kind, Op, corrupt
from codesign.engine import dense
from codesign.formats import Requantise
from codesign.guards import Guard, Recompute
from codesign.network import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Layer,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
    is_mac,
)
from codesign.program import Program
from codesign.samples import Samples
from codesign.study.explain_place import Touched, Values, source_elements

__all__ = ["Cause", "Masked", "changed_layers", "run", "why_masked"]

Ints: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = NDArray[np.void]

Cause = Literal[
    "never used",
    "other inference",
    "same value",
    "zero operand",
    "equal sum",
    "rounding",
    "clipping",
    "largest elsewhere",
    "not selected",
    "threshold",
    "re-converged",
    "equal count",
    "guard",
    "unknown",
]
WIDE = 1 << 60
MOST_PRODUCTS = 1 << 26  # of a layer that are looked at one by one


@dataclass(frozen=True)
class Masked:
    """One place where a corruption ended.

    Attributes:
        by: What ended it.
        layer: Where; empty if it never reached a layer.
        step: From which step on all is golden again, or -1.
        text: The same in words, with numbers.
    """

    by: Cause
    layer: str
    step: int
    text: str


def run(program: Program, one: Samples, rows: Rows) -> tuple[Ints, Values]:
    """Outputs ``[classes]`` and every layer's values ``[steps, *shape]`` of one sample."""
    names = tuple(layer.name for layer in program.network)
    found = dense.evaluate(program, one, Effects(rows, 1), watch=names)
    return found.outputs[0, 0], {name: values[0, 0] for name, values in found.watched.items()}


def changed_layers(network: NetworkGraph, was: Values, now: Values) -> tuple[str, ...]:
    """Layers whose values differ in some step."""
    return tuple(x.name for x in network if (was[x.name] != now[x.name]).any())


def why_masked(
    program: Program, one: Samples, rows: Rows, found: Sequence[Touched] | None
) -> tuple[Masked, ...]:
    """Where what some effects corrupt became equal to golden again.

    Args:
        program: With its guards.
        one: One sample.
        rows: Effects that act on it.
        found: What each corrupts, see `codesign.study.explain_values.touched`; None if they are
            too many to look at.
    """
    if found is None:
        return tuple(_Comparison(program, one, rows).ends())
    if all(one_row.complete and not one_row.changed for one_row in found):
        count = sum(len(one_row.golden) for one_row in found)
        which = "the value there is" if count == 1 else f"all {count} values there are"
        layer = program.network.layers[int(rows["layer"][0])].name
        return (Masked("same value", layer, -1, f"{which} what the fault makes of it already"),)
    alive = np.array([not one_row.complete or one_row.changed > 0 for one_row in found])
    return tuple(_Comparison(program, one, rows[alive]).ends())


class _Comparison:
    """A golden and a faulty run of one sample."""

    def __init__(self, program: Program, one: Samples, rows: Rows) -> None:
        self.program, self.one, self.rows = program, one, rows
        self.network = program.network
        _, self.was = run(program, one, rows[:0])
        _, self.now = run(program, one, rows)
        self.changed = set(changed_layers(self.network, self.was, self.now))

    def ends(self) -> Iterator[Masked]:
        """Layers that are golden although something in them or before them is not, in order."""
        stored = self.rows["kind"] == Kind.activation
        inside = {self.network.layers[int(i)].name for i in self.rows["layer"][~stored]}
        for layer in self.network:
            if layer.name in self.changed:
                continue
            struck = layer.name in inside or self._guarded_store(layer)
            if struck or self._reads_changed(layer):
                yield self._why(layer)
        last = self.network.layers[-1].name
        if last in self.changed:
            yield Masked(
                "equal count",
                last,
                -1,
                f"{last} differs in single steps, but summed over all of them it is equal",
            )

    def _reads_changed(self, layer: Layer) -> bool:
        """Whether a layer reads something that is changed, or corrupted on its way to it."""
        mine = self.network.index(layer.name)
        for edge in layer.inputs:
            source = self.network.index(edge.source)
            rows = self.rows[(self.rows["kind"] == Kind.activation)]
            rows = rows[(rows["layer"] == source) & np.isin(rows["reader"], (-1, mine))]
            seen = edge.source in self.changed
            if seen or (len(rows) and not self._guards(edge.source)):
                return True
        return False

    def _guarded_store(self, layer: Layer) -> bool:
        """Whether a stored value of this layer is corrupted and has guards of its own."""
        index = self.network.index(layer.name)
        rows = (self.rows["kind"] == Kind.activation) & (self.rows["layer"] == index)
        return bool(rows.any() and self._guards(layer.name))

    def _guards(self, name: str) -> list[Guard]:
        return [g for g in self.program.guards if not isinstance(g, Recompute) and g.layer == name]

    def _why(self, layer: Layer) -> Masked:
        guard = self._guard_of(layer)
        if guard is not None:
            return guard
        if isinstance(layer, Lif):
            return self._neurons(layer)
        if isinstance(layer, MaxPool2d):
            return self._told(layer, "largest elsewhere", "another element is the largest")
        if _requantises(layer):
            return self._sums(layer)
        return self._told(layer, "not selected", "what is changed is not among what it takes")

    def _guard_of(self, layer: Layer) -> Masked | None:
        """A guard, if without the guards of this layer it would have been changed."""
        guards = self._guards(layer.name)
        if not guards:
            return None
        bare = replace(
            self.program, guards=tuple(g for g in self.program.guards if g not in guards)
        )
        _, was = run(bare, self.one, self.rows[:0])
        _, now = run(bare, self.one, self.rows)
        if not (was[layer.name] != now[layer.name]).any():
            return None
        names = " and ".join(dict.fromkeys(type(g).__name__ for g in guards))
        count = int((was[layer.name] != now[layer.name]).sum())
        what = f"without its guard ({names}) {count} of its values would differ"
        return self._told(layer, "guard", what)

    def _neurons(self, layer: Lif) -> Masked:
        was, now = self.was[f"{layer.name}.membrane"], self.now[f"{layer.name}.membrane"]
        steps = np.flatnonzero((was != now).reshape(len(was), -1).any(axis=1))
        if not len(steps):
            what = "its membranes and spikes are golden: it fires, resets or saturates alike"
            return self._told(layer, "equal sum", what)
        largest = int(np.abs(was - now).max())
        told = f"membranes differ by up to {largest} when steps {_span(steps)} end"
        if steps[-1] + 1 < len(was):
            again = int(steps[-1]) + 1
            what = f"{told}, no spike changes, and from step {again} on all is golden again"
            return replace(self._told(layer, "re-converged", what), step=again)
        return self._told(layer, "threshold", f"{told}, but no spike changes")

    def _sums(self, layer: Layer) -> Masked:
        """What happened to a sum: it is equal, or its requantisation hides the difference."""
        bare = _until(self.program, layer.name)
        if bare is None:
            return self._told(layer, "unknown", "its stored values are golden")
        rows = self.rows[self.rows["layer"] <= self.network.index(layer.name)]
        stored = (rows["kind"] == Kind.activation) & (
            (rows["layer"] == self.network.index(layer.name))
            | (rows["reader"] > self.network.index(layer.name))
        )
        _, was = run(bare, self.one, rows[:0])
        _, now = run(bare, self.one, rows[~stored])
        before, after = was[layer.name], now[layer.name]
        differs = before != after
        if not differs.any():
            return self._equal_sum(layer)
        at = tuple(int(i) for i in np.argwhere(differs)[0])
        q = _requantise_of(layer)
        told = f"{int(differs.sum())} of its sums differ (the first: {before[at]}, now {after[at]})"
        if q is None:
            return self._told(layer, "rounding", f"{told}, its codes do not")
        axis = -1 if isinstance(layer, Linear) else 1
        wide = replace(q, low=-WIDE, high=WIDE)
        rounded = wide.code(before, axis)[differs] == wide.code(after, axis)[differs]
        code = int(q.code(before, axis)[at])
        if rounded.all():
            return self._told(layer, "rounding", f"{told}; both are rounded to {code}")
        return self._told(
            layer, "clipping", f"{told}; both are clipped to {q.low}..{q.high} and give {code}"
        )

    def _equal_sum(self, layer: Layer) -> Masked:
        sizes = (
            self.network.steps * prod(self.network.mac_shape(layer.name)) if is_mac(layer) else 0
        )
        if not 0 < sizes <= MOST_PRODUCTS or self._in_sums(layer):
            return self._told(layer, "equal sum", "its sums are equal all the same")
        if not self._any_product(layer):
            what = "no product changes: what is wrong is multiplied by zeros only"
            return self._told(layer, "zero operand", what)
        return self._told(layer, "equal sum", "products change, but their sums are equal")

    def _in_sums(self, layer: Layer) -> bool:
        """Whether something else than an operand is wrong in a layer."""
        mine = self.rows[self.rows["layer"] == self.network.index(layer.name)]
        mine = mine[mine["kind"] != Kind.activation]
        return bool((~np.isin(mine["at"], (At.weight, At.input))).any())

    def _any_product(self, layer: Layer) -> bool:
        """Whether some product of a layer changes, its guards aside."""
        assert isinstance(layer, Conv2d | Linear)
        index = self.network.index(layer.name)
        rows = self.rows[np.isin(self.rows["at"], (At.weight, At.input))]
        rows = rows[rows["layer"] == index]
        rows = rows[np.lexsort((rows["op"] == Op.stuck, rows["rank"]))]
        m, k, n = (np.arange(size) for size in self.network.mac_shape(layer.name))
        weight = layer.weight.reshape(len(n), -1)
        for channel in n.tolist():
            at = source_elements(self.network, layer.name, m[:, None], k, np.array(channel))
            was, now = self._inputs(layer, at)
            wrong = np.broadcast_to(weight[channel], was.shape).copy()
            for row in rows[_in(rows["n"], np.array(channel), len(n))]:
                hit = _in(row["m"][None], m, len(m))[:, None] & _in(row["k"][None], k, len(k))
                steps = np.arange(len(was))
                there = _in(np.append(row["steps"], 1)[None], steps, len(was))
                hit = hit[None] & there[:, None, None]
                some = wrong if row["at"] == At.weight else now
                some[hit] = corrupt(some[hit], row)
            if (was * weight[channel] != now * wrong).any():
                return True
        return False

    def _inputs(self, layer: Layer, at: Ints) -> tuple[Ints, Ints]:
        """``[steps, m, k]`` golden and faulty inputs of terms, as stored."""
        edge, steps = layer.inputs[0], self.network.steps
        late = np.arange(steps) - edge.delay_steps
        both = []
        for values in (self.was, self.now):
            flat = values[edge.source].reshape(steps, -1)
            there = (late[:, None, None] >= 0) & (at >= 0)
            both.append(np.where(there, flat[np.maximum(late, 0)][:, np.maximum(at, 0)], 0))
        return both[0], both[1]

    def _told(self, layer: Layer, by: Cause, what: str) -> Masked:
        return Masked(by, layer.name, -1, f"{layer.name} ({type(layer).__name__}): {what}")


def _in(selectors: Ints, at: Ints, size: int) -> NDArray[np.bool_]:
    """Whether selectors ``[rows, 3]`` pick ``at`` (rows and at broadcast)."""
    start, stop, step = selectors.T
    stop = np.where(stop < 0, size, stop)
    return np.asarray((at >= start) & (at < stop) & ((at - start) % step == 0))


def _span(steps: Ints) -> str:
    first, last = int(steps[0]), int(steps[-1])
    return str(first) if first == last else f"{first} to {last}"


def _requantises(layer: Layer) -> bool:
    return is_mac(layer) or isinstance(layer, Add | AvgPool2d | Concat)


def _requantise_of(layer: Layer) -> Requantise | None:
    """The one requantisation of a layer's output; a `Concat` has one for each input."""
    found = getattr(layer, "requantise", None)
    return found if isinstance(found, Requantise) else None


def _until(program: Program, name: str) -> Program | None:
    """The program up to a layer, whose sums are left as they are; None where it reads the future.

    The guards of what that layer stores are left out.
    """
    index = program.network.index(name)
    layers = list(program.network.layers[: index + 1])
    names = {layer.name for layer in layers}
    if any(edge.source not in names for layer in layers for edge in layer.inputs):
        return None
    last = layers[-1]
    none = tuple(None for _ in last.inputs) if isinstance(last, Concat) else None
    layers[-1] = replace(last, requantise=none)  # type: ignore[call-arg]
    guards = tuple(
        g
        for g in program.guards
        if isinstance(g, Recompute)
        or (g.layer in names and (g.layer != name or getattr(g, "place", "") == "weight"))
    )
    return Program(
        replace(program.network, layers=tuple(layers)),
        {key: value for key, value in program.arithmetic.items() if key in names},
        {key: value for key, value in program.membranes.items() if key in names},
        guards,
    )
