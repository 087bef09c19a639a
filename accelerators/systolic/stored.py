"""What faults in activation_sram and psum_sram touch; the rules stand in `systolic_memories`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelerators.systolic.effects import EffectRows, Place, Struck, Windows, alone, single
from accelerators.systolic.hits import Hits, Strike
from accelerators.systolic.maps import FeatureMap
from accelerators.systolic.schedule import LayerPlan, Schedule
from accelerators.systolic.store import Store, first_input_read
from codesign.effects import At, Kind
from codesign.network import Conv2d, NetworkGraph

__all__ = ["strike_maps", "strike_sums"]

Ints: TypeAlias = NDArray[np.int64]


# ------------------------------------------------------------------------------------ feature maps


@dataclass(frozen=True, eq=False)
class _Elements:
    """Faults in the elements of one map."""

    network: NetworkGraph
    stored: FeatureMap
    width: int
    which: Ints
    element: Ints
    bit: Ints
    rows: EffectRows

    def add(self, some: Ints, kind: Kind, at: At, columns: dict[str, Any]) -> None:
        place = Place(kind, at, self.width, self.stored.signed)
        self.rows.add_(self.which[some], place, columns, bit=self.bit[some])

    def add_stored(self, some: Ints, reader: int, samples: Ints) -> None:
        """The elements as a reader gets all of them."""
        m, n = _position(self.network, self.stored.name, self.element[some])
        columns = {"layer": self.stored.index, "reader": reader, "samples": samples}
        columns |= {"m": single(m), "n": single(n)}
        self.add(some, Kind.activation, At.stored, columns)


def strike_maps(
    network: NetworkGraph,
    schedule: Schedule,
    maps: tuple[FeatureMap, ...],
    store: Store,
    faults: Struck,
    inferences: int,
    rows: EffectRows,
) -> None:
    """Add to ``rows`` what faults in the words of activation_sram touch."""
    element, bit = store.place(faults)
    starts = np.array([p.first_cycle for p in schedule.layers] + [schedule.cycles])
    windows = Windows.cut(faults.start, faults.stop, schedule.cycles, inferences)
    inference = windows.start // schedule.cycles
    start = windows.start - inference * schedule.cycles
    stop = windows.stop - inference * schedule.cycles
    for stored in maps:
        offset = element - stored.first_word * store.per_word
        inside = (offset >= 0) & (offset < stored.size)
        cells = _Elements(network, stored, store.width, faults.which, offset, bit, rows)
        whole = np.flatnonzero(inside[windows.whole])
        written, freed = starts[stored.written], starts[stored.freed]
        part = np.flatnonzero(inside[windows.part] & (start < freed) & (stop > written))
        struck = np.maximum(start[part], written)  # from here on the content is wrong
        for reader, at, has_weights in stored.readers:
            cells.add_stored(windows.whole[whole], reader, windows.samples[whole])
            in_time = struck <= starts[at] if has_weights else struck < starts[at]
            some = part[in_time]
            cells.add_stored(windows.part[some], reader, alone(inference[some]))
            if has_weights:
                rest = ~in_time & (struck < starts[at + 1])
                _add_reads(
                    cells,
                    schedule,
                    schedule.layers[at],
                    windows.part[part[rest]],
                    struck[rest],
                    inference[part[rest]],
                )


def _add_reads(
    cells: _Elements,
    schedule: Schedule,
    plan: LayerPlan,
    some: Ints,
    struck: Ints,
    inference: Ints,
) -> None:
    """The elements as a layer with weights reads them from a cycle in its midst on."""
    which, m, k, group = _uses(cells.network, plan, cells.element[some])
    first = first_input_read(schedule, plan, m, k, group, struck[which])
    channels = plan.n // plan.groups
    met = np.flatnonzero(first < channels)
    which, group, first = which[met], group[met], first[met]
    n = np.stack([group * channels + first, (group + 1) * channels, np.ones_like(first)], axis=1)
    columns = {"layer": plan.index, "samples": alone(inference[which])}
    columns |= {"m": single(m[met]), "k": single(k[met]), "n": n}
    cells.add(some[which], Kind.operand, At.input, columns)


def _uses(network: NetworkGraph, plan: LayerPlan, element: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """(index into ``element``, m, k, group) of all operands that elements of an input are."""
    layer = network[plan.name]
    which = np.arange(len(element))
    if not isinstance(layer, Conv2d):
        m, k = np.divmod(element, plan.k)
        return which, m, k, np.zeros_like(m)
    _, height, width = network.shapes[layer.inputs[0].source]
    _, rows, cols = network.shapes[plan.name]
    _, per_group, kh, kw = layer.weight.shape
    channel, pixel = np.divmod(element, height * width)
    i, j = np.divmod(np.arange(kh * kw), kw)
    row = (pixel // width)[:, None] + layer.padding[0] - i
    col = (pixel % width)[:, None] + layer.padding[2] - j
    out_row, row_rest = np.divmod(row, layer.stride[0])
    out_col, col_rest = np.divmod(col, layer.stride[1])
    used = (row_rest == 0) & (col_rest == 0)
    used &= (out_row >= 0) & (out_row < rows) & (out_col >= 0) & (out_col < cols)
    which, tap = np.nonzero(used)
    m = out_row[which, tap] * cols + out_col[which, tap]
    group, within = np.divmod(channel[which], per_group)
    return which, m, within * kh * kw + tap, group


def _position(network: NetworkGraph, name: str, element: Ints) -> tuple[Ints, Ints]:
    """(m, n) of flat elements of a layer's output."""
    positions, channels = network.grid(name)
    if positions == 1 or network.element(name, 1, 0) == 1:
        n, m = np.divmod(element, positions)
    else:
        m, n = np.divmod(element, channels)
    return m, n


