"""Faults in the memories of a systolic array equal a machine whose every cell is simulated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from systolic_cases import Case, compare, grouped, random_faults, residual, small_chip, two_layers

from accelerators.systolic.family import Memory
from codesign.errors import UnsupportedError
from codesign.faults import Fault, FaultModel, Faults, FaultSite, Window

FLOWS = ("weight_stationary", "output_stationary", "input_stationary")
MEMORIES = ("dram", "weight_sram", "activation_sram", "psum_sram")
CHUNKS = Memory(192, 16)  # one layer at a time, the larger one in pieces where the dataflow allows
ALL = Memory(512, 32)  # all weights at once


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("unit", MEMORIES)
@pytest.mark.parametrize("sram", [CHUNKS, ALL])
def test_faults_in_one_memory_equal_brute_force(sram, unit, flow):
    case = Case(small_chip(dataflow=flow, weight_sram=sram), two_layers())
    found = compare(case, random_faults(case, (unit,), trials=400, per_trial=1, seed=1))
    assert found.changed.mean() > 0.05
    assert not found.wrong.any()
    assert not (found.changed & (found.footprint.idle > 0)).any()


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("network", [residual, grouped])
def test_several_faults_everywhere_equal_brute_force(network, flow):
    sizes = {"activation_sram": Memory(260, 16), "weight_sram": Memory(256, 16)}
    chip = small_chip(rows=4, dataflow=flow, **sizes)
    case = Case(chip, network(), rows=(1, 3, 0), columns=(1, 0))
    units = (*MEMORIES, "array")
    found = compare(case, random_faults(case, units, trials=60, per_trial=8, seed=5))
    assert found.changed.mean() > 0.5
    assert not found.wrong.any()


@pytest.mark.parametrize("unit", ["weight_sram", "activation_sram", "psum_sram"])
def test_a_strike_one_cycle_off_is_predicted_wrong_somewhere(unit):
    case = Case(small_chip(weight_sram=CHUNKS), two_layers())
    faults = random_faults(case, (unit,), trials=600, per_trial=1, seed=4)
    assert not compare(case, faults).wrong.any()
    assert compare(case, faults, shifted=9).wrong.any()


def touched(case: Case, site: str, window: Window, model: str = "flip") -> np.ndarray:
    """The samples that one fault touches, (first, stop) in each row of effects."""
    fault = Fault(FaultSite.parse(site), FaultModel[model], window)
    footprint = case.mapping.footprint(Faults.of([[fault]], case.graph), case.inferences)
    return footprint.effects.table["samples"]


def test_a_flip_lasts_until_its_element_is_written_again():
    one = Window((1, 0))
    chunks = Case(small_chip(weight_sram=CHUNKS), two_layers(), inferences=4)
    resident = Case(small_chip(weight_sram=ALL), two_layers(), inferences=4)
    # Loaded in every inference: gone after the one that is struck. In dram: in all from there on.
    assert touched(chunks, "weight_sram.words:0", one).tolist() == [[1, 2]]
    assert touched(chunks, "dram.words:0", one).tolist() == [[1, -1]]
    # Never written again: in all from there on. Its copy in dram is not read any more.
    assert touched(resident, "weight_sram.words:0", one).tolist() == [[1, -1]]
    assert touched(resident, "dram.words:0", one).tolist() == []
    assert touched(resident, "dram.words:0", Window()).tolist() == [[0, -1]]
    # The weight register is written in every fold, the map in every inference.
    assert touched(resident, "array[2,0].weight_register:0", one).tolist() == []
    assert touched(resident, "array[2,0].weight_register:0", Window((1, 2))).tolist() == [[1, 2]]
    assert touched(resident, "activation_sram.words:0", one).tolist() == [[1, 2]]


def test_exposures_say_when_contents_are_written():
    chunks = Case(small_chip(weight_sram=CHUNKS), two_layers()).mapping
    folds = [a.first_cycle for a in chunks.assignments()]
    # Layer c is loaded at 0; of layer l (N 4, K 48) a tile of two channels fits twice: at once.
    assert chunks.exposures("weight_sram", "words") == (0, folds[6])
    assert Case(small_chip(weight_sram=ALL), two_layers()).mapping.exposures(
        "weight_sram", "words"
    ) == (0,)
    assert chunks.exposures("dram", "words") == (0,)
    assert chunks.exposures("activation_sram", "words") == (0, folds[6])
    # A tile stands in its place when the third of three rows has been loaded, two cycles later.
    assert chunks.exposures("array", "weight_register") == tuple(f + 2 for f in folds)
    assert chunks.exposures("array", "psum_register") == tuple(range(356))
    # K 8 takes three passes: the first two leave sums for the next.
    assert chunks.exposures("psum_sram", "words")[:4] == (folds[1], folds[2], folds[4], folds[5])


def test_a_strike_at_an_exposure_meets_every_weight_of_its_tile():
    case = Case(small_chip(weight_sram=CHUNKS), two_layers(), inferences=1)
    mapping = case.mapping
    at = mapping.exposures("array", "weight_register")
    faults = [
        [Fault(FaultSite("array", (r, c), "weight_register"), FaultModel.flip, Window((0, cycle)))]
        for cycle in at
        for r in range(3)
        for c in range(2)
    ]
    table = mapping.footprint(Faults.of(faults, case.graph), 1).effects.table
    met = {(row["layer"], row["k"][0], row["n"][0]) for row in table}
    assert len(met) == len(table) == 8 * 3 + 48 * 4
    assert all(row["m"][0] == 0 for row in table)


def test_a_memory_dead_for_a_while_is_refused_by_name():
    case = Case(small_chip(), two_layers())
    site = FaultSite("psum_sram", (), "*")
    faults = Faults.of([[Fault(site, FaultModel.dead, Window((0, 3)))]], case.graph)
    with pytest.raises(UnsupportedError, match="psum_sram: a memory that is dead for a while"):
        case.mapping.footprint(faults, 2)


@pytest.mark.parametrize("unit", MEMORIES)
def test_a_wrong_address_is_refused_and_says_which_kind_of_effect_it_would_take(unit):
    case = Case(small_chip(), two_layers())
    words = case.graph.unit(unit).component("words").words
    assert 2 ** case.graph.unit(unit).component("row_address").bits == words
    fault = Fault(FaultSite(unit, (), "row_address"), FaultModel.stuck1)
    with pytest.raises(UnsupportedError, match=rf"{unit}.row_address: .* alias of operands"):
        case.mapping.footprint(Faults.of([[fault]], case.graph), 2)


def test_a_strike_in_one_execution_is_met_by_that_execution_alone():
    case = Case(small_chip(weight_sram=ALL), two_layers())
    site = FaultSite("weight_sram", (), "words")
    for execution in (-1, 0, 2):
        fault = Fault(site, FaultModel.flip, Window((0, 300), execution=execution))
        faults = Faults.of([[fault]], case.graph)
        table = case.mapping.footprint(faults, 3).effects.table
        assert table["execution"].tolist() == [execution]
        assert table["samples"].tolist() == [[1, -1]]  # the first inference had read it


def test_two_placements_read_the_same_memory_cell_as_the_same_weight():
    plain = Case(small_chip(), two_layers())
    moved = replace(plain, rows=(2, 0, 1), columns=(1, 0))
    fault = Fault(FaultSite("weight_sram", (), "words", 3, 4), FaultModel.stuck1)
    tables = [
        case.mapping.footprint(Faults.of([[fault]], case.graph), 1).effects.table
        for case in (plain, moved)
    ]
    assert tables[0].tobytes() == tables[1].tobytes()
    assert len(tables[0]) > 0
    assert plain.mapping.program(()).digest != moved.mapping.program(()).digest
