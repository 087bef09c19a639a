"""Changes of a design that the evidence speaks for, each with what it would remove and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from codesign.design import Context, Design
from codesign.engine import pick
from codesign.errors import CodesignError
from codesign.guards import Correct, Guard
from codesign.intervals import Interval
from codesign.mapping import Activity, Cost
from codesign.parts import bind
from codesign.samples import Samples
from codesign.scenarios import FaultList
from codesign.study.advise_evidence import Evidence, Line, covered, removed

__all__ = ["Change", "changes", "cost_of", "rank"]

WORK = 0.01  # of the cost: what any change is taken to cost at least
Kind = Literal["code", "bound", "placement", "headroom", "re-execution"]
Retrain = Callable[[], Design]


@dataclass(frozen=True, eq=False)
class Change:
    """One change.

    Attributes:
        name: What is done.
        kind: What sort of change.
        why: The measured vulnerability behind it.
        design: With the change.
        faults: How many of the faults it meets.
        removed: Measured mean loss of a single fault that it would remove.
        energy: Extra energy, as a share of the unchanged design's; None where it has none.
        cycles: Extra cycles, as a share.
        area: Extra gate equivalents, as a share; None where it has none.
    """

    name: str
    kind: Kind
    why: str
    design: Design
    faults: int
    removed: Interval
    energy: float | None
    cycles: float
    area: float | None

    @property
    def price(self) -> float:
        """Extra energy, cycles and area, as one share; what is less is not paid back."""
        return WORK + sum(max(0.0, part or 0.0) for part in (self.energy, self.cycles, self.area))

    @property
    def merit(self) -> float:
        """Loss removed for the price: what changes are ranked by."""
        return self.removed.value / self.price


@dataclass(frozen=True, eq=False)
class _Shop:
    """What every change is made from."""

    evidence: Evidence
    context: Context
    coded: Samples
    cost: Cost

    @property
    def design(self) -> Design:
        return self.evidence.design

    @property
    def is_known(self) -> bool:
        """Whether the faults are those of a chip at hand."""
        return isinstance(self.evidence.campaign.scenario, FaultList)


def changes(
    evidence: Evidence, calibration: Samples, seed: int, retrain: Retrain | None = None
) -> tuple[list[Change], list[str]]:
    """Every change that there is for a design, and why others are not possible.

    Args:
        evidence: Its single faults.
        calibration: Raw samples for bounds; never test samples.
        seed: Of the study.
        retrain: Makes the design whose weights leave their registers' top bit free.
    """
    design, samples = evidence.design, evidence.campaign.samples
    shop = _Shop(evidence, Context(calibration, seed), samples, cost_of(design, samples))
    found: list[Change] = []
    refused: list[str] = []
    makers: list[tuple[str, Callable[[], Iterator[Change]]]] = [
        ("codes", lambda: _codes(shop)),
        ("BnP1", lambda: _bounds(shop, "mitigation:BoundAndProtect", "BnP1", design)),
        (
            "range restriction",
            lambda: _bounds(shop, "mitigation:RangeRestriction", "range restriction", design),
        ),
        ("re-execution", lambda: _again(shop)),
        ("placement", lambda: _known(shop) if shop.is_known else _placements(shop)),
    ]
    if retrain is not None:
        makers.append(("headroom", lambda: _headroom(shop, retrain)))
    for name, make in makers:
        try:
            made = list(make())
            found += [change for change in made if change.faults]
            refused += [f"{c.name}: meets none of these faults" for c in made if not c.faults]
        except CodesignError as error:
            refused.append(f"{name}: {error}")
    return found, refused


def rank(found: Sequence[Change]) -> list[Change]:
    """By loss removed for the price; of equals the cheaper, then by name."""
    return sorted(found, key=lambda c: (-c.merit, c.price, c.name))


def cost_of(design: Design, samples: Samples) -> Cost:
    """Of one inference, with the activity on these samples (as coded for the network)."""
    run = pick.run_golden(design.program, samples)
    return design.mapping.cost(Activity(**pick.activity(run)), design.guards)


def _change(
    shop: _Shop, kind: Kind, name: str, design: Design, shares: np.ndarray, level: float = 0.95
) -> Change:
    gone = removed(shop.evidence, shares, level)
    total = float(shop.evidence.losses.mean())
    share = f", and {gone.value / total:.0%} of what they cost" if total > 0 else ""
    faults = int(np.count_nonzero(shares > 0))
    why = f"it meets {faults} of {len(shares)} faults{share}"
    cost, before = cost_of(design, shop.coded), shop.cost
    return Change(
        name=name,
        kind=kind,
        why=why,
        design=replace(design, name=f"{shop.design.name} + {name}"),
        faults=faults,
        removed=gone,
        energy=_extra(cost.energy_pj, before.energy_pj),
        cycles=_extra(cost.cycles, before.cycles) or 0.0,
        area=_extra(sum(cost.area_ge.values()), sum(before.area_ge.values())),
    )


def _extra(after: float, before: float) -> float | None:
    return after / before - 1 if before > 0 else None


def _codes(shop: _Shop) -> Iterator[Change]:
    """A code over each place of each layer that lost something, and over each place everywhere."""
    lossy: dict[str, list[str]] = {}
    for (place, layer), loss in shop.evidence.loss_by_place().items():
        if place in ("weight", "activation", "membrane") and loss.value > 0:
            lossy.setdefault(place, []).append(layer)
    stored = shop.design.layered("a code").stored_bits
    for place, layers in lossy.items():
        groups: list[tuple[str, ...]] = [(layer,) for layer in layers]
        if len(layers) > 1:
            groups.append(tuple(layers))
        for group in groups:
            guards = [
                Correct(layer, place, 1, max(8, stored(layer, place)))  # type: ignore[arg-type]
                for layer in group
            ]
            of = group[0] if len(group) == 1 else "all layers that lost any"
            design = shop.design.guarded(*guards)
            shares = covered(shop.evidence, guards)
            yield _change(shop, "code", f"SECDED on {place}s of {of}", design, shares)


def _bounds(
    shop: _Shop, use: str, name: str, design: Design, kind: Kind = "bound"
) -> Iterator[Change]:
    guarded = bind(use, {}).apply(design, shop.context)
    added: Sequence[Guard] = guarded.guards[len(design.guards) :]
    yield _change(shop, kind, name, guarded, covered(shop.evidence, added, guarded))


def _headroom(shop: _Shop, retrain: Retrain) -> Iterator[Change]:
    """Weights in half of their range, so that the top bits of a bad one give it away."""
    name = "one bit of headroom and BnP1"
    yield from _bounds(shop, "mitigation:BoundAndProtect", name, retrain(), "headroom")


def _again(shop: _Shop) -> Iterator[Change]:
    guarded = bind("mitigation:Reexecution", {}).apply(shop.design, shop.context)
    shares = covered(shop.evidence, guarded.guards[-1:])
    yield _change(shop, "re-execution", "re-execution", guarded, shares)


def _placements(shop: _Shop) -> Iterator[Change]:
    """Leave out the line that lost most. Its work moves to the others, and so does their share.

    The line is the worst of many, so its interval is that of all of them together (Bonferroni).
    """
    evidence = shop.evidence
    sums: dict[Line, float] = {}
    for line, loss in zip(evidence.lines, evidence.losses, strict=True):
        if line is not None:
            sums[line] = sums.get(line, 0.0) + float(loss)
    if len(sums) < 2:
        return
    worst = max(sorted(sums), key=lambda line: sums[line])
    each = {line: -1 / (len(sums) - 1) for line in sums} | {worst: 1.0}
    shares = np.array([each[line] if line else 0.0 for line in evidence.lines])
    unit, at = worst
    name = f"column {at[-1]} of {unit} left out"
    if shop.design.accelerator.unit(unit).kind != "pe_array":
        name = f"column {at[-1]} of core {at[0]} left out"
    design = _without(shop.design, [worst])
    yield _change(shop, "placement", name, design, shares, level=1 - 0.05 / len(sums))


def _known(shop: _Shop) -> Iterator[Change]:
    """Leave out every line in which the chip at hand is known to be broken."""
    evidence = shop.evidence
    bad = sorted({line for line in evidence.struck_lines if line is not None})
    if bad:
        shares = np.ones(len(evidence.rows))
        design = _without(shop.design, bad)
        yield _change(shop, "placement", f"{len(bad)} broken columns left out", design, shares)


def _without(design: Design, lines: Sequence[Line]) -> Design:
    forbidden = dict.fromkeys((*design.placement.forbidden, *(at for _, at in lines)))
    return replace(design, placement=replace(design.placement, forbidden=tuple(forbidden)))
