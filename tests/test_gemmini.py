"""Gemmini's mesh: responses of struck meshes equal a clocked model, and its RTL."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracles_gemmini import clocked
from small_evaluator import evaluate_small

from accelerators import Systolic
from accelerators.gemmini.program import MeshDataflow, RequestProgram
from accelerators.systolic.mapping import SystolicMapping
from codesign.effects import Effects
from codesign.engine.dense import evaluate
from codesign.errors import DataError, UnsupportedError
from codesign.faults import FAULT, Fault, FaultModel, Faults, FaultSite, Window
from codesign.formats import NumberFormat
from codesign.mapping import Placement
from codesign.network import Edge, Input, Linear, NetworkGraph
from codesign.program import Program

VECTORS = Path(__file__).resolve().parent.parent.parent / "shared" / "oracles" / "rtl"
Ints = NDArray[np.int64]

PROGRAMMES: dict[str, tuple[MeshDataflow, list[int], int]] = {
    "weight stationary": ("weight_stationary", [1, 1, 1, 1, 1], 0),
    "weights used again": ("weight_stationary", [1, 1, 0, 0, 1, 0, 1], 0),
    "weights of power-up used again": ("weight_stationary", [0, 0, 1, 0, 1, 1], 0),
    "output stationary": ("output_stationary", [1, 1, 1, 1, 1], 0),
    "output stationary, shifted": ("output_stationary", [1, 1, 1, 1, 1], 5),
    "output stationary over several requests": ("output_stationary", [1, 1, 0, 0, 1, 0, 1], 3),
    "output stationary from power-up's zeros": ("output_stationary", [0, 0, 1, 0, 1], 2),
}
assert PROGRAMMES


def programme(name: str, rows: int = 4) -> RequestProgram:
    """Requests with random operands."""
    flow, toggles, shift = PROGRAMMES[name]
    rng = np.random.default_rng([len(name), rows])
    a, b, d = rng.integers(-128, 128, (3, len(toggles), rows, rows))
    return RequestProgram(a, b, d, np.array(toggles, dtype=bool), flow, shift)


def responses(program: RequestProgram, effects: Effects) -> Ints:
    """``[trials, rows of all responses, columns]`` by the evaluator of these tests."""
    inputs = program.samples.inputs.astype(np.int64)
    outputs = evaluate_small(program.program(), inputs, effects)
    return outputs.reshape(effects.trials, -1, program.rows)


def single_faults(program: RequestProgram, every: int) -> Faults:
    """One fault a trial: every so many-th bit of the mesh, flipped in each cycle or stuck."""
    parts = program.accelerator.components()
    sites = [
        (part, instance, bit)
        for part, (unit, component) in enumerate(parts)
        for instance in range(unit.instances)
        for bit in range(component.bits)
    ][::every]
    events = [(int(FaultModel.stuck0), 0), (int(FaultModel.stuck1), 0)]
    events += [(int(FaultModel.flip), cycle) for cycle in range(program.cycles)]
    table = np.zeros(len(sites) * len(events), dtype=FAULT)
    table["trial"] = np.arange(len(table))
    table["last"], table["execution"] = -1, -1
    for column, values in zip(("part", "instance", "bit"), zip(*sites, strict=True), strict=True):
        table[column] = np.repeat(values, len(events))
    table["model"] = np.tile([model for model, _ in events], len(sites))
    table["first"][:, 1] = np.tile([cycle for _, cycle in events], len(sites))
    return Faults(table, len(table))


def several_faults(program: RequestProgram, trials: int, per_trial: int) -> Faults:
    """Random flips and stuck bits, all of a trial in one column."""
    rng = np.random.default_rng(11)
    units, parts = zip(*program.accelerator.components(), strict=True)
    table = np.zeros(trials * per_trial, dtype=FAULT)
    table["trial"] = np.arange(len(table)) // per_trial
    table["part"] = rng.choice(len(parts), len(table))
    table["last"], table["execution"] = -1, -1
    column = rng.integers(0, program.rows, trials)[table["trial"]]
    row = rng.integers(0, program.rows, len(table)) * program.rows
    in_array = np.array([unit.name == "array" for unit in units])[table["part"]]
    table["instance"] = np.where(in_array, row, 0) + column
    table["bit"] = rng.integers(0, np.array([part.bits for part in parts])[table["part"]])
    table["model"] = rng.choice(3, len(table))
    flips = table["model"] == FaultModel.flip
    table["first"][:, 1] = np.where(flips, rng.integers(0, program.cycles, len(table)), 0)
    site = [table[n].astype(np.int64) for n in ("trial", "part", "instance", "bit")]
    _, once = np.unique(np.stack(site, axis=1), axis=0, return_index=True)
    return Faults(table[np.sort(once)], trials)


# What a mesh computes


def test_a_weight_stationary_response_is_a_product_and_a_sum():
    program = programme("weights used again")
    golden = responses(program, Effects.none(1))[0].reshape(7, 4, 4)
    # Weights come with the request before, last row first; request 0 computes on power-up zeros.
    assert (golden[0] == program.b[0]).all()
    for request, loaded in ((1, 0), (2, 0), (3, 0), (4, 3), (5, 3), (6, 5)):
        product = program.a[request] @ program.d[loaded][::-1]
        assert (golden[request] == product + program.b[request]).all()


def test_an_output_stationary_response_is_that_of_the_request_before_last_row_first():
    program = programme("output stationary, shifted")
    golden = responses(program, Effects.none(1))[0].reshape(5, 4, 4)
    assert (golden[0] == 0).all()
    for request in (2, 3, 4):
        # Slot j carries column j of A and row j of B; D is fed last row first.
        total = program.a[request - 1].T @ program.b[request - 1] + program.d[request - 2][::-1]
        assert (golden[request] == np.rint(total[::-1] / 32)).all()


def test_requests_that_do_not_toggle_add_to_a_result_and_return_what_was_to_be_loaded():
    program = programme("output stationary over several requests")
    golden = responses(program, Effects.none(1))[0].reshape(7, 4, 4)
    for request in (2, 3, 5):
        assert (golden[request] == program.d[request - 1]).all()
    sums = sum(program.a[i].T @ program.b[i] for i in (1, 2, 3))
    assert (golden[4] == np.rint((sums + program.d[0][::-1])[::-1] / 8)).all()


@pytest.mark.parametrize("name", PROGRAMMES)
def test_golden_responses_equal_the_clocked_mesh(name):
    program = programme(name)
    faultless = Faults(np.zeros(0, dtype=FAULT), 1)
    assert (responses(program, Effects.none(1)) == clocked(program, faultless)).all()


# What faults do to it, against the clocked mesh


@pytest.mark.parametrize("name", PROGRAMMES)
def test_single_faults_anywhere_at_any_time_equal_the_clocked_mesh(name):
    program = programme(name)
    faults = single_faults(program, every=37)
    true = clocked(program, faults)
    footprint = program.footprint(faults)
    found = responses(program, footprint.effects)
    changed = (true != responses(program, Effects.none(1))).any(axis=(1, 2))
    assert changed.sum() > 300
    assert (found == true).all()
    assert not (changed & (footprint.idle > 0)).any()


@pytest.mark.parametrize("name", ["weight stationary", "weights used again"])
def test_several_faults_in_one_column_equal_the_clocked_mesh(name):
    program = programme(name)
    faults = several_faults(program, trials=400, per_trial=5)
    true = clocked(program, faults)
    assert (true != responses(program, Effects.none(1))).any(axis=(1, 2)).mean() > 0.5
    assert (responses(program, program.footprint(faults).effects) == true).all()


def test_several_faults_in_results_equal_the_clocked_mesh_or_are_refused():
    program = programme("output stationary, shifted")
    table = several_faults(program, trials=150, per_trial=4).table
    kept: list[NDArray[np.void]] = []
    for trial in range(150):
        rows = table[table["trial"] == trial].copy()
        rows["trial"] = 0
        try:
            program.footprint(Faults(rows, 1))
        except UnsupportedError as error:
            assert "clipped in between" in str(error)  # noqa: PT017  it is allowed to happen
        else:
            rows["trial"] = len(kept)
            kept.append(rows)
    assert 100 < len(kept) < 150
    faults = Faults(np.concatenate(kept), len(kept))
    found = responses(program, program.footprint(faults).effects)
    assert (found == clocked(program, faults)).all()


# What is refused


def test_operands_of_requests_have_one_shape():
    a = np.zeros((3, 4, 4), int)
    with pytest.raises(DataError, match=r"a, b and d are \[requests, rows, rows\]"):
        RequestProgram(a, a, a[:2], np.ones(3, bool))
    with pytest.raises(DataError, match=r"toggles is \[requests\]"):
        RequestProgram(a, a, a, np.ones(2, bool))


def test_a_shift_is_one_number_or_one_of_each_request():
    a = np.zeros((2, 4, 4), int)
    with pytest.raises(DataError, match=r"shift is a number or \[requests\], came \(3,\)"):
        RequestProgram(a, a, a, np.ones(2, bool), "output_stationary", np.array([1, 2, 3]))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            Fault(FaultSite("array", (0, 0), "a"), FaultModel.stuck0, Window((0, 3), (0, 9))),
            "a: a bit of the mesh that is stuck for a while",
        ),
        (Fault(FaultSite("array", (0, 0), "*"), FaultModel.dead), "a dead element is not modelled"),
    ],
)
def test_faults_that_are_not_claimed_are_refused_by_name(fault, message):
    program = programme("weight stationary")
    with pytest.raises(UnsupportedError, match=message):
        program.footprint(Faults.of([[fault]], program.accelerator))


# The RTL's responses


def vectors(name: str) -> Any:
    """A file of recorded faults, or a skip that says what is missing."""
    path = VECTORS / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not beside the checkout")
    return np.load(path)


def recorded(file: Any) -> RequestProgram:
    """The requests of a file."""
    control = file["prog_ctrl"]
    return RequestProgram(
        file["prog_A"],
        file["prog_B"],
        file["prog_D"],
        control[:, 1] == 1,
        "weight_stationary" if control[0, 0] else "output_stationary",
        int(control[0, 2]),
    )


def chosen_in(file: Any) -> Ints:
    """Rows of a file that are faults of data registers and nets."""
    roles = ["a", "b", "d", "c1", "c2", "out_b", "out_c", "prod", "mac_out"]
    return np.flatnonzero(np.isin(file["f_role"], roles) & (file["f_row"] >= 0))


def claimed(file: Any, program: RequestProgram, shifted: int = 0) -> tuple[Faults, Ints, Ints]:
    """(faults, true responses, golden response) of the data registers and nets in a file.

    Uses role, row, column, bit, kind and cycle of the faults, and nothing that came out of the RTL
    but the true responses.
    """
    names = {c.name: i for i, (_, c) in enumerate(program.accelerator.components())}
    names["prod"] = names["product"]
    chosen = chosen_in(file)
    table = np.zeros(len(chosen), dtype=FAULT)
    table["trial"] = np.arange(len(chosen))
    table["part"] = [names[role] for role in file["f_role"][chosen]]
    below = np.char.startswith(file["f_role"][chosen], "out_")
    row, col = file["f_row"][chosen], file["f_col"][chosen]
    table["instance"] = np.where(below, col, row * program.rows + col)
    table["bit"] = file["f_bit"][chosen]
    kinds = {"flip": FaultModel.flip, "sa0": FaultModel.stuck0, "sa1": FaultModel.stuck1}
    table["model"] = [kinds[kind] for kind in file["f_kind"][chosen]]
    if "f_cycle" in file.files:
        flips = table["model"] == FaultModel.flip
        table["first"][:, 1] = np.where(flips, file["f_cycle"][chosen] + shifted, 0)
    table["last"], table["execution"] = -1, -1
    rows, golden = file["f_rows"], file["g_rows"][:, 2:]
    if "f_rows_off" in file.files:
        ends = file["f_rows_off"]
        true = np.stack([rows[ends[i] : ends[i + 1], 2:] for i in chosen])
    else:
        true = rows[chosen][:, :, 2:]
    return Faults(table, len(chosen)), true, golden


# By file: faults claimed, and how many of them change a response.
RECORDED = {
    "gemmini16_ws": (1047, 450),
    "gemmini16_os_shift0": (1028, 608),
    "gemmini16_ws_conv": (1033, 464),
    "gemmini16_ws_conv_net_stuckat": (800, 795),
}

ENGINE = ("gemmini16_ws", "gemmini16_os_shift0")  # the others by these tests' evaluator: faster


@pytest.mark.parametrize("name", RECORDED)
def test_footprint_effects_and_engine_give_the_responses_of_the_rtl(name):
    file = vectors(name)
    program = recorded(file)
    faults, true, golden = claimed(file, program)
    claim, unmasked = RECORDED[name]
    assert len(faults) == claim
    assert (responses(program, Effects.none(1))[0] == golden).all()
    effects = program.footprint(faults).effects
    if name in ENGINE:
        outputs = evaluate(program.program(), program.samples, effects).outputs
        found = outputs.reshape(true.shape)
    else:
        found = responses(program, effects)
    equal = (found == true).all(axis=(1, 2))
    changed = (true != golden).any(axis=(1, 2))
    assert equal.sum() == claim
    assert (equal & changed).sum() == unmasked


@pytest.mark.parametrize("name", ["gemmini16_ws", "gemmini16_os_shift0"])
def test_a_cycle_earlier_or_later_the_rtl_is_missed(name):
    file = vectors(name)
    program = recorded(file)
    for shifted in (1, -1):
        faults, true, _ = claimed(file, program, shifted)
        found = responses(program, program.footprint(faults).effects)
        assert (found == true).all(axis=(1, 2)).mean() < 0.95


@pytest.mark.parametrize("name", ["gemmini16_ws", "gemmini16_os_shift0"])
def test_the_clocked_mesh_gives_the_responses_of_the_rtl(name):
    file = vectors(name)
    program = recorded(file)
    faults, true, _ = claimed(file, program)
    assert (clocked(program, faults) == true).all()


# By file: faults claimed, and how many of them change the layer's output.
LAYERS = {"gemmini16_ws_conv": (1033, 403), "gemmini16_ws_conv_net_stuckat": (800, 795)}


@pytest.mark.parametrize("name", LAYERS)
def test_a_network_on_the_mesh_gives_the_layer_of_the_rtl(name):
    file = vectors(name)
    faults, _, _ = claimed(file, recorded(file))
    true = file["f_layer_out"][chosen_in(file)].reshape(len(faults), -1)
    golden = file["g_layer_out"].reshape(-1)
    mapping, inputs = recorded_layer(file)
    effects = mapping.footprint(as_network(faults, mapping, recorded(file)), 2).effects
    # The recorded requests let the bias enter at row 0; a network's is added behind the mesh.
    plain = mapping.program(())
    program = Program(
        plain.network, {"c": dataclasses.replace(plain.arithmetic["c"], bias_in="load")}
    )
    found = evaluate_small(program, np.stack([inputs, inputs]), effects)[:, 0]
    changed = (true != golden).any(axis=1)
    assert (len(true), changed.sum()) == LAYERS[name]
    assert (found == true).all()


def recorded_layer(file: Any) -> tuple[SystolicMapping, Ints]:
    """The recorded convolution as a matrix product; K 27 leaves rows of the second tile empty."""
    inputs = file["A_im2col"][:36, :27].astype(np.int64)
    weight, bias = file["W_im2col"][:27].T.astype(np.int64), file["bias"].astype(np.int64)
    layers = (
        Input("x", (), shape=(36, 27), format=NumberFormat(8)),
        Linear("c", (Edge("x"),), weight=weight, bias=bias),
    )
    mapping = Systolic(datapath="gemmini", psum_bits=20).map(
        NetworkGraph("recorded", layers), Placement()
    )
    assert isinstance(mapping, SystolicMapping)
    return mapping, inputs


def as_network(faults: Faults, mapping: SystolicMapping, program: RequestProgram) -> Faults:
    """Recorded faults as a network on the mesh meets them.

    The recorded requests toggle once more before the first tile, so c1 and c2 change places; their
    first slot comes in cycle 3, and what strikes before it meets zeros that nobody keeps. What is
    in the mesh after the last request belongs, in hardware time, to the next inference.
    """
    names = [f"{unit.name}.{c.name}" for unit, c in mapping.accelerator.components()]
    other = {"array.c1": "array.c2", "array.c2": "array.c1"}
    theirs = [f"{unit.name}.{c.name}" for unit, c in program.accelerator.components()]
    part = np.array([names.index(other.get(name, name)) for name in theirs])
    table = faults.table.copy()
    table["part"] = part[table["part"]]
    flips = table["model"] == FaultModel.flip
    early = flips & (table["first"][:, 1] < 3)
    cycle = np.where(flips, table["first"][:, 1] - 3, 0)
    table["first"] = np.stack(np.divmod(cycle, mapping.schedule.cycles), axis=1)
    return Faults(table[~early], faults.trials)
