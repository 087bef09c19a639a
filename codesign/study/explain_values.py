"""What stood where a fault struck: the golden values at the places that effects name.

`codesign.effects` says which places there are, `codesign.program` where each lies on a value's way.
Values are those of the golden run: under a permanent fault what reaches a later place may differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codesign.effects import At, Op
from codesign.formats import Requantise
from codesign.network import Conv2d, Lif, Linear
from codesign.program import Program
from codesign.study.explain_place import Place, Touched, Values, source_elements

__all__ = ["touched"]

Ints: TypeAlias = NDArray[np.int64]


def touched(row: np.void, program: Program, golden: Values) -> Touched:
    """The golden values that one effect corrupts, and what it makes of each.

    Args:
        row: One row of `codesign.effects.EFFECT`.
        program: What is computed.
        golden: Of one sample, ``[steps, *shape]`` of every layer as it stands before its own
            activation guards, and ``<name>.membrane`` of spiking layers when each step ends.
    """
    place = Place(row, program, golden)
    find = _PLACES[At(int(row["at"]))]
    return find(place)


def _weight(place: Place) -> Touched:
    values = place.weights()[np.ix_(place.n, place.k)]
    assert isinstance(place.layer, Conv2d | Linear)
    shape = place.layer.weight.shape

    def name(i: int) -> str:
        n, k = divmod(i, len(place.k))
        rest = np.unravel_index(int(place.k[k]), shape[1:])
        index = (int(place.n[n]), *(int(x) for x in rest))
        return f"{place.name}.weight[{','.join(map(str, index))}]"

    return place.result(values, name)


def _input(place: Place) -> Touched:
    """Every element of the source once, however many terms read it."""
    place.cut(len(place.k) * len(place.n))
    edge = place.layer.inputs[0]
    at = source_elements(
        place.network, place.name, place.m[:, None, None], place.k[:, None], place.n[None, None]
    )
    elements = np.unique(at)
    values = place.source(edge.source, edge.delay_steps)
    found = np.where(elements >= 0, values[:, np.maximum(elements, 0)], 0)

    def name(i: int) -> str:
        step, which = divmod(i, len(elements))
        flat = int(elements[which])
        told = place.element(edge.source, flat) if flat >= 0 else "a zero of the padding"
        return told + place.at_step(int(place.steps[step]))

    return place.result(found, name)


def _product(place: Place) -> Touched:
    place.cut(len(place.k) * len(place.n) * len(place.steps))
    weights = place.weights()[np.ix_(place.n, place.k)].T
    values = place.inputs(place.k) * weights

    def name(i: int) -> str:
        step, m, k, n = (int(x) for x in np.unravel_index(i, values.shape))
        told = place.output(int(place.m[m]), int(place.n[n]))
        return f"term {place.k[k]} of {told}{place.at_step(int(place.steps[step]))}"

    return place.result(values, name)


def _sums(place: Place) -> Touched:
    """Running sums, readouts or totals of the outputs of the box, as the chip forms them."""
    at, wanted = At(int(place.row["at"])), int(place.row["segment"])
    arithmetic = place.arithmetic()
    writes = arithmetic.splits[-1] if at is At.every else len(arithmetic.segments)
    place.cut(len(place.n) * len(place.steps) * writes)
    bias = place.bias()
    total = arithmetic.outer.fit(bias * (arithmetic.bias_in == "outer"))
    total = np.broadcast_to(total, (len(place.steps), *bias.shape))
    found: list[tuple[str, Ints]] = []
    for segment in range(len(arithmetic.segments)):
        start = bias if segment == 0 and arithmetic.bias_in == "load" else np.zeros_like(bias)
        sums = _running(place, segment, np.broadcast_to(start, total.shape))
        acc = sums[-1]
        if arithmetic.readout is not None:
            acc = _of_channels(arithmetic.readout, place.n).code(acc, channel_axis=2)
        total = arithmetic.outer.fit(total + acc)
        if segment == wanted or wanted < 0:
            found += _at_place(place, at, segment, [*sums, acc, total])
    values = np.stack([value for _, value in found])

    def name(i: int) -> str:
        write, step, m, n = (int(x) for x in np.unravel_index(i, values.shape))
        told = place.output(int(place.m[m]), int(place.n[n]))
        return f"{found[write][0]} of {told}{place.at_step(int(place.steps[step]))}"

    return place.result(values, name)


def _running(place: Place, segment: int, start: Ints) -> list[Ints]:
    """A segment's sum at its load and after each of its terms, each ``[steps, m, n]``."""
    sums = [start]
    weights = place.weights()[place.n]
    for k in place.arithmetic().terms(segment).tolist():
        product = place.inputs(np.array([k]))[:, :, 0] * weights[:, k]
        sums.append(place.arithmetic().inner.fit(sums[-1] + product))
    return sums


