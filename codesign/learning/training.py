"""Train a module in float, then on codes, and keep the result under a digest of all it came from.

What is guaranteed: on one machine, with one version of torch and one number of threads, equal
settings and seed give equal weights, bit for bit. The digest under which a result is kept does not
count machine and threads, so that a stored result stays valid everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from codesign.digests import digest
from codesign.errors import DataError, LoweringError
from codesign.learning.batches import batch_count, batches, outputs_of, shuffled
from codesign.learning.coding import coding_for
from codesign.learning.lowering import EXAMPLES, skeleton_of
from codesign.learning.quantization import QuantModel
from codesign.learning.settings import Quantisation, Training
from codesign.learning.skeleton import Skeleton
from codesign.learning.tracing import forget_neurons, reset_neurons
from codesign.network import NetworkGraph
from codesign.samples import InputCoding, Samples, Splits
from codesign.store import ArrayStore

__all__ = ["Epoch", "Model", "Progress", "Trained", "stored", "train"]

Progress = Callable[[str, int, int], None]  # (what is done, batches done, batches in all)
Arrays = dict[str, NDArray[Any]]

RECIPE = 1  # raise it when equal settings train something else, so that old results are not reused
JUDGED = 2000  # validation samples that an epoch is judged by, at most
MOMENTUM = 0.9  # of SGD


@dataclass(frozen=True, eq=False)
class Model:
    """What is to be trained.

    Attributes:
        name: For reports.
        build: Makes the module, with fresh or with loaded weights.
        coding: How samples become codes; None for what the module asks for (`coding_for`).
        steps: None if a forward makes all time steps, else how often a forward of one step is
            called.
    """

    name: str
    build: Callable[[], nn.Module]
    coding: InputCoding | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Epoch:
    """One pass over the training samples.

    Attributes:
        phase: ``float``, or ``codes`` for training on codes; its epoch 0 is before any.
        number: From 1 within the phase.
        loss: Mean over the samples (not a number before any training).
        accuracy: On validation samples.
    """

    phase: str
    number: int
    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, in float and in integers.

    Attributes:
        network: The integers.
        state: The float module's state dict.
        float_accuracy: Of the float module on the test samples.
        quantised_accuracy: Of the integer network on the same samples, no chip's overflows counted.
        samples: How many these were.
        history: Epochs of both phases; of each phase the one with the best accuracy was kept.
        seconds: What the training took.
        digest: Of everything that it came from.
    """

    network: NetworkGraph
    state: Arrays
    float_accuracy: float
    quantised_accuracy: float
    samples: int
    history: tuple[Epoch, ...]
    seconds: float
    digest: str

    @property
    def lost(self) -> float:
        """Accuracy lost to quantisation; negative if it was gained."""
        return self.float_accuracy - self.quantised_accuracy


