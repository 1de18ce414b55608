from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import TinyResNet, images
from torch import Tensor, nn

from bench.workloads import resolve
from latency_tables.errors import UserError
from pruning.features import forward_with_features


class Head(nn.Module):
    """A convolution, any pooling, a linear layer."""

    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.pool = pool
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.pool(self.conv(x)).flatten(1))


POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "adaptive module": nn.AdaptiveAvgPool2d(1),
    "adaptive module, pair": nn.AdaptiveAvgPool2d((1, 1)),
    "adaptive function": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive function, keyword": lambda x: F.adaptive_avg_pool2d(x, output_size=(1, 1)),
    "window function": lambda x: F.avg_pool2d(x, x.shape[-1]),
    "window function, list": lambda x: F.avg_pool2d(x, [4, 4]),
    "window module": nn.AvgPool2d(4),
    "mean method": lambda x: x.mean((2, 3)),
    "mean method, keyword": lambda x: x.mean(dim=[-1, -2], keepdim=True),
    "mean function": lambda x: torch.mean(x, (3, 2)),
}


@pytest.mark.parametrize("name", POOLINGS)
def test_what_enters_any_global_pooling_is_found(name: str) -> None:
    model = Head(POOLINGS[name])
    x = images(size=6)
    features, logits = forward_with_features(model, x)
    assert torch.equal(features, model.conv(x))
    assert torch.equal(logits, model(x))


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: F.avg_pool2d(x, 2).amax((2, 3)),
        lambda x: F.adaptive_avg_pool2d(x, 2).amax((2, 3)),
        lambda x: x.mean(2).amax(2),
        lambda x: x - x.mean() if x.ndim == 2 else (x - x.mean()).amax((2, 3)),
    ],
)
def test_pooling_of_a_part_of_the_map_does_not_count(pool: Callable[[Tensor], Tensor]) -> None:
    model = Head(pool)
    x = images(size=6)
    features, _ = forward_with_features(model, x)
    assert torch.equal(features, pool(model.conv(x)))


def test_pooling_that_a_convolution_follows_does_not_count() -> None:
    class Excited(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)
            self.gate = nn.Conv2d(4, 4, 1)
            self.last = nn.Conv2d(4, 4, 1)
            self.linear = nn.Linear(64, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
            return self.linear(self.last(x).flatten(1))

    features, _ = forward_with_features(Excited(), images(size=6))
    assert features.shape == (12, 64)


def test_a_convolution_on_a_pooled_map_belongs_to_the_head() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 5, 1), nn.Flatten(), nn.Linear(5, 2)
    )
    features, _ = forward_with_features(model, images(size=6))
    assert features.shape == (12, 4, 4, 4)


class Tokens(nn.Module):
    def __init__(self, head: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.embed = nn.Linear(36, 8)
        self.head = head
        self.linear = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.flatten(2))
        x = x + x.mean(1, keepdim=True)  # not the final pooling: attention follows
        return self.linear(self.head(F.scaled_dot_product_attention(x, x, x)))


def test_tokens_that_are_averaged_and_tokens_that_are_not() -> None:
    averaged, _ = forward_with_features(Tokens(lambda x: x.mean(dim=1)), images())
    assert averaged.shape == (12, 3, 8)
    class_token, _ = forward_with_features(Tokens(lambda x: x[:, 0]), images())
    assert class_token.shape == (12, 8)


def test_gradients_flow_to_the_layers_before_and_not_behind() -> None:
    model = TinyResNet()
    features, _ = forward_with_features(model, images())
    features.square().sum().backward()
    assert model.stem.weight.grad is not None and model.stem.weight.grad.abs().sum() > 0
    assert model.linear.weight.grad is None


def test_the_mode_of_the_network_stays() -> None:
    model = TinyResNet().train()
    forward_with_features(model, images())
    assert model.training


def test_an_output_that_is_no_matrix_of_logits_is_an_error() -> None:
    with pytest.raises(UserError, match=r"Conv2d must return logits .* got shape \(12, 4, 4, 4\)"):
        forward_with_features(nn.Conv2d(3, 4, 3), images())

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(UserError, match="got tuple"):
        forward_with_features(Pair(), images())


def test_a_network_without_pooling_or_linear_layer_is_an_error() -> None:
    with pytest.raises(UserError, match="Flatten has neither a global average pooling nor a linear layer"):
        forward_with_features(nn.Flatten(), images())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet10t", (2, 512, 2, 2)),
        ("vit_tiny_patch16_224", (2, 192)),
        ("mobilenetv3_small_050", (2, 288, 2, 2)),
        ("efficientnet_b0", (2, 1280, 2, 2)),
    ],
)
def test_networks_of_timm(name: str, shape: tuple[int, ...]) -> None:
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed (pip install 'lathe[zoo]')")
    model = resolve(f"timm/{name}", input_shape=(3, 64, 64)).build()
    with torch.no_grad():
        features, logits = forward_with_features(model, torch.randn(2, 3, 64, 64))
    assert features.shape == shape and logits.shape == (2, 1000)
