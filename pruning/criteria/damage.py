"""The two variables of TT-MPD-R: how far the outputs move and how far the features move.

TT-MPD ("Test Time Model Pruning and Distillation", arXiv 2412.07114) approximates the accuracy after finetuning by
two variables. What they are could not be read; those here, and the way they are joined, are our reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning.adaptation import BATCH_SIZE, batch_statistics, batches
from pruning.criteria.calibration import calibrated_kl
from pruning.features import forward_with_features
from pruning.surgery import bypassed
from pruning.targets import Targets, device_of


@dataclass(frozen=True, slots=True)
class Damage:
    """What removing a set of blocks does before any recovery; all are 0 for the unpruned network.

    Attributes:
        kl: mean over the images of KL(unpruned || pruned) between the class probabilities, in nats, at least 0.
        calibrated_kl: the part of it that the best scale and offsets of the pruned network's logits leave.
        features: mean over the images of ||F_S - F||^2 / ||F||^2, F the features before pooling; at least 0, and
            1 is what features of zero would give.
    """

    kl: float
    calibrated_kl: float
    features: float


@torch.no_grad()
def damage(
    model: nn.Module,
    images: Tensor,
    targets: Targets,
    removed: frozenset[str],
    *,
    batch_size: int = BATCH_SIZE,
) -> Damage:
    """Both variables of a set of blocks, from one forward pass over the images.

    The network runs with the statistics of each batch, as the targets were made: with the statistics of training
    a removal looks far worse than it is after a few steps of finetuning, and the two hardly correlate.

    Args:
        model: the unpruned network; restored afterwards.
        images: shape (n, channels, height, width), the images that the targets were made of.
        targets: logits and features of the unpruned network, from `scoring_targets` with the same batch size.
        removed: dotted paths of the blocks that are bypassed.
        batch_size: most images in one forward pass.
    """
    if targets.features is None:
        raise ValueError("targets without features cannot tell how far the features move")
    device = device_of(model)
    logits: list[Tensor] = []
    features: list[Tensor] = []
    with bypassed(model, removed), batch_statistics(model):
        for batch in batches(images, batch_size):
            feature, logit = forward_with_features(model, batch.to(device))
            features.append(feature.float().flatten(1))
            logits.append(logit.float())
    wanted = targets.features.flatten(1)
    moved = (torch.cat(features) - wanted).square().sum(1) / wanted.square().sum(1)
    got = torch.cat(logits)
    kl = F.kl_div(got.log_softmax(1), targets.logits.log_softmax(1), reduction="batchmean", log_target=True)
    return Damage(float(kl), calibrated_kl(got, targets.logits), float(moved.mean()))


class DamageCriterion:
    """Hurt of a set of blocks as one number made of both variables.

    Args:
        name: the word for it in records and messages.
        join: makes one number of the two.
        model: the unpruned network; restored after each call.
        images: the images to score on, shape (n, channels, height, width).
        targets: of the same images, from `scoring_targets`.
        batch_size: as the targets were made with.
    """

    needs_images = True

    def __init__(
        self,
        name: str,
        join: Callable[[Damage], float],
        model: nn.Module,
        images: Tensor,
        targets: Targets,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.name = name
        self._join = join
        self._model = model
        self._images = images
        self._targets = targets
        self._batch_size = batch_size

    def hurt(self, removed: frozenset[str]) -> float:
        """See `Criterion`."""
        return self._join(
            damage(self._model, self._images, self._targets, removed, batch_size=self._batch_size)
        )
