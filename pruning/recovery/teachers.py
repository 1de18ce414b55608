"""Learning from another network: one that runs along, or what one said once and was stored."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latency_tables.errors import UserError
from pruning.adaptation import trained_statistics
from pruning.features import forward
from pruning.recovery.checkpoint import digest
from pruning.recovery.losses import Loss
from pruning.recovery.objective import Batch, Forgetful, Second
from pruning.targets import Targets, device_of


class Taught(Forgetful):
    """A teacher runs along: L = (1 - share_taught) * CE(f(x), y) + share_taught * distance to the teacher.

    With `pruning.recovery.losses.StoredLogits` at temperature 4 and a share of 0.9 this is Hinton's knowledge
    distillation (2015) with the usual numbers; with `StoredFeatures` and 1 it is feature mimicking.

    Args:
        name: the word for it in records and messages.
        teacher: run in evaluation mode, without gradient; left as it is and where it is, since it is the caller's.
            Where training is on another device, a copy goes there.
        distance: of the student's outputs to the teacher's.
        share_taught: 0 to 1; with 1 no labels are needed.
    """

    second = Second.NONE

    def __init__(self, name: str, teacher: nn.Module, distance: Loss, share_taught: float) -> None:
        self.name = name
        self._teacher, self._distance, self._share = teacher, distance, share_taught
        self._device = device_of(teacher)

    @property
    def needs_labels(self) -> bool:
        """Whether labels weigh in."""
        return self._share < 1.0

    def loss(self, model: nn.Module, batch: Batch, share: float) -> Tensor:  # noqa: ARG002
        """See `pruning.recovery.objective.Objective`.

        Raises:
            UserError: student and teacher do not compare.
        """
        teacher, keep_features = self._teacher_on(batch.images.device), self._distance.needs_features
        with torch.no_grad(), trained_statistics(teacher):
            known, said = forward(teacher, batch.images, keep_features=keep_features)
        wanted = Targets(said, known)
        features, logits = forward(model, batch.images, keep_features=keep_features)
        _require_alike(self.name, logits, features, wanted, self._distance)
        value = self._share * self._distance(logits, features, wanted)
        if self.needs_labels:
            value = value + (1.0 - self._share) * F.cross_entropy(logits, batch.known(self.name))
        return value

    def identity(self) -> dict[str, Any]:
        """See `pruning.recovery.objective.Objective`."""
        weights = digest(self._teacher.state_dict().values())
        return {"teacher": weights, "distance": repr(self._distance), "share taught": self._share}

    def _teacher_on(self, device: torch.device) -> nn.Module:
        if device != self._device:
            self._teacher, self._device = copy.deepcopy(self._teacher).to(device), device
        return self._teacher


class Stored(Forgetful):
    """What an unpruned network said of every training image, asked once: TT-MPD's pseudo labels.

    Images must not be augmented, since a target belongs to the image as it is.

    Args:
        targets: of all training images, in their order.
        distance: of the student's outputs to them.

    Raises:
        UserError: the distance is one of features, and none were stored.
    """

    name = "stored pseudo labels"
    second = Second.NONE
    needs_labels = False

    def __init__(self, targets: Targets, distance: Loss) -> None:
        if distance.needs_features and targets.features is None:
            raise UserError(
                f"{type(distance).__name__} compares features, but the pseudo labels were made without them. Make "
                "them with keep_features=True."
            )
        self._targets, self._distance = targets, distance

    def loss(self, model: nn.Module, batch: Batch, share: float) -> Tensor:  # noqa: ARG002
        """See `pruning.recovery.objective.Objective`.

        Raises:
            UserError: student and targets do not compare.
        """
        wanted = self._targets.take(batch.index.to(device_of(model)))
        features, logits = forward(model, batch.images, keep_features=self._distance.needs_features)
        _require_alike(self.name, logits, features, wanted, self._distance)
        return self._distance(logits, features, wanted)

    def identity(self) -> dict[str, Any]:
        """See `pruning.recovery.objective.Objective`."""
        said = [self._targets.logits]
        if self._distance.needs_features and self._targets.features is not None:
            said.append(self._targets.features)
        return {"targets": digest(said), "distance": repr(self._distance)}


def _require_alike(
    name: str, logits: Tensor, features: Tensor | None, wanted: Targets, distance: Loss
) -> None:
    if wanted.logits.shape != logits.shape:
        raise UserError(
            f"{name}: the teacher knows {wanted.logits.shape[1]} classes and the network {logits.shape[1]}; "
            "choose a teacher that was trained for the same classes."
        )
    if not distance.needs_features:
        return
    if features is None or wanted.features is None:
        raise ValueError("targets without features cannot be compared by features")
    if wanted.features.shape != features.shape:
        there = tuple(wanted.features.shape[1:])
        raise UserError(
            f"{name} compares features, which are {tuple(features.shape[1:])} here and {there} with the teacher; "
            "a network that was narrowed before its pooling can only be taught by logits."
        )
