from __future__ import annotations

import copy

import pytest
import torch
from tiny_networks import BLOCKS, TinyResNet, images, state_of
from torch import Tensor, nn

from pruning.criteria.gradient import GradientCriterion
from pruning.passes import Passes
from pruning.surgery import remove_blocks

IMAGES = images(11)


def criterion(model: nn.Module, x: Tensor = IMAGES, size: int = 6) -> GradientCriterion:
    return GradientCriterion(model, x, Passes(model, x, BLOCKS, batch_size=size), batch_size=size)


def by_hand(removed: tuple[str, ...]) -> float:
    """KL of batches of 6 and 5 images, batch norm in training mode on copies, one loss, one backward pass."""
    teacher, student = TinyResNet().train(), remove_blocks(TinyResNet(), removed).train()
    teacher.drop, student.drop = nn.Identity(), nn.Identity()
    loss = torch.zeros(())
    for batch in (IMAGES[:6], IMAGES[6:]):
        wanted = teacher(batch).detach().softmax(1)
        loss = loss + (wanted * (wanted.log() - student(batch).log_softmax(1))).sum() / 11
    loss.backward()
    grads = [parameter.grad for parameter in student.parameters() if parameter.grad is not None]
    return loss.item() / sum(float(grad.square().sum()) for grad in grads)


@pytest.mark.parametrize("removed", [BLOCKS[:1], BLOCKS[3:], BLOCKS[1:3], BLOCKS])
def test_loss_over_squared_gradient_of_two_batches(removed: tuple[str, ...]) -> None:
    assert criterion(TinyResNet()).hurt(frozenset(removed)) == pytest.approx(by_hand(removed), rel=1e-3)


def test_frozen_parameters_count_and_stay_frozen_also_after_an_error() -> None:
    model = TinyResNet()
    model.stem.requires_grad_(False)
    model.train()
    model.linear.weight.grad = torch.ones(3, 8)
    score = criterion(model)
    before = state_of(model)
    expected = by_hand(BLOCKS[:1])
    with torch.no_grad():  # whatever the caller does
        assert score.hurt(frozenset(BLOCKS[:1])) == pytest.approx(expected, rel=1e-3)
    assert state_of(model) == before

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    hook = model.linear.register_forward_hook(broken)
    with pytest.raises(ZeroDivisionError):
        score.hurt(frozenset(BLOCKS[:1]))
    hook.remove()
    assert state_of(model) == before


def test_where_nothing_moves_there_is_nothing_to_recover() -> None:
    model = TinyResNet()
    assert criterion(model).hurt(frozenset()) == 0.0
    still = copy.deepcopy(model)
    nn.init.zeros_(still.layer[2].norm.weight)  # the block adds nothing to what already went through a ReLU
    nn.init.zeros_(still.layer[2].norm.bias)
    assert criterion(still).hurt(frozenset({"layer.2"})) == 0.0
