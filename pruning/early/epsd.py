"""EPSD: how much a self-distillation loss after a few steps of training feels each weight's mask."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from pruning.early.criterion import Scores
from pruning.early.meta_gradient import Inner, meta_gradient
from pruning.recovery.objective import Batch, Objective


class Epsd:
    """Early pruning with self-distillation (Chen et al., AAAI 2024), its first step, in our reconstruction.

    That pruning is to know of the self-distillation is in the paper's abstract; that weights are judged by its loss
    after a few steps of training, through their masks, is what reviews quote; that this is ProsPr's derivative with
    another loss, with ProsPr's defaults, and where soft targets come from before training (see the objectives) is
    ours: the paper's method section was not at hand.

    Args:
        objective: makes the self-distillation that the network will be trained with.
        inner: the steps of training.
    """

    name = "epsd"
    needs_labels = True
    signed = False

    def __init__(self, objective: Callable[[], Objective], inner: Inner | None = None) -> None:
        self._objective = objective
        self._inner = inner or Inner()

    def scores(self, model: nn.Module, batch: Batch, density: float) -> Scores:  # noqa: ARG002
        """See `pruning.early.criterion.EarlyCriterion`."""
        return meta_gradient(self.name, model, batch, self._objective, self._inner)
