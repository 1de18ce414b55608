from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import BLOCKS, Pooled, Scale, TinyResNet, images
from torch import Tensor

from latency_tables.errors import LatheError
from pruning.criteria.calibration import calibrated_kl
from pruning.criteria.criterion import Additive, Joint, Remembering
from pruning.criteria.damage import (
    DamageCriterion,
    disagreement,
    feature_damage,
    kl,
    kl_after_calibration,
)
from pruning.criteria.order import OrderCriterion, last_first, random_order
from pruning.passes import Outputs, Passes

WANTED = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(3.0)]])  # (3/4, 1/4), (1/4, 3/4)


def by_hand(p: float, q: float) -> float:
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def outputs(logits: Tensor, features: Tensor | None = None) -> Outputs:
    return Outputs(torch.zeros(len(logits), 1) if features is None else features, logits)


def test_measures_by_hand() -> None:
    """Constant maps with channel means (ln 3, 0) and (0, ln 3); the block triples them, so that without it the
    logits are a third: probabilities 3 / 4 against 3^(1/3) / (1 + 3^(1/3)), features off by two thirds."""
    maps = (WANTED / 3).view(2, 2, 1, 1).expand(2, 2, 2, 2)
    model = Pooled(Scale(3.0))
    passes = Passes(model, maps, ["blocks.0"])
    torch.testing.assert_close(passes.unpruned.logits, WANTED)
    pair = (passes.outputs({"blocks.0"}), passes.unpruned)
    third = 3 ** (1 / 3)
    assert kl(*pair) == pytest.approx(by_hand(0.75, third / (1 + third)), rel=1e-5)
    assert feature_damage(*pair) == pytest.approx((2 / 3) ** 2, rel=1e-5)
    assert kl_after_calibration(*pair) == pytest.approx(0.0, abs=1e-6)  # a third of the logits is but a scale
    assert disagreement(*pair) == 0.0
    assert torch.equal(model(maps), passes.unpruned.logits)  # the block is back


def test_feature_damage_is_the_mean_of_ratios_over_images() -> None:
    got, wanted = (
        outputs(torch.zeros(2, 2), torch.tensor(rows)) for rows in ([[2.0], [10.0]], [[1.0], [10.0]])
    )
    assert feature_damage(got, wanted) == pytest.approx((1.0 + 0.0) / 2)


def test_disagreement_is_a_share_of_the_images() -> None:
    wanted = torch.eye(4)
    got = wanted[[0, 1, 3, 2]] * 0.1
    assert disagreement(outputs(got), outputs(wanted)) == 0.5
    got[0, 0] = math.nan
    assert math.isnan(disagreement(outputs(got), outputs(wanted)))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.floats(0.0, 50.0))
def test_kl_is_never_below_zero_and_zero_for_the_same(seed: int, scale: float) -> None:
    logits = scale * torch.randn(7, 5, generator=torch.Generator().manual_seed(seed))
    moved = logits + 1e-7
    assert kl(outputs(logits), outputs(logits)) == 0.0
    assert 0.0 <= kl(outputs(moved), outputs(logits)) < 1e-5


def test_the_criterion_measures_the_pass_without_the_blocks() -> None:
    passes = Passes(TinyResNet(), images(), BLOCKS)
    removed = frozenset(BLOCKS[1:3])
    criterion = DamageCriterion(
        "sum", passes, lambda got, wanted: kl(got, wanted) + 10 * feature_damage(got, wanted)
    )
    pair = (passes.outputs(removed), passes.unpruned)
    assert criterion.hurt(removed) == pytest.approx(kl(*pair) + 10 * feature_damage(*pair))
    assert criterion.hurt(removed) > criterion.hurt(frozenset()) == 0.0
    assert criterion.name == "sum" and criterion.needs_images


def test_damage_with_batch_statistics_does_not_ask_what_the_network_was_trained_on() -> None:
    def hurts() -> list[float]:
        return [
            DamageCriterion("kl", Passes(model, images(), BLOCKS, trained=trained), kl).hurt(
                frozenset(BLOCKS[:1])
            )
            for trained in (False, True)
        ]

    model = TinyResNet()
    before = hurts()
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(4.0)
    after = hurts()
    assert after[0] == before[0] and after[1] != before[1]


def plain_kl(logits: Tensor, wanted: Tensor) -> float:
    return float((wanted.softmax(1) * (wanted.log_softmax(1) - logits.log_softmax(1))).sum(1).mean())


