"""Training: deterministic, judged on validation, kept under a digest, and without loss in codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from integer_network import outputs
from sample_modules import hidden_states
from snntorch import SpikingNeuron
from torch import Tensor, nn

import networks
from codesign.errors import DataError, LoweringError
from codesign.formats import NumberFormat
from codesign.learning.batches import coded, outputs_of, shuffled
from codesign.learning.coding import direct_coding
from codesign.learning.settings import Quantisation, Training
from codesign.learning.training import Epoch, Model, Trained, train
from codesign.samples import InputCoding, Samples, Splits

torch.set_num_threads(1)
SHORT = Training(epochs=2, qat_epochs=1, batch=32, learning_rate=5e-3, samples=256)


@pytest.fixture(scope="module")
def data() -> Splits:
    """Four classes of 6 x 6 images that differ in which quarter is bright."""
    draw = np.random.default_rng(3)

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = draw.integers(0, 4, count)
        images = draw.integers(0, 120, (count, 1, 6, 6))
        for image, label in zip(images, labels, strict=True):
            y, x = 3 * (label // 2), 3 * (label % 2)
            image[0, y : y + 3, x : x + 3] += draw.integers(0, 136)
        return images.astype(np.uint8), labels

    images, labels = part(480)
    return Splits.of("quarters", images, labels, part(200))


class Net(nn.Module):
    """One convolution; what else it does is given."""

    def __init__(self, act: nn.Module | None = None, drop: float = 0.0) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.act, self.drop = act or nn.ReLU(), nn.Dropout(drop)
        self.fc = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(self.act(self.norm(self.conv(x))).flatten(1)))


def trained(
    data: Splits,
    build: Callable[[], nn.Module] = Net,
    training: Training = SHORT,
    quantisation: Quantisation | None = None,
    cache: Path | None = None,
) -> Trained:
    return train(Model("net", build), data, training, quantisation or Quantisation(), cache=cache)


# ------------------------------------------------------------------------------------- learning


def test_a_cnn_learns_and_its_codes_lose_nothing_much(data: Splits) -> None:
    found = trained(data, training=replace(SHORT, epochs=4))
    assert found.float_accuracy > 0.75  # by chance 0.25
    assert abs(found.lost) < 0.05
    assert found.samples == 200


@pytest.mark.parametrize("coding", ["direct", "rate", "latency"])
def test_a_spiking_network_learns_from_every_coding(data: Splits, coding: str) -> None:
    def build() -> nn.Module:
        return networks.FcLif(
            inputs=36, classes=4, hidden=(24,), steps=8, coding=coding, threshold=0.5
        )

    found = trained(data, build, replace(SHORT, epochs=5, learning_rate=1e-2))
    assert found.float_accuracy > 0.6  # by chance 0.25
    assert abs(found.lost) < 0.1
    assert found.network.steps == 8
    assert found.network.coding.kind == coding


def test_the_quantised_accuracy_is_that_of_the_integer_network(data: Splits) -> None:
    found = trained(data)
    right = outputs(found.network, data.test).argmax(1) == data.test.labels
    assert found.quantised_accuracy == right.mean()


def test_the_float_accuracy_is_that_of_the_float_module(data: Splits) -> None:
    found = trained(data)
    module = Net().eval()
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in found.state.items()})
    with torch.no_grad():
        guess = module(torch.from_numpy(data.test.inputs.astype(np.float32) / 255)).argmax(1)
    assert found.float_accuracy == (guess.numpy() == data.test.labels).mean()


def test_training_on_codes_gains_where_few_bits_lose(data: Splits) -> None:
    few = Quantisation(weight_bits=2, activation_bits=2)
    found = trained(data, training=replace(SHORT, epochs=4, qat_epochs=6), quantisation=few)
    after_training = [e for e in found.history if e.phase == "codes"]
    best = max(e.accuracy for e in after_training)
    assert best > after_training[0].accuracy
    # Epoch 0 is quantisation after training; what is kept is the best.
    again = trained(data, training=replace(SHORT, epochs=4, qat_epochs=0), quantisation=few)
    assert found.quantised_accuracy > again.quantised_accuracy


def test_the_history_tells_every_epoch_and_the_best_of_validation_is_kept(data: Splits) -> None:
    found = trained(data, training=replace(SHORT, epochs=3))
    told = [(epoch.phase, epoch.number) for epoch in found.history]
    assert told == [("float", 1), ("float", 2), ("float", 3), ("codes", 0), ("codes", 1)]
    assert all(isinstance(epoch, Epoch) and 0 <= epoch.accuracy <= 1 for epoch in found.history)
    losses = [epoch.loss for epoch in found.history if epoch.phase == "float"]
    assert losses[-1] < losses[0]
    right = outputs(found.network, data.validation).argmax(1) == data.validation.labels
    assert max(e.accuracy for e in found.history if e.phase == "codes") == right.mean()


def test_a_model_that_comes_with_weights_is_only_quantised(data: Splits) -> None:
    torch.manual_seed(5)
    weights = Net().state_dict()

    def build() -> nn.Module:
        module = Net()
        module.load_state_dict(weights)
        return module

    found = trained(data, build, replace(SHORT, epochs=0, qat_epochs=0))
    assert all(np.array_equal(found.state[name], v.numpy()) for name, v in weights.items())


def test_a_module_of_one_step_is_trained_by_its_steps(data: Splits) -> None:
    def build() -> nn.Module:
        module = hidden_states(output=False)
        module[0], module[4] = nn.Conv2d(1, 4, 3), nn.Linear(16, 4)  # type: ignore[operator]
        return module

    model = Model("seq", build, coding=direct_coding(255.0), steps=3)
    found = train(model, data, replace(SHORT, epochs=1), Quantisation())
    assert found.network.steps == 3


# ---------------------------------------------------------------------------- the same again


def test_equal_seeds_give_equal_networks_and_others_do_not(data: Splits) -> None:
    one, two = (trained(data, lambda: Net(drop=0.2)) for _ in range(2))
    assert one.network.digest == two.network.digest
    assert one.history[:2] == two.history[:2]
    other = trained(data, lambda: Net(drop=0.2), replace(SHORT, seed=2))
    assert other.network.digest != one.network.digest


def test_training_leaves_the_random_state_and_snntorchs_list_as_they_were(data: Splits) -> None:
    torch.manual_seed(11)
    before, listed = torch.random.get_rng_state(), list(SpikingNeuron.instances)
    trained(data, lambda: networks.FcLif(inputs=36, classes=4, hidden=(8,), steps=3))
    assert torch.equal(before, torch.random.get_rng_state())
    assert [id(x) for x in SpikingNeuron.instances] == [id(x) for x in listed]


def test_a_stored_result_is_taken_without_training(data: Splits, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    def tell(what: str, done: int, total: int) -> None:
        told.append((what, done, total))

    arguments = (Model("net", Net), data, SHORT, Quantisation())
    first = train(*arguments, cache=tmp_path, progress=tell)
    # 256 samples in batches of 32 are 8 batches, two epochs in float and one on codes.
    assert [done for _, done, _ in told] == list(range(1, 25))
    assert {total for _, _, total in told} == {24}
    assert told[0][0] == "float epoch 1 of 2"
    assert told[-1][0] == "epoch 1 of 1 on codes"
    told.clear()
    second = train(*arguments, cache=tmp_path, progress=tell)
    assert told == []
    assert second.network.digest == first.network.digest
    assert second.history[0] == first.history[0]
    assert (second.float_accuracy, second.quantised_accuracy, second.seconds) == (
        first.float_accuracy,
        first.quantised_accuracy,
        first.seconds,
    )
    assert all(np.array_equal(second.state[k], v) for k, v in first.state.items())


class Halved(Net):
    """The same parameters, another function."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clamp(0, 0.5))


