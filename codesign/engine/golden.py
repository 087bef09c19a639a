"""Whose a golden run is: engines start trials only from one of the same program and samples."""

from __future__ import annotations

from typing import Protocol

from codesign.errors import DataError
from codesign.events import EventProgram
from codesign.program import Program
from codesign.samples import Samples

__all__ = ["GoldenRun", "check_golden"]


class GoldenRun(Protocol):
    """What every engine's golden run holds of where it came from."""

    @property
    def program(self) -> Program | EventProgram:
        """What was computed."""
        ...

    @property
    def samples(self) -> Samples:
        """On which codes."""
        ...


def check_golden(golden: GoldenRun, program: Program | EventProgram, samples: Samples) -> None:
    """Refuse a golden run of anything else; equal digests are enough.

    Raises:
        DataError: The golden run is another program's or of other samples.
    """
    same_program = golden.program is program or golden.program.digest == program.digest
    if not same_program or not (
        golden.samples is samples or golden.samples.digest == samples.digest
    ):
        raise DataError("the golden run given is another program's or of other samples")
