"""SynFlow: what flows through each weight, found without data."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pruning.early.criterion import Scores, finite, prunable, used
from pruning.early.masks import keep_best
from pruning.recovery.objective import Batch


class SynFlow:
    """|w * dR/dw|, R the sum of the outputs for an image of ones, all parameters absolute (Tanaka et al., 2020).

    In rounds: after round k of n the share density^(k/n) is kept, so that no layer is emptied. Where all is kept,
    as where channels are ranked for a latency, there is one round, and nothing of that promise. Computed in double
    precision, since R grows with the depth beyond what float32 holds.

    Args:
        rounds: n; 100 as in the authors' code.
    """

    name = "synflow"
    needs_labels = False
    signed = False

    def __init__(self, rounds: int = 100) -> None:
        self._rounds = rounds

    def scores(self, model: nn.Module, batch: Batch, density: float) -> Scores:
        """See `pruning.early.criterion.EarlyCriterion`; what earlier rounds took out scores 0."""
        running = used(model, batch)
        chosen = [name for name in prunable(model) if name in running]
        parameters = {name: p.detach().double().abs() for name, p in model.named_parameters()}
        buffers = {
            name: b.double() if b.is_floating_point() else b.clone() for name, b in model.named_buffers()
        }
        ones = torch.ones(1, *batch.images.shape[1:], dtype=torch.float64, device=batch.images.device)
        masks = {name: torch.ones_like(parameters[name]) for name in chosen}
        mode = {module: module.training for module in model.modules()}
        model.eval()
        try:
            rounds = self._rounds if density < 1.0 else 1
            for turn in range(1, rounds + 1):
                found = self._round(model, parameters, masks, buffers, ones)
                if turn < rounds:
                    kept = keep_best(found, density ** (turn / rounds))
                    masks = {name: kept[name].to(ones) for name in chosen}
        finally:
            for module, training in mode.items():
                module.training = training
        return finite(self.name, {name: score.float() for name, score in _scaled(found).items()})

    def _round(
        self,
        model: nn.Module,
        parameters: dict[str, Tensor],
        masks: dict[str, Tensor],
        buffers: dict[str, Tensor],
        ones: Tensor,
    ) -> dict[str, Tensor]:
        weights = dict(parameters)
        leaves = {}
        for name, mask in masks.items():
            leaves[name] = weights[name] = (parameters[name] * mask).requires_grad_(True)
        with torch.enable_grad():
            flow = functional_call(model, (weights, buffers), (ones,)).sum()
            gradients = torch.autograd.grad(flow, list(leaves.values()), materialize_grads=True)
        return {
            name: (leaf.detach() * gradient).abs()
            for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
        }


def _scaled(scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the highest at 1: the flow itself may be beyond float32."""
    highest = max(float(score.max()) for score in scores.values())
    return {name: score / highest if highest > 0 else score for name, score in scores.items()}
