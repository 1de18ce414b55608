"""How much the loss after a few steps of training feels each weight's mask at the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning.adaptation import adapt_statistics
from pruning.early.criterion import Scores, finite, prunable
from pruning.early.functional import Stateless
from pruning.early.memory import require_room
from pruning.recovery.objective import Batch, Objective


@dataclass(frozen=True, slots=True)
class Inner:
    """The few steps: plain gradient descent on one batch, the same in every step and in the last gradient.

    Attributes:
        steps: i, at least 0; 0 leaves the gradient at the first weights.
        rate: of each step.
        first_order: whether the gradient at the end is taken for that at the start, times the first weights, in
            place of the derivative through all steps. Less memory, and another number.
        adapted: whether batch norm uses statistics estimated on the batch beforehand, in place of those of each
            pass; they do not move with the weights then (after arXiv 2502.11450).
    """

    steps: int = 3
    rate: float = 0.1
    first_order: bool = False
    adapted: bool = False


def meta_gradient(
    name: str, model: nn.Module, batch: Batch, objective: Callable[[], Objective], inner: Inner
) -> Scores:
    """|d L(w_i) / d m|, where w_0 = m * w, m = 1, and w_t+1 = w_t - rate * dL(w_t) / dw_t.

    Masks multiply the first weights once; the steps act on all parameters, those of norms included. Batch norm uses
    the batch's statistics. After ProsPr's code (Alizadeh et al., ICLR 2022).

    Args:
        name: of the criterion, for messages.
        model: left as it is.
        batch: with what the objective needs.
        objective: makes the loss L, fresh, so that what it remembers comes from these steps alone.
        inner: the steps.

    Raises:
        UserError: the derivative through all steps needs more memory than is free on the host.
        LatheError: a score is not finite.
    """
    if inner.adapted:
        model = adapt_statistics(model, batch.images, mixture=1.0).model
    if not inner.first_order and batch.images.device.type == "cpu":
        # A GPU that runs out of memory says so, and the process lives on.
        require_room(
            name,
            lambda count: _step(model, batch.first(count), objective(), inner),
            len(batch.images),
            inner.steps + 1,
        )
    loss = objective()
    chosen = prunable(model)
    first = {key: parameter.detach() for key, parameter in model.named_parameters()}
    masks = {key: torch.ones_like(first[key]).requires_grad_(True) for key in chosen}
    with torch.enable_grad():
        weights = {key: value * masks[key] if key in masks else value for key, value in first.items()}
        weights = _cut(weights) if inner.first_order else _with_history(weights)
        for _ in range(inner.steps):
            value = loss.loss(Stateless(model, weights, training=not inner.adapted), batch, 1.0)
            gradients = torch.autograd.grad(
                value, list(weights.values()), create_graph=not inner.first_order, materialize_grads=True
            )
            stepped = {
                key: weight - inner.rate * gradient
                for (key, weight), gradient in zip(weights.items(), gradients, strict=True)
            }
            weights = _cut(stepped) if inner.first_order else stepped
        value = loss.loss(Stateless(model, weights, training=not inner.adapted), batch, 1.0)
        if inner.first_order:
            last = torch.autograd.grad(value, [weights[key] for key in chosen], materialize_grads=True)
            found = {key: gradient * first[key] for key, gradient in zip(chosen, last, strict=True)}
        else:
            found = dict(
                zip(
                    chosen,
                    torch.autograd.grad(value, list(masks.values()), materialize_grads=True),
                    strict=True,
                )
            )
    return finite(name, {key: score.detach().abs() for key, score in found.items()})


def _step(model: nn.Module, batch: Batch, loss: Objective, inner: Inner) -> tuple[Tensor, ...]:
    """The gradient of one step that is not the first, with its history; takes no luck from the steps that count."""
    weights = {key: parameter.detach().requires_grad_(True) for key, parameter in model.named_parameters()}

    def value() -> Tensor:
        return loss.loss(Stateless(model, weights, training=not inner.adapted), batch, 1.0)

    with torch.random.fork_rng():
        with torch.no_grad():
            value()  # an objective may look at the step before
        with torch.enable_grad():
            return torch.autograd.grad(
                value(), list(weights.values()), create_graph=True, materialize_grads=True
            )


def _cut(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same values as leaves, without the history that led to them."""
    return {key: weight.detach().requires_grad_(True) for key, weight in weights.items()}


def _with_history(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters that no mask multiplies take part in the steps as well."""
    return {
        key: weight if weight.requires_grad else weight.detach().requires_grad_(True)
        for key, weight in weights.items()
    }
