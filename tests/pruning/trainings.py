"""Short trainings of a small network, by every objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from blobs import COUNT, Blobs
from early_networks import CLASSES, residual
from torch import nn

from pruning.recovery.cs_kd import ClassWise
from pruning.recovery.dlb import LastBatch
from pruning.recovery.losses import StoredFeatures, StoredLogits
from pruning.recovery.objective import CrossEntropy, Objective
from pruning.recovery.ps_kd import Progressive
from pruning.recovery.teachers import Stored, Taught
from pruning.recovery.training import Regime, Trained, train
from pruning.targets import Targets, pseudo_labels

REGIME = Regime(epochs=4, batch_size=16, learning_rate=0.05)

LABELLED: dict[str, Callable[[], Objective]] = {
    "plain": CrossEntropy,
    "cs-kd": ClassWise,
    "ps-kd": lambda: Progressive(COUNT, CLASSES),
    "dlb": LastBatch,
    "kd": lambda: Taught("kd", teacher(), StoredLogits(4.0), 0.9),
    "kd, features": lambda: Taught("kd", teacher(), StoredFeatures(), 0.1),
}
OBJECTIVES = {**LABELLED, "stored": lambda: Stored(said_by_the_teacher(), StoredLogits(4.0))}


@cache
def teacher() -> nn.Module:
    """A network that knows its classes."""
    model = residual(1)
    # Longer than the others: it speaks with the statistics that batch norm keeps, which take their time.
    train(model, Blobs(), CrossEntropy(), regime=replace(REGIME, epochs=16), seed=1)
    return model


@cache
def said_by_the_teacher() -> Targets:
    """Of the images as the first augmentation leaves them; the noise of the others is too faint to matter."""
    return pseudo_labels(teacher(), Blobs().take(torch.arange(COUNT), 0), keep_features=False)


def run(model: nn.Module, objective: str = "plain", **options: object) -> Trained:
    settings = {"regime": REGIME, "seed": 0, **options}
    return train(model, Blobs(), OBJECTIVES[objective](), **settings)  # type: ignore[arg-type]


def weights(model: nn.Module) -> list[bytes]:
    return [value.numpy().tobytes() for value in model.state_dict().values()]
