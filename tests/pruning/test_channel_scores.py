"""Scores of whole channels: by hand, through additions, depthwise convolutions, gates and flattened maps."""

from __future__ import annotations

import pytest
import torch
from early_networks import residual
from test_channels import Dense
from torch import nn

from latency_tables.widths import ChannelGroup
from pruning.channels import Strand, find_groups, find_strands, narrow
from pruning.early.channel_scores import channel_scores
from pruning.early.criterion import prunable


@pytest.mark.parametrize("network", [residual, Dense])
def test_what_a_channel_is_worth_is_what_goes_with_it(network: type[nn.Module]) -> None:
    """Every weight entry is given its own power of noise; a channel's score is what narrowing really takes out."""
    model = network().eval()
    example = torch.randn(1, 3, 6 if network is residual else 8, 6 if network is residual else 8)
    groups = [group for group in find_groups(model, example) if group.frozen is None]
    assert groups
    strands = find_strands(model, example, groups)
    with torch.no_grad():
        for weight in prunable(model).values():
            weight.copy_(torch.rand_like(weight) + 0.1)
    scores = {name: weight.detach() for name, weight in prunable(model).items()}
    found = channel_scores(scores, strands, groups, signed=False)
    assert float(sum(total.sum() for total in found.values())) == pytest.approx(1.0)
    whole = sum(float(score.sum()) for score in scores.values())
    taken = {}
    for group in groups:
        for channel in (0, group.channels - 1):
            kept = [c for c in range(group.channels) if c != channel]
            smaller = prunable(narrow(model, example, {group.name: kept}))
            taken[group.name, channel] = whole - sum(float(w.detach().sum()) for w in smaller.values())
    scale = taken[groups[0].name, 0] / float(found[groups[0].name][0])
    for (name, channel), lost in taken.items():
        assert float(found[name][channel]) * scale == pytest.approx(lost, rel=1e-4)


def test_where_scores_have_signs_the_least_channel_counts_as_nothing() -> None:
    strand = Strand("w", 0, (0, 1, 2), (0, 1, 2))
    scores = {"w": torch.tensor([[-3.0, 1.0], [2.0, 1.0], [-0.5, -0.5]])}
    found = channel_scores(scores, {"g": [strand]}, [ChannelGroup("g", 3)], signed=True)
    assert found["g"].tolist() == pytest.approx([0.0, 5 / 6, 1 / 6])
