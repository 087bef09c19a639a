"""Data sets from a folder: files in the original formats, written here byte by byte."""

import gzip
import struct

import numpy as np
import pytest

import networks
from codesign.errors import DataError

DRAW = np.random.default_rng(4)
TRAIN, TEST = DRAW.integers(0, 256, (40, 28, 28)), DRAW.integers(0, 256, (9, 28, 28))
TRAIN_LABELS, TEST_LABELS = np.arange(40) % 10, np.arange(9)


def write_idx(folder, ending=""):
    """The four files of MNIST, as their format is published."""
    files = {
        "train-images-idx3-ubyte": (0x803, TRAIN),
        "train-labels-idx1-ubyte": (0x801, TRAIN_LABELS),
        "t10k-images-idx3-ubyte": (0x803, TEST),
        "t10k-labels-idx1-ubyte": (0x801, TEST_LABELS),
    }
    for name, (magic, values) in files.items():
        head = struct.pack(f">I{values.ndim}I", magic, *values.shape)
        content = head + values.astype(np.uint8).tobytes()
        packed = gzip.compress(content) if ending else content
        (folder / f"{name}{ending}").write_bytes(packed)


def write_npz(folder, name="mnist_dev.npz", **changed):
    arrays = {
        "x_train": TRAIN.astype(np.uint8),
        "y_train": TRAIN_LABELS.astype(np.uint8),
        "x_test": TEST.astype(np.uint8),
        "y_test": TEST_LABELS.astype(np.uint8),
    }
    kept = {k: v for k, v in {**arrays, **changed}.items() if v is not None}
    np.savez(folder / name, **kept)


def parts(splits):
    return (splits.train, splits.calibration, splits.validation, splits.test)


@pytest.mark.parametrize("write", [write_idx, lambda f: write_idx(f, ".gz"), write_npz])
def test_every_layout_gives_the_same_samples(tmp_path, write):
    write(tmp_path)
    splits = networks.mnist(tmp_path)
    assert splits.test.inputs[:, 0].tolist() == TEST.tolist()
    assert splits.test.labels.tolist() == TEST_LABELS.tolist()
    rest = [part.inputs[:, 0] for part in parts(splits)[:3]]
    together = np.concatenate(rest)
    assert sorted(x.tobytes() for x in together.astype(int)) == sorted(x.tobytes() for x in TRAIN)


def test_parts_share_no_sample_and_keep_labels_with_their_images(tmp_path):
    write_npz(tmp_path)
    splits = networks.mnist(tmp_path)
    seen = [image.tobytes() for part in parts(splits) for image in part.inputs]
    assert len(set(seen)) == len(seen) == 49
    for part in parts(splits)[:3]:
        for image, label in zip(part.inputs, part.labels, strict=True):
            (where,) = np.flatnonzero((image[0] == TRAIN).all((1, 2)))
            assert TRAIN_LABELS[where] == label


def test_the_binary_version_of_cifar10_is_read_plane_by_plane(tmp_path):
    planes = DRAW.integers(0, 256, (12, 3, 32, 32)).astype(np.uint8)
    for i, rows in enumerate((range(6), range(6, 10))):
        records = [bytes([n % 10]) + planes[n].tobytes() for n in rows]
        (tmp_path / f"data_batch_{i + 1}.bin").write_bytes(b"".join(records))
    (tmp_path / "test_batch.bin").write_bytes(bytes([3]) + planes[11].tobytes())
    splits = networks.cifar10(tmp_path)
    assert splits.test.inputs.tolist() == [planes[11].tolist()]
    assert splits.test.labels.tolist() == [3]
    assert sum(len(part) for part in parts(splits)[:3]) == 10


def test_images_with_colours_last_are_turned(tmp_path):
    colour = DRAW.integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    labels = np.zeros(20, np.uint8)
    np.savez(
        tmp_path / "cifar10_dev.npz",
        x_train=colour,
        y_train=labels,
        x_test=colour[:2],
        y_test=labels[:2],
    )
    splits = networks.cifar10(tmp_path)
    assert (splits.test.inputs == colour[:2].transpose(0, 3, 1, 2)).all()


def test_the_digits_of_scikit_learn_are_split_once_and_for_all():
    splits = networks.digits()
    assert [len(part) for part in parts(splits)] == [1039, 129, 129, 500]
    assert splits.full_scale == 16.0
    assert splits.classes == 10
    assert splits.train.digest == networks.digits().train.digest


def test_files_are_found_two_folders_down_but_no_deeper_and_the_nearest_win(tmp_path):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    write_npz(tmp_path / "MNIST" / "raw")
    assert networks.mnist(tmp_path).test.inputs[:, 0].tolist() == TEST.tolist()
    write_npz(tmp_path / "MNIST", x_test=(255 - TEST).astype(np.uint8))
    assert networks.mnist(tmp_path).test.inputs[:, 0].tolist() == (255 - TEST).tolist()
    (tmp_path / "a" / "b" / "c" / "d").mkdir(parents=True)
    write_npz(tmp_path / "a" / "b" / "c" / "d")
    with pytest.raises(DataError, match="holds no"):
        networks.mnist(tmp_path / "a")


def test_a_folder_without_the_files_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"holds no mnist\*.npz and no train-images-idx3-ubyte"):
        networks.mnist(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        networks.cifar10(tmp_path / "none")
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="holds no t10k-labels-idx1-ubyte"):
        networks.mnist(tmp_path)


BROKEN_IDX = [
    (lambda c: struct.pack(">I", 0x801) + c[4:], "magic number 2051"),
    (lambda c: c[:-5], "bytes of data, its head promises"),
    (lambda c: c[:3], "magic number 2051"),
]


@pytest.mark.parametrize(("break_it", "message"), BROKEN_IDX)
def test_a_broken_idx_file_is_refused_by_name(tmp_path, break_it, message):
    write_idx(tmp_path)
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(break_it(file.read_bytes()))
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte: .*{message}"):
        networks.mnist(tmp_path)


def test_broken_archives_are_refused_by_name(tmp_path):
    write_npz(tmp_path, y_test=None)
    with pytest.raises(DataError, match="no array 'y_test'"):
        networks.mnist(tmp_path)
    write_npz(tmp_path, y_test=TEST_LABELS[:3])
    with pytest.raises(DataError, match="9 images, labels of shape"):
        networks.mnist(tmp_path)
    write_npz(tmp_path, y_test=TEST_LABELS - 1 - TEST_LABELS.min())
    with pytest.raises(DataError, match="labels are class numbers from 0 on, came -1"):
        networks.mnist(tmp_path)
    write_npz(tmp_path, y_test=TEST_LABELS + 0.5)
    with pytest.raises(DataError, match="labels are class numbers from 0 on, came float64"):
        networks.mnist(tmp_path)
    write_npz(tmp_path, x_test=TEST.astype(float))
    with pytest.raises(DataError, match="expected uint8 images"):
        networks.mnist(tmp_path)
    write_npz(tmp_path, x_test=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="cannot be read as npz"):
        networks.mnist(tmp_path)
    (tmp_path / "mnist_dev.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(DataError, match="cannot be read as npz"):
        networks.mnist(tmp_path)


def test_a_broken_cifar_file_is_refused_by_name(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(b"x" * 3074)
    with pytest.raises(DataError, match="holds no test_batch"):
        networks.cifar10(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(b"\x0b" * 3073)
    with pytest.raises(DataError, match="3074 bytes are no whole number of 3073"):
        networks.cifar10(tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(b"\x0b" * 3073)
    with pytest.raises(DataError, match="a label is 11"):
        networks.cifar10(tmp_path)
