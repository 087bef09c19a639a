"""The geometry of the pictures: nothing overlaps, nothing is lost, every instance is drawn once."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_findings import sample_findings
from sample_mapping import sample_view

from codesign.errors import DataError
from codesign.mapping import Assignment
from codesign.report import svg
from codesign.report.cells import groups_in, look_of, shape_text
from codesign.report.chip import ChipLink, chip_svg, draw
from codesign.report.chip_data import busy_shares, chip_data, merged, packed
from codesign.report.colours import CIVIDIS, cividis
from codesign.report.heat import blocks
from codesign.report.labels import label_dots
from codesign.report.layout import layered
from codesign.study.findings import UnitPicture

# Names at the ends of lines


@given(st.lists(st.floats(-50, 350), min_size=1, max_size=12))
def test_pushed_apart_names_keep_their_order_their_distance_and_their_room(
    wanted: list[float],
) -> None:
    places = svg.spread(wanted, 16.0, 0.0, 300.0)
    in_order = [places[i] for i in sorted(range(len(wanted)), key=lambda i: (wanted[i], i))]
    assert all(b - a >= 16.0 - 1e-6 for a, b in pairwise(in_order))
    assert in_order[0] >= -1e-6
    assert in_order[-1] <= 300.0 + 1e-6


@given(st.lists(st.integers(0, 18), min_size=1, max_size=12, unique=True))
def test_names_that_have_room_stay_where_they_belong(steps: list[int]) -> None:
    wanted = [16.0 * step for step in steps]
    assert svg.spread(wanted, 16.0, 0.0, 300.0) == pytest.approx(wanted)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_few_round_and_inside(low: float, span: float, most: int) -> None:
    ticks = svg.nice_ticks(low, low + span, most)
    slack = 1e-6 * (abs(low) + span)
    assert len(ticks) <= most
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
    steps = [b - a for a, b in pairwise(ticks)]
    if steps:
        mantissa = float(f"{steps[0]:.6e}".split("e")[0])
        assert mantissa in (1.0, 2.0, 2.5, 5.0)


@given(st.lists(st.tuples(st.integers(10, 290), st.integers(10, 190)), min_size=1, max_size=14))
def test_names_beside_dots_cover_neither_dots_nor_each_other(dots: list[tuple[int, int]]) -> None:
    named = [(float(x), float(y), f"name {i}") for i, (x, y) in enumerate(dots)]
    made = label_dots(named, (0.0, 0.0, 300.0, 200.0))
    boxes = []
    for x, y, anchor, text in re.findall(
        r'<text x="([\d.-]+)" y="([\d.-]+)" class="name halo (\w+)">(.*?)</text>', made
    ):
        width = svg.text_width(text, 12.5)
        left = float(x) - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        boxes.append((left, float(y) - 9, left + width, float(y) + 2))
    for i, one in enumerate(boxes):
        assert one[0] >= -0.1
        assert one[2] <= 300.1
        assert not any(overlap(one, other) for other in boxes[:i])
        assert not any(overlap(one, (x - 3, y - 3, x + 3, y + 3)) for x, y, _ in named)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether two boxes share more than a hair."""
    return a[0] < b[2] - 0.2 and b[0] < a[2] - 0.2 and a[1] < b[3] - 0.2 and b[1] < a[3] - 0.2


def test_a_name_alone_stands_right_of_its_dot() -> None:
    assert 'x="59.0" y="54.0" class="name halo start">a' in label_dots(
        [(50.0, 50.0, "a")], (0.0, 0.0, 200.0, 100.0)
    )


def test_every_text_of_a_picture_is_escaped() -> None:
    assert (
        svg.text(0, 0, "<b>&") == '<text x="0.0" y="0.0" class="tick start">&lt;b&gt;&amp;</text>'
    )
    assert "<title>a&lt;b</title>" in svg.tip("a<b", "")
    assert 'aria-label="&lt;&quot;"' in svg.figure(1, 1, [], '<"')


