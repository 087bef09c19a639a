"""The page of a study: its sentence, its files, and that nothing in it can run or call out."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_findings import interval, sample_findings, small_findings
from sample_trials import sample_front

from codesign.intervals import Interval
from codesign.report import finding_sentence, load_findings, write_report
from codesign.report.beside import difference
from codesign.report.endings import endings_of
from codesign.report.reading import apart_from_zero
from codesign.report.sentence import key_figures, studied
from codesign.study.findings import Findings, Point


def one_base(
    loss: Interval,
    gains: dict[str, Interval],
    *,
    rate: float | None = 0.01,
    stopped: str = "effort",
    unpaired: bool = False,
) -> Findings:
    """The CNN of the sample alone, at one point, with these mitigations."""
    whole = sample_findings()
    names = {"cnn", *(f"cnn+{name}" for name in gains)}
    designs = tuple(d for d in whole.designs if d.name in names)
    template = next(p for p in whole.points if p.design == "cnn")
    points = [replace(template, rate=rate, loss=loss, stopped=stopped, target=90)]
    for name, gain in gains.items():
        paired, other = (None, gain) if unpaired else (gain, None)
        struck = replace(points[0], design=f"cnn+{name}", gain=paired, unpaired_gain=other)
        points.append(struck)
    return replace(whole, designs=designs, points=tuple(points), vulnerabilities=(), seen=())


# The sentence


def test_the_sentence_says_what_is_lost_what_is_given_back_and_what_it_costs() -> None:
    gains = {"range_restriction": interval(0.184, 0.013), "ecc": interval(0.05, 0.01)}
    assert finding_sentence(one_base(interval(0.312, 0.021), gains)) == (
        "On array8 cnn loses 31.2 ± 2.1 points of accuracy under weight flips at rate 1e-2, "
        "and range restriction gives back 18.4 ± 1.3 for 0.5 points of golden accuracy, 2.0 % more "
        "energy, and 1.0 % more area."
    )


def test_what_gives_up_no_golden_accuracy_is_not_said_to() -> None:
    made = one_base(interval(0.312, 0.021), {"range_restriction": interval(0.184, 0.013)})
    whole = replace(made, designs=tuple(replace(d, golden_accuracy=0.975) for d in made.designs))
    told = finding_sentence(whole)
    assert "gives back 18.4 ± 1.3 for 2.0 % more energy and 1.0 % more area." in told


def test_the_price_counts_times_where_it_is_more_than_double() -> None:
    told = finding_sentence(one_base(interval(0.3, 0.02), {"re_execution": interval(0.2, 0.02)}))
    assert told.endswith("20.0 ± 2.0 for 3.02 times the energy and 3 times the time.")


def test_what_a_mitigation_adds_is_never_called_free_where_its_energy_is_not_known() -> None:
    made = one_base(interval(0.3, 0.02), {"ecc": interval(0.2, 0.02)})
    base, ecc = made.designs
    same = replace(base.cost, area_ge={"a": 90.0, "b": 10.0}, area_um2={"b": 7.0}, missing=("x",))
    base = replace(base, cost=same)
    told = {}
    for name, cost in {
        "free": same,
        "unpriced": replace(same, missing=("x", "guard.Correct.energy")),
        "larger": replace(same, area_ge={"a": 91.0, "b": 10.0}, missing=("guard.Correct.energy",)),
    }.items():
        given = replace(made, designs=(base, replace(ecc, cost=cost)))
        told[name] = finding_sentence(given).partition("20.0 ± 2.0 ")[2]
    assert told == {
        "free": "at no cost in energy or time.",
        "unpriced": "at no cost in time, its own energy not priced.",
        "larger": "for 1.0 % more area, its own energy not priced.",
    }


def test_a_search_is_told_by_its_verdict() -> None:
    found = replace(sample_findings(), front=replace(sample_front(), verdict="Found designs win."))
    assert finding_sentence(found) == "Found designs win."
    without = replace(found, front=sample_front())
    assert finding_sentence(without) == finding_sentence(replace(found, front=None))


def test_two_base_designs_stand_in_one_sentence() -> None:
    told = finding_sentence(sample_findings())
    assert re.match(r"On array8 cnn loses .*; on mesh4 snn loses .*\.$", told)
    assert told.count(". ") == 0


def test_a_loss_that_may_be_none_is_said_to_be_so() -> None:
    told = finding_sentence(one_base(interval(0.004, 0.011), {}))
    assert told == (
        "On array8 cnn may lose nothing under weight flips at rate 1e-2: 60 trials cannot tell "
        "(−0.7 to 1.5 points)."
    )


def test_a_gain_that_may_be_none_is_said_to_be_so() -> None:
    gains = {"ecc": interval(0.003, 0.009), "range_restriction": interval(-0.01, 0.02)}
    told = finding_sentence(one_base(interval(0.3, 0.02), gains))
    assert told.endswith(
        "and none of 2 mitigations can be told from no protection (best: ecc, +0.3 ± 0.9)."
    )


def test_a_gain_that_stands_out_only_by_being_looked_for_is_not_claimed() -> None:
    # 1.96 standard errors are 0.010; 2.24 (two comparisons) are 0.0114, past the gain of 0.011.
    alone = one_base(interval(0.3, 0.02), {"ecc": interval(0.011, 0.010)})
    assert "ecc gives back 1.1 ± 1.0" in finding_sentence(alone)
    beside = {"ecc": interval(0.011, 0.010), "range_restriction": interval(0.0, 0.010)}
    told = finding_sentence(one_base(interval(0.3, 0.02), beside))
    assert "none of 2 mitigations can be told from no protection" in told


def test_a_mitigation_that_only_harms_is_said_to_harm() -> None:
    told = finding_sentence(one_base(interval(0.3, 0.02), {"ecc": interval(-0.06, 0.02)}))
    assert told.endswith("and ecc only makes it worse, by 6.0 ± 2.0.")


def test_a_gain_that_is_not_paired_says_so() -> None:
    made = one_base(interval(0.3, 0.02), {"ecc": interval(0.2, 0.02)}, unpaired=True)
    assert "ecc gives back 20.0 ± 2.0 (unpaired)" in finding_sentence(made)


def test_a_single_fault_has_no_rate() -> None:
    told = finding_sentence(one_base(interval(0.02, 0.002), {}, rate=None))
    assert told == (
        "On array8 cnn loses 2.0 ± 0.2 points of accuracy for a single fault under weight flips."
    )


def test_an_interrupted_study_says_how_far_it_came() -> None:
    told = finding_sentence(one_base(interval(0.3, 0.02), {}, stopped="interrupted"))
    assert told.endswith("(Interrupted: 60 of 90 trials.)")


def test_without_a_trial_nothing_is_said_about_faults() -> None:
    told = finding_sentence(small_findings())
    assert told.startswith("No trial is stored, so nothing can be said about faults.")
    assert "cnn on array8 97.5 ± 2.3 %" in told  # Wilson for 195 of 200, by hand


def test_without_a_struck_base_there_is_nothing_to_compare_with() -> None:
    made = one_base(interval(0.3, 0.02), {"ecc": interval(0.2, 0.02)})
    only = replace(made, points=made.points[1:])
    assert "nothing to compare with" in finding_sentence(only)


@pytest.mark.parametrize(
    ("comparisons", "half", "apart"),
    [(1, 0.0099, True), (1, 0.0101, False), (12, 0.0068, True), (12, 0.0069, False)],
)
def test_many_comparisons_widen_an_interval_as_bonferroni_says(
    comparisons: int, half: float, apart: bool
) -> None:
    # Normal quantiles from a table: 1.95996 at 0.025 and 2.86526 at 0.025 / 12; 0.01 / 1.4619
    assert apart_from_zero(interval(0.01, half), comparisons) is apart
    assert apart_from_zero(interval(-0.01, half), comparisons) is apart


@pytest.mark.parametrize("make", [sample_findings, small_findings])
def test_key_figures_are_at_most_six_and_tell_where_they_come_from(
    make: Callable[[], Findings],
) -> None:
    figures = key_figures(make())
    assert 1 <= len(figures) <= 6
    assert all(figure.more for figure in figures)
    assert all(figure.interval is not None for figure in figures)


def test_one_base_design_has_its_prices_among_the_key_figures() -> None:
    made = one_base(interval(0.3, 0.02), {"ecc": interval(0.2, 0.02)})
    told = {figure.name: figure.told for figure in key_figures(made)}
    assert 4 <= len(told) <= 6
    assert told["energy of ecc"] == "+31.0 %"
    assert told["lost by cnn at 1e-2"] == "30.0 ± 2.0"


def test_what_was_studied_is_counted_in_one_line() -> None:
    # 8 designs at 4 rates with 60 trials, and 1000 single faults for each of the two bases
    assert "3 920 trials of 200 samples" in re.sub(r"\s", " ", studied(sample_findings()))


def test_a_difference_of_independent_intervals_adds_their_squares() -> None:
    one = Interval(0.5, 0.47, 0.56, 0.95, 30, "x")
    other = Interval(0.3, 0.22, 0.34, 0.95, 20, "x")
    found = difference(one, other)
    assert found.value == pytest.approx(0.2)
    assert found.n == 20
    assert found.low == pytest.approx(0.2 - math.hypot(0.03, 0.04))
    assert found.high == pytest.approx(0.2 + math.hypot(0.06, 0.08))


def test_endings_take_what_is_proven_out_of_what_is_masked() -> None:
    shares = {"masked": 0.7, "tolerated": 0.2, "sdc": 0.1, "corrected": 0.0, "detected": 0.0}
    point = replace(
        sample_findings().points[0], shares={**shares, "hang": 0.0}, trials=50, could_act=30
    )
    found = endings_of(point)
    assert found["proof"] == pytest.approx(0.4)  # in 20 of 50 trials nothing could act
    assert found["masked"] == pytest.approx(0.3)
    assert sum(found.values()) == pytest.approx(1.0)


def test_a_study_in_which_nothing_went_wrong_says_so_with_a_bound(tmp_path: Path) -> None:
    made = one_base(interval(0.0, 0.0), {})
    whole = dict.fromkeys(made.points[0].shares, 0.0) | {"masked": 1.0}
    nothing = Interval(0.0, 0.0, 0.048, 0.95, 60, "exact bound")
    point = replace(made.points[0], loss=nothing, shares=whole, could_act=0, acted=0)
    page = write_report(replace(made, points=(point,)), tmp_path).read_text(encoding="utf-8")
    assert "No prediction was silently wrong (&lt; 5.0" in page  # three of sixty
    assert "&lt; 4.8 <small>points</small>" in page  # the key figure has the interval's end


# The page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the sample."""
    return write_report(sample_findings(), tmp_path_factory.mktemp("report")).parent


