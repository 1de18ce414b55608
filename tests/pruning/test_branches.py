"""Residual branches that a factory starts closed: what is behind them must still be told apart."""

from __future__ import annotations

import pytest
import torch
from early_networks import CRITERIA, batch, residual
from torch import Tensor, nn

from latency_tables.errors import LatheError
from pruning.branches import open_branches, told_apart
from pruning.channels import find_groups
from pruning.early.criterion import scored

BEHIND = ("widen.weight", "depthwise.weight", "narrow.weight")
LOOKS_BACK = ("snip", "grasp")
"""Criteria that see a weight only through what it does to the outputs as they are."""


def closed() -> nn.Module:
    model = residual()
    nn.init.zeros_(model.narrow_norm.weight)
    return model


@pytest.mark.parametrize("name", LOOKS_BACK)
def test_a_layer_that_nothing_reaches_is_not_judged(name: str) -> None:
    with pytest.raises(LatheError, match=f"{name} gives every entry of widen.weight and 2 more the score 0"):
        scored(CRITERIA[name](), closed(), batch(), 0.3, 0)


@pytest.mark.parametrize("name", CRITERIA)
def test_an_open_branch_is_judged_by_every_criterion(name: str) -> None:
    scores = scored(CRITERIA[name](), open_branches(closed()), batch(), 0.3, 0)
    assert all(float(scores[weight].abs().max()) > 0 for weight in BEHIND)


def test_only_scales_of_norms_that_are_zero_throughout_are_opened() -> None:
    model = closed()
    model.norm.weight.data[:4] = 0
    before = {name: value.clone() for name, value in model.state_dict().items()}
    open_branches(model)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"narrow_norm.weight"}
    assert model.narrow_norm.weight.tolist() == [1.0] * 8


class Mixed(nn.Module):
    """A branch whose channels hang together in a way that no dependency graph sees, behind a closed scale."""

    def __init__(self, scale: nn.Parameter) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.inner, self.outer = nn.Conv2d(8, 12, 1), nn.Conv2d(12, 8, 1)
        self.scale = scale
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        branch = self.outer(self.inner(x).roll(1, 1))
        return self.head((x + self.scale * branch).mean((2, 3)))


@pytest.mark.parametrize(
    "scale",
    [torch.ones(8, 1, 1), torch.zeros(8, 1, 1), torch.full((8, 1, 1), 1e-6)],
    ids=["open", "closed", "next to closed"],
)
def test_groups_are_tried_where_they_can_be_seen(scale: Tensor) -> None:
    torch.manual_seed(0)
    groups = {group.name: group for group in find_groups(Mixed(nn.Parameter(scale)), torch.randn(2, 3, 4, 4))}
    assert "another one than with them masked" in (groups["inner"].frozen or "")


def test_a_layer_scale_is_opened_and_what_differs_or_shifts_is_not() -> None:
    model = closed()
    model.scale = nn.Parameter(torch.full((8, 1, 1), 1e-6))
    model.shift = nn.Parameter(torch.zeros(8))
    model.learnt = nn.Parameter(torch.linspace(1e-6, 1e-4, 8))
    model.step = nn.Parameter(torch.tensor(1e-6))
    open_branches(model)
    assert model.scale.flatten().tolist() == [1.0] * 8
    assert not bool(model.shift.any())
    assert float(model.learnt.detach().max()) < 1e-3
    assert float(model.step.detach()) < 1e-3


def test_a_head_that_starts_at_zero_hides_nothing() -> None:
    torch.manual_seed(0)
    model = Mixed(nn.Parameter(torch.ones(8, 1, 1)))
    nn.init.zeros_(model.head.weight)
    groups = {group.name: group for group in find_groups(model, torch.randn(2, 3, 4, 4))}
    assert "another one than with them masked" in (groups["inner"].frozen or "")
    assert not bool(model.head.weight.any())


def test_what_is_told_apart_is_a_copy() -> None:
    model = closed()
    other = told_apart(model)
    assert not bool(model.narrow_norm.weight.any())
    drawn = other.narrow_norm.weight.detach()
    assert float(drawn.min()) >= 0.5 and float(drawn.max()) <= 1.5 and len(set(drawn.tolist())) == 8
    assert torch.equal(other.widen.weight, model.widen.weight)
