"""The graph under construction: layers by name, and which recorded value each of them gives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from torch import Tensor

from codesign.errors import LoweringError
from codesign.learning.folding import INPUT, Folded
from codesign.learning.skeleton import IDENTITY, TRANSPARENT, Neuron, Weights
from codesign.learning.tracing import Call, Ref, refs_in
from codesign.network import Add, AvgPool2d, Edge, Input, Layer, is_mac

__all__ = ["Builder", "input_of", "refuse", "settings"]


class Builder:
    """Takes the meanings of calls one after the other."""

    def __init__(self, folded: Folded, first: Input) -> None:
        self.folded = folded
        self.layers: dict[str, Layer] = {first.name: first}
        self.weights: dict[str, Weights] = {}
        self.clips: dict[str, tuple[float, float]] = {}
        self.neurons: dict[str, Neuron] = {}
        self.softmax: Call | None = None
        self._source: dict[int, Edge] = {INPUT: Edge(first.name)}  # value → the layer that gives it
        self._from: dict[int, Ref] = {}  # value → what it is a plain copy or view of
        self._reads = Counter(
            ref.value for c in folded.calls for ref in refs_in((c.args, c.kwargs))
        )
        self._reads[folded.output.value] += 1

    def shape(self, ref: Ref) -> tuple[int, ...]:
        """Shape of a value without samples."""
        return self.folded.shapes[ref.value]

    def is_output(self, call: Call) -> bool:
        """Whether a call gives the module's output."""
        return self.folded.output.value in call.results

    def edge(self, ref: Ref) -> Edge:
        """Where a value comes from; for a value of an earlier step, possibly a promise."""
        found = self._source.get(ref.value)
        if found is None:
            return Edge(f"#{ref.value}", ref.delay_steps)
        return Edge(found.source, found.delay_steps + ref.delay_steps)

    def resolve(self, edge: Edge) -> Edge:
        """An edge after all calls are known."""
        while edge.source.startswith("#"):
            found = self._source[int(edge.source[1:])]
            edge = Edge(found.source, found.delay_steps + edge.delay_steps)
        return edge

    def name(self, call: Call, suffix: str = "") -> str:
        """A name that is not taken yet: the module's path, or its place and function."""
        plain = {"__getitem__": "slice"}.get(call.name, call.name.strip("_"))
        path = call.where if call.module is not None else f"{call.where}.{plain}".lstrip(".")
        base = (path or plain) + suffix
        name, number = base, 2
        while name in self.layers:
            name, number = f"{base}_{number}", number + 1
        return name

    def add(self, call: Call, layer: Layer, weights: Weights | None = None) -> None:
        """A layer whose output is the call's result."""
        self.layers[layer.name] = layer
        if weights is not None:
            self.weights[layer.name] = weights
        self._source[call.results[0]] = Edge(layer.name)
        if type(layer).__name__ in TRANSPARENT:
            self._from[call.results[0]] = next(refs_in((call.args, call.kwargs)))

    def then(self, call: Call, layer: Layer) -> None:
        """A further layer behind the one that was just added for the same call."""
        value = call.results[0]
        self.layers[layer.name] = replace(layer, inputs=(self._source[value],))
        self._source[value] = Edge(layer.name)

    def same(self, call: Call, ref: Ref) -> None:
        """A call that changes nothing."""
        self._source[call.results[0]] = self.edge(ref)
        self._from[call.results[0]] = ref

    def fold(self, call: Call, ref: Ref, scale: Tensor, shift: Tensor) -> bool:
        """Fold ``scale · x + shift`` per channel into the layer of x, if nothing else reads it."""
        name = self._only(ref)
        if name is None or not is_mac(self.layers[name]) or name in self.clips:
            return False
        if self._source[ref.value] != Edge(name):
            return False
        old = self.weights[name]
        factor = scale.reshape(-1, *[1] * (old.weight.ndim - 1))
        self.weights[name] = Weights(old.weight * factor, old.bias * scale + shift)
        self._source[call.results[0]] = Edge(name)
        self._from[call.results[0]] = ref
        return True

    def clip(self, call: Call, ref: Ref, low: float, high: float) -> None:
        """A clip of x: in the requantisation of the layer that gives x, else as a layer of its own.

        Through layers that only pick codes it commutes with them.
        """
        at: Ref | None = ref
        while at is not None and at.delay_steps == 0 and self._reads[at.value] == 1:
            edge = self._source.get(at.value)
            layer = self.layers[edge.source] if edge else None
            before = self._from.get(at.value)
            if before is None and layer is not None and _requantises(layer):
                old = self.clips.get(layer.name, IDENTITY)
                self.clips[layer.name] = (max(old[0], low), min(old[1], high))
                self.same(call, ref)
                return
            at = before
        own = Add(self.name(call), (self.edge(ref),), multipliers=(1,))
        self.add(call, own)
        self.clips[own.name] = (low, high)

    def _only(self, ref: Ref) -> str | None:
        """Name of the layer that gives a value, if nothing else reads it on the way."""
        edge = self._source.get(ref.value)
        at: Ref | None = ref
        while at is not None:
            if at.delay_steps or self._reads[at.value] != 1:
                return None
            at = self._from.get(at.value)
        return edge.source if edge is not None else None

    def finished(self) -> list[Layer]:
        """The layers with their edges resolved."""
        return [
            replace(layer, inputs=tuple(self.resolve(edge) for edge in layer.inputs))
            for layer in self.layers.values()
        ]


def _requantises(layer: Layer) -> bool:
    return is_mac(layer) or isinstance(layer, Add | AvgPool2d)


def settings(call: Call, **defaults: Any) -> dict[str, Any]:
    """What a call was told beside its input: a module's attributes, or a function's arguments.

    Args:
        call: Of a module or function that torch gives the same words.
        **defaults: The function's parameters behind the input, in order, with their defaults.
    """
    if call.module is not None:
        return {name: getattr(call.module, name, value) for name, value in defaults.items()}
    given = dict(zip(defaults, call.args[1:], strict=False))
    return defaults | given | {k: v for k, v in call.kwargs.items() if k in defaults}


def input_of(call: Call) -> Ref:
    """The first argument, which must come from the network's input."""
    x = call.args[0] if call.args else call.kwargs.get("input")
    if not isinstance(x, Ref):
        raise refuse(call, "its input does not come from the network's input")
    return x


def refuse(call: Call, why: str) -> LoweringError:
    """The error for a call that cannot be lowered: which, why, and what to do."""
    return LoweringError(f"{call.title}: {why}")
