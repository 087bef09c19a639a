"""Small networks on small arrays, faults for them, and the comparison with brute force."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from oracles_systolic import brute_force
from small_evaluator import evaluate_small

from accelerators import Systolic
from accelerators.systolic.family import Memory
from codesign.accelerator import AcceleratorGraph
from codesign.effects import Effects
from codesign.faults import FAULT, FaultModel, Faults
from codesign.formats import NumberFormat, Requantise
from codesign.mapping import Footprint, Mapping, Placement
from codesign.network import (
    Add,
    Conv2d,
    Edge,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    NetworkGraph,
)
from codesign.program import Program


def small_chip(**changes: object) -> Systolic:
    """An array of 3 × 2 with memories that small networks fill."""
    plain: dict[str, object] = {
        "rows": 3,
        "cols": 2,
        "psum_bits": 20,
        "weight_sram": Memory(128, 16),
        "activation_sram": Memory(256, 16),
        "psum_sram": Memory(1024, 64),
        "dram": Memory(1024, 32),
    }
    return Systolic(**(plain | changes))


def conv(
    name: str, source: str, channels: int, outputs: int, kernel: int, seed: int = 0, **more: object
) -> Conv2d:
    """A convolution with random weights, requantised to unsigned codes of eight bits."""
    rng = np.random.default_rng([seed, outputs, kernel, channels])
    groups = int(more.get("groups", 1))  # type: ignore[call-overload]
    return Conv2d(
        name,
        (Edge(source),),
        weight=rng.integers(-128, 128, (outputs, channels // groups, kernel, kernel)),
        bias=rng.integers(-500, 500, outputs),
        requantise=Requantise(200, 14, 0, 255),
        **more,  # type: ignore[arg-type]
    )


def linear(name: str, source: str, inputs: int, outputs: int, seed: int = 0) -> Linear:
    """A fully connected layer with random weights, its sums left as they are."""
    rng = np.random.default_rng([seed, inputs, outputs])
    weight = rng.integers(-128, 128, (outputs, inputs))
    return Linear(name, (Edge(source),), weight=weight, bias=rng.integers(-50, 50, outputs))


def two_layers() -> NetworkGraph:
    """A padded convolution (M 16, K 8, N 3) and a fully connected layer (M 1, K 48, N 4)."""
    layers = (
        Input("x", (), shape=(2, 4, 4)),
        conv("c", "x", 2, 3, 2, padding=(0, 1, 1, 0)),
        Flatten("f", (Edge("c"),)),
        linear("l", "f", 48, 4),
    )
    return NetworkGraph("two layers", layers)


def tiny() -> NetworkGraph:
    """A convolution (M 4, K 4, N 3) and a fully connected layer (M 1, K 12, N 2)."""
    layers = (
        Input("x", (), shape=(1, 3, 3)),
        conv("c", "x", 1, 3, 2),
        Flatten("f", (Edge("c"),)),
        linear("l", "f", 12, 2),
    )
    return NetworkGraph("tiny", layers)


def grouped() -> NetworkGraph:
    """Grouped, strided and depthwise convolutions of signed inputs, and a pooling."""
    layers = (
        Input("x", (), shape=(4, 6, 4), format=NumberFormat(8)),
        conv("c", "x", 4, 8, 3, groups=2, padding=(1, 1, 1, 1), stride=(2, 1)),
        conv("d", "c", 8, 8, 2, groups=8),
        MaxPool2d("p", (Edge("d"),)),
        Flatten("f", (Edge("p"),)),
        linear("l", "f", 8, 4),
    )
    return NetworkGraph("grouped", layers)


def residual() -> NetworkGraph:
    """A map that waits in memory while two layers run, and is then added to theirs."""
    half = Requantise(1, 1, 0, 255)
    layers = (
        Input("x", (), shape=(2, 4, 4)),
        conv("a", "x", 2, 4, 3, padding=(1, 1, 1, 1)),
        conv("b", "a", 4, 4, 3, padding=(1, 1, 1, 1)),
        conv("c", "b", 4, 4, 1),
        Add("s", (Edge("a"), Edge("c")), requantise=half),
        conv("d", "s", 4, 5, 2),
        Flatten("f", (Edge("d"),)),
        linear("l", "f", 45, 4),
    )
    return NetworkGraph("residual", layers)


@dataclass(frozen=True)
class Case:
    """A network on an array, used for some inferences one after the other.

    Attributes:
        sheet: The array.
        network: The network.
        rows, columns: Placement.
        inferences: How many, on random inputs.
    """

    sheet: Systolic
    network: NetworkGraph
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()
    inferences: int = 2

    @property
    def graph(self) -> AcceleratorGraph:
        """The array's graph."""
        return self.sheet.build()

    @property
    def mapping(self) -> Mapping:
        """The network placed."""
        return self.sheet.map(self.network, Placement(rows=self.rows, columns=self.columns))

    @property
    def program(self) -> Program:
        """What the array computes without guards."""
        program = self.mapping.program(())
        assert isinstance(program, Program)
        return program

    @property
    def cycles(self) -> int:
        """Of one inference."""
        return self.mapping.assignments()[-1].last_cycle

    @property
    def inputs(self) -> NDArray[np.int64]:
        """``[inferences, ...]`` random codes."""
        layer = self.network.layers[0]
        assert isinstance(layer, Input)
        low, high = layer.format.low, layer.format.high
        rng = np.random.default_rng(7)
        return rng.integers(low, high + 1, (self.inferences, *layer.shape))


