"""MobileNetV2 (Sandler et al. 2018) with its batch norms folded, as deployed by TensorFlow Lite."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from bench.workloads.padding import pad_same

_STEM = 32
_HEAD = 1280
# Expansion, output channels, units, stride of the first unit: table 2 of the paper.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expand (1x1), depthwise 3x3, project (1x1); the input is added where the shape is kept.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: 1 or 2, of the depthwise convolution.
        expansion: width inside as a multiple of ``in_channels``; 1 leaves the expanding convolution out.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expand = nn.Conv2d(in_channels, width, 1) if expansion > 1 else None
        self.dw = nn.Conv2d(width, width, 3, stride=stride, padding=int(stride == 1), groups=width)
        self.project = nn.Conv2d(width, out_channels, 1)
        self._halves = stride == 2
        self._adds = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        out = x if self.expand is None else F.relu6(self.expand(x))
        out = F.relu6(self.dw(pad_same(out) if self._halves else out))
        projected: torch.Tensor = self.project(out)
        return x + projected if self._adds else projected


class MobileNetV2(nn.Module):
    """MobileNetV2 of width 1.0 with 1000 classes; 3,487,816 parameters once folded.

    Submodules: ``stem``, ``block0`` to ``block16``, ``head``, ``classifier``. Inputs are (RGB - 128) / 128.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _STEM, 3, stride=2)
        channels, index = _STEM, 0
        for expansion, width, units, stride in _STAGES:
            for unit in range(units):
                block = InvertedResidual(channels, width, stride if unit == 0 else 1, expansion)
                self.add_module(f"block{index}", block)
                channels, index = width, index + 1
        self._blocks = index
        self.head = nn.Conv2d(channels, _HEAD, 1)
        self.classifier = nn.Linear(_HEAD, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images (N, 3, H, W) to logits (N, 1000)."""
        out = F.relu6(self.stem(pad_same(x)))
        for index in range(self._blocks):
            out = getattr(self, f"block{index}")(out)
        out = F.relu6(self.head(out))
        logits: torch.Tensor = self.classifier(out.mean((2, 3)))
        return logits
