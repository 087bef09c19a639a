"""Which trials the sparse engine for spiking networks runs exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codesign.effects import At, Effects, Kind, Op
from codesign.engine.sparse_snn_chain import CURRENTS, LINES, NEURONS, SPIKES, SUMS, Chain

__all__ = ["sparse_trials"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# What is cheaper without differences: limits of one trial.
MOST_ROWS, MOST_WEIGHTS, MOST_LINES = 256, 2048, 64
LARGEST_SUM = 2.0**28  # of a corrupted sum that is pooled, times what is pooled
WIDEST = 40  # bits of a corrupted membrane, current or threshold


def sparse_trials(chain: Chain, effects: Effects) -> Bools:
    """``[trials]`` whether every effect of a trial has a sparse form in a chain.

    Effects on single terms and inside sums have none; nor have corruptions that make something else
    than 0 or 1 of a spike, that add to or scale membranes, currents or one value twice, that let a
    sum leave its formats, or that touch so much that the dense engine is faster.
    """
    table, trials = effects.table, effects.trials
    if len(table) == 0:
        return np.ones(trials, dtype=bool)
    rows = _Rows(chain, table)
    good = rows.known & rows.fits
    trial = rows.trial
    sparse = np.bincount(trial[~good], minlength=trials) == 0
    if trials == len(table) and (np.diff(trial) == 1).all():
        return sparse & _small(rows, chain, rows.stage >= 0)
    sparse &= np.bincount(trial, minlength=trials) <= MOST_ROWS
    sparse &= np.bincount(trial, rows.weights, minlength=trials) <= MOST_WEIGHTS
    sparse &= np.bincount(trial, rows.lines, minlength=trials) <= MOST_LINES
    for number in range(len(chain.stages)):
        mine = (rows.stage == number) & rows.before
        if mine.any():
            sparse &= _together(rows, chain, number, mine, trials)
    return sparse


def _small(rows: _Rows, chain: Chain, _: Bools) -> Bools:
    """One row a trial: whether it touches little and no sum can leave its formats."""
    headroom = np.array([s.headroom for s in chain.stages])[rows.stage]
    enough = rows.touched * rows.weight * rows.value + rows.bias <= headroom
    few = (rows.weights <= MOST_WEIGHTS) & (rows.lines <= MOST_LINES)
    return np.asarray(few & (enough | ~rows.before))


def _together(rows: _Rows, chain: Chain, number: int, mine: Bools, trials: int) -> Bools:
    """The same of trials with any number of rows, for one stage."""
    trial = rows.trial[mine]

    def most(values: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.zeros(trials)
        np.maximum.at(found, trial, values[mine])
        return found

    touched = np.bincount(trial, rows.touched[mine], minlength=trials)
    bias = np.bincount(trial, rows.bias[mine], minlength=trials)
    enough = touched * most(rows.weight) * most(rows.value) + bias <= chain.stages[number].headroom
    repeated = np.bincount(trial, rows.grows[mine], minlength=trials)
    several = np.bincount(trial, minlength=trials) > 1
    return np.asarray(enough & ~((repeated > 0) & several))


class _Rows:
    """What rows touch, ``[rows]`` each.

    Attributes:
        trial: Of each.
        stage: That it belongs to.
        known: Whether its kind and place have a sparse form.
        fits: Whether its corruption has one there.
        before: Whether it acts on inputs, weights or biases.
        weights: Weights that it touches.
        lines: Input lines that it touches.
        touched: Terms of one sum that it touches.
        weight: Magnitude of the weights that it touches, before or after.
        value: Of the inputs.
        bias: Of the bias, if it touches one.
        grows: Whether it adds or scales, 1 or 0.
    """

    def __init__(self, chain: Chain, table: NDArray[np.void]) -> None:
        kind, at, op = table["kind"], table["at"], table["op"]
        layer = table["layer"]
        roles = chain.roles
        role = np.array([r.role for r in roles])[layer]
        number = np.array([r.stage for r in roles])[layer]
        self.trial = table["trial"].astype(np.int64)
        stored = kind == Kind.activation
        pools = np.array([s.pool is not None for s in chain.stages])[number]
        lines = stored & (role == LINES)
        spikes = (kind == Kind.spike) | (stored & ((role == NEURONS) | (role == SPIKES)))
        pooled = stored & (role == SUMS) & pools
        current = stored & ((role == SUMS) | (role == CURRENTS)) & ~pooled
        state = kind == Kind.state
        operand = kind == Kind.operand
        bias = (kind == Kind.parameter) & (at == At.bias)
        threshold = (kind == Kind.parameter) & (at == At.threshold)
        self.known = lines | spikes | current | pooled | state | operand | bias | threshold
        self.known |= kind == Kind.operation
        self.stage = number
        self.before = lines | operand | bias

        grows = (op == Op.add) | (op == Op.scale)
        self.grows = grows.astype(np.float64)
        reach = np.where(
            (op == Op.xor) | (op == Op.stuck),
            2.0 ** np.clip(table["bits"], 0, 62),
            np.abs(table["value"].astype(np.float64)),
        )
        self.fits = ~spikes | _stays_spike(table)
        self.fits &= ~(state | current) | (~grows & (reach <= 2.0**WIDEST))
        areas = np.array(
            [s.pool.kernel[0] * s.pool.kernel[1] if s.pool else 1 for s in chain.stages]
        )
        self.fits &= ~pooled | (~grows & (reach * areas[number] <= LARGEST_SUM))
        golden = np.array([float(np.abs(s.neurons.threshold).max()) for s in chain.stages])
        self.fits &= ~threshold | (_after(reach, op, golden[self.stage]) < 2.0**WIDEST)
        self.fits &= ~threshold | ~grows | (_alone(self.trial))

        inputs = np.array([s.sums.weight[0].size for s in chain.stages])[self.stage]
        outputs = np.array([s.sums.weight.shape[0] for s in chain.stages])[self.stage]
        terms = np.where(operand, _count(table["k"], inputs), 0)
        self.weights = np.where(operand, terms * _count(table["n"], outputs), 0).astype(np.float64)
        grid = np.array([r.grid for r in roles])[layer]
        elements = _count(table["m"], grid[:, 0]) * _count(table["n"], grid[:, 1])
        self.lines = np.where(lines, elements, 0).astype(np.float64)
        self.touched = (terms + self.lines).astype(np.float64)
        weight = np.array([float(np.abs(s.sums.weight).max()) for s in chain.stages])[self.stage]
        value = np.array([float(max(-s.low, s.high)) for s in chain.stages])[self.stage]
        weighs = operand & (at == At.weight)
        self.weight = np.where(weighs, np.maximum(weight, _after(reach, op, weight)), weight)
        reads = (operand & (at == At.input)) | lines
        self.value = np.where(reads, np.maximum(value, _after(reach, op, value)), value)
        biases = np.array([float(np.abs(s.sums.bias).max()) for s in chain.stages])[self.stage]
        self.bias = np.where(bias, biases + _after(reach, op, biases), 0.0)


def _after(
    reach: NDArray[np.float64], op: Ints, golden: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Largest magnitude that a corruption can give of values of a magnitude."""
    grown = np.where(op == Op.add, golden + reach, golden * reach)
    return np.where((op == Op.add) | (op == Op.scale), grown, reach)


