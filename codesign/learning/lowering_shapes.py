"""Calls that pool, cut, pad, join and reshape."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from codesign.learning.lowering_build import Builder, input_of, refuse, settings
from codesign.learning.tracing import Call, Ref
from codesign.network import Add, AvgPool2d, Concat, Flatten, MaxPool2d, Pad, Slice

__all__ = ["SHAPES", "pair"]


def pair(value: Any) -> tuple[int, int]:
    """A number, or one for each direction."""
    if isinstance(value, int):
        return (value, value)
    items = tuple(value)
    return (items[0], items[-1])


def _image(build: Builder, call: Call) -> tuple[int, int, int]:
    """Shape of an input that is an image."""
    shape = build.shape(input_of(call))
    if len(shape) != 3:
        raise refuse(call, f"a sample has shape {shape}; expected [channels, height, width]")
    return (shape[0], shape[1], shape[2])


def _max_pool(build: Builder, call: Call) -> None:
    a = settings(
        call,
        kernel_size=2,
        stride=None,
        padding=0,
        dilation=1,
        ceil_mode=False,
        return_indices=False,
    )
    shape = _image(build, call)
    kernel, padding = pair(a["kernel_size"]), pair(a["padding"])
    stride = kernel if a["stride"] in (None, ()) else pair(a["stride"])
    if pair(a["dilation"]) != (1, 1) or a["return_indices"]:
        raise refuse(call, "with dilation or return_indices; use neither")
    behind = padding
    if a["ceil_mode"]:  # a last window that hangs over the edge sees padding there
        rows, cols = build.folded.shapes[call.results[0]][1:]
        behind = (
            max((rows - 1) * stride[0] + kernel[0] - shape[1] - padding[0], padding[0]),
            max((cols - 1) * stride[1] + kernel[1] - shape[2] - padding[1], padding[1]),
        )
    edges = (build.edge(input_of(call)),)
    around = (padding[0], behind[0], padding[1], behind[1])
    build.add(call, MaxPool2d(build.name(call), edges, kernel, stride, around))


def _avg_pool(build: Builder, call: Call) -> None:
    words = {"kernel_size": 2, "stride": None, "padding": 0, "ceil_mode": False}
    a = settings(call, **words, count_include_pad=True, divisor_override=None)
    _image(build, call)
    kernel, (rows, cols) = pair(a["kernel_size"]), pair(a["padding"])
    stride = kernel if a["stride"] in (None, ()) else pair(a["stride"])
    outside = bool(rows or cols) and not a["count_include_pad"]
    if a["ceil_mode"] or outside or a["divisor_override"] is not None:
        raise refuse(
            call, "every window is divided by its size: no ceil_mode, count_include_pad=True"
        )
    edges = (build.edge(input_of(call)),)
    build.add(call, AvgPool2d(build.name(call), edges, kernel, stride, (rows, rows, cols, cols)))


def _adaptive_pool(build: Builder, call: Call) -> None:
    _, height, width = _image(build, call)
    wanted = settings(call, output_size=1)["output_size"]
    sizes = (wanted, wanted) if isinstance(wanted, int) else tuple(wanted)
    rows, cols = (n if w is None else w for w, n in zip(sizes, (height, width), strict=True))
    if height % rows or width % cols:
        raise refuse(
            call, f"{height} x {width} pixels into {rows} x {cols}: windows of unequal size"
        )
    kernel = (height // rows, width // cols)
    edges = (build.edge(input_of(call)),)
    build.add(call, AvgPool2d(build.name(call), edges, kernel, kernel))


def _mean(build: Builder, call: Call) -> None:
    _, height, width = _image(build, call)
    a = settings(call, dim=None, keepdim=False)
    dims = a["dim"] if isinstance(a["dim"], tuple | list) else (a["dim"],)
    if None in dims or {d % 4 for d in dims} != {2, 3}:
        raise refuse(call, f"a mean over {a['dim']}; expected (2, 3), the pixels")
    pool = AvgPool2d(
        build.name(call), (build.edge(input_of(call)),), (height, width), (height, width)
    )
    build.add(call, pool)
    if not a["keepdim"]:
        build.then(call, Flatten(build.name(call, ".flatten"), ()))


def _reshape(build: Builder, call: Call) -> None:
    x, after = input_of(call), build.folded.shapes[call.results[0]]
    before = build.shape(x)
    if before == after:
        build.same(call, x)
        return
    if prod(before) != prod(after):
        raise refuse(call, f"turns samples of shape {before} into {after}; keep samples on axis 0")
    shape = () if len(after) == 1 else after
    build.add(call, Flatten(build.name(call), (build.edge(x),), shape))


def _slice(build: Builder, call: Call) -> None:
    x = input_of(call)
    shape = build.shape(x)
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    if sum(i is Ellipsis for i in index) > 1 or not all(
        i is Ellipsis or isinstance(i, int | slice) for i in index
    ):
        raise refuse(call, "selects by something else than numbers and slices")
    if Ellipsis in index:
        at = index.index(Ellipsis)
        middle = (slice(None),) * (len(shape) + 2 - len(index))
        index = (*index[:at], *middle, *index[at + 1 :])
    index = (*index, *(slice(None),) * (len(shape) + 1 - len(index)))
    if index[0] != slice(None):
        raise refuse(call, "selects among the samples; a network treats each sample alike")
    cuts = tuple(_cut(i, size) for i, size in zip(index[1:], shape, strict=True))
    if any(step < 1 for _, _, step in cuts):
        raise refuse(call, "has a negative step")
    build.add(call, Slice(build.name(call), (build.edge(x),), cuts))
    if any(isinstance(i, int) for i in index):
        after = build.folded.shapes[call.results[0]]
        shape = () if len(after) == 1 else after
        build.then(call, Flatten(build.name(call, ".flatten"), (), shape))


def _cut(index: int | slice, size: int) -> tuple[int, int, int]:
    if isinstance(index, int):
        return (index % size, index % size + 1, 1)
    return index.indices(size)


def _pad(build: Builder, call: Call) -> None:
    x = input_of(call)
    a = settings(call, pad=(), mode="constant", value=0)
    widths: Any = a["pad"] if call.module is None else getattr(call.module, "padding", ())
    shape = build.shape(x)
    if a["mode"] != "constant" or a["value"] not in (0, None):
        raise refuse(call, f"pads with {a['mode']} {a['value']}; use zeros")
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)][::-1]
    around = [(0, 0)] * (len(shape) + 1 - len(pairs)) + pairs
    if len(around) != len(shape) + 1 or around[0] != (0, 0) or min(min(p) for p in pairs) < 0:
        raise refuse(call, f"pads by {tuple(widths)}; expected zeros around each sample")
    build.add(call, Pad(build.name(call), (build.edge(x),), tuple(around[1:])))


def _add(build: Builder, call: Call) -> None:
    x, a = input_of(call), settings(call, other=None, alpha=1)
    y = a["other"]
    if isinstance(y, int | float) and y == 0:  # the start of Python's sum()
        build.same(call, x)
        return
    if not isinstance(y, Ref):
        raise refuse(call, "a constant is added; put it into the bias of a layer before it")
    if a["alpha"] != 1 or build.shape(x) != build.shape(y):
        raise refuse(
            call, f"adds shapes {build.shape(x)} and {build.shape(y)}; expected equal shapes"
        )
    build.add(call, Add(build.name(call), (build.edge(x), build.edge(y))))


def _concat(build: Builder, call: Call) -> None:
    parts = call.args[0] if call.args else call.kwargs["tensors"]
    axis = (*call.args[1:], *(v for k, v in call.kwargs.items() if k != "tensors"), 0)[0]
    if not all(isinstance(part, Ref) for part in parts):
        raise refuse(call, "a constant is among its parts; all must come from layers")
    if axis not in (1, -len(build.shape(parts[0]))):
        raise refuse(call, f"joins along axis {axis}; expected 1, the channels")
    edges = tuple(build.edge(part) for part in parts)
    build.add(call, Concat(build.name(call), edges, (None,) * len(edges)))


SHAPES: dict[str, Callable[[Builder, Call], None]] = {
    "MaxPool2d": _max_pool,
    "max_pool2d": _max_pool,
    "AvgPool2d": _avg_pool,
    "avg_pool2d": _avg_pool,
    "AdaptiveAvgPool2d": _adaptive_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "mean": _mean,
    "Flatten": _reshape,
    "Unflatten": _reshape,
    "flatten": _reshape,
    "unflatten": _reshape,
    "view": _reshape,
    "reshape": _reshape,
    "squeeze": _reshape,
    "unsqueeze": _reshape,
    "__getitem__": _slice,
    "ZeroPad2d": _pad,
    "pad": _pad,
    "add": _add,
    "add_": _add,
    "cat": _concat,
    "concat": _concat,
}
