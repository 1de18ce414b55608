"""An outline with its channel groups: what may get narrower, and how every part follows."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from pruning.channels import find_groups
from pruning.outline import Outline
from pruning.sizes import find_sizes


def with_groups(outline: Outline, model: nn.Module, input_shape: tuple[int, int, int], batch: int) -> Outline:
    """The same outline, its skeleton with channel groups.

    Args:
        outline: of this network.
        model: in evaluation mode; left as it is.
        input_shape: channels, height, width of one image.
        batch: images in one forward pass, as in the outline.

    Raises:
        LatheError: the network's sizes do not follow its widths in a way that can be written down.
    """
    drawn = torch.Generator().manual_seed(0)
    example = torch.randn(1, *input_shape, generator=drawn)
    groups = find_groups(model, example)
    sizes = find_sizes(model, example, torch.zeros(batch, *input_shape), outline.skeleton.graph, groups)
    return replace(outline, skeleton=replace(outline.skeleton, groups=groups, sizes=sizes))
