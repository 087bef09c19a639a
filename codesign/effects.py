"""Effects: what broken hardware does to tensors; the narrow waist between mappings and engines.

Many trials in one table of columns. A row says: in this *trial*, at this *place* of this *layer*,
for these elements or terms (a box with strides), during these inferences and steps, the value that
stands there is *corrupted* so. `codesign.program` shows where each place lies on a value's way.

============ ======================= ==============================================================
kind         at                      box, and what happens
============ ======================= ==============================================================
operand      weight, input           terms (m, k, n): the operand as read for these terms
term         product                 terms (m, k, n): the product
accumulator  load, every, after,     outputs (m, n); ``segment`` (-1: every segment); ``after``: the
             out, total              number of the segment's terms already summed, from 1
activation   stored                  outputs (m, n) of any layer, as read by ``reader`` (-1: all)
parameter    bias, threshold         outputs (m, n) that read it: chips where channels share one
                                     word take all m, chips with a word a neuron take one
state        cell, read, write       neurons (m, n): membrane. A cell flip acts once, at the first
                                     step of its window; a stuck cell when a step begins and when it
                                     ends; read: when a step begins; write: when a step ends
operation    integrate, leak,        neurons (m, n): ``skip`` (not done; a skipped fire gives f = 0)
             reset, fire             or ``always`` (fire: f = 1; reset: done at every step)
spike        line                    neurons (m, n): the output after the guards of the neuron
alias        (event-serial programs) addresses that lead elsewhere: see `codesign.events`
============ ======================= ==============================================================

Corruption of a value v in a place of ``bits`` bits (``signed``: two's complement)::

    xor      decode(encode(v) ^ mask)
    stuck    decode((encode(v) & ~mask) | (value & mask))
    replace  value
    add      v + value
    scale    v * value

``encode`` takes the low ``bits`` bits; a place that is wider than the value holds its sign
extension. Several effects in one value act in the order of ``rank``; at equal rank a stuck bit acts
last (it wins). ``samples`` and ``steps`` are half-open ranges; sample i is inference i; -1 as stop
means "to the end". ``execution`` is the execution struck under re-execution, -1 for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codesign.effect_rows import ALL, DEFAULTS, EFFECT, PLACES, At, Kind, Op, box, corrupt
from codesign.errors import FaultError
from codesign.formats import MAX_BITS, rows_by_trial
from codesign.network import Lif, is_mac
from codesign.program import Program

__all__ = ["ALL", "EFFECT", "At", "Effects", "Kind", "Op", "box", "corrupt"]


@dataclass(frozen=True, eq=False)
class Effects:
    """A table of effects, sorted by trial.

    Attributes:
        table: ``[effects]`` of `EFFECT`, read-only.
        trials: Number of trials, numbered 0 to trials - 1; one without a row is golden.
    """

    table: NDArray[np.void]
    trials: int

    def __post_init__(self) -> None:
        table = rows_by_trial(self.table, EFFECT)
        if len(table) and (table["trial"][0] < 0 or table["trial"][-1] >= self.trials):
            raise FaultError(f"effects name trials outside 0..{self.trials - 1}")
        object.__setattr__(self, "table", table)

    @staticmethod
    def of(rows: Iterable[dict[str, object]], trials: int) -> Effects:
        """A table from rows with any of the columns; the rest takes "all" or 0.

        Kind, at and op may be given by name.

        >>> Effects.of([dict(kind="operand", at="weight", layer=1, k=(2, 3, 1), n=(0, 1, 1),
        ...                  op="xor", bits=8, mask=64)], trials=1).table["mask"].tolist()
        [64]
        """
        listed = list(rows)
        table = np.zeros(len(listed), dtype=EFFECT)
        for name, value in DEFAULTS.items():
            table[name] = value
        named = {"kind": Kind, "at": At, "op": Op}
        for i, row in enumerate(listed):
            for name, value in row.items():
                table[i][name] = named[name][value] if isinstance(value, str) else value
        return Effects(table, trials)

    @staticmethod
    def none(trials: int) -> Effects:
        """Trials in which nothing is wrong."""
        return Effects(np.zeros(0, dtype=EFFECT), trials)

    def __len__(self) -> int:
        return len(self.table)

    def of_trial(self, trial: int) -> NDArray[np.void]:
        """The rows of one trial (a view)."""
        start, stop = np.searchsorted(self.table["trial"], [trial, trial + 1])
        return self.table[start:stop]

    def check(self, program: Program) -> None:
        """Refuse what cannot exist in a program: no such layer, place, element, term or segment.

        Raises:
            FaultError: Naming the first row that cannot be.
        """
        for i in np.flatnonzero(~_plainly_possible(self.table, program)).tolist():
            row = self.table[i]
            problem = _problem(row, program)
            if problem:
                raise FaultError(f"effect {i} (trial {row['trial']}): {problem}")

    def to_csv(self, path: Path) -> None:
        """Write the table, names for kind, at and op, one column for each number."""
        shapes = {n: EFFECT[n].shape for n in EFFECT.names or ()}
        flat = [
            (n, i) for n, shape in shapes.items() for i in range(int(np.prod(shape, dtype=int)))
        ]
        named = {"kind": Kind, "at": At, "op": Op}
        with path.open("w", encoding="utf-8", newline="") as file:
            heads = [f"{n}{i}" if shapes[n] else n for n, i in flat]
            file.write(",".join(heads) + "\n")
            for row in self.table:
                cells = [row[n][i] if shapes[n] else row[n] for n, i in flat]
                texts = [
                    named[n](c).name if n in named else str(int(c))
                    for (n, _), c in zip(flat, cells, strict=True)
                ]
                file.write(",".join(texts) + "\n")


def _plainly_possible(table: NDArray[np.void], program: Program) -> NDArray[np.bool_]:
    """``[effects]`` rows that surely can exist, all at once; `_problem` judges the others."""
    network = program.network
    kind, at, op = (table[name].astype(np.int64) for name in ("kind", "at", "op"))
    known = (kind >= 0) & (kind < len(Kind)) & (at >= 0) & (at < len(At))
    known &= (op >= 0) & (op < len(Op)) & (table["layer"] >= 0)
    known &= (table["layer"] < len(network.layers)) & (table["reader"] >= -1)
    known &= (table["reader"] < len(network.layers)) & (table["execution"] >= -1)
    known &= table["execution"] < program.executions
    bits = table["bits"].astype(np.int64)
    narrow = (bits >= 1) & (bits <= MAX_BITS) & (table["mask"] > 0)
    narrow &= table["mask"] >> np.clip(bits, 0, MAX_BITS) == 0
    known &= (op != Op.xor) & (op != Op.stuck) | narrow
    operation = (kind == Kind.operation) & ((op == Op.skip) | (op == Op.always))
    often = (op != Op.always) | (at == At.fire) | (at == At.reset)
    known &= np.where(kind == Kind.operation, operation & often, op < Op.skip)
    allowed = np.zeros((len(Kind), len(At)), dtype=bool)
    for place, ats in PLACES.items():
        allowed[place, list(ats)] = True
    for index in np.flatnonzero(np.bincount(table["layer"][known])).tolist():
        at = np.flatnonzero(known & (table["layer"] == index))
        mine = slice(at[0], at[-1] + 1) if at[-1] - at[0] + 1 == len(at) else at  # a view, mostly
        known[mine] = _fits_layer(table[mine], program, network.layers[index].name, allowed)
    return known


def _fits_layer(
    rows: NDArray[np.void], program: Program, name: str, allowed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """``[rows]`` of one layer, whether place, box and segment surely are there."""
    layer, (positions, channels) = program.network[name], program.network.grid(name)
    kind, at = rows["kind"], rows["at"]
    sums = (kind == Kind.operand) | (kind == Kind.term) | (kind == Kind.accumulator)
    spikes = (kind == Kind.state) | (kind == Kind.operation) | (kind == Kind.spike)
    fits = allowed[kind, at]
    fits &= ~(sums | (at == At.bias)) | is_mac(layer)
    fits &= ~(spikes | (at == At.threshold)) | isinstance(layer, Lif)
    fits &= _picks(rows["m"], positions) & _picks(rows["n"], channels)
    if is_mac(layer):
        by_term = (kind == Kind.operand) | (kind == Kind.term)
        fits &= ~by_term | _picks(rows["k"], program.network.mac_shape(name)[1])
        segments = program.arithmetic[name].segments
        terms = np.array([stop - start for start, stop in segments])
        segment, after = rows["segment"], rows["after"]
        there = (segment >= -1) & (segment < len(segments))
        counted = (segment >= 0) & (after >= 1) & (after <= terms[np.where(there, segment, 0)])
        fits &= (kind != Kind.accumulator) | (there & ((at != At.after) | counted))
    return np.asarray(fits)


def _picks(selector: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """``[rows]`` whether a selector picks something of an axis and nothing outside of it."""
    start, stop, step = selector.T
    stop = np.where(stop < 0, size, stop)
    return np.asarray((start >= 0) & (start < stop) & (stop <= size) & (step >= 1))


def _problem(row: np.void, program: Program) -> str:
    """Why a row cannot exist in a program, or an empty text."""
    network = program.network
    if not 0 <= row["layer"] < len(network.layers):
        return f"no layer {row['layer']}; the network has {len(network.layers)}"
    if not -1 <= row["reader"] < len(network.layers):
        return f"no reader {row['reader']}; the network has {len(network.layers)} layers"
    if not -1 <= row["execution"] < program.executions:
        return f"execution {row['execution']} of a program with {program.executions}"
    name = network.layers[int(row["layer"])].name
    for check in (_place_problem, _box_problem, _corruption_problem, _segment_problem):
        problem = check(row, program, name)
        if problem:
            return problem
    return ""


def _place_problem(row: np.void, program: Program, name: str) -> str:
    kind, at = Kind(row["kind"]), At(row["at"])
    layer = program.network[name]
    if at not in PLACES[kind]:
        known = ", ".join(a.name for a in PLACES[kind]) or "none in a layered program"
        return f"{kind.name} at {at.name} does not exist; places: {known}"
    sums = kind in (Kind.operand, Kind.term, Kind.accumulator) or at is At.bias
    if sums and not is_mac(layer):
        return f"{name} sums no terms"
    spikes = kind in (Kind.state, Kind.operation, Kind.spike) or at is At.threshold
    if spikes and not isinstance(layer, Lif):
        return f"{name} has no neurons"
    return ""


def _box_problem(row: np.void, program: Program, name: str) -> str:
    positions, channels = program.network.grid(name)
    axes = [("m", positions), ("n", channels)]
    if row["kind"] in (Kind.operand, Kind.term):
        axes.append(("k", program.network.mac_shape(name)[1]))
    for axis, size in axes:
        picked = box(row[axis], size)
        if len(picked) == 0 or picked[0] < 0 or picked[-1] >= size:
            return f"{axis} {tuple(row[axis].tolist())} is empty or outside 0..{size - 1}"
    return ""


def _corruption_problem(row: np.void, program: Program, name: str) -> str:
    kind, at, op = Kind(row["kind"]), At(row["at"]), Op(row["op"])
    if (op in (Op.skip, Op.always)) != (kind is Kind.operation):
        return f"{op.name} is no corruption of a {kind.name}"
    if op is Op.always and at not in (At.fire, At.reset):
        return f"only fire and reset can happen always, not {at.name}"
    if op in (Op.xor, Op.stuck):
        if not 1 <= row["bits"] <= MAX_BITS:
            return f"a place has 1 to {MAX_BITS} bits, came {row['bits']}"
        if not 0 < row["mask"] < 1 << int(row["bits"]):
            return f"mask {row['mask']} is empty or wider than {row['bits']} bits"
    return ""


def _segment_problem(row: np.void, program: Program, name: str) -> str:
    if row["kind"] != Kind.accumulator:
        return ""
    segments = program.arithmetic[name].segments
    segment = int(row["segment"])
    if not -1 <= segment < len(segments):
        return f"{name} has segments 0..{len(segments) - 1}, came {segment}"
    if row["at"] == At.after:
        start, stop = segments[segment]
        if segment < 0 or not 1 <= row["after"] <= stop - start:
            return f"after {row['after']} of segment {segment} does not exist"
    return ""
