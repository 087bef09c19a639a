"""Small spiking networks on small cores, every fault they can meet, and the trials to judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from accelerators.cores.family import Cores
from accelerators.cores.mapping import CoresMapping
from codesign.accelerator import Component, Unit
from codesign.effects import EFFECT, Effects
from codesign.faults import FAULT, FaultModel, Faults
from codesign.formats import NumberFormat
from codesign.mapping import Placement
from codesign.network import (
    AvgPool2d,
    Concat,
    Conv2d,
    Edge,
    Flatten,
    Input,
    Layer,
    Leak,
    Lif,
    Linear,
    MaxPool2d,
    NetworkGraph,
)
from codesign.samples import Samples

INFERENCES = 2

Window = tuple[tuple[int, int], tuple[int, int]]

SMALL = Cores(
    name="small",
    mesh=(1, 1),
    axons=3,
    columns=2,
    weight=NumberFormat(4),
    axon_bits=3,
    current=NumberFormat(6),
    membrane=NumberFormat(7),
    threshold=NumberFormat(6),
    neuron_words=4,
    weight_words=24,
)
WIDE = replace(
    SMALL,
    axons=6,
    columns=5,
    current=NumberFormat(6, overflow="wrap"),
    neuron_words=8,
    weight_words=256,
)


@dataclass(frozen=True)
class Case:
    """A network on a chip, placed."""

    sheet: Cores
    network: NetworkGraph
    placement: Placement = field(default_factory=Placement)

    @property
    def samples(self) -> Samples:
        """The same small inputs at every call."""
        draw = np.random.default_rng(7)
        shape = self.network.shapes[self.network.layers[0].name]
        top = 1 << (3 if len(shape) == 1 else 2)
        inputs = draw.integers(0, top, (INFERENCES, *shape))
        return Samples("made", "test", inputs, np.zeros(INFERENCES, dtype=int))


def dense(steps: int = 3, seed: int = 21, *, readout: bool = False, **rule: object) -> NetworkGraph:
    """4 inputs, 3 neurons, 2 outputs."""
    draw = np.random.default_rng(seed)
    first = {"threshold": np.array(5), "leak": Leak("shift", 1), **rule}
    layers: list[Layer] = [
        Input("x", (), shape=(4,), format=NumberFormat(3, signed=False)),
        _linear("a", "x", draw.integers(-3, 4, (3, 4)), draw.integers(-2, 3, 3)),
        Lif("s", (Edge("a"),), **first),  # type: ignore[arg-type]
        _linear("b", "s", draw.integers(-3, 4, (2, 3)), np.array([1, 0])),
    ]
    if not readout:
        layers.append(Lif("t", (Edge("b"),), threshold=np.array(1), reset="zero"))
    return NetworkGraph("dense", tuple(layers), steps)


def pooled(groups: int = 1, steps: int = 3, seed: int = 8, **rule: object) -> NetworkGraph:
    """A padded 2 × 2 convolution of 3 × 3 pixels, pooling, and a readout."""
    draw = np.random.default_rng(seed)
    first = {"threshold": np.array([2, 3]), "leak": Leak("multiply", 2, 3), **rule}
    weight = draw.integers(-3, 4, (2, 2 // groups, 2, 2))
    layers = (
        Input("x", (), shape=(2, 3, 3), format=NumberFormat(2, signed=False)),
        Conv2d(
            "a",
            (Edge("x"),),
            weight=weight,
            bias=np.array([1, -1]),
            padding=(1, 0, 0, 1),
            groups=groups,
        ),
        Lif("s", (Edge("a"),), **first),  # type: ignore[arg-type]
        MaxPool2d("p", (Edge("s"),), kernel=(2, 2), stride=(1, 1)),
        Flatten("f", (Edge("p"),)),
        _linear("b", "f", draw.integers(-3, 4, (3, 8)), draw.integers(-1, 2, 3)),
    )
    return NetworkGraph("pooled", layers, steps)


def delayed(steps: int = 4, seed: int = 38) -> NetworkGraph:
    """Neurons that read spikes of this step and of the one before, average pooling behind them."""
    draw = np.random.default_rng(seed)
    layers = (
        Input("x", (), shape=(1, 2, 2), format=NumberFormat(2, signed=False)),
        Conv2d("a", (Edge("x"),), weight=draw.integers(1, 4, (1, 1, 1, 2)), bias=np.array([0])),
        Lif("s", (Edge("a"),), threshold=np.array(7), leak=Leak("subtract", 1)),
        Concat("c", (Edge("s"), Edge("s", 1)), requantise=(None, None)),
        Conv2d("b", (Edge("c"),), weight=draw.integers(-2, 4, (2, 2, 1, 1)), bias=np.array([1, 0])),
        Lif("t", (Edge("b"),), threshold=np.array(2)),
        AvgPool2d("p", (Edge("t"),), kernel=(2, 1), stride=(1, 1)),
        Flatten("f", (Edge("p"),)),
        _linear("d", "f", draw.integers(-3, 4, (2, 2)), np.array([0, 1])),
    )
    return NetworkGraph("delayed", layers, steps)


def _linear(name: str, source: str, weight: NDArray[np.int64], bias: NDArray[np.int64]) -> Linear:
    return Linear(name, (Edge(source),), weight=weight, bias=bias)


# ------------------------------------------------------------------------------------------- faults


def every_fault(mapping: CoresMapping, seed: int, most: int = 10**9) -> NDArray[np.void]:
    """One fault of each kind at each site that there is, as trials of one fault.

    Bits: flipped in every cycle of the run, stuck for ever and in windows drawn at random;
    operations skipped and always done, instances dead, likewise.

    Args:
        mapping: Of a network on a chip.
        seed: Of the windows.
        most: Sites of a component, three in four of them where the network is.
    """
    draw = np.random.default_rng(seed)
    chip, cycles = mapping.accelerator, mapping.schedule.inference_cycles
    tables = []
    for number, (unit, part) in enumerate(chip.components()):
        if part.name != "packet" and unit.kind != "link":
            sites = _sites(number, unit, part)
            held = mapping.occupied(unit.name, part.name)[sites["instance"], sites["word"]]
            used, free = (draw.permutation(np.flatnonzero(x)) for x in (held, ~held))
            sites = sites[np.sort(np.r_[used[: 3 * most // 4], free[: most // 4]])]
            for model in _models(part):
                tables += [_during(sites, model, *w) for w in _windows(draw, model, cycles)]
    for number, unit in enumerate(chip.units):
        if unit.kind == "link":
            continue
        instances = np.zeros(unit.instances, dtype=FAULT)
        instances["part"], instances["instance"] = -1 - number, np.arange(unit.instances)
        dead = _windows(draw, FaultModel.dead, cycles)
        tables += [_during(instances, FaultModel.dead, *w) for w in dead]
    table = np.concatenate(tables)
    table["trial"] = np.arange(len(table))
    return table


def mixtures(table: NDArray[np.void], trials: int, seed: int) -> Faults:
    """Trials of two to six faults from a table of single ones, often in one word or one bit."""
    draw = np.random.default_rng(seed)
    kinds = np.unique(table[["part", "model"]])
    rows = []
    for trial in range(trials):
        few = draw.choice(kinds, size=2)
        picked = []
        for _ in range(draw.integers(2, 7)):
            kind = draw.choice(few)
            same = np.flatnonzero(
                (table["part"] == kind["part"]) & (table["model"] == kind["model"])
            )
            picked.append(table[draw.choice(same)])
        faults = np.array(picked)
        for part in np.unique(faults["part"]):
            here = faults["part"] == part
            for column, chance in (("instance", 0.7), ("word", 0.7), ("bit", 0.2)):
                if draw.random() < chance:
                    faults[column][here] = faults[column][here][0]
        faults["trial"] = trial
        rows.append(_without_contradictions(faults))
    return Faults(np.concatenate(rows), trials)


def _without_contradictions(faults: NDArray[np.void]) -> NDArray[np.void]:
    """Each site struck once by each model, and stuck at one level only."""
    kept = []
    levels: dict[object, int] = {}
    seen = set()
    for fault in faults:
        site = tuple(fault[["part", "instance", "word", "bit"]].tolist())
        stuck = fault["model"] in (FaultModel.stuck0, FaultModel.stuck1)
        if stuck and levels.setdefault(site, fault["model"]) != fault["model"]:
            continue
        if (site, fault["model"]) not in seen:
            seen.add((site, fault["model"]))
            kept.append(fault)
    return np.array(kept, dtype=FAULT)


def _sites(number: int, unit: Unit, part: Component) -> NDArray[np.void]:
    sites = np.zeros(unit.sites(part.name), dtype=FAULT)
    sites["part"] = number
    rest, sites["bit"] = np.divmod(np.arange(len(sites)), part.bits)
    sites["instance"], sites["word"] = np.divmod(rest, part.words)
    return sites


def _models(part: Component) -> tuple[FaultModel, ...]:
    if part.role == "operation":
        return (FaultModel.skip, FaultModel.always)
    return (FaultModel.flip, FaultModel.stuck0, FaultModel.stuck1)


def _windows(draw: np.random.Generator, model: FaultModel, cycles: int) -> Iterator[Window]:
    """(first, last) of the windows of one model."""
    if model == FaultModel.flip:
        for inference in range(INFERENCES):
            for cycle in range(cycles):
                yield (inference, cycle), (-1, -1)
        return
    yield (0, 0), (-1, -1)
    run = INFERENCES * cycles
    for length in (run, run, run // 2, 12, 4):
        first = int(draw.integers(run - 1))
        last = first + 1 + int(draw.integers(length))
        yield divmod(first, cycles), divmod(last, cycles)


def _during(
    sites: NDArray[np.void], model: FaultModel, first: tuple[int, int], last: tuple[int, int]
) -> NDArray[np.void]:
    table = sites.copy()
    table["model"], table["first"], table["last"], table["execution"] = model, first, last, -1
    return table


# ------------------------------------------------------------------------------------------- trials


def groups_of_equal_effects(effects: Effects) -> NDArray[np.int64]:
    """``[trials]`` number of each trial's set of effects; equal sets share one."""
    table = effects.table.copy()
    starts = np.searchsorted(table["trial"], np.arange(effects.trials + 1))
    for column in ("trial", "event", "rank"):
        table[column] = 0
    numbers: dict[bytes, int] = {}
    pairs = zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    found = [numbers.setdefault(table[a:b].tobytes(), len(numbers)) for a, b in pairs]
    return np.array(found, dtype=np.int64)


def some_trials(effects: Effects, trials: NDArray[np.int64]) -> Effects:
    """The effects of some trials, numbered anew."""
    pieces = []
    for number, trial in enumerate(trials.tolist()):
        rows = effects.of_trial(trial).copy()
        rows["trial"] = number
        pieces.append(rows)
    return Effects(np.concatenate([np.zeros(0, dtype=EFFECT), *pieces]), len(trials))