class Outline(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.headings: list[str] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more element."""
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        """One less."""
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """Text, or a script."""
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside in ("h1", "h2", "h3"):
            self.headings[-1] += data
        elif self._inside != "style":
            self.text.append(data)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    """The page of the sample."""
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_begins_with_the_sentence_and_follows_the_order_of_a_reader(page: str) -> None:
    outline = Outline(page)
    spaced = [heading.replace("\N{NO-BREAK SPACE}", " ") for heading in outline.headings]
    assert spaced[0] == finding_sentence(sample_findings())
    sections = [attrs["id"] for tag, attrs in outline.tags if tag == "section"]
    assert sections == [
        *("chip", "rate", "hurt", "help", "endings", "beside", "seen", "search", "again")
    ]


def test_the_page_holds_its_scripts_and_no_others_may_run(page: str) -> None:
    outline = Outline(page)
    policy = next(a["content"] for t, a in outline.tags if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    data, script = outline.scripts
    json.loads(data)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_the_page_points_to_nothing_outside_its_folder(page: str, folder: Path) -> None:
    outline = Outline(page)
    assert re.search(r"\w+://|@import|\bsrc=", page) is None
    targets = [a[name] for _, a in outline.tags for name in ("href", "src") if a.get(name)]
    files = {str(target) for target in targets if not str(target).startswith("#")}
    assert len(files) > 10
    assert {name for name in files if not (folder / name).is_file()} == set()


def test_every_figure_has_a_title_a_reading_and_its_data(page: str) -> None:
    figures = re.findall(r"<figure>(.*?)</figure>", page, re.DOTALL)
    shown = [figure for figure in figures if "<svg" in figure or "<canvas" in figure]
    assert len(shown) >= 12
    for figure in shown:
        assert re.search(r"<h3>\S", figure)
        assert re.search(r'<p class="reading">\S', figure)
        assert 'href="csv/' in figure


NASTY = "</script><img src=x onerror=alert(1)>&\"'"


def test_a_name_cannot_become_part_of_the_page(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_report(sample_findings(), tmp_path)
    content = path.read_text(encoding="utf-8")
    for plain in ("conv1", "array8", "range_restriction"):
        assert content.count(plain) > 5
        content = content.replace(plain, json.dumps(f"{plain}{NASTY}")[1:-1])
    path.write_text(content, encoding="utf-8")
    changed = replace(load_findings(path), title=NASTY, note=NASTY, command=NASTY, study=NASTY)
    page = write_report(replace(changed, failed=(NASTY,)), tmp_path).read_text(encoding="utf-8")
    outline = Outline(page)
    data, _ = outline.scripts
    assert "<" not in data
    assert f"conv1{NASTY}" in json.loads(data)["chips"][0]["layers"]
    assert [attrs for tag, attrs in outline.tags if tag == "img" or "onerror" in attrs] == []
    assert sum(NASTY in text for text in outline.text) > 20


def test_what_has_nothing_to_show_is_left_out_and_named(tmp_path: Path) -> None:
    page = write_report(small_findings(), tmp_path).read_text(encoding="utf-8")
    outline = Outline(page)
    sections = [attrs["id"] for tag, attrs in outline.tags if tag == "section"]
    assert sections == ["beside", "again"]
    told = " ".join(outline.text)
    for reason in (
        "The search: no search was run.",
        "What helps, and what it costs: no mitigation was tried.",
        "Accuracy against rate: no trial is stored.",
        "One trial, seen: no trial was kept",
    ):
        assert reason in told


def test_failed_experiments_and_absent_figures_are_told(page: str) -> None:
    told = " ".join(Outline(page).text)
    assert "every draw struck all executions alike" in told
    assert "Quantisation sweep: the study asks for one width only" in told


@pytest.mark.parametrize(
    "drop", ["points", "vulnerabilities", "seen", "front", "mitigations", "snn", "rates", "units"]
)
def test_a_study_without_one_thing_still_has_a_page(drop: str, tmp_path: Path) -> None:
    page = write_report(without(sample_findings(), drop), tmp_path).read_text(encoding="utf-8")
    outline = Outline(page)
    assert outline.headings[0].strip()
    links = {str(a["href"]) for tag, a in outline.tags if tag == "a"}
    files = [link for link in links if not link.startswith("#")]
    assert len(files) > 5
    assert [name for name in files if not (tmp_path / name).is_file()] == []


def without(made: Findings, drop: str) -> Findings:
    """The sample without something."""
    if drop in ("points", "vulnerabilities", "seen"):
        return replace(made, **{drop: ()})  # type: ignore[arg-type]
    if drop == "front":
        return replace(made, front=None)
    if drop == "units":
        bare = tuple(replace(d, units=(), links=(), assignments=()) for d in made.designs)
        return replace(made, designs=bare)
    keep: Callable[[Point], bool] = {
        "mitigations": lambda p: "+" not in p.design,
        "snn": lambda p: p.design.startswith("cnn"),
        "rates": lambda p: p.rate in (None, 1e-2),
    }[drop]
    points = tuple(p for p in made.points if keep(p))
    names = {p.design for p in points}
    designs = tuple(d for d in made.designs if d.name in names)
    kept = [v for v in made.vulnerabilities if v.design in names]
    seen = [s for s in made.seen if s.design in names]
    return replace(
        made, points=points, designs=designs, vulnerabilities=tuple(kept), seen=tuple(seen)
    )
