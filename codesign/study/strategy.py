"""Strategies of a search: ask for a point, tell what it was worth.

A strategy knows dimensions and numbers, no study and no chip. It keeps nothing of its own: what it
proposes depends on (dimensions, objectives, seed, what it was told, how often it was asked since)
alone. So a search that was killed goes on exactly as if it had not been: the store tells the new
strategy what it told the old one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np

from codesign.errors import StudyError

__all__ = [
    "Candidate",
    "Dimension",
    "OptunaStrategy",
    "Point",
    "RandomStrategy",
    "Strategy",
    "make_strategy",
]

Point = dict[str, Any]
"""Values (as JSON has them) of the active dimensions, by name."""

NSGA2_FROM = 500  # evaluations: below, TPE finds more (hypervolume on a mixed toy space)
INFEASIBLE = 1.0  # any positive constraint is a violation


@dataclass(frozen=True)
class Dimension:
    """One parameter of a search: a list of choices, or a range.

    Attributes:
        name: Unique.
        choices: Different values (numbers, texts, lists of these); () for a range.
        low: Smallest value of a range.
        high: Largest value of a range.
        step: Distance of neighbours in a range; None for all numbers between its ends.
        log: Whether equal ratios are as likely as one another; without a step only.
        when: Names of earlier dimensions with the values at which this one is active.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def is_active(self, point: Point) -> bool:
        """Whether it counts, given the dimensions before it.

        >>> rows = Dimension("rows", (8, 16), when=(("chip", ("array",)),))
        >>> rows.is_active({"chip": "array"}), rows.is_active({"chip": "cores"})
        (True, False)
        """
        return all(point.get(name) in values for name, values in self.when)

    @property
    def count(self) -> int | None:
        """How many values it has; None for a continuous range.

        >>> Dimension("bits", low=4, high=8, step=2).count
        3
        """
        if self.choices:
            return len(self.choices)
        return None if self.step is None else int((self.high - self.low) / self.step + 1e-9) + 1

    @property
    def is_ordered(self) -> bool:
        """Whether neighbours in the list are alike: numbers, or lists of numbers, that rise."""
        if not self.choices:
            return True
        rows = [c if isinstance(c, list) else [c] for c in self.choices]
        numbers = all(type(x) in (int, float) for row in rows for x in row)
        return numbers and all(
            len(a) == len(b) and a != b and all(x <= y for x, y in zip(a, b, strict=True))
            for a, b in pairwise(rows)
        )

    def value(self, index: int) -> Any:
        """The value of that number, of `count`.

        >>> Dimension("bits", low=4, high=8, step=2).value(1)
        6
        """
        if self.choices:
            return self.choices[index]
        assert self.step is not None
        whole = self.low == int(self.low) and self.step == int(self.step)
        value = self.low + index * self.step
        return int(value) if whole else float(value)

    def index(self, value: Any) -> int:
        """The number of a value."""
        if self.choices:
            return self.choices.index(value)
        assert self.step is not None
        return round((value - self.low) / self.step)


@dataclass(frozen=True)
class Candidate:
    """A point that a strategy proposes.

    Attributes:
        number: From 0, in the order told.
        parameters: The point.
        attrs: JSON that the strategy wants back with the point when it is told.
    """

    number: int
    parameters: Point
    attrs: dict[str, Any] = field(default_factory=dict)


class Strategy(Protocol):
    """Proposes points."""

    def ask(self) -> Candidate:
        """The next point. Asked again before it is told anything, it proposes another one."""
        ...

    def tell(self, candidate: Candidate, objectives: dict[str, float] | None) -> None:
        """What a candidate was worth, in order of their numbers; None: it is not possible."""
        ...


class RandomStrategy:
    """Every active dimension uniform and independent; needs nothing installed.

    Args:
        dimensions: Parents before those that depend on them.
        seed: Of all draws.
    """

    def __init__(self, dimensions: Sequence[Dimension], seed: int) -> None:
        self._dimensions, self._seed = tuple(dimensions), seed
        self._told = self._asked = 0

    def ask(self) -> Candidate:
        """See `Strategy.ask`."""
        rng = np.random.default_rng((self._seed, self._told, self._asked))
        self._asked += 1
        point: Point = {}
        for dimension in self._dimensions:
            # Drawn also where it is not used: a draw then depends on its place alone.
            share = float(rng.random())
            if dimension.is_active(point):
                point[dimension.name] = _at(dimension, share)
        return Candidate(self._told, point)

    def tell(self, candidate: Candidate, objectives: dict[str, float] | None) -> None:
        """See `Strategy.tell`; nothing is learnt."""
        self._told, self._asked = self._told + 1, 0


