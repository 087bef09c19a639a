"""Which engine runs a program: layered ones the sparse, event-serial ones the serial engine.

The sparse engine starts from the dense engine's golden run, and gives it what it cannot run.
"""

from __future__ import annotations

from codesign.effects import Effects
from codesign.engine import dense, serial, sparse
from codesign.engine.kernels import kernel_name
from codesign.engine.observables import Observables
from codesign.errors import UnsupportedError
from codesign.events import EventProgram
from codesign.program import Program
from codesign.samples import Samples

__all__ = [
    "Golden",
    "activity",
    "count_overflows",
    "engine_name",
    "run_faulty",
    "run_golden",
]

Golden = dense.Golden | serial.SerialGolden


def engine_name(program: Program | EventProgram) -> str:
    """What people call the engine of a program."""
    if isinstance(program, EventProgram):
        return "serial (numpy)"
    return f"sparse (kernels: {kernel_name()}), dense (torch, CPU) for the rest"


def run_golden(program: Program | EventProgram, samples: Samples) -> Golden:
    """Run a program without effects; whatever engine, it has ``outputs`` ``[samples, classes]``.

    Raises:
        DataError: The samples do not fit the program.
        UnsupportedError: No engine runs such a program.
    """
    if isinstance(program, EventProgram):
        return serial.golden(program, samples)
    if isinstance(program, Program):
        return dense.golden(program, samples)
    raise UnsupportedError(f"no engine runs a {type(program).__name__}; Program, EventProgram")


def run_faulty(golden: Golden, effects: Effects, watch: tuple[str, ...] = ()) -> Observables:
    """Evaluate every trial on the program and samples of a golden run.

    Args:
        golden: Where trials start from.
        effects: Of all trials; checked first.
        watch: Layers whose values in each step (and membranes) are returned.

    Raises:
        FaultError: An effect cannot exist.
        DataError: A watched layer does not exist, or has nothing that can be watched.
        UnsupportedError: A corrupted value could leave the integers that the engine carries.
    """
    if isinstance(golden, serial.SerialGolden):
        return serial.evaluate(golden.program, golden.samples, effects, golden=golden, watch=watch)
    return sparse.evaluate(golden.program, golden.samples, effects, golden=golden, watch=watch)


def activity(golden: Golden) -> dict[str, dict[str, float]]:
    """How busy a golden run was: ``spikes`` and ``zeros`` by layer, for `codesign.mapping`."""
    if isinstance(golden, serial.SerialGolden):
        return serial.activity(golden)
    return dense.activity(golden)


def count_overflows(golden: Golden) -> dict[str, int]:
    """Golden wraps and saturations of sums, by the layer whose weights are summed."""
    if isinstance(golden, serial.SerialGolden):
        return serial.count_saturations(golden)
    return dense.count_overflows(golden.program, golden.samples)
