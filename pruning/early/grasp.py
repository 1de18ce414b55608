"""GraSP: what each weight adds to the flow of gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latency_tables.errors import UserError
from pruning.early.criterion import Scores, finite, prunable
from pruning.early.functional import Stateless
from pruning.recovery.batches import drawn_by
from pruning.recovery.objective import Batch

TEMPERATURE = 200.0
"""Logits are divided by it, as in the authors' code."""

LEAST = 4
"""Images that it needs."""


class Grasp:
    """w * (H g): taking out what is low strengthens the gradient that is left (Wang et al., ICLR 2020).

    H is the Hessian of the cross entropy, g its gradient over the two halves of the batch. As in the authors' code
    linear layers are drawn anew (Xavier) for the scoring. There the score is -w * (H g), and the highest go.

    Args:
        seed: of the linear layers' weights.
    """

    name = "grasp"
    needs_labels = True
    signed = True

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def scores(self, model: nn.Module, batch: Batch, density: float) -> Scores:  # noqa: ARG002
        """See `pruning.early.criterion.EarlyCriterion`."""
        labels = batch.known(self.name)
        if len(labels) < LEAST:
            raise UserError(
                f"{self.name} looks at two halves of its images, and batch norm has nothing to normalise in a half "
                f"of one: it needs at least {LEAST}, got {len(labels)}. Give more images, or another criterion."
            )
        chosen = prunable(model)
        weights = self._weights(model)
        leaves = [weights[name] for name in chosen]
        with torch.enable_grad():
            first = [torch.zeros_like(leaf) for leaf in leaves]
            for images, half in zip(batch.images.chunk(2), labels.chunk(2), strict=True):
                value = _loss(model, weights, images, half)
                parts = torch.autograd.grad(value, leaves, materialize_grads=True)
                first = [total + part for total, part in zip(first, parts, strict=True)]
            product = [torch.zeros_like(leaf) for leaf in leaves]
            for images, half in zip(batch.images.chunk(2), labels.chunk(2), strict=True):
                value = _loss(model, weights, images, half)
                gradient = torch.autograd.grad(value, leaves, create_graph=True, materialize_grads=True)
                flow = sum((g * f).sum() for g, f in zip(gradient, first, strict=True))
                parts = torch.autograd.grad(flow, leaves, materialize_grads=True)  # type: ignore[arg-type]
                product = [total + part for total, part in zip(product, parts, strict=True)]
        return finite(
            self.name,
            {name: weights[name].detach() * along for name, along in zip(chosen, product, strict=True)},
        )

    def _weights(self, model: nn.Module) -> dict[str, Tensor]:
        modules = dict(model.named_modules())
        generator = drawn_by("linear layers for grasp", self._seed)
        weights = {}
        for name, weight in model.named_parameters():
            value = weight.detach().clone()
            if isinstance(modules[name.rpartition(".")[0]], nn.Linear) and value.ndim == 2:
                drawn = nn.init.xavier_normal_(torch.empty_like(value, device="cpu"), generator=generator)
                value = drawn.to(value.device)
            weights[name] = value.requires_grad_(True)
        return weights


def _loss(model: nn.Module, weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(Stateless(model, weights)(images) / TEMPERATURE, labels)
