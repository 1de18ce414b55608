from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.runtimes.torch_graph import build_module
from latency_tables.errors import UserError
from pruning.outline import outline


class Net(nn.Module):
    def __init__(self, rule: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.register_buffer("seen", torch.zeros(()))
        self.rule = rule

    def forward(self, x: Tensor) -> Any:
        return self.rule(self, x)


def without_gradient(net: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = net.conv(x)
        with torch.autocast("cpu", enabled=False):
            y = y.float().exp()
    return y.relu() + x[:, :1]


def in_place(net: Net, x: Tensor) -> Tensor:
    y = net.conv(x)
    y += 1
    y.relu_()
    return y.flatten(1).mul_(2)


def borrowed_shapes(net: Net, x: Tensor) -> Tensor:
    y = net.conv(x)
    z = y.flatten(1).reshape_as(y).type_as(x)
    return z.view_as(y) + x[:, :1].expand_as(y)


@pytest.mark.parametrize("rule", [without_gradient, in_place, borrowed_shapes])
def test_what_can_be_written_in_another_way_is(rule: Any) -> None:
    torch.manual_seed(0)
    model = Net(rule).eval()
    taken = outline("net", model, (3, 4, 4), 2)
    x = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        (output,) = build_module(taken.skeleton.graph, taken.weights)(x)
        torch.testing.assert_close(output, model(x))
    names = [operator.name for operator in taken.skeleton.graph.operators]
    assert not any(word in name for name in names for word in ("_as", ".to.", "_.", "wrap"))


def branch(net: Net, x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


def chosen(net: Net, x: Tensor) -> Tensor:
    return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))


def sized_by_values(net: Net, x: Tensor) -> Tensor:
    return x[x > 0]


def half_precise(net: Net, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return net.conv(x)


def counting(net: Net, x: Tensor) -> Tensor:
    net.seen += 1
    return net.conv(x)


def through_a_view(net: Net, x: Tensor) -> Tensor:
    y = net.conv(x)
    y[:, :2] += 1
    return y


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (branch, r"cannot be captured by torch.export.*torch\.where"),
        (chosen, r"control flow is not fixed.*torch\.where"),
        (sized_by_values, "depends on the values in the image.*without it"),
        (half_precise, "switches torch.autocast on.*Switch it off"),
        (counting, "changes 'seen' while it runs.*Switch that off"),
        (through_a_view, "reads it again through.*Write the result to a new tensor"),
        (lambda _, x: (x + 1, x), "must return one tensor"),
        (lambda _, x: torch.ones(1), "does not depend on its input"),
    ],
)
def test_what_cannot_be_followed_says_what_to_do(rule: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        outline("net", Net(rule).eval(), (3, 4, 4), 1)
