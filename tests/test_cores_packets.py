"""Faults of routers, links and ports equal cores whose packets walk one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from cores_cases import (
    INFERENCES,
    SMALL,
    Case,
    dense,
    groups_of_equal_effects,
    some_trials,
)
from cores_judged import CASES
from numpy.typing import NDArray
from oracles_cores import simulate
from oracles_cores_mesh import walk

from accelerators.cores.routes import crossed
from codesign.effects import Effects
from codesign.engine.reference import evaluate
from codesign.errors import UnsupportedError
from codesign.faults import Fault, FaultModel, Faults, FaultSite, Window
from codesign.formats import NumberFormat
from codesign.mapping import Footprint, Placement
from codesign.network import Input, NetworkGraph
from codesign.samples import Samples


class Binary(Case):
    """A case whose inputs are 0 and 1."""

    @property
    def samples(self) -> Samples:
        """The lowest bits of the plain ones."""
        plain = super().samples
        return Samples("bits", "test", np.asarray(plain.inputs, dtype=np.int64) & 1, plain.labels)


def binary(case: Case) -> Case:
    """The same with inputs of 0 and 1."""
    first = case.network.layers[0]
    assert isinstance(first, Input)
    plain = replace(first, format=NumberFormat(1, signed=False))
    layers = (plain, *case.network.layers[1:])
    return Binary(case.sheet, NetworkGraph("binary", layers, case.network.steps), case.placement)


FEW = ("each tile a core", "convolution on many cores", "delays", "placed with holes")
MESHES = {name: CASES[name] for name in FEW}
MESHES["hosted in the middle"] = replace(CASES[FEW[0]], sheet=replace(CASES[FEW[0]].sheet, host=4))
MESHES["spikes only"] = binary(CASES["two cores take turns"])
MESHES["sparse"] = binary(Case(replace(SMALL, axons=7, mesh=(2, 1)), dense()))
assert MESHES


@dataclass(frozen=True, eq=False)
class Run:
    """Claimed faults, one a trial, and what they do.

    Attributes:
        faults: Those that are not refused.
        footprint: Of them.
        outputs: ``[trials, samples, classes]`` packet by packet.
        golden: ``[samples, classes]``.
        refused: How many others, by unit.
    """

    faults: list[Fault]
    footprint: Footprint
    outputs: NDArray[np.int64]
    golden: NDArray[np.int64]
    refused: dict[str, int]


def drawn(case: Case, seed: int) -> list[Fault]:
    """Sites of the network between cores: for good, and in windows drawn at random."""
    draw = np.random.default_rng(seed)
    mapping = case.sheet.map(case.network, case.placement)
    cycles = mapping.schedule.inference_cycles
    found = []
    for name in ("router", "mesh_link", "port"):
        unit = mapping.accelerator.unit(name)
        for instance in np.ndindex(unit.shape):
            sites: list[tuple[FaultSite, tuple[FaultModel, ...]]] = []
            sites.append((FaultSite(name, instance, "*"), (FaultModel.dead,)))
            stuck = (FaultModel.stuck0, FaultModel.stuck1)
            for part in unit.components:
                for bit in range(part.bits):
                    sites.append((FaultSite(name, instance, part.name, 0, bit), stuck))
            for site, models in sites:
                for model in models:
                    found.append(Fault(site, model))
                    for _ in range(2 if mapping.sheet.cores < 10 else 1):
                        first, length = draw.integers(2 * cycles), 1 + draw.integers(cycles)
                        a, b = divmod(int(first), cycles), divmod(int(first + length), cycles)
                        found.append(Fault(site, model, Window(a, b)))
                if site.component != "*":
                    for cycle in draw.integers(cycles, size=6).tolist():
                        when = Window((int(draw.integers(INFERENCES)), cycle))
                        found.append(Fault(site, FaultModel.flip, when))
    return found


@cache
def ran(name: str) -> Run:
    """A case with all faults that are claimed."""
    case = MESHES[name]
    mapping = case.sheet.map(case.network, case.placement)
    chip = mapping.accelerator
    claimed, refused = [], {"router": 0, "mesh_link": 0, "port": 0}
    for fault in drawn(case, len(name)):
        try:
            mapping.footprint(Faults.of([[fault]], chip), INFERENCES)
            claimed.append(fault)
        except UnsupportedError:
            refused[fault.site.unit] += 1
    faults = Faults.of([[fault] for fault in claimed], chip)
    footprint = mapping.footprint(faults, INFERENCES)
    outputs, cycles = simulate(case.sheet, case.network, case.samples, faults, case.placement)
    assert cycles == mapping.schedule.inference_cycles
    nothing = Faults(faults.table[:0], 1)
    golden, _ = simulate(case.sheet, case.network, case.samples, nothing, case.placement)
    return Run(claimed, footprint, outputs, golden[0], refused)


def evaluated(case: Case, effects: Effects) -> NDArray[np.int64]:
    program = case.sheet.map(case.network, case.placement).program(())
    return evaluate(program, case.samples, effects).outputs


@pytest.mark.parametrize("name", MESHES)
def test_effects_do_what_the_packets_do_one_by_one(name):
    run = ran(name)
    groups = groups_of_equal_effects(run.footprint.effects)
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(run.outputs, run.outputs[first][inverse])
    some = np.sort(np.random.default_rng(3).permutation(first)[:40])
    found = evaluated(MESHES[name], some_trials(run.footprint.effects, some))
    np.testing.assert_array_equal(found, run.outputs[some])
    changed = (run.outputs != run.golden).any(axis=(1, 2))
    assert changed.sum() > 10
    assert not (changed & (run.footprint.idle == 1)).any()


def test_lost_packets_of_every_kind_change_outputs_and_few_are_refused():
    units = {"router": 0, "mesh_link": 0, "port": 0}
    models = set()
    for name in MESHES:
        run = ran(name)
        for fault, out in zip(run.faults, run.outputs, strict=True):
            if (out != run.golden).any():
                units[fault.site.unit] += 1
                models.add((fault.site.component, fault.model.name))
        if name in ("each tile a core", "hosted in the middle", "placed with holes"):
            assert run.refused["router"] == run.refused["mesh_link"] == 0
    assert min(units.values()) > 20
    wanted = {("*", "dead"), ("code", "stuck0"), ("code", "stuck1"), ("code", "flip")}
    wanted |= {("axon", model) for model in ("stuck0", "stuck1", "flip")}
    assert wanted <= models


def test_routes_go_along_x_first_and_pass_both_ends():
    sheet = replace(SMALL, mesh=(3, 2), tile=2)
    counts = np.zeros((12, 12), dtype=int)
    for a in range(12):
        for b in range(12):
            routers, links = walk(3, a // 2, b // 2)
            counts[a, b] = len(links)
            assert [r for r in range(6) if crossed(sheet, r)[a, b]] == sorted(routers)
            found = [(r, d) for r in range(6) for d in range(4) if crossed(sheet, r, d)[a, b]]
            assert found == sorted(links)
    assert walk(3, 0, 5) == ([0, 1, 2, 5], [(0, 0), (1, 0), (2, 2)])
    assert counts[0].max() == 3


def test_a_dead_link_loses_what_crosses_it_and_nothing_else():
    """Six cores in two rows; the host is core 0, whose link towards +y leads to core 3."""
    case = MESHES["each tile a core"]
    mapping = case.sheet.map(case.network, Placement())
    fault = Fault(FaultSite("mesh_link", (0, 2), "*"), FaultModel.dead)
    table = mapping.footprint(Faults.of([[fault]], mapping.accelerator), 1).effects.table
    runs = [run for run in mapping.schedule.runs if run.core == 3]
    assert {(run.layer.name, run.segment, run.first) for run in runs} == {("a", 1, 2)}
    assert sorted(table["k"][:, 0].tolist()) == [2, 3]
    assert set(table["n"][:, 0].tolist()) == {2}
    upper = Fault(FaultSite("mesh_link", (0, 3), "*"), FaultModel.dead)  # leads off the mesh
    assert mapping.footprint(Faults.of([[upper]], mapping.accelerator), 1).idle.tolist() == [1]


REFUSED = {
    "an axon in use": (
        "each tile a core",
        [Fault(FaultSite("port", (0,), "axon", 0, 0), FaultModel.stuck1)],
        r"port\[0\].axon:0 sends packets of axon 0 to axon 1, where a has an input too: .* alias",
    ),
    "a code that may be 0": (
        "each tile a core",
        [Fault(FaultSite("port", (0,), "code", 0, 1), FaultModel.stuck1)],
        r"port\[0\].code would change the codes of a .* stuck0 is claimed",
    ),
    "two at a time": (
        "spikes only",
        [Fault(FaultSite("port", (0,), "code", 0, b), FaultModel.stuck1) for b in (1, 2)],
        r"trial 0 has two faults in the packets of port\[0\] at one time",
    ),
    "a part of a pooled value": (
        "convolution on many cores",
        [Fault(FaultSite("mesh_link", (0, 0), "*"), FaultModel.dead)],
        "a pooled .* value is made together with packets that arrive",
    ),
}
assert REFUSED


@pytest.mark.parametrize("name", REFUSED)
def test_what_depends_on_two_values_is_refused_by_name(name):
    case, faults, message = REFUSED[name]
    sheet, network = MESHES[case].sheet, MESHES[case].network
    mapping = sheet.map(network, MESHES[case].placement)
    with pytest.raises(UnsupportedError, match=message):
        mapping.footprint(Faults.of([faults], mapping.accelerator), INFERENCES)
