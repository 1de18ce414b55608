"""The padding of networks that were trained in TensorFlow."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def pad_same(x: torch.Tensor) -> torch.Tensor:
    """Pads for a 3x3 convolution of stride 2 as TensorFlow's SAME does.

    TensorFlow pads only as much as the last window needs and puts the odd pixel at the right and the bottom,
    so an even side gets (0, 1) where torch's ``padding=1`` gives (1, 1); the same weights then see the image
    shifted by one pixel.

    Args:
        x: activations (N, C, H, W); sides of 1 pixel or more.

    Returns:
        Zero-padded activations, from which the convolution with ``padding=0`` makes sides ceil(H/2), ceil(W/2).
    """
    top, left = x.shape[-2] % 2, x.shape[-1] % 2
    return F.pad(x, (left, 1, top, 1))
