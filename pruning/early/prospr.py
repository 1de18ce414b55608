"""ProsPr: how much the cross entropy after a few steps of training feels each weight's mask."""

from __future__ import annotations

from torch import nn

from pruning.early.criterion import Scores
from pruning.early.meta_gradient import Inner, meta_gradient
from pruning.recovery.objective import Batch, CrossEntropy


class ProsPr:
    """Prospect pruning (Alizadeh et al., ICLR 2022), with one batch for all steps as the authors' command has it.

    Args:
        inner: the steps of training.
    """

    name = "prospr"
    needs_labels = True
    signed = False

    def __init__(self, inner: Inner | None = None) -> None:
        self._inner = inner or Inner()

    def scores(self, model: nn.Module, batch: Batch, density: float) -> Scores:  # noqa: ARG002
        """See `pruning.early.criterion.EarlyCriterion`."""
        return meta_gradient(self.name, model, batch, CrossEntropy, self._inner)
