"""Record one real run of a torch module: which operation read which earlier result.

The module's ``forward`` runs as it is, on example inputs, so any Python control flow is fine; what
is recorded is the path that was taken. Modules of torch and snntorch are recorded as one call each,
everything else as the functions that it calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from snntorch import SpikingNeuron
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Call", "Recording", "Ref", "forget_neurons", "record", "refs_in", "reset_neurons"]

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
# They make a new tensor of which only shape and type come from their argument.
FACTORIES = {"zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones"}


@dataclass(frozen=True)
class Ref:
    """A recorded value among the arguments of a call.

    Attributes:
        value: Number of the value.
        delay_steps: How many time steps earlier it was computed; set when the time loop is folded.
    """

    value: int
    delay_steps: int = 0


@dataclass(frozen=True, eq=False)
class Call:
    """One recorded operation.

    Attributes:
        name: Class of a module or name of a function: ``Conv2d``, ``relu``, ``__getitem__``.
        where: Dotted path of the module, or of the module that calls the function.
        module: The module itself, or None for a function.
        args: Positional arguments; a `Ref` for each recorded tensor, other tensors as they are.
        kwargs: Keyword arguments, likewise.
        results: Numbers of the values it gave.
    """

    name: str
    where: str
    module: nn.Module | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int, ...]

    @property
    def title(self) -> str:
        """What an error message calls it."""
        if self.module is not None:
            return f"layer {self.where!r} ({self.name})"
        return f"{self.name!r} in " + (f"layer {self.where!r}" if self.where else "the module")


@dataclass(eq=False)
class Recording:
    """One run.

    Attributes:
        values: Every recorded tensor by number; kept alive, for numbers are found by identity.
        inputs: Numbers of the inputs, one for each forward.
        calls: In the order they were made.
        starts: Number of calls when each forward began.
        outputs: What each forward returned, recorded tensors as `Ref`.
    """

    values: list[Tensor] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)


def refs_in(thing: Any) -> Iterator[Ref]:
    """Every `Ref` in a nest of tuples, lists and dicts."""
    return (x for x in _leaves(thing) if isinstance(x, Ref))


def reset_neurons(module: nn.Module) -> None:
    """Forget the membranes of this module's spiking neurons, and of no other module's."""
    for part in module.modules():
        if isinstance(part, SpikingNeuron) and hasattr(part, "reset_mem"):
            part.reset_mem()


def forget_neurons(module: nn.Module) -> None:
    """Take this module's neurons off the list in which snntorch keeps every neuron ever made.

    Without it a search that builds many networks never frees one. ``snntorch.utils.reset`` works by
    that list (on all networks of the process); `reset_neurons` takes its place.
    """
    own = {id(part) for part in module.modules()}
    listed = SpikingNeuron.instances
    listed[:] = [neuron for neuron in listed if id(neuron) not in own]


def record(module: nn.Module, inputs: Sequence[Tensor]) -> Recording:
    """Run a module in evaluation mode, on one input after the other, and write down what it did.

    The state of spiking neurons is cleared before and after, and kept between the forwards; whether
    the module was in training mode is restored. What the forward raises passes.

    Args:
        module: Any torch module.
        inputs: One tensor, samples first or time first; several are the time steps of a module
            that does one step.
    """
    training = {part: part.training for part in module.modules()}
    module.eval()
    reset_neurons(module)
    recorder = _Recorder()
    try:
        with torch.no_grad(), recorder.listening(module), recorder:
            for x in inputs:
                recorder.forward(module, x)
    finally:
        reset_neurons(module)
        for part, mode in training.items():
            part.training = mode
    return recorder.recording


class _Recorder(TorchFunctionMode):
    """Listens to functions (as a torch function mode) and to modules (by hooks)."""

    def __init__(self) -> None:
        super().__init__()
        self.recording = Recording()
        self._numbers: dict[int, int] = {}  # id of a tensor → number of its newest value
        self._paths: list[str] = []
        self._inside: list[nn.Module] = []  # a leaf module at work, and the parts of it
        self._pending: tuple[Any, Any] = ((), {})

    def forward(self, module: nn.Module, x: Tensor) -> None:
        """One forward on one input."""
        self.recording.starts.append(len(self.recording.calls))
        # A view of its own: the caller may give one tensor for every step.
        self.recording.inputs.append(self._number(x.view(x.shape)))
        output = module(self.recording.values[-1])
        self.recording.outputs.append(self._refs(output))

    @contextmanager
    def listening(self, module: nn.Module) -> Iterator[None]:
        """Hooks on every submodule, for as long as it lasts."""
        handles = []
        for path, part in module.named_modules():
            handles.append(
                part.register_forward_pre_hook(self._enter(path), with_kwargs=True, prepend=True)
            )
            handles.append(
                part.register_forward_hook(self._leave(path), with_kwargs=True, always_call=True)
            )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        refs = (self._refs(args), self._refs(kwargs))  # before an operation in place renames them
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if any(refs_in(refs)) and name not in FACTORIES:
            self._note(name, self._paths[-1] if self._paths else "", None, refs, result)
        return result

    def _enter(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._paths.append(path)
            if self._inside or _is_leaf(module):
                self._inside.append(module)
                if len(self._inside) == 1:
                    self._pending = (self._refs(args), self._refs(kwargs))

        return hook

    def _leave(self, path: str) -> Callable[..., None]:
        def hook(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
        ) -> None:
            self._paths.pop()
            if self._inside:
                self._inside.pop()
                if not self._inside:
                    self._note(type(module).__name__, path, module, self._pending, output)

        return hook

    def _note(
        self, name: str, where: str, module: nn.Module | None, refs: tuple[Any, Any], result: Any
    ) -> None:
        """Write down a call if it gave tensors."""
        tensors = [x for x in _leaves(result) if isinstance(x, Tensor)]
        if tensors:
            numbers = tuple(self._number(tensor) for tensor in tensors)
            self.recording.calls.append(Call(name, where, module, refs[0], refs[1], numbers))

    def _number(self, tensor: Tensor) -> int:
        """A new number; after an operation in place the old tensor stands for the new value."""
        self.recording.values.append(tensor)
        self._numbers[id(tensor)] = len(self.recording.values) - 1
        return len(self.recording.values) - 1

    def _refs(self, thing: Any) -> Any:
        """The same nest of tuples, lists and dicts with recorded tensors replaced."""
        if isinstance(thing, Tensor):
            number = self._numbers.get(id(thing))
            return thing if number is None else Ref(number)
        if isinstance(thing, tuple | list):
            items = (self._refs(item) for item in thing)
            return list(items) if isinstance(thing, list) else tuple(items)
        if isinstance(thing, dict):
            return {key: self._refs(item) for key, item in thing.items()}
        return thing


def _is_leaf(module: nn.Module) -> bool:
    """Torch's own layers and spiking neurons are understood whole; others are looked into."""
    if isinstance(module, SpikingNeuron):
        return True
    return type(module).__module__.startswith("torch.nn.") and not isinstance(module, CONTAINERS)


def _leaves(thing: Any) -> Iterator[Any]:
    if isinstance(thing, tuple | list):
        for item in thing:
            yield from _leaves(item)
    elif isinstance(thing, dict):
        for item in thing.values():
            yield from _leaves(item)
    else:
        yield thing
