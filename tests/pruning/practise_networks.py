"""Small networks with every kind of place for PRACTISE's adaptors, and the criterion on them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from tiny_networks import images
from torch import Tensor, nn

from latency_tables.skeleton import Skeleton
from pruning.criteria.practise import PractiseCriterion
from pruning.outline import outline
from pruning.targets import pseudo_labels


class Basic(nn.Module):
    """The two-convolution block of ResNet-34, with a projection where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Three stages of 2, 3 and 2 blocks, 4, 6 and 8 channels wide; random weights and batch-norm statistics."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(4)
            self.relu = nn.ReLU(inplace=True)
            self.layer1 = nn.Sequential(Basic(4, 4, 1), Basic(4, 4, 1))
            self.layer2 = nn.Sequential(Basic(4, 6, 2), Basic(6, 6, 1), Basic(6, 6, 1))
            self.layer3 = nn.Sequential(Basic(6, 8, 2), Basic(8, 8, 1))
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(8, 5)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.running_mean, -0.3, 0.3)
                    nn.init.uniform_(module.running_var, 0.5, 1.5)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.bn1(self.conv1(x)))  # in place on what a module gave
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.pool(x).flatten(1))


class Inverted(nn.Module):
    """MobileNetV2's unit: expand, depthwise, project without activation; adds where the shape is kept."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(channels, 12, 1), nn.BatchNorm2d(12), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.ReLU6())
        self.project = nn.Conv2d(12, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.adds = channels == width

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.project(self.depthwise(self.expand(x))))
        return x + out if self.adds else out


class TinyMobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(4)
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU6())
            widths = ((4, 6), (6, 6), (6, 6), (6, 8), (8, 8), (8, 10))
            self.units = nn.Sequential(*(Inverted(*pair) for pair in widths))
            self.head = nn.Conv2d(10, 16, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.head(self.units(self.stem(x)))).mean((2, 3))


IMAGES = images(10, 8)


def skeleton_of(model: nn.Module) -> Skeleton:
    return outline("tiny", model, (3, 8, 8), 2).skeleton


def scorer(model: nn.Module, iterations: int = 20, **changes: Any) -> PractiseCriterion:
    targets = pseudo_labels(model, IMAGES, keep_features=True)
    settings: dict[str, Any] = {"seed": 5, "batch_size": 4, "learning_rate": 0.1} | changes
    return PractiseCriterion(model, IMAGES, targets, skeleton_of(model), iterations=iterations, **settings)


def everything(model: nn.Module) -> list[Any]:
    bits = [value.numpy().tobytes() for value in model.state_dict().values()]
    flags = [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    modules = [
        (path, id(module), module.training, list(module.__dict__), len(module._forward_hooks))
        for path, module in model.named_modules()
    ]
    return [bits, flags, modules]
