"""How far a network's outputs are from a teacher's, whether these were stored or are said anew each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pruning.recovery.objective import softened
from pruning.targets import Targets


class Loss(Protocol):
    """The distance of a network's outputs to targets, differentiable.

    Its `repr`, as a frozen dataclass has it, tells it from others: a checkpoint goes by that.

    Attributes:
        needs_features: whether it compares features; the network and the targets must have them then.
    """

    @property
    def needs_features(self) -> bool:
        """Whether it compares features; the network and the targets must have them then."""
        ...

    def __call__(self, logits: Tensor, features: Tensor | None, targets: Targets) -> Tensor:
        """The loss of one batch.

        Args:
            logits: the network's, shape (batch, classes).
            features: what enters its final pooling, shape (batch, ...); None where they are not needed.
            targets: of the same images in the same order.

        Returns:
            A scalar, at least 0; 0 where the outputs equal the targets.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredLogits:
    """T^2 * KL(softmax(z / T) || softmax(z_S / T)), mean over the batch (Hinton et al., 2015).

    Attributes:
        temperature: T, positive; the factor T^2 keeps the size of the gradient about the same.
    """

    temperature: float = 1.0

    @property
    def needs_features(self) -> bool:
        """False: logits are enough."""
        return False

    def __call__(self, logits: Tensor, features: Tensor | None, targets: Targets) -> Tensor:  # noqa: ARG002
        """See `Loss`."""
        return softened(logits, targets.logits, self.temperature)


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """Feature mimicking: mean squared difference of the features before pooling.

    After Wang and Wu, "Practical network acceleration with tiny sets" (2022), with stored features in place of a
    teacher that runs along. The last layer gets no gradient and stays as it is.
    """

    @property
    def needs_features(self) -> bool:
        """True."""
        return True

    def __call__(self, logits: Tensor, features: Tensor | None, targets: Targets) -> Tensor:  # noqa: ARG002
        """See `Loss`."""
        return F.mse_loss(*_both(features, targets))


@dataclass(frozen=True, slots=True)
class StoredBoth:
    """Features over their size, and a little of the logits: our own, found by ``experiments/healing.py``.

    Features of every place teach more than a few logits do, and overfit less. But where the last block before the
    pooling is gone no layer is left that made them, and then a share of the logits' loss brings the network back.

    Attributes:
        share: of the logits' loss, positive; the features' counts 1.
    """

    share: float

    @property
    def needs_features(self) -> bool:
        """True."""
        return True

    def __call__(self, logits: Tensor, features: Tensor | None, targets: Targets) -> Tensor:
        """||F_S - F||^2 / ||F||^2 over the batch + share * KL; see `Loss`."""
        got, wanted = _both(features, targets)
        size = wanted.square().mean().clamp_min(torch.finfo(wanted.dtype).tiny)
        return F.mse_loss(got, wanted) / size + self.share * StoredLogits()(logits, None, targets)


def _both(features: Tensor | None, targets: Targets) -> tuple[Tensor, Tensor]:
    if features is None or targets.features is None:
        raise ValueError("without features nothing can be mimicked")
    return features, targets.features
