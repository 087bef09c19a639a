"""Replays recorded faults of the tinyODIN chip's RTL on our model of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from accelerators.tinyodin.chip import Rules
from accelerators.tinyodin.cycle import CycleModel
from accelerators.tinyodin.footprint import ByCycle, effect_rows
from accelerators.tinyodin.program import program_of, stimulus_of
from accelerators.tinyodin.words import PLACES, BitFault, Operation, Workload
from codesign.effects import Effects
from codesign.engine.serial import evaluate_events, golden_timeline
from rtl.rows import Row, check_counts

__all__ = ["CONTROLS", "PLACE_OF_SITE", "judge"]

PLACE_OF_SITE = {
    "neurarray.SRAM": "neuron_memory",
    "neurarray.Qr": "neuron_register",
    "synarray.SRAM": "synapse_memory",
    "synarray.Qr": "synapse_register",
    "net.neuron_core.neuron_data": "write_bus",
    "net.neuron_core.syn_weight": "weight",
    "net.lif.syn_weight_ext": "extended_weight",
    "net.top.CTRL_NEURMEM_ADDR": "neuron_address",
    "net.top.CTRL_SYNARRAY_ADDR": "synapse_address",
}
BROKEN_RULES = {
    "no_parameter_writeback": Rules(writes_parameters=False),
    "no_erase": Rules(write_erases=False),
    "latched_once": Rules(rereads_weights=False),
    "wrap": Rules(saturates=False),
    "disable_blocks_reset": Rules(disabled_resets=False),
}
MOVED_FAULTS: dict[str, Callable[[BitFault], list[BitFault]]] = {
    "late": lambda f: [replace(f, cycle=f.cycle + 1)] if f.kind == "flip" else [f],
    "early": lambda f: [replace(f, cycle=f.cycle - 1)] if f.kind == "flip" else [f],
    "ignored": lambda f: [],
}
CONTROLS = (*MOVED_FAULTS, *BROKEN_RULES)
WHERE = ("f_site", "f_index", "f_bit", "f_kind", "f_cycle")
OF_FAULTS = (*WHERE, "f_hang", "f_snaps", "f_neur_final")


@dataclass(frozen=True)
class _Verdict:
    equal: bool
    unmasked: bool


def judge(path: Path, control: str = "", every: int = 1) -> Iterator[Row]:
    """What became of each site class of one vector file, for both judgements.

    Args:
        path: A file of recorded faults, ``tinyodin_*.npz``.
        control: A name of `CONTROLS`: the model or the faults are wrong on purpose, and equality
            must fall. Broken rules of the chip are rules of the cycle model: no row for effects.
        every: Only every so manieth of the faults that are claimed, in the file's order.
    """
    with np.load(path) as file:
        data = {name: file[name] for name in file.files if not name.startswith("trace_")}
    check_counts(data, OF_FAULTS, "f_events_off")
    sites = data["f_site"].astype(str)
    claimed = np.flatnonzero(np.isin(sites, list(PLACE_OF_SITE)))[::every].tolist()
    faults = [_altered(_fault(data, i), control) for i in claimed]
    workload = workload_of(data)
    model = CycleModel(workload, BROKEN_RULES.get(control, Rules()))
    cycle = {}
    for i, listed in zip(claimed, faults, strict=True):
        run = model.run(listed)
        shown = (run.events, run.samples, run.neurons)
        cycle[i] = _judged(data, i, shown, hangs=run.hangs, timed=True)
    for site in sorted(set(sites)):
        yield _row(path.name, site, "cycle", sites, cycle)
    if control in BROKEN_RULES:
        return
    effects = dict(zip(claimed, _effects_verdicts(data, workload, claimed, faults), strict=True))
    for site in sorted(set(sites)):
        yield _row(path.name, site, "effects", sites, effects)


def _effects_verdicts(
    data: dict[str, Any], workload: Workload, claimed: list[int], faults: list[list[BitFault]]
) -> Iterator[_Verdict]:
    """The same by footprint, effects and engine; in what order spikes leave, not when."""
    program, stimulus = program_of(workload), stimulus_of(workload)
    timeline = golden_timeline(program, stimulus)
    rows = [
        row | {"trial": trial}
        for trial, listed in enumerate(faults)
        for fault in listed
        for row in effect_rows(fault, ByCycle(fault.cycle, timeline))
    ]
    run = evaluate_events(program, [stimulus], Effects.of(rows, len(faults)))
    for trial, i in enumerate(claimed):
        shown = (run.events[trial][:, 1], run.samples[trial], run.words[trial, 0])
        yield _judged(data, i, shown, hangs=bool(run.hang[trial, 0] >= 0), timed=False)


def workload_of(data: dict[str, Any]) -> Workload:
    """What the file's chip is loaded with and what its host does."""
    operations = tuple(
        Operation(-1 if kind == "S" else int(address), kind == "S" or bool(waits))
        for kind, address, waits in zip(
            data["op_type"], data["op_addr"], data["op_wait_idle"], strict=True
        )
    )
    return Workload(
        data["neur_init"].astype(np.int64),
        data["syn"].astype(np.int64),
        int(data["max_neur"]),
        bool(data["open_loop"]),
        operations,
    )


def _fault(data: dict[str, Any], i: int) -> BitFault:
    place = PLACE_OF_SITE[str(data["f_site"][i])]
    word = int(data["f_index"][i]) if PLACES[place][0] > 1 else 0
    kind: Any = str(data["f_kind"][i])
    return BitFault(place, word, int(data["f_bit"][i]), kind, int(data["f_cycle"][i]))


def _altered(fault: BitFault, control: str) -> list[BitFault]:
    return MOVED_FAULTS[control](fault) if control in MOVED_FAULTS else [fault]


def _judged(
    data: dict[str, Any], i: int, shown: Sequence[Any], *, hangs: bool, timed: bool
) -> _Verdict:
    """Whether one run is the recorded one: spikes (with their cycles if timed), samples, words."""
    start, stop = data["f_events_off"][i : i + 2]
    recorded = (data["f_events"][start:stop], data["f_snaps"][i], data["f_neur_final"][i])
    golden = (data["g_events"], data["g_snaps"], data["g_neur_final"])
    hang = bool(data["f_hang"][i])
    expected = recorded if timed else (recorded[0][:, 1], *recorded[1:])
    spikes, samples, words = shown
    seen = (spikes, samples[:, : recorded[1].shape[1]], words)
    same = hangs if hang else not hangs and _all_equal(seen, expected)
    return _Verdict(same, hang or not _all_equal(golden, recorded))


def _all_equal(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _row(
    file: str,
    site: str,
    level: Literal["cycle", "effects"],
    sites: np.ndarray,
    verdicts: dict[int, _Verdict],
) -> Row:
    mine = [verdicts[i] for i in np.flatnonzero(sites == site).tolist() if i in verdicts]
    equal = sum(v.equal for v in mine)
    unmasked = [v for v in mine if v.unmasked]
    outside = 0 if site in PLACE_OF_SITE else int((sites == site).sum())
    return Row(
        file=file,
        site_class=site,
        level=level,
        equal=equal,
        different=len(mine) - equal,
        not_modelled=outside,
        tile=0,
        unmasked=len(unmasked),
        unmasked_equal=sum(v.equal for v in unmasked),
    )
