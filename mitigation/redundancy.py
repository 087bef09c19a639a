"""Doing it again, and storing it with a code: the honest, expensive baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codesign.design import Context, Design
from codesign.guards import Correct, Guard, Recompute
from codesign.network import Lif, is_mac

__all__ = ["ErrorCorrection", "Reexecution"]


@dataclass(frozen=True)
class Reexecution:
    """The whole inference is executed several times and the outputs vote.

    Transient faults strike each execution anew (each one loads its state again); permanent ones
    strike all alike, and then this helps nothing.

    Attributes:
        times: Executions; 2 only detects.
    """

    times: int = 3

    def apply(self, design: Design, context: Context) -> Design:
        """The design, executed several times."""
        return design.guarded(Recompute(self.times), name=f"{design.name} + re-execution")


@dataclass(frozen=True)
class ErrorCorrection:
    """Stored words carry a code that corrects ``bits`` wrong bits and detects one more.

    Attributes:
        places: What is stored with a code.
        layers: Layers by name, or () for all.
        bits: Wrong bits that are corrected in one word (1: SECDED).
    """

    places: tuple[Literal["weight", "activation", "membrane"], ...] = ("weight",)
    layers: tuple[str, ...] = ()
    bits: int = 1

    def apply(self, design: Design, context: Context) -> Design:
        """The design with a code over each place's words.

        Raises:
            DataError: A layer of that name does not exist or has no such place.
        """
        guards: list[Guard] = []
        for place in self.places:
            names = self.layers or tuple(
                layer.name
                for layer in design.network
                if place == "activation"
                or (is_mac(layer) if place == "weight" else isinstance(layer, Lif))
            )
            guards += [
                Correct(name, place, self.bits, _word(design, name, place, self.bits))
                for name in names
            ]
        return design.guarded(*guards, name=f"{design.name} + ECC {'/'.join(self.places)}")


def _word(design: Design, name: str, place: str, bits: int) -> int:
    """Data bits of a word; a spike is stored with its neighbours in a byte."""
    return max(8, bits + 1, design.layered("ErrorCorrection").stored_bits(name, place))
