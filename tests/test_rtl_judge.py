"""The judge of recorded faults: what it prints, and what it answers to folders it cannot use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemmini_cases import mesh_faults, random_requests
from rtl.__main__ import main

from accelerators.gemmini.cycle import run_cycles, run_length
from accelerators.gemmini.requests import MeshRequests
from accelerators.gemmini.strikes import MeshFault

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Done:
    """What a judge answered."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run_judge(capsys) -> Callable[..., Done]:
    def run(*arguments: object) -> Done:
        try:
            code = main([*map(str, arguments), "--jobs", "1"])
        except SystemExit as answer:
            code = int(answer.code or 0)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


def recording(faults: list[MeshFault], outside: int = 0) -> dict[str, Any]:
    """A file of faults as if recorded, from registers; so many more stand outside the mesh."""
    requests = random_requests(4, rows=4, requests=4)
    cycles = run_length(requests)
    found = run_cycles(requests, [*([fault] for fault in faults), *([[]] * outside)], cycles)
    return {
        "prog_ctrl": control(requests),
        "prog_A": requests.a.astype(np.int8),
        "prog_B": requests.b.astype(np.int8),
        "prog_D": requests.d.astype(np.int8),
        "budget": np.array(cycles),
        "g_rows": run_cycles(requests, [[]], cycles).of(0),
        "f_rows": found.rows,
        "f_rows_off": found.offsets,
        "f_role": np.array([f.place for f in faults] + ["mwd_ctrl"] * outside),
        "f_row": np.array([f.row for f in faults] + [-1] * outside),
        "f_col": np.array([f.col for f in faults] + [-1] * outside),
        "f_bit": np.array([f.bit for f in faults] + [0] * outside),
        "f_kind": np.array([f.kind for f in faults] + ["sa0"] * outside),
        "f_cycle": np.array([f.cycle for f in faults] + [0] * outside),
    }


def control(requests: MeshRequests) -> Any:
    """``[requests, 6]`` as files hold it."""
    columns = [requests.weight_stationary, requests.toggles, requests.shift, requests.transpose]
    return np.stack([*columns, requests.slots, requests.slots * 0], axis=1).astype(np.int32)


@pytest.fixture(scope="module")
def faults() -> list[MeshFault]:
    some = mesh_faults(random_requests(4, requests=4), ["a", "c1", "mac_out"], 60, 7, 30)
    return [*some, *mesh_faults(random_requests(4, requests=4), ["valid", "propagate"], 20, 8, 30)]


