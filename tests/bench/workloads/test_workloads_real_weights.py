"""The built-in networks with their published weights give the published answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.workloads.images import Images
from bench.workloads.network import resolve


def _count_right(name: str, weights: Path, images: Images) -> int:
    assert images.labels is not None
    network = resolve(name, weights=weights)
    model = network.build()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(images), 100):
            answers = model(network.preprocess(images.pixels[start : start + 100])).argmax(1).numpy()
            right += int((answers == images.labels[start : start + 100]).sum())
    return right


# Over all 10,000 test images: 91.73 % and 87.21 %.
@pytest.mark.parametrize(
    ("name", "file", "right"),
    [
        ("cifar/resnet20", "cifar10_resnet20_akamaster", 915),
        ("cifar/resnet8-mlperf", "cifar10_resnet8_mlperf_tiny", 881),
    ],
)
def test_cifar_networks(real_data: Path, cifar_test: Images, name: str, file: str, right: int) -> None:
    assert _count_right(name, real_data / "weights" / f"{file}.safetensors", cifar_test) == right


# Over all 1000 sample images: 86.7 %.
def test_mobilenet(real_data: Path, imagenet_samples: Images) -> None:
    weights = real_data / "weights" / "imagenet_mobilenet_v2_1.0_224_dequantised.safetensors"
    assert _count_right("imagenet/mobilenet_v2", weights, imagenet_samples) == 48
