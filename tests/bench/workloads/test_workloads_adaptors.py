"""Where PRACTISE's adaptors stand in the networks that it is compared on."""

from __future__ import annotations

import importlib.util

import pytest

from bench.workloads.network import resolve
from latency_tables.errors import UserError
from latency_tables.skeleton import Skeleton
from pruning.criteria.adaptors import find_places
from pruning.outline import outline

needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None or importlib.util.find_spec("torchvision") is None,
    reason="timm and torchvision are not installed",
)


def skeleton_of(name: str, input_shape: tuple[int, int, int] | None = None) -> Skeleton:
    network = resolve(name, input_shape=input_shape)
    return outline(name, network.build(), network.input_shape, 2).skeleton


def places(skeleton: Skeleton, block: str) -> tuple[set[str], tuple[str, ...]]:
    found = find_places(skeleton, block)
    return set(found.outputs), found.inputs


def test_cifar_resnet() -> None:
    """Its shortcuts have no convolution, and its first stage begins with the stem."""
    skeleton = skeleton_of("cifar/resnet20")
    assert places(skeleton, "layer1.0") == (set(), ("layer1.1.conv1", "layer1.2.conv1", "layer2.0.conv1"))
    assert places(skeleton, "layer1.2") == ({"layer1.0.conv2", "layer1.1.conv2"}, ("layer2.0.conv1",))
    assert places(skeleton, "layer2.1") == ({"layer2.0.conv2"}, ("layer2.2.conv1", "layer3.0.conv1"))
    assert places(skeleton, "layer3.2") == ({"layer3.0.conv2", "layer3.1.conv2"}, ())


def test_a_padded_convolution_and_a_downsample_path() -> None:
    skeleton = skeleton_of("cifar/resnet8-mlperf")
    assert places(skeleton, "layer1.0") == (set(), ("layer2.0.conv1", "layer2.0.shortcut"))


def test_mobilenet_v2() -> None:
    skeleton = skeleton_of("imagenet/mobilenet_v2", (3, 64, 64))
    assert len(skeleton.removable) == 10
    assert places(skeleton, "block2") == ({"block1.project"}, ("block3.expand",))
    assert places(skeleton, "block8") == (
        {"block6.project", "block7.project"},
        ("block9.expand", "block10.expand"),
    )
    assert places(skeleton, "block14") == ({"block13.project"}, ("block15.expand", "block16.expand"))


@needs_timm
def test_bottlenecks() -> None:
    skeleton = skeleton_of("timm/resnet50", (3, 64, 64))
    outputs, inputs = places(skeleton, "layer2.2")
    assert outputs == {"layer2.0.downsample.0", "layer2.0.conv3", "layer2.1.conv3"}
    assert inputs == ("layer2.3.conv1", "layer3.0.conv1", "layer3.0.downsample.0")


@needs_timm
def test_a_transformer_has_no_places() -> None:
    skeleton = skeleton_of("timm/vit_tiny_patch16_224")
    with pytest.raises(UserError, match="has no convolution there"):
        find_places(skeleton, skeleton.removable[0])
