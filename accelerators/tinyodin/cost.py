"""What an inference on tinyODIN costs at a mean number of spikes, and what its words hold.

Cycles, to the last one where the host waits: an event or a leak 2 a neuron of the scan; beside it
an event 8 and the host's idle cycles, a leak 6 and these, an own spike's event 2; each spike 6;
idle cycles before the end. In bursts events take fewer: this is a bound.

A layer's cycles are the updates of its neurons: its own work, whoever's event it is. To no layer
belong updates of numbers that the scan passes and nobody uses (compute), the handling of events and
leaks (load), of spikes (drain), and the host's waiting (stall). Means are rounded to cycles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from codesign.errors import MappingError
from codesign.guards import Guard
from codesign.mapping import Activity, Cost, CostRow, Holding, Phases

if TYPE_CHECKING:
    from accelerators.tinyodin.mapping import TinyOdinMapping

__all__ = ["cost_of", "holdings_of"]

PER_WORD = 8  # weights of one axon
WORDS_PER_AXON = 32
WEIGHT_BITS = 4
WORD_BITS = 32


def cost_of(mapping: TinyOdinMapping, activity: Activity, guards: tuple[Guard, ...]) -> Cost:
    """Price one inference; no energy of the chip is published.

    Raises:
        MappingError: The activity lacks the spikes of a layer.
        UnsupportedError: There are guards.
    """
    program, scan = mapping.program(guards), mapping.placed.scan
    names = [mapping.network.layers[0].name, *(layer.lif.name for layer in mapping.layers)]
    missing = [name for name in names if name not in activity.spikes]
    if missing:
        raise MappingError(f"cost: the activity has no spikes of {', '.join(missing)}")
    sent, own = activity.spikes[names[0]], sum(activity.spikes[n] for n in names[1:])
    leaks = mapping.network.steps if program.coding and program.coding.leak != "none" else 0
    phases = _phases(mapping, sent, own, leaks)
    events, updates = sent + own, (sent + own + leaks) * scan
    actions = [
        ("neurons", "memory", "read", updates, WORD_BITS),
        ("neurons", "memory", "write", updates, WORD_BITS),
        ("synapses", "memory", "read", events * 2 * -(-scan // PER_WORD), WORD_BITS),
        ("queue", "events", "write", events, 12),
    ]
    rows = tuple(
        CostRow("*", unit, component, action, count, bits, None, "absent")
        for unit, component, action, count, bits in actions
    )
    total = sum(part.cycles for part in phases.values())
    clock = mapping.sheet.clock
    return Cost(
        cycles=total,
        layer_cycles={name: part.cycles for name, part in phases.items() if name != "*"},
        utilisation={x.linear.name: x.size / scan for x in mapping.layers},
        rows=rows,
        latency_us=None if clock is None else total / clock.value,
        missing=tuple(f"{u}.{c}.{a}" for u, c, a, _, _ in actions),
        phases=phases,
    )


def _phases(mapping: TinyOdinMapping, sent: float, own: float, leaks: int) -> dict[str, Phases]:
    items, idle = sent + own + leaks, mapping.sheet.idle_cycles
    found = {x.linear.name: Phases(compute=round(items * 2 * x.size)) for x in mapping.layers}
    unused = mapping.placed.scan - len(mapping.placed.neurons)
    found["*"] = Phases(
        load=round(sent * 8 + own * 2 + leaks * 6),
        compute=round(items * 2 * unused),
        drain=round(own * 6),
        stall=round(idle * (1 + sent + leaks)),
    )
    return found


def holdings_of(mapping: TinyOdinMapping) -> Iterator[Holding]:
    """Neuron words, and weights an axon a run; both stand throughout an inference."""
    last = max((a.last_cycle for a in mapping.assignments()), default=0)
    sources, at = mapping.placed.inputs, 0
    for layer in mapping.layers:
        targets = mapping.placed.neurons[at : at + layer.size]
        at += layer.size
        for start, stop in _runs(targets):
            yield _neurons(layer.lif.name, (start, stop), targets[start], last)
            for k, axon in enumerate(sources):
                yield _weights(layer.linear.name, (start, stop), targets[start], (k, axon), last)
        sources = targets


def _neurons(layer: str, n: tuple[int, int], first: int, last: int) -> Holding:
    """A run of neurons, the first in word ``first``."""
    return Holding(
        layer=layer,
        tensor="neuron",
        unit="neurons",
        component="memory",
        instances=(),
        words=(first, first + n[1] - n[0]),
        m=(0, 1),
        k=(0, 1),
        n=n,
        order="n",
        bits=WORD_BITS,
        first_cycle=0,
        last_cycle=last,
    )


def _weights(
    layer: str, n: tuple[int, int], first: int, source: tuple[int, int], last: int
) -> Holding:
    """Weights of one input (its number, its axon) for a run of neurons."""
    k, row = source[0], source[1] * WORDS_PER_AXON
    words = (row + first // PER_WORD, row + (first + n[1] - n[0] - 1) // PER_WORD + 1)
    return Holding(
        layer=layer,
        tensor="weight",
        unit="synapses",
        component="memory",
        instances=(),
        words=words,
        m=(0, 1),
        k=(k, k + 1),
        n=n,
        order="kn",
        bits=WEIGHT_BITS,
        first_cycle=0,
        last_cycle=last,
        per_word=PER_WORD,
        offset=first % PER_WORD,
    )


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(start, stop) of places with neighbouring numbers.

    >>> list(_runs([4, 5, 6, 9]))
    [(0, 3), (3, 4)]
    """
    start = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[i - 1] + 1:
            yield start, i
            start = i
