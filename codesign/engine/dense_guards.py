"""Guards on tensors: what a corrupted (or golden) value passes before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.engine.dense_moment import Flags
from codesign.engine.dense_numbers import Value, carrier, popcount
from codesign.guards import Clamp, Correct, Recompute, Replace, Silence
from codesign.program import Program

__all__ = ["Passed", "ValueGuard", "guards_at", "pass_guards", "pass_weights"]

ValueGuard = Clamp | Replace | Correct


@dataclass(frozen=True)
class Passed:
    """A value behind its guards, and where they spoke.

    Attributes:
        value: What is used.
        corrected: ``[steps, samples, *shape]`` bool, or None where nothing was.
        detected: Likewise.
    """

    value: Value
    corrected: Tensor | None = None
    detected: Tensor | None = None

    def flags(self) -> Flags | None:
        """Which samples saw a guard speak, or None if none did."""
        if self.corrected is None or self.detected is None:
            return None
        seen = [x.flatten(2).any(2).any(0).cpu().numpy() for x in (self.corrected, self.detected)]
        return Flags(*seen)


def guards_at(program: Program, layer: str, place: str) -> tuple[ValueGuard, ...]:
    """The guards of a place of a layer, in order."""
    return tuple(
        g
        for g in program.guards
        if not isinstance(g, Recompute | Silence) and (g.layer, g.place) == (layer, place)
    )


def pass_guards(before: Value, value: Value, guards: Sequence[ValueGuard]) -> Passed:
    """A value after its guards; ``before`` is what stood there before corruption."""
    corrected: Tensor | None = None
    detected: Tensor | None = None
    for guard in guards:
        if isinstance(guard, Clamp):
            value = _clamp(value, guard)
        elif isinstance(guard, Replace):
            value = _replace(value, guard)
        elif before.data is not value.data:
            value, right, seen = _correct(before, value, guard)
            corrected = right if corrected is None else corrected | right
            detected = seen if detected is None else detected | seen
    return Passed(value, corrected, detected)


def _clamp(value: Value, guard: Clamp) -> Value:
    if guard.low <= value.low and value.high <= guard.high:
        return value
    low, high = (min(max(end, guard.low), guard.high) for end in (value.low, value.high))
    dtype = carrier(low, high, "clamped values")
    return Value(value.data.clamp(low, high).to(dtype), low, high)


def _replace(value: Value, guard: Replace) -> Value:
    if guard.low <= value.low and value.high <= guard.high:
        return value
    ends = [max(value.low, guard.low), min(value.high, guard.high)]
    ends = ends if ends[0] <= ends[1] else []
    below = -guard.value if guard.keep_sign else guard.value
    ends += ([guard.value] if value.high > guard.high else []) + (
        [below] if value.low < guard.low else []
    )
    low, high = min(ends), max(ends)
    dtype = carrier(min(low, value.low), max(high, value.high), "replaced values")
    data = value.data.to(dtype)
    changed = torch.where(data > guard.high, float(guard.value), data)
    changed = torch.where(data < guard.low, float(below), changed)
    return Value(changed.to(carrier(low, high, "replaced values")), low, high)


def _correct(before: Value, value: Value, guard: Correct) -> tuple[Value, Tensor, Tensor]:
    low, high = min(before.low, value.low), max(before.high, value.high)
    dtype = carrier(low, high, "corrected values")
    golden, found = torch.broadcast_tensors(before.data.to(dtype), value.data.to(dtype))
    wrong = torch.zeros(found.shape, dtype=torch.int64, device=found.device)
    at = golden != found
    wrong[at] = popcount((golden[at].long() ^ found[at].long()) & ((1 << guard.word_bits) - 1))
    right = (wrong > 0) & (wrong <= guard.bits)
    return Value(torch.where(right, golden, found), low, high), right, wrong == guard.bits + 1


def pass_weights(
    before: NDArray[np.int64], after: NDArray[np.int64], guards: Sequence[ValueGuard]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Int64 weights behind their guards, and where these corrected and detected."""
    corrected, detected = np.zeros(after.shape, dtype=bool), np.zeros(after.shape, dtype=bool)
    for guard in guards:
        if isinstance(guard, Clamp):
            after = np.clip(after, guard.low, guard.high)
        elif isinstance(guard, Replace):
            below = -guard.value if guard.keep_sign else guard.value
            after = np.where(
                after > guard.high, guard.value, np.where(after < guard.low, below, after)
            )
        else:
            word = (1 << guard.word_bits) - 1
            wrong = popcount(torch.from_numpy((before ^ after) & word)).numpy()
            right = (wrong > 0) & (wrong <= guard.bits)
            corrected |= right
            detected |= wrong == guard.bits + 1
            after = np.where(right, before, after)
    return after, corrected, detected
