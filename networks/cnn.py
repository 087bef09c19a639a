"""Conventional networks: plain torch modules, their ``forward`` as anybody would write it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["LeNet", "MobileNetSmall", "ResNet20", "SmallCnn"]


class SmallCnn(nn.Module):
    """Two convolutions with batch norm and ReLU, each pooled by 2, and one linear layer.

    Args:
        classes: Outputs.
        input_channels: Channels of the images.
        image: Pixels along one side of the (square) images.
        channels: Of the two convolutions.
        kernel: Pixels along one side of their kernels, odd.
    """

    def __init__(
        self,
        classes: int = 10,
        input_channels: int = 1,
        image: int = 8,
        channels: tuple[int, int] = (16, 32),
        kernel: int = 3,
    ) -> None:
        super().__init__()
        first, second = channels
        self.conv1 = nn.Conv2d(input_channels, first, kernel, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, kernel, padding=kernel // 2, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.pool = nn.MaxPool2d(2)
        self.linear = nn.Linear(second * (image // 4) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[samples, classes]`` of images ``[samples, channels, h, w]``."""
        x = self.pool(self.bn1(self.conv1(x)).relu())
        x = self.pool(self.bn2(self.conv2(x)).relu())
        return self.linear(x.flatten(1))


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max pooling (LeCun et al., Proc. IEEE 86(11), 1998, figure 2).

    Args:
        classes: Outputs.
        input_channels: Channels of the images.
        image: Pixels along one side of the (square) images: 28 is padded to 32, as in the paper.
    """

    def __init__(self, classes: int = 10, input_channels: int = 1, image: int = 28) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_channels, 6, 5, padding=2 if image == 28 else 0)
        self.conv2 = nn.Conv2d(6, 16, 5)
        side = ((image if image == 28 else image - 4) // 2 - 4) // 2
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[samples, classes]`` of images ``[samples, channels, h, w]``."""
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = x.flatten(1)
        x = functional.relu(self.fc1(x))
        x = functional.relu(self.fc2(x))
        return self.fc3(x)


class ResNet20(nn.Module):
    """ResNet-20 for 32 x 32 images, option-A shortcuts (He et al., arXiv 1512.03385, sec. 4.2).

    Parameters are named ``conv1, bn1, layer1.0.conv1, …, linear``, as files in use have them.

    Args:
        classes: Outputs.
        input_channels: Channels of the images.
        width: Channels of the first stage; doubled at the second and third.
        blocks: Residual blocks of each stage; 3 makes 20 layers.
    """

    # ImageNet's channel statistics, which the shared CIFAR-10 weights were trained with.
    input_mean = (0.485, 0.456, 0.406)
    input_std = (0.229, 0.224, 0.225)

    def __init__(
        self, classes: int = 10, input_channels: int = 3, width: int = 16, blocks: int = 3
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks, 1)
        self.layer2 = _stage(width, 2 * width, blocks, 2)
        self.layer3 = _stage(2 * width, 4 * width, blocks, 2)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[samples, classes]`` of images ``[samples, channels, h, w]``."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def _stage(before: int, after: int, blocks: int, stride: int) -> nn.Sequential:
    first = _ResidualBlock(before, after, stride)
    return nn.Sequential(first, *(_ResidualBlock(after, after, 1) for _ in range(blocks - 1)))


class _ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut that subsamples and pads with channels of zeros."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.extra = stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.extra:
            front = self.extra // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = functional.pad(x, (0, 0, 0, 0, front, self.extra - front))
        return functional.relu(y + x)


class MobileNetSmall(nn.Module):
    """A few inverted residuals with depthwise convolutions and ReLU6, after MobileNetV2.

    (Sandler et al., arXiv 1801.04381: expand, depthwise, project without activation, add.)

    Args:
        classes: Outputs.
        input_channels: Channels of the images.
        width: Channels of the first convolution.
        expansion: How many times wider a block is inside.
        strides: Stride of each block; a stride of 2 doubles the channels.
    """

    def __init__(
        self,
        classes: int = 10,
        input_channels: int = 1,
        width: int = 8,
        expansion: int = 2,
        strides: tuple[int, ...] = (1, 2, 1),
    ) -> None:
        super().__init__()
        self.first = _conv_bn(input_channels, width, 3)
        blocks, channels = [], width
        for stride in strides:
            after = channels * stride
            blocks.append(_InvertedResidual(channels, after, stride, expansion))
            channels = after
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.1)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[samples, classes]`` of images ``[samples, channels, h, w]``."""
        x = self.pool(self.blocks(functional.relu6(self.first(x))))
        return self.linear(self.drop(x.flatten(1)))


def _conv_bn(
    before: int, after: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after))


class _InvertedResidual(nn.Module):
    def __init__(self, before: int, after: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = before * expansion
        self.expand = _conv_bn(before, inside, 1)
        self.depthwise = _conv_bn(inside, inside, 3, stride, groups=inside)
        self.project = _conv_bn(inside, after, 1)
        self.same = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self.expand(x))
        y = functional.relu6(self.depthwise(y))
        y = self.project(y)
        return x + y if self.same else y
