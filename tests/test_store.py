"""Arrays on disk: what was written comes back, or an error does."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codesign.errors import StoreError
from codesign.store import Arrays, ArrayStore

DIGEST = "0123456789abcdef"
SEVERAL = {
    "file": np.arange(50, dtype=np.int16).reshape(5, 10),  # np.savez cannot say this name
    "layer 1/weights": np.array(3.5),
    "names": np.array(["é", "b"]),
    "none": np.zeros((0, 3), bool),
    "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
}


def same(found: Arrays, expected: Arrays) -> bool:
    return list(found) == list(expected) and all(
        found[name].dtype == array.dtype
        and found[name].shape == array.shape
        and found[name].tobytes() == array.tobytes()
        for name, array in expected.items()
    )


def never() -> Arrays:
    raise AssertionError("it is stored: nothing needs to be made")


def test_what_is_stored_comes_back_in_order_and_read_only(tmp_path: Path) -> None:
    ArrayStore(tmp_path / "new" / "folder").put(DIGEST, SEVERAL)
    found = ArrayStore(tmp_path / "new" / "folder").get(DIGEST)
    assert same(found, SEVERAL)
    assert not any(array.flags.writeable for array in found.values())


@given(
    array=hnp.arrays(
        st.one_of(hnp.integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes()),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
    )
)
def test_every_dtype_and_shape_comes_back(
    array: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = ArrayStore(tmp_path_factory.mktemp("store"))
    store.put(DIGEST, {"a": array})
    assert same(store.get(DIGEST), {"a": array})


def test_numpy_alone_can_read_the_file(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    store.put(DIGEST, SEVERAL)
    with np.load(store.path(DIGEST), allow_pickle=False) as found:
        assert same(dict(found), SEVERAL)


def test_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    first, second = ArrayStore(tmp_path / "1"), ArrayStore(tmp_path / "2")
    first.put(DIGEST, SEVERAL)
    second.put(DIGEST, {name: array.copy(order="K") for name, array in SEVERAL.items()})
    assert first.path(DIGEST).read_bytes() == second.path(DIGEST).read_bytes()


def test_no_flipped_bit_is_read_as_data(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    two = {"a": np.arange(6, dtype=np.int8).reshape(2, 3), "b": np.array([True, False])}
    store.put(DIGEST, two)
    whole = store.path(DIGEST).read_bytes()
    refused = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        store.path(DIGEST).write_bytes(damaged)
        try:
            assert same(store.get(DIGEST), two), bit  # a date, say: nothing that we read
        except StoreError:
            refused += 1
    assert refused > 4 * len(whole)


def test_no_shortened_file_is_read_as_data(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    store.put(DIGEST, SEVERAL)
    whole = store.path(DIGEST).read_bytes()
    for length in range(len(whole)):
        store.path(DIGEST).write_bytes(whole[:length])
        with pytest.raises(StoreError, match="the file is damaged"):
            store.get(DIGEST)


def test_a_file_under_another_name_is_refused(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    store.put(DIGEST, SEVERAL)
    os.rename(store.path(DIGEST), store.path("another-digest"))
    with pytest.raises(StoreError, match=f"damaged .5 arrays, labelled b'{DIGEST} 5'"):
        store.get("another-digest")


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    assert same(store.get_or_make(DIGEST, lambda: SEVERAL), SEVERAL)
    assert same(store.get_or_make(DIGEST, never), SEVERAL)


def test_an_empty_set_of_arrays_is_something(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    assert store.get_or_make(DIGEST, dict) == {}
    assert store.get_or_make(DIGEST, never) == {}


def test_a_damaged_file_is_reported_and_made_anew(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    store.put(DIGEST, {"a": np.arange(3)})
    store.path(DIGEST).write_bytes(b"PK not a zip")
    with pytest.warns(RuntimeWarning, match=f"{DIGEST}.npz: the file is damaged .*made anew"):
        assert same(store.get_or_make(DIGEST, lambda: SEVERAL), SEVERAL)
    assert same(store.get(DIGEST), SEVERAL)


def test_what_make_raises_passes_and_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Arrays:
        raise FileNotFoundError("the training data")

    store = ArrayStore(tmp_path)
    with pytest.raises(FileNotFoundError, match="the training data"):
        store.get_or_make(DIGEST, fail)
    assert not store.path(DIGEST).exists()
    assert same(store.get_or_make(DIGEST, lambda: SEVERAL), SEVERAL)


def test_an_absent_digest_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"{DIGEST}.npz: nothing is stored under this digest"):
        ArrayStore(tmp_path).get(DIGEST)


@pytest.mark.parametrize("digest", ["", "short", "../../etc/passwd", "0123456789/abcdef", "é" * 9])
def test_a_digest_cannot_leave_the_folder(digest: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a digest: expected 8 to 128 letters"):
        ArrayStore(tmp_path).get_or_make(digest, never)
    assert not list(tmp_path.iterdir())


def test_python_objects_are_refused_on_the_way_in(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="array 'b' holds Python objects; store numbers"):
        ArrayStore(tmp_path).put(DIGEST, {"a": np.arange(3), "b": np.array([None, {}])})


def test_python_objects_are_refused_on_the_way_out(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    store.put(DIGEST, {"a": np.arange(3)})
    comment = store.path(DIGEST).read_bytes()[-18:]
    np.savez(store.path(DIGEST), a=np.array([print], dtype=object))
    plain = store.path(DIGEST).read_bytes()
    store.path(DIGEST).write_bytes(plain[:-2] + len(comment).to_bytes(2, "little") + comment)
    with pytest.raises(StoreError, match=r"damaged .Object arrays cannot be loaded"):
        store.get(DIGEST)


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match=r"taken/.*npz: Not a directory; choose another folder"):
        ArrayStore(tmp_path / "taken").get_or_make(DIGEST, never)


def test_a_file_that_cannot_be_read_is_not_made_anew(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    store.path(DIGEST).mkdir()
    with pytest.raises(StoreError, match="Is a directory; choose another folder, or mend"):
        store.get_or_make(DIGEST, never)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    store.put(DIGEST, SEVERAL)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, unlimited[1]))  # as if the disk ended
    try:
        with pytest.raises(StoreError, match=r"npz: File too large; choose another folder"):
            store.put(DIGEST, {"large": np.zeros(200_000, np.uint8)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert same(store.get(DIGEST), SEVERAL)
    assert not [path for path in tmp_path.iterdir() if "unfinished" in path.name]


MAKER = """
import os, sys, time, warnings
from pathlib import Path
import numpy as np
from codesign.store import ArrayStore

