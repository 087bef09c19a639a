"""Small torch and snntorch modules of every kind that lowering knows, with plain forwards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional

from codesign.formats import NumberFormat
from codesign.samples import InputCoding, Samples

STEPS = 6
RATE = InputCoding("rate", NumberFormat(1, signed=False), steps=STEPS)
SIDE = 8


def images(count: int = 24, channels: int = 2, seed: int = 0) -> Samples:
    """Random images ``[count, channels, 8, 8]`` with labels 0 to 4."""
    draw = np.random.default_rng(seed)
    inputs = draw.integers(0, 256, (count, channels, SIDE, SIDE)).astype(np.uint8)
    return Samples("noise", "calibration", inputs, draw.integers(0, 5, count))


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module with drawn weights, and drawn statistics in its batch norms."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
                assert part.running_mean is not None
                assert part.running_var is not None
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
                if part.weight is not None:
                    part.weight.data.uniform_(-1.5, 1.5)
                    part.bias.data.normal_()
    return module


class Plain(nn.Module):
    """Layers in a row, then flattened into one linear layer."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.head = nn.LazyLinear(5)
        self(torch.zeros(2, 2, SIDE, SIDE))

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Module.forward`."""
        return self.head(self.layers(x).flatten(1))


class Shortcut(nn.Module):
    """A residual block with an option-A shortcut, written with operations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Module.forward`."""
        x = functional.relu(self.norm(self.first(x)), inplace=True)
        y = self.second(x)
        y += functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2), "constant", 0)
        y = y.relu_()
        y = functional.avg_pool2d(y, y.size()[3])
        return self.head(y.view(y.size(0), -1))


class Branches(nn.Module):
    """Two branches joined along the channels, one of them signed, and a global mean."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 4, 3, padding="same", groups=2)
        self.c = nn.Conv2d(9, 6, 3, padding=1)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Module.forward`."""
        y = torch.cat([functional.relu6(self.a(x)), self.b(x), x], dim=1)
        return functional.log_softmax(self.head(self.c(y).clamp(-1, 2).mean((-1, -2))), dim=1)


class PreActivation(nn.Module):
    """Batch norm with nothing to fold into, a ReLU of its own, and a sum of three."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, affine=False)
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Module.forward`."""
        x = self.stem(x)
        y = self.conv(self.act(self.norm(x)))
        z = self.act(sum([x, y, self.act(x)]))
        return self.head(self.drop(self.pool(z)).flatten(1))


class Late(nn.Module):
    """ReLU and batch norm behind the pooling; a last window that hangs over the edge."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 2)
        self.pool = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
        self.norm = nn.BatchNorm2d(4)
        self.fc1, self.norm1, self.fc2 = nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Module.forward`."""
        x = torch.relu(self.pool(self.conv1(x)))
        x = self.norm(functional.max_pool2d(self.conv2(x), 2, 1))
        x = torch.relu(self.norm1(self.fc1(x.reshape(len(x), -1))))
        return self.fc2(x)


CNNS: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: Plain(nn.Conv2d(2, 4, 3), nn.ReLU()),
    "stride, padding, groups": lambda: Plain(
        nn.Conv2d(2, 4, (3, 5), stride=(2, 1), padding=(1, 2), groups=2, bias=False), nn.ReLU6()
    ),
    "average pooling": lambda: Plain(nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d(3, 2, 1)),
    "pooled input": lambda: Plain(nn.AvgPool2d(2), nn.Conv2d(2, 3, 1), nn.ReLU()),
    "zero padding layer": lambda: Plain(nn.ZeroPad2d(1), nn.Conv2d(2, 3, 3), nn.Hardtanh(-1, 1)),
    "shortcut": Shortcut,
    "branches": Branches,
    "pre-activation": PreActivation,
    "late": Late,
}


def leaky(**options: object) -> snntorch.Leaky:
    """A neuron that fires often on small currents."""
    settings = {"beta": 0.9, "threshold": 0.3, "spike_grad": surrogate.fast_sigmoid(5)} | options
    return snntorch.Leaky(**settings)


class Looped(nn.Module):
    """Two layers of neurons; how the time loop is written is given by name."""

    def __init__(self, style: str = "index", **options: object) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(2 * SIDE * SIDE, 12), nn.Linear(12, 5)
        self.lif1, self.lif2 = leaky(**options), leaky(**options)
        self.style = style

    def moments(self, x: Tensor) -> list[Tensor]:
        """What each step reads."""
        if self.style == "direct":
            return [x] * STEPS
        if self.style == "hoisted":
            return [self.fc1(x.flatten(1))] * STEPS
        if self.style == "iterate":
            return list(x)
        if self.style == "unbind":
            return list(x.unbind(0))
        return [x[t, ...] if self.style == "ellipsis" else x[t] for t in range(x.size(0))]

    def forward(self, x: Tensor) -> object:
        """See `torch.nn.Module.forward`."""
        v1, v2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes, membranes, count = [], [], 0
        for now in self.moments(x):
            current = now if self.style == "hoisted" else self.fc1(now.flatten(1))
            s1, v1 = self.lif1(current, v1)
            s2, v2 = self.lif2(self.fc2(s1), mem=v2)
            count = count + s2
            spikes.append(s2)
            membranes.append(v2)
        if self.style == "count":
            return count
        if self.style == "list":
            return spikes, membranes
        if self.style == "mean":
            return torch.stack(spikes, dim=0).mean(0), v2
        if self.style == "sum of a list":
            return sum(spikes)
        return torch.stack(spikes), torch.stack(membranes)


class Recurrent(nn.Module):
    """Spikes come back to the neurons that fired them, one step later, with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.back, self.fc2 = nn.Linear(128, 12), nn.Linear(12, 12), nn.Linear(12, 5)
        self.lif1, self.lif2 = leaky(), leaky()

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Module.forward`."""
        v1 = v2 = None
        s1 = torch.zeros(x.shape[1], 12)
        out = []
        for now in x:
            s1, v1 = self.lif1(self.fc1(now.flatten(1)) + self.back(s1), v1)
            s2, v2 = self.lif2(self.fc2(s1), v2)
            out.append(s2)
        return torch.stack(out).sum(0)


class SpikingResidual(nn.Module):
    """Currents of two convolutions added, then spikes added to currents, pooled by mean."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 1, bias=False)
        self.norm, self.c = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(16, 5)
        self.lif1 = leaky(threshold=torch.tensor([0.2, 0.4, 0.6, 0.8]).reshape(4, 1, 1))
        self.lif2, self.lif3 = leaky(beta=1.0), leaky(beta=0.75, reset_mechanism="zero")

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Module.forward`."""
        v1 = v2 = v3 = None
        out = []
        for now in x:
            s1, v1 = self.lif1(self.norm(self.a(now)) + self.b(now), v1)
            s2, v2 = self.lif2(functional.avg_pool2d(self.c(s1) + s1, 4), v2)
            s3, v3 = self.lif3(self.head(s2.flatten(1)), v3)
            out.append(s3)
        return torch.stack(out)


class RecurrentOutput(nn.Module):
    """The output's own spikes come back, without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.back = nn.Linear(128, 5), nn.Linear(5, 5, bias=False)
        self.lif = leaky()

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Module.forward`."""
        v, s = None, torch.zeros(x.shape[1], 5)
        out = []
        for now in x:
            s, v = self.lif(self.fc(now.flatten(1)) + self.back(s), v)
            out.append(s)
        return torch.stack(out)


class SpikesIntoNeurons(nn.Module):
    """Neurons that read pooled spikes and rectified currents: values too coarse for a leak."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(64, 5)
        self.lif1, self.lif2 = leaky(), leaky(threshold=0.35, beta=0.8)
        self.lif3 = leaky(threshold=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Module.forward`."""
        v1 = v2 = v3 = None
        out = []
        for now in x:
            s1, v1 = self.lif1(functional.relu(self.conv(now)), v1)
            s2, v2 = self.lif2(functional.avg_pool2d(s1, 2), v2)
            s3, v3 = self.lif3(self.head(s2.flatten(1)), v3)
            out.append(s3)
        return torch.stack(out).sum(0)


class PooledBeside(SpikingResidual):
    """A pooled current beside a plain one: two scales that an addition brings together."""

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Module.forward`."""
        v1 = v3 = None
        out = []
        for now in x:
            pooled = functional.avg_pool2d(self.a(now), 2)
            s1, v1 = self.lif1(pooled + self.b(now[..., :4, :4]), v1)
            s3, v3 = self.lif3(self.head(s1[:, :, ::2, ::2].flatten(1)), v3)
            out.append(s3)
        return torch.stack(out)


def hidden_states(output: bool = True) -> nn.Module:
    """One step a call: neurons that keep their own membranes, as snntorch's tutorials have it."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        leaky(init_hidden=True),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 5),
        leaky(init_hidden=True, output=output, graded_spikes_factor=2.0),
    )
