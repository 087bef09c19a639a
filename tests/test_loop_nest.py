"""Loop nests: words, energy and cycles by hand, and as ZigZag 3.9.1 counted them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from loop_nest_cases import (
    LATENCIES,
    RECORDED,
    Case,
    carried_cases,
    levels_as_printed,
    recorded_cases,
)

from accelerators.loop_nest.fill import Stored, fill
from accelerators.loop_nest.latency import latency
from accelerators.loop_nest.moves import accesses, energy_pj, transfers
from accelerators.loop_nest.nest import Axis, Level, Loop, LoopNest, NestMemory, Operand, Port
from codesign.errors import CapacityError, MappingError

CARRIED = carried_cases()
assert len(CARRIED) == 9


def small_nest() -> LoopNest:
    """4 positions × 2 channels of 3 terms: a channel a lane, terms innermost, then positions.

    Weights wait in a buffer (48 bits: all six), sums in a register of each lane, inputs come from
    outside, to where outputs go; everything goes through 16 bits a cycle.
    """
    terms, positions, lanes = Loop("C", 3), Loop("M", 4), Loop("K", 2)
    register = NestMemory(
        "register",
        16,
        1.0,
        2.0,
        (
            Port(16, 8, (("O", "read_down"), ("O", "read_up"))),
            Port(16, 8, (("O", "write_up"), ("O", "write_down"))),
        ),
    )
    buffer = NestMemory(
        "buffer", 48, 10.0, 20.0, (Port(16, 8, (("W", "read_down"), ("W", "write_down"))),)
    )
    bus = Port(16, 8, (("W", "read_down"), ("I", "read_down"), ("O", "write_up")))
    outside = NestMemory("outside", 10**6, 100.0, 200.0, (bus,))

    def axes(*dims: str) -> tuple[Axis, ...]:
        return tuple(Axis(((dim, 1),)) for dim in dims)

    weights = (Level("buffer", (terms, positions), (lanes,)), Level("outside"))
    inputs = (Level("outside", (terms, positions), (lanes,)),)
    sums = (Level("register", (terms,)), Level("outside", (positions,), (lanes,)))
    return LoopNest(
        (
            Operand("W", axes("K", "C"), 8, weights),
            Operand("I", axes("M", "C"), 8, inputs),
            Operand("O", axes("M", "K"), 16, sums, final_bits=8),
        ),
        (register, buffer, outside),
        mac_pj=0.5,
        drain_lanes=(2,),
    )


def test_words_of_a_small_nest_are_those_a_head_counts():
    words = {(a.operand, a.memory, a.move): a.words for a in accesses(small_nest())}
    assert words == {
        ("W", "buffer", "read_down"): 12,  # two weights, a word, in each of 12 cycles
        ("W", "buffer", "write_down"): 3,  # six weights, once: positions do not change them
        ("W", "outside", "read_down"): 3,
        ("I", "outside", "read_down"): 6,  # an input, half a word, for both lanes
        ("O", "register", "read_down"): 24,  # each of two sums, in each cycle
        ("O", "register", "write_up"): 24,
        ("O", "register", "read_up"): 4,  # eight finished outputs, half a word each
        ("O", "outside", "write_up"): 4,  # two of them at a time
    }


def test_energy_of_a_small_nest_is_words_times_prices_and_products():
    by_hand = 12 * 10 + 3 * 20 + (3 + 6) * 100 + 4 * 200 + (24 + 4) * 1 + 24 * 2
    assert energy_pj(small_nest()) == by_hand + 24 * 0.5


def test_cycles_of_a_small_nest_are_those_a_head_counts():
    found = latency(small_nest(), multipliers=4)
    assert found.ideal == 6  # 24 products on four multipliers, of which the loops use two
    assert found.loops == 12
    # After the first of each, eleven inputs and three pairs of outputs share twelve cycles.
    assert found.stall == 11 + 3 - 12
    assert found.load == 3  # words of weights
    assert found.unload == 1
    assert found.drain == 1
    assert [found.computation, found.with_load, found.total] == [14, 17, 19]


def test_an_axis_of_two_dimensions_has_as_many_elements_as_there_are_different_indices():
    shapes = list(itertools.product(range(1, 9), range(1, 6), range(1, 5), range(1, 4)))
    assert shapes
    for a, b, a_stride, b_stride in shapes:
        seen = {a_stride * i + b_stride * j for i in range(a) for j in range(b)}
        axis = Axis((("OX", a_stride), ("FX", b_stride)))
        assert axis.length({"OX": a, "FX": b}) == len(seen), (a, b, a_stride, b_stride)
    padded = Axis((("OX", 1), ("FX", 1)), extent=8)
    assert padded.length({"OX": 8, "FX": 3}) == 8


@pytest.mark.parametrize("case", CARRIED, ids=lambda case: case.name)
def test_words_energy_and_cycles_equal_the_carried_sample_of_zigzag(case):
    check(case)


@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"{RECORDED} is not beside the checkout")
def test_words_energy_and_cycles_equal_all_recorded_runs_of_zigzag():
    cases = recorded_cases()
    assert len(cases) == 24
    for case in cases:
        check(case)
        assert levels_as_printed(case.nest) == case.said["temporal_mapping"], case.name


def check(case: Case) -> None:
    """Assert that every recorded figure of a case is ours."""
    nest, said = case.nest, case.said
    words = {(a.operand, a.level, a.move): a.words for a in accesses(nest)}
    assert {key: count for key, count in words.items() if count} == case.words, case.name
    assert energy_pj(nest) == pytest.approx(said["energy_total"], rel=1e-12)
    assert nest.macs == said["total_mac_count"]
    found = latency(nest, case.multipliers)
    totals = (found.computation, found.with_load, found.total)
    assert [float(x) for x in totals] == pytest.approx([said[k] for k in LATENCIES], rel=1e-12)
    assert float(found.load) == pytest.approx(said["data_onloading_cycle"], rel=1e-12)
    assert float(found.unload) == pytest.approx(said["data_offloading_cycle"], rel=1e-12)
    assert (found.ideal, found.drain) == (said["ideal_cycle"], said["systolic_drain_cycle"])


def test_the_sample_has_cases_with_stalls_shared_memories_and_partial_lanes():
    stalls = [latency(case.nest, case.multipliers).stall for case in CARRIED]
    assert 0 in stalls
    assert max(stalls) > 0
    levels = [level for case in CARRIED for o in case.nest.operands for level in o.levels]
    assert any(loop.size % 1 for level in levels for loop in level.below)
    inner = [
        {level.memory for level in operand.levels[:-1]}
        for case in CARRIED
        for operand in case.nest.operands
        if not operand.is_output
    ]
    assert any(a & b for a, b in zip(inner[::2], inner[1::2], strict=True))


def test_moving_a_loop_inwards_never_makes_more_words_outside():
    # Positions inside terms: the six weights are the same, sums are taken up and down.
    nest = small_nest()
    terms, positions, lanes = Loop("C", 3), Loop("M", 4), Loop("K", 2)
    sums = (Level("register"), Level("outside", (positions, terms), (lanes,)))
    outer = replace(nest.operands[2], levels=sums)
    order = (positions, terms)
    weights = replace(nest.operands[0], levels=(Level("buffer", order, (lanes,)), Level("outside")))
    inputs = replace(nest.operands[1], levels=(Level("outside", order, (lanes,)),))
    bus = Port(16, 8, (*nest.memories[2].ports[0].serves, ("O", "read_down")))
    memories = (*nest.memories[:2], replace(nest.memories[2], ports=(bus,)))
    other = LoopNest((weights, inputs, outer), memories, 0.5)
    words = {(a.operand, a.memory, a.move): a.words for a in accesses(other)}
    assert words["O", "outside", "write_up"] == 24  # two 16-bit sums in each of 12 cycles
    assert words["O", "outside", "read_down"] == 24
    assert words["O", "register", "write_down"] == 24
    # A weight stays at its lane while the positions run.
    assert words["W", "buffer", "read_down"] == 3


def test_loops_are_kept_where_their_data_fit():
    lane, big, small = (Loop("K", 2),), memory("outside", 10**6), memory("buffer", 48)
    stored = Stored("W", (Axis((("K", 1),)), Axis((("C", 1),))), 8, (small, big), (lane, ()))
    order = (Loop("M", 4), Loop("C", 3), Loop("M", 5), Loop("C", 2))
    levels = fill(stored, order).levels
    assert [level.temporal for level in levels] == [order[:3], order[3:]]


def test_an_unfinished_sum_is_stored_at_its_full_width():
    axes = (Axis((("K", 1),)),)
    big = memory("outside", 10**6)
    order = (Loop("K", 4), Loop("C", 3))
    for bits, kept in ((64, 2), (63, 0)):
        stored = Stored("O", axes, 16, (memory("buffer", bits), big), ((), ()), final_bits=8)
        assert len(fill(stored, order).levels[0].temporal) == kept


def test_what_the_lanes_alone_need_must_fit():
    stored = Stored(
        "W",
        (Axis((("K", 1),)),),
        8,
        (memory("buffer", 8), memory("big", 99)),
        ((Loop("K", 2),), ()),
    )
    with pytest.raises(CapacityError, match=r"buffer: W needs 16 bits there, it has 8; a larger"):
        fill(stored, ())


def test_nests_that_make_no_sense_are_refused_by_name():
    nest = small_nest()
    with pytest.raises(MappingError, match="a loop nest has exactly one output"):
        replace(nest, operands=nest.operands[:2])
    lost = replace(nest.operands[0], levels=(Level("bufer", (), ()), Level("outside")))
    with pytest.raises(MappingError, match=r"W: no memory 'bufer'.*buffer"):
        replace(nest, operands=(lost, *nest.operands[1:]))
    short = replace(nest.operands[1], levels=(Level("outside", (), (Loop("K", 2),)),))
    with pytest.raises(MappingError, match=r"the temporal loops of I and W differ"):
        replace(nest, operands=(nest.operands[0], short, nest.operands[2]))
    alone = replace(nest.operands[1], levels=(Level("outside", (Loop("C", 3), Loop("M", 4))),))
    with pytest.raises(MappingError, match=r"the spatial loops of I and W differ"):
        replace(nest, operands=(nest.operands[0], alone, nest.operands[2]))
    deaf = replace(nest.memories[2], ports=())
    with pytest.raises(MappingError, match=r"outside: no port serves read_down of W"):
        accesses(replace(nest, memories=(*nest.memories[:2], deaf)))
    with pytest.raises(MappingError, match=r"one or two inputs, here are 0"):
        latency(replace(nest, operands=nest.operands[2:]), 4)
    with pytest.raises(MappingError, match="an axis has one or two dimensions"):
        Axis((("A", 0),))


def test_every_transfer_happens_a_whole_number_of_times():
    found = [t for case in CARRIED for t in transfers(case.nest)]
    assert len(found) > 50
    for case in CARRIED:
        for t in transfers(case.nest):
            assert t.period * t.periods == case.nest.cycles


def memory(name: str, bits: int) -> NestMemory:
    """A memory without ports."""
    return NestMemory(name, bits, 1.0, 1.0, ())
