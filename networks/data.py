"""Data sets: raw samples in four parts, from files in a folder that the user names.

`mnist`, `fashion_mnist` and `cifar10` take a folder in any of the usual layouts: ``.npz`` with the
arrays ``x_train``, ``y_train``, ``x_test``, ``y_test``; the IDX files of MNIST, also gzipped; the
binary version of CIFAR-10. The files lie in the folder itself or at most two folders below it.
"""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codesign.errors import DataError
from codesign.samples import Splits, of_shape

__all__ = ["cifar10", "digits", "fashion_mnist", "mnist"]

Arrays = tuple[NDArray[np.generic], NDArray[np.int64]]
KEYS = ("x_train", "y_train", "x_test", "y_test")
IDX_NAMES = {
    "x_train": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "y_train": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
    "x_test": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
    "y_test": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
}
CIFAR_RECORD = 1 + 3 * 32 * 32  # a label byte, then red, green and blue planes


@of_shape(1, 8, 8, full_scale=16.0)
def digits() -> Splits:
    """The 1,797 handwritten digits of 8 x 8 pixels, values 0 to 16, that scikit-learn carries.

    They are the test half of the original set (Alpaydin, Kaynak 1998); a fixed permutation splits
    them: 500 for testing, 130 each for calibration and validation, the rest for training.
    ``inputs`` are ``[samples, 1, 8, 8]`` uint8.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    inputs = images.reshape(-1, 1, 8, 8).astype(np.uint8)
    order = np.random.default_rng(2026).permutation(len(labels))
    test, rest = order[:500], order[500:]
    labels = labels.astype(np.int64)
    tested = (inputs[test], labels[test])
    return Splits.of("digits", inputs[rest], labels[rest], tested, full_scale=16.0)


@of_shape(1, 28, 28)
def mnist(folder: Path) -> Splits:
    """MNIST, ``[samples, 1, 28, 28]`` uint8 pixels.

    Args:
        folder: Holds ``mnist*.npz`` or the four IDX files.
    """
    return _images("mnist", Path(folder), ("mnist*.npz",))


@of_shape(1, 28, 28)
def fashion_mnist(folder: Path) -> Splits:
    """Fashion-MNIST, ``[samples, 1, 28, 28]`` uint8 pixels.

    Args:
        folder: Holds ``fashion_mnist*.npz`` or the four IDX files.
    """
    return _images("fashion-mnist", Path(folder), ("fashion*mnist*.npz",))


@of_shape(3, 32, 32)
def cifar10(folder: Path) -> Splits:
    """CIFAR-10, ``[samples, 3, 32, 32]`` uint8 pixels.

    Args:
        folder: Holds ``cifar10*.npz`` or the binary version's ``data_batch_*.bin`` and
            ``test_batch.bin``.
    """
    binary = _place(Path(folder), ("data_batch_*.bin",))
    if binary is not None:
        return _splits("cifar10", *_cifar_binary(binary))
    return _splits("cifar10", *_npz("cifar10", Path(folder), ("cifar10*.npz",), "data_batch_*.bin"))


def _images(name: str, folder: Path, patterns: tuple[str, ...]) -> Splits:
    names = tuple(f"{n}{end}" for n in IDX_NAMES["x_train"] for end in ("", ".gz"))
    idx = _place(folder, names)
    if idx is not None:
        return _splits(name, *_idx(idx))
    return _splits(name, *_npz(name, folder, patterns, IDX_NAMES["x_train"][0]))


def _place(folder: Path, patterns: tuple[str, ...]) -> Path | None:
    """The folder that holds a file of such a name: this one, else the nearest below it."""
    for below in ("", "*/", "*/*/"):
        found = sorted(file for pattern in patterns for file in folder.glob(below + pattern))
        if found:
            return found[0].parent
    return None


def _splits(name: str, train: Arrays, test: Arrays) -> Splits:
    share = min(0.1, 1000 / len(train[1]))
    return Splits.of(name, *train, test, share=share)


def _npz(name: str, folder: Path, patterns: tuple[str, ...], other: str) -> tuple[Arrays, Arrays]:
    if not folder.is_dir():
        raise DataError(f"{name}: there is no folder {folder}")
    place = _place(folder, patterns)
    if place is None:
        looked = ", ".join(patterns)
        raise DataError(f"{name}: {folder} holds no {looked} and no {other}")
    files = sorted(file for pattern in patterns for file in place.glob(pattern))
    try:
        with np.load(files[0], allow_pickle=False) as arrays:
            missing = [key for key in KEYS if key not in arrays]
            if missing:
                raise DataError(f"{files[0]}: no array {missing[0]!r}; expected {', '.join(KEYS)}")
            loaded = [arrays[key] for key in KEYS]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{files[0]}: cannot be read as npz: {error}") from error
    x_train, y_train, x_test, y_test = loaded
    return _pair(files[0], x_train, y_train), _pair(files[0], x_test, y_test)


def _pair(file: Path, images: NDArray[np.generic], labels: NDArray[np.generic]) -> Arrays:
    """Images ``[samples, channels, h, w]`` of any of the usual layouts, and their labels."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(
            f"{file}: expected uint8 images [samples, h, w] or [samples, h, w, 3], "
            f"came {images.dtype} {images.shape}"
        )
    if labels.shape != images.shape[:1]:
        raise DataError(f"{file}: {len(images)} images, labels of shape {labels.shape}")
    if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        came = labels.min() if labels.dtype.kind in "iu" else labels.dtype
        raise DataError(f"{file}: labels are class numbers from 0 on, came {came}")
    planes = images[:, None] if images.ndim == 3 else images
    if planes.shape[1] not in (1, 3):
        planes = planes.transpose(0, 3, 1, 2)
    return planes, labels.astype(np.int64)


