"""Networks of many families, each taken apart: what is promised of every network holds for them."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

from bench.runtimes.torch_graph import build_module
from bench.workloads import resolve
from latency_tables.skeleton import Skeleton
from pruning.kinds import MOVES, PADS
from pruning.outline import Outline, outline
from pruning.surgery import remove_blocks

# Name, image size (None where the network knows but one), blocks, removable ones.
FAMILIES = [
    ("resnet18", 64, 8, 5),
    ("seresnet18", 64, 8, 5),
    ("regnety_002", 64, 13, 9),
    ("mobilenetv3_small_100", 64, 6, 6),
    ("efficientnet_b0", 64, 9, 9),
    ("ghostnet_050", 64, 16, 11),
    ("densenet121", 64, 0, 0),
    ("vgg11_bn", 64, 0, 0),
    ("repvgg_a0", 64, 22, 0),  # its shortcuts are batch norms
    ("convnext_atto", 64, 12, 12),
    ("vit_tiny_patch16_224", 64, 12, 12),
    ("eva02_tiny_patch14_224", 56, 12, 12),  # rotated positions are handed to each block beside the image
    ("swin_tiny_patch4_window7_224", None, 12, 12),
    ("mixer_s32_224", 64, 8, 8),
    ("poolformer_s12", 64, 12, 12),
]


def varied(model: nn.Module) -> nn.Module:
    """No weights that are all zeros, and batch-norm statistics away from 0 and 1: each operator has a say."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.02)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) * 0.5 + 0.1)
    return model.eval()


def require_equal(received: torch.Tensor, expected: torch.Tensor) -> None:
    """To float error, whatever the size of random networks' outputs."""
    assert expected.any()
    assert float((received - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


def computed(taken: Outline, removed: tuple[str, ...], x: torch.Tensor) -> torch.Tensor:
    graph, weights = taken.without(removed)
    (output,) = build_module(graph, weights)(x)
    return output


def require_whole(skeleton: Skeleton) -> None:
    """Each operator in one layer, layers in an order in which they can run, and none that is free in silence."""
    graph = skeleton.graph
    positions = sorted(position for layer in skeleton.layers for position in layer.operators)
    assert positions == list(range(len(graph.operators)))
    made = set(range(graph.first_result))
    for layer in skeleton.layers:
        own = {graph.first_result + position for position in layer.operators}
        read = {value for position in layer.operators for value in graph.operators[position].values()}
        assert read <= made | own, layer.name
        made |= own
        names = [graph.operators[position].short_name for position in layer.operators]
        moves_only = all(name in MOVES | PADS for name in names)
        assert moves_only == layer.part.kind.startswith("moves: ")
        assert layer.part in skeleton.parts
        assert layer.part.graph.outputs


@pytest.mark.parametrize(("name", "size", "blocks", "removable"), FAMILIES)
def test_a_family_is_taken_apart(name: str, size: int | None, blocks: int, removable: int) -> None:
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed (pip install 'lathe[zoo]')")
    network = resolve(f"timm/{name}", input_shape=None if size is None else (3, size, size))
    model = varied(network.build())
    taken = outline(name, model, network.input_shape, 1)
    skeleton = taken.skeleton
    require_whole(skeleton)
    assert (len(skeleton.blocks), len(skeleton.removable)) == (blocks, removable)
    x = torch.randn(1, *network.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        require_equal(computed(taken, (), x), model(x))
        removed = skeleton.removable[1::2]
        if removed:
            require_equal(computed(taken, removed, x), remove_blocks(model, removed)(x))
