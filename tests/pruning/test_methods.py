from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_networks import BLOCKS, TinyResNet, images, workpiece_of

from latency_tables.errors import UserError
from pruning.adaptation import adapt_statistics
from pruning.criteria.variables import VARIABLES, Workpiece
from pruning.methods import (
    HEALING_LOSS,
    HEALING_RATE,
    HEALING_RATE_WITHOUT_NORM,
    METHODS,
    get_method,
    heal,
)
from pruning.recovery.teachers import Stored
from pruning.surgery import remove_blocks
from pruning.targets import pseudo_labels


class PerBlock:
    """The blocks save 1, 2, 3 and 4 of 11 seconds."""

    def latency_s(self, removed: frozenset[str]) -> float:
        return 11.0 - sum(1.0 + BLOCKS.index(block) for block in removed)


def workpiece(count: int = 12, **changes: Any) -> Workpiece:
    return workpiece_of(TinyResNet(), images(count), **changes)


@pytest.mark.parametrize("name", [*sorted({*METHODS} - {"practise"}), "practise-20"])
def test_every_method_from_end_to_end(name: str) -> None:
    method = get_method(name)
    piece = workpiece_of(
        adapt_statistics(TinyResNet(), images(48)).model, images(48), seed=3, scoring_images=20
    )
    teacher, labels = piece.teacher, piece.labels
    assert HEALING_LOSS.needs_features and labels.features is not None
    scorer = method.scorer(piece)
    chosen = method.select(scorer, BLOCKS, PerBlock(), 5.0)
    assert chosen.predicted_s <= 5.0
    assert (chosen.hurt is None) == (not scorer.needs_images)
    scored = scorer.scored
    assert method.select(scorer, BLOCKS, PerBlock(), 5.0) == chosen and scorer.scored == scored
    student = remove_blocks(teacher, chosen.removed)
    done = heal(student, images(48), labels, seed=3, iterations=30)
    assert done.losses[-1] < done.losses[0]
    with torch.no_grad():
        assert student(images(4)).shape == (4, 3)
        torch.testing.assert_close(teacher(images(48)), labels.logits)  # nothing touched the teacher


def test_the_controls_choose_as_they_say() -> None:
    def removed(name: str, seed: int = 0, budget_s: float = 0.5) -> tuple[str, ...]:
        method = get_method(name)
        scorer = method.scorer(workpiece(seed=seed))
        return method.select(scorer, BLOCKS, PerBlock(), budget_s + 1.0).removed

    assert removed("last") == BLOCKS[::-1]
    assert len({removed("random", seed) for seed in range(8)}) > 3
    assert removed("random", 5) == removed("random", 5)


def test_who_weighs_by_saving_and_who_needs_controls_of_its_own() -> None:
    assert [name for name, method in METHODS.items() if method.per_saving] == [
        "ttmpd",
        "ttmpd-once",
        "practise",
    ]
    assert [name for name, method in METHODS.items() if method.needs_controls] == ["ttmpd", "ttmpd-once"]
    assert get_method("ttmpd").criterion is get_method("ttmpd-no-latency").criterion


def test_once_scores_single_blocks_and_adds_them_up() -> None:
    piece = workpiece()
    whole, once = get_method("ttmpd").scorer(piece), get_method("ttmpd-once").scorer(piece)
    several = frozenset(BLOCKS[:2])
    assert once.hurt(several) == pytest.approx(sum(whole.hurt(frozenset({block})) for block in several))
    assert once.hurt(several) != pytest.approx(whole.hurt(several))


def test_scoring_looks_at_the_first_images_only() -> None:
    x = images(48)
    changed = torch.cat([x[:20], images(28, seed=7)])
    hurts = [
        get_method("ttmpd")
        .scorer(workpiece_of(TinyResNet(), given, scoring_images=20))
        .hurt(frozenset(BLOCKS[:1]))
        for given in (x, changed, changed.flip(0))
    ]
    assert hurts[0] == hurts[1] != hurts[2]


def test_ttmpd_joins_damage_recoverability_and_capacity_in_their_geometric_mean() -> None:
    piece = workpiece()
    removed = frozenset(BLOCKS[1:3])
    names = ("calibrated-kl", "unexplained", "capacity")
    product = math.prod(VARIABLES[name].make(piece).hurt(removed) for name in names)
    assert get_method("ttmpd").scorer(piece).hurt(removed) == pytest.approx(product ** (1 / 3))


def test_practise_trains_for_as_many_steps_as_its_name_says() -> None:
    """On the stored features of all images, in an order that the seed draws."""
    piece = workpiece(seed=4)
    trained = get_method("practise-7")
    assert trained.name == "practise-7" and trained.per_saving
    got = trained.scorer(piece).hurt(frozenset(BLOCKS[1:2]))
    assert got == piece.practise(7).recoverability(BLOCKS[1]) != piece.practise(8).recoverability(BLOCKS[1])
    assert got != trained.scorer(workpiece(seed=5)).hurt(frozenset(BLOCKS[1:2]))


def test_practise_without_a_number_is_the_published_example(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Workpiece, "practise", lambda _, steps: asked.append(steps))
    get_method("practise").scorer(workpiece())
    assert asked == [1000]


@pytest.mark.parametrize("name", ["practise-", "practise-0", "practise-07", "practise--1", "practise-1.5"])
def test_practise_needs_a_number_of_steps(name: str) -> None:
    with pytest.raises(UserError, match=r"unknown method .*practise-N"):
        get_method(name)


def test_the_same_seed_heals_to_the_same_weights() -> None:
    labels = pseudo_labels(TinyResNet(), images(), keep_features=True)
    students = [remove_blocks(TinyResNet(), BLOCKS[:1]) for _ in range(3)]
    for student, seed in zip(students, (1, 1, 2), strict=True):
        heal(student, images(), labels, seed=seed, iterations=3)
    weights = [student.stem.weight for student in students]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_healing_is_the_stored_pseudo_labels_of_the_shared_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr("pruning.methods.finetune", lambda *words, **_: given.extend(words))
    labels = pseudo_labels(TinyResNet(), images(), keep_features=True)
    heal(TinyResNet(), images(), labels, seed=0, iterations=1)
    assert isinstance(given[-1], Stored)
    without = pseudo_labels(TinyResNet(), images(), keep_features=False)
    with pytest.raises(UserError, match="the pseudo labels were made without them"):
        heal(TinyResNet(), images(), without, seed=0, iterations=1)


def test_a_network_without_batch_norm_is_healed_at_a_lower_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr("pruning.methods.finetune", lambda *_, schedule, **__: rates.append(schedule.rate(0)))
    with_norm, without = TinyResNet(), TinyResNet()
    for block in without.layer:
        block.norm = torch.nn.Identity()
    for network in (with_norm, without):
        heal(network, images(), pseudo_labels(network, images(), keep_features=True), seed=0, iterations=1)
    assert rates == [HEALING_RATE, HEALING_RATE_WITHOUT_NORM]


def test_an_unknown_method_is_told_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown method 'ttmd'\. Did you mean 'ttmpd' or 'ttmpd-once'\?"):
        get_method("ttmd")
    with pytest.raises(UserError, match=r"Did you mean 'epsd-structured'"):
        get_method("epsd-strctured")
