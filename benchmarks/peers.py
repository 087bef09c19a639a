"""PyTorchFI and MRFI on the same integer network, for the same faults.

The network is written as a torch module whose convolutions hold integer codes in float32; fully
connected layers are convolutions too, because PyTorchFI knows weights of four dimensions only.
Each tool injects by its own documented means: PyTorchFI copies the model and sets the weight, or
calls a function on the outputs of a layer; MRFI selects positions and applies an error mode.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.engines import Ran
from benchmarks.forward import Forward, padded, plain
from benchmarks.mixes import Mix
from benchmarks.networks import Subject
from benchmarks.spiking import StepLoop
from benchmarks.strikes import Element, Strike, strike_of, xor
from codesign.effects import Effects
from codesign.layers import Conv2d, Input, Layer, Lif, is_mac

__all__ = ["Mrfi", "Peer", "PyTorchFi", "installed"]

VERSIONS = {"pytorchfi": "0.6.0", "mrfi": "2.1.0"}
BATCHES = (32, 64, 256)


class Stored(nn.Module):
    """Where a layer's codes are stored: what comes in goes out.

    Args:
        copies: Whether it is a copy; the tools strike in place, and the samples are not theirs.
    """

    def __init__(self, copies: bool) -> None:
        super().__init__()
        self.copies = copies
        self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)  # PyTorchFI asks for one

    def forward(self, x: Tensor) -> Tensor:
        """The codes."""
        return x.clone() if self.copies else x


class Shared(SimpleNamespace):
    """Held by a module and by its copies: what no fault strikes is not copied."""

    def __deepcopy__(self, memo: dict) -> Shared:
        return self


class Network(nn.Module):
    """An integer network as a torch module: ``sums`` and ``stored`` are what tools strike."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        program = subject.program
        model = StepLoop(program) if subject.spiking else Forward(program)
        macs = [x for x in program.network if is_mac(x)]
        kept = [x for x in program.network if _stores(x)] if not subject.spiking else []
        self.shared = Shared(
            model=model,
            network=program.network,
            spiking=subject.spiking,
            mac={x.name: i for i, x in enumerate(macs)},
            kept={x.name: i for i, x in enumerate(kept)},
        )
        self.sums = nn.ModuleList(_convolution(x, *model.weights[x.name]) for x in macs)
        self.stored = nn.ModuleList(Stored(isinstance(x, Input)) for x in kept)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``[samples, classes]`` of codes, ``[samples, steps, ...]`` if spiking."""
        if not self.shared.spiking:
            return self._pass(x)
        for neurons in self.shared.model.neurons.values():
            neurons.start(None, 0)
        counts: list[Tensor] = [self._pass(x[:, step], step) for step in range(x.shape[1])]
        return torch.stack(counts).sum(0)

    def _pass(self, codes: Tensor, step: int = 0) -> Tensor:
        shared = self.shared
        values: dict[str, Tensor] = {}
        for layer in shared.network:
            read = [values[edge.source] for edge in layer.inputs]
            if is_mac(layer):
                y = self._summed(layer, read[0])
            elif isinstance(layer, Lif):
                y = shared.model.neurons[layer.name].step(read[0], step).clone()
            else:
                y = codes if isinstance(layer, Input) else plain(layer, read)
            if not shared.spiking and layer.name in shared.model.rounders:
                y = shared.model.rounders[layer.name](y)
            if layer.name in shared.kept:
                y = self.stored[shared.kept[layer.name]](y)
            values[layer.name] = y
        return y.flatten(1)

    def _summed(self, layer: Layer, x: Tensor) -> Tensor:
        convolution = self.sums[self.shared.mac[layer.name]]
        if isinstance(layer, Conv2d):
            return convolution(padded(layer, x)[0])
        return convolution(x[:, :, None, None]).flatten(1)


class Peer:
    """What both tools share: the module, the best batch, and how a fault reaches them.

    Args:
        subject: What it runs.
        golden: ``[samples, classes]`` outputs that its module has to give.

    Raises:
        ImportError: The tool is not installed.
        RuntimeError: The module does not give the golden outputs.
    """

    name = ""

    def __init__(self, subject: Subject, golden: NDArray[np.int64]) -> None:
        began = time.process_time()
        self.subject, self.graph = subject, subject.program.network
        self.codes = torch.from_numpy(subject.samples.inputs.astype(np.float32))
        module = Network(subject)
        self.shared: Any = module.shared
        self.prepare(module)
        self.setup_seconds = time.process_time() - began
        self.batch, self.golden_seconds = self._best_batch(golden)

    def prepare(self, module: Network) -> None:
        """Hand the module to the tool."""
        raise NotImplementedError

    def injected(self, strike: Strike) -> Ran:
        """Run one trial."""
        raise NotImplementedError

    def refusal(self, mix: Mix) -> str:
        """See `Engine`."""
        if mix.rate:
            return "one fault at a time"
        if self.subject.spiking and mix.name != "weight":
            return "no faults of neurons' states, operations or lines"
        return ""

    def packs(self, mix: Mix) -> bool:
        """See `Engine`: one fault for each sample of a batch is the best mode of both."""
        return True

    def run(self, effects: Effects) -> Ran:
        """See `Engine`."""
        ran = [
            self.injected(strike_of(effects.of_trial(i), self.graph)).outputs
            for i in range(effects.trials)
        ]
        return Ran(np.stack(ran))

    def outputs(self, model: Callable[[Tensor], Tensor], begin: Callable[[int], None]) -> Ran:
        """Outputs of all samples, a batch at a time; ``begin`` is called with its first sample."""
        parts = []
        with torch.no_grad():
            for first in range(0, len(self.codes), self.batch):
                begin(first)
                parts.append(model(self.codes[first : first + self.batch]))
        return Ran(torch.cat(parts).to(torch.int64).numpy())

    def _best_batch(self, golden: NDArray[np.int64]) -> tuple[int, float]:
        model, times = self.golden_model(), {}
        for batch in sorted({min(batch, len(self.codes)) for batch in BATCHES}):
            self.batch = batch
            for _ in range(2):
                began = time.process_time()
                ran = self.outputs(model, lambda first: None)
                times[batch] = time.process_time() - began
            if not np.array_equal(ran.outputs, golden):
                raise RuntimeError(f"{self.name}: its module does not give the golden outputs")
        best = min(times, key=lambda batch: times[batch])
        return best, times[best]

    def golden_model(self) -> Callable[[Tensor], Tensor]:
        """The module without faults."""
        raise NotImplementedError


class PyTorchFi(Peer):
    """PyTorchFI 0.6.0: a copy of the model for every fault."""

    name = "PyTorchFI"

    def prepare(self, module: Network) -> None:
        """See `Peer`."""
        from pytorchfi.core import fault_injection

        self.module = module
        shape = list(self.codes.shape[1:])
        with torch.no_grad():
            self.weights = fault_injection(module, len(self.codes), shape, [nn.Conv2d])
            self.stored = None
            if self.shared.kept:
                self.stored = fault_injection(module, len(self.codes), shape, [Stored])

    def golden_model(self) -> Callable[[Tensor], Tensor]:
        """See `Peer`."""
        return self.module

    def injected(self, strike: Strike) -> Ran:
        """See `Peer`."""
        if strike.weights:
            ((name, (flat, mask)),) = strike.weights.items()
            number = self.shared.mac[name]
            weight = self.module.sums[number].weight
            value = xor(weight.view(-1)[flat], mask, strike.weight_bits[name], True)
            at = np.unravel_index(int(flat), weight.shape)
            k, dim1, dim2, dim3 = ([int(i)] for i in at)
            model = self.weights.declare_weight_fi(
                layer_num=[number], k=k, dim1=dim1, dim2=dim2, dim3=dim3, value=[float(value)]
            )
            return self.outputs(model, lambda first: None)
        struck = strike.sums or strike.stored
        tool: Any = self.weights if strike.sums else self.stored
        numbers = self.shared.mac if strike.sums else self.shared.kept
        elements = {numbers[name]: found for name, found in struck.items()}
        start = 0

        def inject(module: nn.Module, given: object, output: Tensor) -> None:
            for element in elements.get(tool.get_current_layer(), []):
                element.strike_(output, start)
            tool.updateLayer()

        def begin(first: int) -> None:
            nonlocal start
            start = first
            tool.reset_current_layer()

        model = tool.declare_neuron_fi(
            function=inject, batch=[0], layer_num=[min(elements)], dim1=[0], dim2=[0], dim3=[0]
        )
        return self.outputs(model, begin)


class Mrfi(Peer):
    """MRFI 2.1.0: injectors in every layer, of which a fault's own is on."""

    name = "MRFI"

    def prepare(self, module: Network) -> None:
        """See `Peer`."""
        import mrfi

        mrfi.add_function("FlipBits", _flip_bits)
        injectors: list[dict[str, object]] = [
            {"type": "weight", "name": ["weight"], "module_type": ["Conv2d"]},
            {"type": "activation_out", "module_type": ["Conv2d"]},
            {"type": "activation_out", "module_type": ["Stored"]},
        ]
        if not self.shared.kept:
            injectors.pop()
        for injector in injectors:  # each with its own dictionaries: MRFI changes them
            injector["enabled"] = False
            injector["selector"] = {"method": "FixPositions", "positions": []}
            injector["error_mode"] = dict(method="FlipBits", mask=None, bits=8, signed=True)
        self.model = mrfi.MRFI(module, mrfi.EasyConfig({"faultinject": injectors}))
        self.module = module

    def golden_model(self) -> Callable[[Tensor], Tensor]:
        """See `Peer`."""
        return self.model

    def injected(self, strike: Strike) -> Ran:
        """See `Peer`."""
        if strike.weights:
            ((name, (flat, mask)),) = strike.weights.items()
            layer = self.module.sums[self.shared.mac[name]]
            config = layer.FI_config.weights[0]
            _aim(config, flat.tolist(), mask, strike.weight_bits[name], True)
            try:
                ran = self.outputs(self.model, lambda first: None)
            finally:
                config.enabled = False
                with torch.no_grad():  # switched off, it would leave the faulty weight
                    layer.weight.copy_(config.weight_copy)
            return ran
        return self._activations(strike)

    def _activations(self, strike: Strike) -> Ran:
        struck = strike.sums or strike.stored
        modules, numbers = (
            (self.module.sums, self.shared.mac)
            if strike.sums
            else (self.module.stored, self.shared.kept)
        )
        targets = [
            (modules[numbers[name]].FI_config.activation_out[0], element, self._size(name))
            for name, elements in struck.items()
            for element in elements
        ]

        def begin(first: int) -> None:
            for config, element, size in targets:
                positions, mask = _positions(element, first, self.batch, len(self.codes), size)
                _aim(config, positions.tolist(), mask, element.bits, element.signed)

        try:
            return self.outputs(self.model, begin)
        finally:
            for config, _, _ in targets:
                config.enabled = False

    def _size(self, name: str) -> int:
        return int(np.prod(self.graph.shapes[name]))


