"""A study that may stop early: what it stops by is what it reports."""

import numpy as np
from test_conclude import campaign, concluded, row

from codesign.looks import interval_at_look
from codesign.study.conclude import points
from codesign.study.rows import Task
from codesign.study.running import jobs_of, stop_rule


def task(name):
    return Task.of(name, {"what": name}, {})


def test_each_job_looks_at_its_own_number_of_trials_whatever_stands_before_it():
    long, short = task("long"), task("short")
    behind, alone = jobs_of([(long, 90), (short, 20)], 0.1), jobs_of([(short, 20)], 0.1)
    assert [job.looks for job in behind] == [(20, 40, 80, 90), ()]
    assert [job.looks for job in alone] == [()]
    assert [job.looks for job in jobs_of([(long, 90)], None)] == [()]


def test_a_job_stops_only_when_the_interval_that_is_reported_is_narrow_enough():
    (job,) = jobs_of([(task("long"), 5000)], 0.1)
    rows = [row(i, 9 - i % 2) for i in range(40)]
    accuracy = np.array([each.correct / 10 for each in rows])
    reported = interval_at_look(accuracy, job.looks).half_width
    alone = interval_at_look(accuracy, (20, 40)).half_width
    assert alone < reported  # more looks planned: wider
    between = (alone + reported) / 2
    for wanted, stops in ((between, False), (reported * 1.001, True)):
        rule = stop_rule([job], wanted)
        assert rule is not None
        assert rule(job.task.digest, rows) is stops


def test_a_gain_of_campaigns_that_may_stop_early_holds_at_every_look():
    looks = (20, 40, 80)
    rows = [row(i, (9, 7, 5, 3)[i % 4]) for i in range(40)]
    better = [row(i, (9, 8, 6, 4)[i % 4]) for i in range(40)]
    made = [
        concluded(campaign(name), found, target=80, looks=looks)
        for name, found in (("plain", rows), ("g", better))
    ]
    gain = points(made)[1].gain
    assert gain is not None
    difference = np.array([b.correct - a.correct for a, b in zip(rows, better, strict=True)]) / 10
    expected = interval_at_look(difference, looks, bounds=(-1.0, 1.0))
    assert (gain.low, gain.high, gain.method) == (expected.low, expected.high, "betting, 3 looks")
