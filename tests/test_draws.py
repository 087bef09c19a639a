"""Keyed draws: exact chances, exact nesting, a cost that follows what is drawn."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from codesign import draws
from codesign.draws import choose, generator, nested_sites, site_per_trial, uniform_for
from codesign.errors import FaultError

RATES = (0.004, 0.03, 0.2, 0.4999, 0.5, 0.5001, 0.9)  # both sides of every change of method


def fits(counts: Any, expected: Any) -> bool:
    """Whether counts agree with their expectation by chi-square; wrong by chance 1 in 10^5."""
    return bool(stats.chisquare(counts, expected).pvalue > 1e-5)


def members(trial: int, sites: int, rate: float, seed: int = 5) -> NDArray[np.bool_]:
    inside = np.zeros(sites, dtype=bool)
    inside[nested_sites(seed, trial, "unit.weights", sites, rate)] = True
    return inside


# ---------------------------------------------------------------------------- nested sites


def test_sites_come_ascending_each_once_and_inside_the_component() -> None:
    for trial, (sites, rate) in enumerate(itertools.product((1, 7, 64, 65, 5000), RATES)):
        drawn = nested_sites(1, trial, "c", sites, rate)
        assert drawn.dtype == np.int64
        assert (np.diff(drawn) > 0).all()
        assert ((drawn >= 0) & (drawn < sites)).all()


def test_the_sites_of_a_lower_rate_are_among_those_of_every_higher_rate() -> None:
    rng = np.random.default_rng(0)
    grew = 0
    for trial in range(400):
        sites = int(2 ** rng.uniform(0, 16))
        low, high = np.sort(2.0 ** -rng.uniform(0, 12, 2))
        few, many = (nested_sites(9, trial, "c", sites, rate) for rate in (low, high))
        assert np.isin(few, many).all()
        grew += few.size < many.size
    assert grew > 200


def test_nesting_holds_between_neighbouring_floats_where_the_method_changes() -> None:
    for trial, power in itertools.product(range(20), range(1, 12)):
        edge = 2.0**-power
        rates = (np.nextafter(edge, 0), edge, np.nextafter(edge, 1))
        sets = [set(nested_sites(2, trial, "c", 3000, rate).tolist()) for rate in rates]
        assert sets[0] <= sets[1] <= sets[2]


@pytest.mark.parametrize("rate", RATES)
def test_every_subset_of_three_sites_has_the_probability_of_independent_chances(
    rate: float,
) -> None:
    trials = 6000
    patterns = [int(members(trial, 3, rate) @ [1, 2, 4]) for trial in range(trials)]
    ones = np.array([bin(pattern).count("1") for pattern in range(8)])
    chances = rate**ones * (1 - rate) ** (3 - ones)
    seen = np.bincount(patterns, minlength=8)
    common = chances * trials > 5
    rare = [seen[~common].sum()], [chances[~common].sum() * trials]
    if rare[1][0] > 0:
        assert rare[0][0] <= stats.poisson.ppf(1 - 1e-6, rare[1][0])
    scale = seen[common].sum() / (chances[common].sum() * trials)
    assert fits(seen[common], chances[common] * trials * scale)


@pytest.mark.parametrize("rate", RATES)
def test_every_site_is_drawn_as_often_as_every_other_and_pairs_as_independent_sites_are(
    rate: float,
) -> None:
    trials, sites = 2500, 90
    inside = np.array([members(trial, sites, rate) for trial in range(trials)], dtype=float)
    scores = (inside.sum(0) - trials * rate) / math.sqrt(trials * rate * (1 - rate))
    assert 1e-4 < stats.chi2.sf((scores**2).sum(), sites) < 1 - 1e-4
    centred = (inside - rate) / math.sqrt(rate * (1 - rate))
    pairs = (centred.T @ centred)[np.triu_indices(sites, 1)] / math.sqrt(trials)
    # Uncorrelated pairs have variance 1; the sum over pairs then has variance 2 or a little more.
    assert abs((pairs**2).mean() - 1) < 6 * math.sqrt((2 + 1 / (trials * rate**2)) / pairs.size)


@pytest.mark.parametrize("rate", RATES)
def test_the_number_drawn_is_binomial(rate: float) -> None:
    trials, sites = 4000, 150
    drawn = [nested_sites(3, trial, "c", sites, rate).size for trial in range(trials)]
    edges = np.unique(stats.binom.ppf(np.linspace(0.05, 0.95, 13), sites, rate))
    below = stats.binom.cdf(edges, sites, rate)
    expected = np.diff(np.concatenate([[0], below, [1]])) * trials
    seen = np.bincount(np.searchsorted(edges, drawn), minlength=edges.size + 1)
    assert edges.size >= 2
    assert fits(seen[expected > 0], expected[expected > 0])


def test_the_share_of_a_draw_that_stays_at_a_lower_rate_is_the_ratio_of_rates() -> None:
    for low, high in ((0.01, 0.02), (0.1, 0.4), (0.3, 0.8), (0.6, 0.9)):
        pairs = [(members(t, 1000, low).sum(), members(t, 1000, high).sum()) for t in range(60)]
        kept, all_drawn = np.sum(pairs, axis=0)
        assert stats.binomtest(int(kept), int(all_drawn), low / high).pvalue > 1e-5


def test_draws_of_different_trials_components_sizes_and_seeds_overlap_by_chance_only() -> None:
    sites, rate = 100_000, 0.1
    sets = [
        nested_sites(0, 0, "a", sites, rate), nested_sites(0, 1, "a", sites, rate),
        nested_sites(0, 0, "b", sites, rate), nested_sites(1, 0, "a", sites, rate),
        nested_sites(1, 1, "b", sites, rate), nested_sites(0, 0, "a", sites - 1, rate),
        choose(0, 0, "a", sites, sites // 10), choose(0, 0, "a", sites - 1, sites // 10),
        np.unique(site_per_trial(0, range(9000), "a", sites)),
        np.unique(site_per_trial(0, range(9000), "a", sites - 1)),
    ]  # fmt: skip
    for one, other in itertools.combinations(sets, 2):
        shared = np.isin(one, other).sum()
        chance = stats.hypergeom(sites, one.size, other.size)
        assert chance.ppf(1e-6) < shared < chance.ppf(1 - 1e-6)


def test_sizes_do_not_share_their_counts() -> None:
    counts = [
        [nested_sites(0, t, "a", sites, 0.01).size for t in range(300)] for sites in (5000, 5001)
    ]
    assert abs(stats.pearsonr(*counts).statistic) < 4 / math.sqrt(300)


def test_rate_zero_draws_nothing_and_rate_one_draws_every_site() -> None:
    for sites in (1, 2, 33, 4097):
        assert nested_sites(0, 0, "c", sites, 0.0).tolist() == []
        assert nested_sites(0, 0, "c", sites, 1.0).tolist() == list(range(sites))
    assert nested_sites(0, 0, "c", 2**40, 0.0).size == 0
    assert nested_sites(0, 0, "c", 2**40, 1e-300).size == 0


class CountingGenerator:
    """Stands where numpy's generator stands and counts the numbers it hands out."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.numbers = rng, 0

    def __getattr__(self, name: str) -> Any:
        def drawing(*arguments: Any) -> Any:
            drawn = getattr(self.rng, name)(*arguments)
            self.numbers += np.size(drawn)
            return drawn

        return drawing


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[CountingGenerator]:
    made: list[CountingGenerator] = []
    real = draws.generator

    def counting(*keys: Any) -> CountingGenerator:
        made.append(CountingGenerator(real(*keys)))
        return made[-1]

    monkeypatch.setattr(draws, "generator", counting)
    return made


