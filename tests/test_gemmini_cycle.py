"""Gemmini's mesh, register by register: against arithmetic, RTL, and what effects say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gemmini_cases import mesh_faults, outputs, random_requests
from numpy.typing import NDArray
from oracles_gemmini import clocked
from rtl.gemmini import DATA, judge
from rtl.gemmini_effects import fault_table, request_program

from accelerators.gemmini.cycle import run_cycles, run_length
from accelerators.gemmini.requests import MeshRequests
from accelerators.gemmini.strikes import MeshFault
from codesign.errors import DataError, FaultError, UnsupportedError

VECTORS = Path(__file__).resolve().parent.parent.parent / "shared" / "oracles" / "rtl"
Ints = NDArray[np.int64]

GOLDEN: list[list[MeshFault]] = [[]]


def wrapped(values: Ints) -> Ints:
    """20 bits in two's complement."""
    return (values + (1 << 19)) % (1 << 20) - (1 << 19)


def tiny(
    rests: bool, toggles: list[int], a: Ints, b: Ints, d: Ints, **fields: Ints
) -> MeshRequests:
    """Requests to a mesh, with the fields that are not of interest as they mostly are."""
    n = len(toggles)
    plain = {"shift": np.zeros(n, int), "slots": np.full(n, a.shape[1])}
    plain |= {"transpose": np.full(n, not rests), "weight_stationary": np.full(n, rests)}
    return MeshRequests(a, b, d, toggles=np.array(toggles, bool), **(plain | fields))


# A mesh of one element, by hand


def one(values: list[int]) -> Ints:
    return np.array(values).reshape(-1, 1, 1)


def test_a_mesh_of_one_element_multiplies_by_the_weight_of_the_request_before():
    # Weights 3 and 5; 2 · (nothing yet) + 7, then 10 · 3 + 1, then 20 · 5 - 4.
    requests = tiny(True, [1, 1, 1], one([2, 10, 20]), one([7, 1, -4]), one([3, 5, 9]))
    rows = run_cycles(requests, GOLDEN).of(0)
    # Slot 0 of request k stands in a at 3 + 2 k and leaves, below row 0, a cycle later. Every row
    # is the last; the tag of request k comes with response k + 1.
    assert rows.tolist() == [[4, 1, 7], [6, 3, 31], [8, 3 + (1 << 8), 96]]


def test_tags_have_six_bits():
    requests = tiny(True, [1] * 67, *(one(list(range(67))) for _ in "abd"))
    fields = run_cycles(requests, GOLDEN).of(0)[:, 1]
    assert (fields >> 8).tolist() == [0, *(k % 64 for k in range(66))]
    assert (fields[1:] & 0xFF == 3).all()


def test_a_flip_strikes_the_value_of_its_cycle_alone():
    requests = tiny(True, [1, 1, 1], one([2, 10, 20]), one([7, 1, -4]), one([3, 5, 9]))
    # In cycle 5 the register a holds 10, in cycle 6 still (the bubble), in cycle 7 it holds 20.
    flips = [[MeshFault("a", 0, 0, 0, "flip", cycle)] for cycle in (5, 6, 7)]
    found = run_cycles(requests, flips)
    assert [found.of(i)[:, 2].tolist() for i in range(3)] == [
        [7, 34, 96],  # 11 · 3 + 1
        [7, 31, 96],
        [7, 31, 101],  # 21 · 5 - 4
    ]


def test_results_leave_an_element_with_the_next_request_rounded_half_to_even():
    # Sums 4 + 3 · 2 (d came before) and 4 + 5 · 2, both shifted by 2: 2.5 and 3.5.
    requests = tiny(
        False,
        [1, 1, 1, 1],
        one([0, 3, 5, 0]),
        one([0, 2, 2, 0]),
        one([4, 4, 0, 0]),
        shift=np.full(4, 2),
    )
    assert run_cycles(requests, GOLDEN).of(0)[:, 2].tolist() == [0, 0, 2, 4]


def test_a_bit_above_the_sums_makes_the_way_out_saturate():
    requests = tiny(False, [1, 1, 1], one([0, 3, 0]), one([0, 2, 0]), one([4, 0, 0]))
    # Request 1 sums up in c1 (propagate 0 after two toggles); in cycle 6, the bubble, it holds 10.
    for cycle, result in ((6, (1 << 19) - 1), (9, 10)):
        struck = [[MeshFault("c1", 0, 0, 25, "flip", cycle)]]
        assert run_cycles(requests, struck).of(0)[2, 2] == result


# What a mesh computes


