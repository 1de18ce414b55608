"""Layers beside the nodes that ONNX Runtime executes, on networks of many families and small images."""

from __future__ import annotations

import importlib.util

import pytest
from layer_counts import LIMIT, count, faults


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("cifar/resnet20", 32),
        ("timm/resnet18", 64),
        ("timm/seresnet18", 64),
        ("timm/mobilenetv2_100", 64),
        ("timm/mobilenetv3_small_100", 64),
        ("timm/efficientnet_b0", 64),
        ("timm/ghostnet_050", 64),
        ("timm/regnety_002", 64),
        ("timm/repvgg_a0", 64),
        ("timm/convnext_atto", 64),
        ("timm/vit_tiny_patch16_224", 64),
        ("timm/mixer_s32_224", 224),
        ("timm/poolformer_s12", 64),
    ],
)
def test_layers_are_at_most_a_fifth_more_than_the_nodes(name: str, size: int) -> None:
    if name.startswith("timm/") and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed (pip install 'lathe[zoo]')")
    counted = count(name, (3, size, size))
    assert faults(counted) == []
    assert counted.ratio <= counted.strict_ratio <= LIMIT
