"""A search, run: hand-made designs judged, candidates proposed and judged, the best judged again.

Candidates are chosen on validation samples with the search's faults. What is reported comes from
test samples and faults that no choice has seen. Running again is resuming.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from codesign.errors import CodesignError
from codesign.study.plan import Variant, variants
from codesign.study.progress import Progress
from codesign.study.results import Results
from codesign.study.rows import CandidateRow
from codesign.study.search_front import non_dominated, spread_out
from codesign.study.search_judge import Stand, accuracies, costs_of, make_stand, strike
from codesign.study.search_loop import Ended, Identity, Limits, Worth, run_search
from codesign.study.search_space import DesignText, LoadedSpace, design_text, only
from codesign.study.search_told import Searched, Verified, tell
from codesign.study.strategy import Candidate, Point, make_strategy

__all__ = ["Searched", "search_space"]

Say = Callable[[str], None]


def search_space(space: LoadedSpace, command: str, say: Say, quiet: bool = False) -> Searched:
    """Search what is missing of a search and tell everything it has found.

    Args:
        space: As loaded.
        command: That was typed, for the page.
        say: Gets one line a stage.
        quiet: No line for each candidate, no progress.

    Raises:
        CodesignError: What a user can mend: a hand-made design cannot be made, Optuna is missing.
    """
    started = time.monotonic()
    effort = space.spec.effort
    strategy = make_strategy(
        space.spec.strategy, space.dimensions, space.objectives, space.spec.seed, effort.candidates
    )
    with Results(space.folder / "results.sqlite") as results:
        job = _Search(space, results, say, quiet)
        hand = job.hand_made()
        free = frozenset(stand.text.training for stand in hand)
        ended = run_search(
            results,
            space.digest,
            strategy,
            job.identify,
            job.evaluate,
            Limits(effort.candidates, effort.trainings, free),
            say=_nothing if quiet else say,
        )
        say(f"search    {ended.reason}; {ended.trainings} networks trained for it")
        on_front = _on_front(space, ended)
        chosen = job.chosen(ended, on_front, {stand.text.identity for stand in hand})
        verified = job.verify(hand, chosen)
    return tell(space, ended, on_front, verified, command, time.monotonic() - started)


class _Search:
    """What the stages of a search share."""

    def __init__(self, space: LoadedSpace, results: Results, say: Say, quiet: bool) -> None:
        self.space, self.results, self.say, self.quiet = space, results, say, quiet

    def hand_made(self) -> list[Stand]:
        """The study's own designs and mitigations, judged as candidates are."""
        spec, wanted = self.space.base.spec, self.space.spec.objectives.accuracy
        struck = spec.faults[wanted.scenario].on
        stands = []
        say = _once(self.say)  # designs share networks, which are told each time they are loaded
        for variant in variants(spec):
            if struck and variant.design not in struck:
                self.say(f"hand-made {variant.name}: {wanted.scenario} does not strike it")
                continue
            text = only(self.space.base, variant.design, variant.mitigation)
            stands.append(self.stand(text, variant, "validation", say=say))
        effort = self.space.spec.effort
        samples = len(stands[0].campaign.samples)
        if samples < effort.samples:
            self.say(f"samples   {samples} validation samples, fewer than effort.samples")
        for stand, rows in zip(stands, strike(self.results, stands, effort.trials), strict=True):
            worth = {"faulty accuracy": accuracies(rows).mean(), **self.costs(stand)}
            told = ", ".join(f"{name} {value:.6g}" for name, value in worth.items())
            self.say(f"hand-made {stand.name}: {told}")
        return stands

    def identify(self, point: Point) -> Identity:
        """What a point comes to, from its text."""
        text = design_text(self.space, point)
        return Identity(text.identity, text.training)

    def evaluate(self, candidate: Candidate) -> Worth:
        """What a candidate is worth, on validation samples."""
        text = design_text(self.space, candidate.parameters)
        name = f"candidate {candidate.number}"
        stand = self.stand(text, Variant(name, text.design, text.mitigation, name), "validation")
        costs = self.costs(stand)  # refused before any trial runs
        (rows,) = strike(self.results, [stand], self.space.spec.effort.trials)
        objectives = {"faulty accuracy": float(accuracies(rows).mean()), **costs}
        details = {"golden accuracy": stand.golden, "task": stand.campaign.task.digest}
        return Worth(objectives, details)

    def chosen(
        self, ended: Ended, on_front: Sequence[bool], hand_made: set[str]
    ) -> list[CandidateRow]:
        """A handful of the front, without what the hand-made designs have already."""
        front: dict[str, CandidateRow] = {}
        for row, best in zip(ended.rows, on_front, strict=True):
            if best:
                front.setdefault(json.loads(row.attrs)["design"], row)
        new = [row for design, row in front.items() if design not in hand_made]
        if len(new) < len(front):
            self.say(f"front     {len(front) - len(new)} of {len(front)} members are hand-made")
        values = [_values(self.space, row) for row in new]
        ways = list(self.space.objectives.values())
        return [new[i] for i in spread_out(values, ways, self.space.spec.verify.members)]

    def verify(self, hand: Sequence[Stand], chosen: Sequence[CandidateRow]) -> list[Verified]:
        """Judge again on test samples, with faults that the search never saw."""
        again: list[tuple[Stand, Point | None]] = []
        for stand in hand:
            (variant,) = stand.built.variants
            again.append((self.stand(stand.text, variant, "test"), None))
        for row in chosen:
            point = json.loads(row.parameters)
            text = design_text(self.space, point)
            name = f"found {row.number}"
            variant = Variant(name, text.design, text.mitigation, name)
            again.append((self.stand(text, variant, "test"), point))
        stands = [stand for stand, _ in again]
        verify = self.space.spec.verify
        samples = len(stands[0].campaign.samples)
        fewer = ", fewer than verify.samples" if samples < verify.samples else ""
        self.say(
            f"verify    {len(again)} designs, {verify.trials} trials of {samples} test "
            f"samples{fewer}"
        )
        progress = Progress("trials", quiet=self.quiet)
        rows = strike(
            self.results, stands, verify.trials, workers=verify.workers, progress=progress
        )
        return [
            Verified(stand, tuple(mine), point)
            for (stand, point), mine in zip(again, rows, strict=True)
        ]

    def costs(self, stand: Stand) -> dict[str, float]:
        """Those that are objectives."""
        try:
            return costs_of(stand.cost, self.space.spec.objectives.costs)
        except CodesignError as error:
            chip = stand.campaign.design.accelerator.name
            raise type(error)(f"{stand.name} on {chip}: {error}") from error

    def stand(
        self, text: DesignText, variant: Variant, split: str, say: Say | None = None
    ) -> Stand:
        """A design with its samples and faults; the split decides both."""
        spec = self.space.spec
        effort = spec.verify if split == "test" else spec.effort
        return make_stand(
            self.space,
            text,
            variant.name,
            split,
            seed=spec.verify.seed if split == "test" else spec.seed,
            samples=effort.samples,
            say=say or _nothing,
            base=variant.base,
        )


def _once(say: Say) -> Say:
    """Says no line twice."""
    said: set[str] = set()

    def once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return once


def _nothing(_: str) -> None:
    """For who says nothing."""


def _values(space: LoadedSpace, row: CandidateRow) -> list[float]:
    told = json.loads(row.objectives)
    return [told[name] for name in space.objectives]


def _on_front(space: LoadedSpace, ended: Ended) -> list[bool]:
    """For each candidate."""
    told = [row for row in ended.rows if row.state == "told"]
    values = [_values(space, row) for row in told]
    best = iter(non_dominated(values, list(space.objectives.values())) if told else [])
    return [row.state == "told" and next(best) for row in ended.rows]
