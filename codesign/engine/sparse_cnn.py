"""Conventional networks by their differences from the golden run, in the compiled kernels.

A trial starts at its first faulty layer; what differs there goes on through the layers after it,
and a (trial, sample) ends where nothing differs any more. Every output that can differ is given its
true sum and its true code: nothing is linear, nothing is approximate. Sums in which no overflow can
happen, or in which every overflow is modulo the last format, are golden plus a difference; all
others, and those inside of which an effect acts, are summed again term by term.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from codesign.effects import EFFECT, At, Kind, Op
from codesign.engine import kernels
from codesign.engine.dense_golden import Golden
from codesign.engine.sparse_cnn_data import Plan, check_sizes
from codesign.engine.sparse_cnn_plan import plan_of, why_not
from codesign.errors import UnsupportedError
from codesign.program import Program

__all__ = ["evaluate", "prepared", "sparse_trials", "why_dense"]

Ints = NDArray[np.int64]
Rows = NDArray[np.void]
MOST_ROWS = 128  # of a trial; from about a hundred faults on a dense pass costs less
DENSE_SHARE = 1  # a trial whose sums, term by term, cost more than a pass over this is dense
PLACE_BITS = {Kind.operand: 16, Kind.term: 32, Kind.accumulator: 46, Kind.activation: 28}

_plans: WeakKeyDictionary[Golden, Plan] = WeakKeyDictionary()
_reasons: WeakKeyDictionary[Program, str] = WeakKeyDictionary()


def why_dense(program: Program) -> str:
    """Why no trial of a program has a sparse form here, or an empty text."""
    if kernels.library() is None:
        return "no kernel is compiled"
    if program not in _reasons:
        _reasons[program] = why_not(program)
    return _reasons[program]


def prepared(golden: Golden) -> Plan:
    """The plan of a golden run, its sums computed: made once.

    Raises:
        UnsupportedError: The kernels' sums do not give the golden codes (a bug, never ignored).
    """
    if golden not in _plans:
        library = _library()
        plan = plan_of(golden)
        wrong = library.codesign_cnn_golden(ctypes.byref(plan.c), 0, len(golden.samples))
        if wrong:
            raise UnsupportedError(
                f"{golden.program.network.name}: {wrong} golden codes do not follow from the "
                f"kernels' sums ({kernels.kernel_name()}); use the dense engine and report this"
            )
        _plans[golden] = plan
    return _plans[golden]


def evaluate(
    golden: Golden,
    rows: Rows,
    starts: Ints,
    sums: NDArray[np.uint8],
    outputs: Ints,
    workers: int = 1,
    places: Ints | None = None,
) -> Ints:
    """Write the outputs of sparse trials where they differ from golden.

    Args:
        golden: Where trials start from.
        rows: ``[rows]`` of `EFFECT`, those that act, trial by trial.
        starts: ``[trials + 1]`` where each trial's rows begin.
        sums: ``[trials]`` of `sparse_trials`.
        outputs: ``[places, samples, classes]``, golden.
        workers: Threads; the samples are split among them.
        places: ``[trials]`` where each trial's outputs stand, or None for one behind another.

    Returns:
        Counts: (trial, sample) pairs, layers computed, outputs summed term by term, layers in 16
        bits.
    """
    library, plan = _library(), prepared(golden)
    table = np.ascontiguousarray(rows, dtype=EFFECT)
    flags = np.ascontiguousarray(sums, dtype=np.uint8)
    where = (
        np.arange(len(flags)) if places is None else np.ascontiguousarray(places, dtype=np.int64)
    )
    assert outputs.flags.c_contiguous
    assert outputs.dtype == np.int64
    samples = len(golden.samples)
    cuts = np.linspace(0, samples, min(workers, samples) + 1).astype(int).tolist()
    counts = np.zeros((len(cuts) - 1, 8), dtype=np.int64)

    def some(i: int) -> None:
        library.codesign_cnn_evaluate(
            ctypes.byref(plan.c),
            table.ctypes.data,
            starts.ctypes.data,
            flags.ctypes.data,
            where.ctypes.data,
            len(flags),
            cuts[i],
            cuts[i + 1],
            outputs.ctypes.data,
            counts[i].ctypes.data,
        )

    with ThreadPoolExecutor(len(counts)) as pool:
        list(pool.map(some, range(len(counts))))
    return np.asarray(counts.sum(axis=0)[:4])


def acting(table: Rows) -> NDArray[np.bool_]:
    """``[rows]`` that do anything in a program of one step and one execution."""
    start, stop = table["steps"].T
    first, last = table["samples"].T
    now = (start <= 0) & ((stop < 0) | (stop > 0)) & ((last < 0) | (last > first))
    return np.asarray(now & (table["execution"] <= 0))


def sparse_trials(
    golden: Golden, table: Rows, trials: int
) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """``[trials]`` which have a sparse form, and how their sums are made.

    0: golden plus differences; 1: so, although codes leave their range; 2: term by term.

    Args:
        golden: Where trials start from.
        table: Rows that act.
        trials: How many.
    """
    plan = prepared(golden)
    network = golden.program.network
    trial, layer = table["trial"], table["layer"]
    grids = np.array([network.grid(x.name) for x in network], dtype=np.int64)[layer]
    boxes = _count(table["m"], grids[:, 0]) * _count(table["n"], grids[:, 1])
    fine = _small_enough(table) & ~(plan.sums_only[layer] & (table["kind"] != Kind.activation))
    inside = _acts_inside(table, grids[:, 0])
    work = np.where(inside, boxes * plan.terms[layer], 0)
    excess = _excess(table, plan, boxes)

    def summed(values: Ints) -> Ints:
        return np.bincount(trial, weights=np.minimum(values, 1 << 40), minlength=trials)

    op = table["op"]
    growing = summed(((op == Op.add) | (op == Op.scale)).astype(np.int64))
    rows = np.bincount(trial, minlength=trials)
    carried = summed(excess)
    sparse = (summed((~fine).astype(np.int64)) == 0) & (rows <= MOST_ROWS) & (growing <= 1)
    sparse &= (carried <= plan.most_carried) & (summed(work) * DENSE_SHARE <= plan.products)
    sparse &= (summed((op == Op.scale).astype(np.int64)) == 0) | (rows == 1)
    sums = (carried > 0).astype(np.uint8) + (carried > plan.most_excess)
    return sparse, sums.astype(np.uint8)


def _count(box: Ints, size: Ints) -> Ints:
    start, stop, step = box.T
    stop = np.where(stop < 0, size, stop)
    return np.asarray((stop - start + step - 1) // step)


def _small_enough(table: Rows) -> NDArray[np.bool_]:
    """``[rows]`` whose corrupted values surely fit the kernels' integers."""
    kind, op = table["kind"], table["op"]
    bits = np.zeros(len(Kind), dtype=np.int64)
    for place, width in PLACE_BITS.items():
        bits[place] = width
    bits[Kind.parameter] = 31
    most = bits[kind]
    patterns = (op == Op.xor) | (op == Op.stuck)
    value = np.abs(table["value"])
    fine = np.where(patterns, table["bits"] <= most, value < (np.int64(1) << (most - 1)))
    fine &= (op != Op.scale) | ((value < 256) & (kind != Kind.accumulator))
    known = (kind < Kind.parameter) | ((kind == Kind.parameter) & (table["at"] == At.bias))
    return np.asarray(fine & known & (op < Op.skip))


