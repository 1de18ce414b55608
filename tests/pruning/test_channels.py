"""Channel groups of real families: found, cut for real, and the sizes that follow."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.workloads.zoo import create
from latency_tables.errors import LatheError, UserError
from latency_tables.family import families, form
from latency_tables.widths import ChannelGroup
from pruning.channels import TOLERANCE, find_groups, masked, narrow
from pruning.outline import Outline, outline
from pruning.widths import with_groups


class Dense(nn.Module):
    """Concatenation, a gate, and a flattened map in front of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.more = nn.Sequential(nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.squeeze = nn.Conv2d(14, 5, 1)
        self.excite = nn.Conv2d(5, 14, 1)
        self.deep = nn.Conv2d(14, 14, 3, padding=1, groups=14)
        self.last = nn.Conv2d(14, 7, 1)
        self.head = nn.Linear(7 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.more(x)], 1)
        x = x * self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))).sigmoid()
        x = F.relu(self.last(self.deep(x)))
        return self.head(F.avg_pool2d(x, 2).flatten(1))


class PaddedShortcut(nn.Module):
    """A stream that is padded with zero channels, as in option A of the residual network's paper."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.outer = nn.Conv2d(12, 16, 3, padding=1)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        x = F.relu(self.outer(F.relu(self.inner(x))) + short)
        return self.head(x.mean((2, 3)))


def trained(model: nn.Module) -> nn.Module:
    """With statistics and scales as after training, so that no channel is like another."""
    drawn = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=drawn)
            module.running_var.uniform_(0.5, 1.5, generator=drawn)
    for name, parameter in model.named_parameters():
        if name.endswith(("gamma", "scale")):  # layer scales start at one millionth
            parameter.data.uniform_(0.5, 1.5, generator=drawn)
        elif not parameter.any():  # as the last norm of a residual branch, which hides its channels
            parameter.data.normal_(0, 0.2, generator=drawn)
    return model.eval()


def vision_transformer() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, num_classes=10)


def convnext() -> nn.Module:
    from timm.models.convnext import ConvNeXt

    return ConvNeXt(depths=(1, 1, 1, 1), dims=(16, 24, 32, 40), num_classes=10)


def mixer() -> nn.Module:
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(img_size=32, patch_size=8, embed_dim=48, num_blocks=2, num_classes=10)


FAMILIES: dict[str, tuple[Callable[[], nn.Module], int, set[str], int]] = {
    # name: (make, image size, what the frozen ones must name, how many groups may vary)
    "resnet18": (lambda: create("resnet18"), 32, {"fc"}, 12),
    "mobilenetv2": (lambda: create("mobilenetv2_050"), 32, {"classifier"}, 25),
    "squeeze and excite": (lambda: create("mobilenetv3_small_050"), 32, {"classifier"}, 26),
    "se resnet": (lambda: create("seresnet18"), 32, {"fc"}, 20),
    "repvgg": (lambda: create("repvgg_a0"), 32, {"head.fc"}, 5),
    "efficientnet": (lambda: create("efficientnet_b0"), 32, {"classifier"}, 40),
    "poolformer": (lambda: create("poolformer_s12"), 32, {"head.fc", "stem.conv"}, 12),
    "mixer": (mixer, 32, {"head", "blocks.0.mlp_tokens.fc2"}, 4),
    "convnext": (convnext, 32, {"stem.0", "head.fc"}, 4),
    "vit": (vision_transformer, 32, {"patch_embed.proj", "blocks.0.attn.qkv"}, 2),
    "dense": (Dense, 8, {"head"}, 4),
    "padded shortcut": (PaddedShortcut, 8, {"head", "stem"}, 1),
}


@dataclass(frozen=True)
class Case:
    model: nn.Module
    example: Tensor
    frozen: set[str]
    free: int

    @cached_property
    def outline(self) -> Outline:
        shape = tuple(self.example.shape[1:])
        return with_groups(outline("net", self.model, shape, 2), self.model, shape, 2)

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        return self.outline.skeleton.groups

    def halves(self, seed: int) -> dict[str, list[int]]:
        drawn = torch.Generator().manual_seed(seed)
        return {
            group.name: sorted(
                torch.randperm(group.channels, generator=drawn)[: group.channels // 2].tolist()
            )
            for group in self.groups
            if group.frozen is None
        }


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Case:
    create("resnet18")  # timm can be imported from here on
    make, size, frozen, free = FAMILIES[request.param]
    torch.manual_seed(0)
    return Case(trained(make()), torch.randn(2, 3, size, size), frozen, free)


def test_what_may_vary_and_why_the_rest_may_not(case: Case) -> None:
    assert sum(group.frozen is None for group in case.groups) == case.free
    assert case.frozen <= {group.name for group in case.groups if group.frozen is not None}
    names = {group.name for group in case.groups}
    assert [group.name for group in case.groups] == [n for n, _ in case.model.named_modules() if n in names]


def test_the_narrower_network_is_the_masked_one(case: Case) -> None:
    before = {name: value.clone() for name, value in case.model.state_dict().items()}
    keep = case.halves(3)
    smaller = narrow(case.model, case.example, keep)
    with torch.no_grad():
        whole = case.model(case.example)
        with masked(case.model, case.example, keep):
            wanted = case.model(case.example)
        got = smaller(case.example)
    assert float((got - wanted).abs().max() / wanted.abs().max()) <= TOLERANCE
    assert float((whole - wanted).abs().max() / wanted.abs().max()) > 100 * TOLERANCE  # something was hidden
    assert sum(p.numel() for p in smaller.parameters()) < 0.9 * sum(
        p.numel() for p in case.model.parameters()
    )
    after = case.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_skeleton_at_other_widths_is_that_of_the_narrower_network(case: Case) -> None:
    keep = case.halves(4)
    widths = {name: len(kept) for name, kept in keep.items()}
    there = case.outline.skeleton.narrowed(widths)
    smaller = narrow(case.model, case.example, keep)
    wanted = outline("net", smaller, tuple(case.example.shape[1:]), 2).skeleton
    assert there.graph == wanted.graph
    assert [layer.part.key for layer in there.layers] == [layer.part.key for layer in wanted.layers]
    assert [block.part.key for block in there.blocks] == [block.part.key for block in wanted.blocks]
    graph, weights = case.outline.without((), widths)
    assert graph.text == wanted.graph.text
    assert [array.shape for array in weights] == [type_.shape for type_ in graph.weights]


def test_families_find_their_cells_by_key(case: Case) -> None:
    skeleton = case.outline.skeleton
    widths = {group.name: group.channels for group in skeleton.groups}
    narrower = widths | {g.name: g.channels // 2 + 1 for g in skeleton.groups if g.frozen is None}
    there = skeleton.narrowed(narrower)
    keys = [layer.part.key for layer in (*skeleton.layers, *there.layers)]
    for one, layer, small in zip(families(skeleton), skeleton.layers, there.layers, strict=True):
        assert one.values(widths) == one.full
        assert one.at(one.full) is layer.part
        assert one.at(one.values(narrower)).key == small.part.key
        if one.axes:
            found = one.points([key for key in keys if form(key) == form(layer.part.key)])
            assert found[one.full] == layer.part.key
            assert found[one.values(narrower)] == small.part.key


class Odd(nn.Module):
    """A layer that is never run, one that is run twice, groups of channels, and a reader that is no plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.aside = nn.Linear(5, 6)
        self.twice = nn.Conv2d(8, 8, 1)
        self.grouped = nn.Conv2d(8, 16, 3, padding=1, groups=4)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.last = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.twice(self.stem(x)))
        return self.head(self.last(self.up(self.grouped(x))).mean((2, 3)))


