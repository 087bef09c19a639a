"""Which effects a program refuses: all at once as one by one."""

import numpy as np
import pytest

from codesign.effects import PLACES, At, Effects, Kind, Op
from codesign.errors import FaultError
from codesign.formats import NumberFormat
from codesign.guards import Recompute
from codesign.network import Edge, Input, Lif, Linear, NetworkGraph
from codesign.program import MacArithmetic, Program

WIDE = NumberFormat(32)
GOOD = {"kind": "operand", "at": "weight", "layer": 1, "op": "xor", "bits": 8, "mask": 1}


@pytest.fixture
def program() -> Program:
    """Two positions, three terms in segments of two and one, four channels, a neuron for each."""
    network = NetworkGraph(
        "small",
        (
            Input("x", (), shape=(2, 3)),
            Linear("i", (Edge("x"),), np.ones((4, 3), dtype=int), np.zeros(4, dtype=int)),
            Lif("s", (Edge("i"),), threshold=np.array(5)),
        ),
        steps=2,
    )
    return Program(network, {"i": MacArithmetic(WIDE, WIDE, (2, 3))}, guards=(Recompute(2),))


def exists(row: dict[str, int], picks: dict[str, tuple[int, int, int]]) -> bool:
    """Whether a row can exist in the program above, from the words of `codesign.effects`."""
    kind, at = row["kind"], row["at"]
    sizes = {"m": 2, "n": 3 if row["layer"] == 0 else 4, "k": 3}
    if row["layer"] == 0:
        sizes |= {"m": 3, "n": 2}  # a plain [2, 3] tensor: the first axis is the channel
    axes = "mnk" if kind in (Kind.operand, Kind.term) else "mn"
    for axis in axes:
        start, stop, step = picks[axis]
        chosen = list(range(start, sizes[axis] if stop < 0 else stop, step))
        if not chosen or not set(chosen) <= set(range(sizes[axis])):
            return False
    homes = {Kind.activation: (0, 1, 2), Kind.parameter: (1,) if at == At.bias else (2,)}
    homes |= dict.fromkeys((Kind.operand, Kind.term, Kind.accumulator), (1,))
    homes |= dict.fromkeys((Kind.state, Kind.operation, Kind.spike), (2,))
    homes[Kind.alias] = ()
    if row["layer"] not in homes[Kind(kind)] or At(at) not in PLACES[Kind(kind)]:
        return False
    if not corrupts(row):
        return False
    if kind == Kind.accumulator:
        if row["segment"] not in (-1, 0, 1):
            return False
        if at == At.after and not 1 <= row["after"] <= {-1: 0, 0: 2, 1: 1}[row["segment"]]:
            return False
    return row["reader"] in (-1, 0, 1, 2) and row["execution"] in (-1, 0, 1)


def corrupts(row: dict[str, int]) -> bool:
    """Whether the corruption belongs to the kind and its mask to the bits."""
    if row["kind"] == Kind.operation:
        often = row["op"] == Op.always and row["at"] in (At.fire, At.reset)
        return row["op"] == Op.skip or often
    if row["op"] in (Op.xor, Op.stuck):
        return 1 <= row["bits"] <= 48 and 1 <= row["mask"] < 2 ** row["bits"]
    return row["op"] in (Op.replace, Op.add, Op.scale)


def test_every_row_is_judged_as_the_words_say(program: Program) -> None:
    draw = np.random.default_rng(5)
    judged = {True: 0, False: 0}
    for _ in range(3000):
        kind = Kind(int(draw.integers(len(Kind))))
        sensible = draw.random() < 0.9
        at = draw.choice(PLACES[kind]) if sensible and PLACES[kind] else draw.integers(len(At))
        last = [Op.skip, Op.always] if kind is Kind.operation else [Op.xor, Op.stuck, Op.add]
        row = {
            "kind": int(kind),
            "at": int(at),
            "op": int(draw.choice(last) if sensible else draw.integers(len(Op))),
            "layer": int(draw.integers(3)),
            "bits": int(draw.choice([0, 1, 8, 8, 8, 48, 49])),
            "mask": int(draw.choice([0, 1, 1, 1, 128, 256, 1 << 47])),
            "segment": int(draw.integers(-1, 3)),
            "after": int(draw.integers(0, 4)),
            "reader": int(draw.choice([-1, 0, 2, 3], p=[0.7, 0.1, 0.1, 0.1])),
            "execution": int(draw.choice([-1, 0, 1, 2], p=[0.6, 0.15, 0.15, 0.1])),
        }
        spans = [(0, -1, 1), (0, 1, 1), (1, 2, 1), (1, 5, 2), (2, 4, 2), (0, 0, 1), (-1, 2, 1)]
        chances = [0.5, 0.2, 0.1, 0.05, 0.05, 0.05, 0.05]
        picks = {axis: spans[draw.choice(len(spans), p=chances)] for axis in "mkn"}
        effects = Effects.of([{**row, **picks}], trials=1)
        expected = exists(row, picks)
        judged[expected] += 1
        if expected:
            effects.check(program)
        else:
            with pytest.raises(FaultError, match=r"effect 0 \(trial 0\)"):
                effects.check(program)
    assert min(judged.values()) > 300


def test_the_first_bad_row_among_many_good_ones_is_named_by_its_number(program: Program) -> None:
    rows = [GOOD] * 1000
    Effects.of(rows, trials=1).check(program)
    rows[700], rows[800] = {**GOOD, "k": (3, 4, 1)}, {**GOOD, "layer": 9}
    with pytest.raises(FaultError, match=r"effect 700 .*k \(3, 4, 1\) is empty or outside"):
        Effects.of(rows, trials=1).check(program)


def test_a_stop_beyond_the_end_is_fine_where_the_stride_picks_nothing_there(
    program: Program,
) -> None:
    Effects.of([{**GOOD, "n": (1, 5, 2)}], trials=1).check(program)  # 1 and 3 of 0..3