def _of_channels(readout: Requantise, channels: Ints) -> Requantise:
    if not np.ndim(readout.multiplier):
        return readout
    return replace(readout, multiplier=np.asarray(readout.multiplier)[channels])


def _at_place(place: Place, at: At, segment: int, sums: list[Ints]) -> list[tuple[str, Ints]]:
    """Of a segment's sums (load, after each term, out, total) those at the place of the row."""
    *running, out, total = sums
    where = f"in segment {segment}" if len(place.arithmetic().segments) > 1 else ""
    told = {
        At.load: [("the sum as it begins", running[0])],
        At.every: [(f"the sum after {j} terms", v) for j, v in enumerate(running) if j],
        At.after: [
            (f"the sum after {j} terms", v)
            for j, v in enumerate(running)
            if j and j == int(place.row["after"])
        ],
        At.out: [("the sum on its way out", out)],
        At.total: [("the total", total)],
    }[at]
    return [(f"{name} {where}".strip(), value) for name, value in told]


def _stored(place: Place) -> Touched:
    return place.outputs(place.of_layer(place.name, place.steps))


def _bias(place: Place) -> Touched:
    def name(i: int) -> str:
        m, n = divmod(i, len(place.n))
        return f"the bias of {place.output(int(place.m[m]), int(place.n[n]))}"

    return place.result(place.bias(), name)


def _threshold(place: Place) -> Touched:
    assert isinstance(place.layer, Lif)
    threshold = np.ravel(place.layer.threshold)
    values = threshold[place.n] if len(threshold) > 1 else np.full(len(place.n), threshold[0])

    def name(i: int) -> str:
        return f"the threshold of channel {int(place.n[i])} of {place.name}"

    return place.result(values, name)


def _membrane_begins(place: Place) -> Touched:
    """A membrane as a step begins; what struck its cell is there in the first step only."""
    if At(int(place.row["at"])) is At.cell and Op(int(place.row["op"])) is not Op.stuck:
        place.steps = place.steps[:1]
    before = place.of_layer(f"{place.name}.membrane", np.maximum(place.steps - 1, 0))
    before = np.where(place.steps[:, None, None] > 0, before, 0)
    return place.outputs(before, "the membrane of ")


def _membrane_ends(place: Place) -> Touched:
    values = place.of_layer(f"{place.name}.membrane", place.steps)
    return place.outputs(values, "the membrane of ")


def _cell(place: Place) -> Touched:
    """Where a stuck cell holds: as each step begins and as it ends."""
    begins = _membrane_begins(place)
    if Op(int(place.row["op"])) is not Op.stuck:
        return begins
    ends = _membrane_ends(place)
    return Touched(
        begins.names,
        np.concatenate([begins.golden, ends.golden]),
        np.concatenate([begins.faulty, ends.faulty]),
    )


def _fires(place: Place) -> Touched:
    """Whether each neuron fires (and is reset) in each step."""
    always = Op(int(place.row["op"])) is Op.always
    values = place.of_layer(place.name, place.steps)
    return place.outputs(values, f"the {At(int(place.row['at'])).name} of ", int(always))


def _currents(place: Place) -> Touched:
    """What each neuron would integrate in each step."""
    size = prod(place.network.shapes[place.name])
    flat = np.zeros((len(place.steps), size), dtype=np.int64)
    for edge in place.layer.inputs:
        flat = flat + place.source(edge.source, edge.delay_steps)
    return place.outputs(flat[:, place.elements()], "the current of ", 0)


def _unknown(place: Place) -> Touched:
    nothing = np.zeros(0, dtype=np.int64)
    return Touched((), nothing, nothing, complete=False)


_PLACES: dict[At, Callable[[Place], Touched]] = {
    At.weight: _weight,
    At.input: _input,
    At.product: _product,
    At.load: _sums,
    At.every: _sums,
    At.after: _sums,
    At.out: _sums,
    At.total: _sums,
    At.stored: _stored,
    At.bias: _bias,
    At.threshold: _threshold,
    At.cell: _cell,
    At.read: _membrane_begins,
    At.write: _membrane_ends,
    At.integrate: _currents,
    At.leak: _unknown,
    At.reset: _fires,
    At.fire: _fires,
    At.line: _stored,
}
