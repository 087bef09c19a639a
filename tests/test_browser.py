"""The pages in a browser: quiet, alone, readable on every screen, and their clicks answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_visits import FLAGS, Visit, visit
from sample_chips import sample_designs
from sample_findings import sample_findings, small_findings
from sample_mapping import sample_view

from codesign.report import write_mapping, write_report
from codesign.report.chip_data import busy_shares
from codesign.report.colours import cividis

CHROMIUM = Path("/usr/bin/chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
if not CHROMIUM.is_file():
    pytest.skip(f"no browser at {CHROMIUM}", allow_module_level=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A chromium."""
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the sample."""
    return write_report(sample_findings(), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def shared(browser: Any, report: Path) -> Visit:
    """The page of the sample on a wide screen; a test leaves it where the next can begin."""
    return visit(browser, report)


@pytest.fixture
def wide(shared: Visit) -> Iterator[Any]:
    """The shared page, which must have said nothing by the end of the test."""
    shared.page.mouse.move(0, 0)
    yield shared.page
    assert shared.said == []


@pytest.fixture(scope="module")
def pages(report: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kind of page."""
    small = write_report(small_findings(), tmp_path_factory.mktemp("small"))
    views = [sample_view("one"), sample_view("other"), sample_view("third")]
    return {
        "report": report,
        "small": small,
        "mapping": write_mapping(views, tmp_path_factory.mktemp("mapping")),
    }


# Quiet and alone


@pytest.mark.parametrize("kind", ["report", "small", "mapping"])
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark"), (820, "dark")])
def test_a_page_says_nothing_asks_for_nothing_and_fits_its_screen(
    browser: Any, pages: dict[str, Path], kind: str, width: int, scheme: str
) -> None:
    seen = visit(browser, pages[kind], width, scheme)
    seen.page.wait_for_timeout(100)
    assert seen.said == []
    assert seen.asked == [pages[kind].as_uri()]
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    seen.page.context.close()


def test_the_browser_itself_forbids_the_network(browser: Any, report: Path) -> None:
    seen = visit(browser, report)
    fetched = seen.page.evaluate("fetch('https://example.org/').then(() => 'came', () => 'no')")
    seen.page.evaluate(
        "document.body.append(Object.assign(new Image(), {src: 'https://example.org/a'}))"
    )
    ran = seen.page.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s); return window.ran ?? 'refused'; })()"
    )
    assert (fetched, ran) == ("no", "refused")
    seen.page.wait_for_timeout(100)
    assert {url: seen.refused.get(url) for url in seen.asked[1:]} == {
        "https://example.org/a": "csp"
    }
    assert len(seen.said) >= 2  # the policy's own words
    seen.page.context.close()


# Light, dark, paper


def brightness(page: Any, selector: str) -> float:
    """Mean of red, green and blue of a background, 0 to 255."""
    found = page.evaluate(f"getComputedStyle(document.querySelector({selector!r})).backgroundColor")
    return sum(map(int, re.findall(r"\d+", found)[:3])) / 3


def pixels(page: Any, selector: str) -> list[tuple[int, ...]]:
    """The different opaque colours of a canvas."""
    found = page.evaluate(
        """(selector) => {
            const shown = document.querySelector(selector);
            const { width, height } = shown;
            const canvas = Object.assign(document.createElement("canvas"), { width, height });
            const context = canvas.getContext("2d", { willReadFrequently: true });
            context.drawImage(shown, 0, 0);
            const { data } = context.getImageData(0, 0, width, height);
            const colours = new Set();
            for (let i = 0; i < data.length; i += 4) {
              if (data[i + 3] === 255) colours.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
            }
            return [...colours];
        }""",
        selector,
    )
    return [tuple(map(int, colour.split(","))) for colour in found]


def test_the_page_follows_light_dark_and_paper(browser: Any, report: Path) -> None:
    seen = visit(browser, report)
    page = seen.page
    assert brightness(page, "body") == 255
    blue = (0, 114, 178)  # Okabe and Ito's, of the first layer
    assert blue in pixels(page, ".gantt canvas")
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(100)
    assert brightness(page, "body") < 40
    assert blue not in pixels(page, ".gantt canvas")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert brightness(page, "body") == 255
    assert blue in pixels(page, ".gantt canvas")
    assert page.locator("fieldset.controls").first.is_hidden()
    assert page.locator("details").first.get_attribute("open") is not None
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details").first.get_attribute("open") is None
    assert len(page.pdf(format="A4")) > 100_000
    assert seen.said == []
    page.context.close()


def test_no_text_of_a_picture_is_cut_off_by_the_page(wide: Any) -> None:
    outside = wide.evaluate(
        """[...document.querySelectorAll("svg text")].filter((text) => {
            const box = text.getBoundingClientRect();
            return box.width && (box.left < 0 || box.right > innerWidth);
        }).map((text) => text.textContent)"""
    )
    assert outside == []