def test_cividis_is_darkest_below_and_lightest_above_and_grows_lighter() -> None:
    assert cividis(-1.0) == cividis(0.0) == "#00224e"  # the map's published ends
    assert cividis(2.0) == cividis(1.0) == "#fee838"
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in CIVIDIS]
    assert light == sorted(light)


@pytest.mark.parametrize(("size", "largest"), [(1, 32), (32, 32), (33, 32), (128, 32), (7, 3)])
def test_blocks_hold_every_index_once_and_are_few(size: int, largest: int) -> None:
    found = blocks(size, largest)
    assert len(found) <= largest
    assert [i for first, stop in found for i in range(first, stop)] == list(range(size))


# The layout of a chip


CHIPS = {
    "array": (5, [(0, 1), (1, 4), (2, 4), (4, 3), (3, 2)]),
    "cores": (5, [(0, 2), (4, 1), (1, 2), (2, 3), (3, 4), (4, 4)]),
    "long": (4, [(0, 1), (1, 2), (2, 3), (0, 3), (0, 3)]),
    "alone": (3, []),
    "both ways": (2, [(0, 1), (1, 0)]),
    "grid": (9, [(i, j) for i in range(9) for j in range(9) if j in (i + 1, i + 3)]),
}


@pytest.mark.parametrize("name", sorted(CHIPS))
def test_units_do_not_overlap_and_data_flows_to_the_right(name: str) -> None:
    count, edges = CHIPS[name]
    sizes = [(60.0 + 10 * i, 40.0 + 25 * (i % 3)) for i in range(count)]
    layout = layered(sizes, edges, 100.0, 30.0)
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(layout.boxes, sizes, strict=True)]
    for i, one in enumerate(boxes):
        assert not any(overlap(one, other) for other in boxes[:i])
        assert one[2] <= layout.width + 1e-6
        assert one[3] <= layout.height + 1e-6
        assert one[1] >= -1e-6
    for e, (source, target) in enumerate(edges):
        forward = boxes[source][2] < boxes[target][0]
        assert forward == (e in layout.forward) or source == target
        assert (e in layout.back) == (not forward and source != target)


def test_only_links_that_would_close_a_cycle_run_back() -> None:
    # The array's sums go on to their memory; only what is read again from there runs back.
    assert layered([(9.0, 9.0)] * 5, CHIPS["array"][1], 9.0, 9.0).back == (4,)
    assert layered([(9.0, 9.0)] * 4, CHIPS["long"][1], 9.0, 9.0).back == ()


def test_a_long_link_bends_around_what_stands_between() -> None:
    layout = layered([(50.0, 50.0)] * 4, CHIPS["long"][1], 80.0, 30.0)
    for e in (3, 4):
        for (x, y), middle in zip(layout.forward[e], (1, 2), strict=True):
            left, top = layout.boxes[middle]
            assert left <= x <= left + 50
            assert not top - 5 <= y <= top + 55


def test_a_layered_layout_has_no_more_crossings_than_it_must() -> None:
    # Two sources, two targets, crossed in the order given: a drawing without a crossing exists.
    layout = layered([(10.0, 10.0)] * 4, [(0, 3), (1, 2)], 50.0, 20.0)
    ys = [y for _, y in layout.boxes]
    assert (ys[0] < ys[1]) == (ys[3] < ys[2])


# The look of units


SHAPES = [
    (), (1,), (4,), (7,), (70,), (5000,), (8, 8), (1, 16), (128, 128), (3, 200), (4, 64, 20),
    (64, 256, 256), (100, 16, 16), (4, 20), (4, 2, 3, 5),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["pe_array", "mesh", "axon_in"])
