"""PS-KD: labels softened, more and more, by what the network said an epoch ago."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning.recovery.objective import Batch, Second


class Progressive:
    """Progressive self-knowledge distillation (Kim et al., ICCV 2021).

    target = (1 - a) * one-hot + a * what the network said when it last saw the image, a = most * share of the
    training; L = cross entropy to the target. An image not seen yet has its label alone. While scoring, before any
    training, a is at its most: our reconstruction, since at its first value the score would be that of plain
    cross entropy.

    Args:
        images: how many training images there are.
        classes: how many outputs the network has.
        most: the last a; 0.8 as in the paper's code.
    """

    name = "ps-kd"
    second = Second.NONE
    needs_labels = True

    def __init__(self, images: int, classes: int, most: float = 0.8) -> None:
        self._most = most
        self._said = torch.zeros(images, classes)
        self._seen = torch.zeros(images, dtype=torch.bool)

    def loss(self, model: nn.Module, batch: Batch, share: float) -> Tensor:
        """See `pruning.recovery.objective.Objective`."""
        logits = model(batch.images)
        true = F.one_hot(batch.known(self.name), logits.shape[1]).to(torch.float32)
        said, seen = self._said[batch.index], self._seen[batch.index]
        part = self._most * share * seen.to(torch.float32)[:, None].to(logits.device)
        target = (1.0 - part) * true + part * said.to(logits.device)
        log_p = logits.float().log_softmax(1)
        self._said[batch.index] = log_p.detach().exp().cpu()
        self._seen[batch.index] = True
        value: Tensor = -(target * log_p).sum(1).mean()
        return value

    def identity(self) -> dict[str, Any]:
        """See `pruning.recovery.objective.Objective`."""
        return {"most": self._most}

    def state_dict(self) -> dict[str, Tensor]:
        """What the network said of each image, and of which it said anything."""
        return {"said": self._said, "seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `pruning.recovery.objective.Objective`."""
        self._said, self._seen = state["said"].clone(), state["seen"].clone()