def _idx(folder: Path) -> tuple[Arrays, Arrays]:
    read = {key: _idx_file(folder, names, key[0] == "x") for key, names in IDX_NAMES.items()}
    train = _pair(folder, read["x_train"], read["y_train"])
    return train, _pair(folder, read["x_test"], read["y_test"])


def _idx_file(folder: Path, names: tuple[str, ...], images: bool) -> NDArray[np.generic]:
    candidates = [folder / f"{name}{end}" for name in names for end in ("", ".gz")]
    file = next((f for f in candidates if f.is_file()), None)
    if file is None:
        raise DataError(f"{folder} holds no {names[0]} (nor with .gz)")
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{file}: broken gzip: {error}") from error
    axes = 3 if images else 1
    magic = 0x800 + axes  # unsigned bytes, so many axes
    if len(content) < 4 + 4 * axes or struct.unpack(">I", content[:4])[0] != magic:
        raise DataError(f"{file}: expected an IDX file with magic number {magic}")
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    body = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if body.size != np.prod(shape):
        raise DataError(f"{file}: {body.size} bytes of data, its head promises {np.prod(shape)}")
    return body.reshape(shape)


def _cifar_binary(folder: Path) -> tuple[Arrays, Arrays]:
    test_file = folder / "test_batch.bin"
    if not test_file.is_file():
        raise DataError(f"{folder} holds no test_batch.bin beside data_batch_*.bin")
    train = [_cifar_file(file) for file in sorted(folder.glob("data_batch_*.bin"))]
    images = np.concatenate([images for images, _ in train])
    return (images, np.concatenate([labels for _, labels in train])), _cifar_file(test_file)


def _cifar_file(file: Path) -> Arrays:
    content = np.fromfile(file, np.uint8)
    if content.size == 0 or content.size % CIFAR_RECORD:
        raise DataError(f"{file}: {content.size} bytes are no whole number of {CIFAR_RECORD}")
    records = content.reshape(-1, CIFAR_RECORD)
    if records[:, 0].max() > 9:
        raise DataError(f"{file}: a label is {records[:, 0].max()}; CIFAR-10 has 0 to 9")
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