@pytest.mark.parametrize("width", [1400, 400])
def test_names_in_a_plot_do_not_cover_each_other(browser: Any, report: Path, width: int) -> None:
    seen = visit(browser, report, width)
    covered = seen.page.evaluate(
        """[...document.querySelectorAll("svg")].flatMap((svg) => {
            const texts = [...svg.querySelectorAll("text.name, text.head, text.tick, text.axis")];
            const boxes = texts.map((text) => text.getBoundingClientRect());
            const found = [];
            boxes.forEach((a, i) => boxes.slice(0, i).forEach((b, j) => {
                const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
                const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                if (across > 1 && down > 0.4 * Math.min(a.height, b.height)) {
                    found.push(`${texts[i].textContent} / ${texts[j].textContent}`);
                }
            }));
            return found;
        })"""
    )
    assert covered == []
    assert seen.page.locator("svg text").count() > 100
    seen.page.context.close()


# The chip


def test_a_click_on_an_element_tells_its_layers_channels_and_cycles(wide: Any) -> None:
    chip = wide.locator(".chip").first
    chip.locator('g.unit[aria-label^="array"] rect[data-r="3,4;5,6"]').click()
    side = chip.locator(".side")
    assert side.locator("h4").text_content() == "array [3, 5]"
    mine = [
        a
        for a in sample_designs("cnn", "array8")[0].assignments
        if a.instances[0][0] <= 3 < a.instances[0][1] and a.instances[1][0] <= 5 < a.instances[1][1]
    ]
    rows = side.locator("table").first.locator("tbody tr")
    layers = dict.fromkeys(a.layer for a in mine)
    assert rows.count() == len(layers) == 4
    for i, layer in enumerate(layers):
        cells = rows.nth(i).locator("th, td").all_text_contents()
        passes = [a for a in mine if a.layer == layer]
        assert cells[0] == layer
        assert int(cells[1]) == len(passes)
        assert int(cells[2].replace("\u202f", "")) == sum(
            a.last_cycle - a.first_cycle for a in passes
        )
        last = max(a.n[1] for a in passes) - 1
        assert cells[3] == f"0 to {last}"
    assert "weight_register" in (side.text_content() or "")


def test_the_keyboard_reaches_a_unit_and_walks_over_its_cells(wide: Any) -> None:
    unit = wide.locator('.chip g.unit[aria-label^="array"]').first
    unit.locator(".cell").first.click()
    unit.focus()
    wide.keyboard.press("Enter")
    title = wide.locator(".chip .side h4").first
    assert title.text_content() == "array [0, 0]"
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft"):
        wide.keyboard.press(key)
    assert title.text_content() == "array [2, 0]"


def test_occupancy_is_coloured_as_counted_from_the_assignments(wide: Any) -> None:
    design = sample_designs("snn", "mesh4")[0]
    chip = wide.locator(".chip").nth(1)
    chip.locator("input[value=occupancy]").check()
    found = chip.evaluate(
        """(root) => [...root.querySelectorAll(".cell")].map((cell) => [
            Number(cell.parentNode.dataset.unit), cell.dataset.r, cell.getAttribute("fill")])"""
    )
    by_unit: dict[int, list[tuple[tuple[tuple[int, int], ...], str]]] = {}
    for unit, text, fill in found:
        ranges = [tuple(map(int, part.split(","))) for part in text.split(";")] if text else []
        by_unit.setdefault(unit, []).append((tuple(ranges), fill))  # type: ignore[arg-type]
    shares = {
        u: busy_shares(design.units[u], [r for r, _ in cells], design.assignments, 2801, 20)
        for u, cells in by_unit.items()
        if design.units[u].name in ("crossbar", "neuron")
    }
    highest = max(value for values in shares.values() for value in values)
    assert len(shares[2]) == 4 * 11 * 10  # four cores, cells of 6 x 2
    for u, values in shares.items():
        for value, (_, fill) in zip(values, by_unit[u], strict=True):
            told = [int(n) for n in re.findall(r"\d+", fill)]
            wanted = bytes.fromhex(cividis(value / highest)[1:])
            assert all(abs(a - b) <= 1 for a, b in zip(told, wanted, strict=True))


@pytest.mark.parametrize("mode", ["exposure", "vulnerability"])
def test_every_way_of_colouring_has_its_scale(wide: Any, mode: str) -> None:
    chip = wide.locator(".chip").first
    before = chip.locator(".cell").evaluate_all(
        "(cells) => cells.map((c) => c.getAttribute('fill'))"
    )
    chip.locator(f"input[value={mode}]").check()
    after = chip.locator(".cell").evaluate_all(
        "(cells) => cells.map((c) => c.getAttribute('fill'))"
    )
    assert before != after
    assert len(set(after)) > 1
    unit = {"exposure": "bits", "vulnerability": "points"}[mode]
    assert unit in (chip.locator(".legend").text_content() or "")