def _acts_inside(table: Rows, positions: Ints) -> NDArray[np.bool_]:
    """``[rows]`` that act inside of sums: their outputs are summed again term by term."""
    start, stop, step = table["m"].T
    everywhere = (start == 0) & (step == 1) & ((stop < 0) | (stop == positions))
    everywhere |= positions == 1
    kind = table["kind"]
    broad = ((kind == Kind.operand) & (table["at"] == At.weight)) | (kind == Kind.parameter)
    return np.asarray((kind != Kind.activation) & ~(everywhere & broad))


def _excess(table: Rows, plan: Plan, boxes: Ints) -> Ints:
    """``[rows]`` by how much struck stored codes may leave their layers' ranges, all together."""
    low, high = plan.ranges[table["layer"]].T
    bits = table["bits"].astype(np.int64)
    signed = table["signed"]
    top = np.where(signed, (np.int64(1) << np.maximum(bits - 1, 0)) - 1, (np.int64(1) << bits) - 1)
    bottom = np.where(signed, -(np.int64(1) << np.maximum(bits - 1, 0)), 0)
    value, op = table["value"], table["op"]
    largest = np.maximum(np.abs(low), np.abs(high))
    least = np.select(
        [op == Op.replace, op == Op.add, op == Op.scale],
        [value, low - np.abs(value), -largest * np.abs(value)],
        bottom,
    )
    most = np.select(
        [op == Op.replace, op == Op.add, op == Op.scale],
        [value, high + np.abs(value), largest * np.abs(value)],
        top,
    )
    beyond = np.maximum(0, np.maximum(low - least, most - high))
    stored = (table["kind"] == Kind.activation) & (table["layer"] < len(plan.ranges) - 1)
    return np.asarray(np.where(stored, beyond * boxes, 0))


def _library() -> ctypes.CDLL:
    library = kernels.library()
    if library is None:
        raise UnsupportedError("no kernel is compiled here; the dense engine needs none")
    if library.codesign_cnn_evaluate.argtypes is None:
        check_sizes(library)
        whole, pointer = ctypes.c_int64, ctypes.c_void_p
        library.codesign_cnn_golden.restype = whole
        library.codesign_cnn_golden.argtypes = [pointer, whole, whole]
        library.codesign_cnn_evaluate.restype = None
        library.codesign_cnn_evaluate.argtypes = [
            *[pointer] * 5,
            *[whole] * 3,
            *[pointer] * 2,
        ]
    return library
