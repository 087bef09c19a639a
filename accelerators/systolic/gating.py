"""How many products of a layer switch a multiplier, if zeros do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from accelerators.reads import input_elements
from codesign.mapping import Activity
from codesign.network import Conv2d, Linear, NetworkGraph

if TYPE_CHECKING:
    from accelerators.systolic.family import Systolic
    from accelerators.systolic.schedule import LayerPlan

__all__ = ["needed_activity", "switched"]


def switched(sheet: Systolic, network: NetworkGraph, plan: LayerPlan, activity: Activity) -> float:
    """Products of one layer and inference that are not gated off.

    Zeros of weights and of the padding are counted exactly. Of the zeros that a layer reads only
    their measured share is known: they count as spread evenly over what it reads, so a layer whose
    zeros sit at the border of an image, or under weights that are 0 too, saves a little less or
    more. Without a measurement no code counts as 0.
    """
    layer = network.layers[plan.index]
    if sheet.zero_gating == "none" or not isinstance(layer, Conv2d | Linear):
        return float(plan.m * plan.k * plan.n)
    reads = np.full((plan.groups, plan.k), float(plan.m))  # positions that read something, by term
    if sheet.zero_gating != "weight":
        reads = (input_elements(network, layer) >= 0).sum(axis=0).astype(float)
        reads *= 1.0 - activity.zeros.get(layer.inputs[0].source, 0.0)
    weights = np.full((plan.groups, plan.k), plan.n // plan.groups)
    if sheet.zero_gating != "input":
        weights = (layer.weight.reshape(plan.groups, -1, plan.k) != 0).sum(axis=1)
    return float((reads * weights).sum())


def needed_activity(sheet: Systolic, network: NetworkGraph, activity: Activity) -> Iterator[str]:
    """Names of measurements that gating needs and the activity has not."""
    if sheet.zero_gating in ("input", "both"):
        for layer in network.layers:
            source = layer.inputs[0].source if isinstance(layer, Conv2d | Linear) else ""
            if source and source not in activity.zeros:
                yield f"activity.zeros of {source}"
