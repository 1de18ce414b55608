"""Small untrained networks and batches for early pruning."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pruning.early.criterion import EarlyCriterion
from pruning.early.epsd import Epsd
from pruning.early.grasp import Grasp
from pruning.early.magnitude import Magnitude
from pruning.early.meta_gradient import Inner
from pruning.early.prospr import ProsPr
from pruning.early.random import RandomScores
from pruning.early.snip import Snip
from pruning.early.synflow import SynFlow
from pruning.recovery.cs_kd import ClassWise
from pruning.recovery.dlb import LastBatch
from pruning.recovery.objective import Batch, Objective
from pruning.recovery.ps_kd import Progressive

IMAGES, CLASSES = 12, 3

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "cs-kd": ClassWise,
    "ps-kd": lambda: Progressive(IMAGES, CLASSES),
    "dlb": LastBatch,
}

CRITERIA: dict[str, Callable[[], EarlyCriterion]] = {
    "random": lambda: RandomScores(0),
    "magnitude": Magnitude,
    "snip": Snip,
    "grasp": lambda: Grasp(0),
    "synflow": lambda: SynFlow(10),
    "prospr": ProsPr,
    "prospr, first order": lambda: ProsPr(Inner(first_order=True)),
    **{
        f"epsd, {name}, {order}": (lambda made=made, first=first: Epsd(made, Inner(first_order=first)))
        for name, made in OBJECTIVES.items()
        for order, first in (("full", False), ("first order", True))
    },
}


class Residual(nn.Module):
    """A convolution, a residual unit with a depthwise convolution in it, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.widen = nn.Conv2d(8, 16, 1, bias=False)
        self.widen_norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(16)
        self.narrow = nn.Conv2d(16, 8, 1, bias=False)
        self.narrow_norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        y = torch.relu(self.widen_norm(self.widen(x)))
        y = torch.relu(self.depthwise_norm(self.depthwise(y)))
        x = torch.relu(x + self.narrow_norm(self.narrow(y)))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def residual(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Residual()


def perceptron(seed: int = 0) -> nn.Module:
    """Two linear layers in double precision, for comparisons with derivatives taken otherwise."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, CLASSES)).double()


def batch(shape: tuple[int, ...] = (3, 6, 6), dtype: torch.dtype = torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(IMAGES, *shape, generator=generator, dtype=dtype)
    second = torch.randn(IMAGES, *shape, generator=generator, dtype=dtype)
    return Batch(images, torch.arange(IMAGES) % CLASSES, torch.arange(IMAGES), second)
