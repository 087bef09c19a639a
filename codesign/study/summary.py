"""Findings of a study, from what was built and what its campaigns stored."""

from __future__ import annotations

import platform
import resource
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from math import prod

import numpy as np

from codesign import __version__
from codesign.design import Design
from codesign.engine import pick
from codesign.events import EventProgram
from codesign.formats import NumberFormat
from codesign.guards import Clamp, Guard, Replace, crossing_share
from codesign.intervals import mean_interval
from codesign.mapping import Activity, Assignment
from codesign.network import Conv2d, Lif, Linear, NetworkGraph, is_mac
from codesign.program import Program
from codesign.study.building import Built, BuiltNetwork
from codesign.study.conclude import Concluded, failures, points, vulnerabilities
from codesign.study.findings import DesignFinding, Findings, NetworkFinding, UnitPicture
from codesign.study.plan import Variant
from codesign.study.seen import seen_trials
from codesign.yaml_writer import dump

__all__ = ["design_finding", "summarise", "versions"]


def summarise(
    built: Built,
    concluded: Sequence[Concluded],
    golden: dict[str, float],
    command: str,
    seconds: float,
) -> Findings:
    """Everything that the page tells."""
    labels = built.test.labels
    chance = float(np.bincount(labels).max() / len(labels))
    spec = built.study.spec
    hurt = {
        (str(c.campaign.labels["design"]), unit): [
            c.golden_accuracy - r.correct / r.samples
            for r in c.rows
            if f'"unit":"{unit}.' in r.extra
        ]
        for c in concluded
        if c.campaign.labels["rate"] is None
        for unit in (u.name for u in c.campaign.design.accelerator.units)
    }
    return Findings(
        title=spec.title,
        note=spec.note,
        study=dump(spec, folder=built.study.loaded.folder),
        command=command,
        networks=tuple(_network(network) for network in built.networks.values()),
        designs=tuple(
            design_finding(built.designs[v.name], v, golden[v.name], built, hurt)
            for v in built.variants
        ),
        points=points(concluded),
        vulnerabilities=vulnerabilities(concluded),
        seen=seen_trials(concluded, spec.effort.seen),
        chance=chance,
        versions=versions(*(design.program for design in built.designs.values())),
        seed=spec.seed,
        failed=failures(concluded, chance),
        seconds=seconds,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def versions(*programs: Program | EventProgram) -> dict[str, str]:
    """What ran, with the engines of some programs."""
    found = {"codesign": __version__, "python": platform.python_version()}
    for name in ("torch", "snntorch", "numpy", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["engine"] = ", ".join(dict.fromkeys(pick.engine_name(program) for program in programs))
    return found


def design_finding(
    design: Design,
    variant: Variant,
    golden: float,
    built: Built,
    hurt: dict[tuple[str, str], list[float]],
) -> DesignFinding:
    """One design: what it costs, where its network is, what guards it."""
    samples = built.coded(variant.name)
    run = pick.run_golden(design.program, samples)
    activity = Activity(**pick.activity(run))
    assignments = design.mapping.assignments()
    placed = built.study.spec.designs[variant.design]
    return DesignFinding(
        name=variant.name,
        base=variant.base,
        mitigation=variant.mitigation,
        network=placed.network,
        accelerator=placed.accelerator,
        golden_accuracy=golden,
        cost=design.mapping.cost(activity, design.guards),
        units=_units(design, assignments, variant.name, hurt),
        links=tuple((x.source, x.target, x.carries, x.bits) for x in design.accelerator.links),
        assignments=assignments,
        overflows={name: count for name, count in pick.count_overflows(run).items() if count},
        crossing=_crossing(design),
        guards=tuple(str(guard) for guard in design.guards),
        digest=design.digest,
    )


def _network(network: BuiltNetwork) -> NetworkFinding:
    graph = network.graph
    macs = [layer for layer in graph if isinstance(layer, Conv2d | Linear)]
    return NetworkFinding(
        name=network.name,
        spiking=any(isinstance(layer, Lif) for layer in graph),
        parameters=sum(layer.weight.size + layer.bias.size for layer in macs),
        macs=graph.steps * sum(prod(graph.mac_shape(layer.name)) for layer in macs),
        steps=graph.steps,
        float_accuracy=network.float_accuracy,
        quantised_accuracy=network.quantised_accuracy,
        samples=network.samples,
        weight_bits=network.quantisation.weight_bits,
        training_seconds=network.seconds,
        note=network.note,
    )


def _units(
    design: Design,
    assignments: Sequence[Assignment],
    name: str,
    hurt: dict[tuple[str, str], list[float]],
) -> tuple[UnitPicture, ...]:
    cycles = max((a.last_cycle for a in assignments), default=0)
    pictures = []
    for unit in design.accelerator.units:
        mine = [a for a in assignments if a.unit == unit.name]
        used = sum(
            prod(stop - start for start, stop in a.instances) * (a.last_cycle - a.first_cycle)
            for a in mine
        )
        losses = hurt.get((name, unit.name), [])
        pictures.append(
            UnitPicture(
                name=unit.name,
                kind=unit.kind,
                shape=unit.shape,
                components=tuple((c.name, c.bits, c.words, c.role_text) for c in unit.components),
                layers=tuple(dict.fromkeys(a.layer for a in mine)),
                occupancy=used / (unit.instances * cycles) if mine and cycles else None,
                vulnerability=mean_interval(losses, bounds=(-1.0, 1.0)) if losses else None,
            )
        )
    return tuple(pictures)


def _crossing(design: Design) -> float | None:
    """Share of single-bit flips of guarded values that leave their bounds, all guards together."""
    shares = [
        share
        for guard in design.guards
        if (share := _crossing_of(guard, design.network)) is not None
    ]
    return float(np.mean(shares)) if shares else None


def _crossing_of(guard: Guard, network: NetworkGraph) -> float | None:
    if not isinstance(guard, Clamp | Replace):
        return None
    layer = network[guard.layer]
    if guard.place == "weight" and is_mac(layer):
        assert isinstance(layer, Conv2d | Linear)
        return crossing_share(layer.weight, layer.weight_format, guard.low, guard.high)
    if guard.place == "activation":
        codes = np.arange(max(0, guard.low), guard.high + 1)
        return crossing_share(codes, NumberFormat(8, signed=False), guard.low, guard.high)
    return None
