"""Training images: the augmentation that a seed draws, and none where none is wanted."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch

from bench.workloads.images import Images
from bench.workloads.network import Preprocess
from bench.workloads.training_images import Augmentation, AugmentedImages
from latency_tables.errors import UserError

needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed"
)
PLAIN = Preprocess((0.0,) * 3, (1.0,) * 3, 255.0)


def ramp(count: int = 40) -> Images:
    """Every pixel tells its row (red), its column (green) and its image (blue); none is black."""
    pixels = np.empty((count, 16, 16, 3), np.uint8)
    pixels[..., 0] = np.arange(1, 17)[None, :, None]
    pixels[..., 1] = np.arange(1, 17)[None, None, :]
    pixels[..., 2] = np.arange(1, count + 1)[:, None, None]
    return Images(pixels, np.arange(count, dtype=np.int64) % 4, "a ramp")


def taken(augmentation: Augmentation, seed: int = 0) -> np.ndarray:
    images = AugmentedImages(ramp(), PLAIN, augmentation)
    return (images.take(torch.arange(40), seed) * 255).round().numpy().astype(int)


def test_without_augmentation_the_images_are_preprocessed_and_no_more() -> None:
    assert np.array_equal(taken("none"), ramp().pixels.transpose(0, 3, 1, 2))


@needs_torchvision
def test_crops_move_each_image_by_itself_and_pad_with_black() -> None:
    got = taken("crop")
    moves = set()
    for number, image in enumerate(got):
        inside = image[2] > 0
        assert set(np.unique(image[2])) <= {0, number + 1}
        rows, columns = image[0][inside], image[1][inside]
        y, x = np.nonzero(inside)
        assert len(set(rows - y)) == len(set(columns - x)) == 1  # moved as a whole, not mirrored
        moves.add((rows[0] - y[0] - 1, columns[0] - x[0] - 1))
    assert len(moves) > 10
    assert all(abs(move) <= 2 for pair in moves for move in pair)


@needs_torchvision
def test_about_half_of_the_images_are_mirrored() -> None:
    got = taken("crop-flip")
    mirrored = [np.all(np.diff(image[1][8][image[2][8] > 0]) < 0) for image in got]
    assert 8 < sum(mirrored) < 32


@needs_torchvision
def test_resized_crops_show_a_part_of_each_image_scaled_to_its_size() -> None:
    got = taken("resized-crop-flip")
    spans = [int(np.ptp(image[0])) for image in got]  # the ramp's rows that are left of its sixteen
    assert got.shape == (40, 3, 16, 16)
    assert all((image[2] == number + 1).all() for number, image in enumerate(got)), "nothing is padded"
    assert min(spans) < 8
    assert max(spans) > 11
    mirrored = [image[1][8][0] > image[1][8][-1] for image in got]
    assert 8 < sum(mirrored) < 32


@needs_torchvision
def test_a_seed_draws_the_same_again_and_leaves_the_callers_luck_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = taken("crop-flip", 1), taken("crop-flip", 1), taken("crop-flip", 2)
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_images_without_labels() -> None:
    images = AugmentedImages(Images(ramp().pixels, None, "a ramp"), PLAIN, "none")
    assert images.labels is None
    assert len(images) == 40


def test_a_missing_torchvision_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.workloads.training_images.declare_operators", lambda: None)
    monkeypatch.setitem(sys.modules, "torchvision.transforms", None)
    with pytest.raises(UserError, match=r"pip install 'lathe\[zoo\]', or train without"):
        AugmentedImages(ramp(), PLAIN, "crop")