def test_every_instance_of_a_unit_is_in_one_cell(shape: tuple[int, ...], kind: str) -> None:
    unit = UnitPicture("u", kind, shape, (("w", 8, 64, "weight"),))
    for groups in {0, *shape[:1]}:
        look = look_of(unit, groups)
        volume = sum(math.prod(b - a for a, b in cell.ranges) for cell in look.cells)
        assert volume == math.prod(shape)
        assert len({cell.ranges for cell in look.cells}) == len(look.cells) <= 10_000
        if math.prod(shape) < 6000:
            inside = [
                instance
                for cell in look.cells
                for instance in product(*(range(a, b) for a, b in cell.ranges))
            ]
            assert sorted(inside) == list(product(*map(range, shape)))
        for cell in look.cells:
            assert -1e-6 <= cell.x <= cell.x + cell.width <= look.width + 1e-6
            assert -1e-6 <= cell.y <= cell.y + cell.height <= look.height + 1e-6


@pytest.mark.parametrize("shape", [(8, 8), (4, 64, 20), (4,)], ids=str)
def test_cells_of_a_unit_do_not_overlap(shape: tuple[int, ...]) -> None:
    look = look_of(UnitPicture("u", "crossbar", shape, ()), shape[0])
    boxes = [(c.x, c.y, c.x + c.width, c.y + c.height) for c in look.cells]
    assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_mesh_of_two_axes_has_its_neighbours_wired() -> None:
    look = look_of(UnitPicture("m", "mesh", (3, 4), ()), 0)
    assert len(look.wires) == 3 * 3 + 2 * 4  # across and down
    assert look_of(UnitPicture("m", "pe_array", (3, 4), ()), 0).wires == ()


@pytest.mark.parametrize("lanes", [1, 8, 16, 256])
def test_the_lanes_of_a_bus_stand_in_one_column_and_are_all_there(lanes: int) -> None:
    bus = UnitPicture("b", "link", (lanes,), ())
    look = look_of(bus, 0)
    assert {cell.x for cell in look.cells} == {0.0}
    inside = [i for cell in look.cells for i in range(*cell.ranges[0])]
    assert inside == list(range(lanes))
    assert look.height < 120
    assert shape_text(bus) == f"{lanes} lanes"


def test_a_larger_memory_is_drawn_taller() -> None:
    def height(words: int) -> float:
        return look_of(UnitPicture("s", "sram", (), (("w", 8, words, "weight"),)), 0).height

    assert height(1 << 10) < height(1 << 14) < height(1 << 23) < 200


def test_cores_are_recognised_by_the_axis_that_their_units_share() -> None:
    mesh, array = UnitPicture("core", "mesh", (4,), ()), UnitPicture("a", "pe_array", (4, 4), ())
    assert groups_in((mesh, UnitPicture("x", "crossbar", (4, 8, 8), ()))) == 4
    assert groups_in((array,)) == 0


def test_a_picture_holds_every_unit_and_link() -> None:
    design = sample_findings().designs[4]
    links = [ChipLink(*link) for link in design.links]
    picture = chip_svg(draw(design.units, links), "chip")
    assert picture.count('class="unit"') == len(design.units) == 5
    assert picture.count('class="link"') == len(design.links) == 6
    for unit in design.units:
        assert f">{unit.name}</text>" in picture
    for link in design.links:
        assert f">{link[2]} {link[3]} b</text>" in picture


def test_a_wider_link_is_drawn_thicker() -> None:
    units = [UnitPicture(name, "sram", (), ()) for name in "abc"]
    links = [ChipLink("a", "b", "x", 8), ChipLink("b", "c", "x", 512)]
    found = re.findall(r'stroke-width="([\d.]+)"', chip_svg(draw(units, links), "chip"))
    assert float(found[0]) < float(found[1])


# Who is where


