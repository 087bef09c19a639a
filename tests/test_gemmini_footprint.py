"""What effects say of Gemmini's mesh equals its registers, on programmes that nobody recorded."""

from __future__ import annotations

import numpy as np
import pytest
from gemmini_cases import mesh_faults, outputs, random_requests
from rtl.gemmini import DATA
from rtl.gemmini_effects import fault_table, request_program
from small_evaluator import evaluate_small

from accelerators.gemmini.cycle import run_cycles
from accelerators.gemmini.requests import MeshRequests
from accelerators.gemmini.strikes import MeshFault
from codesign.errors import UnsupportedError

FAULTS, REQUESTS = 120, 6


def missed_and_changed(requests: MeshRequests, faults: list[list[MeshFault]]) -> tuple[int, int]:
    """(trials whose responses effects do not give, trials in which responses change)."""
    golden = outputs(run_cycles(requests, [[]]), 1)
    true = outputs(run_cycles(requests, faults), len(faults))
    program = request_program(requests)
    effects = program.footprint(fault_table(faults, program)).effects
    inputs = program.samples.inputs.astype(np.int64)
    found = evaluate_small(program.program(), inputs, effects).reshape(true.shape)
    missed = (found != true).any(axis=(1, 2)).sum()
    return int(missed), int((true != golden).any(axis=(1, 2)).sum())


@pytest.mark.parametrize("toggling", [1.0, 0.6, 0.3])
@pytest.mark.parametrize("shift", [None, 0, 1, 2, 3, 4, 5, 6, 7, 8])
def test_effects_of_single_faults_are_what_the_registers_do(shift, toggling):
    seed = int(100 * toggling) + (shift or 0)
    rests, rows = shift is None, 2 + seed % 3
    requests = random_requests(
        seed, rows, REQUESTS, rests=rests, shift=shift or 0, toggling=toggling
    )
    cycles = 4 + (rows + 1) * REQUESTS + 2 * rows
    faults = [[fault] for fault in mesh_faults(requests, DATA, FAULTS, seed, cycles)]
    missed, changed = missed_and_changed(requests, faults)
    assert missed == 0
    assert changed > FAULTS / 5


def test_shifts_may_differ_from_request_to_request():
    requests = random_requests(1, 3, REQUESTS, rests=False, toggling=0.8)
    requests = MeshRequests(
        *(requests.a, requests.b, requests.d),
        weight_stationary=requests.weight_stationary,
        toggles=requests.toggles,
        shift=np.arange(REQUESTS) + 1,
        transpose=requests.transpose,
        slots=requests.slots,
    )
    faults = [[fault] for fault in mesh_faults(requests, DATA, FAULTS, seed=2, cycles=30)]
    missed, changed = missed_and_changed(requests, faults)
    assert missed == 0
    assert changed > FAULTS / 5


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("weight_stationary", [True, False], "requests of both dataflows in one programme"),
        ("transpose", [True, False], "requests through the transposer"),
        ("slots", [3, 2], "requests of fewer rows than the mesh has"),
    ],
)
def test_requests_that_effects_do_not_cover_are_refused_by_name(field, values, message):
    plain = random_requests(1, 3, 2)
    names = ("a", "b", "d", "weight_stationary", "toggles", "shift", "transpose", "slots")
    fields = {name: getattr(plain, name) for name in names} | {field: np.array(values)}
    with pytest.raises(UnsupportedError, match=message):
        request_program(MeshRequests(**fields))