def make():
    print("making", flush=True)
    time.sleep(0.3)
    return {"by": np.array(os.getpid()), "large": np.zeros(300_000)}

warnings.simplefilter("ignore")
print("ready", flush=True)
sys.stdin.readline()
print("got", ArrayStore(Path(sys.argv[1])).get_or_make(sys.argv[2], make)["by"], flush=True)
"""


def start(folder: Path, digest: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", MAKER, str(folder), digest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def test_of_several_processes_one_makes_and_all_get_the_same(tmp_path: Path) -> None:
    makers = [start(tmp_path, DIGEST) for _ in range(3)]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "ready\n"
    printed = "".join(_release(makers))
    assert printed.count("making") == 1
    assert len({line for line in printed.splitlines() if line.startswith("got")}) == 1


def _release(makers: list[subprocess.Popen[str]]) -> list[str]:
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    return [maker.communicate(timeout=20)[0] for maker in makers]


def test_one_waits_for_another_and_says_so(tmp_path: Path) -> None:
    started, finish = threading.Event(), threading.Event()

    def slowly() -> Arrays:
        started.set()
        finish.wait(10)
        return {"a": np.array(1)}

    store = ArrayStore(tmp_path)
    first = threading.Thread(target=store.get_or_make, args=(DIGEST, slowly))
    first.start()
    started.wait(10)
    threading.Timer(0.2, finish.set).start()
    with pytest.warns(RuntimeWarning, match="waiting for another process or thread") as caught:
        found = store.get_or_make(DIGEST, never)
    assert caught[0].filename == __file__
    assert same(found, {"a": np.array(1)})
    first.join()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    contents = [{"a": np.full(300_000, number)} for number in range(2)]
    store.put(DIGEST, contents[0])
    finished = threading.Event()

    def write() -> None:
        for number in range(40):
            store.put(DIGEST, contents[number % 2])
        finished.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not finished.is_set():
        found = store.get(DIGEST)
        assert any(same(found, content) for content in contents)
        seen.add(int(found["a"][0]))
    writer.join()
    assert seen == {0, 1}


def kill_after(seconds: float, maker: subprocess.Popen[str], line: str) -> None:
    assert maker.stdin is not None
    assert maker.stdout is not None
    maker.stdin.write("go\n")
    maker.stdin.flush()
    while maker.stdout.readline() != line:
        pass
    time.sleep(seconds)
    os.kill(maker.pid, signal.SIGKILL)
    maker.communicate(timeout=10)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.301, 0.302, 0.304])
def test_a_killed_maker_leaves_a_whole_file_or_none(seconds: float, tmp_path: Path) -> None:
    maker = start(tmp_path, DIGEST)
    assert maker.stdout is not None
    maker.stdout.readline()
    kill_after(seconds, maker, "making\n")
    make: Callable[[], Arrays] = lambda: {"by": np.array(0), "large": np.zeros(300_000)}  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # neither damage nor a lock left behind
        found = ArrayStore(tmp_path).get_or_make(DIGEST, make)
    assert found["by"] in (0, maker.pid)
    assert not found["large"].any()
    assert ArrayStore(tmp_path).get_or_make(DIGEST, never)["by"] == found["by"]
