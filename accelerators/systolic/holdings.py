"""What stands in which words of the memories of a systolic array.

The rules are those of `accelerators.systolic.memories`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from codesign.mapping import Holding

if TYPE_CHECKING:
    from accelerators.systolic.memories import Memories

__all__ = ["holdings_of"]

Range = tuple[int, int]
ONE: Range = (0, 1)


def holdings_of(memories: Memories) -> tuple[Holding, ...]:
    """Of dram, weight_sram, activation_sram and psum_sram."""
    return (*_weights(memories), *_maps(memories), *_sums(memories))


def _weights(memories: Memories) -> Iterator[Holding]:
    plan, cycles = memories.weights, memories.schedule.cycles
    for load in plan.loads:
        layer = plan.schedule.layers[load.layer]
        terms = (ONE, (0, layer.k))
        if load.channel == 0:
            first = load.source // plan.dram.per_word
            words = (first, first + plan.dram.words_for(layer.n * layer.k))
            box = (*terms, (0, layer.n), "nk", plan.dram.width, 0, cycles, plan.dram.per_word)
            yield Holding(layer.name, "weight", "dram", "words", (), words, *box)
        first = load.element // plan.sram.per_word
        words = (first, first + plan.sram.words_for(load.channels * layer.k))
        channels = (load.channel, load.channel + load.channels)
        time = (load.written, load.replaced)
        box = (*terms, channels, "nk", plan.sram.width, *time, plan.sram.per_word)
        yield Holding(layer.name, "weight", "weight_sram", "words", (), words, *box)


def _maps(memories: Memories) -> Iterator[Holding]:
    schedule, store = memories.schedule, memories.activation
    starts = [plan.first_cycle for plan in schedule.layers] + [schedule.cycles]
    for stored in memories.maps:
        positions, channels = memories.network.grid(stored.name)
        words = (stored.first_word, stored.first_word + store.words_for(stored.size))
        time = (starts[stored.written], starts[stored.freed])
        box = ((0, positions), ONE, (0, channels), "nm", store.width, *time, store.per_word)
        yield Holding(stored.name, "activation", "activation_sram", "words", (), words, *box)


def _sums(memories: Memories) -> Iterator[Holding]:
    """Of the tile at work: n (m, input stationary) is the column of the array it stands in."""
    schedule, store = memories.schedule, memories.psum
    rows, columns, streamed = schedule.roles
    for plan in schedule.layers:
        lines = schedule.rows.count if plan.dataflow == "output_stationary" else plan.stream
        slow = rows if plan.dataflow == "output_stationary" else streamed
        box = {"m": ONE, "k": ONE, "n": ONE} | {
            slow: (0, lines),
            columns: (0, schedule.cols.count),
        }
        yield Holding(
            layer=plan.name,
            tensor="sum",
            unit="psum_sram",
            component="words",
            instances=(),
            words=(0, store.words_for(lines * schedule.cols.count)),
            m=box["m"],
            k=box["k"],
            n=box["n"],
            order=slow + columns,
            bits=store.width,
            first_cycle=plan.first_cycle,
            last_cycle=plan.last_cycle,
            per_word=store.per_word,
        )
