"""What a results file holds, row by row: tasks, trials and the candidates of a search."""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

__all__ = ["OUTCOMES", "CandidateRow", "Task", "TrialRow", "canonical_json"]

OUTCOMES = ("masked", "tolerated", "sdc", "corrected", "detected", "hang")
"""What becomes of one sample of a trial; every sample has exactly one of them."""

COUNTS = ("samples", "correct", *OUTCOMES, "drawn", "could_act", "acted", "collapsed", "proven")
STATES = ("asked", "told", "failed")


def canonical_json(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII. Equal values, equal texts.

    Raises:
        ValueError: NaN or infinity, which JSON cannot say.
        TypeError: Something that is not JSON, for example a numpy array.

    >>> canonical_json({"rate": 0.001, "bits": [1, 2]})
    '{"bits":[1,2],"rate":0.001}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Task:
    """One design under one scenario at one rate on one sample set with one seed.

    How many trials are wanted is no part of it, so that a campaign can be extended.

    Attributes:
        name: What people call it; may change without making it another task.
        description: Canonical JSON object: everything its trials depend on, and nothing else.
        labels: Canonical JSON object of columns for tables (design, scenario, rate, …); like the
            name, no part of the identity.

    >>> task = Task.of("ecc at 1e-3", {"design": "9f", "rate": 0.001, "seed": 1})
    >>> task.digest == Task.of("renamed", {"seed": 1, "rate": 0.001, "design": "9f"}).digest
    True
    """

    name: str
    description: str
    labels: str = "{}"

    def __post_init__(self) -> None:
        _require_object("description", self.description)
        labels = _require_object("labels", self.labels)
        taken = {"task", "name", *(field.name for field in fields(TrialRow))} & labels.keys()
        if taken:
            raise ValueError(f"label {min(taken)!r} is the name of a column of every trial")

    @classmethod
    def of(
        cls,
        name: str,
        description: Mapping[str, object],
        labels: Mapping[str, object] | None = None,
    ) -> Task:
        """A task from plain dictionaries."""
        return cls(name, canonical_json(dict(description)), canonical_json(dict(labels or {})))

    @cached_property
    def digest(self) -> str:
        """Identity: the first 32 hex digits of the SHA-256 of the description's text.

        >>> Task.of("empty", {}).digest  # printf '{}' | sha256sum | cut -c 1-32
        '44136fa355b3678a1146ad16f7e8649e'
        """
        return hashlib.sha256(self.description.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """What one trial did: counts over its samples, and over its faults.

    Attributes:
        task: Digest of the task.
        trial: Index of the trial, from 0.
        weight: Importance weight, finite and not negative; 1 where nothing is weighted.
        samples: Samples that ran, at least 1.
        correct: Samples whose faulty prediction is their label.
        masked: Samples whose outputs are golden.
        tolerated: Samples whose outputs differ and whose prediction is golden's.
        sdc: Samples whose prediction changed, and nothing said so.
        corrected: Samples where a guard detected and corrected.
        detected: Samples where a guard detected and did not correct.
        hang: Samples that did not end in their time.
        drawn: Faults drawn.
        could_act: Drawn faults that stand where this network's values pass.
        acted: Faults that changed any value of any sample.
        collapsed: Drawn faults answered by an equivalent one.
        proven: Drawn faults proven masked without a run.
        faults_digest: Digest of the faults drawn, so that a replay shows that it is the same trial.
        extra: Canonical JSON object of anything else.

    Raises:
        ValueError: A count is negative, or the outcomes do not add up to ``samples``.
    """

    task: str
    trial: int
    weight: float = 1.0
    samples: int
    correct: int
    masked: int
    tolerated: int
    sdc: int
    corrected: int
    detected: int
    hang: int
    drawn: int
    could_act: int
    acted: int
    collapsed: int
    proven: int
    faults_digest: str
    extra: str = "{}"

    def __post_init__(self) -> None:
        # A numpy integer would land in the file as eight bytes of blob.
        for name in ("trial", *COUNTS):
            number = int(operator.index(getattr(self, name)))
            if number < 0:
                raise ValueError(f"{self._where()}: {name}={number} is negative")
            object.__setattr__(self, name, number)
        object.__setattr__(self, "weight", float(self.weight))
        if self.extra != "{}":
            _require_object(f"{self._where()}: extra", self.extra)
        self._require_sums()

    def _require_sums(self) -> None:
        outcomes = {name: getattr(self, name) for name in OUTCOMES}
        if sum(outcomes.values()) != self.samples or not self.samples:
            listed = " + ".join(f"{name} {count}" for name, count in outcomes.items())
            raise ValueError(
                f"{self._where()}: {listed} = {sum(outcomes.values())}, "
                f"expected samples={self.samples}, at least 1"
            )
        if self.correct > self.samples:
            raise ValueError(f"{self._where()}: correct={self.correct} of samples={self.samples}")
        if not self.acted <= self.could_act <= self.drawn:
            raise ValueError(
                f"{self._where()}: expected acted <= could_act <= drawn, "
                f"came {self.acted}, {self.could_act}, {self.drawn}"
            )
        if self.collapsed + self.proven > self.drawn:
            raise ValueError(
                f"{self._where()}: collapsed {self.collapsed} + proven {self.proven} "
                f"> drawn {self.drawn}"
            )
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"{self._where()}: weight={self.weight} is not finite and >= 0")

    def _where(self) -> str:
        return f"task {self.task} trial {self.trial}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRow:
    """One point that a search asked for, and what came of it.

    Attributes:
        search: Digest of the search: space, strategy, objectives, seed.
        number: Index of the candidate, from 0, in the order asked.
        parameters: Canonical JSON object: the point.
        objectives: Canonical JSON object, name to value; ``{}`` until told.
        attrs: Canonical JSON object: what the strategy must remember of it (NSGA-II: generation).
        state: ``asked``, ``told`` or ``failed``.
    """

    search: str
    number: int
    parameters: str
    objectives: str = "{}"
    attrs: str = "{}"
    state: str = "asked"

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", int(operator.index(self.number)))
        for name in ("parameters", "objectives", "attrs"):
            _require_object(name, getattr(self, name))
        if self.state not in STATES:
            raise ValueError(f"state={self.state!r}: expected one of {', '.join(STATES)}")
        if (self.state == "told") != (self.objectives != "{}"):
            raise ValueError(
                f"candidate {self.number} is {self.state!r} with objectives {self.objectives}: "
                "exactly the told ones have some"
            )


def _require_object(name: str, text: str) -> dict[str, object]:
    """The dictionary of a canonical JSON text; comparing texts compares contents only then."""
    value = json.loads(text)
    if not isinstance(value, dict) or canonical_json(value) != text:
        raise ValueError(f"{name}: expected the text of canonical_json(dictionary), came {text!r}")
    return value
