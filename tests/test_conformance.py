"""The shipped families conform, and the suite bites on planted mistakes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import conformance
import numpy as np
import pytest
import torch
from broken_families import MISTAKES, Broken
from conformance import CHECKS, ConformanceError, Subject
from cores_cases import WIDE, dense, pooled
from systolic_cases import small_chip, tiny

from accelerators import TinyOdin
from codesign.formats import NumberFormat, Requantise
from codesign.mapping import Family
from codesign.network import Conv2d, Edge, Flatten, Input, Lif, Linear, NetworkGraph
from codesign.samples import InputCoding

torch.set_num_threads(1)

ROOMY = replace(
    WIDE,
    current=NumberFormat(24),
    membrane=NumberFormat(24),
    threshold=NumberFormat(24),
    columns=8,
    weight_words=512,
)


def signed_codes() -> NetworkGraph:
    """Signed inputs and codes of seven bits, as the mesh of Gemmini takes them."""
    rng = np.random.default_rng(2)
    small = Requantise(200, 14, 0, 127)
    layers = (
        Input("x", (), shape=(1, 3, 3), format=NumberFormat(8)),
        Conv2d(
            "c",
            (Edge("x"),),
            weight=rng.integers(-100, 100, (3, 1, 2, 2)),
            bias=rng.integers(-99, 99, 3),
            requantise=small,
        ),
        Flatten("f", (Edge("c"),)),
        Linear("l", (Edge("f"),), rng.integers(-99, 99, (2, 12)), np.array([5, -5])),
    )
    return NetworkGraph("signed", layers)


def few(family: Family, network: NetworkGraph) -> Subject:
    """A subject of which a few sites and cycles are tried."""
    return Subject(family, network, sites=8, cycles=10)


SUBJECTS = {
    "weight stationary": Subject(small_chip(), tiny(), sites=12),
    "output stationary": few(small_chip(dataflow="output_stationary"), tiny()),
    "input stationary": few(small_chip(dataflow="input_stationary"), tiny()),
    "gemmini": few(small_chip(rows=2, datapath="gemmini"), signed_codes()),
    "cores": Subject(ROOMY, dense(), sites=12),
    "cores with convolution": few(ROOMY, pooled()),
}
assert SUBJECTS


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_shipped_family_conforms(name, check):
    check(SUBJECTS[name])


# An event-serial program has no layers, hence no place for what compares layer by layer.
ANY_PROGRAM = (
    conformance.check_every_site_has_a_name,
    conformance.check_the_family_is_data,
    conformance.check_assignments_cover_the_work,
    conformance.check_books_add_up,
    conformance.check_exposures_are_cycles,
)


def events() -> NetworkGraph:
    """Spikes into two neurons of tinyODIN."""
    spike = NumberFormat(1, signed=False)
    layers = (
        Input("x", (), (2,), spike),
        Linear("y", (Edge("x"),), np.array([[3, 0], [0, 3]]), np.zeros(2, int), NumberFormat(4)),
        Lif("s", (Edge("y"),), threshold=np.array([3, 4]), reset="zero", strict=False),
    )
    return NetworkGraph("two", layers, 2, InputCoding("rate", spike, steps=2))


@pytest.mark.parametrize("check", ANY_PROGRAM, ids=lambda check: check.__name__)
def test_an_event_serial_family_conforms_as_far_as_it_can_be_asked(check):
    check(few(TinyOdin(name="chip"), events()))


# Mistake, the check that finds it, what it says.
FOUND = [
    ("stolen graph", "check_every_site_has_a_name", "does not carry the family"),
    ("other bias", "check_golden_is_the_plain_arithmetic", "golden outputs"),
    ("narrow sums", "check_golden_is_the_plain_arithmetic", "can overflow on this chip"),
    ("a tile is missing", "check_assignments_cover_the_work", "products are on no unit"),
    ("outside of the array", "check_assignments_cover_the_work", "of a unit of shape"),
    ("dead instances crash", "check_every_fault_is_answered", r"KeyError\(.*is no FaultError"),
    ("a channel too many", "check_every_fault_is_answered", "an effect outside the program"),
    ("more faults than drawn", "check_books_add_up", r"\d+ faults counted, \d+ drawn"),
    ("nothing is idle", "check_books_add_up", "has none, idle = "),
    (
        "first layer only",
        "check_permanent_faults_cover_transients",
        r"touches \d elements of l that",
    ),
    ("two are none", "check_idle_faults_are_masked", "is idle and changes what"),
    ("loads after the end", "check_exposures_are_cycles", r"\.\.1000000, cycles 0\.\."),
    ("a negative count", "check_costs_add_up", r"count -1\.0"),
    ("no number, but a grade", "check_costs_add_up", "has no energy and grade published"),
    ("too few cycles", "check_costs_add_up", "1 cycles, the last assignment later"),
    ("by chance", "check_answers_are_the_same_twice", "two footprints of the same faults differ"),
    ("by trial", "check_answers_are_the_same_twice", "other effects alone than beside other"),
]


@cache
def broken(mistake: str) -> Subject:
    """An array with a planted mistake."""
    return Subject(Broken(small_chip(), mistake), tiny(), sites=8, cycles=8)


@pytest.mark.parametrize(("mistake", "check", "message"), FOUND)
def test_a_planted_mistake_is_found_and_named(mistake, check, message):
    with pytest.raises(ConformanceError, match=message):
        getattr(conformance, check)(broken(mistake))


def test_every_planted_mistake_is_in_the_list():
    assert {mistake for mistake, *_ in FOUND} | {"none"} == set(MISTAKES)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_without_a_mistake_the_same_array_conforms(check):
    check(broken("none"))
