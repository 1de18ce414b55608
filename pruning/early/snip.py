"""SNIP: how much the loss feels each weight's mask."""

from __future__ import annotations

import torch
from torch import nn

from pruning.early.criterion import Scores, finite, prunable
from pruning.early.functional import Stateless
from pruning.recovery.objective import Batch, CrossEntropy


class Snip:
    """|w * dL/dw| at the first weights, L the cross entropy (Lee et al., ICLR 2019)."""

    name = "snip"
    needs_labels = True
    signed = False

    def scores(self, model: nn.Module, batch: Batch, density: float) -> Scores:  # noqa: ARG002
        """See `pruning.early.criterion.EarlyCriterion`."""
        weights = {name: w.detach().requires_grad_(True) for name, w in model.named_parameters()}
        chosen = prunable(model)
        with torch.enable_grad():
            value = CrossEntropy().loss(Stateless(model, weights), batch, 1.0)
            gradients = torch.autograd.grad(value, [weights[name] for name in chosen], materialize_grads=True)
        return finite(
            self.name,
            {
                name: (weights[name].detach() * gradient).abs()
                for name, gradient in zip(chosen, gradients, strict=True)
            },
        )