def test_calibration_forgives_a_scale_wholly_and_an_offset_almost() -> None:
    wanted = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).mul(2)
    assert calibrated_kl(wanted * 5.0, wanted) == pytest.approx(0.0, abs=1e-6)
    shifted = wanted + torch.tensor([1.0, 0.0, 0.0, -1.0])
    assert calibrated_kl(shifted, wanted) < 0.001 < 0.1 < plain_kl(shifted, wanted)


def test_calibration_does_not_forgive_lost_answers() -> None:
    """Logits that say nothing leave the mean answer: KL to it is the mean answer's entropy less the answers'."""
    nothing = torch.zeros(2, 2)
    assert calibrated_kl(nothing, WANTED) == pytest.approx(by_hand(0.75, 0.5))
    assert calibrated_kl(WANTED.flip(1), WANTED) == pytest.approx(
        0.0, abs=1e-6
    )  # a scale of -1: still told apart


def test_the_prior_keeps_offsets_small_where_there_are_few_images() -> None:
    """One image, no scale to find: offsets (d, -d) make KL((3/4, 1/4) || (s, 1 - s)) + d^2 least, s = sigmoid(2d),
    where d = 3/4 - s; without the prior the offsets would explain all of it."""
    d = 0.0
    for _ in range(60):
        d = 0.5 * d + 0.5 * (0.75 - 1 / (1 + math.exp(-2 * d)))
    expected = by_hand(0.75, 1 / (1 + math.exp(-2 * d)))
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
        self.expected: list[frozenset[str]] = []

    def expect(self, removed: frozenset[str]) -> None:
        self.expected.append(removed)

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


def test_what_is_expected_is_passed_on_once_and_only_where_memory_does_not_answer() -> None:
    counting = Counting()
    criterion = Remembering(counting)
    criterion.hurt(frozenset("ab"))
    assert counting.expected == []
    criterion.expect(frozenset("a"))
    criterion.hurt(frozenset("ab"))
    assert counting.expected == []
    criterion.hurt(frozenset("ac"))
    criterion.hurt(frozenset("ad"))
    assert counting.expected == [frozenset("a")]
    criterion.expect(frozenset("b"))
    criterion.expect(frozenset("c"))
    criterion.hurt(frozenset("cd"))
    assert counting.expected == [frozenset("a"), frozenset("c")]


def test_single_blocks_added_up() -> None:
    counting = Counting(2.0)
    counting.hurt = lambda removed: counting.calls.append(removed) or {"a": 1.0, "b": 3.0}["".join(removed)]
    shared = Remembering(counting)
    criterion = Additive(shared)
    assert criterion.hurt(frozenset()) == 0.0
    assert criterion.hurt(frozenset("a")) == 1.0
    criterion.expect(frozenset("a"))
    assert criterion.hurt(frozenset("ab")) == 4.0
    assert counting.calls == [frozenset("a"), frozenset("b")]
    assert counting.expected == [frozenset()]  # the next questions are about single blocks
    assert criterion.name == "counting, one-shot" and criterion.needs_images
    assert not Additive(Remembering(last_first("ab"))).needs_images


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


class Says:
    """A criterion that says one number for everything, and remembers what it heard."""

    def __init__(self, number: float, needs_images: bool = True) -> None:
        self.name, self.needs_images, self._number = "says", needs_images, number
        self.heard: list[frozenset[str]] = []

    def expect(self, removed: frozenset[str]) -> None:
        self.heard.append(removed)

    def hurt(self, removed: frozenset[str]) -> float:
        return self._number


def joint(*numbers: float) -> float:
    return Joint("joint", [Says(number) for number in numbers]).hurt(frozenset({"a"}))


def test_the_geometric_mean_by_hand() -> None:
    assert joint(2.0, 4.0, 1.0) == pytest.approx(2.0)
    assert joint(0.5, 0.02) == pytest.approx(0.1)
    assert joint(0.0, 7.0) == 0.0
    assert math.isnan(joint(math.nan, 7.0))


def test_a_joint_passes_on_what_it_hears_and_measures_where_a_part_does() -> None:
    parts = Says(1.0, needs_images=False), Says(1.0, needs_images=False)
    both = Joint("both", parts)
    both.expect(frozenset({"a"}))
    assert [part.heard for part in parts] == [[frozenset({"a"})]] * 2
    assert both.name == "both" and not both.needs_images
    assert Joint("both", [parts[0], Says(1.0)]).needs_images