def train(
    model: Model,
    data: Splits,
    training: Training,
    quantisation: Quantisation,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train a model on a data set, or take from the cache what the same settings gave before.

    Float epochs first (none for a model that comes with weights), then batch norm is folded, ranges
    are calibrated and the integer network is trained on codes. After each epoch the validation
    samples judge; the best epoch of each phase is kept, later ones of equals. Test samples are only
    used to report the two accuracies. The global random state of torch is left as it was.

    Args:
        model: What to train.
        data: Its samples by split.
        training: Epochs, rates, seed.
        quantisation: Widths.
        cache: Folder of stored results, or None to store nothing.
        progress: Called after every batch with what is done, how many batches are, and of how many.

    Raises:
        LoweringError: The model cannot be lowered; said before any training.
        DataError: A split that is needed is missing or too small.
    """
    job = _Job(model, data, training, quantisation, progress)
    if cache is None:
        return job.trained(job.arrays())
    return job.trained(ArrayStore(cache).get_or_make(job.digest, job.arrays))


def stored(
    model: Model, data: Splits, training: Training, quantisation: Quantisation, cache: Path
) -> Trained | None:
    """What `train` has stored for the same arguments, or None; trains nothing.

    Raises:
        LoweringError, DataError: As `train` does.
        StoreError: What is stored is damaged.
    """
    job = _Job(model, data, training, quantisation, None)
    store = ArrayStore(cache)
    return job.trained(store.get(job.digest)) if store.path(job.digest).is_file() else None


class _Job:
    """One training, with what it needs at hand."""

    def __init__(
        self,
        model: Model,
        data: Splits,
        training: Training,
        quantisation: Quantisation,
        progress: Progress | None,
    ) -> None:
        self.model, self.training, self.quantisation = model, training, quantisation
        samples = data.train
        count = min(training.samples or len(samples), len(samples))
        self.samples = samples.take(count, seed=training.seed) if count < len(samples) else samples
        self.calibration = _at_most(data.calibration, quantisation.calibration)
        self.validation = _at_most(data.validation, JUDGED)
        self.test = data.test
        with _seeded(training.seed):
            self.module = model.build()
        forget_neurons(self.module)
        self.coding = model.coding or coding_for(self.module, data.full_scale)
        self.initial = _state(self.module)
        batches_each = batch_count(len(self.samples), training.batch)
        self.total = batches_each * (training.epochs + training.qat_epochs)
        self.done, self.progress = 0, progress
        self.digest = self._digest(self._skeleton())

    def _skeleton(self) -> Skeleton:
        examples = self.calibration.take(min(EXAMPLES, len(self.calibration)))
        return skeleton_of(
            self.module,
            examples,
            coding=self.coding,
            steps=self.model.steps,
            name=self.model.name,
        )

    def _digest(self, skeleton: Skeleton) -> str:
        """Of what the module computes, its initial weights, the data and the settings."""
        neurons = [
            (name, n.beta, n.threshold.numpy(), n.factor, _described(n.surrogate))
            for name, n in skeleton.neurons.items()
        ]
        splits = [s.digest for s in (self.samples, self.calibration, self.validation, self.test)]
        described = (skeleton.graph.digest, sorted(skeleton.clips.items()), neurons)
        settings = (self.training, self.quantisation, self.model.steps)
        what = (described, repr(self.module), self.initial, splits, settings)
        return digest((RECIPE, torch.__version__, what))

    # -- work

    def arrays(self) -> Arrays:
        """Train, and give everything that is to be kept."""
        began = time.perf_counter()
        with _seeded(self.training.seed):
            history = self._train_float()
            trained = QuantModel(self._skeleton(), self.quantisation)
            trained.calibrate(self.calibration)
            history += self._train_codes(trained)
        kept: Arrays = {f"state.{name}": values for name, values in _state(self.module).items()}
        kept |= {f"codes.{name}": values for name, values in trained.state().items()}
        kept["history"] = np.array(
            [(e.phase == "codes", e.number, e.loss, e.accuracy) for e in history]
        )
        kept["accuracies"] = np.array(
            [self._float_accuracy(self.test), self._code_accuracy(trained, self.test)]
        )
        kept["seconds"] = np.array(time.perf_counter() - began)
        reset_neurons(self.module)
        return kept

    def _train_float(self) -> list[Epoch]:
        history: list[Epoch] = []
        if self.training.epochs == 0:
            return history
        optimiser = self._optimiser(self.module, self.training.learning_rate)
        epochs = self.training.epochs
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
        order = np.random.default_rng(self.training.seed)
        best, kept = -1.0, self.initial
        for number in range(1, epochs + 1):
            self.module.train()
            losses = []
            for batch in shuffled(self.samples, self.coding, self.training.batch, order):
                outputs = outputs_of(self.module, batch, self.model.steps)
                losses.append(_learn(optimiser, outputs, batch.labels))
                self._tell(f"float epoch {number} of {epochs}")
            schedule.step()
            accuracy = self._float_accuracy(self.validation)
            history.append(Epoch("float", number, float(np.mean(losses)), accuracy))
            if accuracy >= best:
                best, kept = accuracy, _state(self.module)
        _restore(self.module, kept)
        return history

    def _train_codes(self, model: QuantModel) -> list[Epoch]:
        best, kept = self._code_accuracy(model, self.validation), model.state()
        history = [Epoch("codes", 0, float("nan"), best)]
        epochs = self.training.qat_epochs
        if epochs == 0:
            return history
        optimiser = self._optimiser(model, self.training.qat_learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
        order = np.random.default_rng((self.training.seed, 1))
        for number in range(1, epochs + 1):
            model.train()
            losses = []
            for batch in shuffled(self.samples, self.coding, self.training.batch, order):
                losses.append(_learn(optimiser, model(batch.codes, batch.timed), batch.labels))
                self._tell(f"epoch {number} of {epochs} on codes")
            schedule.step()
            accuracy = self._code_accuracy(model, self.validation)
            history.append(Epoch("codes", number, float(np.mean(losses)), accuracy))
            if accuracy >= best:
                best, kept = accuracy, model.state()
        model.restore(kept)
        return history

    def _optimiser(self, module: nn.Module, rate: float) -> torch.optim.Optimizer:
        decay, parameters = self.training.weight_decay, list(module.parameters())
        if self.training.optimiser == "adam":
            return torch.optim.Adam(parameters, rate, weight_decay=decay)
        return torch.optim.SGD(parameters, rate, momentum=MOMENTUM, weight_decay=decay)

    def _tell(self, what: str) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(what, self.done, self.total)

    def _float_accuracy(self, samples: Samples) -> float:
        self.module.eval()
        right = 0
        with torch.no_grad():
            for batch in batches(samples, self.coding):
                outputs = outputs_of(self.module, batch, self.model.steps)
                right += int((outputs.argmax(1) == batch.labels).sum())
        return right / len(samples)

    def _code_accuracy(self, model: QuantModel, samples: Samples) -> float:
        model.eval()
        right = 0
        for batch in batches(samples, self.coding):
            guess = model.integers(batch.codes, batch.timed).argmax(1)
            right += int((guess == batch.labels.numpy()).sum())
        return right / len(samples)

    # -- result

    def trained(self, arrays: Arrays) -> Trained:
        """The result of arrays that were just made, or stored."""
        state = _under(arrays, "state.")
        _restore(self.module, state)
        model = QuantModel(self._skeleton(), self.quantisation)
        model.restore(_under(arrays, "codes."))
        history = tuple(
            Epoch("codes" if codes else "float", int(number), float(loss), float(accuracy))
            for codes, number, loss, accuracy in arrays["history"].tolist()
        )
        in_float, in_codes = arrays["accuracies"].tolist()
        seconds = float(arrays["seconds"])
        return Trained(
            model.network(),
            state,
            in_float,
            in_codes,
            len(self.test),
            history,
            seconds,
            self.digest,
        )


def _learn(optimiser: torch.optim.Optimizer, outputs: Tensor, labels: Tensor) -> float:
    """One step down the cross-entropy of logits, or of spike counts taken as such."""
    highest, classes = int(labels.max()), outputs.shape[1]
    if highest >= classes:
        raise DataError(
            f"a label is {highest}, but the network has {classes} outputs, for classes 0 to "
            f"{classes - 1}; give it more, or other data"
        )
    loss = functional.cross_entropy(outputs, labels)
    if not torch.isfinite(loss):
        raise LoweringError(
            "the loss is no longer finite: the training diverges; use a smaller learning_rate"
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed inside, and as they were outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _state(module: nn.Module) -> Arrays:
    return {name: values.detach().numpy().copy() for name, values in module.state_dict().items()}


def _restore(module: nn.Module, state: Arrays) -> None:
    module.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in state.items()})


def _under(arrays: Arrays, prefix: str) -> Arrays:
    """Arrays under a prefix, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _at_most(samples: Samples, count: int) -> Samples:
    return samples.take(min(count, len(samples)))


def _described(function: Callable[..., object]) -> tuple[str, str]:
    """Name of a function and the constants that it closes over."""
    cells = getattr(function, "__closure__", None) or ()
    held = [repr(cell.cell_contents) for cell in cells if not callable(cell.cell_contents)]
    return (getattr(function, "__qualname__", repr(type(function))), ", ".join(held))
