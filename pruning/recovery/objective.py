"""What a network is trained for: the loss of a batch, by an objective that may remember earlier batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latency_tables.errors import UserError


class Second(Enum):
    """A second view of each image, which some objectives need."""

    NONE = "none"
    PARTNER = "another image of the same class"
    AGAIN = "the same image, augmented once more"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A few training images.

    Attributes:
        images: preprocessed and augmented, shape (n, channels, height, width).
        labels: int64, shape (n,); None where the images have none.
        index: which of all training images they are, int64, shape (n,).
        second: a second view of each, shape as `images`; None where the objective asks for none.
    """

    images: Tensor
    labels: Tensor | None
    index: Tensor
    second: Tensor | None = None

    def to(self, device: torch.device, layout: torch.memory_format) -> Batch:
        """The same on a device, images laid out so; the index stays where tables are looked up, on the CPU."""
        labels = None if self.labels is None else self.labels.to(device)
        second = None if self.second is None else self.second.to(device).contiguous(memory_format=layout)
        images = self.images.to(device).contiguous(memory_format=layout)
        return Batch(images, labels, self.index, second)

    def first(self, count: int) -> Batch:
        """Its first images, with what belongs to them."""
        labels = None if self.labels is None else self.labels[:count]
        second = None if self.second is None else self.second[:count]
        return Batch(self.images[:count], labels, self.index[:count], second)

    def known(self, objective: str) -> Tensor:
        """The labels.

        Args:
            objective: who asks, for the message.

        Raises:
            UserError: there are none.
        """
        if self.labels is None:
            raise UserError(
                f"{objective} needs labels, and the images have none. Give images with classes: a folder for "
                "each class, or an npz file with 'labels'."
            )
        return self.labels

    def viewed_twice(self, objective: str) -> Tensor:
        """The second view.

        Raises:
            ValueError: whoever made the batch did not look at `Objective.second`.
        """
        if self.second is None:
            raise ValueError(f"{objective} needs a second view of each image")
        return self.second


class Objective(Protocol):
    """A loss with memory; made anew for every training and every scoring.

    Attributes:
        name: the word for it in records and messages.
        second: the second view of each image that a batch must have.
        needs_labels: whether it can do nothing without labels.
    """

    @property
    def name(self) -> str:
        """The word for it in records and messages."""
        ...

    @property
    def second(self) -> Second:
        """The second view of each image that a batch must have."""
        ...

    @property
    def needs_labels(self) -> bool:
        """Whether it can do nothing without labels."""
        ...

    def loss(self, model: nn.Module, batch: Batch, share: float) -> Tensor:
        """The loss of one batch, a scalar with gradient; what is remembered has none.

        Args:
            model: maps images to logits; run in the mode that it is in.
            batch: with the second view asked for.
            share: of the training that will be over after this epoch, above 0 to 1; 1 while scoring.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """What tells it from others of its name, as plain values, so that a checkpoint belongs to one of them."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """What it remembers, for a checkpoint."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Remembers what `state_dict` gave."""
        ...


class Forgetful:
    """Base of objectives that remember nothing."""

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to remember."""


class CrossEntropy(Forgetful):
    """Plain training on labels."""

    name = "cross entropy"
    second = Second.NONE
    needs_labels = True

    def loss(self, model: nn.Module, batch: Batch, share: float) -> Tensor:  # noqa: ARG002
        """See `Objective`."""
        return F.cross_entropy(model(batch.images), batch.known(self.name))

    def identity(self) -> dict[str, Any]:
        """Nothing: there is one of that name."""
        return {}


def softened(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(softmax(wanted / T) || softmax(logits / T)), mean over the batch (Hinton et al., 2015).

    Args:
        logits: with gradient, shape (n, classes).
        wanted: of the same shape.
        temperature: T, positive; the factor T^2 keeps the size of the gradient about the same.

    Returns:
        A scalar, at least 0.
    """
    # In float32 whatever the passes ran in: what is multiplied by T^2 must not be rounded before.
    got = (logits.float() / temperature).log_softmax(1)
    target = (wanted.float() / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(got, target, reduction="batchmean", log_target=True)
