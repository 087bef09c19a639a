"""Load trained weights from files that strangers made: numbers only, never code."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from codesign.errors import DataError, nearest

__all__ = ["load_weights", "read_weights"]

WRAPPERS = ("state_dict", "model", "net")  # keys under which training scripts keep the weights
PREFIX = "module."  # put before every name by torch's data-parallel wrapper


def load_weights(module: nn.Module, path: Path) -> None:
    """Put the weights of a file into a module, all of them and no others.

    Args:
        module: Changed in place.
        path: A state dict as torch.save writes it, or an ``.npz`` of arrays by name.

    Raises:
        DataError: The file cannot be read, its names or shapes are not the module's, or a value is
            no finite real number.
    """
    found = read_weights(path)
    wanted = module.state_dict()
    # Counters and constants that a newer library added are no weights.
    optional = {
        name for name in wanted if name.endswith(("num_batches_tracked", "_val", "_factor"))
    }
    missing = sorted(set(wanted) - set(found) - optional)
    unknown = sorted(set(found) - set(wanted))
    if missing or unknown:
        name = (missing or unknown)[0]
        raise DataError(
            f"{path}: expected the weights of {type(module).__name__}; "
            f"{len(missing)} missing ({', '.join(missing[:3])}), "
            f"{len(unknown)} unknown ({', '.join(unknown[:3])})"
            f"{nearest(name, unknown if missing else wanted)}"
        )
    for name, values in found.items():
        if values.shape != wanted[name].shape:
            raise DataError(
                f"{path}: {name} has shape {tuple(values.shape)}, expected "
                f"{tuple(wanted[name].shape)}; was the model made with other arguments?"
            )
        _require_numbers(path, name, values)
    module.load_state_dict(wanted | found)


def _require_numbers(path: Path, name: str, values: Tensor) -> None:
    if values.is_complex():
        raise DataError(f"{path}: {name} holds complex numbers; expected real ones")
    wrong = int((~torch.isfinite(values)).sum())
    if wrong:
        raise DataError(
            f"{path}: {name} holds {wrong} of {values.numel()} values that are NaN or infinite; "
            "the training that wrote it diverged, or the file is damaged"
        )
    if name.endswith("running_var") and bool((values < 0).any()):
        raise DataError(
            f"{path}: {name} is {float(values.min()):g} somewhere; a variance is not negative"
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a file, the usual wrappings taken off.

    Raises:
        DataError: It is not there, is damaged, or holds more than numbers.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a state dict (.pt, .pth, .th) or .npz")
    found = _read_npz(path) if path.suffix == ".npz" else _read_torch(path)
    if found and all(name.startswith(PREFIX) for name in found):
        found = {name.removeprefix(PREFIX): values for name, values in found.items()}
    return found


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npz of numbers, or damaged") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on files that are refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, KeyError, EOFError, ValueError, OSError) as error:
        # Torch's own message advises to run what the file says; it is not shown.
        raise DataError(
            f"{path}: not a readable state dict: damaged, or it holds more than tensors; save "
            "model.state_dict(), not the model"
        ) from error
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(values, Tensor) for name, values in content.items()
    ):
        raise DataError(
            f"{path}: expected tensors by name; save model.state_dict(), not the model or a list"
        )
    return dict(content)
