"""What each recorded call means to the graph; what means nothing to it is refused with advice."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codesign.learning.lowering_build import Builder, input_of, refuse, settings
from codesign.learning.lowering_neurons import take_neuron
from codesign.learning.lowering_shapes import SHAPES, pair
from codesign.learning.skeleton import Weights
from codesign.learning.tracing import Call
from codesign.network import Conv2d, Linear

__all__ = ["take"]

NO_SPIKES = "draw no spikes in the forward; rate coding is the input coding's work"
NORMALISE = "use nn.BatchNorm2d behind a convolution, which is folded into its weights"
SCALE = "fold the factor into the weights, or into the input coding's mean and deviation"
BEND = "use nn.ReLU or nn.ReLU6, which the ends of a range of codes express"
ADVICE = {
    "Conv1d": "use nn.Conv2d with a kernel of one row",
    "LayerNorm": NORMALISE,
    "GroupNorm": NORMALISE,
    "InstanceNorm2d": NORMALISE,
    "mul": SCALE,
    "div": SCALE,
    "sub": "fold it into a bias, or into the input coding's mean",
    "matmul": "use nn.Linear",
    "bernoulli": NO_SPIKES,
    "rand_like": NO_SPIKES,
    **dict.fromkeys(("LeakyReLU", "PReLU", "ELU", "GELU", "SiLU", "Sigmoid", "Tanh"), BEND),
    **dict.fromkeys(("Hardswish", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh"), BEND),
}


def take(build: Builder, call: Call) -> None:
    """Add what a call means to the graph.

    Raises:
        LoweringError: It cannot be lowered; the message names the layer and says what to do.
    """
    if take_neuron(build, call):
        return
    meaning = MEANINGS.get(call.name)
    if meaning is None:
        known = ", ".join(sorted(name for name in MEANINGS if name[0].isupper()))
        advice = ADVICE.get(call.name, f"the layers that it has are {known} and snntorch.Leaky")
        raise refuse(call, f"an integer program has nothing like it; {advice}")
    meaning(build, call)


def _weights(weight: Any, bias: Any) -> tuple[Weights, NDArray[np.int64]]:
    """Real weights of a layer, and a placeholder for the codes."""
    # Weights made of the input would have its batch size, which two recordings have ruled out.
    assert isinstance(weight, Tensor)
    bias = torch.zeros(weight.shape[0]) if bias is None else bias.detach().float().clone()
    placeholder = np.zeros(tuple(weight.shape), dtype=np.int64)
    return Weights(weight.detach().float().clone(), bias), placeholder


def _conv(build: Builder, call: Call) -> None:
    a = settings(call, weight=None, bias=None, stride=1, padding=0, dilation=1, groups=1)
    weights, codes = _weights(a["weight"], a["bias"])
    x, mode = input_of(call), getattr(call.module, "padding_mode", "zeros")
    if pair(a["dilation"]) != (1, 1) or mode != "zeros":
        raise refuse(call, f"dilation {pair(a['dilation'])}, padding_mode {mode!r}; use 1, 'zeros'")
    if len(build.shape(x)) != 3:
        raise refuse(call, f"a sample has shape {build.shape(x)}; expected [channels, h, w]")
    layer = Conv2d(
        build.name(call),
        (build.edge(x),),
        weight=codes,
        bias=np.zeros(len(codes), dtype=np.int64),
        stride=pair(a["stride"]),
        padding=_conv_padding(a["padding"], codes.shape[2:]),
        groups=a["groups"],
    )
    build.add(call, layer, weights)


def _conv_padding(padding: Any, kernel: tuple[int, ...]) -> tuple[int, int, int, int]:
    if padding == "same":  # torch puts the odd one behind
        rows, cols = kernel[0] - 1, kernel[1] - 1
        return (rows // 2, rows - rows // 2, cols // 2, cols - cols // 2)
    rows, cols = pair(0 if padding == "valid" else padding)
    return (rows, rows, cols, cols)


def _linear(build: Builder, call: Call) -> None:
    a = settings(call, weight=None, bias=None)
    weights, codes = _weights(a["weight"], a["bias"])
    bias = np.zeros(len(codes), dtype=np.int64)
    edges = (build.edge(input_of(call)),)
    build.add(call, Linear(build.name(call), edges, weight=codes, bias=bias), weights)


def _batch_norm(build: Builder, call: Call) -> None:
    m, x = call.module, input_of(call)
    assert isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)
    if m.running_mean is None or m.running_var is None:
        raise refuse(call, "it keeps no running statistics; use track_running_stats=True")
    n = m.num_features
    gain = torch.ones(n) if m.weight is None else m.weight.detach()
    offset = torch.zeros(n) if m.bias is None else m.bias.detach()
    scale = (gain.double() / (m.running_var.detach().double() + m.eps).sqrt()).float()
    shift = offset.float() - m.running_mean.detach().float() * scale
    if build.fold(call, x, scale, shift):
        return
    if len(build.shape(x)) != 3:
        raise refuse(call, "put it directly behind the linear layer that it is to be folded into")
    # Nothing to fold into: a depthwise 1 x 1 convolution says the same.
    codes = np.zeros((n, 1, 1, 1), dtype=np.int64)
    bias = np.zeros(n, dtype=np.int64)
    edges = (build.edge(x),)
    layer = Conv2d(build.name(call), edges, weight=codes, bias=bias, groups=n)
    build.add(call, layer, Weights(scale.reshape(n, 1, 1, 1), shift))


def _relu(build: Builder, call: Call) -> None:
    build.clip(call, input_of(call), 0.0, inf)


def _relu6(build: Builder, call: Call) -> None:
    build.clip(call, input_of(call), 0.0, 6.0)


def _hardtanh(build: Builder, call: Call) -> None:
    a = settings(call, min_val=-1.0, max_val=1.0)
    _clip(build, call, a["min_val"], a["max_val"])


def _clamp(build: Builder, call: Call) -> None:
    a = settings(call, min=None, max=None)
    _clip(build, call, a["min"], a["max"])


def _clip(build: Builder, call: Call, low: Any, high: Any) -> None:
    ends = (-inf if low is None else low, inf if high is None else high)
    if not all(isinstance(end, int | float) for end in ends) or not ends[0] <= 0 < ends[1]:
        raise refuse(call, f"it clips to {low}..{high}; a range of codes holds 0 and more")
    build.clip(call, input_of(call), float(ends[0]), float(ends[1]))


def _softmax(build: Builder, call: Call) -> None:
    if not build.is_output(call):
        raise refuse(call, "only at the very end, where it leaves the prediction as it is")
    build.softmax = call
    build.same(call, input_of(call))


def _same(build: Builder, call: Call) -> None:
    build.same(call, input_of(call))


MEANINGS: dict[str, Callable[[Builder, Call], None]] = {
    **dict.fromkeys(("Conv2d", "conv2d"), _conv),
    **dict.fromkeys(("Linear", "linear"), _linear),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d"), _batch_norm),
    **dict.fromkeys(("ReLU", "relu", "relu_"), _relu),
    **dict.fromkeys(("ReLU6", "relu6"), _relu6),
    **dict.fromkeys(("Hardtanh", "hardtanh"), _hardtanh),
    **dict.fromkeys(("clamp", "clamp_", "clamp_min"), _clamp),
    **dict.fromkeys(("Softmax", "LogSoftmax", "softmax", "log_softmax"), _softmax),
    **dict.fromkeys(("Identity", "Dropout", "Dropout1d", "Dropout2d"), _same),
    **dict.fromkeys(("dropout", "dropout2d", "contiguous", "clone", "detach", "float"), _same),
    **SHAPES,
}
