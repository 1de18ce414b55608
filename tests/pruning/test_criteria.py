from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import BLOCKS, Pooled, Scale, TinyResNet, images

from latency_tables.errors import LatheError
from pruning.criteria.calibration import calibrated_kl
from pruning.criteria.criterion import Remembering
from pruning.criteria.damage import DamageCriterion, damage
from pruning.criteria.order import OrderCriterion, last_first, random_order
from pruning.targets import Targets, scoring_targets

WANTED = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(3.0)]])  # (3/4, 1/4), (1/4, 3/4)


def kl(p: float, q: float) -> float:
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def test_both_variables_by_hand() -> None:
    """Constant maps with channel means (ln 3, 0) and (0, ln 3); the block triples them, so that without it the
    logits are a third: probabilities 3 / 4 against 3^(1/3) / (1 + 3^(1/3)), features off by two thirds."""
    maps = (WANTED / 3).view(2, 2, 1, 1).expand(2, 2, 2, 2)
    model = Pooled(Scale(3.0))
    targets = scoring_targets(model, maps)
    torch.testing.assert_close(targets.logits, WANTED)
    moved = damage(model, maps, targets, frozenset({"blocks.0"}))
    third = 3 ** (1 / 3)
    assert moved.kl == pytest.approx(kl(0.75, third / (1 + third)), rel=1e-5)
    assert moved.features == pytest.approx((2 / 3) ** 2, rel=1e-5)
    assert moved.calibrated_kl == pytest.approx(0.0, abs=1e-6)  # a third of the logits is but a scale
    assert model(maps).tolist() == targets.logits.tolist()  # the block is back


def test_feature_damage_is_the_mean_of_ratios_over_images() -> None:
    targets = Targets(torch.zeros(2, 1), torch.tensor([1.0, 10.0]).view(2, 1, 1, 1))
    moved = damage(Pooled(), torch.tensor([2.0, 10.0]).view(2, 1, 1, 1), targets, frozenset())
    assert moved.features == pytest.approx((1.0 + 0.0) / 2)


def test_no_removal_is_no_damage_and_batches_are_those_of_the_targets() -> None:
    model = TinyResNet()
    targets = scoring_targets(model, images(), batch_size=5)
    none = damage(model, images(), targets, frozenset(), batch_size=5)
    assert (none.kl, none.calibrated_kl, none.features) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert damage(model, images(), targets, frozenset(), batch_size=12).features > 1e-4


def test_damage_uses_batch_statistics_whatever_the_network_was_trained_on() -> None:
    model = TinyResNet()
    targets = scoring_targets(model, images())
    before = damage(model, images(), targets, frozenset(BLOCKS[:1]))
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.fill_(100.0)
    assert damage(model, images(), targets, frozenset(BLOCKS[:1])) == before


def test_damage_needs_features() -> None:
    with pytest.raises(ValueError, match="without features"):
        damage(Pooled(), images(), Targets(images().mean((2, 3)), None), frozenset())


def test_the_criterion_joins_both_variables() -> None:
    model = TinyResNet()
    targets = scoring_targets(model, images())
    removed = frozenset(BLOCKS[1:3])
    criterion = DamageCriterion("sum", lambda d: d.kl + 10 * d.features, model, images(), targets)
    by_hand = damage(model, images(), targets, removed)
    assert criterion.hurt(removed) == pytest.approx(by_hand.kl + 10 * by_hand.features)
    assert criterion.name == "sum" and criterion.needs_images


def plain_kl(logits: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((wanted.softmax(1) * (wanted.log_softmax(1) - logits.log_softmax(1))).sum(1).mean())


def test_calibration_forgives_a_scale_wholly_and_an_offset_almost() -> None:
    wanted = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).mul(2)
    assert calibrated_kl(wanted * 5.0, wanted) == pytest.approx(0.0, abs=1e-6)
    shifted = wanted + torch.tensor([1.0, 0.0, 0.0, -1.0])
    assert calibrated_kl(shifted, wanted) < 0.001 < 0.1 < plain_kl(shifted, wanted)


