"""What a tinyODIN chip and its host do, cycle by cycle: the judge of the family's footprint.

"At cycle c" is what registers hold after the c-th edge. `accelerators.tinyodin.chip` has the update
of a neuron.

The controller waits between scans. There it serves, in this order: a full queue, the host, the
queue. The host raises a request, drops it a cycle after it is acknowledged and goes on one cycle
after the acknowledgement is dropped. For an operation that waits it counts four idle cycles
(controller waiting, queue empty, output not busy). A wait of more than 60,000 cycles ends the run.

Source: RTL of github.com/ChFrenkel/tinyODIN, commit 18656534, and traces of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accelerators.tinyodin.chip import NEVER, QUEUE_CAPACITY, Chip, ChipState, Rules, TimeOutError
from accelerators.tinyodin.words import BitFault, Workload

__all__ = ["CycleModel", "CycleRun", "Rules"]

IDLE_CYCLES = 4  # the host's, before an operation that waits
TIME_OUT_CYCLES = 60_000  # the host's, for one wait


@dataclass(frozen=True, eq=False)
class CycleRun:
    """What a run shows.

    Attributes:
        events: ``[events, 2]`` cycle and address of every spike that left the chip.
        samples: ``[samples, max_neuron + 1]`` 12-bit potentials as stored, unsigned.
        neurons: ``[256]`` neuron words at the end.
        synapses_changed: Addresses of the synapse words that are not as loaded, rising.
        cycles: Number of the last cycle.
        hang_operation: The operation that waited too long, or -1.
    """

    events: NDArray[np.int64]
    samples: NDArray[np.int64]
    neurons: NDArray[np.int64]
    synapses_changed: tuple[int, ...]
    cycles: int
    hang_operation: int = -1

    @property
    def hangs(self) -> bool:
        """Whether the host gave up."""
        return self.hang_operation >= 0


@dataclass(frozen=True, eq=False)
class CycleModel:
    """A workload with everything needed to run it under many faults.

    Attributes:
        workload: What is loaded and done.
        rules: The chip's.
        time_out_cycles: Longest wait of the host.
    """

    workload: Workload
    rules: Rules = Rules()
    time_out_cycles: int = TIME_OUT_CYCLES

    @cached_property
    def golden(self) -> CycleRun:
        """The run without faults."""
        return self._golden[0]

    @cached_property
    def _golden(self) -> tuple[CycleRun, list[ChipState]]:
        """Golden run, and the state at the beginning of each operation."""
        states: list[ChipState] = []
        return _Run(self, (), None).finish(0, states, record=True), states

    def run(self, faults: Sequence[BitFault]) -> CycleRun:
        """The run with these faults all together; in one place a stuck bit wins over a flip."""
        first = min((f.cycle if f.kind == "flip" else 0 for f in faults), default=NEVER)
        golden, states = self._golden
        if first > golden.cycles:
            return golden
        start = max((i for i, s in enumerate(states) if s.since <= first), default=0)
        return _Run(self, faults, states[start] if start else None).finish(start, states)


class _Run:
    """One run of host and chip, from the state in which an operation begins."""

    def __init__(
        self, model: CycleModel, faults: Iterable[BitFault], state: ChipState | None
    ) -> None:
        self.model, self.workload = model, model.workload
        self.chip = Chip(model.workload, model.rules, faults)
        if state is not None:
            self.chip.state = state.copy()

    def finish(self, start: int, golden: list[ChipState], *, record: bool = False) -> CycleRun:
        """Do all operations from one on; ends early where the run has become golden again.

        Args:
            start: The first operation.
            golden: State at the beginning of each operation, to compare with or to be filled.
            record: Fill it.
        """
        for index in range(start, len(self.workload.operations)):
            if record:
                golden.append(self.chip.state.copy())
            elif index < len(golden) and self._is_golden(golden[index]):
                return self._continued(golden[index])
            try:
                self._do(index)
            except TimeOutError:
                return self._result(self.chip.deadline, index)
        return self._result(self.chip.state.since - 1, -1)

    def _is_golden(self, golden: ChipState) -> bool:
        lasting = any(f.kind != "flip" or f.place == "synapse_memory" for f in self.chip.faults)
        return not self.chip.flips and not lasting and self.chip.state.continues_as(golden)

    def _continued(self, here: ChipState) -> CycleRun:
        """The rest is the golden run's."""
        whole = self.model.golden
        events = np.array([*self.chip.state.events, *whole.events[len(here.events) :].tolist()])
        samples = [*self.chip.state.samples, *whole.samples[len(here.samples) :].tolist()]
        shape = whole.samples.shape[1]
        return CycleRun(
            events.astype(np.int64).reshape(-1, 2),
            np.array(samples, dtype=np.int64).reshape(-1, shape),
            whole.neurons,
            (),
            whole.cycles,
            whole.hang_operation,
        )

    def _result(self, end: int, hang: int) -> CycleRun:
        self.chip.allow(NEVER)
        self.chip.strike_before(end + 1)
        before = self.workload.synapses
        changed = np.flatnonzero(before != np.array(self.chip.synapses)).tolist()
        return CycleRun(
            np.array(self.chip.state.events, dtype=np.int64).reshape(-1, 2),
            np.array(self.chip.state.samples, dtype=np.int64).reshape(
                -1, self.workload.max_neuron + 1
            ),
            np.array(self.chip.state.cells, dtype=np.int64),
            tuple(changed),
            end,
            hang,
        )

    # --- the host -------------------------------------------------------------------------------

    def _do(self, index: int) -> None:
        """One operation, and whatever the chip does until the host turns to the next."""
        state = self.chip.state
        address, waits = self.workload.operations[index]
        request = state.since
        self.chip.allow(request + self.model.time_out_cycles)
        if waits:
            while state.queue:
                self.chip.pop()
            request = max(state.cycle, state.busy, state.since) + IDLE_CYCLES
            if request > self.chip.deadline:
                raise TimeOutError
            state.cycle = request
            if address < 0:
                self._sample(request)
                return
            self.chip.allow(request + self.model.time_out_cycles)
        self._serve(request, address)

    def _sample(self, request: int) -> None:
        self.chip.strike_before(request)
        cells = self.chip.state.cells[: self.workload.max_neuron + 1]
        self.chip.state.samples.append([word & 0xFFF for word in cells])
        self.chip.state.since = request

    def _serve(self, request: int, address: int) -> None:
        """From the request to the end of its handshake."""
        state = self.chip.state
        while True:
            cycle = max(state.cycle, state.busy)
            if cycle >= self.chip.deadline:
                raise TimeOutError
            if len(state.queue) == QUEUE_CAPACITY or (cycle <= request and state.queue):
                self.chip.pop()
            elif cycle > request:
                break
            else:
                state.cycle = request + 1
        if address & 0x100:
            alone = address & 0xFF
            addresses = range(self.workload.max_neuron + 1) if alone == 0xFF else (alone,)
            acknowledged = self.chip.update(cycle + 1, addresses) + 1
        else:
            virtual = (address & 0xF0) << 4 | address & 0xF
            state.queue.append(virtual if address & 0x200 else address)
            acknowledged = cycle + 2
        state.cycle = acknowledged + 3
        state.since = acknowledged + 4