def test_odd_networks_have_the_groups_that_can_be_tried() -> None:
    groups = {group.name: group.frozen for group in find_groups(Odd().eval(), torch.randn(1, 3, 8, 8))}
    assert "aside" not in groups
    assert groups["last"] is None
    assert groups["stem"] is not None and groups["grouped"] is not None


def test_a_network_without_convolutions_has_no_groups() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    model = Mean().eval()
    assert find_groups(model, torch.randn(1, 3, 8, 8)) == ()
    assert with_groups(outline("net", model, (3, 8, 8), 1), model, (3, 8, 8), 1).skeleton.sizes == ()


class Aside(nn.Module):
    """Beside its layers it computes something that depends on their widths, to no effect."""

    def __init__(self, aside: Callable[[Tensor, int, int], Tensor]) -> None:
        super().__init__()
        self.aside = aside
        self.stem = nn.Conv2d(3, 8, 1)
        self.inner = nn.Conv2d(8, 12, 1)
        self.last = nn.Conv2d(12, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.inner(F.relu(self.stem(x))))
        z = F.relu(self.last(y))
        return self.head(z.mean((2, 3))) + 0 * self.aside(x, y.shape[1], z.shape[1]).sum()


def pooled(x: Tensor, size: int) -> Tensor:
    return F.adaptive_avg_pool1d(x.flatten(1).unsqueeze(1), size)


