"""Networks on Gemmini's mesh: struck chips equal a machine whose every register is clocked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracles_gemmini_network import mesh_force
from small_evaluator import evaluate_small
from systolic_cases import Case, conv, later, linear, random_faults, small_chip

from accelerators import Systolic
from accelerators.systolic.family import Memory
from codesign.effects import Effects
from codesign.errors import MappingError, StudyError, UnsupportedError
from codesign.faults import FAULT, Fault, FaultModel, Faults, FaultSite
from codesign.formats import NumberFormat, Requantise
from codesign.mapping import Activity, Placement
from codesign.network import Add, Edge, Flatten, Input, Layer, NetworkGraph
from codesign.study.loading import datasheet
from codesign.study.spec import AcceleratorSpec

MEMORIES = ("dram", "weight_sram", "activation_sram", "psum_sram")
CODES = NumberFormat(8)


def signed_conv(
    name: str, source: str, channels: int, outputs: int, kernel: int, pad: int
) -> Layer:
    """A convolution whose codes leave room for a sign."""
    layer = conv(name, source, channels, outputs, kernel, padding=(pad, pad, pad, pad))
    return replace(layer, requantise=Requantise(200, 14, 0, 127))


def plain() -> NetworkGraph:
    """Terms that fill the rows of 4: K 8 and 36."""
    layers = (
        Input("x", (), shape=(2, 4, 4), format=CODES),
        signed_conv("c", "x", 2, 4, 2, 0),
        Flatten("f", (Edge("c"),)),
        linear("l", "f", 36, 5),
    )
    return NetworkGraph("plain", layers)


def residual() -> NetworkGraph:
    """Terms that leave rows of 4 empty (K 18, 45), and a map that waits in memory."""
    layers = (
        Input("x", (), shape=(2, 4, 4), format=CODES),
        signed_conv("a", "x", 2, 4, 3, 1),
        signed_conv("b", "a", 4, 4, 1, 0),
        Add("s", (Edge("a"), Edge("b")), requantise=Requantise(1, 1, 0, 127)),
        signed_conv("d", "s", 4, 5, 2, 0),
        Flatten("f", (Edge("d"),)),
        linear("l", "f", 45, 4),
    )
    return NetworkGraph("residual", layers)


def mesh(**changes: object) -> Systolic:
    """A mesh of 4 × 4 with small memories."""
    small = {"rows": 4, "cols": 4, "datapath": "gemmini", "weight_sram": Memory(512, 32)}
    return small_chip(**(small | changes))


MESH = mesh()
CHUNKS = mesh(weight_sram=Memory(200, 16))
RUNS = {
    "plain": Case(MESH, plain()),
    "weights loaded in pieces": Case(CHUNKS, plain()),
    "rows without terms": Case(MESH, residual()),
    "permuted": Case(MESH, residual(), rows=(2, 0, 3), columns=(1, 3, 0)),
}
assert RUNS


def wrong_and_changed(
    case: Case, faults: Faults, shifted: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Trials in which ours differs from the machine, and the machine from golden."""
    true = mesh_force(case.sheet, case.network, faults, case.inputs, case.rows, case.columns)
    moved = Faults(later(faults.table, shifted, case.cycles), faults.trials)
    program = case.program
    effects = case.mapping.footprint(moved, case.inferences).effects
    found = evaluate_small(program, case.inputs, effects)
    golden = evaluate_small(program, case.inputs, Effects.none(1))
    return (found != true).any(axis=(1, 2)), (true != golden).any(axis=(1, 2))


def without(faults: Faults, case: Case, *components: str) -> Faults:
    """The faults of other components, and no dead instances."""
    names = [c.name for _, c in case.graph.components()]
    table = faults.table
    kept = (table["part"] >= 0) & ~np.isin(np.array([*names, "*"])[table["part"]], components)
    return Faults(table[kept], faults.trials)


@pytest.mark.parametrize("name", RUNS)
def test_faults_in_the_mesh_equal_the_clocked_machine(name):
    case = RUNS[name]
    faults = random_faults(case, ("array", "edge"), trials=500, per_trial=1, seed=2)
    wrong, changed = wrong_and_changed(case, without(faults, case))
    assert changed.mean() > 0.2
    assert not wrong.any()


@pytest.mark.parametrize("name", RUNS)
def test_faults_in_its_memories_equal_the_clocked_machine(name):
    case = RUNS[name]
    faults = random_faults(case, MEMORIES, trials=300, per_trial=1, seed=3)
    wrong, changed = wrong_and_changed(case, faults)
    assert changed.mean() > 0.1
    assert not wrong.any()


@pytest.mark.parametrize("left_out", [("a",), ("c1", "c2", "d")])
def test_several_faults_anywhere_equal_the_clocked_machine(left_out):
    case = RUNS["permuted"]
    faults = random_faults(case, (*MEMORIES, "array", "edge"), trials=80, per_trial=7, seed=4)
    wrong, changed = wrong_and_changed(case, without(faults, case, *left_out))
    assert changed.mean() > 0.5
    assert not wrong.any()


def test_a_cycle_later_or_earlier_is_wrong():
    case = RUNS["plain"]
    faults = without(random_faults(case, ("array",), trials=500, per_trial=1, seed=5), case)
    for shifted in (1, -1):
        assert wrong_and_changed(case, faults, shifted)[0].mean() > 0.03


