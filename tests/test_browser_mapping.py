"""The mapping pages of a convolutional net on Gemmini and a spiking one on tinyODIN, clicked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_visits import FLAGS, Visit, visit
from test_tinyodin import network as spiking

from codesign.design import Design
from codesign.formats import NumberFormat, Requantise
from codesign.layers import Conv2d, Edge, Flatten, Input, Linear
from codesign.mapping import Activity, Holding, Holds
from codesign.network import NetworkGraph
from codesign.report import MappingView, write_mapping
from codesign.study.loading import datasheet
from codesign.study.spec import AcceleratorSpec

CHROMIUM = Path("/usr/bin/chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
if not CHROMIUM.is_file():
    pytest.skip(f"no browser at {CHROMIUM}", allow_module_level=True)

NOTE = "net has untrained weights: a test wrote them."


def convolutional() -> NetworkGraph:
    """18 terms, 20 channels, 36 positions; then 720 terms for 10 channels."""
    rng = np.random.default_rng(0)
    conv = Conv2d(
        "conv",
        (Edge("x"),),
        rng.integers(-99, 99, (20, 2, 3, 3)),
        np.zeros(20, int),
        requantise=Requantise(1, 7, 0, 127),
    )
    fc = Linear("fc", (Edge("flat"),), rng.integers(-99, 99, (10, 720)), np.zeros(10, int))
    layers = (Input("x", (), (2, 8, 8), NumberFormat(8)), conv, Flatten("flat", (Edge("conv"),)))
    return NetworkGraph("net", (*layers, fc))


def design(net: NetworkGraph, sheet: str) -> Design:
    return Design(sheet, net, datasheet(AcceleratorSpec(datasheet=sheet), Path()).build())


DESIGNS = {
    "gemmini16": (lambda: design(convolutional(), "gemmini16"), Activity()),
    "tinyodin": (
        lambda: design(spiking(np.random.default_rng(0), (16, 20, 4)), "tinyodin"),
        Activity({"x": 12.0, "lif0": 5.0, "lif1": 3.0}),
    ),
}
assert DESIGNS


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name, (make, activity) in DESIGNS.items():
        made = make()
        view = MappingView.of(made, made.mapping.cost(activity, ()), [NOTE])
        found[name] = write_mapping([view], tmp_path_factory.mktemp(name))
    return found


@pytest.fixture(scope="module")
def visits(browser: Any, pages: dict[str, Path]) -> dict[str, Visit]:
    return {name: visit(browser, path, 1280) for name, path in pages.items()}


def table(side: Any, heading: str) -> list[list[str]]:
    """Rows of the panel's table whose first heading is this, thin spaces taken out."""
    rows = side.locator("table", has=side.page.locator(f"th:text-is('{heading}')")).first
    return rows.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((r) => [...r.cells].map((c) => c.textContent.replaceAll('\u202f', '')))"
    )


def numbers(text: str) -> tuple[int, int]:
    """``3 to 7`` or ``3`` as a half-open range."""
    ends = [int(n) for n in re.findall(r"\d+", text)]
    return ends[0], ends[-1] + 1


def choose_word(side: Any, word: int) -> list[list[str]]:
    side.locator("input[type=number]").fill(str(word))
    return table(side, "in this word")


def holdings(name: str, unit: str) -> list[Holding]:
    mapping: object = DESIGNS[name][0]().mapping
    assert isinstance(mapping, Holds)
    return [h for h in mapping.holdings() if h.unit == unit]


