"""Which faults are drawn: one mix is one kind of bit, uniform over all bits of that kind there are.

Faults are drawn as arrays, never one by one. Fault i is the same however many are drawn, so engines
that cannot afford all of them run the first ones of one and the same list. Drawing is part of what
is timed; `Mix` itself, the list of places, is set-up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.draws import generator, nested_sites
from codesign.effect_rows import DEFAULTS, EFFECT
from codesign.effects import At, Effects, Kind, Op
from codesign.layers import Conv2d, Input, Layer, Lif, Linear, is_mac
from codesign.program import Program

__all__ = ["CNN_MIXES", "MULTI_RATES", "SNN_MIXES", "Mix", "mix_of"]

Ints = NDArray[np.int64]
CNN_MIXES = ("weight", "activation", "accumulator", "transient")
SNN_MIXES = (
    *("weight", "membrane_flip", "membrane_stuck"),
    *("dead", "saturated", "threshold", "input_line"),
)
MULTI_RATES = {f"multi_1e-{i}": 10.0**-i for i in (4, 3, 2, 1)}


@dataclass(frozen=True, eq=False)
class Places:
    """Words of one kind, layer after layer, and their bits numbered through.

    Attributes:
        kind: Of the effects.
        at: Where on the value's way.
        layers: ``[layers]`` index of each layer.
        columns: ``[layers]`` words of one first address; words of weights run (n, k).
        channels_first: ``[layers]`` whether other words run (n, m), or else (m, n).
        bits: ``[layers]`` of a word.
        signed: ``[layers]`` whether it is two's complement.
        ends: ``[layers]`` number of bits up to and with each layer.
    """

    kind: Kind
    at: At
    layers: Ints
    columns: Ints
    channels_first: NDArray[np.bool_]
    bits: Ints
    signed: NDArray[np.bool_]
    ends: Ints

    @property
    def total(self) -> int:
        """How many bits there are."""
        return int(self.ends[-1])

    def rows(self, number: Ints) -> NDArray[np.void]:
        """Effects that flip these bits, one each, all in trial 0."""
        which, word, bit = self._split(number)
        return self._flips(which, word, np.int64(1) << bit)

    def words(self, number: Ints) -> NDArray[np.void]:
        """Effects that flip these bits, which rise, one for each word that has any."""
        which, word, bit = self._split(number)
        new = np.ones(len(number), dtype=bool)
        new[1:] = (np.diff(word) != 0) | (np.diff(which) != 0)
        starts = np.flatnonzero(new)
        masks = np.int64(1) << bit
        merged = np.bitwise_or.reduceat(masks, starts) if len(number) else masks
        return self._flips(which[starts], word[starts], merged)

    def _split(self, number: Ints) -> tuple[Ints, Ints, Ints]:
        """Layer, word and bit of bits by their numbers."""
        which = np.searchsorted(self.ends, number, side="right")
        word, bit = np.divmod(number - (self.ends - self._sizes)[which], self.bits[which])
        return which, word, bit

    def _flips(self, which: Ints, word: Ints, mask: Ints) -> NDArray[np.void]:
        first, second = np.divmod(word, self.columns[which])
        template = np.zeros((), dtype=EFFECT)
        for name, value in DEFAULTS.items():
            template[name] = value
        template["kind"], template["at"], template["op"] = self.kind, self.at, Op.xor
        table = np.full(len(word), template, dtype=EFFECT)
        table["layer"], table["bits"] = self.layers[which], self.bits[which]
        table["signed"], table["mask"] = self.signed[which], mask
        if self.kind == Kind.operand:
            _pick(table, "n", first)
            _pick(table, "k", second)
        else:
            swap = self.channels_first[which]
            _pick(table, "m", np.where(swap, second, first))
            _pick(table, "n", np.where(swap, first, second))
        return table

    @property
    def _sizes(self) -> Ints:
        return np.diff(self.ends, prepend=0)


@dataclass(frozen=True, eq=False)
class Mix:
    """One kind of fault of one network, ready to be drawn.

    Attributes:
        name: As the table has it.
        places: Where.
        inputs: Samples of the campaign.
        steps: Of the network.
        rate: Of each bit, where a trial has many faults; else 0.
        transient: Whether a fault strikes one sample only.
    """

    name: str
    places: tuple[Places, ...]
    inputs: int
    steps: int
    rate: float = 0.0
    transient: bool = False

    def draw(self, first: int, last: int, seed: int, *, packed: bool = False) -> Effects:
        """Faults first to last - 1, one a trial.

        Args:
            first: Of the list that the seed names.
            last: One after the last.
            seed: Names the list.
            packed: Of transients: as many in a trial as there are samples, each in its own.
        """
        if self.rate:
            return self._many(first, last, seed)
        places = self.places[0]
        number = generator(seed, self.name, "bit").integers(places.total, size=last)[first:]
        table = places.rows(number)
        index = np.arange(first, last)
        table["trial"] = index // self.inputs - first // self.inputs if packed else index - first
        if self.transient:
            table["samples"][:, 0] = index % self.inputs
            table["samples"][:, 1] = index % self.inputs + 1
        else:
            self._says(table, first, last, seed)
        table.flags.writeable = False
        return Effects(table, int(table["trial"][-1]) + 1)

    def _says(self, table: NDArray[np.void], first: int, last: int, seed: int) -> None:
        """What beside a place and a bit a mix says of a fault."""
        if self.name == "membrane_flip":
            step = generator(seed, self.name, "step").integers(self.steps, size=last)[first:]
            table["steps"][:, 0], table["steps"][:, 1] = step, step + 1
        elif self.name in ("membrane_stuck", "input_line"):
            level = generator(seed, self.name, "level").integers(2, size=last)[first:]
            table["op"], table["value"] = Op.stuck, table["mask"] * level
        elif self.name in ("dead", "saturated"):
            table["op"] = Op.skip if self.name == "dead" else Op.always
            table["mask"] = table["bits"] = 0

    def _many(self, first: int, last: int, seed: int) -> Effects:
        parts = []
        for trial in range(first, last):
            for i, places in enumerate(self.places):
                key = f"{places.kind.name} {i}"
                sites = nested_sites(seed, trial, key, places.total, self.rate)
                table = places.words(np.sort(sites))
                table["trial"] = trial - first
                parts.append(table)
        table = np.concatenate(parts)
        table.flags.writeable = False
        return Effects(table, last - first)


def mix_of(name: str, program: Program, inputs: int) -> Mix:
    """A mix for a program and so many samples.

    Raises:
        KeyError: No such mix.
    """
    steps = program.network.steps
    weights = _places(program, Kind.operand, At.weight, _weights)
    if name in MULTI_RATES:
        stored = [_places(program, Kind.activation, At.stored, _stored)] if steps == 1 else []
        return Mix(name, (weights, *stored), inputs, steps, MULTI_RATES[name])
    made: dict[str, Callable[[], Places]] = {
        "weight": lambda: weights,
        "activation": lambda: _places(program, Kind.activation, At.stored, _stored),
        "transient": lambda: _places(program, Kind.activation, At.stored, _stored),
        "accumulator": lambda: _places(program, Kind.accumulator, At.total, _sums),
        "membrane_flip": lambda: _places(program, Kind.state, At.cell, _membranes),
        "membrane_stuck": lambda: _places(program, Kind.state, At.cell, _membranes),
        "dead": lambda: _places(program, Kind.operation, At.fire, _neurons),
        "saturated": lambda: _places(program, Kind.operation, At.fire, _neurons),
        "threshold": lambda: _places(program, Kind.parameter, At.threshold, _membranes),
        "input_line": lambda: _places(program, Kind.activation, At.stored, _lines),
    }
    return Mix(name, (made[name](),), inputs, steps, transient=name == "transient")


Word = tuple[int, int, bool]  # words of a layer, bits of each, whether two's complement


def _places(
    program: Program, kind: Kind, at: At, words: Callable[[Program, Layer], Word | None]
) -> Places:
    network = program.network
    found = [(i, x, words(program, x)) for i, x in enumerate(network)]
    there = [(i, x, word) for i, x, word in found if word is not None]
    grids = [network.grid(x.name) for _, x, _ in there]
    by_channel = [
        grid[0] == 1 or network.element(x.name, 1, 0) == 1
        for (_, x, _), grid in zip(there, grids, strict=True)
    ]
    if kind == Kind.operand:
        columns = [network.mac_shape(x.name)[1] for _, x, _ in there]
    else:
        columns = [g[0] if first else g[1] for g, first in zip(grids, by_channel, strict=True)]
    return Places(
        kind,
        at,
        np.array([i for i, _, _ in there]),
        np.array(columns),
        np.array(by_channel),
        np.array([bits for _, _, (_, bits, _) in there]),
        np.array([signed for _, _, (_, _, signed) in there]),
        np.cumsum([count * bits for _, _, (count, bits, _) in there]),
    )


def _weights(program: Program, layer: Layer) -> Word | None:
    if not isinstance(layer, Conv2d | Linear):
        return None
    return layer.weight.size, layer.weight_format.bits, layer.weight_format.signed


def _stored(program: Program, layer: Layer) -> Word | None:
    """Codes that a layer computes; what only moves codes, and logits, are not stored again."""
    rule = getattr(layer, "requantise", None)
    if isinstance(layer, Input):
        signed = layer.format.signed
    elif rule is not None and not isinstance(rule, tuple):
        signed = rule.low < 0
    else:
        return None
    count = int(np.prod(program.network.shapes[layer.name]))
    return count, program.stored_bits(layer.name, "activation"), signed


def _sums(program: Program, layer: Layer) -> Word | None:
    if not is_mac(layer):
        return None
    count = int(np.prod(program.network.shapes[layer.name]))
    return count, program.arithmetic[layer.name].outer.bits, True


def _membranes(program: Program, layer: Layer) -> Word | None:
    if not isinstance(layer, Lif):
        return None
    form = program.membrane(layer.name)
    return int(np.prod(program.network.shapes[layer.name])), form.bits, form.signed


def _neurons(program: Program, layer: Layer) -> Word | None:
    if not isinstance(layer, Lif):
        return None
    return int(np.prod(program.network.shapes[layer.name])), 1, False


def _lines(program: Program, layer: Layer) -> Word | None:
    if not isinstance(layer, Input):
        return None
    return int(np.prod(layer.shape)), layer.format.bits, layer.format.signed


def _pick(table: NDArray[np.void], axis: str, index: Ints) -> None:
    table[axis][:, 0], table[axis][:, 1] = index, index + 1
