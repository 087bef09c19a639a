"""What the kernels for spiking networks read: arrays and structures as C lays them out."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.effect_rows import EFFECT, At
from codesign.engine.sparse_snn_chain import MOST, Chain, Stage
from codesign.engine.sparse_snn_tables import PACK, Tables, tables_of
from codesign.errors import UnsupportedError
from codesign.network import AvgPool2d

__all__ = ["Arrays", "arrays_of", "check_sizes"]

GROUP = 32  # samples of a group
LEAKS = ("none", "shift", "multiply", "subtract")
RESETS = ("zero", "subtract", "none")
ROUNDINGS = ("half_up", "half_even", "floor")
FITS = {"saturate": 1, "wrap": 2}
# In the order of the kernels' Stage: numbers of 64 bits, then addresses.
NUMBERS = (
    *("inputs", "neurons", "positions", "channels", "padded"),
    *("sums", "terms", "parts", "window", "pool", "q_used", "q_shift", "q_rounding", "q_low"),
    *("q_high", "q_wide", "in_pool", "in_window", "in_positions"),
    *("leak", "amount", "factor", "reset", "strict", "order0", "order1", "order2", "order3"),
    *("fit", "low", "high", "bits", "is_signed"),
    *("free_slack", "peak_current", "input_low", "input_high", "wide", "still", "binary"),
    *("narrow", "direct"),
)
POINTERS = (
    *("weight", "bias", "threshold", "q_multiplier", "line_of", "reach_start", "reach", "windows"),
    *("owner_start", "owner", "in_windows", "in_owner_start", "in_owner", "in_table"),
    *("lines", "codes", "total", "current", "membrane", "spikes"),
    *("total_n", "current_n", "membrane_n", "spikes_n"),
)
SIZES = ("samples", "groups", "steps", "stages", "layers", "outputs")


class StageStruct(ctypes.Structure):
    """``Stage`` of the kernels."""

    _fields_ = [(n, ctypes.c_int64) for n in NUMBERS] + [(n, ctypes.c_void_p) for n in POINTERS]


class RoleStruct(ctypes.Structure):
    """``LayerRole`` of the kernels."""

    _fields_ = [
        *((n, ctypes.c_int32) for n in ("role", "stage", "reader")),
        *((n, ctypes.c_int64) for n in ("positions", "channels", "by_m", "by_n")),
    ]


class ModelStruct(ctypes.Structure):
    """``Model`` of the kernels."""

    _fields_ = [
        *((n, ctypes.c_int64) for n in SIZES),
        *((n, ctypes.c_void_p) for n in ("stage", "roles", "golden")),
    ]


@dataclass(frozen=True, eq=False)
class Arrays:
    """Memory that the kernels read and the golden run fills.

    Attributes:
        model: Points to everything.
        outputs: ``[samples, classes]`` of the golden run.
        still: Whether inputs are the same at every step.
        kept: What must stay alive with the model.
    """

    model: ModelStruct
    outputs: NDArray[np.int64]
    still: bool
    kept: tuple[object, ...]


def check_sizes(kernels: ctypes.CDLL) -> None:
    """Refuse kernels whose structures are laid out differently.

    Raises:
        UnsupportedError: They are.
    """
    sizes = (ctypes.c_int64 * 4)()
    kernels.snn_sizes(sizes)
    mine = [EFFECT.itemsize, *map(ctypes.sizeof, (StageStruct, RoleStruct, ModelStruct))]
    if list(sizes) != mine:
        raise UnsupportedError(
            f"the kernels' structures have {list(sizes)} bytes, expected {mine}: compile again"
        )


def arrays_of(chain: Chain, samples: int, *, still: bool, narrow: int) -> Arrays:
    """Memory for a chain and a number of samples, inputs not yet read.

    Args:
        chain: The chain.
        samples: How many.
        still: Whether inputs are the same at every step.
        narrow: Stages, as bits, whose golden values are kept in 16 bits.
    """
    groups = -(-samples // GROUP)
    stages = (StageStruct * len(chain.stages))()
    roles = (RoleStruct * len(chain.roles))()
    kept: list[object] = [stages, roles]
    for struct, role in zip(roles, chain.roles, strict=True):
        struct.role, struct.stage, struct.reader = role.role, role.stage, role.reader
        struct.positions, struct.channels = role.grid
        struct.by_m, struct.by_n = role.strides
    spikes: NDArray[np.uint32] | None = None
    for number, stage in enumerate(chain.stages):
        tables = tables_of(chain.network, stage)
        struct = stages[number]
        _number(struct, stage, tables, still and number == 0, bool(narrow >> number & 1))
        kept.append(spikes := _fill(struct, stage, tables, spikes, groups, chain.steps, kept))
    outputs = np.zeros((samples, stages[-1].neurons), dtype=np.int64)
    model = ModelStruct(
        samples, groups, chain.steps, len(stages), len(roles), outputs.shape[1],
        ctypes.addressof(stages), ctypes.addressof(roles), outputs.ctypes.data,
    )  # fmt: skip
    return Arrays(model, outputs, still, (*kept, outputs))


def _number(struct: StageStruct, stage: Stage, tables: Tables, still: bool, narrow: bool) -> None:
    """The numbers of one stage."""
    leak, form = stage.neurons.leak, stage.form
    channels = len(stage.sums.weight)
    average = isinstance(stage.pool, AvgPool2d)
    q = stage.pool.requantise if isinstance(stage.pool, AvgPool2d) else None
    inputs = len(tables.reach_start) - 1
    direct = np.array_equal(tables.line_of, np.arange(inputs).reshape(1, 1, -1))
    largest = MOST * int(np.max(q.multiplier)) if q is not None else 0
    numbers = dict(
        inputs=inputs, neurons=tables.positions * channels,
        positions=tables.positions, channels=channels, padded=tables.padded, sums=tables.sums,
        terms=tables.line_of.shape[2], parts=tables.parts, window=tables.windows.shape[1],
        pool=0 if stage.pool is None else 2 if average else 1,
        q_used=q is not None, q_shift=0 if q is None else q.shift,
        q_rounding=0 if q is None else ROUNDINGS.index(q.rounding),
        q_low=0 if q is None else q.low, q_high=0 if q is None else q.high,
        q_wide=largest >= MOST,
        in_pool=0 if stage.read is None else 1 if tables.in_table is None else 2,
        in_window=tables.in_area,
        in_positions=tables.in_positions,
        leak=LEAKS.index(leak.kind),
        amount=leak.amount, factor=leak.factor, reset=RESETS.index(stage.neurons.reset),
        strict=stage.neurons.strict, fit=FITS[form.overflow], low=form.low, high=form.high,
        bits=form.bits, is_signed=form.signed, free_slack=stage.slack, peak_current=stage.peak,
        input_low=stage.low, input_high=stage.high, wide=stage.wide, still=still,
        binary=stage.low >= 0 and stage.high <= 1, narrow=narrow, direct=direct,
        **{f"order{i}": int(At[name]) for i, name in enumerate(stage.neurons.order)},
    )  # fmt: skip
    for name, number in numbers.items():
        setattr(struct, name, int(number))


def _fill(
    struct: StageStruct,
    stage: Stage,
    tables: Tables,
    before: NDArray[np.uint32] | None,
    groups: int,
    steps: int,
    kept: list[object],
) -> NDArray[np.uint32]:
    """The memory of one stage; gives the array of its spikes."""
    channels, padded, inputs = struct.channels, struct.padded, struct.inputs
    arrays: dict[str, NDArray[np.generic] | None] = {
        name: getattr(tables, name) for name in POINTERS if hasattr(tables, name)
    }
    arrays["bias"] = _padded(np.reshape(stage.sums.bias, -1), padded)
    arrays["threshold"] = _padded(np.broadcast_to(stage.neurons.threshold, channels), padded)
    if struct.q_used and isinstance(stage.pool, AvgPool2d) and stage.pool.requantise is not None:
        multiplier = np.broadcast_to(stage.pool.requantise.multiplier, channels)
        arrays["q_multiplier"] = _padded(multiplier, padded)
    few = 1 if struct.still else steps
    if struct.binary and before is not None and stage.read is None:
        arrays["lines"] = before
    elif struct.binary:
        arrays["lines"] = np.zeros((inputs, groups, few), dtype=np.uint32)
    else:
        arrays["codes"] = np.zeros((inputs, groups, few, GROUP), dtype=np.int32)
    spikes = np.zeros((struct.neurons, groups, steps), dtype=np.uint32)
    arrays["spikes"] = spikes
    arrays |= _golden(struct, groups, steps, few, behind=before is not None)
    for name, array in arrays.items():
        if array is not None:
            kept.append(array)
            setattr(struct, name, array.ctypes.data)
    return spikes


def _golden(
    struct: StageStruct, groups: int, steps: int, few: int, *, behind: bool
) -> dict[str, NDArray[np.generic]]:
    """What the golden run fills with numbers, by sample lanes and, behind a stage, by channels."""
    kind = np.int16 if struct.narrow else np.int32
    lanes, padded = groups * GROUP, struct.padded
    found: dict[str, NDArray[np.generic]] = {
        "current": np.empty((struct.neurons, groups, few, GROUP), dtype=kind),
        "membrane": np.empty((struct.neurons, groups, steps, GROUP), dtype=kind),
    }
    if struct.pool:
        sums = struct.sums * struct.channels
        found["total"] = np.empty((sums, groups, few, GROUP), dtype=kind)
    if not behind:
        return found
    if struct.pool:
        found["total_n"] = np.empty((lanes, struct.sums, steps, padded), dtype=kind)
    for name in ("current_n", "membrane_n"):
        found[name] = np.empty((lanes, struct.positions, steps, padded), dtype=kind)
    blocks = padded // PACK
    found["spikes_n"] = np.empty((lanes, struct.positions, steps, blocks), dtype=np.uint8)
    return found


def _padded(values: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    found = np.zeros(size, dtype=np.int32)
    found[: len(values)] = values
    return found
