"""Replays recorded faults of Gemmini's mesh in RTL on our two models of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.gemmini.cycle import run_cycles
from accelerators.gemmini.requests import MeshRequests
from accelerators.gemmini.strikes import PLACES, MeshFault
from codesign.errors import UnsupportedError
from rtl.gemmini_effects import judge_effects
from rtl.rows import Row, check_counts

__all__ = ["CONTROLS", "judge"]

Bools = NDArray[np.bool_]

CONTROLS = ("late", "early", "ignored")
Level: TypeAlias = Literal["cycle", "effects"]
LEVELS: tuple[Level, ...] = ("cycle", "effects")
DATA = ("a", "b", "d", "c1", "c2", "out_b", "out_c", "product", "mac_out")
PLACE_OF_ROLE = {"prod": "product"}
OF_FAULTS = ("f_role", "f_row", "f_col", "f_bit", "f_kind", "f_cycle", "f_layer_out")
# Roles that stand in row 16 go by the name of what is registered below the mesh.
BELOW = {"b": "out_b", "d": "out_c", "valid": "out_valid", "id": "out_id", "last": "out_last"}
BELOW["dataflow"] = "out_control_dataflow"


def judge(path: Path, control: str = "", levels: tuple[Level, ...] = LEVELS) -> Iterator[Row]:
    """What became of each site class of one vector file, for both judgements.

    Args:
        path: A file of recorded faults.
        control: A name of `CONTROLS`: faults are moved by a cycle or left out on purpose, and
            equality must fall.
        levels: Judgements wanted.
    """
    with np.load(path) as file:
        unread = ("trace_", "port_")
        data = {name: file[name] for name in file.files if not name.startswith(unread)}
    ragged = "f_rows_off" in data
    check_counts(data, OF_FAULTS if ragged else (*OF_FAULTS, "f_rows"), "f_rows_off")
    roles = data["f_role"].astype(str)
    true = _recorded(data)
    unmasked = np.array([not np.array_equal(rows, data["g_rows"]) for rows in true], dtype=bool)
    faults = _faults(data)
    for level in levels:
        claimed, equal = _verdicts(data, faults, true, level, control)
        for role in sorted(set(roles)):
            mine = roles == role
            judged = mine & claimed
            yield Row(
                file=path.name,
                site_class=role,
                level=level,
                equal=int((judged & equal).sum()),
                different=int((judged & ~equal).sum()),
                not_modelled=int((mine & ~claimed).sum()),
                tile=0,
                unmasked=int((judged & unmasked).sum()),
                unmasked_equal=int((judged & unmasked & equal).sum()),
            )


def _verdicts(
    data: dict[str, Any],
    faults: list[MeshFault | None],
    true: list[NDArray[np.int32]],
    level: Level,
    control: str,
) -> tuple[Bools, Bools]:
    """(claimed, equal) of every fault."""
    claimed = np.array(
        [fault is not None and (level == "cycle" or fault.place in DATA) for fault in faults],
        dtype=bool,
    )
    chosen = np.flatnonzero(claimed)
    mine = [_altered(faults[i], control) for i in chosen.tolist()]
    equal = np.zeros(len(faults), dtype=bool)
    try:
        requests = MeshRequests.of(*(data[f"prog_{x}"] for x in ("ctrl", "A", "B", "D")))
        if level == "cycle":
            cycles = int(data["budget"]) if "budget" in data else 0
            found = run_cycles(requests, mine, cycles)
            equal[chosen] = [np.array_equal(found.of(j), true[i]) for j, i in enumerate(chosen)]
        else:
            equal[chosen] = judge_effects(data, requests, mine, chosen, true)
    except UnsupportedError as error:
        print(f"{level}: {error}", file=sys.stderr)
        return np.zeros(len(faults), dtype=bool), equal
    return claimed, equal


def _recorded(data: dict[str, Any]) -> list[NDArray[np.int32]]:
    """Response rows of every fault."""
    if "f_rows_off" not in data:
        return list(data["f_rows"])
    ends = data["f_rows_off"]
    return [data["f_rows"][ends[i] : ends[i + 1]] for i in range(len(ends) - 1)]


def _faults(data: dict[str, Any]) -> list[MeshFault | None]:
    """By fault; None outside the mesh. Uses where, which bit, what kind and when."""
    rows = data["prog_A"].shape[1]
    count = len(data["f_role"])
    cycles = data.get("f_cycle", np.zeros(count, dtype=np.int64))
    faults: list[MeshFault | None] = []
    for i in range(count):
        role, row = str(data["f_role"][i]), int(data["f_row"][i])
        place = PLACE_OF_ROLE.get(role, role)
        place = BELOW.get(place, place) if row == rows else place
        known = place in PLACES and row >= 0
        kind: Any = str(data["f_kind"][i])
        where = (row, int(data["f_col"][i]), int(data["f_bit"][i]))
        faults.append(MeshFault(place, *where, kind, int(cycles[i])) if known else None)
    return faults


def _altered(fault: MeshFault | None, control: str) -> list[MeshFault]:
    if fault is None or control == "ignored":
        return []
    moved = {"late": 1, "early": -1}.get(control, 0) * (fault.kind == "flip")
    cycle = fault.cycle + moved
    if cycle < 0:
        return []
    return [MeshFault(fault.place, fault.row, fault.col, fault.bit, fault.kind, cycle)]
