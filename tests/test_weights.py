"""Weights come from files as numbers or not at all, and an error never advises to run a file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from codesign.errors import DataError
from codesign.learning.weights import load_weights, read_weights


def model(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "module.", "npz", "no counters"])
def test_weights_are_read_from_every_usual_wrapping(wrap: str, tmp_path: Path) -> None:
    source, target = model(1), model(2)
    state = source.state_dict()
    path = tmp_path / ("w.npz" if wrap == "npz" else "w.pt")
    if wrap == "npz":
        np.savez(path, **{name: values.numpy() for name, values in state.items()})
    elif wrap == "state_dict":
        torch.save({"state_dict": state, "best_prec1": 91.7}, path)
    elif wrap == "module.":
        torch.save({f"module.{name}": values for name, values in state.items()}, path)
    elif wrap == "no counters":
        torch.save({k: v for k, v in state.items() if "num_batches" not in k}, path)
    else:
        torch.save(state, path)
    assert not same(source, target)
    load_weights(target, path)
    assert same(source, target)


class Payload:
    """Would make a file if it were unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"touch {self.mark}",))


@pytest.mark.parametrize("kind", ["payload", "old payload", "module", "garbage", "empty", "cut"])
def test_files_that_are_no_state_dict_are_refused_and_never_run(kind: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "w.pt", tmp_path / "it-ran"
    if kind == "payload":
        torch.save({"weight": Payload(mark)}, path)
    elif kind == "old payload":
        path.write_bytes(pickle.dumps(Payload(mark)))
    elif kind == "module":
        torch.save(model(), path)
    elif kind == "garbage":
        path.write_bytes(b"\x80\x04K\x01h\x07." * 30)
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        torch.save(model().state_dict(), path)
        path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match=r"w\.pt: not a readable state dict") as caught:
        read_weights(path)
    assert not mark.exists()
    assert "weights_only" not in str(caught.value)
    assert "model.state_dict(), not the model" in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"w": [torch.ones(1)]}])
def test_a_file_of_something_else_than_tensors_by_name_is_refused(
    content: object, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(DataError, match="expected tensors by name"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("kind", ["objects", "garbage"])
def test_an_npz_of_objects_or_of_nothing_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    if kind == "objects":
        np.savez(path, a=np.array([{1: 2}], dtype=object))
    else:
        path.write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"w\.npz: not a readable \.npz of numbers"):
        read_weights(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.pt: no such file; expected a state dict"):
        read_weights(tmp_path / "none.pt")


def test_names_and_shapes_must_be_the_modules(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    state = model().state_dict()
    torch.save({k.replace("0.weight", "0.wieght"): v for k, v in state.items()}, path)
    with pytest.raises(DataError, match=r"1 missing \(0.weight\), 1 unknown .*mean '0.wieght'"):
        load_weights(model(), path)
    torch.save(state | {"0.weight": torch.zeros(2, 4)}, path)
    with pytest.raises(DataError, match=r"0.weight has shape \(2, 4\), expected \(2, 3\)"):
        load_weights(model(), path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "0.weight",
            lambda v: v * np.nan,
            r"0\.weight holds 6 of 6 values that are NaN or infinite",
        ),
        (
            "1.running_var",
            lambda v: v / 0,
            r"1\.running_var holds 2 of 2 values that are NaN or inf",
        ),
        ("1.running_var", lambda v: -v, r"1\.running_var is -1 somewhere; a variance is not negat"),
        ("0.weight", lambda v: v.to(torch.complex64), r"0\.weight holds complex numbers"),
    ],
)
def test_values_that_are_no_finite_real_numbers_are_refused_and_change_nothing(
    name: str, change: Callable[[Tensor], Tensor], message: str, tmp_path: Path
) -> None:
    path, target = tmp_path / "w.pt", model(2)
    state = model(1).state_dict()
    torch.save(state | {name: change(state[name])}, path)
    with pytest.raises(DataError, match=message):
        load_weights(target, path)
    assert same(target, model(2))
