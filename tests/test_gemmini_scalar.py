"""The vectorised mesh against one that is clocked element by element, control registers included.

These need no recorded faults: programmes are random, of both dataflows and mixed, with several
shifts and with registers that are exchanged or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles_gemmini_scalar import WIDTHS, ScalarFault, ScalarMesh, width

from accelerators.gemmini.cycle import Responses, run_cycles, run_length
from accelerators.gemmini.requests import MeshRequests
from accelerators.gemmini.strikes import MeshFault

ROWS, REQUESTS, FAULTS = 4, 5, 45

FLOWS = {
    "weight stationary": [1, 1, 1, 1, 1],
    "output stationary": [0, 0, 0, 0, 0],
    "mixed": [1, 0, 0, 1, 0],
}
assert FLOWS


def random_fault(rng: np.random.Generator, latest: int) -> ScalarFault:
    """A wrong bit anywhere, at any time."""
    place = str(rng.choice(list(WIDTHS)))
    row = ROWS if place.startswith("out_") else int(rng.integers(ROWS))
    control = place in ("out_valid", "out_last", "out_control_dataflow")  # column 0 alone is read
    col = 0 if control else int(rng.integers(ROWS))
    bit = int(rng.integers(width(place, row)))
    kind: Any = str(rng.choice(["flip", "flip", "sa0", "sa1"]))
    return ScalarFault(place, row, col, bit, kind, int(rng.integers(latest)))


def shown(found: Responses, trial: int) -> np.ndarray:
    """Response rows without their tags."""
    rows = found.of(trial).astype(np.int64)
    rows[:, 1] &= 1
    return rows


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("flow", FLOWS)
def test_struck_copies_equal_a_mesh_clocked_element_by_element(flow, seed):
    rng = np.random.default_rng([seed, len(flow)])
    control = np.zeros((REQUESTS, 6), dtype=np.int64)
    control[:, 0], control[:, 3], control[:, 4] = FLOWS[flow], 1 - np.array(FLOWS[flow]), ROWS
    control[:, 1], control[:, 2] = rng.random(REQUESTS) < 0.8, rng.integers(0, 9, REQUESTS)
    a, b, d = rng.integers(-128, 128, (3, REQUESTS, ROWS, ROWS))
    requests = MeshRequests.of(control, a, b, d)
    cycles = run_length(requests)
    faults = [random_fault(rng, latest=45) for _ in range(FAULTS)]
    copies = [[MeshFault(f.place, f.row, f.col, f.bit, f.kind, f.cycle)] for f in faults]
    found = run_cycles(requests, [[], *copies])
    changed = 0
    for trial, fault in enumerate([None, *faults]):
        expected = ScalarMesh(control[:, :3], a, b, d, fault).run(cycles)
        assert np.array_equal(shown(found, trial), expected), fault
        changed += not np.array_equal(expected, shown(found, 0))
    assert changed > FAULTS // 4
