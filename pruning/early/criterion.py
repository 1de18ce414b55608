"""The one interface of all early-pruning criteria: how much is each weight of an untrained network worth?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from latency_tables.errors import LatheError, UserError
from pruning.adaptation import batch_norms
from pruning.early.functional import Stateless
from pruning.recovery.batches import mixed_seed
from pruning.recovery.objective import Batch

Scores: TypeAlias = Mapping[str, Tensor]
"""By weight, one number for each entry, float32, of the weight's shape; what is higher stays."""


class EarlyCriterion(Protocol):
    """Scores the weights of convolutions and linear layers; biases and norms are never taken out.

    Attributes:
        name: the word for it in commands, records and messages.
        needs_labels: whether the batch must have labels.
        signed: whether scores may be below 0.
    """

    @property
    def name(self) -> str:
        """The word for it in commands, records and messages."""
        ...

    @property
    def needs_labels(self) -> bool:
        """Whether the batch must have labels."""
        ...

    @property
    def signed(self) -> bool:
        """Whether scores may be below 0."""
        ...

    def scores(self, model: nn.Module, batch: Batch, density: float) -> Scores:
        """What each weight is worth.

        Args:
            model: untrained; its weights, buffers, mode and gradients are left as they are.
            batch: images of all classes.
            density: share of the weights that will stay, above 0 to 1; of use to criteria that go in rounds.

        Raises:
            UserError: no labels where they are needed.
            LatheError: a score is not finite.
        """
        ...


def scored(
    criterion: EarlyCriterion, model: nn.Module, batch: Batch, density: float, seed: int
) -> dict[str, Tensor]:
    """The scores on the CPU, of the layers that are run; dropout and whatever else draws at random draws by a seed.

    Args:
        criterion: whose scores.
        model: untrained; left as it is.
        batch: images of all classes.
        density: share of the weights that will stay.
        seed: of the network's luck; the caller's is left alone.

    Raises:
        UserError: no labels where they are needed, or one image where batch norm needs several.
        LatheError: a score is not finite, or a layer's scores are all zero although its weights are not.
    """
    if criterion.needs_labels and len(batch.images) < 2 and batch_norms(model):
        # Whoever looks at labels runs the untrained network in training mode.
        raise UserError(
            f"{criterion.name} scores with the batch's own statistics, and batch norm has nothing to normalise in "
            f"one image: it needs at least 2, got {len(batch.images)}. Give more images, or a criterion that looks "
            "at none."
        )
    # The fused kernels of attention have no second derivative, which some criteria take.
    with torch.random.fork_rng(), sdpa_kernel(SDPBackend.MATH):
        torch.manual_seed(mixed_seed("dropout while scoring", seed))
        found = criterion.scores(model, batch, density)
        running = used(model, batch)
    told = {name: score.cpu() for name, score in found.items() if name in running}
    _require_told(criterion.name, told, prunable(model))
    return told


def _require_told(name: str, scores: Scores, weights: Mapping[str, Tensor]) -> None:
    """Zero for a whole layer is no judgement of it: its weights would all go, for nothing that was seen of them."""
    blind = [at for at, score in scores.items() if not bool(score.any()) and bool(weights[at].any())]
    if blind:
        others = f" and {len(blind) - 1} more" if blind[1:] else ""
        raise LatheError(
            f"{name} gives every entry of {blind[0]}{others} the score 0: nothing that it looks at reaches these "
            "weights in the untrained network, as behind a scale that starts at zero or a ReLU that lets nothing "
            "through. Let the factory start such scales at one, or choose another criterion."
        )


def used(model: nn.Module, batch: Batch) -> set[str]:
    """The weights that the outputs depend on: a layer that is never run has nothing to take out."""
    weights = {name: p.detach().requires_grad_(True) for name, p in model.named_parameters()}
    chosen = list(prunable(model))
    with torch.enable_grad():
        outputs = Stateless(model, weights, training=False)(batch.images[:1])
        found = torch.autograd.grad(outputs.sum(), [weights[name] for name in chosen], allow_unused=True)
    return {name for name, gradient in zip(chosen, found, strict=True) if gradient is not None}


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of convolutions and linear layers by name, in the order of the network."""
    layers = {
        f"{name}.weight".lstrip(".")
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)
    }
    return {name: parameter for name, parameter in model.named_parameters() if name in layers}


def finite(name: str, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The scores as they are.

    Args:
        name: of the criterion, for the message.
        scores: to be looked at.

    Raises:
        LatheError: one is not finite; the message names the weight.
    """
    for weight, score in scores.items():
        if not bool(score.isfinite().all()):
            bad = int((~score.isfinite()).sum())
            raise LatheError(
                f"{name} gives {bad} of {score.numel()} entries of {weight} a score that is not finite. Check the "
                "preprocessing of the images and the network's first weights."
            )
    return dict(scores)