def test_one_layer_can_be_seen_alone(wide: Any) -> None:
    chip = wide.locator(".chip").nth(1)
    chip.locator("input[value=layer]").check()
    chip.locator(".legend button", has_text="output").click()
    fills = chip.locator('g.unit[aria-label^="crossbar"] .cell').evaluate_all(
        "(cells) => cells.map((c) => c.getAttribute('fill'))"
    )
    # Columns 5 to 14 of the last core, in cells of two columns and six rows: 6 of 10 by 11
    assert fills.count("#d55e00") == 6 * 11
    assert chip.locator('.legend button[aria-pressed="true"]').count() == 1


def test_a_pass_in_the_gantt_chart_is_told_and_shown_on_the_chip(wide: Any) -> None:
    chip = wide.locator(".chip").first
    canvas = chip.locator(".gantt canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    last = sample_designs("cnn", "array8")[0].assignments[-1]
    middle = (last.first_cycle + last.last_cycle) / 2 / 1745
    canvas.click(position={"x": 96 + (box["width"] - 96 - 8) * middle, "y": 16})
    told = chip.locator(".side").text_content() or ""
    assert f"fc2, pass {last.number}: cycles" in told
    assert "terms 24 to 31" in told
    assert chip.locator(".cell.part").count() == 8 * 2  # fc2's last fold has 2 channels


def test_the_gantt_chart_zooms_by_button_and_key(wide: Any) -> None:
    chip = wide.locator(".chip").first
    canvas = chip.locator(".gantt canvas")
    whole = canvas.screenshot()
    chip.locator("button[data-zoom=in]").click()
    near = canvas.screenshot()
    assert near != whole
    chip.locator("button[data-zoom=all]").click()
    assert canvas.screenshot() == whole
    canvas.focus()
    wide.keyboard.press("+")
    wide.keyboard.press("ArrowRight")
    assert canvas.screenshot() not in (whole, near)
    wide.keyboard.press("0")
    chip.locator("button[data-zoom=all]").hover()
    canvas.evaluate("(canvas) => canvas.blur()")
    assert canvas.screenshot() == whole


# Hovering, sorting, stepping


def test_hovering_tells_exact_values_and_how_many_trials(wide: Any) -> None:
    dot = wide.locator("#rate svg .t").nth(3)
    dot.scroll_into_view_if_needed()
    dot.hover()
    tip = wide.locator("#tip")
    assert tip.is_visible()
    assert re.search(r"accuracy [\d.]+ ± [\d.]+ % .*60 trials of 200 samples", tip.text_content())
    wide.locator("h1").hover()
    assert not tip.is_visible()


def test_a_heading_sorts_its_table(wide: Any) -> None:
    table = wide.locator("table.sortable").first
    table.locator("th button", has_text="gain").click()
    assert table.locator("tbody tr th").first.text_content() == "cnn+ecc on array8"
    table.locator("th button", has_text="gain").click()
    gains = table.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => row.cells[3].textContent).filter((text) => text)"
    )
    numbers = [float(gain.strip("()").split(" ")[0].replace("−", "-")) for gain in gains]
    assert numbers == sorted(numbers)
    table.locator("th button", has_text="design").click()
    assert table.locator('th[aria-sort="descending"]').count() == 1


def test_trials_are_stepped_through(wide: Any) -> None:
    seen = wide.locator('.seen[data-kind="raster"]')
    told = seen.locator(".told")
    assert "3 became 8" in told.text_content()
    gained = (0, 114, 178)
    assert gained in pixels(wide, ".seen canvas.raster")
    seen.locator("button[data-step='-1']").click()
    assert "the prediction is unchanged" in told.text_content()
    assert seen.locator("select").input_value() == "2"
    assert gained not in pixels(wide, ".seen canvas.raster")  # the masked trial


def test_feature_maps_show_before_after_and_difference(wide: Any) -> None:
    seen = wide.locator('.seen[data-kind="maps"]')
    assert "8 of 8 channels" in seen.locator(".scale").text_content()
    assert (213, 94, 0) in pixels(wide, ".seen canvas.maps")  # the largest loss, in full orange
    seen.locator("select").select_option(index=1)
    assert "largest difference 0" in seen.locator(".scale").text_content()
    assert (213, 94, 0) not in pixels(wide, ".seen canvas.maps")


def test_a_third_chip_opens_by_a_click_and_is_then_drawn(
    browser: Any, pages: dict[str, Path]
) -> None:
    seen = visit(browser, pages["mapping"])
    third = seen.page.locator(".chip").nth(2)
    assert third.is_hidden()
    seen.page.locator("summary", has_text="net on toy").click()
    third.locator('g.unit[aria-label^="array"] .cell').first.click()
    assert third.locator(".side h4").text_content() == "array [0, 0]"
    wait = "document.querySelectorAll('.gantt canvas')[2].width > 100"
    seen.page.wait_for_function(wait)
    assert seen.said == []
    seen.page.context.close()
