"""The judge of a recorded layer: what registers give a matrix product of tiles under faults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gemmini_cases import mesh_faults, outputs
from numpy.typing import NDArray
from rtl.gemmini import DATA
from rtl.gemmini_effects import is_layer, judge_effects

from accelerators.gemmini.cycle import run_cycles
from accelerators.gemmini.requests import MeshRequests
from accelerators.gemmini.strikes import MeshFault

Ints = NDArray[np.int64]

ROWS, FAULTS = 4, 100


def layer_of(terms: int, outputs_across: int, seed: int) -> dict[str, Any]:
    """A convolution of kernel 1 × terms over maps of a row, im2col and padded to tiles."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-128, 128, (1, terms, 1, ROWS))
    maps = rng.integers(-128, 128, (1, terms + outputs_across - 1, 1))
    columns = np.stack([maps[0, i : i + terms, 0] for i in range(outputs_across)])
    padded = (-outputs_across % ROWS, -terms % ROWS)
    return {
        "X": maps,
        "Wt": weight,
        "bias": rng.integers(-128, 128, ROWS),
        "A_im2col": np.pad(columns, ((0, padded[0]), (0, padded[1]))),
        "W_im2col": np.pad(weight[0, :, 0], ((0, padded[1]), (0, 0))),
    }


def requests_of(data: dict[str, Any]) -> MeshRequests:
    """Tile by tile of K, all tiles of rows; the bias enters with the first."""
    matrix, weight = data["A_im2col"], data["W_im2col"].reshape(-1, ROWS, ROWS)
    k_tiles, m_tiles = len(weight), len(matrix) // ROWS
    count = 1 + k_tiles * m_tiles
    a, b, d = np.zeros((3, count, ROWS, ROWS), dtype=np.int64)
    for k in range(k_tiles):
        d[k * m_tiles] = weight[k][::-1]
        for m in range(m_tiles):
            request = 1 + k * m_tiles + m
            a[request] = matrix[m * ROWS :, k * ROWS :][:ROWS, :ROWS]
            b[request] = data["bias"] if k == 0 else 0
    return MeshRequests(
        *(a, b, d),
        weight_stationary=np.ones(count, bool),
        toggles=np.array([True, *(i % m_tiles == 0 for i in range(count - 1))]),
        shift=np.zeros(count, int),
        transpose=np.zeros(count, bool),
        slots=np.full(count, ROWS),
    )


def sums_of(rows: Ints, data: dict[str, Any], positions: int) -> Ints:
    """``[trials, positions, rows]`` of the layer, added up over the tiles of K."""
    k_tiles = len(data["W_im2col"]) // ROWS
    by_tile = rows[:, ROWS:].reshape(len(rows), k_tiles, -1, ROWS)
    return by_tile.sum(axis=1)[:, :positions]


@pytest.mark.parametrize(("terms", "positions"), [(4, 9), (7, 4), (11, 8), (13, 5)])
def test_a_layer_under_faults_is_what_the_registers_add_up_to(terms, positions):
    data = layer_of(terms, positions, seed=terms)
    requests = requests_of(data)
    assert is_layer(data, requests)
    cycles = 4 + (ROWS + 1) * requests.requests + 2 * ROWS
    single = mesh_faults(requests, DATA, FAULTS, seed=terms, cycles=cycles)
    faults: list[list[MeshFault]] = [[], *([fault] for fault in single)]
    run = run_cycles(requests, faults)
    data["f_layer_out"] = sums_of(outputs(run, len(faults)), data, positions)
    golden = data["A_im2col"] @ data["W_im2col"] + data["bias"]
    assert (data["f_layer_out"][0] == golden[:positions]).all()
    true = [run.of(i) for i in range(len(faults))]
    chosen = np.arange(len(faults))
    assert judge_effects(data, requests, faults, chosen, true).all()
    # The layer is looked at: with one output changed, exactly those trials are not equal.
    data["f_layer_out"][7, 0, 0] += 1
    assert np.flatnonzero(~judge_effects(data, requests, faults, chosen, true)).tolist() == [7]


def test_a_layer_has_the_positions_and_terms_that_were_recorded_not_those_of_its_maps():
    # Padding and stride are in the rows of the matrix alone; rows need not fill tiles.
    data = layer_of(7, 9, seed=2)
    requests = requests_of(data)
    data |= {"X": np.zeros((40, 40, 3), dtype=np.int8)}
    data |= {"A_im2col": data["A_im2col"][:9, :7], "W_im2col": data["W_im2col"][:7]}
    fault = MeshFault("mac_out", 2, 1, 9, "sa1")
    run = run_cycles(requests, [[fault]])
    golden = layer_of(7, 9, seed=2)
    data["f_layer_out"] = sums_of(outputs(run, 1), golden, 9)
    assert judge_effects(data, requests, [[fault]], np.arange(1), [run.of(0)]).all()
    data["f_layer_out"][0, 8, 1] += 1
    assert not judge_effects(data, requests, [[fault]], np.arange(1), [run.of(0)]).any()


def test_a_layer_that_is_not_compared_is_said_not_to_be(capsys):
    data = layer_of(7, 9, seed=3)
    requests = requests_of(data)
    run = run_cycles(requests, [[]])
    data["f_layer_out"] = np.zeros((1, 9, ROWS), dtype=np.int64)
    assert not judge_effects(data, requests, [[]], np.arange(1), [run.of(0)]).any()
    data["A_im2col"] = data["A_im2col"][::-1]
    assert judge_effects(data, requests, [[]], np.arange(1), [run.of(0)]).all()
    assert "the recorded layer is not compared" in capsys.readouterr().err


def test_requests_of_another_order_are_no_layer():
    data = layer_of(7, 9, seed=1)
    requests = requests_of(data)
    names = ("a", "b", "d", "weight_stationary", "toggles", "shift", "transpose", "slots")
    fields = {name: getattr(requests, name) for name in names}
    for name in ("a", "d", "toggles"):
        other = MeshRequests(**(fields | {name: np.roll(fields[name], 1, axis=0)}))
        assert not is_layer(data, other)
