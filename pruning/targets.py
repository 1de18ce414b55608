"""Pseudo labels: what the unpruned network says about the images, asked once and stored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latency_tables.errors import LatheError, UserError
from pruning.adaptation import BATCH_SIZE, batches
from pruning.features import forward

FEATURE_LIMIT_BYTES = 1 << 30
"""Most memory that stored features may take: 500 images of a ResNet-50 need 0.2 GB."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Outputs of the unpruned network for n images, float32, on the network's device, without gradient.

    Attributes:
        logits: shape (n, classes).
        features: what enters the final pooling, shape (n, ...) as `forward_with_features` gives it; None where
            they were not asked for.
    """

    logits: Tensor
    features: Tensor | None

    def take(self, index: Tensor | slice) -> Targets:
        """The targets of some of the images, in the order of the index."""
        return Targets(self.logits[index], None if self.features is None else self.features[index])


def pseudo_labels(
    teacher: nn.Module,
    images: Tensor,
    *,
    keep_features: bool,
    batch_size: int = BATCH_SIZE,
    feature_limit_bytes: int = FEATURE_LIMIT_BYTES,
) -> Targets:
    """The targets for finetuning: the (adapted) unpruned network in evaluation mode, run once over the images.

    Args:
        teacher: the unpruned network; its mode is restored.
        images: preprocessed, shape (n, channels, height, width), n at least 2.
        keep_features: whether the features before pooling are stored beside the logits.
        batch_size: most images in one forward pass.
        feature_limit_bytes: most memory that the stored features may take.

    Returns:
        Targets for all n images.

    Raises:
        UserError: the output is no matrix of logits; or the network has no features that could be kept, or those
            of n images would take more memory than allowed: nothing is thinned out or rounded in silence.
        LatheError: the network gives numbers that are not finite.
    """
    mode = teacher.training
    teacher.eval()
    try:
        return _collect(teacher, images, keep_features, batch_size, feature_limit_bytes)
    finally:
        teacher.train(mode)


def device_of(model: nn.Module) -> torch.device:
    """The device of the network's first parameter; the CPU where it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@torch.no_grad()
def _collect(
    model: nn.Module, images: Tensor, keep_features: bool, batch_size: int, limit_bytes: int
) -> Targets:
    device = device_of(model)
    logits: list[Tensor] = []
    features: list[Tensor] = []
    for batch in batches(images, batch_size):
        feature, logit = forward(model, batch.to(device), keep_features=keep_features)
        if not logit.isfinite().all():
            raise LatheError(
                f"{type(model).__name__} gives logits that are not finite for the images at hand, so it cannot "
                "teach. Check that the images are preprocessed as the network expects."
            )
        logits.append(logit.float())
        if feature is not None:
            needed = feature[0].numel() * 4 * len(images)
            if needed > limit_bytes:
                raise UserError(
                    f"the features of {len(images)} images take {needed / 2**20:.0f} MiB, more than the limit of "
                    f"{limit_bytes / 2**20:.0f} MiB. Use fewer images (--calibration)."
                )
            features.append(feature.float())
    return Targets(torch.cat(logits), torch.cat(features) if keep_features else None)