def test_a_wrong_input_that_meets_a_wrong_weight_in_an_empty_row_is_refused():
    weight = Fault(FaultSite("array", (3, 1), "c1", 0, 2), FaultModel.stuck1)
    inputs = [Fault(FaultSite("array", (3, c), "a", 0, 1), FaultModel.stuck1) for c in (0, 2)]
    case = RUNS["rows without terms"]
    meeting, apart = (Faults.of([[weight, one]], case.graph) for one in inputs)
    with pytest.raises(UnsupportedError, match="trial 0: a wrong input in row 3"):
        case.mapping.footprint(meeting, 2)
    for faults, fits in ((apart, case), (meeting, RUNS["plain"])):
        wrong, _ = wrong_and_changed(fits, faults)
        assert not wrong.any()


def test_what_the_mesh_is_not_is_refused():
    with pytest.raises(StudyError, match="psum_bits: the gemmini datapath here has 20, came 32"):
        Systolic(datapath="gemmini")
    with pytest.raises(StudyError, match="dataflow: the gemmini datapath here has weight_stat"):
        mesh(dataflow="output_stationary")
    unsigned = NetworkGraph("u", (Input("x", (), shape=(4,)), linear("l", "x", 4, 2)))
    with pytest.raises(MappingError, match=r"x gives codes 0..255 .* 8 bits, one of them a sign"):
        MESH.map(unsigned, Placement())
    case = RUNS["plain"]
    dead = Faults.of([[Fault(FaultSite("array", (0, 0), "*"), FaultModel.dead)]], case.graph)
    with pytest.raises(UnsupportedError, match="a dead element is not modelled on the gemmini"):
        case.mapping.footprint(dead, 2)


def test_cycles_are_requests_of_as_many_slots_as_rows_and_a_bubble():
    case = RUNS["plain"]
    # Layer c: M 9, K 8, N 4: two folds of three requests; l: M 1, K 36, N 5: 9 × 2 of one.
    cost = case.mapping.cost(Activity(), ())
    assert cost.layer_cycles == {"c": 2 * 3 * 5, "l": 18 * 5}
    assert cost.cycles == 5 + 30 + 90 == case.cycles
    counts = {(r.layer, r.component): r.count for r in cost.rows if r.unit == "array"}
    assert counts["c", "a"] == 2 * 3 * 4 * 16
    assert counts["c", "c1"] + counts["c", "c2"] == counts["c", "d"] == counts["c", "a"]
    assert cost.utilisation["c"] == 9 * 8 * 4 / (16 * 30)


def test_exposures_of_a_sum_register_are_its_own_folds():
    mapping = RUNS["plain"].mapping
    folds = [a.first_cycle for a in mapping.assignments() if a.unit == "array"]
    assert len(folds) == 20
    below = [(a.first_cycle, a.instances) for a in mapping.assignments() if a.unit == "edge"]
    assert below[0] == (folds[0], ((0, 4),))
    assert len(below) == 20
    # Twenty folds and no toggle before them: fold 0 is in c2. Elements begin up to 6 cycles late.
    last = 125 - 1
    assert mapping.exposures("array", "c2") == tuple(min(f + 6, last) for f in folds[0::2])
    assert mapping.exposures("array", "c1") == tuple(min(f + 6, last) for f in folds[1::2])
    assert mapping.exposures("array", "d") == tuple(range(125))


def test_the_shipped_datasheet_is_the_mesh_of_the_rtl():
    sheet = datasheet(AcceleratorSpec(datasheet="gemmini16"), Path())
    graph = sheet.build()
    array = {c.name: c.bits for c in graph.unit("array").components}
    assert array == {"a": 8, "b": 20, "d": 20, "c1": 32, "c2": 32, "product": 16, "mac_out": 20}
    assert graph.unit("array").shape == (16, 16)
    assert {c.name: c.bits for c in graph.unit("edge").components} == {"out_b": 20, "out_c": 20}
    missing = sheet.map(plain(), Placement()).cost(Activity(), ()).missing
    assert {"array.product.op", "clock", "weight_sram.words.read"} <= set(missing)


@pytest.mark.parametrize("outputs", [4, 8])
@pytest.mark.parametrize("bytes_", [32, 40, 64, 96, 128, 4096])
def test_weights_written_over_others_that_are_still_read_are_refused(bytes_, outputs):
    # One position: a fold is one request, and a row is read in the cycles of R + C - 1 columns.
    layers = (
        Input("x", (), shape=(8,), format=NumberFormat(8)),
        replace(linear("a", "x", 8, outputs), requantise=Requantise(1, 9, 0, 127)),
        linear("b", "a", outputs, 4),
    )
    network = NetworkGraph("fc", layers)
    case = Case(mesh(weight_sram=Memory(bytes_, 16)), network)
    none = Faults(np.zeros(0, FAULT), 1)
    roomy = mesh_force(mesh(weight_sram=Memory(4096, 16)), network, none, case.inputs)
    clocked = mesh_force(case.sheet, network, none, case.inputs)
    if bytes_ >= 8 * outputs + 4 * outputs:
        assert (clocked == roomy).all()
        assert (evaluate_small(case.program, case.inputs, Effects.none(1)) == clocked).all()
        return
    if (bytes_, outputs) not in ((32, 4), (40, 4), (64, 8)):  # there other words are written
        assert (clocked != roomy).any()
    with pytest.raises(
        UnsupportedError, match=r"of [ab], from channel [04] on, are written in cyc"
    ):
        case.mapping.footprint(none, case.inferences)
