"""Random scores: what every criterion must beat."""

from __future__ import annotations

import torch
from torch import nn

from pruning.early.criterion import Scores, prunable
from pruning.recovery.batches import drawn_by
from pruning.recovery.objective import Batch


class RandomScores:
    """One number for each weight, drawn from the standard normal distribution.

    Args:
        seed: of the draw.
    """

    name = "random"
    needs_labels = False
    signed = True

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def scores(self, model: nn.Module, batch: Batch, density: float) -> Scores:  # noqa: ARG002
        """See `pruning.early.criterion.EarlyCriterion`."""
        generator = drawn_by("random scores", self._seed)
        return {name: torch.randn(w.shape, generator=generator) for name, w in prunable(model).items()}
