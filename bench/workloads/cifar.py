"""Residual networks for 32x32 images: He et al.'s CIFAR family and the ResNet-8 of MLPerf Tiny.

Every residual unit is a submodule with its shortcut inside (``layer1.0`` and so on), called through a plain
sequence, so a unit that keeps its input's shape can be replaced by ``nn.Identity``.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from bench.workloads.padding import pad_same

_WIDTHS = (16, 32, 64)
# 6n + 2 layers, counted as in the paper: n units of two convolutions in each of three stages, the first
# convolution and the classifier.
DEPTHS = (20, 32, 44, 56, 110)


class _ZeroPadShortcut(nn.Module):
    """Option A of He et al.: every second pixel, new channels filled with zeros, half of them on each side."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self._padding = (out_channels - in_channels) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self._padding, self._padding))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut without parameters.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, ``in_channels`` or more by an even number.
        stride: 1 or 2, of the first convolution and of the shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        keeps_shape = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if keeps_shape else _ZeroPadShortcut(in_channels, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class CifarResNet(nn.Module):
    """A CIFAR-10 ResNet with option-A shortcuts (He et al. 2016, section 4.2).

    Tensor names follow akamaster/pytorch_resnet_cifar10. Initialised as the paper does (He et al. 2015).

    Args:
        depth: layers, 6n + 2 for n residual units a stage.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        units = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.layer1 = _stage(_WIDTHS[0], _WIDTHS[0], units, stride=1)
        self.layer2 = _stage(_WIDTHS[0], _WIDTHS[1], units, stride=2)
        self.layer3 = _stage(_WIDTHS[1], _WIDTHS[2], units, stride=2)
        self.linear = nn.Linear(_WIDTHS[2], 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images (N, 3, H, W) to logits (N, 10)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        logits: torch.Tensor = self.linear(out.mean((2, 3)))
        return logits


def _stage(in_channels: int, out_channels: int, units: int, *, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1) for _ in range(units - 1)))


class _TinyBlock(nn.Module):
    """A residual unit as Keras built it for MLPerf Tiny: biases everywhere, SAME padding, eps 1e-3."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=int(stride == 1))
        self.bn1 = nn.BatchNorm2d(out_channels, eps=1e-3)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels, eps=1e-3)
        self.shortcut = (
            nn.Identity() if stride == 1 else nn.Conv2d(in_channels, out_channels, 1, stride=stride)
        )
        self._halves = stride == 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(pad_same(x) if self._halves else x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class ResNet8(nn.Module):
    """The image classifier of MLPerf Tiny (Banbury et al. 2021): three residual units, 78,186 parameters.

    With the weights of MLPerf it takes pixel values 0..255 as they are.

    Args:
        widths: channels of the three stages.
    """

    def __init__(self, widths: tuple[int, int, int] = _WIDTHS) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1)
        self.bn1 = nn.BatchNorm2d(widths[0], eps=1e-3)
        self.layer1 = nn.Sequential(_TinyBlock(widths[0], widths[0], 1))
        self.layer2 = nn.Sequential(_TinyBlock(widths[0], widths[1], 2))
        self.layer3 = nn.Sequential(_TinyBlock(widths[1], widths[2], 2))
        self.linear = nn.Linear(widths[2], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images (N, 3, H, W) to logits (N, 10)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        logits: torch.Tensor = self.linear(out.mean((2, 3)))
        return logits