def test_busy_shares_are_what_counting_instance_by_instance_gives() -> None:
    rng = np.random.default_rng(0)
    unit = UnitPicture("array", "pe_array", (6, 5), ())
    cycles, steps = 400, 3
    used = np.zeros((6, 5))
    assignments = []
    for number in range(25):
        a, b = sorted(rng.choice(7, 2, replace=False).tolist())
        c, d = sorted(rng.choice(6, 2, replace=False).tolist())
        first, length = int(rng.integers(0, 300)), int(rng.integers(1, 40))
        step = int(rng.integers(-1, 3))
        place = ((a, b), (c, d))
        one = (0, 1, 1)
        assignments.append(
            Assignment("l", "array", place, one, one, one, first, first + length, number, step)
        )
        used[a:b, c:d] += length * (steps if step < 0 else 1)
    elsewhere = replace(assignments[0], unit="other")
    ranges = [((r, r + 2), (c, min(5, c + 2))) for r, c in product(range(0, 6, 2), range(0, 5, 2))]
    found = busy_shares(unit, ranges, [*assignments, elsewhere], cycles, steps)
    expected = [used[a:b, c:d].mean() / cycles for (a, b), (c, d) in ranges]
    assert found == pytest.approx(expected)


def test_a_unit_that_nothing_is_assigned_to_is_never_busy() -> None:
    unit = UnitPicture("core", "mesh", (4,), ())
    assert busy_shares(unit, [((0, 1),), ((1, 4),)], [], 10, 1) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("numbers", "kind"), [([0, 255], "u1"), ([-1, 2**31 - 1], "i4"), ([0, 2**40], "f8"), ([], "u1")]
)
def test_packed_numbers_come_back_in_few_bytes(numbers: list[int], kind: str) -> None:
    made = packed(np.array(numbers, dtype=np.int64))
    assert made["type"] == kind
    back = np.frombuffer(base64.b64decode(made["data"]), dtype=f"<{kind}")
    assert back.tolist() == numbers


def test_a_record_holds_an_assignment_in_the_order_that_the_script_reads() -> None:
    view = sample_view()
    data = chip_data("tiny", view.units(), view.links(), view.assignments, 60, 1)
    assert data["layers"] == ["conv", "fc"]
    raw = np.frombuffer(base64.b64decode(data["segments"]["data"]), dtype="u1").reshape(3, -1)
    # unit, layer, first, last, number, step… but step is −1 here, so the type is wider
    assert raw.shape[1] == 4 * (6 + 2 * 2 + 9)
    rows = np.frombuffer(base64.b64decode(data["segments"]["data"]), dtype="<i4").reshape(3, -1)
    assert rows[2].tolist() == [1, 1, 50, 60, 1, -1, 0, 2, 0, 1, 0, 1, 1, 0, 8, 1, 2, 3, 1]


def test_an_assignment_to_a_unit_that_is_not_there_is_refused() -> None:
    view = sample_view()
    lost = replace(view.assignments[0], unit="arrai")
    with pytest.raises(DataError, match=r"unit 'arrai'; did you mean 'array'\?"):
        chip_data("tiny", view.units(), view.links(), (lost,), 60, 1)


def test_too_many_passes_are_joined_without_losing_a_cycle() -> None:
    one = Assignment("a", "u", ((0, 4),), (0, 1, 1), (0, 1, 1), (0, 1, 1), 0, 1)
    many = [
        replace(one, layer="a" if i < 60 else "b", first_cycle=2 * i, last_cycle=2 * i + gap)
        for i, gap in enumerate([2] * 30 + [1] + [2] * 69)
    ]
    joined = merged(many, most=10)
    assert [(a.layer, a.first_cycle, a.last_cycle) for a in joined] == [
        ("a", 0, 61), ("a", 62, 120), ("b", 120, 200)
    ]  # fmt: skip
    assert merged(many, most=100) == many


def test_what_a_link_from_a_unit_to_itself_carries_ends_inside_the_picture() -> None:
    units = [UnitPicture("core", "core", (2, 2), ())]
    link = ChipLink("core", "core", "spike", 32)
    picture = chip_svg(draw(units, [link]), "chip")
    (width,) = re.findall(r'viewBox="0 0 ([\d.]+)', picture)
    (start,) = re.findall(r'<text x="([\d.]+)"[^>]*>spike 32 b<', picture)
    assert float(start) + svg.text_width("spike 32 b") <= float(width)
