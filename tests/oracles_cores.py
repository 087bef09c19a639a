"""Cores cycle by cycle: every register of every core, for many trials at once.

Written from the description of the datapath in `accelerators.cores.family`, with its own placement
(`oracles_cores_placing`) and its own arithmetic; it shares the fault table and the network with the
code under test, nothing else. Time is a counter; `tick` begins a cycle, which is when faults strike
and hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from oracles_cores_arithmetic import PLAIN, fit, leaked
from oracles_cores_mesh import Mesh
from oracles_cores_placing import Block, Placed, Team, place

from codesign.accelerator import AcceleratorGraph
from codesign.faults import FaultModel, Faults
from codesign.formats import NumberFormat
from codesign.mapping import Placement
from codesign.network import Conv2d, Lif, Linear, NetworkGraph
from codesign.samples import Samples

EVER = 2**60

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass
class Chip:
    """Registers of all cores, ``[trials, cores, …]``, and the faults of each trial."""

    sheet: Any
    placement: Placement
    network: NetworkGraph
    faults: Faults
    store: dict[str, Ints] = field(default_factory=dict)
    hits: dict[str, dict[str, Any]] = field(default_factory=dict)
    fired: dict[str, dict[Any, Ints]] = field(default_factory=dict)
    now: int = -1
    step: int = 0

    def __post_init__(self) -> None:
        sheet, trials = self.sheet, self.faults.trials
        cores = sheet.mesh[0] * sheet.mesh[1]
        shapes = {
            "weights": (cores, sheet.weight_words),
            "weight_register": (cores, sheet.axons, sheet.columns),
            "axon_register": (cores, sheet.axons),
            "current_register": (cores, sheet.columns),
            "membrane": (cores, sheet.columns, sheet.neuron_words),
            "threshold": (cores, sheet.columns, sheet.neuron_words),
            "bias": (cores, sheet.columns, sheet.neuron_words),
        }
        self.store = {k: np.zeros((trials, *s), dtype=np.int64) for k, s in shapes.items()}
        self.forms = {
            "weights": sheet.weight,
            "weight_register": sheet.weight,
            "axon_register": sheet.axon,
            "current_register": sheet.current,
            "membrane": sheet.membrane,
            "threshold": sheet.threshold,
            "bias": sheet.current,
            "spike_line": NumberFormat(1, signed=False),
            "code": sheet.axon,
            "axon": NumberFormat(16, signed=False),
        }
        self.mesh = Mesh(self)
        self.placed, self.resident = place(sheet, self.network, self.placement)
        self.rows = list(self.placement.rows) or list(range(sheet.axons))
        self._write_memories()

    def _write_memories(self) -> None:
        for placed in self.placed:
            layer: Any = self.network[placed.name]
            for team in (t for teams in placed.rounds for t in teams):
                for b in team.blocks:
                    words = slice(b.base, b.base + b.weight.size)
                    self.store["weights"][:, b.core, words] = b.weight.reshape(-1)
                home = team.blocks[0]
                for column, (m, n) in zip(home.columns, home.neurons, strict=True):
                    bias = layer.bias[m, n] if layer.bias.ndim == 2 else layer.bias[n]
                    self.store["bias"][:, home.core, column, team.slot] = bias
                    if placed.lif:
                        lif: Any = self.network[placed.lif]
                        threshold = lif.threshold
                        word = threshold[n] if threshold.ndim else threshold
                        self.store["threshold"][:, home.core, column, team.slot] = word

    # -- faults

    def schedule_faults(self, accelerator: AcceleratorGraph, inference_cycles: int) -> None:
        """Sort the fault table by component, times in cycles from the beginning of the run."""
        table, parts = self.faults.table, accelerator.components()
        first = table["first"][:, 0] * inference_cycles + table["first"][:, 1]
        ends = table["last"][:, 0] * inference_cycles + table["last"][:, 1]
        last = np.where(table["last"][:, 0] < 0, EVER, ends)
        last = np.where(table["model"] == FaultModel.flip, first + 1, last)
        for part in np.unique(table["part"]).tolist():
            mine = table["part"] == part
            unit = parts[part][0] if part >= 0 else accelerator.units[-1 - part]
            name = parts[part][1].name if part >= 0 else f"dead {unit.name}"
            where = np.unravel_index(table["instance"][mine], unit.shape)
            deep = name in self.store and self.store[name].ndim > 1 + len(where)
            words = (table["word"][mine],) if deep else ()
            self.hits[name] = {
                "at": (table["trial"][mine], *where, *words),
                "model": table["model"][mine],
                "bit": table["bit"][mine].astype(np.int64),
                "first": first[mine],
                "last": last[mine],
            }

    def tick(self) -> None:
        """Begin the next cycle: flips strike, stuck bits hold."""
        self.now += 1
        for name, values in self.store.items():
            if name in self.hits:
                self.hold(name, values)

    def hold(self, name: str, values: Ints) -> None:
        """Change what stands in a component at the beginning of this cycle; stuck bits win."""
        hits, form = self.hits[name], self.forms[name]
        now = (hits["first"] <= self.now) & (self.now < hits["last"])
        # The sign bit and all above it are one bit of a value in two's complement.
        top = form.signed & (hits["bit"] == form.bits - 1)
        mask = np.where(top, -(2 ** hits["bit"]), 2 ** hits["bit"])
        for model, change in (
            (FaultModel.flip, np.bitwise_xor),
            (FaultModel.stuck0, np.bitwise_and),
            (FaultModel.stuck1, np.bitwise_or),
        ):
            which = now & (hits["model"] == model)
            operand = ~mask if model == FaultModel.stuck0 else mask
            change.at(values, tuple(axis[which] for axis in hits["at"]), operand[which])

    def broken(self, name: str, model: FaultModel, shape: tuple[int, ...]) -> Bools:
        """``[trials, *shape]`` whether something that is no storage is broken in this cycle."""
        mask = np.zeros((self.faults.trials, *shape), dtype=bool)
        if name in self.hits:
            hits = self.hits[name]
            now = (hits["first"] <= self.now) & (self.now < hits["last"]) & (hits["model"] == model)
            mask[tuple(axis[now] for axis in hits["at"])] = True
        return mask

    def dead(self, unit: str, shape: tuple[int, ...]) -> Bools:
        """Which instances are dead in this cycle."""
        return self.broken(f"dead {unit}", FaultModel.dead, shape)

    # -- running

    def copy(self) -> None:
        """Resident weights go from memories to registers, faults of the memories included."""
        self.now = 0
        if "weights" in self.hits:
            self.hold("weights", self.store["weights"])
        for placed in self.placed:
            for b in (b for teams in placed.rounds for t in teams for b in t.blocks):
                for r in range(len(b.rows)):
                    self.load_row(b, r)
        self.now = -1

    def load_row(self, b: Block, r: int) -> None:
        """One row of weight registers from the memory."""
        address = b.base + r * len(b.columns)
        words = self.store["weights"][:, b.core, address : address + len(b.columns)]
        gone = self.dead("weight_memory", self.store["weights"].shape[1:2])[:, b.core]
        words = np.where(gone[:, None], 0, words)
        self.store["weight_register"][:, b.core, self.rows[r], b.columns] = words

    def infer(self, sample: Ints, timed: bool) -> Ints:
        """One inference: the sum of the last layer's outputs over steps, ``[trials, classes]``."""
        trials = self.faults.trials
        self.tick()
        self.store["membrane"][...] = 0
        self.fired = {p.name: {} for p in self.placed}
        history: list[dict[str, Ints]] = []
        classes = int(np.prod(self.network.shapes[self.network.layers[-1].name]))
        total = np.zeros((trials, classes), dtype=np.int64)
        for t in range(self.network.steps):
            codes = np.asarray(sample[t] if timed else sample, dtype=np.int64)
            self.step = t
            self.now += 1  # input codes travel in the first cycle of a step
            for e in range(codes.size):
                self.mesh.send(self.network.layers[0].name, t, e, self.sheet.host)
            self.now -= 1
            values: dict[str, Ints] = {}
            history.append(values)
            for layer in self.network.layers:
                if not layer.inputs:
                    values[layer.name] = np.broadcast_to(codes, (trials, *codes.shape))
                    continue
                read = [self.source(history, t, e) for e in layer.inputs]
                if isinstance(layer, Conv2d | Linear):
                    placed = next(p for p in self.placed if p.name == layer.name)
                    xs = [read[0].reshape(trials, -1)] * self.mesh.cores
                    if self.mesh.faulty:
                        edge = layer.inputs[0]
                        for core in range(self.mesh.cores):
                            seen = self.mesh.seen(history, t - edge.delay_steps, edge.source, core)
                            xs[core] = seen.reshape(trials, -1)
                    out = self.layer(placed, xs)
                    values[placed.lif or layer.name] = out
                elif not isinstance(layer, Lif):
                    values[layer.name] = PLAIN[type(layer)](layer, read)
            last = self.network.layers[-1]
            out = values[last.name]
            if self.mesh.faulty and not isinstance(last, Conv2d | Linear):
                out = self.mesh.seen(history, t, last.name, self.sheet.host)
            total = total + out.reshape(trials, -1)
        return total

    def source(self, history: list[dict[str, Ints]], t: int, edge: Any) -> Any:
        """What a layer reads; a current goes straight into its neurons and is read by nobody."""
        if t < edge.delay_steps:
            return np.zeros((self.faults.trials, *self.network.shapes[edge.source]), dtype=np.int64)
        return history[t - edge.delay_steps].get(edge.source)

    def layer(self, placed: Placed, xs: list[Ints]) -> Ints:
        """A layer in one step: its spikes, or its currents if it is the readout."""
        trials = self.faults.trials
        shape = self.network.shapes[placed.name]
        result = np.zeros((trials, *shape), dtype=np.int64)
        linear = isinstance(self.network[placed.name], Linear)
        for teams in placed.rounds:
            if self.resident:
                self.deliver(
                    [(b, t if b is t.blocks[0] else None) for t in teams for b in t.blocks],
                    xs,
                    True,
                )
                self.integrate([b for t in teams for b in t.blocks])
                self.gather(teams)
            else:
                for s in range(len(teams[0].blocks)):
                    blocks = [t.blocks[s] for t in teams]
                    for r in range(max(len(b.rows) for b in blocks)):
                        self.tick()
                        for b in blocks:
                            if r < len(b.rows):
                                self.load_row(b, r)
                    self.deliver([(b, t) for b, t in zip(blocks, teams, strict=True)], xs, s == 0)
                    self.integrate(blocks)
            sent = self.neurons(placed, teams)
            for team, out in zip(teams, sent, strict=True):
                for c, (m, n) in enumerate(team.blocks[0].neurons):
                    if linear:
                        result.reshape(trials, -1)[:, m * shape[-1] + n] = out[:, c]
                    else:
                        result.reshape(trials, shape[0], -1)[:, n, m] = out[:, c]
        return result

    def deliver(self, blocks: list[tuple[Block, Team | None]], xs: list[Ints], fresh: bool) -> None:
        """Inputs to axon registers, and if the sums are new the bias (at home) or 0 under them."""
        self.tick()
        for b, team in blocks:
            x = xs[b.core]
            came = self.mesh.received(b.core, {self.rows[r]: x[:, e] for r, e in enumerate(b.rows)})
            for row, codes in came.items():
                self.store["axon_register"][:, b.core, row] = codes
            if fresh:
                bias = np.zeros((self.faults.trials, len(b.columns)), dtype=np.int64)
                if team is not None:
                    bias = self.store["bias"][:, b.core, b.columns, team.slot]
                self.store["current_register"][:, b.core, b.columns] = bias

    def integrate(self, blocks: list[Block]) -> None:
        """Row after row onto the columns."""
        shape = self.store["weight_register"].shape[1:]
        for r in range(max(len(b.rows) for b in blocks)):
            self.tick()
            gone, cut = self.dead("crossbar", shape), self.dead("axon_in", shape[:2])
            for b in blocks:
                if r >= len(b.rows):
                    continue
                row = self.rows[r]
                weight = self.store["weight_register"][:, b.core, row, b.columns]
                weight = np.where(gone[:, b.core, row, b.columns], 0, weight)
                code = np.where(cut[:, b.core, row], 0, self.store["axon_register"][:, b.core, row])
                current = self.store["current_register"][:, b.core, b.columns]
                added = fit(self.sheet.current, current + weight * code[:, None])
                kept = np.where(b.joined[r], added, current)
                self.store["current_register"][:, b.core, b.columns] = kept

    def gather(self, teams: list[Team]) -> None:
        """Further segments, column after column, onto the home's sums."""
        for s in range(1, len(teams[0].blocks)):
            for c in range(max(len(t.blocks[0].columns) for t in teams)):
                self.tick()
                gone = self.silent()
                for team in teams:
                    home, other = team.blocks[0], team.blocks[s]
                    if c < len(home.columns):
                        registers = self.store["current_register"]
                        part = registers[:, other.core, other.columns[c]]
                        part = np.where(gone[:, other.core, other.columns[c]], 0, part)
                        if self.mesh.faulty:
                            part = np.where(self.mesh.gone(other.core, home.core), 0, part)
                        total = registers[:, home.core, home.columns[c]] + part
                        registers[:, home.core, home.columns[c]] = fit(self.sheet.current, total)

    def silent(self) -> Bools:
        """``[trials, cores, columns]`` which columns send zeros in this cycle."""
        shape = self.store["current_register"].shape[1:]
        return self.dead("neuron", shape) | self.dead("core", shape[:1])[:, :, None]

    def neurons(self, placed: Placed, teams: list[Team]) -> list[Ints]:
        """The operations, then what leaves."""
        lif: Any = self.network[placed.lif] if placed.lif else None
        homes = [(t.blocks[0].core, t.blocks[0].columns, t.slot) for t in teams]
        shape = self.store["current_register"].shape[1:]
        working: list[dict[str, Ints]] = []
        for i, operation in enumerate(lif.order if lif else ()):
            self.tick()
            skipped = self.broken(operation, FaultModel.skip, shape)
            forced = self.broken(operation, FaultModel.always, shape)
            for t, (core, columns, slot) in enumerate(homes):
                if i == 0:
                    f = self.fired[placed.name].get(t if self.resident else (core, slot), 0)
                    working.append(
                        {
                            "v": self.store["membrane"][:, core, columns, slot].copy(),
                            "threshold": self.store["threshold"][:, core, columns, slot].copy(),
                            "f": f + np.zeros((self.faults.trials, len(columns)), dtype=np.int64),
                        }
                    )
                here = (slice(None), core, columns)
                current = self.store["current_register"][here]
                self.operate(lif, operation, working[t], current, skipped[here], forced[here])
                if i == 3:
                    self.store["membrane"][:, core, columns, slot] = working[t]["v"]
                    self.fired[placed.name][t if self.resident else (core, slot)] = working[t]["f"]
        self.tick()
        gone = self.silent()
        sent = []
        for t, (core, columns, _) in enumerate(homes):
            out = working[t]["f"] if lif else self.store["current_register"][:, core, columns]
            if lif and "spike_line" in self.hits:
                wires = np.zeros((self.faults.trials, *shape), dtype=np.int64)
                wires[:, core, columns] = out
                self.hold("spike_line", wires)
                out = wires[:, core, columns]
            sent.append(np.where(gone[:, core, columns], 0, out))
            if lif:
                for m, n in teams[t].blocks[0].neurons:
                    element = self.network.element(lif.name, m, n)
                    self.mesh.send(lif.name, self.step, element, core)
            elif self.mesh.faulty:
                sent[-1] = np.where(self.mesh.gone(core, self.sheet.host)[:, None], 0, sent[-1])
        return sent

    def operate(
        self,
        lif: Lif,
        operation: str,
        neuron: dict[str, Ints],
        current: Ints,
        skipped: Bools,
        forced: Bools,
    ) -> None:
        """One operation of the neurons of one team."""
        v, threshold, form = neuron["v"], neuron["threshold"], self.sheet.membrane
        if operation == "leak":
            neuron["v"] = np.where(skipped, v, fit(form, leaked(lif.leak, v)))
        elif operation == "integrate":
            neuron["v"] = np.where(skipped, v, fit(form, v + current))
        elif operation == "fire":
            fires = v > threshold if lif.strict else v >= threshold
            neuron["f"] = np.where(skipped, 0, np.where(forced, 1, fires)).astype(np.int64)
        else:
            due = ((neuron["f"] == 1) | forced) & ~skipped
            after = {"zero": 0 * v, "none": v, "subtract": fit(form, v - threshold)}[lif.reset]
            neuron["v"] = np.where(due, after, v)


def simulate(
    sheet: Any,
    network: NetworkGraph,
    samples: Samples,
    faults: Faults,
    placement: Placement | None = None,
) -> tuple[Ints, int]:
    """``[trials, samples, classes]`` outputs, and the cycles of one inference."""
    idle = Faults(faults.table[:0], 1)
    probe = Chip(sheet, placement or Placement(), network, idle)
    probe.infer(samples.inputs[0], samples.timed)
    cycles = probe.now + 1
    chip = Chip(sheet, placement or Placement(), network, faults)
    chip.schedule_faults(sheet.build(), cycles)
    if chip.resident:
        chip.copy()
    outputs = [chip.infer(sample, samples.timed) for sample in samples.inputs]
    return np.stack(outputs, axis=1), cycles