@pytest.mark.parametrize("seed", range(4))
def test_a_weight_stationary_programme_is_products_and_sums_of_20_bits(seed):
    requests = random_requests(seed, rows=16, requests=7, toggling=0.6)
    found = outputs(run_cycles(requests, GOLDEN), 1).reshape(7, 16, 16)
    weight = np.zeros((16, 16), dtype=np.int64)
    for request in range(7):
        if request and requests.toggles[request]:
            weight = requests.d[request - 1][::-1]
        expected = wrapped(requests.a[request] @ weight + requests.b[request])
        assert (found[request] == expected).all()


@pytest.mark.parametrize("shift", range(9))
def test_an_output_stationary_programme_returns_sums_since_the_last_toggle(shift):
    requests = random_requests(shift, requests=9, rests=False, shift=shift, toggling=0.6)
    found = outputs(run_cycles(requests, GOLDEN), 1).reshape(9, 4, 4)
    sums, idle = np.zeros((2, 4, 4), dtype=np.int64)
    for request in range(9):
        if requests.toggles[request]:
            sums, idle = idle, np.rint(sums / 2.0**shift).astype(np.int64)
        # What stands idle leaves, last row first, and D takes its place.
        assert (found[request] == np.clip(idle, -(1 << 19), (1 << 19) - 1)[::-1]).all()
        sums = wrapped(sums + requests.a[request].T @ requests.b[request])
        idle = requests.d[request][::-1]


def test_sums_of_a_mesh_wrap_at_20_bits():
    # 128 rows a request are not needed: 40 requests add 16 products of 127 · 127 each.
    ones = np.full((40, 16, 16), 127)
    toggles = [1, *([0] * 38), 1]
    requests = tiny(False, toggles, ones, ones, np.zeros((40, 16, 16), int))
    found = outputs(run_cycles(requests, GOLDEN), 1)[0, -1, 0]
    assert found == wrapped(np.array(39 * 16 * 127 * 127))
    assert found != 39 * 16 * 127 * 127


def test_the_transposer_gives_a_row_the_columns_of_the_request_before():
    a = np.arange(3 * 16).reshape(3, 4, 4)
    d = np.zeros((3, 4, 4), int)
    d[:2, [3, 2, 1, 0], [0, 1, 2, 3]] = 1  # the identity, last row first
    through = tiny(True, [1, 1, 1], a, d * 0, d, transpose=np.ones(3, bool))
    found = outputs(run_cycles(through, GOLDEN), 1).reshape(3, 4, 4)
    assert (found[1:] == a[:2].transpose(0, 2, 1)).all()
    results = tiny(
        False, [1, 1, 1], a, a * 0 + np.eye(4, dtype=int), d * 0, transpose=np.zeros(3, int)
    )
    found = outputs(run_cycles(results, GOLDEN), 1).reshape(3, 4, 4)
    # Slot j brings column j of what A was to be: the product is A · 1 without transposing.
    assert (found[2, ::-1] == a[0]).all()


def test_a_request_of_fewer_rows_returns_fewer_rows():
    requests = random_requests(3, requests=3)
    fewer = tiny(True, [1, 1, 1], requests.a, requests.b, requests.d, slots=np.array([4, 2, 3]))
    rows = run_cycles(fewer, GOLDEN).of(0)
    assert rows[:, 0].tolist() == [10, 11, 12, 13, 15, 16, 18, 19, 20]
    assert (rows[:, 1] & 1).tolist() == [0, 0, 0, 1, 0, 1, 0, 0, 1]


# Control


def test_a_mesh_whose_last_never_leaves_blocks_the_seventh_request():
    requests = random_requests(0, requests=8)
    found = run_cycles(requests, [[], [MeshFault("last", 2, 0, 0, "sa0")]])
    assert found.accepted.tolist() == [8, 6]
    assert len(found.of(1)) == 6 * 4
    assert (found.of(1)[:, 2:] == found.of(0)[: 6 * 4, 2:]).all()


def test_a_mesh_that_always_says_valid_returns_a_row_in_every_cycle():
    requests = random_requests(0, requests=2)
    found = run_cycles(requests, [[MeshFault("out_valid", 4, 0, 0, "sa1")]])
    # From cycle 0 on, three cycles late for the columns that follow.
    assert found.of(0)[:, 0].tolist() == list(range(3, run_length(requests) + 1))


def test_the_id_that_leaves_decides_about_the_tag():
    requests = random_requests(0, requests=3)
    found = run_cycles(requests, [[], [MeshFault("id", 0, 0, 2, "sa1")]])
    assert (found.of(0)[:, 1] >> 1).tolist() == [0] * 4 + [1] * 4 + [1 + 128] * 4
    assert (found.of(1)[:, 1] >> 1).tolist() == [0] * 12
    assert (found.of(0)[:, 2:] == found.of(1)[:, 2:]).all()


