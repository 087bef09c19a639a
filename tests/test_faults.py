"""Fault sites, windows, tables and lists on disk."""

import re

import numpy as np
import pytest

from codesign.accelerator import AcceleratorGraph, Component, Link, Unit
from codesign.errors import FaultError
from codesign.faults import FAULT, Fault, FaultModel, Faults, FaultSite, Window

CHIP = AcceleratorGraph(
    "chip",
    None,
    (
        Unit("array", "pe_array", (2, 3), (Component("weight", 8, "weight", words=4),)),
        Unit("core", "neuron", (), (Component("fire", 1, "operation"),)),
    ),
    (Link("array", "core", "spike", 1),),
)


def fault(text, model=FaultModel.flip, **more):
    return Fault(FaultSite.parse(text), model, **more)


@pytest.mark.parametrize("text", ["array[1,2].weight@3:7", "array[0,0].weight:0", "core.fire:0"])
def test_a_site_reads_back_as_it_is_written(text):
    assert str(FaultSite.parse(text)) == text


def test_a_table_gives_back_the_faults_it_was_made_of():
    trials = [
        [fault("array[1,2].weight@3:7", window=Window((2, 5)), event=1)],
        [],
        [
            fault("array[0,1].weight:0", FaultModel.stuck1, window=Window((0, 0), (1, 0))),
            fault("core.fire:0", FaultModel.skip),
            Fault(FaultSite("array", (1, 1), "*"), FaultModel.dead),
        ],
    ]
    table = Faults.of(trials, CHIP)
    assert table.trials == 3
    assert [table.fault(i, CHIP) for i in range(4)] == [f for trial in trials for f in trial]
    assert table.table["trial"].tolist() == [0, 2, 2, 2]


def test_a_list_on_disk_reads_back_equal(tmp_path):
    table = Faults.of(
        [[fault("array[1,2].weight@3:7")], [fault("core.fire:0", FaultModel.always)]], CHIP
    )
    table.to_csv(tmp_path / "faults.csv", CHIP)
    again = Faults.from_csv(tmp_path / "faults.csv", CHIP)
    assert (again.table == table.table).all()
    assert again.trials == 2
    assert "array[1,2].weight@3:7" in (tmp_path / "faults.csv").read_text()


IMPOSSIBLE = [
    (fault("aray[0,0].weight:0"), "no unit 'aray'; did you mean 'array'?"),
    (fault("array[0,0].wait:0"), "no component 'wait'; did you mean 'weight'?"),
    (fault("array[2,0].weight:0"), "instances of shape (2, 3)"),
    (fault("array[0].weight:0"), "instances of shape (2, 3)"),
    (fault("array[0,0].weight@4:0"), "words 0..3 of bits 0..7"),
    (fault("array[0,0].weight:8"), "words 0..3 of bits 0..7"),
    (fault("core.fire:0"), "component fire cannot have a flip fault; it can have: skip, always"),
    (fault("array[0,0].weight:0", FaultModel.skip), "cannot have a skip fault"),
    (fault("array[0,0].weight:0", FaultModel.dead), "cannot have a dead fault"),
    (Fault(FaultSite("array", (0, 0), "*"), FaultModel.flip), "component * cannot have a flip"),
]


@pytest.mark.parametrize(("wrong", "message"), IMPOSSIBLE)
def test_a_fault_that_cannot_exist_is_refused(wrong, message):
    with pytest.raises(FaultError, match=re.escape(message)):
        Faults.of([[wrong]], CHIP)


def test_a_drawn_table_with_impossible_rows_is_refused_too():
    table = np.zeros(1, dtype=FAULT)
    for column, value, message in (
        ("instance", 6, "array.weight has instance 0..5, came 6"),
        ("word", -1, "array.weight has word 0..3, came -1"),
        ("bit", 8, "array.weight has bit 0..7, came 8"),
        ("part", 2, "names part 2 of 2"),
    ):
        wrong = table.copy()
        wrong[column] = value
        with pytest.raises(FaultError, match=re.escape(message)):
            Faults(wrong, 1).check(CHIP)
    with pytest.raises(FaultError, match=re.escape("trials outside 0..0")):
        Faults(np.array([(1, 0, 0, 0, 0, 0, 0, (0, 0), (-1, -1), -1)], dtype=FAULT), 1)


def test_windows_that_are_empty_or_negative_are_refused():
    for first, last in (((0, 5), (0, 5)), ((1, 0), (0, 9)), ((-1, 0), None)):
        with pytest.raises(FaultError, match="empty or negative"):
            Window(first, last)


def test_a_broken_list_is_refused_with_file_and_line(tmp_path):
    path = tmp_path / "faults.csv"
    Faults.of([[fault("core.fire:0", FaultModel.skip)]], CHIP).to_csv(path, CHIP)
    head, line = path.read_text().splitlines()
    for text, message in (
        ("nonsense", "faults.csv:1: expected the heading"),
        (
            f"{head}\n{line}\n0,0,core.fire:0,skipp,0,0,-1,-1,-1",
            "csv:3: unknown fault model 'skipp'",
        ),
        (f"{head}\n0,0,core", "csv:2: expected 9 fields, came 3"),
        (f"{head}\n0,0,core.fire,skip,0,0,-1,-1,-1", "csv:2: 'core.fire' is no fault site"),
        (f"{head}\nx,0,core.fire:0,skip,0,0,-1,-1,-1", "csv:2: invalid literal"),
    ):
        path.write_text(text)
        with pytest.raises(FaultError, match=re.escape(message)):
            Faults.from_csv(path, CHIP)


def test_an_accelerator_refuses_links_to_nowhere_and_double_names():
    unit = Unit("a", "sram")
    with pytest.raises(FaultError, match="link to 'b'"):
        AcceleratorGraph("x", None, (unit,), (Link("a", "b", "weight", 8),))
    with pytest.raises(FaultError, match="two units share a name"):
        AcceleratorGraph("x", None, (unit, unit))


def test_the_graph_has_a_node_for_each_unit_and_an_edge_for_each_link():
    graph = CHIP.graph()
    assert list(graph.nodes) == ["array", "core"]
    assert [(a, b, d["link"].bits) for a, b, d in graph.edges(data=True)] == [("array", "core", 1)]


def test_sites_count_every_bit_of_every_word_of_every_instance():
    assert CHIP.unit("array").sites("weight") == 6 * 4 * 8
