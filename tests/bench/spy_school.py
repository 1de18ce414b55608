"""A school that trains nothing, a real one, a shop around the first, and a machine whose channels cost a second."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from early_networks import CLASSES, Residual
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.school import School
from bench.shop import Shop
from bench.workloads.images import Images
from bench.workloads.network import Network, Preprocess
from bench.workloads.training_images import AugmentedImages
from latency_tables.estimate import Estimate
from pruning.channels import find_groups
from pruning.from_scratch import Training
from pruning.recovery.training import Regime

PREPROCESS = Preprocess((0.5,) * 3, (0.5,) * 3, 255.0)
NETWORK = Network("small", Residual, (3, 6, 6), PREPROCESS)


class Spy(School):
    """A school that trains nothing, and remembers what it was given."""

    def teach(  # type: ignore[override]
        self, model: nn.Module, objective: Any, what: str, progress: Any, masks: Any = None, apart: str = ""
    ) -> nn.Module:
        words = f"{what} {apart}"
        lessons.append(SimpleNamespace(model=model, objective=objective.name, what=words, masks=masks))
        return model


lessons: list[SimpleNamespace] = []


def spy(folder: Path, self_distillation: str = "cs-kd") -> Spy:
    lessons.clear()
    pixels = np.random.default_rng(0).integers(0, 256, (30, 6, 6, 3), dtype=np.uint8)
    images = AugmentedImages(Images(pixels, np.arange(30) % CLASSES, "made up"), PREPROCESS, "none")
    training = Training(self_distillation, 30, CLASSES, Residual(), 0)
    return Spy(NETWORK, images, Regime(epochs=1), training, folder, torch.device("cpu"))


def real(folder: Path, self_distillation: str) -> School:
    """A school that does train: two epochs of three steps."""
    given = spy(folder, self_distillation)
    regime = Regime(epochs=2, batch_size=10)
    return School(given.network, given.images, regime, given.training, folder, given.device)


class FakeShop:
    """Judges every network the same."""

    def __init__(self, folder: Path, self_distillation: str = "cs-kd") -> None:
        model = NETWORK.untrained(0)
        groups = find_groups(model, torch.zeros(1, 3, 6, 6))
        skeleton = SimpleNamespace(groups=groups, digest="d")
        self.subject = SimpleNamespace(wide=SimpleNamespace(skeleton=skeleton))
        self.images = SimpleNamespace(report=SimpleNamespace(labels=np.zeros(1)))
        self.school = spy(folder, self_distillation)

    def teaching(self, _: str) -> Spy:
        return self.school

    def judge(self, networks: dict[str, nn.Module], _: object) -> dict[str, Estimate]:
        return dict.fromkeys(networks, Estimate(0.5, 0.4, 0.6))

    judged = Shop.judged


class PerChannel:
    """Every channel costs a second."""

    def latencies_s(self, removed: list[Any], widths: NDArray[np.int64]) -> NDArray[np.float64]:
        return widths.sum(axis=1).astype(float)

    def latency_s(self, removed: Any, widths: dict[str, int]) -> float:
        full = {
            group.name: group.channels for group in find_groups(Residual().eval(), torch.zeros(1, 3, 6, 6))
        }
        return float(sum((full | widths).values()))


def quiet(*_: object) -> None:
    pass


def first_weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = list(zip(first_weights(one), first_weights(other), strict=True))
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)