def test_the_last_two_lines_count_everything(tmp_path, faults):
    np.savez(tmp_path / "any name.npz", **recording(faults, outside=5))
    command = [sys.executable, "-m", "tests.rtl", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert lines[-2:] == [
        "rtl-cycle: equal=80 different=0 not_modelled=5",
        "rtl-effects: equal=60 different=0 not_modelled=25 tile=0",
    ]
    assert done.returncode == 0
    classes = [line.split(".npz ")[1].split()[0] for line in lines[:-4]]
    assert classes == ["a", "c1", "mac_out", "mwd_ctrl", "propagate", "valid"]
    assert "(unmasked " in lines[0]
    assert "[1/1] any name.npz" in done.stderr


def test_one_wrong_value_is_found(tmp_path, faults, run_judge):
    file = recording(faults[:10])
    file["f_rows"] = file["f_rows"].copy()
    file["f_rows"][file["f_rows_off"][3] + 20, 5] += 1
    np.savez(tmp_path / "wrong.npz", **file)
    done = run_judge(tmp_path)
    assert done.stdout.splitlines()[-2:] == [
        "rtl-cycle: equal=9 different=1 not_modelled=0",
        "rtl-effects: equal=9 different=1 not_modelled=0 tile=0",
    ]
    assert done.returncode == 1


def test_files_without_a_fault_of_a_data_register_are_judged(tmp_path, faults, run_judge):
    control = [fault for fault in faults if fault.place in ("valid", "propagate")]
    np.savez(tmp_path / "control.npz", **recording(control))
    np.savez(tmp_path / "outside.npz", **recording([], outside=3))
    done = run_judge(tmp_path)
    assert done.stdout.splitlines()[-2:] == [
        f"rtl-cycle: equal={len(control)} different=0 not_modelled=3",
        f"rtl-effects: equal=0 different=0 not_modelled={len(control) + 3} tile=0",
    ]
    assert done.returncode == 0


def test_requests_that_are_not_modelled_are_counted_as_such(tmp_path, faults, run_judge):
    file = recording(faults[:10])
    file["prog_ctrl"] = file["prog_ctrl"].copy()
    file["prog_ctrl"][2, 5] = 1
    np.savez(tmp_path / "flushes.npz", **file)
    done = run_judge(tmp_path)
    assert done.stdout.splitlines()[-2:] == [
        "rtl-cycle: equal=0 different=0 not_modelled=10",
        "rtl-effects: equal=0 different=0 not_modelled=10 tile=0",
    ]
    assert "request 2 flushes the mesh: not modelled" in done.stderr


def test_a_control_says_how_equality_falls(tmp_path, faults, run_judge):
    np.savez(tmp_path / "some.npz", **recording(faults))
    done = run_judge(tmp_path, "--control", "ignored")
    assert "some.npz cycle: equal=80 as documented, " in done.stdout
    assert done.stdout.splitlines()[-2].startswith("control ignored, cycle: equal=80")
    assert done.returncode == 0
    unknown = run_judge(tmp_path, "--control", "wrap")
    assert "some.npz: knows no control 'wrap'" in unknown.stdout
    assert unknown.returncode == 1
    assert run_judge(tmp_path, "--control", "nothing").returncode == 2


def test_folders_that_hold_no_vectors_are_answered(tmp_path, run_judge):
    missing = run_judge(tmp_path / "nowhere")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "nowhere: no such folder" in missing.stderr
    empty = run_judge(tmp_path)
    assert empty.returncode == 2
    assert "holds no vector file (*.npz)" in empty.stderr


def test_files_that_cannot_be_judged_are_named_and_the_others_are_judged(
    tmp_path, faults, run_judge
):
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(tmp_path / "foreign.npz", weights=np.zeros(3))
    whole = recording(faults[:5])
    np.savez(tmp_path / "good.npz", **whole)
    np.savez(tmp_path / "elsewhere.npz", **(whole | {"f_bit": whole["f_bit"] + 32}))
    np.savez(tmp_path / "short.npz", **(whole | {"f_rows_off": whole["f_rows_off"][:-2]}))
    np.savez(tmp_path / "places.npz", **(whole | {"f_role": whole["f_role"][:-1]}))
    np.savez_compressed(tmp_path / "bent.npz", **whole)
    bent = bytearray((tmp_path / "bent.npz").read_bytes())
    at = bent.index(b"f_rows.npy") + 60
    bent[at : at + 40] = b"\xff" * 40
    (tmp_path / "bent.npz").write_bytes(bytes(bent))
    del whole["f_kind"]
    np.savez(tmp_path / "half.npz", **whole)
    done = run_judge(tmp_path)
    assert done.returncode == 2
    assert "torn.npz cannot be read" in done.stderr
    assert "foreign.npz is of no chip known here" in done.stderr
    assert "elsewhere.npz is not a whole gemmini file: " in done.stderr
    assert "a mesh of 4 rows has" in done.stderr
    assert "half.npz is not a whole gemmini file" in done.stderr
    assert "bent.npz is not a whole gemmini file: Error -3 while decompressing" in done.stderr
    for name, counts in (("short", "f_rows_off 3"), ("places", "f_role 4, f_row 5")):
        assert f"{name}.npz is not a whole gemmini file: arrays of different numbers" in done.stderr
        assert counts in done.stderr
    assert done.stdout.splitlines()[-2] == "rtl-cycle: equal=5 different=0 not_modelled=0"
