"""Guards: what stands between a corrupted value and its use. Data, and a closed set of kinds.

A value is corrupted first, then passes the guards of its place in the order they are listed, and is
then consumed. Golden values pass the same guards, so a guard that alters them costs golden accuracy
and the design's golden run shows it.

Places on the way of a layer's values:

- ``weight``: a weight operand, each time it is read for a term;
- ``activation``: a stored output element of the layer (code, sum or spike), when it is read;
- ``membrane``: the stored membrane of a `Lif`, when a step begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from codesign.errors import DataError
from codesign.formats import MAX_BITS, NumberFormat

__all__ = ["Clamp", "Correct", "Guard", "Recompute", "Replace", "Silence", "crossing_share"]

Place = Literal["weight", "activation", "membrane"]


@dataclass(frozen=True, slots=True)
class Clamp:
    """v → min(max(v, low), high). Range restriction.

    Attributes:
        layer: Layer name.
        place: Where on the layer's way.
        low: Smallest value that passes unchanged.
        high: Largest value that passes unchanged.
    """

    layer: str
    place: Place
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise DataError(f"clamp of {self.layer}: low {self.low} is above high {self.high}")


@dataclass(frozen=True, slots=True)
class Replace:
    """v → v if low <= v <= high, else a value: bound-and-protect.

    Attributes:
        layer: Layer name.
        place: Where on the layer's way.
        low: Smallest value that passes.
        high: Largest value that passes.
        value: What stands for anything above ``high``, and with ``keep_sign`` its negative for
            anything below ``low`` (without, the same value).
        keep_sign: See ``value``.
    """

    layer: str
    place: Place
    low: int
    high: int
    value: int
    keep_sign: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise DataError(f"replace in {self.layer}: low {self.low} is above high {self.high}")


@dataclass(frozen=True, slots=True)
class Correct:
    """An error-correcting code over each stored word of one element: corrects, else detects.

    With d bits of the word changed by all faults of the trial together: d <= bits: the golden value
    is restored and the (trial, sample) counts as *corrected*; d = bits + 1: the corrupted value
    passes and it counts as *detected*; more: passes unseen. (A real decoder may miscorrect more
    than ``bits + 1``; its check bits may fail. Neither is modelled.)

    Attributes:
        layer: Layer name.
        place: ``weight``, ``activation`` or ``membrane``.
        bits: Bits that are corrected.
        word_bits: Data bits of a stored word; see `codesign.program.Program.stored_bits`. A sign is
            one bit of it, however far a register behind extends it.
    """

    layer: str
    place: Place
    bits: int = 1
    word_bits: int = 8

    def __post_init__(self) -> None:
        if not (1 <= self.bits < self.word_bits <= MAX_BITS):
            raise DataError(
                f"code over {self.layer}: expected 1 <= bits < word_bits <= {MAX_BITS}, "
                f"came bits={self.bits}, word_bits={self.word_bits}"
            )


@dataclass(frozen=True, slots=True)
class Silence:
    """Neuron protection: who fired ``after`` steps in a row (this one included) gives no spike.

    The count is of the fire operation, before the silencing; it returns to 0 when the neuron does
    not fire. The membrane is not touched.

    Attributes:
        layer: Name of a `Lif`.
        after: Length of the run at which the output is cut, at least 2.
    """

    layer: str
    after: int = 2

    def __post_init__(self) -> None:
        if self.after < 2:
            raise DataError(f"silence of {self.layer}: after is at least 2, came {self.after}")


@dataclass(frozen=True, slots=True)
class Recompute:
    """Re-execution: the inference runs ``times`` times and the outputs are compared.

    Effects carry the execution they strike (-1: all). If a strict majority of the executions gives
    the same outputs, these are the result, and a sample where not all agreed counts as *corrected*;
    without a majority the first execution is the result and the sample counts as *detected*.

    Attributes:
        times: Executions, at least 2 (2 can only detect).
    """

    times: int = 3

    def __post_init__(self) -> None:
        if self.times < 2:
            raise DataError(f"recompute: times is at least 2, came {self.times}")


Guard = Clamp | Replace | Correct | Silence | Recompute


def crossing_share(values: ArrayLike, form: NumberFormat, low: int, high: int) -> float:
    """Share of all single-bit flips of stored values that leave a bound: what the bound can see.

    A bound can only help where faults can cross it; 0 means that it stands for nothing.

    Args:
        values: Golden codes, any shape, not empty.
        form: How they are stored.
        low: Smallest value that passes the bound.
        high: Largest value that passes the bound.

    >>> crossing_share([3, -3], NumberFormat(8), -3, 3)  # 2, 1 and -1 stay, 13 of 16 leave
    0.8125
    """
    patterns = form.encode(np.ravel(np.asarray(values)))
    flipped = form.decode(patterns[:, None] ^ (1 << np.arange(form.bits)))
    return float(((flipped < low) | (flipped > high)).mean())
