"""A few trials shown in detail: run again alone, with the struck layer watched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from codesign.effects import Effects, Kind
from codesign.engine import pick
from codesign.engine.observables import Observables, predictions
from codesign.events import EventProgram
from codesign.network import Lif
from codesign.samples import Samples
from codesign.study.campaign import Campaign
from codesign.study.conclude import Concluded
from codesign.study.findings import SeenTrial
from codesign.study.rows import TrialRow
from codesign.study.struck import reached_layers

__all__ = ["seen_trials"]

LARGEST_MAP = 8  # channels of a feature map that are shown


def seen_trials(concluded: Sequence[Concluded], most: int) -> tuple[SeenTrial, ...]:
    """The worst, a typical and a masked trial of each unprotected design, as many as asked for."""
    found: list[SeenTrial] = []
    designs = dict.fromkeys(str(c.campaign.labels["design"]) for c in concluded)
    for design in designs:
        mine = [c for c in concluded if c.campaign.labels["design"] == design and c.rows]
        if not mine or mine[0].campaign.labels["mitigation"] != "none":
            continue
        for choice, one, row in list(_chosen(mine))[:most]:
            shown = _show(one.campaign, row, choice)
            if shown is not None:
                found.append(shown)
    return tuple(found)


def _chosen(mine: Sequence[Concluded]) -> Iterator[tuple[str, Concluded, TrialRow]]:
    """Where one fault (or the fewest) did most, did the usual, and did nothing."""
    few = min(mine, key=lambda c: sum(row.drawn for row in c.rows) / len(c.rows) or 1e9)
    acting = sorted(
        (r for r in few.rows if r.masked < r.samples), key=lambda r: (r.correct, r.trial)
    )
    if acting:
        yield "worst", few, acting[0]
    if len(acting) > 1:
        yield "typical", few, acting[len(acting) // 2]
    masked = [row for row in few.rows if row.could_act and row.masked == row.samples]
    if masked:
        yield "masked", few, masked[0]


def _show(campaign: Campaign, row: TrialRow, choice: str) -> SeenTrial | None:
    """Run one trial again and compare the struck layer on the sample that it hit hardest."""
    design, samples = campaign.design, campaign.samples
    faults = campaign.scenario.draw(design, [row.trial], campaign.seed, len(samples))
    effects = design.mapping.footprint(faults, len(samples)).effects
    if not len(effects):
        return None
    layer = _watched(campaign, effects)
    run = pick.run_golden(design.program, samples)
    faulty = pick.run_faulty(run, effects)
    i = _hardest(faulty, run.outputs)
    # Inference i of the whole run, alone: the windows of its effects moved with it.
    one = Samples(
        samples.name,
        samples.split,
        samples.inputs[i : i + 1],
        samples.labels[i : i + 1],
        samples.timed,
    )
    moved = effects.table.copy()
    starts, stops = moved["samples"].T
    keep = (starts <= i) & ((stops < 0) | (i < stops))
    moved = moved[keep]
    moved["samples"] = (0, -1)
    alone = pick.run_golden(design.program, one)
    was = pick.run_faulty(alone, Effects.none(1), watch=(layer,)).watched
    now = pick.run_faulty(alone, Effects(moved, 1), watch=(layer,)).watched
    spiking = isinstance(design.network[layer], Lif)
    first = faults.fault(0, design.accelerator)
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    neuron = _struck_neuron(was[layer][0, 0], now[layer][0, 0]) if spiking else None
    return SeenTrial(
        design=str(campaign.labels["design"]),
        scenario=str(campaign.labels["scenario"]),
        trial=row.trial,
        sample=i,
        choice=choice,
        fault=f"{first.site} {first.model.name}{more}",
        layer=layer,
        spiking=spiking,
        golden=_picture(was[layer][0, 0], spiking),
        faulty=_picture(now[layer][0, 0], spiking),
        label=int(samples.labels[i]),
        golden_prediction=int(predictions(run.outputs[i])),
        faulty_prediction=int(predictions(faulty.outputs[0, i])),
        hang=bool(faulty.hang[0, i]),
        neuron=neuron,
        membrane_golden=_membrane(was, layer, neuron),
        membrane_faulty=_membrane(now, layer, neuron),
        threshold=_threshold(campaign, layer, neuron),
    )


def _watched(campaign: Campaign, effects: Effects) -> str:
    """The struck layer, or the neurons that it feeds."""
    layers = campaign.design.network.layers
    if isinstance(campaign.design.program, EventProgram):
        neurons = [layer.name for layer in layers if isinstance(layer, Lif)]
        reached = reached_layers(campaign.design, effects.table)
        fed = [name for r in reached for name in campaign.design.network.readers(r)]
        return next((name for name in (*reached, *fed) if name in neurons), neurons[-1])
    index = int(effects.table["layer"][0])
    spiking = {Kind.state, Kind.operation, Kind.spike, Kind.parameter}
    if effects.table["kind"][0] in spiking and isinstance(layers[index], Lif):
        return layers[index].name
    for reader in campaign.design.network.readers(layers[index].name):
        if isinstance(campaign.design.network[reader], Lif):
            return reader
    return layers[index].name


def _hardest(faulty: Observables, golden: NDArray[np.int64]) -> int:
    """The first sample whose prediction changed, else whose outputs changed, else the first."""
    wrong = (predictions(faulty.outputs[0]) != predictions(golden)) | faulty.hang[0]
    differs = (faulty.outputs[0] != golden).any(axis=-1)
    for mask in (wrong, differs):
        if mask.any():
            return int(mask.argmax())
    return 0


def _picture(values: NDArray[np.int64], spiking: bool) -> list[object]:
    """``[steps][neurons]`` of spikes, or ``[channels][h][w]`` of the first step's codes."""
    if spiking:
        return list(values.reshape(len(values), -1).tolist())
    first = values[0]
    maps = first if first.ndim == 3 else first.reshape(1, 1, -1)
    return list(maps[:LARGEST_MAP].tolist())


def _struck_neuron(golden: NDArray[np.int64], faulty: NDArray[np.int64]) -> int:
    """The neuron whose spikes changed most; the busiest where none did."""
    was, now = (values.reshape(len(values), -1) for values in (golden, faulty))
    changed = np.abs(was - now).sum(axis=0)
    return int((changed if changed.any() else was.sum(axis=0)).argmax())


def _membrane(
    watched: dict[str, NDArray[np.int64]], layer: str, neuron: int | None
) -> tuple[int, ...]:
    if neuron is None or f"{layer}.membrane" not in watched:
        return ()
    values = watched[f"{layer}.membrane"][0, 0]
    return tuple(int(v) for v in values.reshape(len(values), -1)[:, neuron])


def _threshold(campaign: Campaign, layer: str, neuron: int | None) -> int | None:
    found = campaign.design.network[layer]
    if neuron is None or not isinstance(found, Lif):
        return None
    positions, _ = campaign.design.network.grid(layer)
    values = np.ravel(found.threshold)
    return int(values[neuron // positions if len(values) > 1 else 0])
