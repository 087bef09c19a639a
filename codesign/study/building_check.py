"""What `check --build` prints: capacities, worst-case bounds, golden overflows, time and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from codesign.engine import pick
from codesign.events import EventProgram
from codesign.program import bounds
from codesign.study.building import Built, build
from codesign.study.loading import LoadedStudy
from codesign.study.plan import plan

__all__ = ["describe_built"]


def describe_built(study: LoadedStudy, say: Callable[[str], None]) -> str:
    """Train (or load), lower and map everything, then tell what the text alone could not."""
    folder = study.spec.outputs.folder or Path("out") / study.name
    return "\n".join(_lines(build(study, folder, say)))


def _lines(built: Built) -> Iterator[str]:
    seconds: dict[str, float] = {}
    for name, design in built.designs.items():
        samples = built.coded(name)
        started = time.process_time()
        program = design.program
        golden = pick.run_golden(program, samples)
        seconds[name] = time.process_time() - started
        cycles = max((a.last_cycle for a in design.mapping.assignments()), default=0)
        held = sum(array.nbytes for array in vars(golden).values() if hasattr(array, "nbytes"))
        unit = "updates at most" if isinstance(program, EventProgram) else "cycles"
        yield f"mapped       {name}: {cycles} {unit}, golden run holds {held / 1e6:.1f} MB"
        if isinstance(program, EventProgram):
            counted = pick.count_overflows(golden)
            times = ", ".join(f"{layer} {count}" for layer, count in counted.items())
            yield f"saturation   {name}: potentials saturate; golden saturations: {times}"
            continue
        found = bounds(program)
        over = [layer for layer, bound in found.items() if bound.overflows]
        if over:
            counted = pick.count_overflows(golden)
            wraps = ", ".join(f"{layer} {counted.get(layer, 0)}" for layer in over)
            yield f"overflow     {name}: possible in {', '.join(over)}; golden overflows: {wraps}"
        else:
            widest = max((b.inner_high - b.inner_low for b in found.values()), default=0)
            yield f"bounds       {name}: no sum can overflow (widest range {widest})"
    total = sum(p.trials * seconds[p.variant.name] for p in plan(built.study.spec))
    workers = built.study.spec.effort.workers or os.cpu_count() or 1
    yield (
        f"estimate     about {total / workers / 60:.1f} minutes on {workers} workers, "
        "if a trial costs one golden run"
    )
