"""The mapping report: counted by hand for a toy, as the families give it for real chips."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
from json_problems import problems
from sample_mapping import sample_view
from test_tinyodin import network as spiking

from codesign.design import Design
from codesign.errors import DataError, MappingError, StoreError
from codesign.guards import Clamp, Correct, Recompute
from codesign.mapping import Activity, Phases
from codesign.report import MappingView, write_mapping
from codesign.study.loading import datasheet
from codesign.study.spec import AcceleratorSpec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the toy."""
    return write_mapping([sample_view()], tmp_path_factory.mktemp("mapping")).parent


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_report_is_a_page_tables_json_and_its_schema_a_graph_and_a_picture(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        *("mapping.html", "mapping.json", "mapping.schema.json"),
        *("layers.csv", "costs.csv", "assignments.csv", "units.csv", "graph.graphml", "chip.svg"),
    }


def test_a_layer_is_told_with_place_time_use_reads_and_energy(folder: Path) -> None:
    rows = {row["layer"]: row for row in rows_of(folder, "layers")}
    assert list(rows) == ["input", "conv", "flat", "fc", "*"]
    fc = rows["fc"]
    assert (fc["units"], fc["folds"], fc["cycles"], fc["utilisation"]) == (
        "array",
        "2",
        "24",
        "0.25",
    )
    assert (fc["first_cycle"], fc["last_cycle"]) == ("36", "60")
    assert (fc["positions"], fc["terms"], fc["channels"], fc["macs"]) == ("1", "8", "3", "24")
    assert float(fc["sram.words.read_words"]) == 24
    assert float(fc["sram.words.read_bits"]) == 24 * 16
    assert float(fc["sram.words.read_energy_pj"]) == 60
    assert fc["array.product.op_words"] == ""  # it does none
    assert rows["conv"]["array.product.op_words"] == "72.0"
    assert rows["conv"]["array.product.op_energy_pj"] == ""  # it does some, nobody knows the price


def test_units_are_told_with_traffic_exposure_and_what_passes(folder: Path) -> None:
    rows = {row["unit"]: row for row in rows_of(folder, "units")}
    sram, array = rows["sram"], rows["array"]
    assert [float(sram[name]) for name in ("reads", "read_bits", "energy_pj")] == [42, 672, 105]
    assert (sram["exposure_bit_cycles"], sram["occupancy"], sram["layers"]) == ("", "", "conv; fc")
    # Registers of 8 bits: 4 for 36 cycles, 4 for 14, 2 for 10.
    busy = 4 * 36 + 4 * 14 + 2 * 10
    assert float(array["exposure_bit_cycles"]) == 8 * busy
    assert float(array["exposure_bit_seconds"]) == pytest.approx(8 * busy / 100e6)
    assert float(array["occupancy"]) == pytest.approx(busy / (4 * 60))
    assert int(array["weight_elements"]) == 9 * 2 + 8 * 2 + 8
    assert (array["sum_elements"], array["vulnerability"], array["guards"]) == ("", "", "")
    layers = {row["layer"]: row for row in rows_of(folder, "layers")}
    assert float(layers["fc"]["exposure_bit_cycles"]) == 8 * (4 * 14 + 2 * 10)
    assert float(layers["fc"]["occupancy"]) == pytest.approx((4 * 14 + 2 * 10) / (4 * 60))


def test_phases_of_a_layer_are_told_where_a_family_says_them(tmp_path: Path) -> None:
    view = sample_view()
    cost = replace(view.cost, phases={"conv": Phases(6, 25, 4, 1), "fc": Phases(compute=24)})
    page = write_mapping([replace(view, cost=cost)], tmp_path).read_text(encoding="utf-8")
    rows = {row["layer"]: row for row in rows_of(tmp_path, "layers")}
    names = ("load_cycles", "compute_cycles", "drain_cycles", "stall_cycles")
    assert [rows["conv"][name] for name in names] == ["6", "25", "4", "1"]
    assert [rows["input"][name] for name in names] == [""] * 4
    assert "tiny: 81.7 % of the cycles compute" in page.replace("\N{NO-BREAK SPACE}", " ")


def test_guards_stand_at_the_units_whose_words_they_check() -> None:
    from accelerators import Systolic

    chip = Systolic(name="a4", rows=4, cols=4).build()
    guards = (Correct("fc", "weight"), Clamp("conv", "activation", 0, 9), Recompute(3))
    design = Design("toy", sample_view().network, chip, guards=guards)
    view = MappingView.of(design, design.mapping.cost(Activity(), guards))
    assert view.guarded["dram"] == ("correct of weights", "3 executions")
    assert view.guarded["activation_sram"] == ("clamp of activations", "3 executions")
    assert view.guarded["psum_sram"] == ("3 executions",)
    once = MappingView.of(replace(design, guards=()), design.mapping.cost(Activity(), ()))
    assert once.guarded["dram"] == ()