@pytest.mark.parametrize(
    ("sites", "rate"),
    [(2**40, 1e-9), (2**40, 1e-14), (2**62, 2e-16), (10**6, 0.01), (10**5, 0.3), (10**5, 0.7)],
)
def test_a_draw_costs_what_it_draws_and_not_what_exists(
    sites: int, rate: float, counted: list[CountingGenerator]
) -> None:
    drawn = nested_sites(0, 0, "huge", sites, rate)
    octaves = math.log2(sites)
    # Twice (the octave a rate stands in is drawn whole) two numbers a strike, and the count.
    assert 0 < sum(rng.numbers for rng in counted) < 5.5 * drawn.size + octaves + 100


def test_a_huge_component_is_struck_evenly_at_the_right_rate() -> None:
    sites, rate = 2**40, 1e-9
    drawn = [nested_sites(1, trial, "dram", sites, rate) for trial in range(40)]
    total = sum(each.size for each in drawn)
    assert stats.poisson.ppf(1e-6, sites * rate * 40) < total
    assert total < stats.poisson.ppf(1 - 1e-6, sites * rate * 40)
    bins = np.bincount(np.concatenate(drawn) >> 34, minlength=64)
    assert fits(bins, np.full(64, total / 64))
    # The low bits too: the last bit of an address is a different cell.
    assert fits(np.bincount(np.concatenate(drawn) & 63), np.full(64, total / 64))


