from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import TinyResNet, images
from torch import Tensor, nn

from latency_tables.errors import LatheError, UserError
from latency_tables.skeleton import Skeleton
from pruning.criteria import practise, prefix
from pruning.criteria.adaptors import Places, adaptors_in_place, find_places
from pruning.criteria.practise import PractiseCriterion
from pruning.features import forward_with_features
from pruning.outline import outline
from pruning.surgery import bypassed
from pruning.targets import Targets, pseudo_labels


class Basic(nn.Module):
    """The two-convolution block of ResNet-34, with a projection where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Three stages of 2, 3 and 2 blocks, 4, 6 and 8 channels wide; random weights and batch-norm statistics."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(4)
            self.relu = nn.ReLU(inplace=True)
            self.layer1 = nn.Sequential(Basic(4, 4, 1), Basic(4, 4, 1))
            self.layer2 = nn.Sequential(Basic(4, 6, 2), Basic(6, 6, 1), Basic(6, 6, 1))
            self.layer3 = nn.Sequential(Basic(6, 8, 2), Basic(8, 8, 1))
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(8, 5)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.running_mean, -0.3, 0.3)
                    nn.init.uniform_(module.running_var, 0.5, 1.5)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.bn1(self.conv1(x)))  # in place on what a module gave
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.pool(x).flatten(1))


class Inverted(nn.Module):
    """MobileNetV2's unit: expand, depthwise, project without activation; adds where the shape is kept."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(channels, 12, 1), nn.BatchNorm2d(12), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.ReLU6())
        self.project = nn.Conv2d(12, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.adds = channels == width

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.project(self.depthwise(self.expand(x))))
        return x + out if self.adds else out


class TinyMobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(4)
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU6())
            widths = ((4, 6), (6, 6), (6, 6), (6, 8), (8, 8), (8, 10))
            self.units = nn.Sequential(*(Inverted(*pair) for pair in widths))
            self.head = nn.Conv2d(10, 16, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.head(self.units(self.stem(x)))).mean((2, 3))


IMAGES = images(10, 8)


def skeleton_of(model: nn.Module) -> Skeleton:
    return outline("tiny", model, (3, 8, 8), 2).skeleton


def scorer(model: nn.Module, iterations: int = 20, **changes: Any) -> PractiseCriterion:
    targets = pseudo_labels(model, IMAGES, keep_features=True)
    settings: dict[str, Any] = {"seed": 5, "batch_size": 4, "learning_rate": 0.1} | changes
    return PractiseCriterion(model, IMAGES, targets, skeleton_of(model), iterations=iterations, **settings)


def test_places_of_a_resnet_with_projections() -> None:
    """By the description: the last convolution of earlier blocks and the stage's downsample convolution; the first
    convolution of later blocks and of the next stage's first block, and its downsample convolution. Nothing behind
    the stem."""
    skeleton = skeleton_of(ResNet())
    expected = {
        "layer1.0": (set(), ["layer1.1.conv1", "layer2.0.conv1", "layer2.0.downsample.0"]),
        "layer1.1": ({"layer1.0.conv2"}, ["layer2.0.conv1", "layer2.0.downsample.0"]),
        "layer2.1": (
            {"layer2.0.conv2", "layer2.0.downsample.0"},
            ["layer2.2.conv1", "layer3.0.conv1", "layer3.0.downsample.0"],
        ),
        "layer2.2": (
            {"layer2.1.conv2", "layer2.0.conv2", "layer2.0.downsample.0"},
            ["layer3.0.conv1", "layer3.0.downsample.0"],
        ),
        "layer3.1": ({"layer3.0.conv2", "layer3.0.downsample.0"}, []),
    }
    assert set(skeleton.removable) == set(expected)
    for block, (outputs, inputs) in expected.items():
        places = find_places(skeleton, block)
        assert (set(places.outputs), list(places.inputs)) == (outputs, inputs)
        assert len(places.outputs) == len(outputs)


