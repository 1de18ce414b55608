from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import BLOCKS, Pooled, Scale, TinyResNet, images
from torch import Tensor, nn

from pruning.criteria.damage import feature_damage, kl
from pruning.criteria.linear import (
    RIDGE_AT_END,
    MappedCriterion,
    RunsCriterion,
    unexplained,
    unexplained_features,
)
from pruning.criteria.streams import Streams
from pruning.passes import Outputs, Passes

IMAGES = images(10)


@pytest.fixture(autouse=True)
def same_weights() -> None:
    torch.manual_seed(5)


class ScaleMaps(Scale):
    """A factor on maps of channels."""

    def __init__(self, factor: float) -> None:
        super().__init__(factor)
        self.conv = nn.Conv2d(1, 1, 1)  # says where the channels are


def test_change_by_hand() -> None:
    """Blocks that make 2, 3 and 5 times of what they get: changes of 1, 4 and 16; two and three as one, 5 to the
    power of two; of neighbours one map, 14 squared."""
    model = Pooled(ScaleMaps(2.0), ScaleMaps(3.0), ScaleMaps(5.0))
    criterion = RunsCriterion(
        "change", Streams(model, IMAGES, ("blocks.0", "blocks.1", "blocks.2")), Streams.change
    )

    def hurt(*places: int) -> float:
        return criterion.hurt(frozenset(f"blocks.{place}" for place in places))

    assert hurt() == 0.0
    assert [hurt(0), hurt(1), hurt(2)] == pytest.approx([1.0, 4.0, 16.0], rel=1e-4)
    assert hurt(0, 2) == pytest.approx(17.0, rel=1e-4)
    assert hurt(0, 1) == pytest.approx(25.0, rel=1e-4)
    assert hurt(1, 2) == pytest.approx(196.0, rel=1e-4)
    assert hurt(0, 1, 2) == pytest.approx(29.0**2, rel=1e-4)


def test_what_is_unexplained_adds_up_over_runs_and_is_never_below_zero() -> None:
    streams = Streams(TinyResNet(), IMAGES, BLOCKS)
    criterion = RunsCriterion("unexplained", streams, unexplained)
    runs = streams.runs(frozenset({"layer.0", "layer.2", "layer.3"}))
    shares = [streams.best_map(run).unexplained for run in runs]
    assert criterion.hurt(frozenset({"layer.0", "layer.2", "layer.3"})) == pytest.approx(sum(shares))
    assert len(shares) == 2 and all(0 < share < 1 for share in shares)
    assert criterion.hurt(frozenset()) == 0.0
    linear = RunsCriterion(
        "unexplained", Streams(Pooled(nn.Conv2d(3, 3, 1)), IMAGES, ("blocks.0",)), unexplained
    )
    assert 0.0 <= linear.hurt(frozenset({"blocks.0"})) < 1e-5


def mapped(model: nn.Module, *blocks: str) -> MappedCriterion:
    passes = Passes(model, IMAGES, blocks)
    return MappedCriterion("mapped", passes, Streams(model, IMAGES, blocks), feature_damage)


def test_a_map_in_the_place_of_linear_blocks_leaves_no_damage() -> None:
    model = Pooled(*(nn.Conv2d(3, 3, 1) for _ in range(3)))
    names = ("blocks.0", "blocks.1", "blocks.2")
    criterion, passes = mapped(model, *names), Passes(model, IMAGES, names)
    for removed in ({"blocks.0"}, {"blocks.1", "blocks.2"}, {"blocks.0", "blocks.2"}, set(names)):
        assert criterion.hurt(frozenset(removed)) < 1e-4
        assert feature_damage(passes.outputs(removed), passes.unpruned) > 0.05
    assert criterion.hurt(frozenset()) == 0.0


def test_a_map_is_the_same_whatever_other_criteria_keep() -> None:
    model = TinyResNet()
    passes = Passes(model, IMAGES, BLOCKS)
    criterion = MappedCriterion("mapped-kl", passes, Streams(model, IMAGES, BLOCKS), kl)
    sets = [frozenset(names) for names in (BLOCKS[:2], BLOCKS[1:3], ("layer.0", "layer.3"), BLOCKS)]
    before = [criterion.hurt(removed) for removed in sets]
    for kept in ({"layer.0"}, {"layer.0", "layer.1"}, {"layer.3"}):
        passes.keep(kept)
        assert [criterion.hurt(removed) for removed in sets] == before


def features(values: Tensor) -> Outputs:
    return Outputs(values, torch.zeros(len(values), 2))


def by_hand(got: Tensor, wanted: Tensor) -> float:
    """Two-fold, on explicit rows: even images teach and odd ones judge, and the other way round."""
    left = total = 0.0
    for first in (0, 1):
        x, y = got[first::2].flatten(0, -2).double(), wanted[first::2].flatten(0, -2).double()
        xx, yy = got[1 - first :: 2].flatten(0, -2).double(), wanted[1 - first :: 2].flatten(0, -2).double()
        centred = x - x.mean(0)
        ridge = RIDGE_AT_END * float(centred.square().sum(0).mean())
        more = torch.cat([centred, ridge**0.5 * torch.eye(x.shape[1]).double()])
        target = torch.cat([y - y.mean(0), torch.zeros(x.shape[1], y.shape[1]).double()])
        solved = torch.linalg.lstsq(more, target).solution
        left += float((yy - y.mean(0) - (xx - x.mean(0)) @ solved).square().sum())
        total += float((yy - y.mean(0)).square().sum())
    return left / total


@pytest.mark.parametrize("shape", [(8, 5, 4), (8, 3, 3, 4), (8, 4)])
def test_unexplained_features_are_those_of_explicit_rows(shape: tuple[int, ...]) -> None:
    wanted, got = torch.randn(shape) + 1.0, torch.randn(shape)
    got = 0.5 * wanted.roll(1, -1) + got
    assert unexplained_features(features(got), features(wanted)) == pytest.approx(
        by_hand(got, wanted), rel=1e-5
    )
    if len(shape) == 4:
        maps = [features(x.movedim(-1, 1)) for x in (got, wanted)]
        assert unexplained_features(*maps) == pytest.approx(by_hand(got, wanted), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.floats(-3.0, 3.0))
def test_an_invertible_map_of_the_features_is_forgiven(seed: int, offset: float) -> None:
    draws = torch.Generator().manual_seed(seed)
    wanted = torch.randn(20, 6, 4, generator=draws)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=draws)).Q
    assert 0.0 <= unexplained_features(features(3.0 * wanted @ turn + offset), features(wanted)) < 1e-3
    noise = torch.randn(20, 6, 4, generator=draws)
    assert unexplained_features(features(noise), features(wanted)) > 0.8


def test_what_is_learnt_by_heart_does_not_count() -> None:
    """As many channels as rows explain anything on the half that they were fitted on."""
    wanted, got = torch.randn(20, 12), torch.randn(20, 12)
    assert unexplained_features(features(got), features(wanted)) > 0.9


def test_features_that_are_not_finite_or_do_not_vary() -> None:
    wanted = torch.randn(6, 5, 4)
    for wrong in (math.nan, math.inf):
        got = wanted.clone()
        got[3, 2, 1] = wrong
        assert math.isnan(unexplained_features(features(got), features(wanted)))
    constant = torch.ones(6, 5, 4)
    assert unexplained_features(features(constant), features(wanted)) > 0.9
    assert math.isnan(unexplained_features(features(wanted), features(constant)))
    assert math.isfinite(
        unexplained_features(features(wanted[:2, 0]), features(wanted[:2, 1]))
    )  # a row a half
