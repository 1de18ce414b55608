"""Images to train on whose classes are plain to see."""

from __future__ import annotations

import torch
from early_networks import CLASSES
from torch import Tensor

COUNT = 60


class Blobs:
    """Images whose mean tells their class; augmentation adds noise drawn by its seed."""

    def __init__(self, count: int = COUNT, labels: Tensor | None = None) -> None:
        self._labels = torch.arange(count) % CLASSES if labels is None else labels
        self.labels: Tensor | None = self._labels
        generator = torch.Generator().manual_seed(0)
        self._pixels = torch.randn(count, 3, 6, 6, generator=generator) * 0.3
        self._pixels += (self._labels.float() - 1)[:, None, None, None]
        self.taken: list[int] = []

    def __len__(self) -> int:
        return len(self._labels)

    def take(self, index: Tensor, seed: int) -> Tensor:
        self.taken.append(seed)
        noise = torch.randn(len(index), 3, 6, 6, generator=torch.Generator().manual_seed(seed))
        return self._pixels[index] + 0.1 * noise
