"""Every weight bit flipped: counted once, right, and not lost when it is interrupted.

The oracle is another network: one whose weight has the other bit is run without any fault.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from random_programs import Draw
from sparse_snn_cases import random_chain

from codesign.effects import Effects
from codesign.engine import reference
from codesign.errors import StoreError, StudyError
from codesign.network import Conv2d, Linear, NetworkGraph, is_mac
from codesign.program import Program
from codesign.samples import Samples
from codesign.study import exhaustive
from codesign.study.exhaustive import WeightBits, flip_every_bit
from codesign.study.progress import Progress

torch.set_num_threads(1)


def weighted(program: Program) -> list[Conv2d | Linear]:
    """Layers with weights, in order."""
    return [layer for layer in program.network if isinstance(layer, Conv2d | Linear)]


def conventional() -> tuple[Program, Samples]:
    """A small network of one step, with a convolution and a linear layer; found by trying seeds."""
    draw = Draw(np.random.default_rng(2174))
    network = draw.network()
    macs = [layer.name for layer in network if is_mac(layer)]
    sums = {name: draw.arithmetic(*network.mac_shape(name)[1:]) for name in macs}
    program = Program(network, sums)
    return labelled(program, draw.samples(network, 5))


def golden_of(program: Program, samples: Samples) -> NDArray[np.int64]:
    """``[samples, classes]`` outputs without faults."""
    return reference.evaluate(program, samples, Effects.none(1)).outputs[0]


def labelled(program: Program, samples: Samples) -> tuple[Program, Samples]:
    """The same, labelled as the golden run says but for the first sample."""
    golden = golden_of(program, samples).argmax(axis=1)
    golden[0] = (golden[0] + 1) % max(2, golden.max() + 1)
    return program, replace(samples, labels=golden)


def spiking() -> tuple[Program, Samples]:
    program, samples, _ = random_chain(5, count=4, small=True)
    return labelled(program, samples)


def with_other_bit(program: Program, layer: int, channel: int, term: int, bit: int) -> Program:
    """The program of a network with one bit of one weight changed, by hand."""
    layers = list(program.network.layers)
    weights = weighted(program)
    old = weights[layer]
    width = old.weight_format.bits
    flat = old.weight.reshape(len(old.weight), -1).copy()
    pattern = (int(flat[channel, term]) % 2**width) ^ (1 << bit)
    top = 2 ** (width - 1)
    flat[channel, term] = (
        pattern - 2**width if old.weight_format.signed and pattern >= top else pattern
    )
    layers[layers.index(old)] = replace(old, weight=flat.reshape(old.weight.shape))
    network = program.network
    changed = NetworkGraph(network.name, tuple(layers), network.steps, network.coding)
    return replace(program, network=changed)


@pytest.mark.parametrize("make", [conventional, spiking])
def test_each_bit_does_what_a_network_with_that_other_weight_does(make, tmp_path: Path) -> None:
    program, samples = make()
    truth = flip_every_bit(program, samples, tmp_path, workers=2)
    golden = golden_of(program, samples)
    numbers = [
        (number, channel, term, bit)
        for number, layer in enumerate(weighted(program))
        for channel in range(len(layer.weight))
        for term in range(layer.weight[0].size)
        for bit in range(layer.weight_format.bits)
    ]
    assert len(truth.bits) == len(numbers) > 50
    assert program.network.steps > 1 or {type(x) for x in weighted(program)} == {Conv2d, Linear}
    expected = []
    for place in numbers[::4]:
        got = golden_of(with_other_bit(program, *place), samples)
        same = (got == golden).all(axis=1)
        moved = got.argmax(axis=1) != golden.argmax(axis=1)
        right = got.argmax(axis=1) == samples.labels
        expected.append((same.sum(), (~same & ~moved).sum(), moved.sum(), right.sum()))
    found = np.stack([truth.masked, truth.tolerated, truth.sdc, truth.correct], axis=1)
    np.testing.assert_array_equal(found[::4], expected)
    assert truth.sdc[::4].sum() > 0
    right = len(samples) - 1
    assert truth.golden_correct == right
    assert truth.loss[::4].tolist() == [(right - e[3]) / len(samples) for e in expected]


def test_bits_are_numbered_by_layer_weight_and_bit() -> None:
    program, _ = conventional()
    bits = WeightBits(program)
    widths = [(x.weight.size, x.weight_format.bits) for x in weighted(program)]
    assert len(bits) == sum(size * width for size, width in widths)
    first = widths[0][0] * widths[0][1]
    where, channel, term, bit = (found.tolist() for found in bits.places(np.array([0, 1, first])))
    assert (where, bit) == ([0, 0, 1], [0, 1, 0])
    assert (channel, term) == ([0, 0, 0], [0, 0, 0])
    last = tuple(int(found[0]) for found in bits.places(np.array([len(bits) - 1])))
    shape = weighted(program)[-1].weight.reshape(-1, 1)
    rows = len(weighted(program)[-1].weight)
    assert last == (len(widths) - 1, rows - 1, len(shape) // rows - 1, widths[-1][1] - 1)


class Impatient(Progress):
    """Stops the run after so many chunks."""

    def __init__(self, chunks: int) -> None:
        super().__init__("bits", quiet=True)
        self.chunks = chunks
        self.seen: list[tuple[int, int]] = []

    def start(self, done: int, left: int) -> None:
        self.seen.append((done, left))
        super().start(done, left)

    def advance(self, new: int, left: int) -> None:
        super().advance(new, left)
        self.chunks -= 1
        if self.chunks == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhaustive, "CHUNK", 4)
    program, samples = conventional()
    whole = flip_every_bit(program, samples, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        flip_every_bit(program, samples, tmp_path / "cut", workers=workers, progress=Impatient(3))
    stored = len(list((tmp_path / "cut").glob("*.npz")))
    assert 3 <= stored < -(-len(whole.bits) // 4)
    again = Impatient(10**9)
    resumed = flip_every_bit(program, samples, tmp_path / "cut", progress=again)
    assert again.seen == [(4 * stored, len(whole.bits) - 4 * stored)]
    for name in ("masked", "tolerated", "sdc", "correct"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
    assert (whole.masked + whole.tolerated + whole.sdc == len(samples)).all()


def test_other_samples_are_other_chunks_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    program, samples = conventional()
    flip_every_bit(program, samples, tmp_path)
    files = set(tmp_path.glob("*.npz"))
    flip_every_bit(program, samples.take(2), tmp_path)
    others = set(tmp_path.glob("*.npz")) - files
    assert len(others) == len(files)
    file = files.pop()
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(StoreError, match=file.name):
        flip_every_bit(program, samples, tmp_path)


def test_a_network_without_weights_is_refused(tmp_path: Path) -> None:
    program, samples = conventional()
    bare = Program(NetworkGraph("bare", program.network.layers[:1]), {})
    with pytest.raises(StudyError, match="bare: no layer has weights"):
        flip_every_bit(bare, samples, tmp_path)