def test_copies_do_not_disturb_each_other():
    requests = random_requests(5, requests=4, rests=False, shift=3)
    places = ["a", "b", "d", "c1", "c2", "valid", "propagate", "dataflow", "shift", "mac_out"]
    faults = mesh_faults(requests, places, 90, seed=1, cycles=60)
    together = run_cycles(requests, [[fault] for fault in faults])
    for trial in (0, 30, 63, 64, 89):
        alone = run_cycles(requests, [[faults[trial]]])
        assert np.array_equal(alone.of(0), together.of(trial))


def test_a_stuck_bit_wins_over_a_flip_and_two_flips_are_none():
    requests = random_requests(5, requests=3)
    flip, stuck = MeshFault("b", 2, 1, 3, "flip", 9), MeshFault("b", 2, 1, 3, "sa1")
    found = run_cycles(requests, [[stuck], [stuck, flip], [flip, flip], []])
    assert np.array_equal(found.of(0), found.of(1))
    assert np.array_equal(found.of(2), found.of(3))
    assert not np.array_equal(found.of(0), found.of(3))


@pytest.mark.parametrize(("rests", "toggling"), [(True, 1.0), (True, 0.5), (False, 1.0)])
def test_several_faults_do_the_same_in_the_other_clocked_mesh(rests, toggling):
    requests = random_requests(6, rests=rests, shift=0 if rests else 2, toggling=toggling)
    some = mesh_faults(requests, DATA, 400, seed=3, cycles=40)
    faults = [some[i : i + 4] for i in range(0, 400, 4)]
    program = request_program(requests)
    single_shift = replace(program, shift=int(requests.shift[0]))
    found = outputs(run_cycles(requests, faults), 100)
    assert (clocked(single_shift, fault_table(faults, program)) == found).all()
    assert len(np.unique(found, axis=0)) > 60


# The RTL's responses

# By file: faults of the mesh, one of which hangs; and how many are equal if flips come late.
RECORDED = {
    "gemmini16_ws": (1333, 1059),
    "gemmini16_os_shift0": (1329, 1034),
    "gemmini16_ws_conv": (1333, 0),
    "gemmini16_ws_conv_net_stuckat": (800, 0),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_faults_of_the_rtl_are_equal_and_a_cycle_late_they_are_not(name):
    path = VECTORS / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not beside the checkout")
    equal, late = RECORDED[name]
    rows = list(judge(path, levels=("cycle",)))
    assert sum(row.equal for row in rows) == equal
    assert sum(row.different for row in rows) == 0
    assert sum(row.unmasked_equal for row in rows) > 500
    if late:
        moved = judge(path, "late", levels=("cycle",))
        assert sum(row.equal for row in moved) == late


# What is refused


def test_requests_that_cannot_be_are_refused():
    a = np.zeros((2, 4, 4), int)
    with pytest.raises(DataError, match=r"a, b and d are \[requests, rows, rows\]"):
        tiny(True, [1, 1], a, a, a[:1])
    with pytest.raises(DataError, match=r"slots is \[requests\], came \(3,\)"):
        tiny(True, [1, 1], a, a, a, slots=np.full(3, 4))
    with pytest.raises(DataError, match="slots of a request is 1 to 4, came 4 to 5"):
        tiny(True, [1, 1], a, a, a, slots=np.array([4, 5]))
    with pytest.raises(DataError, match="shift of a request is 0 to 31, came 0 to 32"):
        tiny(True, [1, 1], a, a, a, shift=np.array([0, 32]))
    with pytest.raises(DataError, match="a of a request is -128 to 127, came 128 to 128"):
        tiny(True, [1, 1], a + 128, a, a)
    with pytest.raises(DataError, match=r"control is \[requests, 6\]"):
        MeshRequests.of(np.zeros((2, 5), int), a, a, a)
    with pytest.raises(UnsupportedError, match="request 1 flushes the mesh"):
        MeshRequests.of(np.array([[1, 1, 0, 0, 4, 0], [1, 1, 0, 0, 4, 1]]), a, a, a)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (MeshFault("c3", 0, 0, 0, "flip"), "no place 'c3' in a mesh"),
        (MeshFault("c1", 4, 0, 0, "flip"), "a mesh of 4 rows has rows 0 to 3"),
        (MeshFault("out_b", 0, 0, 0, "flip"), "has row 4"),
        (MeshFault("out_valid", 4, 1, 0, "sa0"), "columns 0 to 0"),
        (MeshFault("b", 0, 0, 8, "flip"), "8 bits there"),
        (MeshFault("a", 0, 0, 0, "dead"), "a bit flips or is stuck"),  # type: ignore[arg-type]
        (MeshFault("a", 0, 0, 0, "flip", -1), "cycle -1 is before power-up"),
    ],
)
def test_faults_that_cannot_be_are_refused(fault, message):
    with pytest.raises(FaultError, match=message):
        run_cycles(random_requests(0), [[fault]])
