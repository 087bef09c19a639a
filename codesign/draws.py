"""Keyed random draws: what a trial meets depends on its key alone, and costs what it draws.

A campaign never reads random numbers from one long stream. Every draw has a key, for instance
``(seed, trial, component)``, so one trial can be replayed alone, trials may run in any order, and
two designs that share a component meet the same faults there. The sites at a lower rate are
always among the sites at a higher one.

**How a set of sites is drawn.** Every site gets strikes from a Poisson process of its own, at one
strike per unit of exposure, and belongs to the set at rate r when its first strike comes before
the exposure −ln(1 − r): an independent chance of exactly r, and more exposure only adds sites.
The processes of all sites together are again a Poisson process, so the strikes between two
exposures are a Poisson count with uniform sites (a site may be struck again, which changes
nothing) and uniform exposures. Exposures are cut where the rate is a power of two and drawn from
the lowest up, until the wanted rate is reached; a low rate never pays for a high one. Above a rate
of 1/2 the sites not yet struck, which are as many as the draw is large, get one uniform number
each: a Poisson process has no memory.

**What is promised across versions.** The keys (BLAKE2b), `uniform_for` and `site_per_trial`
(Philox) are defined here, bit for bit. `nested_sites` and `choose` use methods of numpy's
``Generator``, whose streams numpy may change between releases: the golden values in
``tests/test_draws.py`` then fail, and campaigns drawn before and after must not be mixed.
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Iterator
from typing import Any, SupportsIndex

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import ArrayLike, NDArray

from codesign.errors import FaultError

__all__ = ["choose", "generator", "nested_sites", "philox4x32", "site_per_trial", "uniform_for"]

MOST_SITES = 2**62  # positions are int64, and sums of two of them must not wrap
MOST_DRAWN = 2**27  # 1 GiB of positions, a few times that while drawing
FIRST_OCTAVE_STRIKES = 32  # below this many expected strikes a finer cut saves nothing
CHUNK = 8192  # elements whose working arrays stay in the second-level cache

LOW_WORD, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # Salmon et al., SC11, table 2
PHILOX_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # Salmon et al., SC11, table 2
PHILOX_ROUNDS = 10  # Salmon et al., SC11: 7 pass BigCrush, 10 are the usual margin


def generator(seed: SupportsIndex, *keys: SupportsIndex | str) -> np.random.Generator:
    """Return the numpy generator that belongs to a key, always in its first state.

    Args:
        seed: The seed of the campaign.
        keys: Names and numbers; their order, their types and where one ends all count.

    Raises:
        TypeError: A key is neither an integer nor text.

    >>> bool(generator(7, "trial", 3).random() == generator(7, "trial", 3).random())
    True
    >>> bool(generator(7, "ab", "c").random() == generator(7, "a", "bc").random())
    False
    """
    own_seed: Any = _Seed(_digest("stream", seed, *keys))  # numpy's hints know its own class only
    return np.random.Generator(np.random.PCG64DXSM(own_seed))


def nested_sites(seed: int, trial: int, key: str, sites: int, rate: float) -> NDArray[np.int64]:
    """Draw the struck sites of one component in one trial.

    Every site is in the set with probability ``rate``, independently of all others, and the set
    of a lower rate is contained in that of a higher one. Costs O(drawn), whatever ``sites`` is.

    Args:
        seed: The seed of the campaign.
        trial: Index of the trial.
        key: Name of the component, the same in every design that shares it.
        sites: How many sites the component has; another number is an independent draw.
        rate: Probability per site, in [0, 1].

    Returns:
        ``[drawn]``, positions in [0, sites), ascending, each once.

    Raises:
        FaultError: There is no site, the rate is no probability, or the draw is too large to hold.

    >>> low, high = (set(nested_sites(0, 0, "weights", 1000, rate)) for rate in (0.01, 0.2))
    >>> low < high
    True
    """
    sites = _checked_sites(key, sites)
    if not 0.0 <= rate <= 1.0:
        raise FaultError(f"{key}: rate={rate} is not a probability in [0, 1]")
    if rate * sites > MOST_DRAWN:
        raise FaultError(
            f"{key}: rate={rate} of {sites} sites is about {rate * sites:.2g} faults in a trial, "
            f"more than {MOST_DRAWN} can be held; lower the rate, or draw smaller components"
        )
    rng = generator(seed, "sites", trial, key, sites)
    struck = [np.empty(0, np.int64)]
    for low, high in _octaves(sites):
        if rate <= low:
            break
        struck.append(_strikes(rng, sites, low, high, rate))
    positions = np.concatenate(struck)
    if rate <= 0.5:
        return _sorted_once(positions, sites)
    is_struck = 0.5 + 0.5 * rng.random(sites) < rate
    is_struck[positions] = True
    return np.flatnonzero(is_struck)


def choose(seed: int, trial: int, key: str, sites: int, count: int) -> NDArray[np.int64]:
    """Draw ``count`` different sites of one component in one trial, all sets equally likely.

    The answer is the beginning of one keyed random order of all sites, so a shorter one is the
    beginning of a longer one. Another number of sites is an independent draw. Costs O(count).

    Returns:
        ``[count]``, positions in [0, sites), in the order drawn.

    Raises:
        FaultError: There is no site, or there are not ``count`` of them.

    >>> choose(0, 0, "neurons", 5, 5)[:2].tolist() == choose(0, 0, "neurons", 5, 2).tolist()
    True
    """
    sites, count = _checked_sites(key, sites), operator.index(count)
    if not 0 <= count <= min(sites, MOST_DRAWN):
        raise FaultError(
            f"{key}: cannot choose {count} different sites; there are {sites}, "
            f"and at most {MOST_DRAWN} can be held"
        )
    rng = generator(seed, "choice", trial, key, sites)
    # Up to here rejecting what came before costs under 1.4 draws a site, beyond it ever more.
    half = (sites + 1) // 2
    order = _first_different(rng, sites, min(count, half))
    if count <= half:
        return order
    is_left = np.ones(sites, dtype=bool)
    is_left[order] = False
    last = generator(seed, "choice, second half", trial, key, sites)
    rest = last.permutation(np.flatnonzero(is_left))
    return np.concatenate([order, rest[: count - half]])


def site_per_trial(seed: int, trials: ArrayLike, key: str, sites: int) -> NDArray[np.int64]:
    """Draw one site in each of many trials, all equally likely, in one call.

    For campaigns of one fault a trial, where a call for each trial would cost more than the fault.

    Args:
        seed: The seed of the campaign.
        trials: ``[n]``, indices of trials, not negative.
        key: Name of the component, or of whatever the sites are counted in.
        sites: How many sites there are; their probabilities differ by less than sites / 2^64.
            Another number is an independent draw.

    Returns:
        ``[n]``, positions in [0, sites).

    Raises:
        FaultError: There is no site, or a trial is not an integer from 0 to below 2^62.

    >>> many = site_per_trial(0, [0, 1, 2], "weights", 1000)
    >>> bool(many[2] == site_per_trial(0, [2], "weights", 1000)[0])
    True
    """
    sites = _checked_sites(key, sites)
    wanted = _checked_row(key, "trials", trials)
    high, low = _random_words("site", seed, wanted, key, np.zeros_like(wanted), str(sites))
    # The upper 64 bits of a 128-bit product, from products of halves that fit in 64.
    sites_high, sites_low = np.uint64(sites >> 32), np.uint64(sites & 0xFFFFFFFF)
    carry = high * sites_low + (low * sites_low >> HALF)
    middle = low * sites_high + (carry & LOW_WORD)
    return (high * sites_high + (carry >> HALF) + (middle >> HALF)).astype(np.int64)


def uniform_for(
    seed: int, trial: ArrayLike, key: str, positions: ArrayLike, purpose: str = ""
) -> NDArray[np.float64]:
    """Return one uniform number for each site: its polarity, its cycle of strike, its model.

    The number of a site depends on the arguments and its position alone, not on which other sites
    were drawn, so it is the same at every rate. Ask for two things under two purposes.

    Args:
        seed: The seed of the campaign.
        trial: Index of the trial, or ``[drawn]``, the trial of each position.
        key: Name of the component.
        positions: ``[drawn]``, integers, not negative.
        purpose: What the number decides.

    Returns:
        ``[drawn]``, multiples of 2^-53 in [0, 1).

    Raises:
        FaultError: A position or trial is not an integer from 0 to below 2^62.

    >>> both = uniform_for(0, 0, "weights", [3, 9], "polarity")
    >>> bool(both[1] == uniform_for(0, 0, "weights", [9], "polarity")[0])
    True
    """
    places = _checked_row(key, "positions", positions)
    trials = _checked_row(key, "trials", np.broadcast_to(np.asarray(trial), places.shape))
    high, low = _random_words("uniform", seed, trials, key, places, purpose)
    return ((high << HALF | low) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def philox4x32(counters: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Return the Philox-4x32-10 block of every counter, so that any number can be had alone.

    Args:
        counters: ``[4, n]``, uint64 that hold 32-bit words.
        key: Two 32-bit words.

    Returns:
        ``[4, n]``, uint64 that hold 32-bit words.

    Source: Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3. SC11.
    """
    rounds = np.arange(PHILOX_ROUNDS, dtype=np.uint64)[:, None, None]
    steps = np.array(PHILOX_KEY_STEPS, np.uint64)[:, None]
    keys = np.array(key, np.uint64)[:, None] + rounds * steps & LOW_WORD
    multipliers = np.array(PHILOX_MULTIPLIERS, np.uint64)[:, None]
    blocks = np.empty_like(counters)
    for start in range(0, counters.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        even, odd = counters[0::2, part], counters[1::2, part]
        for round_key in keys:
            crossed = (even * multipliers)[::-1]
            even, odd = (crossed >> HALF) ^ odd ^ round_key, crossed & LOW_WORD
        blocks[0::2, part], blocks[1::2, part] = even, odd
    return blocks


class _Seed(ISeedSequence):
    """Hands a digest to numpy as it is; numpy would hash it again, at four times the cost."""

    def __init__(self, digest: NDArray[np.uint64]) -> None:
        self.digest = digest

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
        return self.digest.view(dtype)[:n_words]


def _digest(*keys: SupportsIndex | str) -> NDArray[np.uint64]:
    """256 bits that differ whenever the keys do, the same on every machine and in every process."""
    text = hashlib.blake2b(digest_size=32)
    for key in keys:
        kind = "text" if isinstance(key, str) else "int"
        body = (key if isinstance(key, str) else str(operator.index(key))).encode()
        # The length stands in front, or ("ab", "c") would be ("a", "bc").
        text.update(f"{kind} {len(body)} ".encode() + body)
    return np.frombuffer(text.digest(), dtype="<u8").astype(np.uint64)


def _random_words(
    use: str,
    seed: int,
    trials: NDArray[np.int64],
    key: str,
    positions: NDArray[np.int64],
    purpose: str,
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Two 32-bit words for each (trial, position), in uint64."""
    counters = np.empty((4, positions.size), np.uint64)
    counters[0], counters[1] = positions & 0xFFFFFFFF, positions >> 32
    counters[2], counters[3] = trials & 0xFFFFFFFF, trials >> 32
    digest = int(_digest(use, seed, key, purpose)[0])
    blocks = philox4x32(counters, (digest & 0xFFFFFFFF, digest >> 32))
    return blocks[0], blocks[1]


def _checked_sites(key: str, sites: int) -> int:
    sites = operator.index(sites)
    if not 1 <= sites <= MOST_SITES:
        raise FaultError(f"{key}: has {sites} sites; faults need 1 to 2^62 of them")
    return sites


def _checked_row(key: str, what: str, values: ArrayLike) -> NDArray[np.int64]:
    row = np.asarray(values)
    if row.size == 0:
        return np.empty(0, np.int64)
    if row.ndim != 1 or row.dtype.kind not in "iu" or row.min() < 0 or row.max() >= MOST_SITES:
        raise FaultError(f"{key}: {what} must be a row of integers, from 0 to below 2^62")
    return row.astype(np.int64, copy=False)


def _octaves(sites: int) -> Iterator[tuple[float, float]]:
    """Rates between which strikes are drawn together: 0 to 2^-k, then doubling up to 1/2."""
    finest = max(1, (sites // FIRST_OCTAVE_STRIKES).bit_length())
    yield 0.0, 2.0**-finest
    for power in range(finest, 1, -1):
        yield 2.0**-power, 2.0 ** (1 - power)


def _strikes(
    rng: np.random.Generator, sites: int, low: float, high: float, rate: float
) -> NDArray[np.int64]:
    """Sites struck between two rates (all of these are drawn) and before ``rate``."""
    start, width = -math.log1p(-low), math.log1p(-low) - math.log1p(-high)
    count = rng.poisson(sites * width)
    positions = rng.integers(0, sites, count)
    exposures = rng.random(count)
    if rate >= high:
        return positions
    # Compared as rates: a strike's own rate is one fixed number, so nesting holds to the last bit.
    return positions[-np.expm1(-(start + width * exposures)) < rate]


def _sorted_once(positions: NDArray[np.int64], sites: int) -> NDArray[np.int64]:
    """Positions ascending, each once, in the cheaper of two ways."""
    if positions.size * 16 > sites:
        is_struck = np.zeros(sites, dtype=bool)
        is_struck[positions] = True
        return np.flatnonzero(is_struck)
    positions.sort()
    is_first = np.ones(positions.size, dtype=bool)
    np.not_equal(positions[1:], positions[:-1], out=is_first[1:])
    return positions[is_first]


def _first_different(rng: np.random.Generator, sites: int, count: int) -> NDArray[np.int64]:
    """The first ``count`` different values of one endless stream of uniform sites."""
    stream = np.empty(0, np.int64)
    batch = 16  # doubles by a fixed rule: how many are asked for must not change the stream
    while True:
        stream = np.concatenate([stream, rng.integers(0, sites, batch)])
        batch *= 2
        if stream.size >= count:
            first_seen = np.sort(np.unique(stream, return_index=True)[1])
            if first_seen.size >= count:
                return stream[first_seen[:count]]
