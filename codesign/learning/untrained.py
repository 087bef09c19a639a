"""A network in integers with the weights that its module has, trained or not."""

from __future__ import annotations

import torch

from codesign.learning.coding import coding_for
from codesign.learning.lowering import EXAMPLES, skeleton_of
from codesign.learning.quantization import QuantModel
from codesign.learning.settings import Quantisation
from codesign.learning.tracing import forget_neurons, reset_neurons
from codesign.learning.training import Model
from codesign.network import NetworkGraph
from codesign.samples import Splits

__all__ = ["untrained"]


def untrained(model: Model, data: Splits, quantisation: Quantisation, seed: int) -> NetworkGraph:
    """Lower and quantise a module as it is built: nothing is trained, no accuracy measured.

    Args:
        model: With fresh or with loaded weights.
        data: Its calibration samples give the ranges.
        quantisation: Widths.
        seed: Of fresh weights.

    Raises:
        LoweringError: The model cannot be lowered.
        DataError: There are no calibration samples.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = model.build()
        forget_neurons(module)
        samples = data.calibration.take(min(quantisation.calibration, len(data.calibration)))
        skeleton = skeleton_of(
            module,
            samples.take(min(EXAMPLES, len(samples))),
            coding=model.coding or coding_for(module, data.full_scale),
            steps=model.steps,
            name=model.name,
        )
        lowered = QuantModel(skeleton, quantisation)
        lowered.calibrate(samples)
    reset_neurons(module)
    return lowered.network()