@pytest.mark.parametrize(
    ("aside", "frozen", "reason"),
    [
        (
            lambda x, inner, _: pooled(x, inner // 2),
            {"inner"},
            r"adaptive_avg_pool1d has .* \(6 in the whole",
        ),
        (
            lambda x, inner, _: x if inner == 12 else x.relu(),
            {"inner"},
            "the network computes other operators",
        ),
        (
            lambda x, inner, last: pooled(x, inner * last),
            {"stem", "inner", "last"},
            "together with others, adaptive_avg_pool1d has",
        ),
    ],
    ids=["half of a width", "another operator", "two widths multiplied"],
)
def test_widths_that_sizes_do_not_follow_stay_and_the_others_may_vary(
    aside: Callable[[Tensor, int, int], Tensor], frozen: set[str], reason: str
) -> None:
    model, shape = Aside(aside).eval(), (3, 8, 8)
    skeleton = with_groups(outline("net", model, shape, 1), model, shape, 1).skeleton
    reasons = {group.name: group.frozen for group in skeleton.groups}
    assert {name for name in ("stem", "inner", "last") if reasons[name] is not None} == frozen
    assert all(re.match(reason, reasons[name] or "") for name in frozen)
    widths = {name: 4 for name in ("stem", "inner", "last") if name not in frozen}
    keep = {name: range(width) for name, width in widths.items()}
    smaller = narrow(model, torch.randn(1, *shape), keep)
    assert skeleton.narrowed(widths).graph == outline("net", smaller, shape, 1).skeleton.graph


def test_groups_that_are_not_there_and_nothing_left() -> None:
    model, example = trained(Dense()), torch.randn(1, 3, 8, 8)
    names = [group.name for group in find_groups(model, example)]
    told = (
        rf"unknown channel group of Dense 'nowhere'\. Known: {', '.join(sorted(names))}\. .* give the factory"
    )
    with pytest.raises(LatheError, match=told):
        narrow(model, example, {"nowhere": [0]})
    with pytest.raises(LatheError, match=told), masked(model, example, {"nowhere": [0]}):
        pass
    with pytest.raises(LatheError, match="nothing would be left of channel group 'squeeze'"):
        narrow(model, example, {"squeeze": []})
    with pytest.raises(
        LatheError, match=r"channel group 'squeeze' .* and 99 should stay\. .* give the factory"
    ):
        narrow(model, example, {"squeeze": [0, 99]})


def test_a_classifier_keeps_its_classes() -> None:
    model, example = trained(Dense()), torch.randn(1, 3, 8, 8)
    classifier = next(name for name, one in model.named_modules() if isinstance(one, nn.Linear))
    with pytest.raises(
        LatheError, match=rf"group '{classifier}' in Dense must all stay, since no convolution"
    ):
        narrow(model, example, {classifier: [0, 1]})


def test_masks_are_taken_off_after_an_error() -> None:
    model, example = trained(Dense()), torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        before = model(example)
        with pytest.raises(ZeroDivisionError), masked(model, example, {"stem": [1, 2]}):
            raise ZeroDivisionError
        assert torch.equal(model(example), before)


def test_frozen_parameters_stay_frozen() -> None:
    model = trained(Dense()).requires_grad_(False)
    find_groups(model, torch.randn(1, 3, 8, 8))
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_network_that_cannot_be_traced_is_refused_with_a_reason() -> None:
    class Untraceable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("only on Tuesdays")

    with pytest.raises(
        UserError, match=r"cannot trace Untraceable.*RuntimeError: only on Tuesdays.*single weights"
    ):
        find_groups(Untraceable(), torch.zeros(1, 3, 8, 8))
