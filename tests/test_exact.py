"""Integer arithmetic in floats is exact; its gradients are slopes without the rounding."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch

from codesign.learning.exact import leak, requantise, round_to, type_for
from codesign.learning.scales import ratio_to_integers


@pytest.mark.parametrize("shift", [0, 1, 7, 23, 40])
def test_requantisation_in_floats_is_that_of_exact_fractions(shift: int) -> None:
    draw = np.random.default_rng(shift)
    sums = draw.integers(-(2**36), 2**36, 400)
    sums[:6] = [0, 1, -1, 3, -3, 2**36]
    multipliers = draw.integers(0, 2**15, 400)
    ends = (-(2**30), 2**30) if shift < 23 else (-128, 127)
    found = requantise(
        torch.tensor(sums, dtype=torch.float64),
        torch.tensor(multipliers, dtype=torch.float64),
        shift,
        *ends,
    )
    for total, multiplier, code in zip(sums, multipliers, found.tolist(), strict=True):
        exact = floor(Fraction(int(total) * int(multiplier), 2**shift) + Fraction(1, 2))
        # The result is a float32: exact as a code, and compared as one.
        assert code == float(np.float32(min(max(exact, ends[0]), ends[1])))


@pytest.mark.parametrize("kind", ["multiply", "shift", "subtract", "none"])
def test_leaks_in_floats_are_those_of_the_integers(kind: str) -> None:
    for v in (-1000, -17, -1, 0, 1, 5, 16, 999, 2**23 - 1):
        wanted = {
            "multiply": floor(Fraction(v * 201, 256) + Fraction(1, 2)),
            "shift": v - (v >> 8),
            "subtract": max(v - 8, 0) if v > 0 else min(v + 8, 0),
            "none": v,
        }[kind]
        amount = 8
        assert leak(torch.tensor([float(v)]), kind, amount, 201).item() == wanted


def test_gradients_are_slopes_without_the_rounding_and_end_where_it_clips() -> None:
    x = torch.tensor([-4.0, 10.0, 600.0], requires_grad=True)
    requantise(x, torch.tensor([3.0, 3.0, 3.0], dtype=torch.float64), 2, 0, 255).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.75, 0.0]  # -3 is below 0, 450 above 255
    x = torch.tensor([0.3, 3.6], requires_grad=True)
    round_to(x, -3, 3).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 0.0]
    v = torch.tensor([100.0], requires_grad=True)
    leak(v, "multiply", 2, 3).sum().backward()
    assert v.grad is not None
    assert v.grad.tolist() == [0.75]


def test_multipliers_fill_fifteen_bits_and_are_nearest() -> None:
    for ratio in (1.0, 0.4999999, 0.99999, 3.7e-5, 123.4):
        (multiplier,), shift = ratio_to_integers(np.array([ratio]), "x")
        assert 2**14 <= multiplier < 2**15
        assert abs(multiplier / 2**shift - ratio) <= 0.5 / 2**shift


def test_the_narrowest_exact_type_is_taken() -> None:
    assert float(torch.tensor(2.0**24 + 1, dtype=type_for(2**24 + 1))) == 2**24 + 1
    assert type_for(2**24) == torch.float32
