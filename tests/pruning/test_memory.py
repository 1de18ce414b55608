"""What a scoring would keep is known before it is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from early_networks import IMAGES, OBJECTIVES, batch, residual
from torch import Tensor, nn

from latency_tables.errors import UserError
from pruning.early.criterion import scored
from pruning.early.epsd import Epsd
from pruning.early.memory import foreseen_bytes, kept_bytes, require_room
from pruning.early.meta_gradient import Inner


def test_what_is_kept_is_counted_once() -> None:
    x = torch.ones(1000, requires_grad=True)

    def square_twice() -> tuple[Tensor, Tensor]:
        return x * x, x * x

    assert kept_bytes(square_twice) == 4000
    assert kept_bytes(lambda: x + x) == 0


def squares(count: int) -> Tensor:
    """Keeps a weight of 100 bytes, and 400 bytes for each image."""
    weight = torch.ones(25, requires_grad=True)
    images = torch.ones(count, 100)
    return (weight * weight).sum() * images.requires_grad_().exp()


def test_the_whole_is_foreseen_from_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = 3 * (100 + 4 + 20 * 400)  # and the sum of the squares
    assert foreseen_bytes(squares, 20, 3) == kept
    needed = round(1.25 * kept)
    monkeypatch.setattr("pruning.early.memory.free_bytes", lambda: needed)
    require_room("epsd", squares, 20, 3)
    monkeypatch.setattr("pruning.early.memory.free_bytes", lambda: needed - 1)
    with pytest.raises(
        UserError, match=r"epsd keeps 3 passes over 20 images .* about 0\.0 GB .* 0\.0 GB are free"
    ):
        require_room("epsd", squares, 20, 3)


def test_as_few_images_as_are_looked_at_are_scored_at_once() -> None:
    def refuse(_: int) -> None:
        raise AssertionError("a look was taken")

    require_room("epsd", refuse, 4, 1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_is_foreseen_is_what_is_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held against all that autograd keeps until the last derivative is taken.

    More is foreseen: the last pass has no derivatives yet, and DLB's first step no batch before it.
    """
    given, foreseen = batch((3, 24, 24)), []
    place = "pruning.early.meta_gradient.require_room"

    def look(_: str, step: Callable[[int], object], images: int, steps: int) -> None:
        foreseen.append(foreseen_bytes(step, images, steps))

    monkeypatch.setattr(place, look)
    Epsd(OBJECTIVES[name]).scores(residual(), given, 0.5)
    monkeypatch.setattr(place, lambda *_: None)
    whole = kept_bytes(lambda: Epsd(OBJECTIVES[name]).scores(residual(), given, 0.5))
    assert whole < foreseen[0] < 1.4 * whole


def test_a_scoring_that_does_not_fit_is_refused_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruning.early.memory.free_bytes", lambda: 100_000)
    with pytest.raises(
        UserError, match=rf"epsd keeps 4 passes over {IMAGES} images .*Inner\(first_order=True\)"
    ):
        Epsd(OBJECTIVES["cs-kd"]).scores(residual(), batch(), 0.5)
    Epsd(OBJECTIVES["cs-kd"], Inner(first_order=True)).scores(residual(), batch(), 0.5)


def test_a_look_leaves_the_networks_luck_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Dropout(0.5), residual())
    looked = scored(Epsd(OBJECTIVES["cs-kd"]), model, batch(), 0.5, 0)
    monkeypatch.setattr("pruning.early.meta_gradient.require_room", lambda *_: None)
    blind = scored(Epsd(OBJECTIVES["cs-kd"]), model, batch(), 0.5, 0)
    assert all(torch.equal(looked[name], blind[name]) for name in looked)
