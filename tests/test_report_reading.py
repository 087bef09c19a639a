"""What a page takes from findings first."""

from __future__ import annotations

from dataclasses import replace

from sample_chips import interval
from sample_findings import sample_findings

from codesign.report.reading import headline


def test_the_headline_is_where_a_mitigation_shows_the_surest_gain() -> None:
    head = headline(sample_findings())
    assert head is not None
    found = sample_findings()
    both = [p for p in found.points if p.scenario == "weight_flips" and p.gain is not None]
    surest = max(both, key=lambda p: p.gain.low if p.gain else -1.0)
    assert (head.scenario, head.rate) == ("weight_flips", surest.rate)
    assert head.comparisons == {"cnn": 12, "snn": 12}  # 3 mitigations at 4 rates


def test_without_mitigations_the_headline_is_half_way_down() -> None:
    whole = sample_findings()
    plain = tuple(p for p in whole.points if p.gain is None and p.design == "cnn" and p.rate)
    head = headline(replace(whole, points=plain))
    assert head is not None
    assert head.rate == 1e-2  # where 48 % accuracy is left between 97.5 and 11


def test_a_gain_where_nothing_is_surely_lost_is_no_headline() -> None:
    whole = sample_findings()
    points = [p for p in whole.points if p.design.startswith("cnn") and p.rate]
    low = min(p.rate for p in points if p.rate)
    unsure = [
        p
        if p.rate != low
        else replace(
            p,
            loss=interval(0.004, 0.01),
            gain=p.gain and interval(0.5, 0.01),
        )
        for p in points
    ]
    head = headline(replace(whole, points=tuple(unsure)))
    assert head is not None
    assert head.rate != low
