"""Cycles of a loop nest, counted as ZigZag 3.9 counts: computation, stalls, loading, unloading.

The temporal loops take a cycle a turn. A transfer of a period takes as many cycles as its port
needs words; it may take those of its *window*: the whole period if the memory holds two copies of
what it works on (the second is filled meanwhile), else the last turn of the loops that need the
old data no longer. What takes longer stalls the array, in every period but the first; transfers
that share a port share their windows; ports work side by side, so the worst one counts.

The first data of every input are loaded before, and the last outputs unloaded after the loops. A
transfer that happens once only may go on during the loops, as far as its port has room beside its
other transfers and the array can begin with what has come.
(L. Mei et al., DATE 2022, "A uniform latency model for DNN accelerators with diverse architectures
and dataflows"; equal to version 3.9.1 in the tests.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from accelerators.loop_nest.moves import Transfer, Way, transfers
from accelerators.loop_nest.nest import LoopNest, Operand, Port
from codesign.errors import MappingError

__all__ = ["Latency", "latency"]

Loads = dict[tuple[str, int, str], Fraction]  # (operand, level, move): cycles


@dataclass(frozen=True, slots=True)
class Latency:
    """Cycles of one layer.

    Attributes:
        ideal: With every multiplier at work in every cycle.
        loops: Turns of the temporal loops.
        stall: Cycles in which the array waits for a memory.
        load: Before the loops.
        unload: After them.
        drain: In which the last results cross a systolic array.
    """

    ideal: int
    loops: int
    stall: int
    load: Fraction
    unload: Fraction
    drain: int

    @property
    def computation(self) -> int:
        """Loops and stalls: ZigZag's latency 0."""
        return self.loops + self.stall

    @property
    def with_load(self) -> Fraction:
        """And loading: its latency 1."""
        return self.computation + self.load

    @property
    def total(self) -> Fraction:
        """And unloading and draining: its latency 2."""
        return self.with_load + self.unload + self.drain


@dataclass(frozen=True, slots=True)
class _Duty:
    """A transfer on a port: cycles it needs in each period, and cycles it may take."""

    transfer: Transfer
    needed: int
    window: int

    @property
    def stall(self) -> int:
        """Cycles waited for (or, negative, to spare) in the whole layer."""
        return (self.needed - self.window) * (self.transfer.periods - 1)


