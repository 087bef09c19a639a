"""What the kernels for spiking networks read: arrays and structures as C lays them out."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.effect_rows import EFFECT, At
from codesign.engine.sparse_snn_chain import Chain, Stage
from codesign.errors import UnsupportedError

__all__ = ["Arrays", "arrays_of", "check_sizes"]

GROUP, PACK = 32, 8  # samples of a group, lanes of a vector
LEAKS = ("none", "shift", "multiply", "subtract")
RESETS = ("zero", "subtract", "none")
FITS = {"saturate": 1, "wrap": 2}
# In the order of the kernels' Stage: numbers of 64 bits, then addresses.
NUMBERS = (
    *("inputs", "neurons", "padded"),
    *("leak", "amount", "factor", "reset", "strict", "order0", "order1", "order2", "order3"),
    *("fit", "low", "high", "bits", "is_signed"),
    *("free_slack", "peak_current", "input_low", "input_high", "wide", "still", "binary"),
)
POINTERS = (
    *("weight", "bias", "threshold", "lines", "codes", "current", "membrane", "spikes"),
    *("current_n", "membrane_n", "spikes_n"),
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


def arrays_of(chain: Chain, samples: int, *, still: bool) -> Arrays:
    """Memory for a chain and a number of samples, inputs not yet read."""
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
        sizes = groups, chain.steps, still and number == 0
        kept.append(spikes := _fill(stages[number], stage, spikes, *sizes, kept))
    outputs = np.zeros((samples, len(chain.stages[-1].sums.weight)), dtype=np.int64)
    model = ModelStruct(
        samples, groups, chain.steps, len(stages), len(roles), outputs.shape[1],
        ctypes.addressof(stages), ctypes.addressof(roles), outputs.ctypes.data,
    )  # fmt: skip
    return Arrays(model, outputs, still, (*kept, outputs))


def _fill(
    struct: StageStruct,
    stage: Stage,
    before: NDArray[np.uint32] | None,
    groups: int,
    steps: int,
    still: bool,
    kept: list[object],
) -> NDArray[np.uint32]:
    """Numbers and memory of one stage; gives the array of its spikes."""
    neurons, inputs = stage.sums.weight.shape
    padded = -(-neurons // PACK) * PACK
    leak, form = stage.neurons.leak, stage.form
    binary = stage.low >= 0 and stage.high <= 1
    numbers = dict(
        inputs=inputs, neurons=neurons, padded=padded, leak=LEAKS.index(leak.kind),
        amount=leak.amount, factor=leak.factor, reset=RESETS.index(stage.neurons.reset),
        strict=stage.neurons.strict, fit=FITS[form.overflow], low=form.low, high=form.high,
        bits=form.bits, is_signed=form.signed, free_slack=stage.slack, peak_current=stage.peak,
        input_low=stage.low, input_high=stage.high, wide=stage.wide, still=still, binary=binary,
        **{f"order{i}": int(At[name]) for i, name in enumerate(stage.neurons.order)},
    )  # fmt: skip
    for name, number in numbers.items():
        setattr(struct, name, int(number))

    def point(name: str, array: NDArray[np.generic]) -> None:
        kept.append(array)
        setattr(struct, name, array.ctypes.data)

    weight = np.zeros((inputs, padded), dtype=np.int32)
    weight[:, :neurons] = stage.sums.weight.T
    point("weight", weight)
    point("bias", _padded(np.reshape(stage.sums.bias, -1), padded))
    threshold = np.broadcast_to(stage.neurons.threshold, neurons)
    point("threshold", _padded(threshold, padded))
    first_steps = 1 if still else steps
    if before is not None:
        point("lines", before)
    elif binary:
        point("lines", np.zeros((inputs, groups, first_steps), dtype=np.uint32))
    else:
        point("codes", np.zeros((inputs, groups, first_steps, GROUP), dtype=np.int32))
    point("current", np.empty((neurons, groups, first_steps, GROUP), dtype=np.int32))
    point("membrane", np.empty((neurons, groups, steps, GROUP), dtype=np.int32))
    spikes = np.zeros((neurons, groups, steps), dtype=np.uint32)
    point("spikes", spikes)
    if before is not None:
        for name in ("current_n", "membrane_n"):
            point(name, np.empty((groups * GROUP, steps, padded), dtype=np.int32))
        point("spikes_n", np.empty((groups * GROUP, steps, padded // PACK), dtype=np.uint8))
    return spikes


def _padded(values: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    found = np.zeros(size, dtype=np.int32)
    found[: len(values)] = values
    return found