def installed() -> dict[str, type[Peer] | str]:
    """Each tool, or why it is not there."""
    found: dict[str, type[Peer] | str] = {}
    try:
        import pytorchfi.core  # noqa: F401

        found["PyTorchFI"] = PyTorchFi
    except ImportError:
        found["PyTorchFI"] = "not installed (make bench installs it)"
    try:
        import mrfi  # noqa: F401

        found["MRFI"] = Mrfi
    except ImportError:
        found["MRFI"] = "not installed (make bench installs it)"
    return found


def _flip_bits(values: Tensor, mask: Tensor, bits: int, signed: bool) -> Tensor:
    """MRFI's own flips take the top bit for a sign; codes here may be unsigned."""
    return xor(values, mask, bits, signed)


def _aim(config: Any, positions: list[int], mask: Tensor, bits: int, signed: bool) -> None:
    config.selector.args.positions = positions
    arguments = config.error_mode.args
    arguments.mask, arguments.bits, arguments.signed = mask, bits, signed
    config.enabled = bool(positions)


def _positions(
    element: Element, first: int, batch: int, samples: int, size: int
) -> tuple[Tensor, Tensor]:
    """Flat positions in a batch of outputs, and their masks."""
    if element.samples is None:
        rows = torch.arange(min(batch, samples - first))
        positions = rows[:, None] * size + element.flat
        return positions.view(-1), element.mask.expand(positions.shape).reshape(-1)
    rows = element.samples[:, 0] - first
    here = (rows >= 0) & (rows < batch)
    return rows[here] * size + element.flat[here], element.mask[here]


def _stores(layer: Layer) -> bool:
    rule = getattr(layer, "requantise", None)
    return isinstance(layer, Input) or (rule is not None and not isinstance(rule, tuple))


def _convolution(layer: Layer, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A layer's sums as a convolution of 1 x 1 or larger, without gradients."""
    four = weight if weight.dim() == 4 else weight[:, :, None, None]
    stride: tuple[int, int] = layer.stride if isinstance(layer, Conv2d) else (1, 1)
    groups = layer.groups if isinstance(layer, Conv2d) else 1
    padding = padded(layer, torch.zeros(1, 1, 9, 9))[1] if isinstance(layer, Conv2d) else (0, 0)
    kernel = (int(four.shape[2]), int(four.shape[3]))
    outside, inside = int(four.shape[0]), int(four.shape[1]) * groups
    made = nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups)
    made.weight = nn.Parameter(four.contiguous(), requires_grad=False)
    made.bias = nn.Parameter(bias, requires_grad=False)
    return made
