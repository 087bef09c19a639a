"""What the figures ask of findings: who belongs to whom, and which point of a study tells most."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

from codesign.errors import DataError, nearest
from codesign.intervals import Interval, proportion_interval
from codesign.mapping import Cost
from codesign.study.findings import DesignFinding, Findings, NetworkFinding, Point

__all__ = [
    "Headline",
    "Price",
    "apart_from_zero",
    "area_of",
    "bases",
    "binomial",
    "design_of",
    "family",
    "gain_of",
    "headline",
    "is_base",
    "label",
    "network_of",
    "price",
    "rated_scenarios",
    "series_number",
    "spoken",
]


@dataclass(frozen=True)
class Headline:
    """The scenario and rate at which this study tells most.

    Attributes:
        scenario, rate: See `Point`.
        points: There, by design.
        comparisons: Gains in the whole study, by base design: how many chances there were to see a
            difference where none is.
    """

    scenario: str
    rate: float | None
    points: dict[str, Point]
    comparisons: dict[str, int]


@dataclass(frozen=True)
class Price:
    """A design's cost as multiples of its base's; None where either is not known.

    Attributes:
        energy, cycles, area: Ratios; 1 is the base's.
        partial: Whether numbers are absent from the energy of either.
        unpriced: Whether what the design has on top of its base has an energy that is not known.
    """

    energy: float | None
    cycles: float | None
    area: float | None
    partial: bool
    unpriced: bool = False


def design_of(findings: Findings, name: str) -> DesignFinding:
    """A design by name.

    Raises:
        DataError: The findings have no such design.
    """
    for design in findings.designs:
        if design.name == name:
            return design
    known = nearest(name, (design.name for design in findings.designs))
    raise DataError(f"the findings speak of a design {name!r} that they do not hold{known}")


def network_of(findings: Findings, name: str) -> NetworkFinding:
    """A network by name.

    Raises:
        DataError: The findings have no such network.
    """
    for network in findings.networks:
        if network.name == name:
            return network
    known = nearest(name, (network.name for network in findings.networks))
    raise DataError(f"the findings speak of a network {name!r} that they do not hold{known}")


def is_base(design: DesignFinding) -> bool:
    """Whether it stands for itself: no mitigation, compared with nobody."""
    return design.base == design.name


def bases(findings: Findings) -> list[DesignFinding]:
    """The designs that others are compared with, in the order of the study."""
    return [design for design in findings.designs if is_base(design)]


def family(findings: Findings, base: str) -> list[DesignFinding]:
    """A base and what was made of it, the base first."""
    mine = [design for design in findings.designs if design.base == base]
    return sorted(mine, key=lambda design: not is_base(design))


def label(design: DesignFinding) -> str:
    """What tells a design from its relatives."""
    if is_base(design):
        return "no protection"
    return spoken(design.name if design.mitigation == "none" else design.mitigation)


def series_number(findings: Findings, design: DesignFinding) -> int:
    """Which colour and shape a design has on the whole page: 0 for bases, one a mitigation."""
    if is_base(design):
        return 0
    labels = dict.fromkeys(label(other) for other in findings.designs if not is_base(other))
    return 1 + list(labels).index(label(design))


def spoken(name: str) -> str:
    """A name of a study file in a sentence.

    >>> spoken("range_restriction")
    'range restriction'
    """
    return name.replace("_", " ")


def rated_scenarios(findings: Findings) -> list[str]:
    """Scenarios that were run at more than one rate, in the order of the study."""
    rates: dict[str, set[float]] = {}
    for point in findings.points:
        if point.rate:
            rates.setdefault(point.scenario, set()).add(point.rate)
    return [scenario for scenario, values in rates.items() if len(values) > 1]


def binomial(accuracy: float, samples: int) -> Interval:
    """Interval of an accuracy without faults, by the test samples it was measured on (Wilson)."""
    return replace(proportion_interval(round(accuracy * samples), samples), value=accuracy)


def gain_of(point: Point) -> Interval | None:
    """The difference to the base: in pairs where that was possible."""
    return point.gain if point.gain is not None else point.unpaired_gain


def apart_from_zero(interval: Interval, comparisons: int = 1) -> bool:
    """Whether a difference is one, allowing for how many were looked at (Bonferroni).

    The interval is widened as a normal one would be, on each side by itself.

    >>> near = Interval(0.10, 0.01, 0.19, 0.95, 30, "x")
    >>> apart_from_zero(near), apart_from_zero(near, comparisons=12)
    (True, False)
    """
    wide = 1.0
    if 0.0 < interval.level < 1.0 and comparisons > 1:
        normal = NormalDist()
        tail = (1 - interval.level) / 2
        wide = normal.inv_cdf(1 - tail / comparisons) / normal.inv_cdf(1 - tail)
    low = interval.value - wide * (interval.value - interval.low)
    high = interval.value + wide * (interval.high - interval.value)
    return low > 0.0 or high < 0.0


def headline(findings: Findings) -> Headline | None:
    """Where most base designs were struck, and then where a mitigation shows the surest gain.

    Without any gain it is where the bases have lost nearest to half of what they can lose: lower,
    nothing happens; higher, nothing can be told apart.
    """
    if not findings.points:
        return None
    keys = list(dict.fromkeys((p.scenario, p.rate) for p in findings.points))
    owner = {design.name: design.base for design in findings.designs}
    comparisons: dict[str, int] = {}
    for point in findings.points:
        if gain_of(point) is not None:
            base = owner[point.design]
            comparisons[base] = comparisons.get(base, 0) + 1
    best = max(keys, key=lambda key: _telling(findings, *key))
    there = {p.design: p for p in findings.points if (p.scenario, p.rate) == best}
    return Headline(*best, there, comparisons)


def _telling(findings: Findings, scenario: str, rate: float | None) -> tuple[float, ...]:
    """How much a point tells: larger is more. Where nothing is surely lost, nothing is regained."""
    there = [p for p in findings.points if (p.scenario, p.rate) == (scenario, rate)]
    struck = [p for p in there if is_base(design_of(findings, p.design))]
    gains = [gain.low for p in there if (gain := gain_of(p)) is not None]
    halves = []
    for point in struck:
        room = design_of(findings, point.design).golden_accuracy - findings.chance
        halves.append(abs(point.loss.value / room - 0.5) if room > 0 else 1.0)
    middling = -sum(halves) / len(halves) if halves else -1.0
    surely = float(any(point.loss.low > 0 for point in struck))
    return float(len(struck)), surely, max(0.0, *gains, 0.0), middling


def price(base: DesignFinding, design: DesignFinding) -> Price:
    """What a design costs beside its base."""
    mine, other = design.cost, base.cost
    areas = [_areas(cost, _measure(other)) for cost in (mine, other)]
    added = set(mine.missing) - set(other.missing)
    return Price(
        energy=_ratio(mine.energy_pj, other.energy_pj),
        cycles=_ratio(mine.cycles, other.cycles),
        area=_ratio(*(sum(area.values()) for area in areas)),
        partial=bool(mine.missing or other.missing),
        unpriced=any(name.endswith(".energy") for name in added),
    )


def area_of(cost: Cost) -> tuple[float, str] | None:
    """Area and its unit, in the measure that is known of more units; None if none is known."""
    unit = _measure(cost)
    known = _areas(cost, unit)
    return (sum(known.values()), unit) if known else None


def _measure(cost: Cost) -> str:
    """Sourced square micrometres, or gate equivalents where those tell of more of the chip."""
    return "GE" if len(cost.area_ge) > len(cost.area_um2) else "µm²"


def _areas(cost: Cost, unit: str) -> dict[str, float]:
    return cost.area_ge if unit == "GE" else cost.area_um2


def _ratio(mine: float, other: float) -> float | None:
    return mine / other if other > 0 else None
