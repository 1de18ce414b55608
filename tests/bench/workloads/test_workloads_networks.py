"""The built-in architectures: sizes, shapes, removable blocks, padding, export."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.workloads.cifar import BasicBlock, CifarResNet, ResNet8
from bench.workloads.mobilenet_v2 import InvertedResidual, MobileNetV2
from bench.workloads.padding import pad_same


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (CifarResNet(20), 269_722),
        (CifarResNet(32), 464_154),
        (CifarResNet(56), 853_018),
        (ResNet8(), 78_186),
        (MobileNetV2(), 3_487_816),
    ],
    ids=["resnet20", "resnet32", "resnet56", "resnet8", "mobilenet_v2"],
)
def test_parameters_are_those_published(model: nn.Module, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@settings(deadline=None)  # the first call into torch is slow
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_same_padding_follows_tensorflows_formula(height: int, width: int) -> None:
    padded = pad_same(torch.ones(1, 1, height, width))
    for axis, side in ((2, height), (3, width)):
        total = max((-(-side // 2) - 1) * 2 + 3 - side, 0)
        before = total // 2
        profile = padded.amax(dim=5 - axis).flatten()
        expected = torch.tensor([0.0] * before + [1.0] * side + [0.0] * (total - before))
        torch.testing.assert_close(profile, expected)


def test_shortcut_a_takes_every_second_pixel_and_centres_the_channels() -> None:
    x = torch.arange(2 * 5 * 5.0).view(1, 2, 5, 5) + 1
    shortcut = BasicBlock(2, 6, 2).shortcut(x)
    assert shortcut.shape == (1, 6, 3, 3)
    torch.testing.assert_close(shortcut[:, 2:4], x[:, :, ::2, ::2])
    assert not shortcut[:, :2].any()
    assert not shortcut[:, 4:].any()


def test_resnet8_normalises_as_keras_does() -> None:
    norms = [module for module in ResNet8().modules() if isinstance(module, nn.BatchNorm2d)]
    assert [norm.eps for norm in norms] == [1e-3] * 7


def test_an_inverted_residual_adds_its_input() -> None:
    block = InvertedResidual(8, 8, 1, 6).eval()
    nn.init.zeros_(block.project.weight)
    nn.init.zeros_(block.project.bias)
    x = torch.randn(1, 8, 6, 6)
    torch.testing.assert_close(block(x), x)


def test_mobilenet_has_ten_residual_adds_and_strides_where_published() -> None:
    model = MobileNetV2()
    blocks = [getattr(model, f"block{index}") for index in range(17)]
    assert [index for index, block in enumerate(blocks) if block.dw.stride == (2, 2)] == [1, 3, 6, 13]
    keeps = [block.dw.stride == (1, 1) and block.project.out_channels == _width_in(block) for block in blocks]
    assert sum(keeps) == 10


def _width_in(block: nn.Module) -> int:
    first = block.expand or block.dw
    assert isinstance(first, nn.Conv2d)
    return first.in_channels


_MODELS = [
    (lambda: CifarResNet(20), (3, 32, 32), {"layer1": 3, "layer2": 2, "layer3": 2}),
    (ResNet8, (3, 32, 32), {"layer1": 1}),
    (MobileNetV2, (3, 64, 64), {"block": 10}),
]


@pytest.mark.parametrize(("make", "shape", "_counts"), _MODELS, ids=["resnet20", "resnet8", "mobilenet_v2"])
def test_any_block_that_keeps_its_shape_can_be_taken_out(make, shape, _counts) -> None:  # type: ignore[no-untyped-def]
    model = make().eval()
    x = torch.randn(2, *shape)
    kinds = ("BasicBlock", "_TinyBlock", "InvertedResidual")
    names = [name for name, module in model.named_modules() if type(module).__name__ in kinds]
    shapes: dict[str, bool] = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda _, inputs, output, name=name: shapes.__setitem__(name, inputs[0].shape == output.shape)
        )
    with torch.inference_mode():
        whole = model(x)
        removable = [name for name in names if shapes[name]]
        assert len(removable) == sum(_counts.values())
        for name in removable:
            smaller = copy.deepcopy(model)
            smaller.set_submodule(name, nn.Identity())
            out = smaller(x)
            assert out.shape == whole.shape
            assert not torch.allclose(out, whole)


@pytest.mark.parametrize(
    ("make", "shape"), [case[:2] for case in _MODELS], ids=["resnet20", "resnet8", "mobilenet_v2"]
)
def test_export_captures_the_whole_network_for_any_batch(make, shape) -> None:  # type: ignore[no-untyped-def]
    model = make().eval()
    program = torch.export.export(
        model, (torch.randn(2, *shape),), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
    )
    x = torch.randn(5, *shape)
    torch.testing.assert_close(program.module()(x), model(x))


def test_random_weights_let_a_signal_through() -> None:
    torch.manual_seed(0)
    model = CifarResNet(56).eval()
    with torch.inference_mode():
        logits = model(torch.randn(4, 3, 32, 32))
    assert np.isfinite(logits.numpy()).all()
    assert logits.std(0).mean() > 1e-2 * logits.std(), "images tell, and not the last layer's bias alone"
