"""Datasheets of chips: their checks hold, their sources are named, docs/chips.md says so."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_nest_cases import carried_cases
from systolic_cases import conv
from test_cores_cost import chain
from test_cores_events import CASES
from test_loop_nest import CARRIED
from test_systolic_cost import RUNS

from accelerators import Cores, Systolic
from accelerators.checks import Check, computed
from codesign.errors import CapacityError, StudyError
from codesign.faults import Fault, FaultModel, Faults, FaultSite
from codesign.mapping import Activity, Family, Placement
from codesign.network import Input, NetworkGraph
from codesign.quantities import Quantity
from codesign.shipped import configs
from codesign.study.loading import datasheet
from codesign.study.spec import AcceleratorSpec

DOC = (Path(__file__).parents[1] / "docs" / "chips.md").read_text()
README = (Path(__file__).parents[1] / "README.md").read_text()
NAMES = [entry.name for entry in configs("accelerators")]


def sheet(name: str) -> Any:
    family: Family = datasheet(AcceleratorSpec(datasheet=name), Path())
    return family


def checks(name: str) -> tuple[Check, ...]:
    found: tuple[Check, ...] = getattr(sheet(name), "check", ())
    return found


CHECKS = [(name, check) for name in NAMES for check in checks(name)]
assert len(CHECKS) == 7


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=lambda value: getattr(value, "what", value))
def test_a_datasheet_gives_the_published_figures_that_it_carries(name, check):
    assert computed(sheet(name), check) == pytest.approx(check.expected, rel=check.within)


def test_a_check_fails_when_any_part_of_the_power_is_left_out():
    odin = sheet("odin")
    check = odin.check[0]
    for without in ("static_power", "cycle_energy"):
        found = computed(replace(odin, **{without: {}}), check)
        assert found != pytest.approx(check.expected, rel=check.within)
    idle = replace(check, events={})
    assert computed(odin, idle) == pytest.approx(0.0273 + 0.00178 * 75)
    # The whole chip's average for an operation is no price of one.
    assert 1e9 * computed(odin, check) / 37.5e6 == pytest.approx(12.7, abs=0.05)


def test_a_check_that_cannot_be_computed_is_refused_by_name():
    odin = sheet("odin")
    check = replace(odin.check[0], events={"weight_register.reed": 1.0})
    with pytest.raises(
        StudyError, match=r"needs energy\.weight_register\.reed, which is absent.*rea"
    ):
        computed(odin, check)
    with pytest.raises(StudyError, match=r"check 'a': expected a power or an energy, one of them"):
        Check("a", {})
    with pytest.raises(StudyError, match="one of them"):
        Check("a", {}, power=check.power, energy=Quantity(1.0, "mJ", "x", "assumed"))


@pytest.mark.parametrize("name", NAMES)
def test_every_number_names_a_source_of_its_file_and_what_is_recalled_is_assumed(name):
    found = sheet(name)
    used = list(quantities(found))
    assert {q.source for q in used} <= set(found.sources)
    for quantity in used:
        if re.search(r"\b(memory|recalled)\b", found.sources[quantity.source].split(";")[0]):
            assert quantity.grade == "assumed", quantity


def quantities(part: Any) -> list[Quantity]:
    """All numbers with a source in a datasheet."""
    if isinstance(part, Quantity):
        return [part]
    if isinstance(part, dict):
        return [q for value in part.values() for q in quantities(value)]
    if isinstance(part, tuple):
        return [q for value in part for q in quantities(value)]
    if is_dataclass(part):
        return [q for f in fields(part) for q in quantities(getattr(part, f.name))]
    return []


# What they can hold


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("odin", (256, 200)), ("truenorth", (256, 200, 10)), ("loihi1", (784, 10))],
)
def test_a_borrowed_family_prices_events_and_derives_no_time(name, sizes):
    chip = sheet(name)
    assert isinstance(chip, Cores)
    assert chip.counting == "sana_fe"
    mapping = chip.map(chain(sizes, 4), Placement())
    known = Activity(spikes={"x": 10.0, "s1": 5.0, "s2": 2.0})
    cost = mapping.cost(known, ())
    events = 10 * sizes[1] + (5 * sizes[2] if len(sizes) > 2 else 0)
    price = chip.energy["weight_register.read"].value
    synapses = [r for r in cost.rows if (r.component, r.action) == ("weight_register", "read")]
    assert sum(r.count for r in synapses) == events
    assert sum(r.energy_pj or 0 for r in synapses) == pytest.approx(events * price)
    assert cost.latency_us is None
    assert "time" in cost.missing
    assert not [r for r in cost.rows if r.action in ("static", "clock")]


def test_weights_that_truenorth_cannot_hold_are_refused():
    with pytest.raises(Exception, match="1 bit"):
        sheet("truenorth").map(chain((8, 4), 2, code=-1), Placement())


def test_a_fault_in_one_of_268_million_crosspoints_touches_one_weight():
    mapping = sheet("truenorth").map(chain((256, 200, 10), 4), Placement())
    site = FaultSite.parse("crossbar[0,3,5].weight_register:0")
    faults = Faults.of([[Fault(site, FaultModel.stuck0)]], mapping.accelerator)
    assert len(mapping.footprint(faults, 1).effects) == 1


def test_the_tpu_has_the_peak_that_is_published_and_the_memory():
    tpu = sheet("tpu_v1")
    assert isinstance(tpu, Systolic)
    assert tpu.rows * tpu.cols == 65536
    tops = 2 * tpu.rows * tpu.cols * tpu.clock.value / 1e6
    assert tops == pytest.approx(92, rel=0.01)
    assert f"{tops:.1f} TOPS" in DOC
    assert tpu.activation_sram.bytes + tpu.psum_sram.bytes == 28 * 2**20
    network = NetworkGraph("one", (Input("x", (), shape=(64, 14, 14)), conv("c", "x", 64, 256, 3)))
    cost = tpu.map(network, Placement()).cost(Activity(), ())
    assert cost.cycles == 3 * (2 * 256 + 256 + 12 * 12 - 2)  # 576 terms in three passes
    wide = NetworkGraph("two", (Input("x", (), shape=(512, 4, 4)), conv("c", "x", 512, 256, 3)))
    with pytest.raises(CapacityError, match="weight_sram"):
        tpu.map(wide, Placement())


# The page


def test_the_page_names_every_datasheet():
    rows = re.findall(r"^\| (`[^|]*) \|", DOC.split("## Power")[0], re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(NAMES)


def test_figures_of_power_on_the_page_are_those_computed():
    powers = {name: [computed(sheet(name), c) for c in checks(name)] for name, _ in CHECKS}
    assert f"{1e3 * powers['odin'][0]:.1f} µW by the datasheet, 477 measured" in DOC
    assert f"{1e3 * powers['odin'][1]:.1f} µW, 35 measured" in DOC
    assert "{:.1f}, {:.1f} and {:.1f} mW by the datasheet".format(*powers["truenorth"]) in DOC
    assert "{:.2f} to {:.2f} mJ by the datasheet".format(*powers["loihi1"]) in DOC
    measured = [c.expected for c in checks("truenorth")]
    assert "{:.0f}, {:.0f} and {:.0f} measured".format(*measured) in DOC


def test_counts_of_recorded_runs_on_the_page_are_those_carried():
    assert f"113, of which {len(RUNS)} are carried" in DOC
    assert f"| {len(CASES)}, all carried here |" in DOC
    drawn = sum("random" in case.name for case in CARRIED)
    assert f"24, of which {len(CARRIED) - drawn} are carried here, with {drawn} more" in DOC
    assert len(carried_cases()) == len(CARRIED)


def test_one_layer_by_two_rules_takes_the_cycles_that_the_page_says():
    network = NetworkGraph(
        "stage 1",
        (Input("x", (), shape=(16, 32, 32)), conv("c", "x", 16, 16, 3, padding=(1, 1, 1, 1))),
    )
    cycles = sheet("generic16_ws").map(network, Placement()).cost(Activity(), ()).cycles
    assert f"{cycles:,} cycles by `scale_sim`" in DOC
    # ZigZag's: 9 weights of 1024 positions each, a load of 16 words of which one is hidden, eight
    # times; 2048 words of 64 bits are loaded before, and as many unloaded after.
    computation = 9 * 1024 + 8 * 15
    assert f"{computation:,} by `zigzag`" in DOC
    assert f"{computation + 2 * 16 * 32 * 32 * 8 // 64:,} with its loading and unloading" in DOC


@pytest.mark.parametrize(
    ("chip", "figures"),
    [
        ("gemmini16", ("1,047", "1,028", "1,033", "800")),
        ("tinyodin", ("1,152", "138", "463", "17")),
    ],
)
def test_figures_of_rtl_are_those_of_the_readme(chip, figures):
    (row,) = (line for line in DOC.splitlines() if line.startswith(f"| `{chip}`"))
    (told,) = (line for line in README.splitlines() if line.startswith(f"| `{chip}`"))
    for figure in figures:
        assert re.search(rf"\b{figure}\b", row)
        assert re.search(rf"\b{figure}\b", told)


def test_the_published_events_are_rates_times_neurons_times_synapses():
    rates = np.array([11.58, 20.07, 95.93])
    events = [check.events["weight_register.read"] for check in checks("truenorth")]
    np.testing.assert_allclose(events, rates * 1_048_576 * 128, rtol=1e-9)
