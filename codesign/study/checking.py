"""What `codesign check` prints: what a run will do, from the text of the study alone."""

from __future__ import annotations

from collections.abc import Iterator

from codesign.study.loading import LoadedStudy
from codesign.study.plan import bytes_of, plan, variants

__all__ = ["describe"]


def describe(study: LoadedStudy) -> str:
    """A short table of what will run: designs, scenarios, trials, disk."""
    return "\n".join(_lines(study))


def _lines(study: LoadedStudy) -> Iterator[str]:
    spec = study.spec
    yield spec.title
    yield ""
    yield f"data         {spec.data.use}"
    for name, network in spec.networks.items():
        training = network.training or spec.training
        how = f"from {network.weights.name}" if network.weights else f"{training.epochs} epochs"
        yield f"network      {name}: {network.use}, {how}"
    for name, chip in spec.accelerators.items():
        changed = "".join(f", {path} changed" for path in chip.change)
        yield f"accelerator  {name}: {chip.datasheet}{changed}"
    for name, design in spec.designs.items():
        yield f"design       {name}: {design.network} on {design.accelerator}"
    mitigated = [v.name for v in variants(spec) if v.name not in spec.designs]
    yield f"mitigated    {', '.join(mitigated) or 'none'}"
    yield ""
    planned = plan(spec)
    for scenario in spec.faults:
        mine = [p for p in planned if p.scenario == scenario]
        rates = sorted({p.rate for p in mine if p.rate is not None})
        at = f" at {', '.join(f'{rate:g}' for rate in rates)}" if rates else ""
        designs = len({p.variant.name for p in mine})
        trials = sum(p.trials for p in mine)
        yield f"faults       {scenario}{at}: {designs} designs, at most {trials} trials"
    total = sum(p.trials for p in planned)
    megabytes = bytes_of(planned) / 1e6
    yield (
        f"total        at most {total} trials of {spec.effort.samples} samples, "
        f"{megabytes:.1f} MB on disk"
    )