def test_the_page_says_the_sum_and_what_could_not_be_priced(folder: Path) -> None:
    page = (folder / "mapping.html").read_text(encoding="utf-8")
    assert "On toy net takes 60 cycles (600 ns) and 105 pJ an inference; 1 number is absent" in page
    assert "<li>tiny: array.product.op</li>" in page
    assert "sram.words read takes 100 % of the energy" in page.replace("\N{NO-BREAK SPACE}", " ")


def test_nothing_missing_is_said_too(tmp_path: Path) -> None:
    view = sample_view()
    whole = replace(view, cost=replace(view.cost, missing=()))
    page = write_mapping([whole], tmp_path).read_text(encoding="utf-8")
    assert "Nothing: the datasheets have every number that the costs ask for." in page
    assert "absent from the datasheet" not in page


def test_links_of_the_page_are_files_beside_it(folder: Path) -> None:
    page = (folder / "mapping.html").read_text(encoding="utf-8")
    links = {part.split('"')[0] for part in page.split('href="')[1:]}
    files = {link for link in links if not link.startswith("#")}
    assert len(files) >= 7
    assert {name for name in files if not (folder / name).is_file()} == set()


def test_the_graph_holds_units_links_layers_and_who_runs_where(folder: Path) -> None:
    graph = networkx.read_graphml(folder / "graph.graphml")
    assert set(graph) == {
        *("unit:sram", "unit:array"),
        *("layer:input", "layer:conv", "layer:flat", "layer:fc"),
    }
    edges = [(a, b, data) for a, b, data in graph.edges(data=True)]
    runs = {(a, b): data for a, b, data in edges if data["relation"] == "runs_on"}
    assert set(runs) == {("layer:conv", "unit:array"), ("layer:fc", "unit:array")}
    fc = runs["layer:fc", "unit:array"]
    assert (fc["folds"], fc["first_cycle"], fc["last_cycle"]) == (2, 36, 60)
    links = {(a, b): data for a, b, data in edges if data["relation"] == "link"}
    assert links["unit:sram", "unit:array"]["words_per_cycle"] == 2.0
    assert links["unit:array", "unit:sram"]["bits"] == 16
    assert graph.nodes["unit:array"]["shape"] == "2x2"