def spiking(slope: float) -> Callable[[], nn.Module]:
    return lambda: networks.FcLif(inputs=36, classes=4, hidden=(8,), steps=2, slope=slope)


def test_the_digest_counts_everything_that_a_result_comes_from(data: Splits) -> None:
    untrained = Training(epochs=0, qat_epochs=0, samples=64)

    def digest(
        build: Callable[[], nn.Module],
        data: Splits = data,
        training: Training = untrained,
        weight_bits: int = 8,
    ) -> str:
        return trained(data, build, training, Quantisation(weight_bits=weight_bits)).digest

    samples = data.train
    other_data = replace(data, train=replace(samples, labels=samples.labels[::-1].copy()))
    digests = [
        digest(Net),
        digest(lambda: Net(nn.ReLU6())),
        digest(lambda: Net(drop=0.3)),
        digest(Halved),
        digest(Net, training=replace(untrained, seed=4)),
        digest(Net, training=replace(untrained, batch=16)),
        digest(Net, weight_bits=7),
        digest(Net, other_data),
        digest(spiking(5.0)),
        digest(spiking(6.0)),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(Net) == digests[0]
    assert digest(spiking(5.0)) == digests[8]


# -------------------------------------------------------------------------------- batches


def test_every_sample_comes_once_an_epoch_in_a_drawn_order(data: Splits) -> None:
    coding = direct_coding(255.0)
    order = np.random.default_rng(0)
    epochs = [list(shuffled(data.train, coding, 50, order)) for _ in range(2)]
    for epoch in epochs:
        sums = np.concatenate([b.codes.sum((1, 2, 3)).numpy() for b in epoch])
        assert sorted(sums) == sorted(data.train.inputs.sum((1, 2, 3)).astype(float))
    assert not torch.equal(epochs[0][0].labels, epochs[1][0].labels)


def test_rate_coded_spikes_are_drawn_anew_with_the_pixels_probability(data: Splits) -> None:
    coding = InputCoding("rate", NumberFormat(1, signed=False), steps=400)
    samples = Samples("one", "train", np.array([[[0, 51], [204, 255]]], np.uint8), np.zeros(1, int))
    draws = [next(shuffled(samples, coding, 1, np.random.default_rng(0))) for _ in range(2)]
    assert draws[0].timed
    assert not torch.equal(draws[0].reals, draws[1].reals)
    found = torch.stack([d.reals for d in draws]).mean((0, 1, 2)).reshape(-1)
    # 800 draws: five standard deviations of a share of 0.2 are 0.07.
    assert found.tolist() == [0.0, pytest.approx(0.2, abs=0.07), pytest.approx(0.8, abs=0.07), 1.0]


def test_reals_are_not_rounded_and_codes_are() -> None:
    coding = direct_coding(255.0, mean=(0.5,), std=(0.25,))
    raw = Samples("x", "train", np.array([[[0]], [[100]]], np.uint8), np.zeros(2, int))
    batch = coded(raw, coding)
    assert batch.reals.reshape(-1).tolist() == [-2.0, pytest.approx((100 / 255 - 0.5) / 0.25)]
    # -2 is the largest size and code -127; -0.4314 is code -27.39.
    assert batch.codes.reshape(-1).tolist() == [-127.0, -27.0]


class Gives(nn.Module):
    """Returns what it is told."""

    def __init__(self, give: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.give = give

    def forward(self, x: Tensor) -> object:
        return self.give(x)


def test_outputs_are_summed_over_time_whatever_holds_them(data: Splits) -> None:
    batch = coded(data.train.take(3), direct_coding(255.0))
    ones = torch.ones(3, 4)
    for give in (
        lambda x: ones * 2,
        lambda x: torch.stack([ones, ones]),
        lambda x: ([ones, ones], [ones]),
        lambda x: (torch.stack([ones, ones]), None),
    ):
        assert torch.equal(outputs_of(Gives(give), batch, None), ones * 2)
    assert torch.equal(outputs_of(Gives(lambda x: ones), batch, 2), ones * 2)


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda x: torch.ones(3), r"a tensor of shape \(3,\) for 3 samples"),
        (lambda x: torch.ones(2, 4), r"a tensor of shape \(2, 4\) for 3 samples"),
        (lambda x: "logits", "returns a str; expected a tensor"),
    ],
)
def test_outputs_of_another_shape_are_refused(
    give: Callable[[Tensor], object], message: str, data: Splits
) -> None:
    batch = coded(data.train.take(3), direct_coding(255.0))
    with pytest.raises(LoweringError, match=message):
        outputs_of(Gives(give), batch, None)


def test_a_training_that_diverges_is_stopped(data: Splits) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 4))

    diverging = replace(SHORT, optimiser="sgd", learning_rate=1e20)
    with pytest.raises(LoweringError, match="diverges; use a smaller learning_rate"):
        trained(data, build, diverging)


def test_what_cannot_be_lowered_is_said_before_any_training(data: Splits) -> None:
    told: list[str] = []
    with pytest.raises(LoweringError, match="GELU"):
        train(
            Model("net", lambda: Net(nn.GELU())),
            data,
            SHORT,
            Quantisation(),
            progress=lambda what, done, total: told.append(what),
        )
    assert told == []


def test_a_label_that_the_network_has_no_output_for_is_refused(data: Splits) -> None:
    narrow = Net()
    narrow.fc = nn.Linear(64, 3)
    with pytest.raises(DataError, match=r"a label is 3, but the network has 3 outputs"):
        train(Model("narrow", lambda: narrow), data, SHORT, Quantisation())
