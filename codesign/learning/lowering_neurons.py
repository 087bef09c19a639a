"""Spiking neurons of snntorch: what they remember, and in which order they compute.

snntorch 1.0 `Leaky`, step by step: the reset is decided on the membrane *before* the step. With
``reset_delay=True`` (its default) a neuron that fired is reset within the next step:

- ``subtract``: v = beta · v + I - reset · threshold, that is leak, integrate, reset, fire;
- ``zero``: v = beta · (1 - reset) · v + I, that is reset, leak, integrate, fire.

With ``reset_delay=False`` it is reset in the step in which it fires: leak, integrate, fire, reset.
One corner differs: when subtraction leaves a membrane above the threshold, snntorch subtracts a
second time before it compares, and gives it back when that stops the neuron from firing. The
program's neuron compares first. The check of a lowered graph against the module finds networks in
which it matters.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import snntorch
import torch
from snntorch import SpikingNeuron

from codesign.learning.lowering_build import Builder, input_of, refuse
from codesign.learning.skeleton import Neuron
from codesign.learning.tracing import Call, Ref
from codesign.network import Lif

__all__ = ["take_neuron"]

Order = tuple[str, str, str, str]
AT_ONCE: Order = ("leak", "integrate", "fire", "reset")
LATE: dict[str, Order] = {
    "subtract": ("leak", "integrate", "reset", "fire"),
    "zero": ("reset", "leak", "integrate", "fire"),
    "none": AT_ONCE,
}


def take_neuron(build: Builder, call: Call) -> bool:
    """Add a spiking layer; False if the call is of something else.

    Raises:
        LoweringError: A neuron, or an option of it, that the integer program cannot express.
    """
    module = call.module
    if not isinstance(module, SpikingNeuron):
        return False
    if type(module) is not snntorch.Leaky:
        raise refuse(call, "of snntorch's neurons an integer program has Leaky; use that")
    _check_options(call, module)
    _check_memory(call, module)
    threshold = _threshold(call, module.threshold, build.shape(input_of(call)))
    if bool((threshold <= 0).any()):
        raise refuse(call, "a threshold is not above zero")
    beta = module.beta.detach().double().clamp(0, 1)
    if float(beta.min()) != float(beta.max()):
        raise refuse(call, "one beta for each neuron; expected one for the whole layer")
    reset = cast(Literal["subtract", "zero", "none"], module.reset_mechanism)
    order = LATE[reset] if module.reset_delay else AT_ONCE
    layer = Lif(build.name(call), (build.edge(input_of(call)),), reset=reset, order=order)
    build.neurons[layer.name] = Neuron(
        beta=float(beta.mean()),
        threshold=threshold,
        factor=float(module.graded_spikes_factor),
        surrogate=module.spike_grad,
    )
    build.add(call, layer)
    return True


def _threshold(call: Call, given: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """``[]`` for the whole layer or ``[n]`` for its channels, float64."""
    threshold = given.detach().double()
    if threshold.numel() == 1:
        return threshold.reshape(())
    lean = list(threshold.shape)
    while len(lean) > len(shape) and lean[0] == 1:
        lean = lean[1:]
    if lean != [shape[0], *[1] * (len(shape) - 1)]:
        raise refuse(
            call, f"thresholds of shape {tuple(given.shape)}; expected one, or one for each channel"
        )
    return threshold.reshape(-1)


def _check_options(call: Call, module: Any) -> None:
    if module.state_quant:
        raise refuse(call, "state_quant; leave it out, the program's membrane has its own format")
    if module.inhibition:
        raise refuse(call, "inhibition; neurons of an integer program fire on their own")
    if module.graded_spikes_factor.numel() != 1 or float(module.graded_spikes_factor) <= 0:
        raise refuse(call, "graded_spikes_factor; expected one number above zero")
    probe = torch.tensor([-1.0, -1e-3, 0.0, 1e-3, 1.0])
    if module.spike_grad(probe).tolist() != [0.0, 0.0, 0.0, 1.0, 1.0]:
        raise refuse(call, "its spike_grad is not 1 above the threshold and 0 elsewhere")


def _check_memory(call: Call, module: Any) -> None:
    """A membrane given explicitly is the neuron's own of the step before, or zeros at the first."""
    given = [*call.args[1:], *call.kwargs.values()]
    membrane = given[0] if given else None
    own = isinstance(membrane, Ref) and membrane == Ref(call.results[-1], 1)
    zeros = isinstance(membrane, torch.Tensor) and not bool(membrane.any())
    if not (membrane is None or own or zeros):
        raise refuse(call, "its membrane is not its own of the step before, or zeros at the first")
