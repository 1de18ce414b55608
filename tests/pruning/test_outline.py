from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.runtimes.torch_graph import build_module
from bench.workloads import resolve
from latency_tables.errors import UserError
from latency_tables.graph import Graph
from pruning.outline import Outline, outline
from pruning.surgery import remove_blocks


def run(taken: Outline, removed: tuple[str, ...], x: torch.Tensor) -> torch.Tensor:
    graph, weights = taken.without(removed)
    with torch.no_grad():
        (output,) = build_module(graph, weights)(x)
        return output


def trained_like(model: nn.Module) -> nn.Module:
    """Batch-norm statistics away from 0 and 1, so that folding has something to do."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return model.eval()


NETWORKS = ["cifar/resnet20", "cifar/resnet8-mlperf", "imagenet/mobilenet_v2"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_graph_computes_what_the_network_computes(name: str, batch: int) -> None:
    network = resolve(name)
    model = trained_like(network.build())
    taken = outline(name, model, network.input_shape, batch)
    x = torch.randn(batch, *network.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(run(taken, (), x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_surgery_on_the_graph_is_surgery_on_the_module(name: str) -> None:
    network = resolve(name)
    model = trained_like(network.build())
    taken = outline(name, model, network.input_shape, 1)
    removed = taken.skeleton.removable[::2]
    x = torch.randn(1, *network.input_shape, generator=torch.Generator().manual_seed(0))
    small = remove_blocks(model, removed)
    with torch.no_grad():
        torch.testing.assert_close(run(taken, removed, x), small(x), rtol=1e-4, atol=1e-4)
    assert outline(name, small, network.input_shape, 1).skeleton.graph == taken.without(removed)[0]


@pytest.mark.parametrize(
    ("name", "blocks", "removable"),
    [("cifar/resnet20", 9, 7), ("cifar/resnet56", 27, 25), ("imagenet/mobilenet_v2", 10, 10)],
)
def test_blocks_are_the_residual_units(name: str, blocks: int, removable: int) -> None:
    network = resolve(name)
    skeleton = outline(name, network.build(), network.input_shape, 1).skeleton
    assert (len(skeleton.blocks), len(skeleton.removable)) == (blocks, removable)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operator_lands_in_exactly_one_layer_and_batch_norm_in_none(name: str) -> None:
    network = resolve(name)
    skeleton = outline(name, network.build(), network.input_shape, 1).skeleton
    positions = sorted(position for layer in skeleton.layers for position in layer.operators)
    assert positions == list(range(len(skeleton.graph.operators)))
    assert not any("batch_norm" in operator.name for operator in skeleton.graph.operators)
    homes = {block.name for block in skeleton.blocks}
    assert {layer.block for layer in skeleton.layers} <= homes | {None}


def test_convolution_norm_activation_and_residual_sum_are_one_layer() -> None:
    network = resolve("cifar/resnet20")
    skeleton = outline("x", network.build(), network.input_shape, 1).skeleton
    first_block = [layer.part.kind for layer in skeleton.layers if layer.block == "layer1.0"]
    assert first_block == ["conv2d+relu", "conv2d+add+relu"]
    assert len(skeleton.parts) == 18


class Odd(nn.Module):
    """Things that real networks do: a module called twice, in-place, dropout, a gate, constants, split."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.shared = nn.Conv2d(8, 8, 1)
        self.block = Residual(8)
        self.outer = nn.Sequential(Residual(8))
        self.plain = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(inplace=True))
        self.table = nn.Parameter(torch.randn(4, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.silu(self.stem(x), inplace=True)
        x = self.shared(self.shared(x))
        x = self.plain(self.outer(self.block(x)))
        a, b = x.chunk(2, dim=1)
        x = torch.cat([b, a], dim=1) * torch.sigmoid(x.mean((2, 3), keepdim=True))
        x = x + self.table[torch.arange(2)].sum(0).view(1, 8, 1, 1)
        return self.head(torch.nn.functional.dropout(x.mean((2, 3)), training=self.training))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.body(x)
        out += x
        return out


def test_odd_networks_are_followed() -> None:
    torch.manual_seed(0)
    model = trained_like(Odd())
    taken = outline("odd", model, (3, 6, 6), 2)
    x = torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(run(taken, (), x), model(x), rtol=1e-5, atol=1e-5)
    # The innermost module with a sum of its input is the block, under whatever wrapper.
    assert taken.skeleton.removable == ("block", "outer.0")
    names = [operator.name for operator in taken.skeleton.graph.operators]
    assert not any(name.endswith("_.default") or "dropout" in name or "arange" in name for name in names)
    # A batch norm in front of a convolution cannot be folded into it and stays.
    assert names.count("aten.batch_norm.default") == 2


def test_graph_survives_json() -> None:
    taken = outline("odd", Odd().eval(), (3, 6, 6), 1)
    assert Graph.from_json(taken.skeleton.graph.to_json()) == taken.skeleton.graph


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class TwoOutputs(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + 1, x


class Dice(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Branching(), "cannot be captured"),
        (TwoOutputs(), "must return one tensor"),
        (Dice(), r"draws random numbers when it is run \(aten\.rand\.default\)"),
    ],
)
def test_networks_that_cannot_be_followed_say_so(model: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        outline("x", model.eval(), (3, 4, 4), 1)


def test_a_block_that_is_not_removable_says_why() -> None:
    network = resolve("cifar/resnet20")
    skeleton = outline("x", network.build(), network.input_shape, 1).skeleton
    with pytest.raises(UserError, match="differs in shape"):
        skeleton.without(["layer2.0"])


def test_batch_norms_in_a_row_are_all_folded() -> None:
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(4), nn.Dropout(), nn.BatchNorm2d(4), nn.BatchNorm2d(4)]
    model = trained_like(nn.Sequential(nn.Conv2d(3, 4, 3), *norms, nn.ReLU()))
    for norm in norms:
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias)
    taken = outline("row", model, (3, 6, 6), 1)
    assert [operator.name for operator in taken.skeleton.graph.operators] == [
        "aten.conv2d.default",
        "aten.relu.default",
    ]
    x = torch.randn(1, 3, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(run(taken, (), x), model(x), rtol=1e-5, atol=1e-5)


def test_a_norm_that_comes_to_stand_behind_a_convolution_stays_as_it_was() -> None:
    torch.manual_seed(0)
    blocks = nn.Sequential(Residual(8), Residual(8))
    head = [nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    model = trained_like(nn.Sequential(nn.Conv2d(3, 8, 3), blocks, *head))
    taken = outline("preact", model, (3, 6, 6), 1)
    assert taken.norms == {"1.0.body.0", "1.1.body.0", "2"}
    removed = taken.skeleton.removable
    assert removed == ("1.0", "1.1")
    small = remove_blocks(model, removed)
    expected = taken.without(removed)[0]
    assert outline("preact", small, (3, 6, 6), 1).skeleton.graph != expected
    assert outline("preact", small, (3, 6, 6), 1, taken.norms).skeleton.graph == expected
