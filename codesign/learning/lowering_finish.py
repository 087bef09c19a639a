"""From the calls' layers to a graph: currents that neurons add up, recurrent layers, order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from codesign.errors import LoweringError
from codesign.learning.lowering_build import Builder
from codesign.learning.skeleton import TRANSPARENT, Skeleton, Weights
from codesign.network import Add, AvgPool2d, Edge, Flatten, Layer, Lif, NetworkGraph, is_mac
from codesign.samples import InputCoding

__all__ = ["finish"]


def finish(build: Builder, coding: InputCoding, name: str) -> Skeleton:
    """The skeleton of what was built.

    Raises:
        LoweringError: A recurrent layer that the graph cannot express.
    """
    layers = {layer.name: layer for layer in build.finished()}
    last = build.resolve(build.edge(build.folded.output))
    weights = dict(build.weights)
    for lif in [x for x in layers.values() if isinstance(x, Lif)]:
        layers |= _gather(layers, lif, build.clips)
    layers = _needed(layers, last.source)
    for mac in [x for x in layers.values() if is_mac(x)]:
        if mac.inputs[0].delay_steps:
            _make_recurrent(layers, weights, mac)
    output = _output(build, layers, last.source)
    ordered = _ordered(layers, output)
    graph = NetworkGraph(name, tuple(ordered), build.folded.steps, coding)
    return Skeleton(
        graph,
        {k: v for k, v in weights.items() if k in layers},
        {k: v for k, v in build.clips.items() if k in layers},
        build.neurons,
    )


def _reads(layers: dict[str, Layer]) -> Counter[str]:
    return Counter(edge.source for layer in layers.values() for edge in layer.inputs)


def _gather(
    layers: dict[str, Layer], lif: Lif, clips: dict[str, tuple[float, float]]
) -> dict[str, Layer]:
    """What becomes of neurons and of the additions before them.

    Neurons add their currents up themselves where all of them are sums of weighted inputs. Other
    currents (spikes, codes) are too coarse for a threshold and a leak: an addition with a
    multiplier stands between, which makes their unit finer.
    """
    reads = _reads(layers)
    found: list[Edge] = []
    waiting = list(lif.inputs)
    while waiting:
        edge = waiting.pop(0)
        if _is_plain_sum(layers, reads, clips, edge.source):
            inside = layers[edge.source].inputs
            waiting[:0] = [Edge(e.source, e.delay_steps + edge.delay_steps) for e in inside]
        else:
            found.append(edge)
    pooled = len(found) == 1
    if all(_is_current(layers, reads, clips, edge.source, pooled) for edge in found):
        return {lif.name: replace(lif, inputs=tuple(found))}
    only = lif.inputs[0]
    if only.delay_steps or _is_plain_sum(layers, reads, clips, only.source):
        return {lif.name: lif}
    finer = Add(f"{lif.name}.current", (only,), multipliers=(1,))
    return {finer.name: finer, lif.name: replace(lif, inputs=(Edge(finer.name),))}


def _is_plain_sum(
    layers: dict[str, Layer],
    reads: Counter[str],
    clips: dict[str, tuple[float, float]],
    name: str,
) -> bool:
    """Whether a layer only adds, for one reader."""
    return isinstance(layers[name], Add) and reads[name] == 1 and name not in clips


def _is_current(
    layers: dict[str, Layer],
    reads: Counter[str],
    clips: dict[str, tuple[float, float]],
    name: str,
    pooled: bool,
) -> bool:
    """Whether a layer gives sums of weighted inputs to one reader, perhaps pooled by their mean."""
    layer = layers[name]
    while reads[layer.name] == 1 and (
        type(layer).__name__ in TRANSPARENT or (pooled and isinstance(layer, AvgPool2d))
    ):
        layer = layers[layer.inputs[0].source]
    return is_mac(layer) and reads[layer.name] == 1 and layer.name not in clips


def _make_recurrent(layers: dict[str, Layer], weights: dict[str, Weights], mac: Layer) -> None:
    """Let a layer that reads an earlier step read this one, and its reader the earlier step of it.

    Before the first step the reader then gets nothing, where the module gave it the bias: so the
    bias moves to a layer that feeds the same neurons in every step.
    """
    delay = mac.inputs[0].delay_steps
    readers = [x for x in layers.values() if any(e.source == mac.name for e in x.inputs)]
    siblings = [
        edge.source
        for reader in readers
        for edge in reader.inputs
        if edge.source in weights and edge.source != mac.name and edge.delay_steps == 0
    ]
    bias = weights[mac.name].bias
    alone = len(readers) == 1 and isinstance(readers[0], Lif)
    if not alone or (bool(bias.any()) and not siblings):
        raise LoweringError(
            f"layer {mac.name!r} reads an earlier time step; then it must feed one spiking layer "
            "and nothing else, beside a layer that reads the present one (or have bias=False)"
        )
    if siblings:
        other = weights[siblings[0]]
        weights[siblings[0]] = Weights(other.weight, other.bias + bias)
        weights[mac.name] = Weights(weights[mac.name].weight, bias * 0)
    layers[mac.name] = replace(mac, inputs=(Edge(mac.inputs[0].source),))
    later = tuple(
        Edge(e.source, e.delay_steps + delay) if e.source == mac.name else e
        for e in readers[0].inputs
    )
    layers[readers[0].name] = replace(readers[0], inputs=later)


def _needed(layers: dict[str, Layer], last: str) -> dict[str, Layer]:
    """The input, and the layers that the output depends on."""
    needed: set[str] = set()
    waiting = [last, next(iter(layers))]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [edge.source for edge in layers[name].inputs]
    return {name: layer for name, layer in layers.items() if name in needed}


def _output(build: Builder, layers: dict[str, Layer], last: str) -> str:
    """Name of the output layer; a plain copy where others read the output in the same step."""
    if not any(Edge(last) in layer.inputs for layer in layers.values()):
        return last
    name = "output" if "output" not in layers else f"{last}.output"
    shape = build.folded.shapes[build.folded.output.value]
    layers[name] = Flatten(name, (Edge(last),), shape)
    return name


def _ordered(layers: dict[str, Layer], last: str) -> list[Layer]:
    """Each behind those that it reads undelayed, else in the order recorded; the output last."""
    placed: dict[str, Layer] = {}
    waiting = list(layers.values())
    while waiting:
        for layer in waiting:
            before = [e.source for e in layer.inputs if e.delay_steps == 0]
            held = layer.name == last and len(waiting) > 1
            if not held and all(source in placed for source in before):
                break
        else:
            names = ", ".join(layer.name for layer in waiting)
            raise LoweringError(
                f"{names}: these layers read one another within one time step; only an earlier "
                "step can come back"
            )
        placed[layer.name] = layer
        waiting.remove(layer)
    return list(placed.values())
