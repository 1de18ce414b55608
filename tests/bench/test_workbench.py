"""Which images calibrate, train and judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.workbench import Gallery, ImageChoice
from bench.workloads.images import Images
from bench.workloads.network import Network, Preprocess
from latency_tables.errors import UserError

COUNT = 50


@pytest.fixture
def network() -> Network:
    return Network(
        "none", lambda: pytest.fail("not built"), (3, 2, 2), Preprocess((0.0,) * 3, (1.0,) * 3, 255.0)
    )


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """Fifty images, each of the brightness that is its label."""
    pixels = np.zeros((COUNT, 2, 2, 3), np.uint8) + np.arange(COUNT, dtype=np.uint8)[:, None, None, None]
    np.savez(tmp_path / "fifty.npz", images=pixels, labels=np.arange(COUNT))
    return f"npz:{tmp_path / 'fifty.npz'}"


def known(images: Images) -> set[int]:
    assert images.labels is not None
    assert (images.pixels[:, 0, 0, 0] == images.labels).all()
    return set(images.labels.tolist())


def test_a_number_of_images_is_trained_on_and_the_rest_judges(spec: str, network: Network) -> None:
    without = Gallery(ImageChoice(spec, calibration=10), network)
    gallery = without.training_on("40")
    part, plain = gallery.part(3), without.part(3)
    assert (gallery.trained_on, len(part.training), len(part.report)) == (40, 40, 10)
    assert known(part.training) | known(part.report) == set(range(COUNT))
    assert known(plain.training) < known(part.training)  # the calibration images are among them
    assert (part.calibration == plain.calibration).all()
    assert (without.trained_on, len(plain.training), len(plain.report)) == (10, 10, 40)
    assert known(gallery.to_train_on(3)) == known(part.training)
    assert known(gallery.to_train_on(4)) != known(part.training)


def test_fewer_images_than_calibrate_may_be_trained_on(spec: str, network: Network) -> None:
    part = Gallery(ImageChoice(spec, calibration=20, train="5"), network).part(0)
    assert (len(part.calibration), len(part.training), len(part.report)) == (20, 5, 30)


@pytest.mark.parametrize(("calibration", "train"), [(50, None), (10, "50")])
def test_some_images_must_be_left_to_judge(
    calibration: int, train: str | None, spec: str, network: Network
) -> None:
    gallery = Gallery(ImageChoice(spec, calibration=calibration, train=train), network)
    with pytest.raises(UserError, match=r"50 images to calibrate or train on and at least 1 more .* has 50"):
        gallery.require_enough()


def test_a_source_is_no_number() -> None:
    assert ImageChoice("digits", train="8000").train_count == 8000
    assert ImageChoice("digits", train="8000").train_source is None
    named = ImageChoice("digits", train="npz:8000")
    assert (named.train_count, named.train_source) == (None, "npz:8000")
