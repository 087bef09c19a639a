"""Design: a network, an accelerator, a placement and guards; the mapping is derived."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol, cast

from codesign.accelerator import AcceleratorGraph
from codesign.digests import digest
from codesign.errors import UnsupportedError
from codesign.events import EventProgram
from codesign.faults import Faults
from codesign.guards import Guard
from codesign.mapping import Family, Mapping, Placement
from codesign.network import NetworkGraph
from codesign.program import Program
from codesign.samples import Samples

__all__ = ["Context", "Design", "Mitigation"]


@dataclass(frozen=True, eq=False)
class Design:
    """A complete thing: what is computed, on what, placed how, guarded by what.

    Attributes:
        name: For reports; not part of the identity.
        network: The integer network.
        accelerator: The chip.
        placement: Where things go.
        guards: What stands between corrupted values and their use.
    """

    name: str
    network: NetworkGraph
    accelerator: AcceleratorGraph
    placement: Placement = Placement()
    guards: tuple[Guard, ...] = ()

    @property
    def mapping(self) -> Mapping:
        """Who is where, derived from the design and kept by digest, so it cannot go stale.

        Raises:
            MappingError: The network cannot be placed on this accelerator.
        """
        return _map(_Key(self))

    @cached_property
    def program(self) -> Program | EventProgram:
        """What this design computes."""
        return self.mapping.program(self.guards)

    def layered(self, what: str = "this") -> Program:
        """The same, for what exists only where a chip computes layer after layer.

        Args:
            what: Asks for it, for the message.

        Raises:
            UnsupportedError: This chip works off events.
        """
        if isinstance(self.program, Program):
            return self.program
        raise UnsupportedError(
            f"{what} is for chips that compute layer after layer; {self.accelerator.name}, the "
            f"chip of {self.name}, works off events"
        )

    @cached_property
    def digest(self) -> str:
        """Content digest of network, accelerator, placement and guards."""
        return digest((self.network.digest, self.accelerator.digest, self.placement, self.guards))

    def guarded(self, *guards: Guard, name: str | None = None) -> Design:
        """The same design with further guards behind its own."""
        return replace(self, name=name or self.name, guards=(*self.guards, *guards))


@dataclass(frozen=True, eq=False)
class Context:
    """What a mitigation may look at.

    Attributes:
        calibration: Samples for choosing bounds; never test samples.
        seed: Of whatever it draws.
        faults: Known faults of the chip at hand, for mitigations that use a fault map; then the
            mitigation is applied for each trial.
    """

    calibration: Samples
    seed: int
    faults: Faults | None = None


class Mitigation(Protocol):
    """Design → Design. Its price is the difference of the two designs' costs."""

    def apply(self, design: Design, context: Context) -> Design:
        """The changed design, named so that a report can tell it from the other."""
        ...


@dataclass(frozen=True)
class _Key:
    """A design compared by what its mapping depends on."""

    design: Design

    def __hash__(self) -> int:
        return hash(self._identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._identity == other._identity

    @property
    def _identity(self) -> str:
        d = self.design
        return digest((d.network.digest, d.accelerator.digest, d.placement))


@lru_cache(maxsize=64)
def _map(key: _Key) -> Mapping:
    design = key.design
    family = cast(Family, design.accelerator.family)
    return family.map(design.network, design.placement)
