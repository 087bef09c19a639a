"""A made-up study that looks like a real one: a CNN on an array beside an SNN on a mesh of cores.

Nothing here is measured. The numbers come from short formulas, so that every picture of the page
has something to show and two builds of the page are equal.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from sample_chips import CNN, GOLDEN, STEPS, interval, sample_designs
from sample_trials import sample_front, sample_seen

from codesign.study.findings import (
    DesignFinding,
    Findings,
    NetworkFinding,
    Point,
    Vulnerability,
)

__all__ = ["RATES", "interval", "sample_findings", "small_findings"]

RATES = (1e-4, 1e-3, 1e-2, 1e-1)
TRIALS, SAMPLES = 60, 200
STUDY = """title: Digits on an 8 × 8 array and on a 2 × 2 mesh of cores
networks:
  cnn: {use: networks:SmallCnn}
  snn: {use: networks:Mlp}
"""
HALF_RATE = {  # rate at which half of what can be lost is lost
    ("cnn", "none"): 8e-3,
    ("cnn", "range_restriction"): 2.5e-2,
    ("cnn", "ecc"): 4e-2,
    ("cnn", "re_execution"): 8e-3,
    ("snn", "none"): 3e-2,
    ("snn", "range_restriction"): 3.1e-2,
    ("snn", "ecc"): 9e-2,
    ("snn", "re_execution"): 3e-2,
}


def sample_findings() -> Findings:
    """The study."""
    designs = (*sample_designs("cnn", "array8"), *sample_designs("snn", "mesh4"))
    return Findings(
        title="Digits on an 8 × 8 array and on a 2 × 2 mesh of cores",
        note="A made-up study: the numbers come from formulas, nothing was measured.",
        study=STUDY,
        command="codesign run digits.yaml --seed 7",
        networks=_networks(),
        designs=designs,
        points=tuple(_points(designs)),
        vulnerabilities=tuple(_vulnerabilities()),
        seen=tuple(sample_seen()),
        chance=0.11,
        versions={"codesign": "0.1.0", "engine": "dense 1", "numpy": "2.4.1", "python": "3.11.2"},
        seed=7,
        front=sample_front(),
        failed=("snn+re_execution at 1e-1: every draw struck all executions alike",),
        absent=("Quantisation sweep: the study asks for one width only",),
        seconds=184.2,
        peak_memory_mb=611.0,
    )


def small_findings() -> Findings:
    """The least that a study can say: one network on one chip, no trial, no mitigation."""
    whole = sample_findings()
    base = replace(whole.designs[0], assignments=(), units=(), links=())
    return replace(
        whole,
        networks=whole.networks[:1],
        designs=(base,),
        points=(),
        vulnerabilities=(),
        seen=(),
        front=None,
        failed=(),
        absent=(),
    )


def _networks() -> tuple[NetworkFinding, ...]:
    cnn = NetworkFinding("cnn", False, 3642, 27712, 1, 0.981, 0.975, SAMPLES, 8, 6.2)
    snn = NetworkFinding("snn", True, 4810, 94720, STEPS, 0.968, 0.955, SAMPLES, 8, 21.5)
    return cnn, snn


def _accuracy(network: str, mitigation: str, rate: float) -> float:
    golden = GOLDEN[network]
    if mitigation == "range_restriction":
        golden -= 0.005
    half = HALF_RATE[network, mitigation]
    left = 1 / (1 + (rate / half) ** 1.3)
    return 0.11 + (golden - 0.11) * left


def _points(designs: tuple[DesignFinding, ...]) -> list[Point]:
    found = []
    for design in designs:
        for rate in RATES:
            found.append(_point(design, rate))
    for design in designs:
        if design.mitigation == "none":
            found.append(_single(design))
    return found


def _point(design: DesignFinding, rate: float) -> Point:
    accuracy = _accuracy(design.network, design.mitigation, rate)
    lost = design.golden_accuracy - accuracy
    half = 0.002 + 0.05 * math.sqrt(max(0.0, lost * (0.9 - lost)))
    gain = None
    if design.mitigation != "none":
        gained = accuracy - _accuracy(design.network, "none", rate)
        gain = interval(gained, 0.6 * half)
    sdc = min(0.95, 1.05 * lost + 0.002)
    tolerated = (1 - sdc) * min(0.8, rate * 20)
    detected = 0.1 * sdc if design.mitigation in ("ecc", "re_execution") else 0.0
    corrected = 0.4 * (1 - sdc - tolerated) if design.mitigation == "ecc" else 0.0
    shares = {
        "tolerated": tolerated,
        "sdc": sdc - detected,
        "corrected": corrected,
        "detected": detected,
        "hang": 0.004 if design.network == "snn" and rate == 1e-1 else 0.0,
    }
    drawn = round(TRIALS * rate * 29_000) + 1
    could_act = min(TRIALS, round(TRIALS * (1 - math.exp(-rate * 9000))))
    return Point(
        task=f"{design.name}@{rate:g}",
        design=design.name,
        scenario="weight_flips",
        rate=rate,
        trials=TRIALS,
        target=TRIALS,
        stopped="effort",
        samples=SAMPLES,
        accuracy=interval(accuracy, half),
        loss=interval(lost, half),
        gain=gain,
        unpaired_gain=None,
        shares={"masked": 1 - sum(shares.values()), **shares},
        drawn=drawn,
        idle=drawn // 3,
        collapsed=drawn // 20,
        could_act=could_act,
        acted=max(0, could_act - 4),
        seconds=5.0,
    )


def _single(design: DesignFinding) -> Point:
    """One fault a trial, many trials."""
    lost = 0.021 if design.network == "cnn" else 0.009
    shares = {"masked": 0.7, "tolerated": 0.27, "sdc": 0.03}
    shares |= {"corrected": 0.0, "detected": 0.0, "hang": 0.0}
    return Point(
        task=f"{design.name}@one",
        design=design.name,
        scenario="one_flip",
        rate=None,
        trials=1000,
        target=2000,
        stopped="interrupted",
        samples=SAMPLES,
        accuracy=interval(design.golden_accuracy - lost, 0.002, 1000),
        loss=interval(lost, 0.002, 1000),
        gain=None,
        unpaired_gain=None,
        shares=shares,
        drawn=1000,
        idle=312,
        collapsed=41,
        could_act=688,
        acted=301,
        seconds=61.0,
    )


def _vulnerabilities() -> list[Vulnerability]:
    rng = random.Random(1)
    found: list[Vulnerability] = []

    def add(design: str, group: str, key: str, loss: float, trials: int) -> None:
        loss *= rng.uniform(0.7, 1.3)
        spread = interval(loss, 0.3 * loss + 0.5 / trials, trials)
        found.append(Vulnerability(design, "one_flip", group, key, spread, trials))

    for layers, design, unit in (
        (tuple(name for name, *_ in CNN), "cnn", "array.weight_register"),
        (("hidden", "output"), "snn", "crossbar.weight_register"),
    ):
        for i, layer in enumerate(layers):
            add(design, "layer", layer, 0.03 / (1 + i), 240)
            for bit in range(8):
                weight = 2.0**bit / 128 * (1.4 if bit == 7 else 1)
                add(design, "layer·bit", f"{layer}·{bit}", 0.12 * weight / (1 + i), 30)
        for bit in range(8):
            add(design, "bit", f"{unit}·{bit}", 0.08 * 2.0**bit / 128, 120)
        add(design, "unit.component", unit, 0.03, 500)
    add("cnn", "unit.component", "array.psum_register", 0.05, 300)
    add("cnn", "unit.component", "array.input_register", 0.008, 200)
    add("snn", "unit.component", "neuron.membrane", 0.014, 300)
    for unit, instance, loss in _struck():
        design = "cnn" if unit.startswith("array") else "snn"
        add(design, "instance", f"{unit}·{instance}", loss, 15)
    return found


def _struck() -> Iterator[tuple[str, str, float]]:
    """Instances in which a fault was drawn, and about what it cost."""
    for row, column in product(range(8), range(8)):
        yield "array.weight_register", f"{row},{column}", 0.01 + 0.004 * row + 0.002 * column
    for core, column in product(range(4), range(20)):
        if column % 7 != 3:
            yield "neuron.membrane", f"{core},{column}", 0.004 + 0.01 * (core == 3)
