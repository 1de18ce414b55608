"""From scores to masks, and the masks that a criterion must beat."""

from __future__ import annotations

import math

import pytest
import torch
from early_networks import residual
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from latency_tables.errors import LatheError, UserError
from pruning.early.criterion import prunable
from pruning.early.masks import keep_best, random_like, shuffled, smart_ratio, sparsity


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(0, 10_000), st.floats(0.2, 1.0))
def test_the_best_stay_in_one_ranking_over_all_weights(seed: int, density: float) -> None:
    generator = drawn(seed)
    scores = {"a": torch.rand(4, 5, generator=generator), "b": torch.rand(7, generator=generator)}
    try:
        masks = keep_best(scores, density)
    except LatheError:
        ranked = sorted(((float(x), name) for name, s in scores.items() for x in s.flatten()), reverse=True)
        assert len({name for _, name in ranked[: math.ceil(density * 27)]}) < 2
        return
    kept = [float(x) for name in scores for x in scores[name][masks[name]]]
    gone = [float(x) for name in scores for x in scores[name][~masks[name]]]
    assert len(kept) == math.ceil(density * 27)
    assert not gone or min(kept) >= max(gone)


def test_ties_go_to_what_stands_first() -> None:
    masks = keep_best({"a": torch.zeros(3), "b": torch.tensor([1.0, 0.0])}, 0.6)
    assert masks["a"].tolist() == [True, True, False]
    assert masks["b"].tolist() == [True, False]


def test_an_emptied_layer_is_said_by_name() -> None:
    with pytest.raises(LatheError, match=r"b\.weight would lose all 3 weights.*collapses"):
        keep_best({"a.weight": torch.ones(5), "b.weight": torch.zeros(3)}, 0.5)


@pytest.mark.parametrize("density", [0.0, -0.1, 1.5, math.nan])
def test_a_density_that_is_none_is_refused(density: float) -> None:
    with pytest.raises(UserError, match="above 0 to 1"):
        keep_best({"a": torch.ones(5)}, density)


def test_shuffling_keeps_each_layers_density_and_loses_its_places() -> None:
    masks = {"a": torch.arange(400).view(20, 20) < 100, "b": torch.arange(50) < 10}
    other = shuffled(masks, drawn())
    assert {name: int(mask.sum()) for name, mask in other.items()} == {"a": 100, "b": 10}
    overlap = int((other["a"] & masks["a"]).sum())
    assert 10 < overlap < 45  # a quarter of a quarter is expected
    assert other["a"].shape == (20, 20)


def test_random_masks_have_each_layers_density_in_the_mean_and_empty_none() -> None:
    masks = {"a": torch.arange(40_000) < 8_000, "b": torch.arange(50) < 1}
    other = [random_like(masks, drawn(seed)) for seed in range(40)]
    assert torch.stack([mask["a"].float().mean() for mask in other]).mean() == pytest.approx(0.2, abs=2e-3)
    assert len({int(mask["a"].sum()) for mask in other}) > 10
    assert all(bool(mask["b"].any()) for mask in other)


def test_the_smart_profile_falls_with_depth() -> None:
    model = residual()
    masks = smart_ratio(model, 0.4, drawn())
    weights = prunable(model)
    densities = {name: float(mask.float().mean()) for name, mask in masks.items()}
    assert densities["head.weight"] == pytest.approx(0.3, abs=0.03)
    inner = [densities[name] for name in weights if name != "head.weight"]
    assert inner == sorted(inner, reverse=True)
    assert sparsity(masks) == pytest.approx(0.6, abs=0.01)
    # Counted from the output: layers 1 and 2 keep shares in proportion to 2 and 6.
    assert inner[-1] / inner[-2] == pytest.approx(2 / 6, abs=0.05)


def test_a_layer_never_keeps_more_than_all() -> None:
    masks = smart_ratio(residual(), 0.9, drawn())
    assert max(float(mask.float().mean()) for mask in masks.values()) == 1.0
    assert sparsity(masks) == pytest.approx(0.1, abs=0.01)


def test_a_density_below_what_the_head_keeps_is_refused() -> None:
    with pytest.raises(UserError, match="30 % of the last linear layer"):
        smart_ratio(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 100)), 0.2, drawn())


def test_where_all_layers_are_full_the_last_linear_layer_keeps_the_rest() -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10), nn.Linear(10, 40))
    masks = smart_ratio(model, 0.8, drawn())
    assert [float(mask.float().mean()) for mask in masks.values()] == [1.0, 1.0, pytest.approx(0.7)]
    assert sparsity(masks) == pytest.approx(0.2)


def test_the_smart_profile_counts_the_weights_it_is_told_of() -> None:
    model = residual()
    names = [name for name in prunable(model) if name != "depthwise.weight"]
    masks = smart_ratio(model, 0.4, drawn(), names)
    assert sorted(masks) == sorted(names)
    assert sparsity(masks) == pytest.approx(0.6, abs=0.01)
