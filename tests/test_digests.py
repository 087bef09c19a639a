"""The content digest: equal things have equal digests, everything else has another."""

from __future__ import annotations

import enum
import itertools
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from codesign.schema import digest


@dataclass(frozen=True)
class Point:
    x: int
    y: int
    note: str = field(default="", compare=False)


@dataclass(frozen=True)
class Pixel:
    x: int
    y: int


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


DIFFERENT: list[object] = [
    None,
    False,
    True,
    0,
    1,
    -1,
    2**70,
    0.0,
    -0.0,
    1.0,
    float("inf"),
    float("nan"),
    "",
    "1",
    "None",
    b"1",
    Path("1"),
    (),
    [],
    {},
    frozenset(),
    (1,),
    (1, 2),
    (2, 1),
    ((1,), 2),
    (1, (2,)),
    ("a", "b"),
    ("a,b",),
    ('a","b',),
    {"a": 1},
    {"a": 2},
    {1: "a"},
    Colour.RED,
    Colour.BLUE,
    "Colour.RED",
    Point(1, 2),
    Point(2, 1),
    Pixel(1, 2),
    np.zeros(2, np.int8),
    np.zeros(2, np.uint8),
    np.zeros(2, np.int16),
    np.zeros(1, np.int16),
    np.zeros((1, 2), np.int8),
    np.zeros((2, 1), np.int8),
    np.zeros(0, np.int8),
    np.zeros((), np.int8),
    np.zeros(2, np.float32),
    np.zeros(2, np.bool_),
    np.zeros(2, np.complex64),
    np.array([0, 1], np.int8),
]


def test_different_things_have_different_digests() -> None:
    digests = [digest(value) for value in DIFFERENT]
    same = [
        (DIFFERENT[i], DIFFERENT[j])
        for i, j in itertools.combinations(range(len(DIFFERENT)), 2)
        if digests[i] == digests[j]
    ]
    assert same == []


def test_a_digest_is_64_hexadecimal_digits() -> None:
    assert {len(digest(value)) for value in DIFFERENT} == {64}
    assert set("".join(digest(value) for value in DIFFERENT)) <= set("0123456789abcdef")


def test_the_order_of_a_dict_does_not_count() -> None:
    assert digest({"a": 1, "b": (2,)}) == digest({"b": (2,), "a": 1})
    assert digest({3, 1, 2}) == digest({2, 3, 1})


def test_fields_left_out_of_comparison_do_not_count() -> None:
    assert digest(Point(1, 2, "here")) == digest(Point(1, 2, "there"))


def test_memory_layout_and_byte_order_of_an_array_do_not_count() -> None:
    plain = np.arange(6, dtype="<i4").reshape(2, 3)
    assert digest(np.asfortranarray(plain)) == digest(plain)
    assert digest(plain.astype(">i4")) == digest(plain)
    assert digest(np.arange(12, dtype="<i4")[::2].reshape(2, 3) // 2) == digest(plain)


def test_a_numpy_scalar_is_the_number_it_holds() -> None:
    assert digest(np.int16(7)) == digest(7)
    assert digest(np.float64(0.1)) == digest(0.1)
    assert digest(np.bool_(True)) == digest(True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (print, "a builtins:builtin_function_or_method has no content to digest"),
        (Point, "a builtins:type has no content to digest"),
        (object(), "a builtins:object has no content to digest"),
        (np.array(["a"]), "an array of <U1 has no content to digest; numbers have"),
        (np.array([None]), "an array of object has no content to digest; numbers have"),
    ],
)
def test_what_has_no_content_is_refused(value: object, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        digest((1, value))
    assert str(caught.value) == message


def test_the_digest_is_the_same_in_another_process_with_other_hash_seeds() -> None:
    code = (
        "import numpy as np; from codesign.schema import digest;"
        "print(digest(({'b': 1, 'a': {3, 1, 'x'}}, np.arange(3), 'ä', 2.5)))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert seen == {digest(({"b": 1, "a": {3, 1, "x"}}, np.arange(3), "ä", 2.5))}