def test_calibration_does_not_forgive_lost_answers() -> None:
    """Logits that say nothing leave the mean answer: KL to it is the mean answer's entropy less the answers'."""
    nothing = torch.zeros(2, 2)
    assert calibrated_kl(nothing, WANTED) == pytest.approx(kl(0.75, 0.5))
    assert calibrated_kl(WANTED.flip(1), WANTED) == pytest.approx(
        0.0, abs=1e-6
    )  # a scale of -1: still told apart


def test_the_prior_keeps_offsets_small_where_there_are_few_images() -> None:
    """One image, no scale to find: offsets (d, -d) make KL((3/4, 1/4) || (s, 1 - s)) + d^2 least, s = sigmoid(2d),
    where d = 3/4 - s; without the prior the offsets would explain all of it."""
    d = 0.0
    for _ in range(60):
        d = 0.5 * d + 0.5 * (0.75 - 1 / (1 + math.exp(-2 * d)))
    expected = kl(0.75, 1 / (1 + math.exp(-2 * d)))
    assert calibrated_kl(torch.zeros(1, 2), WANTED[:1]) == pytest.approx(expected, rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(2, 6), st.floats(0.0, 5.0))
def test_calibration_is_never_worse_than_plain(seed: int, classes: int, noise: float) -> None:
    draws = torch.Generator().manual_seed(seed)
    wanted = torch.randn(20, classes, generator=draws)
    logits = wanted + noise * torch.randn(20, classes, generator=draws)
    assert -1e-9 <= calibrated_kl(logits, wanted) <= plain_kl(logits, wanted) + 1e-6


def test_calibration_of_logits_that_are_not_finite_is_nan() -> None:
    assert math.isnan(calibrated_kl(torch.tensor([[math.inf, 0.0]]), torch.zeros(1, 2)))


class Counting:
    name = "counting"
    needs_images = True

    def __init__(self, value: float = 1.0) -> None:
        self.calls: list[frozenset[str]] = []
        self.value = value

    def hurt(self, removed: frozenset[str]) -> float:
        self.calls.append(removed)
        return self.value * len(removed)


def test_no_set_is_scored_twice() -> None:
    counting = Counting()
    criterion = Remembering(counting)
    sets = [frozenset("ab"), frozenset("ba"), frozenset("a"), frozenset(), frozenset("a")]
    assert [criterion.hurt(removed) for removed in sets] == [2.0, 2.0, 1.0, 0.0, 1.0]
    assert counting.calls == [frozenset("ab"), frozenset("a"), frozenset()]
    assert criterion.scored == 3 and criterion.name == "counting" and criterion.needs_images


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_hurt_that_is_not_finite_is_an_error_that_names_the_blocks(value: float) -> None:
    with pytest.raises(
        LatheError, match=rf"'counting' gives {value} for the network without layer.0, layer.2"
    ):
        Remembering(Counting(value)).hurt(frozenset({"layer.2", "layer.0"}))


def test_an_order_adds_places() -> None:
    order = OrderCriterion("mine", ["c", "a", "b"])
    assert not order.needs_images
    assert order.hurt(frozenset()) == 0.0
    assert order.hurt(frozenset("c")) == 1.0
    assert order.hurt(frozenset("ab")) == 5.0


def test_the_last_block_goes_first() -> None:
    order = last_first(BLOCKS)
    assert sorted(BLOCKS, key=lambda block: order.hurt(frozenset({block}))) == list(reversed(BLOCKS))


def test_a_random_order_depends_on_the_seed_alone() -> None:
    names = [f"block{i}" for i in range(20)]

    def drawn(seed: int) -> list[str]:
        criterion = random_order(names, seed)
        return sorted(names, key=lambda block: criterion.hurt(frozenset({block})))

    assert drawn(1) == drawn(1) != drawn(2)
    assert sorted(drawn(1)) == sorted(names)
