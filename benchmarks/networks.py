"""The networks that are timed: trained once, then taken from a cache, and put on a plain chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from codesign.formats import NumberFormat
from codesign.layers import is_mac
from codesign.learning.settings import Quantisation, Training
from codesign.learning.training import Model, train
from codesign.learning.weights import load_weights
from codesign.network import Lif, NetworkGraph
from codesign.program import MacArithmetic, Program, bounds
from codesign.samples import Samples, Splits
from networks.cnn import LeNet, ResNet20, SmallCnn
from networks.data import cifar10, digits, mnist
from networks.snn import ConvLif, FcLif

__all__ = ["MAIN", "NETWORKS", "Absent", "Subject", "make", "plain_program"]

ACCUMULATOR_BITS = 24
JUDGED = 1000  # samples that an accuracy is measured on
RESNET_WEIGHTS = {
    20: "nets/akamaster_resnet20-12fca82f.th",
    32: "nets/akamaster_resnet32-d509ac18.th",
}


class Absent(Exception):  # noqa: N818  (no error: the table says what was left out)
    """A network that cannot be made here, and why."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network that is timed.

    Attributes:
        name: As the table has it.
        program: What it computes on a plain chip.
        samples: Codes of its test samples.
        origin: Where weights and samples come from, for the table.
        accuracy: On the first thousand test samples.
    """

    name: str
    program: Program
    samples: Samples
    origin: str
    accuracy: float

    @property
    def spiking(self) -> bool:
        """Whether it has neurons."""
        return any(isinstance(layer, Lif) for layer in self.program.network)


@dataclass(frozen=True)
class Recipe:
    """How a network is made.

    Attributes:
        build: The module, given the side of the (square) images.
        training: None for weights that come with the data.
        inputs: Samples of a campaign.
        depth: Of a ResNet on CIFAR-10.
        small: Whether the digits that ship are enough.
    """

    build: Callable[[int], nn.Module]
    training: Training | None
    inputs: int
    depth: int = 0
    small: bool = False


def _fc(image: int) -> nn.Module:
    return FcLif(image * image, 10, (400,), steps=50, coding="rate")


def _conv(image: int) -> nn.Module:
    # The largest of four currents is seldom negative: with a weaker leak, all neurons fire always.
    return ConvLif(
        image=image, channels=(12, 32), kernel=5, steps=25, beta=0.5, threshold=2.0, coding="rate"
    )


def _tiny_snn(image: int) -> nn.Module:
    return FcLif(image * image, 10, (24,), steps=6, coding="rate")


NETWORKS: dict[str, Recipe] = {
    "resnet20": Recipe(lambda _: ResNet20(), None, 256, depth=20),
    "resnet32": Recipe(lambda _: ResNet20(blocks=5), None, 256, depth=32),
    "lenet": Recipe(
        lambda image: LeNet(image=image) if image >= 28 else SmallCnn(image=image),
        Training(epochs=3, qat_epochs=0, samples=20000, learning_rate=2e-3),
        1000,
    ),
    "fc_snn": Recipe(_fc, Training(epochs=1, qat_epochs=0, samples=12000, learning_rate=2e-3), 256),
    "conv_snn": Recipe(_conv, Training(epochs=1, qat_epochs=0, samples=4000, batch=25), 128),
    "tiny_cnn": Recipe(
        lambda image: SmallCnn(image=image, channels=(4, 8)),
        Training(epochs=4, qat_epochs=0, batch=16, learning_rate=5e-3),
        20,
        small=True,
    ),
    "tiny_snn": Recipe(
        _tiny_snn, Training(epochs=2, qat_epochs=0, batch=16, learning_rate=5e-3), 20, small=True
    ),
}
MAIN = ("resnet20", "lenet", "fc_snn", "conv_snn")


def make(name: str, data: Path | None, cache: Path) -> Subject:
    """A network, trained and lowered or taken from the cache, with its test samples.

    Args:
        name: One of `NETWORKS`.
        data: Folder with ``sets/`` (MNIST, CIFAR-10) and ``nets/`` (ResNets), or None.
        cache: Where trained weights are kept.

    Raises:
        Absent: It needs files that are not there.
    """
    recipe = NETWORKS[name]
    if recipe.depth:
        return _resnet(name, recipe, data, cache)
    splits, image, origin = digits(), 8, "the digits of scikit-learn"
    if not recipe.small:
        if data is not None and any((data / "sets").glob("mnist*")):
            splits, image, origin = mnist(data / "sets"), 28, "MNIST"
        else:
            origin += " in the place of MNIST"
    assert recipe.training is not None
    model = Model(name, lambda: recipe.build(image))
    return _subject(name, recipe, model, splits, recipe.training, f"{origin}, trained here", cache)


def plain_program(network: NetworkGraph) -> Program:
    """A network on a chip that sums in order in 24 bits, all terms of an output in one run.

    Raises:
        Absent: Some sum can leave 24 bits.
    """
    form = NumberFormat(ACCUMULATOR_BITS, overflow="wrap")
    arithmetic = {
        x.name: MacArithmetic(form, form, (network.mac_shape(x.name)[1],))
        for x in network
        if is_mac(x)
    }
    program = Program(network, arithmetic)
    wide = [name for name, bound in bounds(program).items() if bound.overflows]
    if wide:
        raise Absent(f"sums of {wide[0]} can leave {ACCUMULATOR_BITS} bits")
    return program


def _resnet(name: str, recipe: Recipe, data: Path | None, cache: Path) -> Subject:
    weights = None if data is None else data / RESNET_WEIGHTS[recipe.depth]
    if data is None or weights is None or not weights.is_file():
        raise Absent(
            f"it needs trained weights ({RESNET_WEIGHTS[recipe.depth]}) and CIFAR-10 in the folder "
            "given by --data"
        )

    def build() -> nn.Module:
        module = recipe.build(32)
        load_weights(module, weights)
        return module

    untrained = Training(epochs=0, qat_epochs=0)
    splits = cifar10(data / "sets")
    return _subject(
        name, recipe, Model(name, build), splits, untrained, "CIFAR-10, published weights", cache
    )


def _subject(
    name: str,
    recipe: Recipe,
    model: Model,
    splits: Splits,
    training: Training,
    origin: str,
    cache: Path,
) -> Subject:
    judged = {part: getattr(splits, part) for part in ("validation", "test")}
    judged = {part: s.take(min(JUDGED, len(s))) for part, s in judged.items()}
    splits = replace(splits, **judged)
    trained = train(model, splits, training, Quantisation(), cache=cache)
    network = trained.network
    raw = splits.test.take(min(recipe.inputs, len(splits.test)))
    return Subject(
        name,
        plain_program(network),
        network.coding.apply(raw),
        origin,
        trained.quantised_accuracy,
    )
