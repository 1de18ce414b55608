"""Training images in batches, drawn so that a training that goes on sees exactly what it would have seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from latency_tables.errors import UserError
from pruning.recovery.objective import Batch, Objective, Second


class TrainingImages(Protocol):
    """Images to train on, however they are kept and augmented."""

    @property
    def labels(self) -> Tensor | None:
        """int64, shape (n,), on the CPU; None where the images have none."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def take(self, index: Tensor, seed: int) -> Tensor:
        """Some of the images, augmented at random and preprocessed.

        Args:
            index: which, int64, shape (m,).
            seed: of the augmentation; the same seed and index give the same images.

        Returns:
            float32, shape (m, channels, height, width).
        """
        ...


def require_fit(images: TrainingImages, objective: Objective, classes: int | None = None) -> None:
    """Says what an objective misses, before anything is trained.

    Args:
        images: to train on.
        objective: what for.
        classes: how many the network knows; None: not looked at.

    Raises:
        UserError: fewer than two images, no labels where they are needed, one class alone, a class that the network
            does not know, or one without images.
    """
    if len(images) < 2:
        raise UserError(f"training needs at least 2 images, got {len(images)}. Give more images.")
    if not objective.needs_labels:
        return
    if images.labels is None:
        raise UserError(
            f"{objective.name} needs labels, and the images have none. Give images with classes: a folder for each "
            "class, or an npz file with 'labels'."
        )
    counts = images.labels.bincount(minlength=classes or 0).tolist()
    if classes is not None and len(counts) > classes:
        raise UserError(
            f"the training images have classes up to {len(counts) - 1}, but the network has only {classes} "
            "outputs; the images belong to another network."
        )
    if int(images.labels.min()) == int(images.labels.max()):
        raise UserError(
            f"{objective.name} tells classes apart, but all {len(images)} images are of class "
            f"{int(images.labels[0])}. Give images of at least two classes."
        )
    empty = [k for k, count in enumerate(counts) if count == 0]
    if classes is not None and empty:
        raise UserError(
            f"{len(empty)} of {classes} classes have no training image, the first of them class {empty[0]}: what "
            "is never seen is not learnt. Give images of all classes."
        )


def batches(
    images: TrainingImages, objective: Objective, batch_size: int, seed: int, epoch: int
) -> Iterator[Batch]:
    """The batches of one epoch: every image once, in an order that seed and epoch decide.

    The last batch is left out where it is smaller than the others, unless it is the only one.

    Args:
        images: n of them.
        objective: says what second view it needs.
        batch_size: images in a batch; all where there are fewer.
        seed: of the training.
        epoch: counted from 0.
    """
    order = torch.randperm(len(images), generator=drawn_by("order", seed, epoch))
    size = min(batch_size, len(images))
    partners = Partners(images.labels) if objective.second is Second.PARTNER else None
    for number in range(len(images) // size):
        index = order[number * size : (number + 1) * size]
        draw = drawn_by("augmentation", seed, epoch, number)
        first, second = (int(torch.randint(2**62, (), generator=draw)) for _ in range(2))
        other = None
        if partners is not None:
            other = images.take(partners.draw(index, draw), second)
        elif objective.second is Second.AGAIN:
            other = images.take(index, second)
        labels = None if images.labels is None else images.labels[index]
        yield Batch(images.take(index, first), labels, index, other)


def balanced_batch(images: TrainingImages, objective: Objective, size: int, seed: int) -> Batch:
    """One batch with the same number of images of each class, as far as that divides; for scoring.

    Args:
        images: where they are drawn from; without labels any images are drawn.
        objective: says what second view it needs.
        size: images wanted; all where there are fewer.
        seed: of the draw and of the augmentation.
    """
    draw = drawn_by("scoring batch", seed)
    order = torch.randperm(len(images), generator=draw)
    if images.labels is not None:
        # The k-th image of every class goes before the k + 1st of any.
        labels = images.labels[order]
        rank = torch.zeros_like(labels)
        for label in range(int(labels.max()) + 1):
            of_class = labels == label
            rank[of_class] = torch.arange(int(of_class.sum()))
        order = order[rank.argsort(stable=True)]
    index = order[:size]
    first, second = (int(torch.randint(2**62, (), generator=draw)) for _ in range(2))
    other = None
    if objective.second is Second.PARTNER:
        other = images.take(Partners(images.labels).draw(index, draw), second)
    elif objective.second is Second.AGAIN:
        other = images.take(index, second)
    labels_of = None if images.labels is None else images.labels[index]
    return Batch(images.take(index, first), labels_of, index, other)


class Partners:
    """Draws for each image another one of its class, or itself.

    Args:
        labels: of all training images.

    Raises:
        UserError: there are none.
    """

    def __init__(self, labels: Tensor | None) -> None:
        if labels is None:
            raise UserError("a partner of the same class can only be drawn where the images have labels")
        self._labels = labels
        self._by_class = labels.argsort(stable=True)
        self._count = labels.bincount()
        self._start = self._count.cumsum(0) - self._count

    def draw(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Indices of the partners, shape as `index`."""
        own = self._labels[index]
        place = (torch.rand(len(index), generator=generator) * self._count[own]).long()
        return self._by_class[self._start[own] + place.minimum(self._count[own] - 1)]


def mixed_seed(purpose: str, *numbers: int) -> int:
    """A seed that differs wherever the purpose or any of the numbers does.

    Args:
        purpose: what is drawn, so that two draws of one seed have nothing in common.
        numbers: at least 0 each: the seed of all, and which of several draws it is.
    """
    word = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")
    # The count as well: the sequence takes numbers that are missing for zeros.
    words = (word, len(numbers), *numbers)
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def drawn_by(purpose: str, *numbers: int) -> torch.Generator:
    """A generator of that seed."""
    return torch.Generator().manual_seed(mixed_seed(purpose, *numbers))
