from __future__ import annotations

import pytest
import torch
from tiny_networks import BLOCKS, TinyResNet, images

from latency_tables.errors import UserError
from pruning.adaptation import adapt_statistics
from pruning.criteria.damage import Damage
from pruning.methods import HEALING_LOSS, METHODS, get_method, heal, joint_hurt
from pruning.recovery.finetune import Schedule
from pruning.surgery import remove_blocks
from pruning.targets import pseudo_labels


class PerBlock:
    """The blocks save 1, 2, 3 and 4 of 11 seconds."""

    def latency_s(self, removed: frozenset[str]) -> float:
        return 11.0 - sum(1.0 + BLOCKS.index(block) for block in removed)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_from_end_to_end(name: str) -> None:
    method = get_method(name)
    model = TinyResNet()
    teacher = adapt_statistics(model, images(48)).model
    labels = pseudo_labels(teacher, images(48), keep_features=HEALING_LOSS.needs_features)
    scorer = method.scorer(teacher, images(48), BLOCKS, seed=3, scoring_images=20)
    chosen = method.select(scorer, BLOCKS, PerBlock(), 5.0)
    assert chosen.predicted_s <= 5.0
    assert (chosen.hurt is None) == (not scorer.needs_images)
    scored = scorer.scored
    assert method.select(scorer, BLOCKS, PerBlock(), 5.0) == chosen and scorer.scored == scored
    student = remove_blocks(teacher, chosen.removed)
    done = heal(student, images(48), labels, seed=3, schedule=Schedule(iterations=30, batch_size=16))
    assert done.losses[-1] < done.losses[0]
    with torch.no_grad():
        assert student(images(4)).shape == (4, 3)
        torch.testing.assert_close(teacher(images(48)), labels.logits)  # nothing touched the teacher


def test_the_controls_choose_as_they_say() -> None:
    def removed(name: str, seed: int = 0, budget_s: float = 0.5) -> tuple[str, ...]:
        method = get_method(name)
        scorer = method.scorer(TinyResNet(), images(), BLOCKS, seed=seed)
        return method.select(scorer, BLOCKS, PerBlock(), budget_s + 1.0).removed

    assert removed("last") == BLOCKS[::-1]
    assert len({removed("random", seed) for seed in range(8)}) > 3
    assert removed("random", 5) == removed("random", 5)


def test_only_ttmpd_weighs_by_saving() -> None:
    assert [name for name, method in METHODS.items() if method.per_saving] == ["ttmpd"]
    assert get_method("ttmpd").criterion is get_method("ttmpd-no-latency").criterion


def test_scoring_looks_at_the_first_images_only() -> None:
    torch.manual_seed(0)
    teacher = TinyResNet()
    x = images(48)
    changed = torch.cat([x[:20], torch.randn_like(x[20:])])
    hurts = [
        get_method("ttmpd")
        .scorer(teacher, given, BLOCKS, seed=0, scoring_images=20)
        .hurt(frozenset(BLOCKS[:1]))
        for given in (x, changed, changed.flip(0))
    ]
    assert hurts[0] == hurts[1] != hurts[2]


def test_the_joint_is_the_geometric_mean() -> None:
    assert joint_hurt(Damage(kl=7.0, calibrated_kl=0.5, features=0.02)) == pytest.approx(0.1)


def test_the_same_seed_heals_to_the_same_weights() -> None:
    labels = pseudo_labels(TinyResNet(), images(), keep_features=True)
    students = [remove_blocks(TinyResNet(), BLOCKS[:1]) for _ in range(3)]
    for student, seed in zip(students, (1, 1, 2), strict=True):
        heal(student, images(), labels, seed=seed, schedule=Schedule(iterations=3, batch_size=4))
    weights = [student.stem.weight for student in students]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_an_unknown_method_lists_the_known() -> None:
    with pytest.raises(UserError, match=r"unknown method 'ttmd'\. Did you mean 'ttmpd'.*last, random"):
        get_method("ttmd")