@dataclass(frozen=True)
class Compared:
    """What a comparison counted.

    Attributes:
        faults: Number of them.
        trials: Number of trials.
        wrong: ``[trials]`` whether ours differs from brute force.
        changed: ``[trials]`` whether brute force differs from golden.
        footprint: Ours.
    """

    faults: int
    trials: int
    wrong: NDArray[np.bool_]
    changed: NDArray[np.bool_]
    footprint: Footprint


def compare(case: Case, faults: Faults, shifted: int = 0) -> Compared:
    """Footprint → effects → evaluation against brute force, every trial and inference.

    Args:
        case: What runs.
        faults: Of all trials.
        shifted: Cycles by which flips are moved before *our* prediction: a planted mistake.
    """
    layer = case.network.layers[0]
    assert isinstance(layer, Input)
    signed = {layer.name: layer.format.signed}
    told = case.inputs
    true = brute_force(case.sheet, case.network, faults, told, case.rows, case.columns, signed)
    ours = Faults(later(faults.table, shifted, case.cycles), faults.trials)
    footprint = case.mapping.footprint(ours, case.inferences)
    program = case.program
    found = evaluate_small(program, told, footprint.effects)
    golden = evaluate_small(program, told, Effects.none(1))
    wrong, changed = (found != true).any(axis=(1, 2)), (true != golden).any(axis=(1, 2))
    return Compared(len(faults), faults.trials, wrong, changed, footprint)


def later(table: NDArray[np.void], cycles: int, last: int) -> NDArray[np.void]:
    """The same faults, flips some cycles later (those that would leave the inference stay)."""
    moved = table.copy()
    flips = moved["model"] == FaultModel.flip
    cycle = moved["first"][:, 1] + cycles
    moved["first"][:, 1] = np.where(flips & (cycle < last), cycle, moved["first"][:, 1])
    return moved


def every_site(
    case: Case, component: str, bits: tuple[int, ...], inference: int = 0, every: int = 1
) -> Faults:
    """One fault a trial: bits of a component in the PEs, stuck, and flipped in every cycle.

    Args:
        case: What runs.
        component: Of the array.
        bits: Which of its bits.
        inference: In which a flip strikes.
        every: Take every so many-th PE.
    """
    graph, cycles = case.graph, case.cycles
    names = [f"{u.name}.{c.name}" for u, c in graph.components()]
    elements = range(0, case.sheet.rows * case.sheet.cols, every)
    sites = [(i, b) for i in elements for b in bits]
    events = [(int(FaultModel.stuck0), 0), (int(FaultModel.stuck1), 0)]
    events += [(int(FaultModel.flip), cycle) for cycle in range(cycles)]
    table = np.zeros(len(sites) * len(events), dtype=FAULT)
    table["trial"] = np.arange(len(table))
    table["part"] = names.index(f"array.{component}")
    table["last"], table["execution"] = -1, -1
    table["instance"] = np.repeat([i for i, _ in sites], len(events))
    table["bit"] = np.repeat([b for _, b in sites], len(events))
    table["model"] = np.tile([model for model, _ in events], len(sites))
    table["first"][:, 1] = np.tile([cycle for _, cycle in events], len(sites))
    table["first"][:, 0] = np.where(table["model"] == FaultModel.flip, inference, 0)
    return Faults(table, len(table))


def random_faults(
    case: Case, units: tuple[str, ...], trials: int, per_trial: int, seed: int
) -> Faults:
    """Faults of all models with windows of all kinds anywhere in some units; no site twice."""
    rng = np.random.default_rng(seed)
    graph, cycles, count = case.graph, case.cycles, trials * per_trial
    parts = graph.components()
    allowed = [i for i, (u, c) in enumerate(parts) if u.name in units and c.role != "address"]
    table = np.zeros(count, dtype=FAULT)
    table["trial"] = np.arange(count) // per_trial
    table["part"] = rng.choice(allowed, count)
    for column, limits in (
        ("instance", [u.instances for u, _ in parts]),
        ("word", [c.words for _, c in parts]),
        ("bit", [c.bits for _, c in parts]),
    ):
        table[column] = rng.integers(0, np.array(limits)[table["part"]])
    table["model"] = rng.choice(3, count)
    table["last"], table["execution"] = -1, -1
    flips = table["model"] == FaultModel.flip
    starts = flips | (rng.random(count) < 0.7)
    first = np.where(starts, rng.integers(0, cycles * case.inferences, count), 0)
    table["first"] = np.stack(np.divmod(first, cycles), axis=1)
    ends = np.flatnonzero(starts & ~flips & (rng.random(count) < 0.8))
    length = np.where(
        rng.random(count) < 0.5, rng.integers(1, 30, count), rng.integers(1, 2 * cycles, count)
    )
    table["last"][ends] = np.stack(np.divmod(first + length, cycles), axis=1)[ends]
    _kill(table, case, np.flatnonzero(rng.random(count) < 0.08))
    site = [table[name].astype(np.int64) for name in ("trial", "part", "instance", "word", "bit")]
    _, once = np.unique(np.stack(site, axis=1), axis=0, return_index=True)
    return Faults(table[np.sort(once)], trials)


def _kill(table: NDArray[np.void], case: Case, which: NDArray[np.int64]) -> None:
    """Make some faults dead instances: PEs in their windows, memories for good."""
    parts, names = case.graph.components(), [u.name for u in case.graph.units]
    for i in which:
        unit = parts[table[i]["part"]][0].name
        if table[i]["model"] == FaultModel.flip or unit != "array":
            table[i]["last"] = (-1, -1)
        if unit != "array":
            table[i]["first"] = (0, 0)
        table[i]["part"], table[i]["model"] = -1 - names.index(unit), FaultModel.dead
        table[i]["word"] = table[i]["bit"] = 0
