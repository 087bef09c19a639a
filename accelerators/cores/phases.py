"""What the cycles of a layer on cores are spent on, and what stands in the weight memories.

*Load*: a cycle a row in which weights come from memory (reloaded only), and the cycle that delivers
the inputs. *Compute*: a cycle a row, the gathering of other cores' sums, the neurons' operations.
*Drain*: the cycle in which spikes leave. Nothing stalls; cores that wait for a longer one of their
round show in the utilisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from codesign.mapping import Holding, Phases

if TYPE_CHECKING:
    from accelerators.cores.mapping import CoresMapping
    from accelerators.cores.schedule import LayerPlan, Run, Schedule, Tile

__all__ = ["holdings_of", "phases_of"]


def phases_of(schedule: Schedule) -> dict[str, Phases]:
    """The cycles of each layer in all steps of one execution; ``*`` clears the membranes."""
    found = {plan.layer.name: _of_layer(plan).times(schedule.steps) for plan in schedule.plans}
    cleared = schedule.inference_cycles - sum(part.cycles for part in found.values())
    return found | {"*": Phases(load=cleared)}


def _of_layer(plan: LayerPlan) -> Phases:
    passes = {(tile.load, tile.deliver) for run in plan.runs for tile in run.tiles}
    load = sum(deliver - first if first >= 0 else 0 for first, deliver in passes) + len(passes)
    drain = len({run.send for run in plan.runs})
    return Phases(load, plan.last_cycle - plan.first_cycle - load - drain, drain)


def holdings_of(mapping: CoresMapping) -> Iterator[Holding]:
    """Tiles in the weight memories, row after row, a word a crosspoint.

    A tile of a fully connected layer has its terms in order. Of a convolution's only the range of
    its positions, terms and channels is told.
    """
    schedule = mapping.schedule
    for run in schedule.runs:
        for tile in run.tiles:
            if tile.rows:
                yield _of_tile(run, tile, mapping.sheet.weight.bits, schedule.inference_cycles)


def _of_tile(run: Run, tile: Tile, bits: int, cycles: int) -> Holding:
    n, terms = run.n, tile.terms[0]
    plain = len(tile.terms) == 1 and (terms == tile.start + np.arange(tile.rows)).all()
    plain = bool(plain and run.m.min() == run.m.max())
    return Holding(
        run.layer.name,
        "weight",
        "weight_memory",
        "weights",
        ((run.core, run.core + 1),),
        (tile.base, tile.base + tile.rows * run.width),
        (int(run.m.min()), int(run.m.max()) + 1) if not plain else (0, 1),
        (int(terms[0]), int(terms[-1]) + 1) if plain else (tile.start, tile.stop),
        (int(n.min()), int(n.max()) + 1),
        "kn" if plain else "",
        bits,
        0,
        cycles,
    )
