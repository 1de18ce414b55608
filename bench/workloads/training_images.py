"""Labelled images to train on: augmented as is usual for photographs, drawn by a seed."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from bench.workloads.images import Images
from bench.workloads.network import Preprocess
from bench.workloads.torchvision_operators import declare_operators
from latency_tables.errors import UserError

Augmentation = Literal["crop-flip", "crop", "resized-crop-flip", "none"]
"""A random crop of the image padded by an eighth with black, with or without mirroring every other one, as is usual
for small images; a random part of it, 8 % of its area to all, scaled to its size, and mirroring, as for large ones;
nothing."""


class AugmentedImages:
    """Training images with the standard augmentation of torchvision; see `pruning.recovery.batches.TrainingImages`.

    Args:
        images: n of them.
        preprocess: from pixels to the network's input.
        augmentation: what is done to each image, with luck of its own.

    Raises:
        UserError: torchvision is needed and not installed.
    """

    def __init__(self, images: Images, preprocess: Preprocess, augmentation: Augmentation) -> None:
        self._images, self._preprocess = images, preprocess
        self._change = _change(augmentation, images.pixels.shape[1:3])
        self._labels = None if images.labels is None else torch.from_numpy(images.labels)

    @property
    def labels(self) -> Tensor | None:
        """int64, shape (n,); None where the images have none."""
        return self._labels

    def __len__(self) -> int:
        return len(self._images)

    def take(self, index: Tensor, seed: int) -> Tensor:
        """Some of the images, augmented and preprocessed, shape (m, channels, height, width)."""
        pixels = torch.from_numpy(self._images.pixels[index.numpy()])
        if self._change is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                changed = [self._change(image) for image in pixels.permute(0, 3, 1, 2)]
            pixels = torch.stack(changed).permute(0, 2, 3, 1)
        return self._preprocess(pixels.numpy())


def _change(augmentation: Augmentation, size: tuple[int, ...]) -> Any:
    if augmentation == "none":
        return None
    declare_operators()
    try:
        from torchvision.transforms import v2
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        raise UserError(
            f"augmentation is torchvision's, which does not load ({error}): pip install 'lathe[zoo]', or train "
            "without augmentation."
        ) from error
    height, width = size
    if augmentation == "resized-crop-flip":
        steps: list[Any] = [v2.RandomResizedCrop((height, width))]
    else:
        steps = [v2.RandomCrop((height, width), padding=[width // 8, height // 8])]
    if augmentation != "crop":
        steps.append(v2.RandomHorizontalFlip())
    return v2.Compose(steps)
