"""The loop of a search: ask, evaluate, tell, and keep every step in the store.

The store is the truth: a search that was killed goes on from its rows as if it had not been. What
is evaluated, and what it takes, is the caller's; nothing here knows a network or a chip.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from codesign.digests import digest
from codesign.errors import CodesignError, StoreError
from codesign.study.results import Results
from codesign.study.rows import CandidateRow, canonical_json
from codesign.study.strategy import Candidate, Point, Strategy

__all__ = ["Ended", "Identity", "Limits", "Worth", "run_search"]

MOST_REJECTED = 100  # proposals in a row that would need one more training
MOST_KNOWN = 30  # proposals in a row that were evaluated before


@dataclass(frozen=True)
class Identity:
    """What a point comes to.

    Attributes:
        design: Points with the same are the same design.
        training: Points with the same share a trained network.
    """

    design: str
    training: str


@dataclass(frozen=True)
class Worth:
    """What an evaluation found.

    Attributes:
        objectives: By name.
        details: JSON beside them, for people.
    """

    objectives: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """How long to search.

    Attributes:
        candidates: Different designs.
        trainings: Different trained networks, the free ones not counted.
        free: Trainings that are there anyhow.
    """

    candidates: int
    trainings: int
    free: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ended:
    """A search so far.

    Attributes:
        rows: Every candidate, in the order asked.
        designs: How many different designs these are.
        trainings: How many trainings they took.
        reason: Why it ended.
    """

    rows: tuple[CandidateRow, ...]
    designs: int
    trainings: int
    reason: str


def run_search(
    results: Results,
    search: str,
    strategy: Strategy,
    identify: Callable[[Point], Identity],
    evaluate: Callable[[Candidate], Worth],
    limits: Limits,
    say: Callable[[str], None] = lambda _: None,
) -> Ended:
    """Ask for candidates, evaluate the new ones, and tell, until a limit is reached.

    A candidate that is a design evaluated before is told from the store. One that would need a
    training too many is not asked for: the strategy is asked again. One that cannot be (a
    `CodesignError`) is stored as failed, with the reason.

    Args:
        results: Open for writing.
        search: Digest of the search.
        strategy: Fresh: it is told what is stored.
        identify: What a point comes to, without evaluating it.
        evaluate: What a candidate is worth.
        limits: How long to search.
        say: Gets one line for each candidate.

    Raises:
        StoreError: The store is broken, or holds another search under this digest.
    """
    loop = _Loop(results, search, strategy, identify, evaluate, limits, say)
    loop.remember()
    return loop.run()


class _Loop:
    """What is known while the loop runs."""

    def __init__(
        self,
        results: Results,
        search: str,
        strategy: Strategy,
        identify: Callable[[Point], Identity],
        evaluate: Callable[[Candidate], Worth],
        limits: Limits,
        say: Callable[[str], None],
    ) -> None:
        self.results, self.search, self.strategy = results, search, strategy
        self.identify, self.evaluate, self.limits, self.say = identify, evaluate, limits, say
        self.rows: list[CandidateRow] = []
        self.known: dict[str, CandidateRow] = {}  # by design, as first evaluated
        self.trainings: set[str] = set()
        self.in_a_row = 0  # candidates that were nothing new

    def remember(self) -> None:
        """Take up what is stored, and end what was asked and never told."""
        for row in self.results.candidates(self.search):
            if row.state == "asked":
                self.rows.append(row)
                self.finish(row)
            else:
                self.keep(row)

    def run(self) -> Ended:
        """Go on until a limit is reached."""
        reason = ""
        while not reason:
            if len(self.known) >= self.limits.candidates:
                reason = f"{len(self.known)} designs evaluated"
            elif self.in_a_row >= MOST_KNOWN:
                reason = f"the last {self.in_a_row} proposals were known designs: nothing new"
            else:
                reason = self.step()
        trainings = len(self.trainings - self.limits.free)
        return Ended(tuple(self.rows), len(self.known), trainings, reason)

    def step(self) -> str:
        """One candidate, or why there is none."""
        row, rejected = self.ask()
        if row is None:
            limit = self.limits.trainings
            return f"{rejected} proposals in a row needed more than {limit} trainings"
        self.results.put_candidate(row)
        self.rows.append(row)
        self.finish(row)
        return ""

    def ask(self) -> tuple[CandidateRow | None, int]:
        """The first proposal that the trainings suffice for, and how many came before it."""
        for rejected in range(MOST_REJECTED):
            candidate = self.strategy.ask()
            notes = {"strategy": candidate.attrs, **self.identity_of(candidate.parameters)}
            if rejected:
                notes["rejected"] = rejected
            if self.affordable(str(notes["training"])):
                row = CandidateRow(
                    search=self.search,
                    number=candidate.number,
                    parameters=canonical_json(candidate.parameters),
                    attrs=canonical_json(notes),
                )
                return row, rejected
        return None, MOST_REJECTED

    def identity_of(self, point: Point) -> dict[str, object]:
        try:
            identity = self.identify(point)
        except StoreError:
            raise
        except CodesignError as error:
            # It cannot even be said: a design of its own that fails, and needs no training.
            return {"design": digest(canonical_json(point))[:16], "training": "", "no": str(error)}
        return {"design": identity.design, "training": identity.training}

    def affordable(self, training: str) -> bool:
        paid = self.trainings | self.limits.free | {""}
        return training in paid or len(self.trainings - self.limits.free) < self.limits.trainings

    def finish(self, row: CandidateRow) -> None:
        """Evaluate what was asked, store what came of it, and tell."""
        notes = json.loads(row.attrs)
        before = self.known.get(notes["design"])
        if before is not None:
            done = replace(row, state=before.state, objectives=before.objectives)
            found = json.loads(before.attrs)
            notes |= {key: found[key] for key in ("reason", "details") if key in found}
            notes["same as"] = before.number
        else:
            done, notes = self.judge(row, notes)
        done = replace(done, attrs=canonical_json(notes))
        self.results.put_candidate(done)
        self.rows.pop()
        self.keep(done)
        self.say(_line(done))

    def judge(
        self, row: CandidateRow, notes: dict[str, Any]
    ) -> tuple[CandidateRow, dict[str, Any]]:
        try:
            if "no" in notes:
                raise CodesignError(notes.pop("no"))
            candidate = Candidate(row.number, json.loads(row.parameters), notes["strategy"])
            worth = self.evaluate(candidate)
            for name, value in worth.objectives.items():
                if not math.isfinite(value):
                    raise CodesignError(f"{name} is {value}, not a number")
        except StoreError:
            raise
        except CodesignError as error:
            return replace(row, state="failed"), {**notes, "reason": str(error)}
        told = replace(row, state="told", objectives=canonical_json(worth.objectives))
        return told, {**notes, **({"details": worth.details} if worth.details else {})}

    def keep(self, row: CandidateRow) -> None:
        """Tell the strategy, and remember."""
        notes = json.loads(row.attrs)
        candidate = Candidate(row.number, json.loads(row.parameters), notes["strategy"])
        self.strategy.tell(candidate, json.loads(row.objectives) or None)
        self.rows.append(row)
        self.in_a_row = self.in_a_row + 1 if notes["design"] in self.known else 0
        self.known.setdefault(notes["design"], row)
        if notes["training"]:
            self.trainings.add(notes["training"])


def _line(row: CandidateRow) -> str:
    notes = json.loads(row.attrs)
    point = ", ".join(f"{name}={value}" for name, value in json.loads(row.parameters).items())
    if "same as" in notes:
        return f"candidate {row.number} ({point}): the same as {notes['same as']}"
    if row.state == "failed":
        return f"candidate {row.number} ({point}): not possible: {notes['reason']}"
    worth = ", ".join(f"{name} {value:.6g}" for name, value in json.loads(row.objectives).items())
    return f"candidate {row.number} ({point}): {worth}"