def _alone(trial: Ints) -> Bools:
    """Whether a row is the only one of its trial."""
    return np.asarray(np.bincount(trial)[trial] == 1)


def _stays_spike(table: NDArray[np.void]) -> Bools:
    """Whether a corruption makes 0 or 1 of 0 and of 1."""
    op, value, mask = table["op"], table["value"], table["mask"]
    bits = np.clip(table["bits"].astype(np.int64), 1, 62)
    low = (np.int64(1) << bits) - 1
    fits = np.ones(len(table), dtype=bool)
    for spike in (0, 1):
        pattern = np.where(op == Op.xor, spike ^ mask, (spike & ~mask) | (value & mask)) & low
        sign = np.int64(1) << (bits - 1)
        decoded = np.where(table["signed"], (pattern ^ sign) - sign, pattern)
        after = np.select(
            [op == Op.replace, op == Op.add, op == Op.scale],
            [value, spike + value, spike * value],
            decoded,
        )
        fits &= (after == 0) | (after == 1)
    return fits


def _count(selector: Ints, size: Ints) -> Ints:
    """Elements that selectors pick of axes of some sizes."""
    start, stop, step = selector.T
    stop = np.where(stop < 0, size, stop)
    return np.asarray(np.maximum(0, -((start - stop) // np.maximum(step, 1))))