def test_places_of_inverted_residuals() -> None:
    """The projection of preceding units of the same width; the expansion up to the first whose width differs."""
    skeleton = skeleton_of(TinyMobileNet())
    assert skeleton.removable == ("units.1", "units.2", "units.4")

    def places(block: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        found = find_places(skeleton, block)
        return found.outputs, found.inputs

    assert places("units.1") == (("units.0.project",), ("units.2.expand.0", "units.3.expand.0"))
    assert places("units.2") == (("units.1.project", "units.0.project"), ("units.3.expand.0",))
    assert places("units.4") == (("units.3.project",), ("units.5.expand.0",))


class Gated(nn.Module):
    """Normalises first, pads by hand, and gates its branch by squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Conv2d(4, 4, 3)
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.squeeze = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.last(F.relu(self.first(F.pad(F.relu(self.norm(x)), (0, 2, 0, 2)))))
        return x + out * self.squeeze(out.mean((2, 3), keepdim=True)).sigmoid()


class Blocks(nn.Module):
    """A bare convolution, blocks, the mean over the map."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.Sequential(*blocks)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x)).mean((2, 3))


def test_the_way_to_a_convolution_leads_through_norms_padding_and_gates() -> None:
    skeleton = skeleton_of(Blocks(*(Gated() for _ in range(4))))
    first, second, *_ = (find_places(skeleton, block) for block in skeleton.removable)
    assert first.outputs == ("stem",)
    assert first.inputs == ("blocks.1.first", "blocks.2.first", "blocks.3.first")
    assert second.outputs == ("blocks.0.last", "stem")
    assert second.inputs == first.inputs[1:]


class PooledHead(Blocks):
    def __init__(self) -> None:
        super().__init__(Gated(), Gated())
        self.head = nn.Conv2d(4, 4, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3), keepdim=True)).flatten(1)


def test_a_convolution_behind_the_final_pooling_is_no_next_stage() -> None:
    assert find_places(skeleton_of(PooledHead()), "blocks.1").inputs == ()


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.linear(x))


class Mixer(Gated):
    """Begins with a linear layer over the channels; only its last convolution is one."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.mix(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


@pytest.mark.parametrize("block", [Perceptron(), Mixer()])
def test_blocks_without_convolutions_are_refused(block: nn.Module) -> None:
    with pytest.raises(UserError, match=r"block 'blocks\.1' of tiny has no convolution there"):
        scorer(Blocks(Gated(), block, Gated()))


class Functional(nn.Module):
    """A convolution without a module around its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Blocks(Gated())
        self.weight = nn.Parameter(torch.ones(4, 4, 1, 1))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self.body.blocks(self.body.stem(x)), self.weight).mean((2, 3))


class Again(Functional):
    """A convolution that is called twice."""

    def forward(self, x: Tensor) -> Tensor:
        first = self.body.blocks[0].first
        return first(first(F.relu(self.body.blocks(self.body.stem(x))))).mean((2, 3))


@pytest.mark.parametrize(("model", "reason"), [(Functional(), "is none"), (Again(), "several times")])
def test_a_convolution_that_is_no_module_of_its_own_is_refused(model: nn.Module, reason: str) -> None:
    before = everything(model)
    with pytest.raises(UserError, match=reason):
        scorer(model).recoverability("body.blocks.0")
    assert everything(model) == before


@pytest.mark.parametrize("model", [ResNet(), TinyMobileNet(), TinyResNet().eval()])
def test_adaptors_begin_as_the_identity_and_leave_nothing_behind(model: nn.Module) -> None:
    skeleton = skeleton_of(model)
    state = torch.get_rng_state()
    with torch.no_grad():
        for block in skeleton.removable:
            with bypassed(model, [block]):
                plain = model(IMAGES)
                places = find_places(skeleton, block)
                with adaptors_in_place(model, places) as adaptors:
                    torch.testing.assert_close(model(IMAGES), plain, atol=1e-5, rtol=1e-5)
                    assert len(adaptors) == len(places.outputs) + len(places.inputs)
                    for adaptor in adaptors:
                        adaptor.weight.mul_(2.0)
                        assert not torch.allclose(model(IMAGES), plain)
                        adaptor.weight.div_(2.0)
                assert torch.equal(model(IMAGES), plain)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_adaptor_stands_before_the_batch_norm_and_before_the_input() -> None:
    model = ResNet()
    block = model.layer2[0]
    with (
        torch.no_grad(),
        adaptors_in_place(model, Places(("layer2.0.conv2",), ("layer2.0.conv1",), 0)) as pair,
    ):
        behind, before = pair
        behind.weight.mul_(3.0)
        before.weight.mul_(-1.0)
        x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        got = block(x)
    with torch.no_grad():
        hidden = F.relu(block.bn1(block.conv1(-x)))
        wanted = F.relu(block.bn2(3.0 * block.conv2(hidden)) + block.downsample(x))
    torch.testing.assert_close(got, wanted)


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


def everything(model: nn.Module) -> list[Any]:
    bits = [value.numpy().tobytes() for value in model.state_dict().values()]
    flags = [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    modules = [
        (path, id(module), module.training, list(module.__dict__), len(module._forward_hooks))
        for path, module in model.named_modules()
    ]
    return [bits, flags, modules]


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
