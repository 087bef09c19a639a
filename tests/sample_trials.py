"""Trials to be seen and a search, for the made-up study of `sample_findings`."""

from __future__ import annotations

import math
import random

from sample_chips import STEPS, interval

from codesign.study.findings import Front, SeenTrial

__all__ = ["sample_front", "sample_seen"]


def sample_seen() -> list[SeenTrial]:
    """Three trials of the SNN, two of the CNN."""
    rng = random.Random(2)
    found = []
    for choice, trial, struck in (("worst", 12, 40), ("typical", 31, 12), ("masked", 5, 0)):
        golden = [[int(rng.random() < 0.16) for _ in range(64)] for _ in range(STEPS)]
        faulty = [row[:] for row in golden]
        for _ in range(struck):
            step, neuron = rng.randrange(4, STEPS), rng.choice((9, 10, 11, 30, 47))
            faulty[step][neuron] ^= 1
        rise = [min(900, 60 * t % 1000) for t in range(STEPS)]
        broken = [v if t < 6 or not struck else min(1023, v + 256) for t, v in enumerate(rise)]
        found.append(
            SeenTrial(
                design="snn",
                scenario="weight_flips",
                trial=trial,
                sample=17,
                choice=choice,
                fault="crossbar.weight_register (0, 12, 9) bit 6 flipped, and 41 more",
                layer="hidden",
                spiking=True,
                golden=list(golden),
                faulty=list(faulty),
                label=3,
                golden_prediction=3,
                faulty_prediction=8 if choice == "worst" else 3,
                neuron=9,
                membrane_golden=tuple(rise),
                membrane_faulty=tuple(broken),
                threshold=768,
            )
        )
    for choice, trial, channel in (("worst", 44, 2), ("masked", 3, None)):
        maps = [_feature_map(c) for c in range(8)]
        wrong = [[row[:] for row in one] for one in maps]
        if channel is not None:
            for y in range(8):
                for x in range(8):
                    wrong[channel][y][x] = max(0, wrong[channel][y][x] - 64)
                    wrong[channel + 3][y][x] = min(255, wrong[channel + 3][y][x] + 9 * (x > 4))
        found.append(
            SeenTrial(
                design="cnn",
                scenario="weight_flips",
                trial=trial,
                sample=4,
                choice=choice,
                fault="array.weight_register (3, 2) bit 7 stuck at 1",
                layer="conv1",
                spiking=False,
                golden=list(maps),
                faulty=list(wrong),
                label=5,
                golden_prediction=5,
                faulty_prediction=9 if choice == "worst" else 5,
            )
        )
    return found


def _feature_map(channel: int) -> list[list[int]]:
    def at(y: int, x: int) -> int:
        ring = math.exp(-((math.hypot(x - 3.5, y - 3.5) - 1.5 - 0.2 * channel) ** 2))
        return round(220 * ring * (0.5 + 0.5 * math.sin(channel + x / 2)))

    return [[max(0, at(y, x)) for x in range(8)] for y in range(8)]


def sample_front() -> Front:
    """A search over widths and guards."""
    rng = random.Random(3)
    candidates: list[dict[str, object]] = []
    for number in range(48):
        bits, guard = rng.choice((4, 6, 8)), rng.choice(("none", "clamp", "ecc"))
        energy = 90 * bits / 8 * {"none": 1.0, "clamp": 1.02, "ecc": 1.3}[guard]
        energy *= rng.uniform(0.92, 1.1)
        accuracy = {4: 0.48, 6: 0.62, 8: 0.66}[bits] + {"none": 0.0, "clamp": 0.16, "ecc": 0.2}[
            guard
        ]
        accuracy += rng.uniform(-0.05, 0.03)
        candidates.append(
            {
                "number": number,
                "parameters": {"weight_bits": bits, "guard": guard},
                "objectives": {"faulty accuracy": accuracy, "energy_nj": energy},
                "state": "failed" if number == 11 else "told",
                "on_front": False,
            }
        )
    for one in candidates:
        one["on_front"] = one["state"] == "told" and not any(
            _beats(other, one) for other in candidates if other["state"] == "told"
        )
    verified: list[dict[str, object]] = []
    for one in candidates:
        if one["on_front"]:
            accuracy, energy = _goals(one)
            verified.append(
                {
                    "name": f"candidate {one['number']}",
                    "kind": "found",
                    "parameters": one["parameters"],
                    "faulty accuracy": interval(accuracy - 0.015, 0.018),
                    "energy_nj": energy,
                }
            )
    for name, accuracy, energy in (("plain int8", 0.64, 92.0), ("ecc everywhere", 0.83, 121.0)):
        verified.append(
            {
                "name": name,
                "kind": "hand-made",
                "parameters": {"weight_bits": 8},
                "faulty accuracy": interval(accuracy, 0.02),
                "energy_nj": energy,
            }
        )
    return Front({"faulty accuracy": "max", "energy_nj": "min"}, tuple(candidates), tuple(verified))


def _goals(candidate: dict[str, object]) -> tuple[float, float]:
    goals = candidate["objectives"]
    assert isinstance(goals, dict)
    return goals["faulty accuracy"], goals["energy_nj"]


def _beats(one: dict[str, object], other: dict[str, object]) -> bool:
    (a, e), (b, f) = _goals(one), _goals(other)
    return a >= b and e <= f and (a, e) != (b, f)
