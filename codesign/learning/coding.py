"""Which input coding a module wants for a data set."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from codesign.errors import LoweringError
from codesign.formats import NumberFormat
from codesign.samples import InputCoding

__all__ = ["coding_for", "direct_coding"]


def direct_coding(
    full_scale: float, *, mean: tuple[float, ...] = (), std: tuple[float, ...] = (), bits: int = 8
) -> InputCoding:
    """Codes for ``(raw / full_scale - mean) / std``, of which the largest fills the format.

    Without a mean the codes are unsigned (and where ``full_scale`` is the format's largest code,
    the raw values themselves), with one they are signed.

    >>> direct_coding(255.0).scale * 255
    1.0
    >>> direct_coding(255.0, mean=(0.5,), std=(0.25,)).format
    NumberFormat(bits=8, signed=True, overflow='saturate')
    """
    form = NumberFormat(bits, signed=bool(mean))
    low = -np.asarray(mean or (0.0,)) / np.asarray(std or (1.0,))
    high = (1.0 - np.asarray(mean or (0.0,))) / np.asarray(std or (1.0,))
    largest = float(max(np.abs(low).max(), np.abs(high).max()))
    return InputCoding("direct", form, largest / form.high, full_scale, mean, std)


def coding_for(module: nn.Module, full_scale: float) -> InputCoding:
    """The coding that a module asks for.

    A module may have the attributes ``input_coding`` (``direct``, ``rate`` or ``latency``; direct
    if absent), ``steps`` (time steps, for the other two) and ``input_mean``, ``input_std`` (of
    direct coding, in units of full scale).

    Args:
        module: Any module.
        full_scale: Raw value that means 1.0.

    Raises:
        LoweringError: An attribute says what no coding is.
    """
    kind: Any = getattr(module, "input_coding", "direct")
    if kind not in ("direct", "rate", "latency"):
        raise LoweringError(
            f"{type(module).__name__}.input_coding is {kind!r}; expected direct, rate or latency"
        )
    mean = tuple(getattr(module, "input_mean", ()))
    std = tuple(getattr(module, "input_std", ()))
    if kind == "direct":
        return direct_coding(full_scale, mean=mean, std=std)
    steps = getattr(module, "steps", None)
    if not isinstance(steps, int) or mean or std:
        raise LoweringError(
            f"{type(module).__name__}: {kind} coding needs an int attribute `steps`, came "
            f"{steps!r}, and takes no input_mean or input_std"
        )
    return InputCoding(kind, NumberFormat(1, signed=False), 1.0, full_scale, steps=steps)
