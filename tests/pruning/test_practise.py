from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from practise_networks import IMAGES, Basic, ResNet, TinyMobileNet, everything, scorer, skeleton_of
from torch import Tensor, nn

from latency_tables.errors import LatheError, UserError
from pruning.criteria import practise, prefix
from pruning.criteria.adaptors import Places, find_places
from pruning.criteria.practise import PractiseCriterion
from pruning.features import forward_with_features
from pruning.surgery import bypassed
from pruning.targets import Targets, pseudo_labels


def by_hand(block: str, outputs: list[str], inputs: list[str], iterations: int) -> float:
    """The description, written out: a copy without the block, adaptors as modules beside their convolutions, the
    teacher run along in each step."""
    teacher = ResNet().requires_grad_(False)
    student = copy.deepcopy(teacher)
    adaptors = []

    def put(path: str, made: Callable[[nn.Conv2d, nn.Conv2d], nn.Module], channels: str) -> None:
        parent, _, leaf = path.rpartition(".")
        convolution = student.get_submodule(path)
        width = getattr(convolution, channels)
        adaptor = nn.Conv2d(width, width, 1, bias=False)
        adaptor.weight.data = torch.eye(width)[:, :, None, None]
        adaptors.append(adaptor)
        setattr(student.get_submodule(parent), leaf, made(convolution, adaptor))

    for path in outputs:
        put(path, lambda convolution, adaptor: nn.Sequential(convolution, adaptor), "out_channels")
    for path in inputs:
        put(path, lambda convolution, adaptor: nn.Sequential(adaptor, convolution), "in_channels")
    stage, _, place = block.partition(".")
    student.get_submodule(stage)[int(place)] = nn.Identity()
    student.eval()

    def pre_pool(model: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(model.bn1(model.conv1(x)))
        return model.layer3(model.layer2(model.layer1(x)))

    weights = [adaptor.weight for adaptor in adaptors]
    momenta = [torch.zeros_like(weight) for weight in weights]
    draws = torch.Generator().manual_seed(5)
    waiting: list[int] = []
    for step in range(iterations):
        if len(waiting) < 4:
            waiting += torch.randperm(10, generator=draws).tolist()
        batch, waiting = waiting[:4], waiting[4:]
        rate = 0.1 * (1.0 if step < 0.4 * iterations else 0.1 if step < 0.8 * iterations else 0.01)
        loss = (pre_pool(student, IMAGES[batch]) - pre_pool(teacher, IMAGES[batch])).square().mean()
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, momentum, gradient in zip(weights, momenta, gradients, strict=True):
                momentum.mul_(0.9).add_(gradient + 1e-4 * weight)
                weight.sub_(rate * momentum)
    with torch.no_grad():
        return float((pre_pool(student, IMAGES) - pre_pool(teacher, IMAGES)).square().mean())


HAND = {
    "layer1.0": ([], ["layer1.1.conv1", "layer2.0.conv1", "layer2.0.downsample.0"]),
    "layer2.2": (
        ["layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv2"],
        ["layer3.0.conv1", "layer3.0.downsample.0"],
    ),
    "layer3.1": (["layer3.0.conv2", "layer3.0.downsample.0"], []),
}


@pytest.mark.parametrize("block", HAND)
def test_recoverability_is_that_of_the_description_written_out(block: str) -> None:
    got = scorer(ResNet()).recoverability(block)
    assert got == pytest.approx(by_hand(block, *HAND[block], 20), rel=1e-4)
    assert got < 0.98 * by_hand(block, *HAND[block], 0)  # twenty steps move far more than the tolerance


def test_no_iterations_give_the_plain_distance() -> None:
    model = ResNet()
    criterion = scorer(model, iterations=0)
    with torch.no_grad():
        wanted = forward_with_features(model, IMAGES)[0]
        for block in ("layer1.0", "layer2.1", "layer3.1"):
            with bypassed(model, [block]):
                got = forward_with_features(model, IMAGES)[0]
            assert criterion.recoverability(block) == pytest.approx(float(F.mse_loss(got, wanted)), rel=1e-4)


class Shared(ResNet):
    """The same module stands in front of the prefix's end and behind it; there it changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.relu(self.bn1(self.conv1(x))))
        x = self.layer3(self.relu(self.layer2(self.relu(x))))
        return self.fc(self.pool(x).flatten(1))


def test_a_block_alone_between_stem_and_head_has_nothing_to_train() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), Basic(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    assert find_places(skeleton_of(model), "2") == Places((), (), 2)
    assert (
        scorer(model, iterations=5).recoverability("2")
        == scorer(model, iterations=0).recoverability("2")
        > 0.0
    )


@pytest.mark.parametrize("model", [ResNet(), Shared(), TinyMobileNet()])
def test_playing_back_the_prefix_changes_nothing(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = scorer(model)
    slow = scorer(model)
    blocks = [
        block for block in skeleton_of(model).removable if block not in ("layer1.0", "layer1.1", "units.1")
    ]
    for block in blocks:
        got = quick.recoverability(block)
        with monkeypatch.context() as patch:
            patch.setattr(practise, "last_unchanged", lambda *_: None)
            assert slow.recoverability(block) == pytest.approx(got, rel=1e-5)


def test_the_prefix_is_not_run_while_training() -> None:
    model = ResNet()
    calls: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    criterion = scorer(model)
    calls.clear()
    criterion.recoverability("layer3.1")
    assert calls.count("layer3.0.conv1") == 22  # remembered once, twenty steps, once for R
    assert calls.count("layer2.2.conv2") == calls.count("layer1.0.conv1") == 1
    # Hooks of a module that only pretends to run see it: that of the stem alone, the others stand inside stages.
    calls.clear()
    criterion.recoverability("layer1.1")
    assert calls.count("layer1.0.conv1") == 21


def test_blocks_of_a_stage_share_their_prefix_and_stages_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def watched(model: nn.Module, block: str, images: Tensor) -> prefix.Prefix | None:
        asked.append(block)
        return prefix.remember(model, block, images)

    monkeypatch.setattr(practise, "remember", watched)
    criterion = scorer(ResNet(), iterations=1)
    for block in ("layer1.0", "layer1.1", "layer2.1", "layer2.2", "layer3.1"):
        criterion.recoverability(block)
    assert asked == ["layer1.1", "layer2.2"]


def test_a_path_around_a_block_is_seen() -> None:
    class Around(ResNet):
        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.bn1(self.conv1(x)))
            first = self.layer1(x)
            second = self.layer2(first)
            second = second + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
            return self.fc(self.pool(self.layer3(second)).flatten(1))

    plain, around = skeleton_of(ResNet()), skeleton_of(Around())
    assert prefix.last_unchanged(plain, find_places(plain, "layer2.1").first) == "layer1.1"
    assert prefix.last_unchanged(around, find_places(around, "layer2.1").first) is None
    assert prefix.last_unchanged(plain, find_places(plain, "layer1.1").first) is None


def test_a_prefix_too_large_to_remember_is_run() -> None:
    model = ResNet()
    bytes_ = 10 * 4 * 8 * 8 * 4
    with torch.no_grad():
        assert prefix.remember(model, "layer1.1", IMAGES, limit_bytes=bytes_ - 1) is None
        kept = prefix.remember(model, "layer1.1", IMAGES, limit_bytes=bytes_, batch_size=3)
        assert kept is not None
        torch.testing.assert_close(
            kept.outputs, model.layer1(F.relu(model.bn1(model.conv1(IMAGES)))), atol=1e-5, rtol=1e-5
        )


def test_the_network_is_left_as_it_was_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ResNet()
    criterion = scorer(model, iterations=3)
    model.train()
    model.layer2[1].bn1.eval()
    model.fc.weight.requires_grad_(False)
    model.layer1[0].forward = model.layer1[0].forward  # an instance may carry a forward of its own
    before = everything(model)
    criterion.recoverability("layer2.2")
    assert everything(model) == before

    def broken(*_: Any) -> Tensor:
        raise RuntimeError("half way")

    monkeypatch.setattr(practise.F, "mse_loss", broken)
    with pytest.raises(RuntimeError, match="half way"):
        criterion.recoverability("layer3.1")
    assert everything(model) == before


def test_hurt_of_a_set_is_the_sum_and_nothing_is_trained_twice() -> None:
    criterion = scorer(ResNet(), iterations=2)
    first, second = criterion.recoverability("layer2.1"), criterion.recoverability("layer3.1")
    criterion._train = None  # type: ignore[assignment,method-assign]  # a second training would fail
    assert criterion.hurt(frozenset({"layer2.1", "layer3.1"})) == pytest.approx(first + second)
    assert criterion.hurt(frozenset()) == 0.0
    assert criterion.name == "practise" and criterion.needs_images


def test_a_score_does_not_depend_on_what_was_asked_before() -> None:
    alone = scorer(ResNet(), iterations=5).recoverability("layer3.1")
    criterion = scorer(ResNet(), iterations=5)
    with torch.no_grad():
        criterion.recoverability("layer1.0")
        assert criterion.recoverability("layer3.1") == alone
    assert scorer(ResNet(), iterations=5, seed=6).recoverability("layer3.1") != alone


def test_divergence_is_an_error_that_names_block_and_step() -> None:
    with pytest.raises(LatheError, match=r"block 'layer2.1' diverged.* iteration \d+ of 50"):
        scorer(ResNet(), iterations=50, learning_rate=1e12).recoverability("layer2.1")


def test_wrong_questions() -> None:
    model = ResNet()
    with pytest.raises(UserError, match=r"layer2\.0"):
        scorer(model).recoverability("layer2.0")
    targets = pseudo_labels(model, IMAGES, keep_features=True)
    for wrong in (Targets(targets.logits, None), targets.take(slice(0, 3))):
        with pytest.raises(ValueError, match="features"):
            PractiseCriterion(model, IMAGES, wrong, skeleton_of(model), iterations=1, seed=0)
    assert math.isfinite(scorer(model, iterations=1, batch_size=64).recoverability("layer3.1"))
