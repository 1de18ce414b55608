from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from practise_networks import IMAGES, ResNet, TinyMobileNet, everything, scorer, skeleton_of
from tiny_networks import TinyResNet
from torch import Tensor, nn

from latency_tables.errors import UserError
from pruning.criteria.adaptors import Places, adaptors_in_place, find_places
from pruning.surgery import bypassed


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
