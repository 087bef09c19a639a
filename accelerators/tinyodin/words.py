"""The words of a tinyODIN chip: memories, what a host does to it, and its faulty bits.

A *neuron word* has 32 bits: potential [11:0] in two's complement, threshold [23:12] unsigned,
leak [30:24], disable [31]. *Synapse word* ``pre * 32 + post // 8`` holds eight weights of four bits
in two's complement, that of ``post`` at bit ``4 * (post % 8)``.

An input event has a 10-bit address. Bit 8 set: a leak, of all neurons if bits 7:0 are 255, else of
that neuron alone. Else bit 9 set: a *virtual* event, one update of neuron [3:0] with weight [7:4].
Else a *neuron* event of presynaptic address [7:0]: an update of every neuron.

Source: C. Frenkel, tinyODIN, github.com/ChFrenkel/tinyODIN, commit 18656534 (2023-03-31).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codesign.errors import DataError, FaultError, nearest
from codesign.formats import read_only

__all__ = [
    "DISABLE",
    "LEAK_ALL",
    "NEURONS",
    "PLACES",
    "BitFault",
    "Field",
    "Operation",
    "Workload",
    "neuron_words",
    "synapse_words",
]

NEURONS = 256
SYNAPSE_WORDS = NEURONS * NEURONS // 8
LEAK_ALL = 0x1FF
DISABLE = 1 << 31


class Field(NamedTuple):
    """A field of a neuron word: its lowest bit and its width."""

    low: int
    bits: int


POTENTIAL, THRESHOLD, LEAK = Field(0, 12), Field(12, 12), Field(24, 7)

# Where a bit can be wrong: words of the place, bits of a word.
PLACES: dict[str, tuple[int, int]] = {
    "neuron_memory": (NEURONS, 32),
    "neuron_register": (1, 32),
    "synapse_memory": (SYNAPSE_WORDS, 32),
    "synapse_register": (1, 32),
    "write_bus": (1, 32),
    "weight": (1, 4),
    "extended_weight": (1, 12),
    "neuron_address": (1, 8),
    "synapse_address": (1, 13),
}
STORED = ("neuron_memory", "neuron_register", "synapse_memory", "synapse_register")


class Operation(NamedTuple):
    """What the host does next: send an input event, or read all potentials.

    Attributes:
        address: 10-bit address of the input event; -1 to sample.
        wait_idle: Only when the chip has been idle for four cycles. A sample always waits.
    """

    address: int
    wait_idle: bool = True


@dataclass(frozen=True, eq=False)
class Workload:
    """A chip as it is loaded, and what the host then does.

    Attributes:
        neurons: ``[256]`` neuron words.
        synapses: ``[8192]`` synapse words.
        max_neuron: Address of the last neuron of a scan.
        open_loop: Whether own spikes only leave the chip; else they are also queued.
        operations: In order; a run ends with the last. What is queued then is not processed.
    """

    neurons: NDArray[np.int64]
    synapses: NDArray[np.int64]
    max_neuron: int
    open_loop: bool
    operations: tuple[Operation, ...]

    def __post_init__(self) -> None:
        for name, size in (("neurons", NEURONS), ("synapses", SYNAPSE_WORDS)):
            words = read_only(getattr(self, name))
            object.__setattr__(self, name, words)
            if words.shape != (size,) or words.min() < 0 or words.max() >> 32:
                raise DataError(f"{name}: expected {size} words of 32 bits, came {words.shape}")
        if not 0 <= self.max_neuron < NEURONS:
            raise DataError(f"max_neuron is 0 to {NEURONS - 1}, came {self.max_neuron}")
        for i, operation in enumerate(self.operations):
            if not -1 <= operation.address < 1 << 10:
                raise DataError(f"operation {i}: no 10-bit event address {operation.address}")
            if operation.address < 0 and not operation.wait_idle:
                raise DataError(f"operation {i}: a sample waits until the chip is idle")


@dataclass(frozen=True, slots=True)
class BitFault:
    """One faulty bit of the chip.

    Attributes:
        place: A name of `PLACES`: a memory, the register behind it, or a net that carries the
            neuron word to be written, the weight (4 bits, sign extended to 12), an address.
        word: Of a memory, else 0.
        bit: 0 is the least significant.
        kind: ``flip`` once at ``cycle`` (not of nets), or stuck from the first cycle on.
        cycle: A flip is seen by everything that happens on later edges.
    """

    place: str
    word: int
    bit: int
    kind: Literal["flip", "sa0", "sa1"]
    cycle: int = 0

    def __post_init__(self) -> None:
        if self.place not in PLACES:
            raise FaultError(f"no place {self.place!r}{nearest(self.place, PLACES)}")
        words, bits = PLACES[self.place]
        if not (0 <= self.word < words and 0 <= self.bit < bits):
            raise FaultError(
                f"{self.place} has words 0..{words - 1} of bits 0..{bits - 1}, "
                f"came word {self.word}, bit {self.bit}"
            )
        if self.kind == "flip" and self.place not in STORED:
            raise FaultError(f"{self.place} is a net and stores nothing: it cannot flip")


def neuron_words(
    potential: ArrayLike, threshold: ArrayLike, leak: ArrayLike, disabled: ArrayLike = 0
) -> NDArray[np.int64]:
    """Neuron words from their fields.

    Raises:
        DataError: A value does not fit in its field.

    >>> [hex(w) for w in neuron_words([-1], [5], [2]).tolist()]
    ['0x2005fff']
    """
    values = [np.asarray(x, dtype=np.int64) for x in (potential, threshold, leak, disabled)]
    limits = {"potential": (-2048, 2047), "threshold": (0, 4095), "leak": (0, 127)}
    for (name, (low, high)), value in zip(limits.items(), values, strict=False):
        if value.size and (value.min() < low or value.max() > high):
            raise DataError(f"{name}: expected {low} to {high}, came {value.min()}..{value.max()}")
    v, t, k, d = np.broadcast_arrays(*values)
    return np.asarray((v & 0xFFF) | t << THRESHOLD.low | k << LEAK.low | (d != 0) * DISABLE)


def synapse_words(weights: ArrayLike) -> NDArray[np.int64]:
    """``[8192]`` synapse words of ``[256, 256]`` weights (presynaptic, postsynaptic).

    Raises:
        DataError: Wrong shape, or a weight outside -8..7.
    """
    array = np.asarray(weights, dtype=np.int64)
    if array.shape != (NEURONS, NEURONS) or array.min() < -8 or array.max() > 7:
        raise DataError(f"expected [256, 256] weights from -8 to 7, came {array.shape}")
    nibbles = (array & 15).reshape(SYNAPSE_WORDS, 8)
    return np.asarray((nibbles << 4 * np.arange(8)).sum(axis=1))


def masks(faults: Iterable[BitFault], place: str, word: int = 0) -> tuple[int, int]:
    """What the stuck bits of a word do to it, as (and, or); stuck at one wins over zero."""
    keep, force = -1, 0
    for fault in faults:
        if fault.place == place and fault.word == word and fault.kind != "flip":
            keep &= ~(1 << fault.bit)
            force |= (fault.kind == "sa1") << fault.bit
    return keep, force
