"""Checks that a datasheet carries: published figures that its numbers must give again.

Energy is held in three parts: by event (marginal), by clock cycle, and by time (static). A figure
for a whole chip at one operating point ("12.7 pJ an operation") mixes all three; it is no price,
but it makes a check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codesign.errors import StudyError, nearest
from codesign.schema import Quantity, spec

if TYPE_CHECKING:
    from accelerators.cores.family import Cores

__all__ = ["Check", "computed"]

PW_PER_MW = 1e9
PJ_PER_MJ = 1e9
UW_PER_MW = 1e3


@dataclass(frozen=True)
class Check:
    """A figure of the whole chip, and where it holds.

    Attributes:
        what: In words.
        events: Events by ``component.action``: in a second for a power, in all for an energy.
        power: Expected, with everything that is clocked and static.
        energy: Expected, of the events alone. One of the two is given.
        clock: Frequency at which a power holds; none for a chip without a clock.
        within: Largest relative difference.
    """

    what: str = spec(non_empty=True)
    events: dict[str, float] = spec(low=0, paths=True)
    power: Quantity | None = spec(default=None, unit="mW", above=0)
    energy: Quantity | None = spec(default=None, unit="mJ", above=0)
    clock: Quantity | None = spec(default=None, unit="MHz", above=0)
    within: float = spec(default=0.01, low=0, high=1)

    def __post_init__(self) -> None:
        if (self.power is None) == (self.energy is None):
            raise StudyError(f"check {self.what!r}: expected a power or an energy, one of them")

    @property
    def expected(self) -> float:
        """In mW or mJ."""
        figure = self.power or self.energy
        return figure.value if figure else 0.0


def computed(sheet: Cores, check: Check) -> float:
    """What the numbers of a datasheet give: mW for a power, mJ for an energy.

    Raises:
        StudyError: A number that the check needs is absent.
    """
    total = 0.0
    for name, count in check.events.items():
        if name not in sheet.energy:
            raise StudyError(
                f"{sheet.name}: check {check.what!r} needs energy.{name}, which is absent"
                f"{nearest(name, sheet.energy)}"
            )
        total += count * sheet.energy[name].value
    if check.energy is not None:
        return total / PJ_PER_MJ
    static = sum(power.value for power in sheet.static_power.values())
    clocked = sum(energy.value for energy in sheet.cycle_energy.values())  # pJ · MHz = uW
    frequency = check.clock.value if check.clock else 0.0
    return static + clocked * frequency / UW_PER_MW + total / PW_PER_MW