def latency(nest: LoopNest, multipliers: int) -> Latency:
    """Cycles of a loop nest on an array of so many multipliers.

    Raises:
        MappingError: A memory has no port for what it must move, or the nest has not one or two
            inputs.
    """
    twice = _room_for_two(nest)
    duties: dict[tuple[str, Port], list[_Duty]] = {}  # ports of two memories may be alike
    for transfer in transfers(nest, whole_lanes=True):
        port = nest.port(transfer.memory, transfer.operand, transfer.move)
        needed = -(-transfer.elements * transfer.bits // port.bits)
        window = _window(nest, transfer, twice)
        duties.setdefault((transfer.memory, port), []).append(_Duty(transfer, needed, window))
    stall = max(0, *(_port_stall(of_port) for of_port in duties.values()))
    loads: Loads = {}
    for (_, port), of_port in duties.items():
        loads |= _loads(nest, port, of_port, nest.cycles + stall)
    return Latency(
        *(-(-nest.macs // multipliers), nest.cycles, stall),
        *(_load(nest, loads), _unload(nest, loads)),
        sum(max(lanes - 1, 0) for lanes in nest.drain_lanes),
    )


def _room_for_two(nest: LoopNest) -> dict[tuple[str, int], bool]:
    """By operand and side, whether the level inside it has room for two copies of its data."""
    shares: dict[tuple[str, int], Fraction] = {}
    used: dict[str, Fraction] = {}
    for operand in nest.operands:
        way = Way(operand)
        for at, level in enumerate(operand.levels):
            # What the outermost relevant loops will ask for anew need not stand there twice.
            bits = way.held(at + 1) * operand.bits_below(at + 1) // way.top(at, "alone")
            shares[operand.name, at] = Fraction(bits, nest.memory(level.memory).bits)
            used[level.memory] = used.get(level.memory, Fraction(0)) + shares[operand.name, at]
    found = {(operand.name, 0): False for operand in nest.operands}
    for operand in nest.operands:
        for at, level in enumerate(operand.levels):
            half, share = used[level.memory] <= Fraction(1, 2), shares[operand.name, at]
            found[operand.name, at + 1] = half or share <= 1 - used[level.memory]
            if not half and found[operand.name, at + 1]:
                used[level.memory] += share
    return found


def _window(nest: LoopNest, transfer: Transfer, twice: dict[tuple[str, int], bool]) -> int:
    """Cycles of each period in which a transfer delays nobody."""
    side = transfer.level + (transfer.move in ("read_up", "write_down"))
    if twice[transfer.operand, side] or not side:
        return transfer.period
    return transfer.period // Way(_operand(nest, transfer)).top(side - 1, "never")


def _port_stall(duties: Sequence[_Duty]) -> int:
    """Cycles that the transfers on one port stall together."""
    if len(duties) == 1:
        return duties[0].stall
    behind = sum(max(duty.stall, 0) for duty in duties)
    ahead = sum(min(duty.stall, 0) for duty in duties)
    windows = sum(duty.window * (duty.transfer.periods - 1) for duty in duties)
    return behind + max(0, ahead + windows - _union(duties))


def _union(duties: Sequence[_Duty]) -> int:
    """Cycles of the layer that lie in the window of any transfer."""
    for duty in duties:
        if duty.window == duty.transfer.period:
            return duty.transfer.period * duty.transfer.periods
    longest = max((duty.transfer for duty in duties), key=lambda t: t.period)
    cycle = np.arange(longest.period)
    open_ = np.zeros(len(cycle), dtype=bool)
    for duty in duties:
        open_ |= cycle % duty.transfer.period < duty.window
    return int(open_.sum()) * longest.periods


def _loads(nest: LoopNest, port: Port, duties: Sequence[_Duty], cycles: int) -> Loads:
    """Cycles that a port takes for the first and the last transfer of each kind."""
    duties = [duty for duty in duties if not _is_returned_sum(nest, duty.transfer)]
    found = {_key(duty.transfer): Fraction(duty.needed) for duty in duties}
    once = [duty for duty in duties if duty.transfer.periods == 1]
    taken = sum(_mean_bits(nest, d.transfer) for d in duties if d.transfer.periods > 1)
    spare = max(Fraction(0), Fraction(port.bits - taken, port.bits) * cycles)
    for duty in sorted(once, key=lambda d: -d.needed):
        operand = _operand(nest, duty.transfer)
        first = Way(operand, True).held(1) * operand.bits_below(1)
        least = -(-first // port.bits)
        saved = min(max(Fraction(0), Fraction(duty.needed - least)), spare)
        found[_key(duty.transfer)] -= saved
        spare -= saved
    return found


def _load(nest: LoopNest, loads: Loads) -> Fraction:
    """Cycles until both inputs can be used: ports of their own work side by side."""
    inputs = [operand for operand in nest.operands if not operand.is_output]
    if len(inputs) not in (1, 2):
        raise MappingError(f"the rule counts loading of one or two inputs, here are {len(inputs)}")
    common, own = [], []
    for operand in inputs:
        parts = [Fraction(0), Fraction(0)]
        for at, (lower, upper) in enumerate(zip(operand.levels, operand.levels[1:], strict=False)):
            longest = max(
                loads[operand.name, at, "write_down"], loads[operand.name, at + 1, "read_down"]
            )
            shared = _shared(nest.port(lower.memory, operand.name, "write_down"), inputs)
            shared &= _shared(nest.port(upper.memory, operand.name, "read_down"), inputs)
            parts[not shared] += longest
        common.append(parts[0])
        own.append(parts[1])
    if len(inputs) == 1:
        return own[0] + common[0]
    one = common[0] + max(common[1] + own[1], own[0])
    other = common[1] + max(common[0] + own[0], own[1])
    return min(one, other)


def _unload(nest: LoopNest, loads: Loads) -> Fraction:
    """Cycles of the last outputs, level after level."""
    (output,) = (operand for operand in nest.operands if operand.is_output)
    return sum(
        (
            max(loads[output.name, at, "read_up"], loads[output.name, at + 1, "write_up"])
            for at in range(len(output.levels) - 1)
        ),
        Fraction(0),
    )


def _is_returned_sum(nest: LoopNest, transfer: Transfer) -> bool:
    moves = ("read_down", "write_down")
    return _operand(nest, transfer).is_output and transfer.move in moves


def _mean_bits(nest: LoopNest, transfer: Transfer) -> int:
    """Bits a cycle that a transfer takes from its port."""
    return transfer.elements * transfer.bits // transfer.period


def _shared(port: Port, inputs: Sequence[Operand]) -> bool:
    """Whether a port serves several inputs."""
    return len({name for name, _ in port.serves} & {operand.name for operand in inputs}) > 1


def _operand(nest: LoopNest, transfer: Transfer) -> Operand:
    return next(operand for operand in nest.operands if operand.name == transfer.operand)


def _key(transfer: Transfer) -> tuple[str, int, str]:
    return transfer.operand, transfer.level, transfer.move