class OptunaStrategy:
    """Optuna proposes: a tree of Parzen estimators (TPE), or NSGA-II.

    Its study stands in memory and is made anew from what was told before each proposal, with the
    attributes that its sampler had given each trial: without them NSGA-II would begin again at its
    first generation. That costs 0.03 ms for each trial told.

    Args:
        dimensions: Parents before those that depend on them.
        objectives: Names, each with ``max`` or ``min``.
        seed: Of all draws.
        sampler: ``tpe`` or ``nsga2``.

    Raises:
        StudyError: Optuna is not installed, or older than 5.
    """

    def __init__(
        self,
        dimensions: Sequence[Dimension],
        objectives: dict[str, str],
        seed: int,
        sampler: Literal["tpe", "nsga2"] = "tpe",
    ) -> None:
        self._optuna = _import_optuna()
        self._dimensions, self._objectives = tuple(dimensions), dict(objectives)
        self._seed, self._sampler = seed, sampler
        self._told: list[Any] = []
        self._asked = 0

    def ask(self) -> Candidate:
        """See `Strategy.ask`."""
        with _quiet(self._optuna):
            study = self._study()
            trial = study.ask()
            raw: dict[str, int | float] = {}
            point: Point = {}
            for dimension in self._dimensions:
                active = dimension.is_active(point)
                # A genetic algorithm crosses what all trials have; TPE groups what goes together.
                if active or self._sampler == "nsga2":
                    raw[dimension.name] = self._suggest(trial, dimension)
                if active:
                    point[dimension.name] = _external(dimension, raw[dimension.name])
            system = study.get_trials(deepcopy=False)[-1].system_attrs
        self._asked += 1
        return Candidate(len(self._told), point, {"raw": raw, "system": dict(system)})

    def tell(self, candidate: Candidate, objectives: dict[str, float] | None) -> None:
        """See `Strategy.tell`."""
        names = self._objectives
        worth = [0.0] * len(names) if objectives is None else [objectives[name] for name in names]
        raw: dict[str, int | float] = candidate.attrs["raw"]
        by_name = {dimension.name: dimension for dimension in self._dimensions}
        with _quiet(self._optuna):
            told = self._optuna.trial.create_trial(
                values=worth,
                params=dict(raw),
                distributions={name: self._distribution(by_name[name]) for name in raw},
                system_attrs=dict(candidate.attrs["system"]),
                constraints={"possible": INFEASIBLE if objectives is None else 0.0},
            )
        self._told.append(told)
        self._asked = 0

    def _study(self) -> Any:
        seeds = np.random.SeedSequence((self._seed, len(self._told), self._asked))
        seed = int(seeds.generate_state(1)[0])
        samplers = self._optuna.samplers
        sampler = (
            samplers.NSGAIISampler(seed=seed)
            if self._sampler == "nsga2"
            else samplers.TPESampler(seed=seed, multivariate=True, group=True)
        )
        directions = [f"{way}imize" for way in self._objectives.values()]
        study = self._optuna.create_study(directions=directions, sampler=sampler)
        study.add_trials(self._told)
        return study

    def _suggest(self, trial: Any, dimension: Dimension) -> int | float:
        name, count = dimension.name, dimension.count
        suggested: int | float
        if count is None:
            suggested = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
        elif dimension.is_ordered:
            suggested = trial.suggest_int(name, 0, count - 1)
        else:
            suggested = trial.suggest_categorical(name, list(range(count)))
        return suggested

    def _distribution(self, dimension: Dimension) -> Any:
        known, count = self._optuna.distributions, dimension.count
        if count is None:
            return known.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
        if dimension.is_ordered:
            return known.IntDistribution(0, count - 1)
        return known.CategoricalDistribution(list(range(count)))


def make_strategy(
    kind: Literal["auto", "tpe", "nsga2", "random"],
    dimensions: Sequence[Dimension],
    objectives: dict[str, str],
    seed: int,
    candidates: int,
) -> Strategy:
    """The strategy of a search.

    Args:
        kind: ``auto`` is TPE for fewer than 500 candidates, NSGA-II from there on.
        dimensions: Parents before those that depend on them.
        objectives: Names, each with ``max`` or ``min``.
        seed: Of all draws.
        candidates: How many will be evaluated.

    Raises:
        StudyError: Optuna is needed and not installed.
    """
    if kind == "random":
        return RandomStrategy(dimensions, seed)
    few: Literal["tpe", "nsga2"] = "tpe" if candidates < NSGA2_FROM else "nsga2"
    return OptunaStrategy(dimensions, objectives, seed, few if kind == "auto" else kind)


def _at(dimension: Dimension, share: float) -> Any:
    """The value that lies so far along a dimension, from 0 to 1."""
    if dimension.count is not None:
        return dimension.value(min(int(share * dimension.count), dimension.count - 1))
    if dimension.log:
        return float(dimension.low * (dimension.high / dimension.low) ** share)
    return dimension.low + share * (dimension.high - dimension.low)


def _external(dimension: Dimension, raw: int | float) -> Any:
    return float(raw) if dimension.count is None else dimension.value(int(raw))


def _import_optuna() -> Any:
    try:
        import optuna  # an extra: only a search with it needs it
    except ImportError as error:
        raise StudyError(
            "a search with TPE or NSGA-II needs Optuna: pip install 'codesign[search]', "
            "or write strategy: random"
        ) from error
    if int(optuna.__version__.partition(".")[0]) < 5:
        raise StudyError(
            f"a search needs Optuna 5 or later, this is {optuna.__version__}: "
            "pip install --upgrade optuna, or write strategy: random"
        )
    return optuna


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without its log lines and its warnings that groups in TPE are experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
