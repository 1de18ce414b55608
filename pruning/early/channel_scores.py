"""From scores of single weights to scores of whole channels, which a narrower network can do without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from latency_tables.widths import ChannelGroup
from pruning.channels import Strand
from pruning.early.criterion import Scores


def channel_scores(
    scores: Scores, strands: Mapping[str, Sequence[Strand]], groups: Sequence[ChannelGroup], *, signed: bool
) -> dict[str, Tensor]:
    """The sum of the scores of all weights that go with a channel, as a share of that of all channels.

    Of a sensitivity sizes are what criteria give, and not derivatives with their signs: that by the mask of a whole
    filter is zero where a batch norm follows, whatever the filter is worth, since its scale does not matter.

    Args:
        scores: by weight.
        strands: where the channels of each group lie.
        groups: those that may change, whose channels are wanted.
        signed: whether scores may be below 0; the least channel then counts as 0, and the others from there.

    Returns:
        By group, shape (channels,); all together add up to 1. A weight between two groups counts in both.
    """
    found: dict[str, Tensor] = {}
    for group in groups:
        total = torch.zeros(group.channels, dtype=torch.float64)
        for strand in strands[group.name]:
            score = scores[strand.weight].double().cpu()
            along = score.sum([d for d in range(score.ndim) if d != strand.dimension])
            total.index_add_(0, torch.tensor(strand.channels), along[list(strand.places)])
        found[group.name] = total
    if signed and found:
        least = min(float(total.min()) for total in found.values())
        found = {name: total - least for name, total in found.items()}
    whole = float(sum(total.sum() for total in found.values()))
    return {name: total / whole if whole > 0 else total for name, total in found.items()}
