"""Observables: what an engine gives back, and what each (trial, sample) ended as."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Observables", "Outcomes", "outcomes", "predictions"]


@dataclass(frozen=True, eq=False)
class Observables:
    """What evaluating a program under effects gives.

    Attributes:
        outputs: ``[trials, samples, classes]`` int64, summed over steps; the first largest wins.
        corrected: ``[trials, samples]`` bool, some guard corrected something.
        detected: ``[trials, samples]`` bool, some guard detected what it could not correct.
        hang: ``[trials, samples]`` bool; then the outputs are zeros.
        watched: For each layer asked for, ``[trials, samples, steps, *shape]`` int64: what it gave
            to its readers; under ``"<name>.membrane"`` of a spiking layer, its membrane when a step
            ends.
    """

    outputs: NDArray[np.int64]
    corrected: NDArray[np.bool_]
    detected: NDArray[np.bool_]
    hang: NDArray[np.bool_]
    watched: dict[str, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Counts over samples, ``[trials]`` each; the six classes add up to the number of samples.

    Attributes:
        masked: Outputs equal golden, no guard spoke.
        tolerated: Outputs differ, prediction equals golden.
        sdc: Prediction differs from golden, no guard spoke.
        corrected: A guard corrected something and the prediction equals golden.
        detected: A guard detected what it could not correct, or corrected something and the
            prediction differs all the same.
        hang: No output in time.
        correct: Predictions that equal the label (not a class).
    """

    masked: NDArray[np.int64]
    tolerated: NDArray[np.int64]
    sdc: NDArray[np.int64]
    corrected: NDArray[np.int64]
    detected: NDArray[np.int64]
    hang: NDArray[np.int64]
    correct: NDArray[np.int64]


def predictions(outputs: NDArray[np.int64]) -> NDArray[np.int64]:
    """First largest output along the last axis.

    >>> predictions(np.array([[3, 7, 7]])).tolist()
    [1]
    """
    return np.asarray(outputs.argmax(axis=-1), dtype=np.int64)


def outcomes(faulty: Observables, golden: NDArray[np.int64], labels: NDArray[np.int64]) -> Outcomes:
    """Class every (trial, sample), each in exactly one class.

    Args:
        faulty: Of all trials.
        golden: ``[samples, classes]`` outputs without effects.
        labels: ``[samples]``.
    """
    same = (faulty.outputs == golden).all(axis=-1)
    guess = predictions(faulty.outputs)
    agree = (guess == predictions(golden)) & ~faulty.hang
    detected = ~faulty.hang & (faulty.detected | (faulty.corrected & ~agree))
    corrected = ~faulty.hang & ~detected & faulty.corrected
    silent = ~faulty.hang & ~detected & ~corrected
    classes = {
        "masked": silent & same,
        "tolerated": silent & ~same & agree,
        "sdc": silent & ~agree,
        "corrected": corrected,
        "detected": detected,
        "hang": faulty.hang,
        "correct": (guess == labels) & ~faulty.hang,
    }
    return Outcomes(**{name: mask.sum(axis=1, dtype=np.int64) for name, mask in classes.items()})
