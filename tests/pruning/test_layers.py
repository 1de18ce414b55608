from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.runtimes import make_setting
from bench.runtimes.base import UnsupportedOperatorError
from bench.runtimes.eager import Eager
from bench.runtimes.torch_graph import build_module
from latency_tables.skeleton import Skeleton
from pruning.outline import outline


@pytest.fixture(scope="module", autouse=True)
def custom_operator() -> Iterator[None]:
    """An operator that no runtime has heard of, tagged as pointwise."""
    library = torch.library.Library("lathe_tests", "DEF")
    library.define("halve(Tensor x) -> Tensor", tags=(torch.Tag.pointwise,))
    library.impl("halve", lambda x: x / 2, "CompositeExplicitAutograd")
    yield
    library._destroy()


def kinds(skeleton: Skeleton) -> list[str]:
    return [layer.part.kind for layer in skeleton.layers]


class Net(nn.Module):
    """Two convolutions, and a rule for what is done with them."""

    def __init__(self, rule: object) -> None:
        super().__init__()
        self.a = nn.Conv2d(4, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        return self.rule(x, self.a, self.b)  # type: ignore[operator, no-any-return]


def taken(rule: object) -> Skeleton:
    return outline("net", Net(rule).eval(), (4, 8, 8), 1).skeleton


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (lambda x, a, b: x + b(F.relu(a(x))), ["conv2d+relu", "conv2d+add"]),
        (lambda x, a, b: F.relu(a(x) + b(x)), ["conv2d", "conv2d+add+relu"]),
        # The first convolution's result is read twice: the sum can be part of the second only.
        (lambda x, a, b: (lambda y: b(y) + y)(a(x)), ["conv2d", "conv2d+add"]),
        # Both are read elsewhere: the sum stands alone.
        (
            lambda x, a, b: (lambda y, z: (y + z) * torch.cat([y, z])[:1])(a(x), b(x)),
            ["conv2d", "conv2d", "add", "cat", "mul"],
        ),
        # The other operand needs the convolution itself: they are not one step.
        (lambda x, a, b: (lambda y: y + y.mean((2, 3), keepdim=True))(a(x)), ["conv2d", "mean", "add"]),
        # A sum that is broadcast is no residual of the convolution.
        (lambda x, a, b: x + a(x).mean((2, 3), keepdim=True) + b(x), ["conv2d", "mean", "add", "conv2d+add"]),
        # One half of a result is no result: the activation of it begins a layer.
        (lambda x, a, b: (lambda y: y[0] * y[1].sigmoid())(a(x).chunk(2, 1)), ["conv2d", "sigmoid", "mul"]),
        # Slices and padding at the network's entry stand in the sum that they serve.
        (lambda x, a, b: a(x) + F.pad(x[:, :2], (0, 0, 0, 0, 1, 1)), ["conv2d+add"]),
    ],
)  # fmt: skip
def test_what_joins_a_convolution(rule: object, expected: list[str]) -> None:
    assert kinds(taken(rule)) == expected


def attention(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    q, k, v = a(x).flatten(2), b(x).flatten(2), x.flatten(2)
    weights = ((q @ k.transpose(1, 2)) * 0.5 + torch.ones(4, 4)).softmax(-1)
    return weights @ v


def test_an_attention_core_is_one_layer_however_it_is_written() -> None:
    assert kinds(taken(attention)) == ["conv2d", "conv2d", "matmul+mul+add+softmax"]
    fused = taken(
        lambda x, a, b: F.scaled_dot_product_attention(a(x).flatten(2), b(x).flatten(2), x.flatten(2))
    )
    assert kinds(fused) == ["conv2d", "conv2d", "scaled_dot_product_attention"]
    # A softmax that others read as well is not part of a core.
    shown = taken(lambda x, a, b: (lambda s: torch.cat([s @ s, s]))((a(x) @ b(x)).softmax(-1)))
    assert kinds(shown) == ["conv2d", "conv2d", "matmul+softmax", "matmul", "cat"]


class Rearranging(nn.Module):
    """A block whose input is viewed for two readers, and a network that ends in a view."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, ::2]


def test_moves_that_serve_nobody_are_a_layer_that_says_so() -> None:
    skeleton = outline("moves", Rearranging(), (4, 8, 8), 1).skeleton
    (layer,) = skeleton.layers
    assert layer.part.kind == "moves: flatten+slice"
    assert skeleton.parts == (layer.part,)
    (output,) = build_module(layer.part.graph)(torch.zeros(1, 4, 8, 8))
    assert output.shape == (1, 128)


def test_an_operator_nobody_has_seen_is_a_part_of_its_own() -> None:
    skeleton = taken(lambda x, a, b: b(F.relu(torch.ops.lathe_tests.halve(a(x)))))
    assert kinds(skeleton) == ["conv2d", "halve", "relu", "conv2d"]
    halve = skeleton.layers[1].part
    assert "lathe_tests.halve" in halve.key
    runtime = Eager(make_setting("eager", device_kind="cpu", threads=1, batch=1, precision="fp32"))
    with pytest.raises(UnsupportedOperatorError, match=r"cannot run the operator lathe_tests\.halve"):
        runtime.load(halve.graph)
    for layer in (skeleton.layers[0], skeleton.layers[2]):
        with runtime.load(layer.part.graph) as loaded:
            loaded.run()


def test_an_operator_of_pytorch_without_special_handling_begins_a_layer_and_runs() -> None:
    skeleton = taken(lambda x, a, b: a(x).cumsum(1).logcumsumexp(2))
    assert kinds(skeleton) == ["conv2d", "cumsum", "logcumsumexp"]
    runtime = Eager(make_setting("eager", device_kind="cpu", threads=1, batch=1, precision="fp32"))
    for layer in skeleton.layers:
        with runtime.load(layer.part.graph) as loaded:
            loaded.run()