# ---------------------------------------------------------------------------------- choose


def test_fewer_chosen_sites_are_the_beginning_of_more() -> None:
    for sites in (1, 2, 9, 50):
        everything = choose(4, 2, "c", sites, sites)
        assert sorted(everything.tolist()) == list(range(sites))
        for count in range(sites):
            assert choose(4, 2, "c", sites, count).tolist() == everything[:count].tolist()


def test_every_ordered_triple_of_four_sites_is_chosen_equally_often() -> None:
    trials = 6000
    seen = [tuple(choose(1, trial, "c", 4, 3).tolist()) for trial in range(trials)]
    triples = list(itertools.permutations(range(4), 3))
    assert set(seen) == set(triples)
    counts = [seen.count(triple) for triple in triples]
    assert fits(counts, np.full(24, trials / 24))


def test_choosing_costs_what_is_chosen(counted: list[CountingGenerator]) -> None:
    chosen = choose(0, 0, "huge", 2**40, 1000)
    assert np.unique(chosen).size == 1000
    assert sum(rng.numbers for rng in counted) < 2500


# ---------------------------------------------------------------------------- golden values


def test_streams_are_those_that_earlier_campaigns_were_drawn_from() -> None:
    """Fails when numpy changes a stream: then results drawn before and after must not be mixed."""
    assert generator(1, "trial", 2).integers(0, 1000, 5).tolist() == GOLDEN["generator"]
    assert nested_sites(1, 2, "pe.weight", 10_000, 0.001).tolist() == GOLDEN["sites"]
    assert nested_sites(1, 2, "dram", 2**40, 5e-12).tolist() == GOLDEN["huge"]
    assert nested_sites(1, 2, "fifo", 12, 0.7).tolist() == GOLDEN["dense"]
    assert choose(1, 2, "pe.weight", 12, 9).tolist() == GOLDEN["chosen"]
    assert site_per_trial(1, [0, 1, 2, 3], "pe.weight", 1000).tolist() == GOLDEN["per trial"]
    uniforms = uniform_for(1, 2, "pe.weight", [0, 7, 2**40], "polarity")
    assert (uniforms * 1e6).astype(int).tolist() == GOLDEN["uniforms"]


GOLDEN: dict[str, list[int]] = {
    "generator": [59, 265, 264, 632, 34],
    "sites": [
        1872,
        2075,
        2232,
        2254,
        2662,
        3352,
        3717,
        4234,
        4449,
        6761,
        6785,
        7280,
        7341,
        7682,
        7922,
        8680,
        8733,
        9313,
        9510,
    ],
    "huge": [181484311862, 541822362851, 717268637575, 977458705581],
    "dense": [0, 1, 3, 5, 6, 7, 8, 11],
    "chosen": [6, 1, 8, 9, 2, 11, 4, 0, 5],
    "per trial": [56, 982, 256, 231],
    "uniforms": [302579, 152686, 161848],
}


# ----------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("rate", [-0.1, 1.0000001, math.nan, math.inf])
def test_a_rate_that_is_no_probability_is_refused(rate: float) -> None:
    with pytest.raises(FaultError, match=r"pe\.weight: rate=.* is not a probability in \[0, 1\]"):
        nested_sites(0, 0, "pe.weight", 10, rate)


@pytest.mark.parametrize("sites", [0, -3, 2**62 + 1])
def test_a_component_without_sites_or_with_too_many_is_refused(sites: int) -> None:
    message = rf"pe\.weight: has {sites} sites; faults need 1 to 2\^62"
    with pytest.raises(FaultError, match=message):
        nested_sites(0, 0, "pe.weight", sites, 0.5)
    with pytest.raises(FaultError, match=message):
        choose(0, 0, "pe.weight", sites, 0)
    with pytest.raises(FaultError, match=message):
        site_per_trial(0, [0], "pe.weight", sites)


def test_a_draw_that_no_memory_holds_is_refused_with_its_size() -> None:
    with pytest.raises(FaultError, match=r"dram: rate=0\.5 of \d+ sites is about 5\.5e\+11 faults"):
        nested_sites(0, 0, "dram", 2**40, 0.5)


@pytest.mark.parametrize("count", [-1, 11])
def test_more_different_sites_than_there_are_cannot_be_chosen(count: int) -> None:
    with pytest.raises(FaultError, match=f"cannot choose {count} different sites; there are 10"):
        choose(0, 0, "pe.weight", 10, count)
