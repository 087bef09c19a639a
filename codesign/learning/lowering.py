"""Lower a torch or snntorch module, its ``forward`` as it is, to an integer network.

The module runs a few times on example inputs and is recorded; the record is folded along time, each
call becomes a layer (batch norm and ReLU fold into the layer before them), and the layers in real
numbers must give what the module gave. Quantisation makes integers of them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from codesign.errors import LoweringError
from codesign.learning.folding import Folded, fold, require_equal
from codesign.learning.lowering_build import Builder
from codesign.learning.lowering_calls import take
from codesign.learning.lowering_finish import finish
from codesign.learning.lowering_neurons import AT_ONCE
from codesign.learning.quantization import QuantModel
from codesign.learning.running import RealArithmetic, execute
from codesign.learning.settings import Quantisation
from codesign.learning.skeleton import Skeleton
from codesign.learning.tracing import record
from codesign.network import Input, Lif, NetworkGraph
from codesign.samples import InputCoding, Samples

__all__ = ["lower", "real_inputs", "skeleton_of"]

EXAMPLES = 5  # samples of the two recordings: two, then three
# Folding batch norm rounds otherwise than the module; a wrong graph is off by orders more.
TOLERANCE = 1e-3
SPIKES_APART = 0.02  # share of the spikes: a membrane next to its threshold rounds to either side


def lower(
    module: nn.Module,
    calibration: Samples,
    *,
    coding: InputCoding,
    quantisation: Quantisation | None = None,
    steps: int | None = None,
    name: str = "",
) -> NetworkGraph:
    """Quantise a module after training, without further training.

    Args:
        module: Its weights are read, not changed.
        calibration: Raw samples from which the ranges of activations are taken.
        coding: How raw samples become codes; see `codesign.learning.coding.coding_for`.
        quantisation: Widths; 8 bits if left out.
        steps: None if one forward makes all time steps (or there are none), else how often a
            forward is called, each making one step.
        name: Of the network; the module's class if left out.

    Raises:
        LoweringError: Something in the module cannot be lowered: which layer, why, and what to do.
    """
    skeleton = skeleton_of(module, calibration, coding=coding, steps=steps, name=name)
    model = QuantModel(skeleton, quantisation or Quantisation())
    model.calibrate(calibration)
    return model.network()


def skeleton_of(
    module: nn.Module,
    examples: Samples,
    *,
    coding: InputCoding,
    steps: int | None = None,
    name: str = "",
) -> Skeleton:
    """The layers of a module in real numbers, checked against the module; see `lower`.

    Args:
        module: Its weights are read, not changed.
        examples: At least five raw samples to run the module on.
        coding: How raw samples become codes.
        steps: As of `lower`.
        name: As of `lower`.
    """
    if len(examples) < EXAMPLES:
        raise LoweringError(f"{len(examples)} example samples; lowering takes {EXAMPLES}")
    reals, timed = real_inputs(examples.take(EXAMPLES), coding)
    first = _folded(module, reals[:2], timed, steps)
    second, rest = _again(module, reals[2:], timed, steps)
    require_equal(first, second)
    build = Builder(first, Input("input", (), shape=_shape(reals, timed), format=coding.format))
    for call in first.calls:
        take(build, call)
    skeleton = finish(build, coding, name or type(module).__name__)
    for folded, part in ((first, reals[:2]), (second, rest)):
        _compare(skeleton, folded, part, timed, build.softmax is not None)
    return skeleton


def real_inputs(samples: Samples, coding: InputCoding) -> tuple[Tensor, bool]:
    """What the module reads, and whether it is timed.

    ``[samples, ...]``, or ``[samples, steps, ...]`` if timed, float32. Direct coding gives the
    real value that a code stands for; else a spike is 1.
    """
    coded = coding.apply(samples)
    scale = coding.scale if coding.kind == "direct" else 1.0
    return torch.from_numpy(np.asarray(coded.inputs, dtype=np.float32)) * scale, coded.timed


def _shape(reals: Tensor, timed: bool) -> tuple[int, ...]:
    return tuple(reals.shape[2 if timed else 1 :])


def _folded(module: nn.Module, reals: Tensor, timed: bool, steps: int | None) -> Folded:
    """Record a module on inputs and fold the record."""
    over_time = reals.transpose(0, 1) if timed else reals
    if steps is not None and timed and len(over_time) != steps:
        raise LoweringError(f"the input has {len(over_time)} time steps, the module {steps}")
    given = [over_time] if steps is None else list(over_time) if timed else [reals] * steps
    try:
        recording = record(module, given)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        raise LoweringError(
            f"{type(module).__name__} cannot read inputs of shape {tuple(given[0].shape)}: {error}"
        ) from error
    return fold(recording, timed=timed)


def _again(
    module: nn.Module, reals: Tensor, timed: bool, steps: int | None
) -> tuple[Folded, Tensor]:
    """A second record, on fewer time steps if the module takes as many as come; and its inputs."""
    if timed and steps is None and reals.shape[1] > 2:
        with suppress(LoweringError):  # it counts the steps itself
            fewer = reals[:, :-1]
            return _folded(module, fewer, timed, steps), fewer
    return _folded(module, reals, timed, steps), reals


def _compare(skeleton: Skeleton, folded: Folded, reals: Tensor, timed: bool, softmax: bool) -> None:
    """Refuse a graph that does not compute what the module computed."""
    graph = replace(skeleton.graph, steps=folded.steps)
    with torch.no_grad():
        values = execute(graph, RealArithmetic(skeleton), reals, timed=timed)
    found, _ = values[graph.layers[-1].name]
    wanted = torch.stack(folded.every)
    found = found.expand(wanted.shape) if found.dim() < wanted.dim() else found
    if softmax:
        # Of a softmax or of its logarithm: which of the two, the sign tells.
        found = found.log_softmax(-1)
        wanted = torch.where(wanted >= 0, wanted.clamp(min=1e-30).log(), wanted)
    if skeleton.neurons:
        apart = float((found != wanted).double().mean())
        if apart <= SPIKES_APART:
            return
        what = f"{100 * apart:.1f} % of the output spikes differ"
    else:
        apart = float((found - wanted).abs().max() / (wanted.abs().max() + 1e-30))
        if apart <= TOLERANCE:
            return
        what = f"outputs differ by {apart:.2g} of the largest"
    raise LoweringError(_unequal(skeleton, what))


def _unequal(skeleton: Skeleton, what: str) -> str:
    late = [
        layer.name
        for layer in skeleton.graph
        if isinstance(layer, Lif) and layer.order == AT_ONCE and layer.reset == "subtract"
    ]
    advice = (
        f"{', '.join(late)}: with reset_delay=False snntorch treats a membrane that is above its "
        "threshold after subtraction otherwise than this program; use reset_mechanism='zero' or "
        "reset_delay=True"
        if late
        else "an operation in place on a view, a data-dependent value or state between forwards "
        "are the usual reasons; take them out of the forward"
    )
    return (
        f"{skeleton.graph.name}: the lowered layers do not compute what the module does ({what}); "
        f"{advice}"
    )
