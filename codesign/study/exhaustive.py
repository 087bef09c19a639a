"""Every bit of every weight, flipped once: the truth that a sample of faults estimates.

A flipped bit of a stored weight stays flipped and is read by all who read the weight, on all
samples. Nothing is drawn, so nothing has an interval. What is known of a chunk of faults is stored
before the next one counts as done; running again computes what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codesign.digests import digest
from codesign.effects import Effects
from codesign.engine import pick
from codesign.engine.observables import outcomes, predictions
from codesign.errors import StudyError
from codesign.layers import Conv2d, Linear
from codesign.network import is_mac
from codesign.program import Program
from codesign.samples import Samples
from codesign.store import ArrayStore
from codesign.study.progress import Progress

__all__ = ["CHUNK", "Truth", "WeightBits", "flip_every_bit"]

Ints: TypeAlias = NDArray[np.int64]

CHUNK = 1024  # faults that are evaluated together and stored together
COUNTED = ("masked", "tolerated", "sdc", "correct")


@dataclass(frozen=True, eq=False)
class WeightBits:
    """The bits of all weights of a program, numbered by layer, weight and bit, the lowest first.

    Attributes:
        program: Whose.
    """

    program: Program

    @cached_property
    def layers(self) -> tuple[Conv2d | Linear, ...]:
        """Those with weights, in order."""
        return tuple(
            x for x in self.program.network if isinstance(x, Conv2d | Linear) and is_mac(x)
        )

    @cached_property
    def ends(self) -> Ints:
        """``[layers]`` the number behind the last bit of each."""
        return np.cumsum([x.weight.size * x.weight_format.bits for x in self.layers])

    def __len__(self) -> int:
        return int(self.ends[-1]) if self.layers else 0

    def places(self, numbers: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Where bits are.

        Args:
            numbers: ``[bits]``.

        Returns:
            ``[bits]`` each: place in `layers`, output channel, term, and bit (0 is the lowest).
        """
        where = np.searchsorted(self.ends, numbers, side="right")
        widths = np.array([x.weight_format.bits for x in self.layers])[where]
        terms = np.array([x.weight[0].size for x in self.layers])[where]
        first = np.concatenate([[0], self.ends[:-1]])[where]
        weight, bit = np.divmod(numbers - first, widths)
        return where, weight // terms, weight % terms, bit

    def effects(self, numbers: Ints) -> Effects:
        """One trial a bit, in order."""
        where, channel, term, bit = self.places(numbers)
        network = self.program.network
        one = Effects.of([{"kind": "operand", "at": "weight", "op": "xor"}], 1)
        table = np.repeat(one.table, len(numbers))
        table["trial"] = table["event"] = np.arange(len(numbers))
        table["layer"] = np.array([network.index(x.name) for x in self.layers])[where]
        table["n"][:, 0], table["n"][:, 1] = channel, channel + 1
        table["k"][:, 0], table["k"][:, 1] = term, term + 1
        forms = [x.weight_format for x in self.layers]
        table["bits"] = np.array([form.bits for form in forms])[where]
        table["signed"] = np.array([form.signed for form in forms])[where]
        table["mask"] = np.int64(1) << bit
        return Effects(table, len(numbers))


@dataclass(frozen=True, eq=False)
class Truth:
    """What every bit does.

    Attributes:
        bits: Which.
        samples: How many each was tried on.
        golden_correct: Samples that are right without a fault.
        masked: ``[bits]`` samples whose outputs stay as they were.
        tolerated: ``[bits]`` samples whose outputs change and whose prediction does not.
        sdc: ``[bits]`` samples whose prediction changes.
        correct: ``[bits]`` samples that are right.
    """

    bits: WeightBits
    samples: int
    golden_correct: int
    masked: Ints
    tolerated: Ints
    sdc: Ints
    correct: Ints

    @property
    def loss(self) -> NDArray[np.float64]:
        """``[bits]`` accuracy lost, as a part of all samples; below 0 where a fault helps."""
        return np.asarray((self.golden_correct - self.correct) / self.samples)


def flip_every_bit(
    program: Program,
    samples: Samples,
    folder: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Truth:
    """Flip every bit of every weight, each alone, on all samples.

    Args:
        program: What is struck.
        samples: On what, labelled.
        folder: Where chunks are stored, and found again.
        workers: Threads; None for one on each processor. Results do not depend on it.
        progress: Is told.

    Raises:
        StudyError: The program has no weights.
        StoreError: A stored chunk is damaged; the message names its file.
    """
    bits = WeightBits(program)
    if len(bits) == 0:
        raise StudyError(f"{program.network.name}: no layer has weights, so none has a bit to flip")
    store, key = ArrayStore(folder), digest((program.digest, samples.digest, "weight flips", CHUNK))
    chunks = [np.arange(a, min(a + CHUNK, len(bits))) for a in range(0, len(bits), CHUNK)]
    names = [f"{key}-{number:06d}" for number in range(len(chunks))]
    missing = [i for i, name in enumerate(names) if not store.path(name).is_file()]
    progress = progress or Progress("bits", quiet=True)
    left = sum(len(chunks[i]) for i in missing)
    progress.start(len(bits) - left, left)
    golden = pick.run_golden(program, samples)
    if missing:
        pick.run_faulty(golden, bits.effects(chunks[missing[0]][:1]))  # makes what threads share

    def work(i: int) -> int:
        ended = outcomes(
            pick.run_faulty(golden, bits.effects(chunks[i])), golden.outputs, samples.labels
        )
        store.put(names[i], {name: getattr(ended, name).astype(np.int32) for name in COUNTED})
        return len(chunks[i])

    for done in _in_threads(work, missing, workers or os.cpu_count() or 1):
        left -= done
        progress.advance(done, left)
    parts = [store.get(name) for name in names]
    counts = {name: np.concatenate([part[name] for part in parts]) for name in COUNTED}
    right = int((predictions(golden.outputs) == samples.labels).sum())
    return Truth(bits, len(samples), right, **{k: v.astype(np.int64) for k, v in counts.items()})


def _in_threads(work: Callable[[int], int], items: Sequence[int], threads: int) -> Iterator[int]:
    """What `work` gives for each item, as it comes; an error or Ctrl-C stops what has not begun."""
    waiting = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        running: set[Future[int]] = {pool.submit(work, i) for i in islice(waiting, 2 * threads)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(work, i) for i in islice(waiting, len(done))}
                yield from (future.result() for future in done)
        finally:
            for future in running:
                future.cancel()
