"""Random programmes and faults of Gemmini's mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from accelerators.gemmini.cycle import Responses
from accelerators.gemmini.requests import MeshRequests
from accelerators.gemmini.strikes import PLACES, PORT_BITS, MeshFault

__all__ = ["mesh_faults", "outputs", "random_requests"]

Ints = NDArray[np.int64]


def random_requests(
    seed: int,
    rows: int = 4,
    requests: int = 6,
    *,
    rests: bool = True,
    shift: int = 0,
    toggling: float = 1.0,
) -> MeshRequests:
    """Requests of one dataflow with random operands; each toggles with this probability."""
    rng = np.random.default_rng(seed)
    a, b, d = rng.integers(-128, 128, (3, requests, rows, rows))
    return MeshRequests(
        *(a, b, d),
        weight_stationary=np.full(requests, rests),
        toggles=rng.random(requests) < toggling,
        shift=np.full(requests, shift),
        transpose=np.full(requests, not rests),
        slots=np.full(requests, rows),
    )


def mesh_faults(
    requests: MeshRequests, places: Sequence[str], count: int, seed: int, cycles: int
) -> list[MeshFault]:
    """Random single faults, half of them flips."""
    rng = np.random.default_rng(seed)
    faults = []
    for _ in range(count):
        name = str(rng.choice(places))
        place = PLACES[name]
        row = requests.rows if place.below else int(rng.integers(requests.rows))
        bits = PORT_BITS.get(name, place.bits) if row == 0 else place.bits
        col, bit = int(rng.integers(place.cols or requests.rows)), int(rng.integers(bits))
        stuck = MeshFault(name, row, col, bit, "sa1" if rng.random() < 0.5 else "sa0")
        flip = replace(stuck, kind="flip", cycle=int(rng.integers(cycles)))
        faults.append(flip if rng.random() < 0.5 else stuck)
    return faults


def outputs(responses: Responses, trials: int) -> Ints:
    """``[trials, rows of all responses, cols]`` of meshes that return as many rows each."""
    return responses.rows[:, 2:].reshape(trials, -1, responses.rows.shape[1] - 2).astype(np.int64)
