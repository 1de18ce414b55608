"""CS-KD: a network agrees with what it says itself of another image of the same class."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning.recovery.objective import Batch, Forgetful, Second, softened


class ClassWise(Forgetful):
    """Class-wise self-knowledge distillation (Yun et al., CVPR 2020).

    L = CE(f(x), y) + weight * T^2 * KL(softmax_T f(x') || softmax_T f(x)), x' another image of x's class, f(x')
    without gradient. x' may be x. Batch norm in training mode sees both batches, as in the authors' code.

    Args:
        temperature: T; 4 as there.
        weight: 1 as there for small images.
    """

    name = "cs-kd"
    second = Second.PARTNER
    needs_labels = True

    def __init__(self, temperature: float = 4.0, weight: float = 1.0) -> None:
        self._temperature, self._weight = temperature, weight

    def loss(self, model: nn.Module, batch: Batch, share: float) -> Tensor:  # noqa: ARG002
        """See `pruning.recovery.objective.Objective`."""
        labels = batch.known(self.name)
        logits = model(batch.images)
        with torch.no_grad():
            wanted = model(batch.viewed_twice(self.name))
        return F.cross_entropy(logits, labels) + self._weight * softened(logits, wanted, self._temperature)

    def identity(self) -> dict[str, Any]:
        """See `pruning.recovery.objective.Objective`."""
        return {"temperature": self._temperature, "weight": self._weight}