def test_the_picture_stands_alone(folder: Path) -> None:
    text = (folder / "chip.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg"
    cells = [c for c in root.iter(f"{name}rect") if c.get("class") == "cell"]
    assert len(cells) == 1 + 4
    # The left column works in all 60 cycles, the right one not in the last ten.
    fills = {c.get("data-r"): c.get("fill") for c in cells}
    assert fills["0,1;0,1"] == fills["1,2;0,1"] == "#fee838"
    assert fills["0,1;1,2"] == fills["1,2;1,2"] not in (fills["0,1;0,1"], "#eceef0")
    assert fills[""] == "#eceef0"  # nothing is assigned to the memory


# JSON


def read(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object."""
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_the_json_is_as_its_schema_says(folder: Path) -> None:
    schema = read(folder, "mapping.schema.json")
    assert problems(schema, read(folder, "mapping.json")) == []


def breaks() -> list[tuple[str, Callable[[dict[str, Any]], object]]]:
    """What the schema must not let pass, and how to do it."""
    return [
        ("cost: cycles is missing", lambda d: d["cost"].pop("cycles")),
        ("extra is unknown", lambda d: d["network"].update(extra=1)),
        ("'x' is no integer", lambda d: d["assignments"][0].update(number="x")),
        ("2 items", lambda d: d["assignments"][0].update(m=[0, 1])),
        ("'guessed' is not allowed", lambda d: d["accelerator"]["clock"].update(grade="guessed")),
        ("0 is too small", lambda d: d["accelerator"]["links"][0].update(bits=0)),
    ]


@pytest.mark.parametrize(("told", "change"), breaks(), ids=[told for told, _ in breaks()])
def test_the_schema_refuses_what_is_not_so(
    folder: Path, told: str, change: Callable[[dict[str, Any]], object]
) -> None:
    schema, content = read(folder, "mapping.schema.json"), read(folder, "mapping.json")
    change(content["designs"][0])
    found = problems(schema, content)
    assert [problem for problem in found if told in problem]


def test_the_json_holds_what_the_view_holds(folder: Path) -> None:
    (design,) = read(folder, "mapping.json")["designs"]
    view = sample_view()
    assert design["cost"]["energy_pj"] == view.cost.energy_pj == 105.0
    assert len(design["assignments"]) == len(view.assignments) == 3
    assert design["network"]["layers"][3]["mac_shape"] == [1, 8, 3]
    price = design["accelerator"]["units"][0]["components"][0]["energy"]["read"]
    assert price == {"value": 2.5, "unit": "pJ", "source": "book", "grade": "published"}


# Several designs, and mistakes


def test_several_designs_share_tables_and_have_pictures_of_their_own(tmp_path: Path) -> None:
    write_mapping([sample_view("a b"), sample_view("a/b"), sample_view("c")], tmp_path)
    pictures = {path.name for path in tmp_path.glob("chip*.svg")}
    assert pictures == {"chip.a_b.0.svg", "chip.a_b.1.svg", "chip.c.svg"}
    designs = [row["design"] for row in rows_of(tmp_path, "layers")]
    assert designs == ["a b"] * 5 + ["a/b"] * 5 + ["c"] * 5


def test_equal_mappings_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    write_mapping([sample_view()], tmp_path)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_designs_that_cannot_be_told_apart_are_refused(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="expected designs with different names"):
        write_mapping([sample_view(name) for name in names], tmp_path)


def test_an_assignment_to_no_unit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    view = sample_view()
    lost = replace(view, assignments=(replace(view.assignments[0], unit="arrai"),))
    with pytest.raises(DataError, match="did you mean 'array'"):
        write_mapping([lost], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(StoreError, match="taken: cannot be written"):
        write_mapping([sample_view()], tmp_path / "taken")


# Real families


def test_a_real_array_is_reported_as_its_mapping_says(tmp_path: Path) -> None:
    from accelerators import Systolic

    design = Design("toy", sample_view().network, Systolic(name="a4", rows=4, cols=4).build())
    cost = design.mapping.cost(Activity(), ())
    write_mapping([MappingView.of(design, cost)], tmp_path)
    schema = read(tmp_path, "mapping.schema.json")
    content = read(tmp_path, "mapping.json")
    assert problems(schema, content) == []
    assert content["designs"][0]["cost"]["cycles"] == cost.cycles
    rows = {row["layer"]: row for row in rows_of(tmp_path, "layers")}
    assert int(rows["conv"]["folds"]) == 3  # 9 terms in folds of 4 rows, 2 channels in one of 4
    moved = np.array([float(row["bits_each"]) for row in rows_of(tmp_path, "costs")])
    assert (moved >= 0).all()
    missing = (tmp_path / "mapping.html").read_text(encoding="utf-8")
    assert all(f"<li>toy: {name}</li>" in missing for name in cost.missing)
    assert len(cost.missing) > 5


def test_registers_are_exposed_and_nets_are_not(tmp_path: Path) -> None:
    from accelerators import Systolic

    sheet = Systolic(name="a4", rows=4, cols=4, weight_bits=8, input_bits=8, psum_bits=20)
    design = Design("toy", sample_view().network, sheet.build())
    write_mapping([MappingView.of(design, design.mapping.cost(Activity(), ()))], tmp_path)
    row = next(row for row in rows_of(tmp_path, "layers") if row["layer"] == "conv")
    each = int(row["cycles"]) // 3  # 9 terms: folds of 4, 4 and 1 rows, of 2 channels each
    exposures = read(tmp_path, "mapping.json")["designs"][0]["exposures"]
    found = {(one["layer"], one["unit"]): one["bit_cycles"] for one in exposures}
    # A weight, an input and a sum stand in an element; its product and its adder's output do not.
    assert found["conv", "array"] == each * (4 + 4 + 1) * 2 * (8 + 8 + 20)


@pytest.mark.parametrize(
    ("sheet", "nets"),
    [
        ("generic8_ws", {"array.product", "array.mac_out"}),
        ("gemmini16", {"array.product", "array.mac_out"}),
        ("cores4_mesh", {"neuron.spike_line"}),
        (
            "tinyodin",
            {
                *("neurons.write_bus", "neurons.weight", "neurons.extended_weight"),
                *("neurons.address", "synapses.address"),
            },
        ),
    ],
)
def test_nets_of_a_chip_are_told_as_such(sheet: str, nets: set[str]) -> None:
    chip = datasheet(AcceleratorSpec(datasheet=sheet), Path()).build()
    assert {f"{u.name}.{c.name}" for u, c in chip.components() if c.net} == nets


def test_layers_of_a_chip_of_words_take_the_words_that_hold_them(tmp_path: Path) -> None:
    chip = datasheet(AcceleratorSpec(datasheet="tinyodin"), Path()).build()
    design = Design("serial", spiking(np.random.default_rng(0), (16, 20, 4)), chip)
    cost = design.mapping.cost(Activity({"x": 12.0, "lif0": 5.0, "lif1": 3.0}), ())
    write_mapping([MappingView.of(design, cost)], tmp_path)
    shares = {row["layer"]: row["occupancy"] for row in rows_of(tmp_path, "layers")}
    neurons = {name: float(shares[name]) for name in ("lif0", "lif1")}
    assert neurons == {"lif0": 20 / 256, "lif1": 4 / 256}  # a word a neuron, all the time
    assert 0 < float(shares["fc0"]) < 0.05  # of 8,192 words
    unit = next(row for row in rows_of(tmp_path, "units") if row["unit"] == "neurons")
    assert float(unit["occupancy"]) == pytest.approx(sum(neurons.values()))
