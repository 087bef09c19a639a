"""The dense engine: exact for every mixture of effects, one forward pass a trial or less.

It equals `codesign.engine.reference` bit for bit. Integers travel in floats that are proved to hold
them (`codesign.engine.dense_numbers`); a trial computes only the layers that differ from the golden
run, and only the samples that some effect's window holds.

Where effects and guards meet, in both engines:

- Effects in one value act by (rank, stuck last, order of the table), while the sample and the step
  lie in their windows.
- An *activation* effect corrupts what a reader gets of a stored value (``reader`` -1: every reader
  and the network's output); the layer's guards follow. A delayed edge reads what was stored
  ``delay_steps`` ago, corrupted by the effects of that step, and unguarded zeros before the start.
  The input's codes are stored values like any other.
- `codesign.guards.Correct` compares 48-bit patterns with the value before corruption. A (trial,
  sample) is *corrected* or *detected* where its own inference read the element.
- A *cell* flip strikes a membrane as the first step of its window begins; a stuck cell holds it as
  each step of the window begins and ends; *read* acts as a step begins, *write* as it ends. The
  membrane's guards stand behind what acts as a step begins.
- A *threshold* serves firing and the reset by subtraction; a *bias* is corrupted where it enters.
- A *spike* effect acts on the neuron's output behind `codesign.guards.Silence`.
- Under `codesign.guards.Recompute` execution e meets the effects of execution -1 and e; the vote is
  on a sample's whole output.
- The output is what the last layer gives the outside, summed over the steps.
"""

from __future__ import annotations

import numpy as np
import torch

from codesign.effects import Effects
from codesign.engine.dense_golden import (
    MEMORY_MB,
    Golden,
    batches,
    check_samples,
    golden,
    golden_run,
)
from codesign.engine.dense_moment import NO_ROWS
from codesign.engine.dense_numbers import exact_floats
from codesign.engine.dense_plan import OUTSIDE, TrialRows, plan_of
from codesign.engine.dense_run import Run
from codesign.engine.dense_trials import Trials
from codesign.engine.golden import check_golden
from codesign.engine.observables import Observables
from codesign.errors import DataError, nearest
from codesign.network import Input, Lif
from codesign.program import Program
from codesign.samples import Samples

__all__ = ["Golden", "activity", "count_overflows", "evaluate", "golden"]

run_golden = golden  # where the name is an argument


def evaluate(
    program: Program,
    samples: Samples,
    effects: Effects,
    *,
    golden: Golden | None = None,
    watch: tuple[str, ...] = (),
    device: str | torch.device = "cpu",
    memory_mb: int = MEMORY_MB,
) -> Observables:
    """Evaluate every trial on every sample.

    Args:
        program: What is computed.
        samples: Codes, ``[samples, ...]``, or ``[samples, steps, ...]`` if timed.
        effects: Of all trials; checked against the program first.
        golden: This program's golden run on these samples, if there is one; then it says where to
            compute.
        watch: Layers whose values (and membranes) are returned.
        device: Where to compute, without a golden run.
        memory_mb: Bound on what is computed at once.

    Raises:
        FaultError: An effect cannot exist.
        DataError: The samples do not fit the program's input, a watched layer does not exist, or
            the golden run is another program's or of other samples.
        UnsupportedError: A corrupted value could leave the integers that this engine carries.
    """
    effects.check(program)
    known = [layer.name for layer in program.network]
    for name in watch:
        if name not in known:
            raise DataError(f"cannot watch {name!r}: no such layer{nearest(name, known)}")
    if golden is None:
        golden = run_golden(program, samples, device=device, memory_mb=memory_mb)
    else:
        check_golden(golden, program, samples)
    trials = Trials(golden, watch, memory_mb, effects.trials)
    with exact_floats(golden.plan.device):
        for trial in range(effects.trials):
            trials.evaluate(trial, effects.of_trial(trial))
    return trials.observed


def count_overflows(
    program: Program, samples: Samples, *, device: str | torch.device = "cpu"
) -> dict[str, int]:
    """Golden wraps and saturations of running sums and totals, by multiply-accumulate layer.

    Counts writes that did not fit; layers whose bounds exclude them are not looked at.
    """
    check_samples(program, samples)
    device = torch.device(device)
    plan = plan_of(program, device)
    counts = dict.fromkeys(program.arithmetic, 0)
    with exact_floats(device):
        for batch in batches(plan, np.arange(len(samples)), MEMORY_MB):
            run = golden_run(plan, samples, batch)
            for index in plan.macs:
                counts[program.network.layers[index].name] += run.overflows(index)
    return counts


def activity(golden: Golden) -> dict[str, dict[str, float]]:
    """How busy a golden run was: ``spikes`` and ``zeros``, as a mapping's costs ask for.

    ``spikes``: of each spiking layer, and of an input of one bit, the mean over samples of spikes
    per inference. ``zeros``: of each layer, the share of zeros among what its readers get.
    """
    plan, steps = golden.plan, golden.program.network.steps
    spikes: dict[str, float] = {}
    zeros: dict[str, float] = {}
    rows = TrialRows(plan, NO_ROWS)
    count = len(golden.samples)
    ones, nils = np.zeros(plan.layers), np.zeros(plan.layers)
    with exact_floats(plan.device):
        for batch in batches(plan, np.arange(count), MEMORY_MB):
            run = Run(plan, rows, batch, golden.kept, count)
            for index in range(plan.layers):
                value, _ = run.read(index, OUTSIDE)
                repeats = steps // value.data.shape[0]
                ones[index] += float(value.data.double().sum()) * repeats
                nils[index] += float((value.data == 0).sum()) * repeats
    for index, layer in enumerate(golden.program.network.layers):
        one_bit = isinstance(layer, Input) and (layer.format.low, layer.format.high) == (0, 1)
        if isinstance(layer, Lif) or one_bit:
            spikes[layer.name] = ones[index] / count
        zeros[layer.name] = nils[index] / (count * steps * np.prod(plan.shape(index), dtype=int))
    return {"spikes": spikes, "zeros": {name: float(share) for name, share in zeros.items()}}
