"""One effect as a row of numbers: the kinds, places and corruptions that there are.

`codesign.effects` says what they mean and holds tables of them; `codesign.events` says what they
mean on chips that work event by event.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from codesign.errors import FaultError
from codesign.formats import NumberFormat

__all__ = ["ALL", "DEFAULTS", "EFFECT", "PLACES", "At", "Kind", "Op", "box", "corrupt"]

ALL = (0, -1, 1)  # the whole of an axis: start, stop (-1: to the end), step


class Kind(IntEnum):
    """What an effect corrupts: the closed set."""

    operand = 0
    term = 1
    accumulator = 2
    activation = 3
    parameter = 4
    state = 5
    operation = 6
    spike = 7
    alias = 8


class At(IntEnum):
    """The place on the element's way."""

    weight = 0
    input = 1
    product = 2
    load = 3
    every = 4
    after = 5
    out = 6
    total = 7
    stored = 8
    bias = 9
    threshold = 10
    cell = 11
    read = 12
    write = 13
    integrate = 14
    leak = 15
    reset = 16
    fire = 17
    line = 18


class Op(IntEnum):
    """The corruption."""

    xor = 0
    stuck = 1
    replace = 2
    add = 3
    scale = 4
    skip = 5
    always = 6


# Of layered programs; those of event-serial ones stand in `codesign.events`.
PLACES: dict[Kind, tuple[At, ...]] = {
    Kind.operand: (At.weight, At.input),
    Kind.term: (At.product,),
    Kind.accumulator: (At.load, At.every, At.after, At.out, At.total),
    Kind.activation: (At.stored,),
    Kind.parameter: (At.bias, At.threshold),
    Kind.state: (At.cell, At.read, At.write),
    Kind.operation: (At.integrate, At.leak, At.reset, At.fire),
    Kind.spike: (At.line,),
    Kind.alias: (),
}

EFFECT = np.dtype(
    [
        ("trial", "i8"),
        ("event", "i8"),
        ("kind", "i1"),
        ("at", "i1"),
        ("layer", "i4"),  # index in network.layers
        ("m", "i8", (3,)),  # start, stop, step; stop -1: to the end
        ("k", "i8", (3,)),
        ("n", "i8", (3,)),
        ("segment", "i4"),
        ("after", "i4"),
        ("reader", "i4"),
        ("op", "i1"),
        ("bits", "i1"),
        ("signed", "?"),
        ("mask", "i8"),
        ("value", "i8"),
        ("samples", "i8", (2,)),
        ("steps", "i8", (2,)),
        ("execution", "i1"),
        ("rank", "i8"),
    ]
)

DEFAULTS = {
    "m": ALL,
    "k": ALL,
    "n": ALL,
    "segment": -1,
    "reader": -1,
    "signed": True,
    "samples": (0, -1),
    "steps": (0, -1),
    "execution": -1,
}


def box(selector: Iterable[int], size: int) -> range:
    """The indices that a (start, stop, step) selector picks from an axis of a size.

    >>> list(box((1, -1, 2), 6))
    [1, 3, 5]
    """
    start, stop, step = (int(x) for x in selector)
    return range(start, size if stop < 0 else stop, step)


def corrupt(values: NDArray[np.int64], row: np.void) -> NDArray[np.int64]:
    """Values ``[...]`` after the corruption of one effect row (xor, stuck, replace, add, scale).

    >>> row = np.zeros((), EFFECT)[()]
    >>> row["op"], row["bits"], row["signed"], row["mask"] = Op.xor, 8, True, 128
    >>> corrupt(np.array([0, -128, 3]), row).tolist()
    [-128, 0, -125]
    """
    op = Op(row["op"])
    if op is Op.replace:
        return np.full_like(values, row["value"])
    if op is Op.add:
        return values + row["value"]
    if op is Op.scale:
        return values * row["value"]
    form = NumberFormat(int(row["bits"]), bool(row["signed"]))
    pattern = values & ((1 << form.bits) - 1)
    if op is Op.xor:
        return form.decode(pattern ^ row["mask"])
    if op is Op.stuck:
        return form.decode((pattern & ~row["mask"]) | (row["value"] & row["mask"]))
    raise FaultError(f"corruption {op.name!r} belongs to an operation, not to a value")
