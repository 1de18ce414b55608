"""The size of the first weights."""

from __future__ import annotations

from torch import nn

from pruning.early.criterion import Scores, finite, prunable
from pruning.recovery.objective import Batch


class Magnitude:
    """|w| of the untrained network. One ranking over all layers empties those with small first weights."""

    name = "magnitude"
    needs_labels = False
    signed = False

    def scores(self, model: nn.Module, batch: Batch, density: float) -> Scores:  # noqa: ARG002
        """See `pruning.early.criterion.EarlyCriterion`."""
        return finite(self.name, {name: w.detach().abs().float() for name, w in prunable(model).items()})