def is_told(row: list[str], h: Holding, word: int) -> None:
    """A row of a word says what stands there, as the mapping counts it element by element."""
    inside = np.array(h.in_word(word))
    assert row[:2] == [h.layer, h.tensor]
    assert numbers(row[2]) == (inside[:, 2].min(), inside[:, 2].max() + 1)
    axis, cell = (1, row[3]) if h.tensor == "weight" else (0, row[4])
    assert numbers(cell) == (inside[:, axis].min(), inside[:, axis].max() + 1)
    assert numbers(row[5]) == (h.first_cycle, h.last_cycle)


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
def test_the_page_is_quiet_and_fits_and_goes_on_fitting_when_a_word_is_shown(
    browser: Any, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    seen = visit(browser, pages[name], width, scheme)
    unit = {"gemmini16": "weight_sram", "tinyodin": "synapses"}[name]
    seen.page.locator(f'g.unit[aria-label^="{unit}"] .cell').first.click()
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    assert seen.said == []
    seen.page.context.close()


def test_an_element_of_the_mesh_tells_its_layers_channels_and_terms(visits: Any) -> None:
    page = visits["gemmini16"].page
    page.locator('g.unit[aria-label^="array"] rect[data-r="2,3;5,6"]').click()
    side = page.locator(".side")
    assert side.locator("h4").text_content() == "array [2, 5]"
    rows = {row[0]: row for row in table(side, "layer")}
    # 18 terms in tiles of 16 rows, so row 2 has only the first; 20 channels in tiles of 16.
    assert rows["conv"][1:6] == ["1", "51", "0 to 15", "0 to 15", "0 to 35"]
    assert rows["fc"][1] == "45"
    assert "c1" in (side.text_content() or "")


def test_registers_below_the_mesh_tell_the_sums_that_pass(visits: Any) -> None:
    page = visits["gemmini16"].page
    page.locator('g.unit[aria-label^="edge"] .cell').nth(12).click()
    rows = {row[0]: row for row in table(page.locator(".side"), "layer")}
    assert rows["conv"][3] == "0 to 15"  # channels
    assert list(rows) == ["conv"]  # fc has ten channels, in columns 0 to 9


@pytest.mark.parametrize("unit", ["dram", "weight_sram", "activation_sram"])
def test_a_word_of_a_memory_tells_its_elements_and_when_they_stand_there(
    visits: Any, unit: str
) -> None:
    page = visits["gemmini16"].page
    page.locator(f'g.unit[aria-label^="{unit}"] .cell').first.click()
    side = page.locator(".side")
    assert re.fullmatch(rf"{unit} words 0 to \d+", side.locator("h4").text_content())
    last = int(side.locator("h4").text_content().split(" ")[-1])
    held = holdings("gemmini16", unit)
    for word in (0, 3, 8, 24):
        rows = choose_word(side, word)
        there = [h for h in held if h.words[0] <= word < h.words[1]]
        assert len(rows) == len(there) > 0
        for row, h in zip(rows, there, strict=True):
            is_told(row, h, word)
    side.locator("input[type=number]").fill(str(last + 1))
    assert "Words 0 to" in side.locator(".word").text_content()


def test_words_that_hold_nothing_say_so(visits: Any) -> None:
    page = visits["gemmini16"].page
    page.locator('g.unit[aria-label^="weight_sram"] .cell').last.click()
    assert "Nothing stands here." in page.locator(".side").text_content()


def test_the_keyboard_walks_over_banks_and_reaches_the_word(visits: Any) -> None:
    page = visits["gemmini16"].page
    unit = page.locator('g.unit[aria-label^="weight_sram"]')
    unit.locator(".cell").first.click()
    unit.focus()
    page.keyboard.press("ArrowRight")
    title = page.locator(".side h4")
    assert title.text_content() == "weight_sram words 256 to 511"
    page.keyboard.press("ArrowLeft")
    box = page.locator(".side input[type=number]")
    box.focus()
    page.keyboard.press("ArrowUp")
    assert box.input_value() == "1"
    assert table(page.locator(".side"), "in this word")[0][:2] == ["conv", "weight"]


def test_a_neuron_word_of_tinyodin_is_one_neuron_and_a_synapse_word_eight_weights(
    visits: Any,
) -> None:
    page = visits["tinyodin"].page
    side = page.locator(".side")
    for unit, words in (("neurons", (0, 7)), ("synapses", (32 * 24, 32 * 24 + 2))):
        held = holdings("tinyodin", unit)
        index = words[0] * 32 // {"neurons": 256, "synapses": 8192}[unit]
        page.locator(f'g.unit[aria-label^="{unit}"] .cell').nth(index).click()
        for word in words:
            rows = choose_word(side, word)
            there = [h for h in held if h.words[0] <= word < h.words[1]]
            assert len(rows) == len(there) > 0
            for row, h in zip(rows, there, strict=True):
                is_told(row, h, word)


def test_the_exposure_of_a_word_is_its_own_bits(visits: Any) -> None:
    page = visits["tinyodin"].page
    page.locator('g.unit[aria-label^="neurons"] .cell').first.click()
    assert "occupancy 100.0 % · exposure 32.0 bits" in page.locator(".side").text_content()


def test_pointing_at_a_bank_names_its_layers(visits: Any) -> None:
    page = visits["tinyodin"].page
    page.locator('g.unit[aria-label^="neurons"] .cell').nth(2).hover()
    assert page.locator("#tip").text_content() == "neurons words 16 to 23: lif0, lif1"
    page.mouse.move(0, 0)


@pytest.mark.parametrize("name", DESIGNS)
def test_banks_are_coloured_by_layer_occupancy_and_exposure(visits: Any, name: str) -> None:
    page = visits[name].page
    unit = {"gemmini16": "weight_sram", "tinyodin": "neurons"}[name]
    cells = page.locator(f'g.unit[aria-label^="{unit}"] .cell')
    for mode in ("occupancy", "exposure", "layer"):
        page.locator(f"input[value={mode}]").check()
        fills = cells.evaluate_all("(all) => all.map((c) => c.getAttribute('fill'))")
        assert len(set(fills)) > 1
        assert fills[-1] == page.evaluate("page.colour('--empty')") or mode != "layer"


@pytest.mark.parametrize("name", DESIGNS)
def test_the_page_tells_units_phases_notes_and_what_has_no_price(visits: Any, name: str) -> None:
    page = visits[name].page
    assert NOTE in page.locator(".note").text_content()
    units = page.locator("#units tbody tr th").all_text_contents()
    assert units == [u.name for u in DESIGNS[name][0]().accelerator.units]
    assert page.locator("#layers svg .t, #layers svg [data-tip]").count() >= 2
    assert "What could not be priced" in page.locator("#files").text_content()
    assert page.locator("#files li").count() >= 4
    page.locator("#units th button", has_text="one touches").click()
    shares = page.locator("#units tbody tr td:nth-child(3)").evaluate_all(
        "(cells) => cells.map((c) => c.dataset.value).filter((v) => v).map(Number)"
    )
    assert len(shares) >= 2
    assert shares == sorted(shares, reverse=True)


def test_layers_at_work_at_one_time_have_a_lane_each_and_the_chip_s_own_time(visits: Any) -> None:
    page, made = visits["tinyodin"].page, DESIGNS["tinyodin"][0]()
    passes = made.mapping.assignments()
    assert len({(a.first_cycle, a.last_cycle) for a in passes}) == 1 < len(passes)  # all the time
    canvas = page.locator(".gantt canvas").first
    canvas.scroll_into_view_if_needed()
    told = []
    for lane in range(len(passes)):
        canvas.hover(position={"x": 300, "y": 4 + 20 * lane + 10})
        told.append(page.locator("#tip").text_content().replace("\u202f", ""))
    last = passes[0].last_cycle - 1
    assert told == [f"{a.layer} on neurons: pass 0, updates 0 to {last}" for a in passes]
    canvas.click(position={"x": 300, "y": 14})
    assert f"{passes[0].layer}, pass 0: updates 0 to" in page.locator(
        ".side"
    ).text_content().replace("\u202f", "")
    assert table(page.locator(".side"), "updates") == []  # of words, so without a table of passes


def test_passes_that_follow_each_other_share_a_lane(visits: Any) -> None:
    page, made = visits["gemmini16"].page, DESIGNS["gemmini16"][0]()
    passes = made.mapping.assignments()
    canvas = page.locator(".gantt canvas").first
    canvas.scroll_into_view_if_needed()
    a_cycle = (canvas.bounding_box()["width"] - 96 - 8) / max(
        a.last_cycle for a in passes
    )  # names, right margin
    told = {}
    for layer in ("conv", "fc"):
        first = next(a for a in passes if a.layer == layer)
        middle = (first.first_cycle + first.last_cycle) / 2
        canvas.hover(position={"x": 96 + middle * a_cycle, "y": 4 + 13})
        told[layer] = page.locator("#tip").text_content().partition(" ")[0]
    assert told == {"conv": "conv", "fc": "fc"}
