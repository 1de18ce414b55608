"""Networks that the experiments train from scratch, as `lathe` takes them: small_networks.py:resnet8."""

from __future__ import annotations

from bench.workloads.cifar import ResNet8


def resnet8() -> ResNet8:
    """Three residual units of 16, 32 and 64 channels."""
    return ResNet8((16, 32, 64))


def wide_resnet8() -> ResNet8:
    """Twice as wide."""
    return ResNet8((32, 64, 128))


for _factory in (resnet8, wide_resnet8):
    _factory.input_shape = (3, 32, 32)  # type: ignore[attr-defined]
