"""Titles of the page claim no more than the numbers bear."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_chips import interval
from sample_findings import sample_findings

from codesign.intervals import Interval
from codesign.report.curves import curve_section
from codesign.report.hurts import hurt_section
from codesign.report.numbers import points
from codesign.study.findings import Findings

UNSURE = interval(0.004, 0.006)


def titles(findings: Findings) -> list[str]:
    return [figure.title for figure in hurt_section(findings).figures]


def with_losses(loss: Interval, group: str = "") -> Findings:
    """The sample findings where every place (of a group) lost the same."""
    whole = sample_findings()
    changed = tuple(
        replace(v, loss=loss) if group in ("", v.group) else v for v in whole.vulnerabilities
    )
    return replace(whole, vulnerabilities=changed)


@pytest.mark.parametrize("loss", [UNSURE, Interval(0.0, -0.98, 0.98, 0.95, 1, "exact bound")])
def test_where_no_place_surely_costs_anything_none_is_called_the_worst(loss: Interval) -> None:
    layer_and_bit, on_the_chip, _ = titles(with_losses(loss))
    assert layer_and_bit == "No bit of a layer is seen to cost accuracy"
    assert on_the_chip == "No place on the chip is seen to hurt more than nothing"


def test_one_place_of_very_many_that_stands_out_by_luck_is_not_called_the_worst() -> None:
    whole = with_losses(interval(0.0, 0.02), "instance")
    others = [v for v in whole.vulnerabilities if v.group != "instance"]
    first, *rest = (v for v in whole.vulnerabilities if v.group == "instance")
    assert len(rest) > 100
    lucky = replace(first, loss=interval(0.022, 0.02))  # 2.2 standard errors from nothing
    told = titles(replace(whole, vulnerabilities=(*others, lucky, *rest)))
    assert told[1] == "No place on the chip is seen to hurt more than nothing"
    alone = titles(replace(whole, vulnerabilities=(*others, lucky)))
    assert "hurt most" in alone[1]


def test_what_surely_costs_most_is_named_and_not_what_varied_most() -> None:
    whole = sample_findings()
    noisy = next(v for v in whole.vulnerabilities if v.key == "conv1·0")
    changed = tuple(
        replace(v, loss=interval(0.9, 0.95)) if v is noisy else v for v in whole.vulnerabilities
    )
    told = titles(replace(whole, vulnerabilities=changed))
    assert told[0].startswith("Bit 7 of hidden in snn costs most: 20.3")


def test_an_average_over_single_faults_is_not_called_a_maximum() -> None:
    section = curve_section(sample_findings())
    told = [figure.title for figure in section.figures if "single fault" in figure.title]
    assert told == [
        "What a single fault costs on average: 2.1 ± 0.2 points in cnn, the most of all"
    ]


def test_what_was_always_right_is_told_by_its_bound() -> None:
    """Half the width behind ± would say 95.6 at least, where the interval says 91.2."""
    assert points(Interval(1.0, 0.912, 1.0, 0.95, 40, "Wilson")) == "> 91.2"
    assert points(Interval(0.999, 0.99, 1.0, 0.95, 40, "Wilson")) == "99.9 ± 0.5"
