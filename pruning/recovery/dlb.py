"""DLB: a network agrees with what it said of the last batch, a step ago."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning.recovery.objective import Batch, Second, softened


class LastBatch:
    """Self-distillation from the last mini-batch (Shen et al., CVPR 2022).

    Each step sees the current batch and the one before once more, augmented anew. L = CE over both + weight * T^2 *
    KL(softmax_T z_p || softmax_T f(x_p)), z_p what was said of the earlier batch a step ago. The first step has no
    earlier one and is plain. The authors' code has no default for T and weight; what the paper says is not known to
    us. A default run name of that code contains "TP3_0.5", which hints at T = 3 and leaves open what 0.5 means. We
    take T = 3 from that hint; weight = 1 is our own choice, not tried against 0.5. While scoring, the earlier batch
    is the same images once more, since one batch serves all steps (`pruning.early.meta_gradient`); consecutive
    batches would be nearer to training, and were not tried.

    Args:
        temperature: T.
        weight: of the agreement.
    """

    name = "dlb"
    second = Second.AGAIN
    needs_labels = True

    def __init__(self, temperature: float = 3.0, weight: float = 1.0) -> None:
        self._temperature, self._weight = temperature, weight
        self._last: dict[str, Tensor] = {}

    def loss(self, model: nn.Module, batch: Batch, share: float) -> Tensor:  # noqa: ARG002
        """See `pruning.recovery.objective.Objective`."""
        labels, again = batch.known(self.name), batch.viewed_twice(self.name)
        last = {
            name: tensor.to(again.device) for name, tensor in self._last.items()
        }  # a checkpoint's is elsewhere
        if not last:
            logits = model(batch.images)
            value = F.cross_entropy(logits, labels)
        else:
            both = model(torch.cat([batch.images, last["images"]]))
            logits, repeated = both[: len(labels)], both[len(labels) :]
            value = F.cross_entropy(both, torch.cat([labels, last["labels"]]))
            value = value + self._weight * softened(repeated, last["logits"], self._temperature)
        self._last = {"images": again, "labels": labels, "logits": logits.detach()}
        return value

    def identity(self) -> dict[str, Any]:
        """See `pruning.recovery.objective.Objective`."""
        return {"temperature": self._temperature, "weight": self._weight}

    def state_dict(self) -> dict[str, Tensor]:
        """The last batch and what was said of it; nothing before the first step."""
        return dict(self._last)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `pruning.recovery.objective.Objective`."""
        self._last = dict(state)
