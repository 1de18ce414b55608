"""The training loop: what it learns, what it keeps, how it goes on, and what it refuses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from blobs import COUNT, Blobs
from early_networks import CLASSES, residual
from torch import Tensor, nn
from trainings import LABELLED, OBJECTIVES, REGIME, run, weights

from latency_tables.errors import LatheError, UserError
from pruning.early.criterion import prunable
from pruning.early.masks import random_like
from pruning.recovery.objective import CrossEntropy
from pruning.recovery.training import Regime, train


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_network_learns(objective: str) -> None:
    model = residual()
    done = run(model, objective)
    assert len(done.epochs) == REGIME.epochs
    assert done.epochs[-1].accuracy is not None
    assert done.epochs[-1].accuracy > 0.9
    assert done.epochs[-1].loss < done.epochs[0].loss
    assert not model.training


@pytest.mark.parametrize("bf16", [True, False])
def test_passes_are_in_the_arithmetic_asked_for_and_updates_in_float32(bf16: bool) -> None:
    model, seen = residual(), set()
    model.widen.register_forward_hook(lambda _, __, output: seen.add(output.dtype))
    run(model, regime=replace(REGIME, epochs=1, bf16=bf16))
    assert seen == {torch.bfloat16 if bf16 else torch.float32, torch.float32}  # the last look is in float32
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("channels_last", [True, False])
def test_weights_and_images_lie_as_asked_for(channels_last: bool) -> None:
    model, seen = residual(), set()

    def look(module: nn.Module, images: tuple[Tensor, ...], _: Tensor) -> None:
        if module.training:  # the last look is not a step
            seen.add(images[0].is_contiguous(memory_format=torch.channels_last))

    model.stem.register_forward_hook(look)
    run(model, regime=replace(REGIME, epochs=1, channels_last=channels_last))
    assert seen == {channels_last}
    assert model.stem.weight.is_contiguous(memory_format=torch.channels_last) is channels_last


def test_masked_weights_stay_zero_and_the_others_move() -> None:
    model = residual()
    before = {name: weight.detach().clone() for name, weight in prunable(model).items()}
    masks = random_like(
        {name: torch.rand(w.shape) < 0.5 for name, w in before.items()}, torch.Generator().manual_seed(0)
    )
    run(model, masks=masks, regime=replace(REGIME, average=0.5))
    for name, weight in prunable(model).items():
        assert bool((weight[~masks[name]] == 0).all())
        assert bool((weight[masks[name]] != before[name][masks[name]]).all())


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        (
            {"wide.weight": torch.ones(8)},
            r"unknown weight of Residual among the masks 'wide\.weight'.*'widen\.weight'",
        ),
        (
            {"head.weight": torch.ones(8, CLASSES)},
            r"mask of head\.weight has shape \(8, 3\), and the weight \(3, 8\)",
        ),
        ({"head.weight": torch.zeros(CLASSES, 8)}, r"mask of head\.weight lets none of its 24 entries stay"),
    ],
)
def test_masks_that_do_not_fit_are_refused_before_anything_is_changed(
    masks: dict[str, Tensor], said: str
) -> None:
    model = residual()
    with pytest.raises(UserError, match=said):
        run(model, masks=masks)
    assert weights(model) == weights(residual())


@pytest.mark.parametrize("average", [0.4, 0.9])
def test_averaged_weights_are_kept_in_the_end(average: float) -> None:
    model = residual()
    after: list[dict[str, Tensor]] = []

    def keep(*_: object) -> None:
        after.append({name: value.clone() for name, value in model.state_dict().items()})

    run(model, regime=replace(REGIME, average=average), progress=keep)
    assert len(after) == 12
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            expected = after[0][name]  # the average begins with what the first step left
            for count, step in enumerate(after[1:], start=1):
                kept = min(average, (1 + count) / (10 + count))
                expected = kept * expected + (1 - kept) * step[name]
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
            assert not torch.equal(value, after[-1][name])


def test_a_short_training_is_not_averaged_with_its_start() -> None:
    """Of what the first of these steps left an average without a warm-up would keep 95.4 %."""
    model = residual()
    run(model, regime=replace(REGIME, average=0.999, epochs=16))
    said = model(Blobs().take(torch.arange(COUNT), 0)).argmax(1)
    assert float((said == Blobs().labels).float().mean()) > 0.9


def rates(regime: Regime) -> list[float]:
    """The rate of each step, as the weights of a network with a constant gradient tell."""
    seen: list[float] = []

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight * torch.ones(len(x), CLASSES)

    class Slope:
        name, second, needs_labels = "slope", CrossEntropy.second, False

        def loss(self, model: nn.Module, batch: object, share: float) -> Tensor:
            value: Tensor = model(batch.images).mean()  # type: ignore[attr-defined]
            seen.append(float(value.detach()))
            return value

        def identity(self) -> dict[str, Any]:
            return {}

        def state_dict(self) -> dict[str, Tensor]:
            return {}

        def load_state_dict(self, state: object) -> None:
            pass

    model = Constant()
    train(model, Blobs(), Slope(), regime=regime, seed=0)
    seen.append(float(model.weight.detach()))
    return [before - after for before, after in itertools.pairwise(seen)]


def test_schedules() -> None:
    bare = Regime(epochs=4, batch_size=6, learning_rate=1.0, momentum=0.0, weight_decay=0.0)
    cosine = rates(replace(bare, warmup=0.0))
    expected = [0.5 * (1 + math.cos(math.pi * step / 40)) for step in range(40)]
    assert cosine == pytest.approx(expected, abs=1e-5)
    both = rates(replace(bare, warmup=0.1))
    assert both[:4] == pytest.approx([0.1 + 0.9 * k / 4 for k in range(4)], abs=1e-5)
    assert both[4:] == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 36)) for k in range(36)], abs=1e-5)
    step = rates(replace(bare, warmup=0.1, schedule="step"))
    assert step[:4] == pytest.approx([0.1 + 0.9 * k / 4 for k in range(4)], abs=1e-5)
    assert step[4:20] == pytest.approx([1.0] * 16, abs=1e-5)
    assert step[20:30] == pytest.approx([0.1] * 10, abs=1e-5)
    assert step[30:] == pytest.approx([0.01] * 10, abs=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(LatheError, match=r"the loss is (nan|inf) in epoch \d of 4, step \d of 3"):
        run(residual(), regime=replace(REGIME, learning_rate=1e30), checkpoint=tmp_path / "c")


def test_a_loss_that_blows_up_without_an_end_ends_the_training_too(tmp_path: Path) -> None:
    file = tmp_path / "c"
    regime = Regime(epochs=20, batch_size=16, learning_rate=5.0, warmup=0.5, weight_decay=0.0)
    with pytest.raises(
        LatheError, match=r"diverged: the mean loss of epoch \d+ of 20 is .*that of the first was"
    ):
        train(Climbing(), Blobs(), CrossEntropy(), regime=regime, seed=0, checkpoint=file)


class Climbing(nn.Module):
    """Says ever more surely what is wrong: after so many passes as surely as the function says."""

    def __init__(self, sureness: Callable[[int], float] = float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.passes, self.sureness = 0, sureness

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        wrong = (x.mean((1, 2, 3)).round().long() + 2) % CLASSES  # a blob's mean tells its class, less one
        return self.sureness(self.passes) * nn.functional.one_hot(wrong, CLASSES) + self.weight


@pytest.mark.parametrize("epochs", [2, 4])
def test_a_last_epoch_that_blows_up_needs_no_second(epochs: int) -> None:
    steps = COUNT // REGIME.batch_size
    model = Climbing(lambda passes: 500.0 if passes > (epochs - 1) * steps else 1.0)
    with pytest.raises(LatheError, match=f"mean loss of epoch {epochs} of {epochs} is .*the first was"):
        run(model, regime=replace(REGIME, epochs=epochs))


def test_one_bad_epoch_that_is_made_good_is_none() -> None:
    steps = COUNT // REGIME.batch_size
    model = Climbing(lambda passes: 500.0 if steps < passes <= 2 * steps else 1.0)
    done = run(model, regime=replace(REGIME, epochs=3))
    assert done.epochs[1].loss > 10 * done.epochs[0].loss


def test_a_network_that_the_last_step_ruins_is_refused() -> None:
    regime = Regime(epochs=1, batch_size=COUNT, learning_rate=1e30, warmup=0.0)
    with pytest.raises(LatheError, match=r"outputs are not finite, learning rate 1e\+30"):
        run(residual(), regime=regime)


def test_progress_tells_loss_and_accuracy() -> None:
    said: list[tuple[int, int, str]] = []
    run(residual(), progress=lambda *words: said.append(words))
    assert [done for done, _, _ in said] == list(range(1, 13))
    assert {total for _, total, _ in said} == {12}
    assert said[-1][2].startswith("epoch 4 of 4, loss ")
    assert "accuracy" in said[-1][2]


def test_what_is_stored_needs_no_labels() -> None:
    blind = Blobs()
    blind.labels = None
    done = train(residual(), blind, OBJECTIVES["stored"](), regime=REGIME, seed=0)
    assert [epoch.accuracy for epoch in done.epochs] == [None] * REGIME.epochs
    assert done.epochs[-1].loss < done.epochs[0].loss


@pytest.mark.parametrize("objective", LABELLED)
def test_images_without_labels_or_of_one_class_are_refused(objective: str) -> None:
    blind = Blobs()
    blind.labels = None
    with pytest.raises(UserError, match="needs labels, and the images have none"):
        train(residual(), blind, OBJECTIVES[objective](), regime=REGIME, seed=0)
    same = Blobs(labels=torch.full((COUNT,), 2))
    with pytest.raises(UserError, match="all 60 images are of class 2"):
        train(residual(), same, OBJECTIVES[objective](), regime=REGIME, seed=0)


def test_one_image_is_refused_since_batch_norm_has_nothing_to_normalise() -> None:
    with pytest.raises(UserError, match="at least 2 images, got 1"):
        train(residual(), Blobs(1), CrossEntropy(), regime=REGIME, seed=0)


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 images, since batch norm"):
        Regime(batch_size=1)
