"""An outline with its channel groups: what may get narrower, and how every part follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import nn

from latency_tables.errors import LatheError
from latency_tables.widths import ChannelGroup, Size
from pruning.channels import find_groups
from pruning.outline import Outline
from pruning.sizes import find_sizes

_Follow: TypeAlias = Callable[[Sequence[ChannelGroup]], tuple[Size, ...]]


def with_groups(outline: Outline, model: nn.Module, input_shape: tuple[int, int, int], batch: int) -> Outline:
    """The same outline, its skeleton with channel groups.

    Groups whose widths the network's sizes do not follow stay as they are, and carry the reason.

    Args:
        outline: of this network.
        model: in evaluation mode; left as it is.
        input_shape: channels, height, width of one image.
        batch: images in one forward pass, as in the outline.

    Raises:
        UserError: the network cannot be traced, so that nothing is known of its channels.
    """
    drawn = torch.Generator().manual_seed(0)
    example = torch.randn(1, *input_shape, generator=drawn)

    def follow(groups: Sequence[ChannelGroup]) -> tuple[Size, ...]:
        return find_sizes(model, example, torch.zeros(batch, *input_shape), outline.skeleton.graph, groups)

    groups, sizes = _followed(find_groups(model, example), follow)
    return replace(outline, skeleton=replace(outline.skeleton, groups=groups, sizes=sizes))


def _followed(
    groups: tuple[ChannelGroup, ...], follow: _Follow
) -> tuple[tuple[ChannelGroup, ...], tuple[Size, ...]]:
    """Groups, those that no size can follow frozen, and the sizes that follow the others."""
    try:
        return groups, follow(groups)
    except LatheError:
        # One of them spoils it: each is tried alone, and those that pass once more together.
        alone = tuple(replace(one, frozen=one.frozen or _failure(one, follow)) for one in groups)
    try:
        return alone, follow(alone)
    except LatheError as error:
        reason = f"together with others, {error}"
        return tuple(replace(one, frozen=one.frozen or reason) for one in alone), ()


def _failure(group: ChannelGroup, follow: _Follow) -> str | None:
    """Why sizes do not follow this group's width; None where they do."""
    try:
        follow((group,))
    except LatheError as error:
        return str(error)
    return None
