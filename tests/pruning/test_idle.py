from __future__ import annotations

import pytest
import torch
from tiny_networks import BLOCKS, TinyResNet, images, state_of
from torch import Tensor, nn

from pruning.idle import Front, listening, standing_idle


class Odd(nn.Module):
    """Modules that give two shapes, whole numbers, a pair, or the same whatever the images."""

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Table(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(1, 4)

    class Count(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.argmax(1)

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.pair, self.table, self.count = nn.Identity(), self.Pair(), self.Table(), self.Count()
        self.end, self.tail = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        self.twice(x[:, :1])
        self.pair(self.twice(x))
        return self.tail(self.end(x * self.count(x)[:, None].float() + self.table(x)))


def test_only_what_gives_one_shape_of_numbers_for_each_image_stands_idle() -> None:
    model = Odd()
    with listening(model) as calls:
        model(torch.rand(3, 4))
    assert calls.front(model.end).idle == {}
    assert calls.front(model.tail).idle == {model.end: (4,)}


def test_what_runs_again_behind_the_block_does_not_stand_idle() -> None:
    model = TinyResNet().eval()
    shared = nn.ReLU()
    model.stem, model.linear = nn.Sequential(model.stem, shared), nn.Sequential(model.linear, shared)
    with listening(model) as calls:
        model(images(5))
        model(images(3))
    front = calls.front(model.layer[1])
    inside = {*model.layer[0].modules(), *model.layer[1].children()}
    assert set(front.idle) == inside | {model.stem, model.stem[0]}
    assert front.idle[model.stem] == (8, 6, 6)


def test_a_block_gives_what_is_known_and_what_runs_before_it_one_number() -> None:
    model = TinyResNet().eval()
    state = state_of(model)
    x = images(5)
    with torch.no_grad():
        before = model(x)
        with listening(model) as calls:
            model(x[:2])
        known = model.layer[0](model.stem(x))
        with standing_idle(calls.front(model.layer[0])) as show:
            show(known)
            torch.testing.assert_close(model(torch.full_like(x, torch.nan)), before)
            show(known[:2])
            torch.testing.assert_close(model(x[:2]), before[:2])
            assert torch.equal(model.stem(x), torch.zeros(2, 8, 6, 6))
        with standing_idle(calls.front(model.layer[0]), fill=7.0) as show:
            show(known)
            assert torch.equal(model.stem(x), torch.full((5, 8, 6, 6), 7.0))
    assert state_of(model) == state


def test_a_forward_of_an_instance_returns_also_after_an_error() -> None:
    model = TinyResNet().eval()
    own = model.stem.forward = model.stem.forward
    state = state_of(model)
    with pytest.raises(ZeroDivisionError), standing_idle(Front(model.layer[0], {model.stem: (8, 6, 6)})):
        raise ZeroDivisionError
    assert state_of(model) == state and vars(model.stem)["forward"] is own
    assert not any("forward" in vars(model.get_submodule(name)) for name in BLOCKS)