# --------------------------------------------------------------------------------------------- sums


def strike_sums(
    schedule: Schedule, store: Store, faults: Struck, inferences: int, rows: EffectRows
) -> None:
    """Add to ``rows`` what faults in the words of psum_sram touch."""
    element, bit = store.place(faults)
    found = _passing_sums if schedule.held else _resting_sums
    for hits, segment in found(schedule, faults, element, rows.flips(faults.which), inferences):
        columns = {"layer": hits.plan.index, "samples": hits.samples, "segment": segment}
        place = Place(Kind.accumulator, At.total, store.width)
        rows.add_(faults.which[hits.which], place, columns | hits.boxes, bit=bit[hits.which])


def _resting_sums(
    schedule: Schedule, faults: Struck, element: Ints, flips: NDArray[np.bool_], inferences: int
) -> Iterator[tuple[Hits, Ints | int]]:
    """Output stationary: a sum is taken as it is written, so only a stuck cell matters."""
    inside = np.flatnonzero(~flips & (element < schedule.rows.count * schedule.cols.count))
    strike = Strike(schedule, replace(faults.take(inside), instance=element[inside]), inferences)
    windows = strike.windows(strike.row + strike.col + 1)
    for hits in strike.everywhere(windows, "at", "at"):
        yield replace(hits, which=inside[hits.which]), -1
    for plan, pieces in strike.pieces(windows):
        last = plan.stream - 1
        taken = pieces.take(np.flatnonzero((pieces.start <= last) & (pieces.stop > last)))
        hits = strike.in_folds(plan, replace(taken, stop=taken.start + 1), "at", "at").without("k")
        yield replace(hits, which=inside[hits.which]), 0


def _passing_sums(
    schedule: Schedule, faults: Struck, element: Ints, flips: NDArray[np.bool_], inferences: int
) -> Iterator[tuple[Hits, Ints | int]]:
    """A pass's sum, from its writing until the next pass has added to it."""
    position, col = np.divmod(element, schedule.cols.count)
    strike = Strike(schedule, replace(faults, instance=col), inferences)
    timing = schedule.layers[0].timing
    written = timing.first + schedule.rows.count + timing.cycle_of(position) + col
    for hits in strike.everywhere(strike.windows(written), "any", "at"):
        there = ~flips[hits.which] & (position[hits.which] < hits.plan.stream)
        met = hits.take(np.flatnonzero(there))
        yield replace(met, boxes=met.boxes | _streamed(schedule, met.plan, position[met.which])), -1
    for late in (False, True):
        for plan, pieces in strike.pieces(strike.windows(written + late)):
            at = position[pieces.which]
            _, _, row_tile = plan.tiles(pieces.fold)
            struck_at_writing = ~flips[pieces.which] & (pieces.start == 0)
            waiting = row_tile < plan.rows.tiles - 1
            some = np.flatnonzero(waiting if late else struck_at_writing)
            one = replace(pieces, start=at, stop=at + 1).take(some)
            hits = strike.in_folds(plan, one, "any", "at")
            yield hits, hits.row_tile


def _streamed(schedule: Schedule, plan: LayerPlan, position: Ints) -> dict[str, Ints]:
    """One streamed position of every fold."""
    box = single(position)
    if schedule.roles[2] == "n":  # in every group
        box[:, 1:] = plan.n, plan.stream
    return {schedule.roles[2]: box}
