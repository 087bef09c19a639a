"""Small tinyODIN workloads and faults drawn at random: every kind of event, every place."""

from __future__ import annotations

import numpy as np
from oracles_tinyodin import Machine

from accelerators.tinyodin.cycle import CycleRun
from accelerators.tinyodin.words import (
    PLACES,
    BitFault,
    Operation,
    Workload,
    neuron_words,
    synapse_words,
)

NETS = ("write_bus", "weight", "extended_weight", "neuron_address", "synapse_address")


def random_workload(
    rng: np.random.Generator, *, open_loop: bool, operations: int = 25, neurons: int = 0
) -> Workload:
    """A few neurons near their thresholds and near saturation, all kinds of event."""
    neurons = neurons or int(rng.integers(1, 20))
    shape = (256,)
    potentials = rng.choice([-2048, -2040, -9, -1, 0, 3, 9, 2040, 2047], shape)
    potentials = np.where(rng.random(shape) < 0.5, rng.integers(-30, 30, shape), potentials)
    thresholds = rng.choice([0, 2047, 2048, 4095, 1], shape, p=[0.1, 0.3, 0.3, 0.2, 0.1])
    thresholds = np.where(rng.random(shape) < 0.6, rng.integers(3, 40, shape), thresholds)
    leaks = rng.choice([0, 1, 3, 127, 60], shape)
    words = neuron_words(potentials, thresholds, leaks, rng.random(shape) < 0.15)
    synapses = synapse_words(rng.integers(-8, 8, (256, 256)))
    listed = [random_operation(rng, neurons) for _ in range(operations)]
    return Workload(words, synapses, neurons - 1, open_loop, (*listed, Operation(-1)))


def random_operation(rng: np.random.Generator, neurons: int) -> Operation:
    """Any kind of event, or a sample."""
    waits = bool(rng.random() < 0.4)
    kind = rng.integers(0, 6)
    if kind == 0:
        return Operation(-1)
    if kind == 1:
        return Operation(0x1FF, waits)
    if kind == 2:
        return Operation(0x100 | int(rng.integers(0, min(neurons + 3, 255))), waits)
    if kind == 3:
        return Operation(0x200 | int(rng.integers(0, 16)) << 4 | int(rng.integers(0, 16)), waits)
    if kind == 4:
        return Operation(0x200 | int(rng.integers(0, 16)), waits)  # weight 0
    return Operation(int(rng.integers(0, 256)), waits)


def random_fault(
    rng: np.random.Generator, workload: Workload, cycles: int, place: str = ""
) -> BitFault:
    """One fault in a place that the workload is likely to use."""
    place = place or str(rng.choice(list(PLACES)))
    words, bits = PLACES[place]
    word = int(rng.integers(0, words))
    if place == "neuron_memory":
        word = int(rng.integers(0, workload.max_neuron + 1))
    if place == "synapse_memory":
        axons = [o.address for o in workload.operations if 0 <= o.address < 256] or [0]
        word = int(rng.choice(axons)) * 32 + int(rng.integers(0, workload.max_neuron // 8 + 1))
    kinds = ["sa0", "sa1"] if place in NETS else ["flip", "flip", "sa0", "sa1"]
    kind = str(rng.choice(kinds))
    cycle = int(rng.integers(0, cycles + 1)) if kind == "flip" else 0
    return BitFault(place, word, int(rng.integers(0, bits)), kind, cycle)  # type: ignore[arg-type]


def clocked(workload: Workload, faults: list[BitFault], time_out: int = 60_000) -> CycleRun:
    """What the clocked oracle says."""
    plain = [(f.place, f.word, f.bit, f.kind, f.cycle) for f in faults]
    operations = [(o.address, o.wait_idle) for o in workload.operations]
    machine = Machine(
        workload.neurons.tolist(),
        workload.synapses.tolist(),
        workload.max_neuron,
        workload.open_loop,
        operations,
        plain,
        time_out,
    ).run()
    changed = [i for i, w in enumerate(machine.synapses) if w != machine.loaded[i]]
    return CycleRun(
        np.array(machine.events, dtype=np.int64).reshape(-1, 2),
        np.array(machine.samples, dtype=np.int64).reshape(-1, workload.max_neuron + 1),
        np.array(machine.neurons),
        tuple(changed),
        machine.cycle,
        machine.hang,
    )


def same_run(one: CycleRun, other: CycleRun) -> bool:
    """Whether two runs show the same, cycles included."""
    return (
        np.array_equal(one.events, other.events)
        and np.array_equal(one.samples, other.samples)
        and np.array_equal(one.neurons, other.neurons)
        and one.synapses_changed == other.synapses_changed
        and (one.cycles, one.hang_operation) == (other.cycles, other.hang_operation)
    )
