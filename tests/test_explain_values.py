"""What stood at an effect's place, against the reference engine.

If a place is said to hold v, then replacing what is there by v + 7 must do what adding 7 does, and
replacing it by v must do nothing. The reference engine says what each does.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cores_cases import SMALL, WIDE, delayed, dense, pooled
from numpy.typing import NDArray
from systolic_cases import grouped, small_chip, tiny

from codesign.accelerator import AcceleratorGraph
from codesign.design import Design
from codesign.effects import EFFECT, Effects, Kind, Op, box
from codesign.engine import reference
from codesign.faults import Fault, FaultModel, Faults, FaultSite, Window
from codesign.network import Input, NetworkGraph
from codesign.program import Program
from codesign.samples import Samples
from codesign.study.explain import explain
from codesign.study.explain_masking import run
from codesign.study.explain_values import touched

torch.set_num_threads(1)

CASES = {
    "tiny": (tiny(), small_chip().build()),
    "output stationary": (tiny(), small_chip(dataflow="output_stationary").build()),
    "grouped": (grouped(), small_chip(rows=4).build()),
    "dense": (dense(), SMALL.build()),
    "pooled": (pooled(), WIDE.build()),
    "delayed": (delayed(), WIDE.build()),
}
assert CASES


def samples_of(network: NetworkGraph, count: int = 2) -> Samples:
    """Random codes; of spiking networks small ones, so that neurons do not fire at every step."""
    layer = network.layers[0]
    assert isinstance(layer, Input)
    top = min(layer.format.high, 255)
    inputs = np.random.default_rng(5).integers(0, top + 1, (count, *layer.shape))
    return Samples("random", "test", inputs, np.zeros(count, dtype=np.int64))


def random_trials(chip: AcceleratorGraph, cycles: int, trials: int, seed: int) -> list[Fault]:
    """Single faults of storage anywhere on a chip, stuck for good or flipped somewhen."""
    rng = np.random.default_rng(seed)
    parts = [(u, c) for u, c in chip.components() if c.role not in ("operation", "link", "address")]
    parts = [(u, c) for u, c in parts if c.name != "packet"]
    faults = []
    for _ in range(trials):
        unit, part = parts[rng.integers(len(parts))]
        instance = tuple(int(rng.integers(size)) for size in unit.shape)
        word = int(rng.integers(min(part.words, 12)))
        site = FaultSite(unit.name, instance, part.name, word, int(rng.integers(part.bits)))
        model = FaultModel(int(rng.integers(3)))
        flips = model is FaultModel.flip
        faults.append(
            Fault(site, model, Window((0, int(rng.integers(cycles)))) if flips else Window())
        )
    return faults


def one_place(row: np.void, program: Program, rng: np.random.Generator) -> NDArray[np.void]:
    """The same effect on one element at one step only, where one place may be chosen."""
    found = np.zeros(1, dtype=EFFECT)
    found[0] = row
    name = program.network.layers[int(row["layer"])].name
    sizes = dict(zip("mn", program.network.grid(name), strict=True))
    if row["kind"] in (Kind.operand, Kind.term):
        sizes["k"] = program.network.mac_shape(name)[1]
    for axis, size in sizes.items():
        at = int(rng.choice(list(box(row[axis], size))))
        found[axis] = (at, at + 1, 1)
    steps = box((*row["steps"], 1), program.network.steps)
    step = int(rng.choice(list(steps)))
    found["steps"], found["samples"] = (step, step + 1), (0, -1)
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_value_said_to_stand_somewhere_can_be_put_there_and_nothing_changes(name):
    network, chip = CASES[name]
    design = Design(name, network, chip)
    program, samples = design.layered(), samples_of(network, 1)
    _, golden = run(program, samples, np.zeros(0, dtype=EFFECT))
    cycles = max(a.last_cycle for a in design.mapping.assignments())
    faults = random_trials(chip, cycles, 120, seed=3)
    effects = design.mapping.footprint(Faults.of([[f] for f in faults], chip), 1).effects
    rng = np.random.default_rng(11)
    kinds: set[tuple[int, int]] = set()
    trials: list[NDArray[np.void]] = []
    for row in rng.permutation(effects.table)[:60]:
        single = one_place(row, program, rng)
        value = touched(single[0], program, golden)
        if len(np.unique(value.golden)) != 1:  # a place that is passed more than once
            continue
        kinds.add((int(row["kind"]), int(row["at"])))
        for op, given in (
            (Op.replace, int(value.golden[0])),
            (Op.replace, int(value.golden[0]) + 7),
            (Op.add, 7),
        ):
            changed = single.copy()
            changed["op"], changed["value"], changed["trial"] = op, given, len(trials)
            trials.append(changed)
    assert len(kinds) >= 4
    told = reference.evaluate(program, samples, Effects(np.concatenate(trials), len(trials)))
    outputs = told.outputs.reshape(-1, 3, told.outputs.shape[-1])
    was = reference.evaluate(program, samples, Effects.none(1)).outputs[0, 0]
    assert len(outputs) > 15
    assert (outputs[:, 0] == was).all()
    assert (outputs[:, 1] == outputs[:, 2]).all()
    assert (outputs[:, 1] != was).any()


@pytest.mark.parametrize("name", CASES)
def test_every_masked_fault_is_told_why_and_no_other(name):
    network, chip = CASES[name]
    design = Design(name, network, chip)
    samples = samples_of(network)
    cycles = max(a.last_cycle for a in design.mapping.assignments())
    seen = set()
    for fault in random_trials(chip, cycles, 10, seed=8):
        faults = Faults.of([[fault]], chip)
        found = explain(design, faults, samples, 0)
        effects = design.mapping.footprint(faults, 2).effects
        outputs = reference.evaluate(design.layered(), samples, effects).outputs
        was = reference.evaluate(design.layered(), samples, Effects.none(1)).outputs[0]
        assert found.golden == tuple(was[0].tolist())
        assert found.faulty == tuple(outputs[0, 0].tolist())
        assert bool(found.masked) == (found.golden == found.faulty) == (found.outcome == "masked")
        assert all(masked.by != "unknown" for masked in found.masked)
        assert sum(e.samples for e in found.ended) == 2
        seen.add(found.outcome)
        if found.masked and found.masked[0].by == "never used":
            assert not len(effects)
    assert "masked" in seen
    assert len(seen) > 1
