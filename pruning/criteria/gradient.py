"""Recovery potential by the first step: how much the distillation loss would fall, by its gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning.adaptation import BATCH_SIZE, batch_statistics, batches
from pruning.passes import Passes
from pruning.surgery import bypassed
from pruning.targets import device_of


class GradientCriterion:
    """Loss over the squared norm of its gradient: the steps of unit rate that a straight descent would need.

    The loss is the KL divergence to the unpruned network's outputs, batch norm on the statistics of each batch.
    The inverse, ||g||^2 / L, is the relative fall of the loss in a small step: our reconstruction's variant B.

    Args:
        model: the unpruned network; as it was after every call, its gradients included.
        images: preprocessed, shape (n, channels, height, width), n at least 2.
        passes: over the same images, for what the unpruned network says.
        batch_size: as the passes have it.
    """

    name = "gradient"
    needs_images = True

    def __init__(
        self, model: nn.Module, images: Tensor, passes: Passes, *, batch_size: int = BATCH_SIZE
    ) -> None:
        self._model = model
        device = device_of(model)
        self._batches = [batch.to(device) for batch in batches(images, batch_size)]
        sizes = [len(batch) for batch in self._batches]
        self._wanted = torch.split(passes.unpruned.logits.log_softmax(1), sizes)
        self._count = len(images)

    def expect(self, removed: frozenset[str]) -> None:
        """Nothing: a gradient needs the whole network."""

    def hurt(self, removed: frozenset[str]) -> float:
        """At least 0; 0 where the outputs do not move, so that there is nothing to recover."""
        if not removed:
            return 0.0
        parameters = list(self._model.parameters())
        wanted_grad = [parameter.requires_grad for parameter in parameters]
        total = 0.0
        sums: list[Tensor | None] = [None] * len(parameters)
        try:
            for parameter in parameters:
                parameter.requires_grad_(True)
            with torch.enable_grad(), batch_statistics(self._model), bypassed(self._model, removed):
                for batch, wanted in zip(self._batches, self._wanted, strict=True):
                    got = self._model(batch).log_softmax(1)
                    loss = F.kl_div(got, wanted, reduction="sum", log_target=True) / self._count
                    total += float(loss.detach())
                    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
                    sums = [
                        new if old is None else (old if new is None else old + new)
                        for old, new in zip(sums, grads, strict=True)
                    ]
        finally:
            for parameter, wanted_one in zip(parameters, wanted_grad, strict=True):
                parameter.requires_grad_(wanted_one)
        if total <= 0:
            return 0.0  # the blocks change nothing; rounding may leave a trace below
        norm = sum(float(grad.square().sum()) for grad in sums if grad is not None)
        return total / norm if norm > 0 else float("inf")
