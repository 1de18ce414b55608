"""Real images and trained weights, where the machine has them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.workloads.images import Images

_BESIDE_THE_REPOSITORY = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: $LATHE_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("LATHE_DATA", _BESIDE_THE_REPOSITORY))
    if not (folder / "weights").is_dir():
        pytest.skip(f"no real data at {folder}; name its folder in LATHE_DATA")
    return folder


@pytest.fixture(scope="session")
def cifar_test(real_data: Path) -> Images:
    """The first 1000 test images of CIFAR-10; the lossless packing is undone as its README says."""
    with np.load(real_data / "cifar10" / "cifar10_test.npz", allow_pickle=False) as file:
        residual, labels = file["residual"][:, :1000], file["label"][:1000]
    planes = residual.cumsum(axis=3, dtype=np.uint8).cumsum(axis=2, dtype=np.uint8)
    planes[0] += planes[1]
    planes[2] += planes[1]
    return Images(np.ascontiguousarray(np.moveaxis(planes, 0, -1)), labels.astype(np.int64), "cifar10")


@pytest.fixture(scope="session")
def imagenet_samples(real_data: Path) -> Images:
    """One image for each of the first 60 classes of ImageNet, 224x224."""
    with np.load(real_data / "imagenet_samples" / "imagenet_samples_224.npz", allow_pickle=False) as file:
        jpeg, offset, labels = file["jpeg"], file["offset"], file["label"][:60]
    files = [io.BytesIO(jpeg[offset[i] : offset[i + 1]].tobytes()) for i in range(60)]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    return Images(pixels, labels.astype(np.int64), "imagenet")
