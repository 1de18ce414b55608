"""Networks small enough to compute by hand or to train within a second."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning.criteria.variables import Workpiece
from pruning.outline import outline
from pruning.targets import pseudo_labels


class Scale(nn.Module):
    """Multiplies by one trainable number; a removable block."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Pooled(nn.Module):
    """Blocks, the mean over the map, and the channels as logits: every output can be computed by hand."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x).mean((2, 3))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.conv(x)))


class TinyResNet(nn.Module):
    """Four residual blocks of 8 channels, global pooling as a function, 3 classes."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.layer = nn.Sequential(*(Residual(8) for _ in range(4)))
            self.drop = nn.Dropout(0.5)
            self.linear = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.stem(x))
        x = F.avg_pool2d(x, x.shape[-1]).flatten(1)
        return self.linear(self.drop(x))


BLOCKS = ("layer.0", "layer.1", "layer.2", "layer.3")


def images(count: int = 12, size: int = 6, seed: int = 1) -> Tensor:
    """Random images of shape (count, 3, size, size)."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def workpiece_of(model: nn.Module, x: Tensor, **changes: Any) -> Workpiece:
    """What criteria are made from, for a network as its own teacher."""
    labels = pseudo_labels(model, x, keep_features=True)
    skeleton = outline("tiny", model.eval(), tuple(x.shape[1:]), 2).skeleton
    return Workpiece(model, x, labels, skeleton, **changes)


def state_of(model: nn.Module) -> list[Any]:
    """All that a measurement must leave as it was: bits, flags, gradients, modes, attributes and hooks."""
    bits = [(name, value.detach().clone().numpy().tobytes()) for name, value in model.state_dict().items()]
    flags = [
        (one.requires_grad, None if one.grad is None else one.grad.numpy().tobytes())
        for one in model.parameters()
    ]
    modules = [
        (
            path,
            id(module),
            module.training,
            list(vars(module)),
            [len(hooks) for hooks in (module._forward_hooks, module._forward_pre_hooks)],
        )
        for path, module in model.named_modules(remove_duplicate=False)
    ]
    return [bits, flags, modules]
