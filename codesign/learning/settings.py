"""What a study may say about training and quantisation. No torch here: `check` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codesign.schema import spec

__all__ = ["Quantisation", "Training"]


@dataclass(frozen=True)
class Training:
    """How a network is trained: float first, then on codes (quantisation-aware)."""

    epochs: int = spec(default=10, low=0, doc="Float epochs.")
    qat_epochs: int = spec(default=2, low=0, doc="Epochs on codes; 0 quantises after training.")
    batch: int = spec(default=64, low=1, doc="Samples per step.")
    learning_rate: float = spec(default=1e-3, above=0, doc="Of the float epochs, at the start.")
    qat_learning_rate: float = spec(default=1e-4, above=0, doc="Of the epochs on codes.")
    weight_decay: float = spec(default=0.0, low=0, doc="Of the optimiser.")
    optimiser: Literal["adam", "sgd"] = spec(default="adam", doc="Adam, or SGD with momentum 0.9.")
    samples: int | None = spec(default=None, low=1, doc="Use only so many training samples.")
    seed: int = spec(default=1, low=0, doc="Of initial weights and the order of samples.")


@dataclass(frozen=True)
class Quantisation:
    """How a trained network becomes codes."""

    weight_bits: int = spec(default=8, low=2, high=8, doc="Two's complement bits of a weight.")
    activation_bits: int = spec(default=8, low=2, high=8, doc="Bits of a stored activation.")
    per_channel: bool = spec(
        default=True,
        doc="One weight scale for each output channel; layers before neurons have one.",
    )
    weight_headroom_bits: int = spec(
        default=0, low=0, high=4, doc="The clean maximum weight is at most full range / 2**this."
    )
    membrane_bits: int = spec(default=24, low=4, high=32, doc="Of the network's own membranes.")
    leak_bits: int = spec(default=8, low=1, high=14, doc="Fraction bits of the leak factor.")
    calibration: int = spec(default=200, low=1, doc="Calibration samples for activation ranges.")
    percentile: float = spec(
        default=99.99, above=50, high=100, doc="Of activations, taken as the top code."
    )
