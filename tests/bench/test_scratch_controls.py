"""What each control of a network trained from scratch changes, and that it changes nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from early_networks import Residual
from spy_school import (
    NETWORK,
    FakeShop,
    PerChannel,
    first_weights,
    lessons,
    quiet,
    same,
)
from torch import nn

from bench import channel_maker, masked_point
from bench.budget import Sparsity
from bench.channel_maker import ChannelMaker
from bench.masked_point import _Masked
from bench.shop import Shop
from bench.stages import Stages
from latency_tables.errors import LatheError, StorageError
from pruning.channels import find_strands
from pruning.early.channel_scores import channel_scores
from pruning.early.masks import keep_best, random_like, shuffled, smart_ratio
from pruning.from_scratch import SCRATCH_METHODS, ScratchMethod
from pruning.recovery.batches import drawn_by
from pruning.width_search import choose_smart


def by_name() -> dict[str, SimpleNamespace]:
    names = [
        channel_maker.OTHER_CHANNELS,
        channel_maker.WEIGHTS_ANEW,
        channel_maker.BY_CHANCE,
        channel_maker.SMART,
        channel_maker.PLAIN_SCORES,
        channel_maker.UNTAUGHT,
        masked_point.SHUFFLED,
        masked_point.WEIGHTS_ANEW,
        masked_point.BY_CHANCE,
        masked_point.SMART,
        masked_point.PLAIN_SCORES,
        "the point",
    ]
    return {name: lesson for lesson in lessons for name in names if lesson.what.startswith(name)}


every_self_distillation = pytest.mark.parametrize("self_distillation", ["cs-kd", "ps-kd", "dlb"])


@every_self_distillation
def test_channels_beside_their_controls(self_distillation: str, tmp_path: Path) -> None:
    shop = FakeShop(tmp_path, self_distillation)
    maker = ChannelMaker(cast(Shop, shop), shop.school, SCRATCH_METHODS["epsd-structured"])
    fit = cast(Any, PerChannel())
    chosen = maker.choose(fit, 20.0, quiet)
    assert chosen.channels
    maker.make(chosen, quiet)
    found = maker.controls(chosen, fit, quiet)
    assert len(found.accuracies) == 5 and not found.failed
    told = by_name()
    assert {lesson.objective for lesson in told.values()} == {self_distillation}
    point = told["the point"].model
    shapes = [tuple(weight.shape) for weight in first_weights(point)]
    for name in (channel_maker.OTHER_CHANNELS, channel_maker.WEIGHTS_ANEW):
        assert [tuple(weight.shape) for weight in first_weights(told[name].model)] == shapes
        assert not same(told[name].model, point)
    for name in (channel_maker.BY_CHANCE, channel_maker.PLAIN_SCORES):
        size = sum(weight.shape[0] for weight in first_weights(told[name].model) if weight.ndim == 4)
        assert size < sum(w.shape[0] for w in first_weights(NETWORK.untrained(0)) if w.ndim == 4)
        other = FakeShop(tmp_path / name[:6], self_distillation)
        by = channel_maker.RANDOM if name == channel_maker.BY_CHANCE else channel_maker.PLAIN
        alone = ChannelMaker(cast(Shop, other), other.school, SCRATCH_METHODS[by])
        wanted = alone.choose(fit, fit.latency_s((), dict(chosen.cut.widths)), quiet)
        assert str(sorted(wanted.channels.items())) in told[name].what
    assert not same(told[channel_maker.BY_CHANCE].model, point)
    # As many of each group, drawn for this purpose alone: what else has this seed draws others.
    draw = drawn_by("redrawn channels", shop.school.training.seed)
    full = {group.name: group.channels for group in maker.outline.skeleton.groups}
    redrawn = {
        name: tuple(sorted(torch.randperm(full[name], generator=draw)[: len(stays)].tolist()))
        for name, stays in chosen.channels.items()
    }
    assert str(sorted(redrawn.items())) in told[channel_maker.OTHER_CHANNELS].what
    limit_s = fit.latency_s((), dict(chosen.cut.widths))
    by_profile = choose_smart(maker.outline.skeleton.groups, fit, limit_s)
    assert str(sorted(by_profile.channels.items())) in told[channel_maker.SMART].what


@pytest.mark.parametrize(
    "method", [m for m in SCRATCH_METHODS.values() if m.structured and m.criterion], ids=lambda m: m.name
)
def test_every_ranking_keeps_its_best_channels(method: ScratchMethod, tmp_path: Path) -> None:
    shop = FakeShop(tmp_path)
    maker = ChannelMaker(cast(Shop, shop), shop.school, method)
    chosen = maker.choose(cast(Any, PerChannel()), 20.0, quiet)
    scores = maker._known[method.name]
    assert chosen.channels
    for name, stays in chosen.channels.items():
        gone = sorted(set(range(len(scores[name]))) - set(stays))
        assert min(scores[name][list(stays)]) >= max(scores[name][gone])
    if method.name == channel_maker.RANDOM:
        return
    assert method.criterion is not None
    by_weight = shop.school.scores(method, shop.school.untrained(), 1.0)
    free = [group for group in maker.outline.skeleton.groups if group.frozen is None]
    strands = find_strands(shop.school.untrained(), shop.school.example, free)
    signed = method.name == "grasp-structured"  # the only one whose scores may be below zero
    for name, expected in channel_scores(by_weight, strands, free, signed=signed).items():
        assert np.allclose(scores[name], expected.numpy())
    whole = np.concatenate(list(scores.values()))
    assert whole.min() >= 0 and len(set(whole.round(12))) > len(whole) / 2


def test_what_is_taught_stands_beside_the_same_widths_without_a_teacher(tmp_path: Path) -> None:
    shop = FakeShop(tmp_path)
    maker = ChannelMaker(cast(Shop, shop), shop.school, SCRATCH_METHODS["kd"])
    chosen = maker.choose(cast(Any, PerChannel()), 20.0, quiet)
    maker.make(chosen, quiet)
    assert set(maker.controls(chosen, cast(Any, PerChannel()), quiet).accuracies) == {channel_maker.UNTAUGHT}
    told = by_name()
    assert (told["the point"].objective, told[channel_maker.UNTAUGHT].objective) == ("kd", "cross entropy")
    assert same(told["the point"].model, told[channel_maker.UNTAUGHT].model)


@every_self_distillation
def test_masks_beside_their_controls(self_distillation: str, tmp_path: Path) -> None:
    shop = FakeShop(tmp_path, self_distillation)
    point = _Masked(
        cast(Shop, shop),
        cast(Any, SimpleNamespace(id="a", lessons="a")),
        SCRATCH_METHODS["epsd"],
        Sparsity("60%", 0.6),
        Stages(),
    )
    masks = point._masks(SCRATCH_METHODS["epsd"])
    found = point._controls(masks, quiet)
    assert len(found.accuracies) == 5 and not found.failed
    told = by_name()
    kept = {name: int(mask.sum()) for name, mask in masks.items()}
    for name, lesson in told.items():
        anew = name == masked_point.WEIGHTS_ANEW
        assert lesson.objective == self_distillation
        assert all(torch.equal(lesson.masks[key], masks[key]) for key in masks) is anew
        counts = {key: int(mask.sum()) for key, mask in lesson.masks.items()}
        assert (counts == kept) is (name in (masked_point.SHUFFLED, masked_point.WEIGHTS_ANEW))
        assert sum(counts.values()) == pytest.approx(sum(kept.values()), rel=0.15)
    others = [lesson.model for name, lesson in told.items() if name != masked_point.WEIGHTS_ANEW]
    assert all(same(model, others[0]) for model in others)
    first, redrawn = (shop.school.untrained(luck) for luck in (0, 1))
    assert same(others[0], first) and not same(first, redrawn)
    assert same(told[masked_point.WEIGHTS_ANEW].model, redrawn)


def test_the_mask_of_each_control_is_drawn_or_ranked_as_its_name_says(tmp_path: Path) -> None:
    shop = FakeShop(tmp_path)
    school, density = shop.school, 1.0 - 0.6
    recipe = cast(Any, SimpleNamespace(id="a", lessons="a"))
    method = SCRATCH_METHODS["snip"]
    point = _Masked(cast(Shop, shop), recipe, method, Sparsity("60%", 0.6), Stages())
    masks = point._masks(method)
    point._controls(masks, quiet)
    told = by_name()

    plain = school.scores(SCRATCH_METHODS["prospr"], school.untrained(), density)
    draws = [drawn_by("control masks", school.training.seed, place) for place in range(3)]
    expected = {
        masked_point.SHUFFLED: shuffled(masks, draws[0]),
        masked_point.WEIGHTS_ANEW: masks,
        masked_point.BY_CHANCE: random_like(masks, draws[1]),
        masked_point.SMART: smart_ratio(school.untrained(), density, draws[2]),
        masked_point.PLAIN_SCORES: keep_best(plain, density),
    }
    assert told.keys() == expected.keys()
    for name, wanted in expected.items():
        assert told[name].masks.keys() == wanted.keys()
        assert all(torch.equal(told[name].masks[key], mask) for key, mask in wanted.items()), name
    # Were two of these alike, one could stand for the other unnoticed.
    assert len({str([mask.tolist() for mask in one.values()]) for one in expected.values()}) == len(expected)


@pytest.mark.parametrize(
    ("method", "self_distillation", "missing"),
    [
        ("epsd-structured", "cs-kd", set()),
        ("epsd-structured", "ps-kd", set()),
        ("epsd-structured", "dlb", set()),
        ("epsd-structured", "none", {channel_maker.PLAIN_SCORES}),
        ("prospr-structured", "cs-kd", {channel_maker.PLAIN_SCORES}),
        ("random-weights-structured", "cs-kd", {channel_maker.BY_CHANCE}),
    ],
)
def test_no_control_makes_the_same_channels_once_more(
    method: str, self_distillation: str, missing: set[str], tmp_path: Path
) -> None:
    shop, fit = FakeShop(tmp_path, self_distillation), cast(Any, PerChannel())
    maker = ChannelMaker(cast(Shop, shop), shop.school, SCRATCH_METHODS[method])
    chosen = maker.choose(fit, 20.0, quiet)
    found = set(maker.controls(chosen, fit, quiet).accuracies)
    every = {
        channel_maker.OTHER_CHANNELS,
        channel_maker.WEIGHTS_ANEW,
        channel_maker.BY_CHANCE,
        channel_maker.SMART,
        channel_maker.PLAIN_SCORES,
    }
    assert found == every - missing


@pytest.mark.parametrize(
    ("method", "self_distillation", "plain"),
    [
        ("epsd", "cs-kd", True),
        ("epsd", "ps-kd", True),
        ("epsd", "dlb", True),
        ("epsd", "none", False),
        ("prospr", "cs-kd", False),
        ("snip", "none", True),
    ],
)
def test_no_control_makes_the_same_mask_once_more(
    method: str, self_distillation: str, plain: bool, tmp_path: Path
) -> None:
    shop = cast(Shop, FakeShop(tmp_path, self_distillation))
    recipe = cast(Any, SimpleNamespace(id="a", lessons="a"))
    point = _Masked(shop, recipe, SCRATCH_METHODS[method], Sparsity("60%", 0.6), Stages())
    found = point._controls(point._masks(SCRATCH_METHODS[method]), quiet)
    assert (masked_point.PLAIN_SCORES in found.accuracies) is plain


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LatheError("the ranking collapses"), "the ranking collapses"),
        (
            RuntimeError("no double backward"),
            r"RuntimeError in test_scratch_controls\.py, line \d+: no double backward",
        ),
        (MemoryError(), r"MemoryError in test_scratch_controls\.py, line \d+: "),
        (OSError("no such disk"), r"OSError in test_scratch_controls\.py, line \d+: no such disk"),
    ],
)
def test_a_control_that_fails_costs_itself_alone(error: Exception, said: str, tmp_path: Path) -> None:
    def fail() -> nn.Module:
        raise error

    shop = cast(Shop, FakeShop(tmp_path))
    found = shop.judged({"a": Residual, "b": fail, "c": Residual}, quiet)
    assert list(found.accuracies) == ["a", "c"]
    assert list(found.failed) == ["b"] and re.fullmatch(said, found.failed["b"])


def test_a_full_disk_is_no_controls_own_failure(tmp_path: Path) -> None:
    def fail() -> nn.Module:
        raise StorageError("the disk is full")

    with pytest.raises(StorageError, match="the disk is full"):
        cast(Shop, FakeShop(tmp_path)).judged({"a": Residual, "b": fail, "c": Residual}, quiet)
