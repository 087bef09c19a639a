"""Keyed numbers: one layout of keys, written out twice; one number for each site, for ever."""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from codesign.draws import generator, nested_sites, philox4x32, site_per_trial, uniform_for
from codesign.errors import FaultError


def fits(counts: Any, expected: Any) -> bool:
    """Whether counts agree with their expectation by chi-square; wrong by chance 1 in 10^5."""
    return bool(stats.chisquare(counts, expected).pvalue > 1e-5)


# ------------------------------------------------------------------------------- generator


def test_a_key_gives_the_same_numbers_every_time() -> None:
    again = [generator(3, "a", 1).integers(0, 2**63, 8).tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_keys_that_differ_in_value_type_order_or_cut_give_different_numbers() -> None:
    keys: list[tuple[int | str, ...]] = [
        (0,), (1,), (-1,), ("0",), ("",), ("a",), ("a", "bc"), ("ab", "c"), ("abc",), ("bc", "a"),
        (0, "a"), ("a", 0), ("int 1 0",), (2**70,), (10,), (1, 0),
    ]  # fmt: skip
    firsts = {generator(0, *key).integers(0, 2**63).item() for key in keys}
    assert len(firsts) == len(keys)
    assert generator(1).random() != generator(2).random()


def test_a_key_may_come_as_a_numpy_integer() -> None:
    assert generator(np.int64(4), np.uint8(2)).random() == generator(4, 2).random()


def test_a_key_that_is_neither_number_nor_text_is_refused() -> None:
    with pytest.raises(TypeError):
        generator(0, 1.5)  # type: ignore[arg-type]


def test_the_generator_is_pcg64dxsm_started_from_a_blake2b_digest() -> None:
    """The layout of a key is promised, so it is written out a second time here."""
    text = b"text 6 stream" + b"int 1 7" + b"text 2 ab" + b"int 2 12"
    digest = hashlib.blake2b(text, digest_size=32).digest()

    class Seed(np.random.bit_generator.ISeedSequence):
        def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
            return np.frombuffer(digest, "<u8").astype(np.uint64).view(dtype)[:n_words]

    seed: Any = Seed()
    expected = np.random.Generator(np.random.PCG64DXSM(seed)).integers(0, 2**63, 5)
    assert generator(7, "ab", 12).integers(0, 2**63, 5).tolist() == expected.tolist()


# ----------------------------------------------------------------------------- uniform_for


def scalar_philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox-4x32-10 in plain Python integers, one block."""
    counter, key = counter[:], key[:]
    for _ in range(10):
        first, second = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [
            (second >> 32) ^ counter[1] ^ key[0],
            second & 0xFFFFFFFF,
            (first >> 32) ^ counter[3] ^ key[1],
            first & 0xFFFFFFFF,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


def scalar_block(use: str, seed: int, trial: int, key: str, position: int, purpose: str) -> bytes:
    """The first 64 bits of a keyed block, by the layout that is promised."""
    parts = [("text", use), ("int", str(seed)), ("text", key), ("text", purpose)]
    text = b"".join(f"{kind} {len(body)} {body}".encode() for kind, body in parts)
    words = np.frombuffer(hashlib.blake2b(text, digest_size=32).digest(), "<u4")
    halves = [position & 0xFFFFFFFF, position >> 32, trial & 0xFFFFFFFF, trial >> 32]
    block = scalar_philox(halves, [int(words[0]), int(words[1])])
    return block[0].to_bytes(4, "big") + block[1].to_bytes(4, "big")


KNOWN_ANSWERS = [  # Random123, kat_vectors, philox4x32 10
    (
        [0, 0, 0, 0],
        [0, 0],
        [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8],
    ),
    (
        [0xFFFFFFFF] * 4,
        [0xFFFFFFFF] * 2,
        [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
    ),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(
    counter: list[int], key: list[int], answer: list[int]
) -> None:
    block = philox4x32(np.array(counter, np.uint64)[:, None], (key[0], key[1]))
    assert block[:, 0].tolist() == answer
    assert scalar_philox(counter, key) == answer


def test_a_site_has_the_number_that_the_promised_layout_gives_it() -> None:
    for trial, position in itertools.product((0, 3, 2**33), (0, 5, 2**32 + 1, 2**61)):
        word = int.from_bytes(scalar_block("uniform", 6, trial, "acc", position, "sign"), "big")
        assert uniform_for(6, trial, "acc", [position], "sign")[0] == (word >> 11) / 2**53


def test_a_site_keeps_its_number_at_every_rate_and_in_every_company() -> None:
    low = nested_sites(0, 4, "w", 30_000, 0.01)
    high = nested_sites(0, 4, "w", 30_000, 0.6)
    at_low, at_high = uniform_for(0, 4, "w", low, "level"), uniform_for(0, 4, "w", high, "level")
    assert low.size > 100
    assert at_high[np.isin(high, low)].tolist() == at_low.tolist()


def test_many_trials_in_one_call_are_the_single_calls() -> None:
    trials, positions = np.repeat(np.arange(5), 3), np.tile([4, 9, 2**35], 5)
    together = uniform_for(1, trials, "w", positions, "cycle")
    single = [uniform_for(1, trial, "w", [4, 9, 2**35], "cycle") for trial in range(5)]
    assert together.tolist() == np.concatenate(single).tolist()


def test_the_numbers_of_sites_are_uniform_and_do_not_depend_on_each_other() -> None:
    number = 100_000
    values = {
        "neighbours": uniform_for(0, 0, "w", np.arange(number), "level"),
        "every 256th": uniform_for(0, 0, "w", np.arange(number) * 256, "level"),
        "next trial": uniform_for(0, 1, "w", np.arange(number), "level"),
        "other purpose": uniform_for(0, 0, "w", np.arange(number), "cycle"),
        "other component": uniform_for(0, 0, "v", np.arange(number), "level"),
        "other seed": uniform_for(1, 0, "w", np.arange(number), "level"),
        "trials": uniform_for(0, np.arange(number), "w", np.zeros(number, int), "level"),
    }
    for each in values.values():
        assert fits(
            np.bincount((each * 256).astype(int), minlength=256), np.full(256, number / 256)
        )
        pairs = (each[:-1] * 16).astype(int) * 16 + (each[1:] * 16).astype(int)
        assert fits(np.bincount(pairs, minlength=256), np.full(256, (number - 1) / 256))
    for one, other in itertools.combinations(values.values(), 2):
        same = (one[1:] == other[1:]).mean()  # the first number may be shared by construction
        assert same < 1e-3
        assert abs(np.corrcoef(one[1:], other[1:])[0, 1]) < 5 / math.sqrt(number)


def test_which_site_is_drawn_says_nothing_about_its_number() -> None:
    numbers = [
        uniform_for(0, trial, "w", nested_sites(0, trial, "w", 1000, 0.3), "level")
        for trial in range(60)
    ]
    seen = np.bincount((np.concatenate(numbers) * 20).astype(int), minlength=20)
    assert fits(seen, np.full(20, seen.sum() / 20))


def test_no_site_has_no_number() -> None:
    assert uniform_for(0, 0, "w", np.empty(0, np.int64)).size == 0


# --------------------------------------------------------------------- one site per trial


def test_one_site_per_trial_is_uniform_and_each_trial_stands_alone() -> None:
    trials = np.arange(40_000)
    for sites in (7, 96):
        drawn = site_per_trial(3, trials, "weights", sites)
        assert fits(np.bincount(drawn, minlength=sites), np.full(sites, trials.size / sites))
    assert site_per_trial(3, [17], "weights", 96)[0] == drawn[17]
    assert (site_per_trial(3, trials, "other", 96) == drawn).mean() < 0.02
    assert site_per_trial(3, [], "weights", 96).size == 0


@pytest.mark.parametrize("sites", [1, 2, 3, 2**32 - 1, 2**32, 2**32 + 1, 3 * 2**40 + 5, 2**62])
def test_one_site_per_trial_is_the_upper_half_of_the_whole_product(sites: int) -> None:
    for trial in range(20):
        word = int.from_bytes(scalar_block("site", 8, trial, "x", 0, str(sites)), "big")
        assert site_per_trial(8, [trial], "x", sites).tolist() == [word * sites >> 64]


@pytest.mark.parametrize(
    "positions", [[-1], [0.5], [[1, 2]], np.array([2**63], np.uint64)], ids=str
)
def test_positions_that_are_none_are_refused(positions: Any) -> None:
    with pytest.raises(FaultError, match=r"acc: positions must be a row of integers, from 0 to"):
        uniform_for(0, 0, "acc", positions)


def test_trials_that_are_none_are_refused() -> None:
    with pytest.raises(FaultError, match="acc: trials must be a row of integers"):
        site_per_trial(0, [-1], "acc", 5)
    with pytest.raises(FaultError, match="acc: trials must be a row of integers"):
        uniform_for(0, -1, "acc", [1, 2])
