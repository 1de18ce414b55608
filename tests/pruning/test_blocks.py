from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.runtimes.torch_graph import build_module
from pruning.outline import Outline, outline
from pruning.surgery import bypassed, remove_blocks


class Branch(nn.Module):
    """x + f(x) with a convolution of some size."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Outer(nn.Module):
    """A residual unit of its own around another one."""

    def __init__(self, inner_kernel: int, own_kernel: int) -> None:
        super().__init__()
        self.inner = Branch(4, inner_kernel)
        self.own = nn.Conv2d(4, 4, own_kernel, padding=own_kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        return F.relu(x + self.own(x))


class Shifted(Branch):
    """Its shortcut is not the input itself."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x + self.conv(x)


class ThenConvolved(Branch):
    """The input is added, but what follows is more than an activation."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(super().forward(x))


class Positioned(Branch):
    """Called with more than the image."""

    def forward(self, x: Tensor, positions: Tensor, scale: float = 1.0) -> Tensor:  # type: ignore[override]
        return x + self.conv(x + positions) * scale


class Conditioned(Branch):
    """Two tensors that depend on the image."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:  # type: ignore[override]
        return x + self.conv(x * other)


class Functional(nn.Module):
    """No module but weights: functional code, static control flow, a module that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(4, 4, 3, 3) * 0.1 for _ in range(2))
        self.positioned = Positioned(4, 3)
        self.conditioned = Conditioned(4, 3)
        self.twice = Branch(4, 1)
        self.register_buffer("positions", torch.randn(1, 4, 1, 1))
        self.depth = 2

    def forward(self, x: Tensor) -> Tensor:
        for index, weight in enumerate(self.weights):
            if index < self.depth and x.shape[1] == 4:
                x = x + F.conv2d(x, weight, padding=1).relu()
        x = self.positioned(x, self.positions, scale=0.5)
        x = self.conditioned(x, x.mean((2, 3), keepdim=True))
        return self.twice(self.twice(x))


def names(model: nn.Module) -> tuple[list[str], list[str]]:
    skeleton = outline("net", model.eval(), (4, 8, 8), 1).skeleton
    return [block.name for block in skeleton.blocks], list(skeleton.removable)


@pytest.mark.parametrize(
    ("model", "blocks", "removable"),
    [
        (Branch(4, 3), [], []),  # the network itself is no block of the network
        (nn.Sequential(Branch(4, 3), Branch(4, 3)), ["0", "1"], ["0", "1"]),
        (nn.Sequential(nn.Sequential(Branch(4, 3), Branch(4, 3))), ["0.0", "0.1"], ["0.0", "0.1"]),
        (nn.Sequential(Outer(1, 3)), ["0"], ["0"]),
        (nn.Sequential(Outer(3, 3)), ["0.inner"], ["0.inner"]),
        (nn.Sequential(Shifted(4, 3)), ["0"], []),
        (nn.Sequential(ThenConvolved(4, 3)), ["0"], []),
        # The removable one within is small, but the one around is no identity plus something.
        (nn.Sequential(nn.Sequential(Branch(4, 1), nn.Conv2d(4, 4, 3, padding=1))), ["0.0"], ["0.0"]),
    ],
)
def test_blocks_and_which_may_go(model: nn.Module, blocks: list[str], removable: list[str]) -> None:
    assert names(model) == (blocks, removable)


def run(taken: Outline, removed: tuple[str, ...], x: Tensor) -> Tensor:
    graph, weights = taken.without(removed)
    (output,) = build_module(graph, weights)(x)
    return output


def test_a_users_own_module() -> None:
    torch.manual_seed(0)
    model = Functional().eval()
    taken = outline("own", model, (4, 8, 8), 2)
    # The block with two tensors that depend on the image is none, nor is what is called twice.
    assert [block.name for block in taken.skeleton.blocks] == ["positioned"]
    assert taken.skeleton.removable == ("positioned",)
    x = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(run(taken, (), x), model(x), rtol=1e-5, atol=1e-5)
        expected = remove_blocks(model, ["positioned"])(x)
        torch.testing.assert_close(run(taken, ("positioned",), x), expected, rtol=1e-5, atol=1e-5)
        with bypassed(model, ["positioned"]):
            torch.testing.assert_close(model(x), expected)
