"""What is said of trainings from scratch before they begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from early_networks import CLASSES
from spy_school import NETWORK

from bench.default_sweep import MOST_TRAINED_ON, SMALL_PX, share_to_train_on, usual_augmentation
from bench.recipes import recipes_of
from bench.scratch_training import FEW_STEPS, require_trainable, training_words
from bench.sweep_config import SweepConfig, make_config
from bench.workbench import Gallery, Subject
from bench.workloads.images import Images
from latency_tables.errors import UserError


class FakeSubject:
    """A network that nothing is asked of but its classes."""

    def __init__(self, classes: int = CLASSES) -> None:
        self.network, self.classes, self.model = NETWORK, classes, torch.nn.Identity()


def job(folder: Path, labels: list[int], **changes: Any) -> tuple[SweepConfig, Any, Gallery]:
    """A sweep over images of these labels, a quarter of which calibrate."""
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 6, 6, 3), dtype=np.uint8)
    np.savez(folder / "images.npz", images=pixels, labels=np.array(labels))
    fields = {
        "network": "small",
        "images": f"npz:{folder / 'images.npz'}",
        "calibration": len(labels) // 4,
        "methods": ("kd",),
        "augmentation": "none",
    }
    config = make_config(fields | changes, "this test")
    return config, cast(Subject, FakeSubject()), Gallery(config.image_choice(), NETWORK)


def test_images_and_steps_are_told_and_that_few_steps_tell_little(tmp_path: Path) -> None:
    labels = [place % CLASSES for place in range(400)]
    told, warned = training_words(*job(tmp_path, labels, epochs=4))
    assert told == (
        "networks are trained from scratch on the 100 calibration images, not augmented: 4 epochs, 4 steps in all"
    )
    assert f"below {FEW_STEPS} steps" in warned
    (told,) = training_words(*job(tmp_path, labels, epochs=500, train=300))
    assert "on 300 of the images, which do not judge, not augmented: 500 epochs, 1000 steps in all" in told
    told, _ = training_words(*job(tmp_path, labels, augmentation="crop"))
    assert "on the 100 calibration images, augmented by crop: 30 epochs" in told


def test_whether_training_images_are_shifted_is_told(tmp_path: Path) -> None:
    """A source of its own is clean; what is taken from the images that judge is under their shift."""
    labels = [place % CLASSES for place in range(400)]
    for train, said in (
        (None, "the 100 calibration images, under contrast:4, not augmented"),
        (300, "300 of the images, which do not judge, under contrast:4, not augmented"),
    ):
        assert said in training_words(*job(tmp_path, labels, shift="contrast:4", train=train))[0]
    other = np.random.default_rng(1).integers(0, 256, (60, 6, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "more.npz", images=other, labels=np.arange(60) % CLASSES)
    source = f"npz:{tmp_path / 'more.npz'}"
    told = training_words(*job(tmp_path, labels, shift="contrast:4", train=source))[0]
    assert f"the 60 images of {source}, clean and not under contrast:4, not augmented" in told


def test_more_classes_than_are_scored_on_are_told(tmp_path: Path) -> None:
    config, _, gallery = job(tmp_path, [0, 1, 2, 0])
    said = training_words(config, cast(Subject, FakeSubject(classes=1000)), gallery)
    assert "not all of the 1000 classes" in said[-1]


def test_a_class_without_images_names_what_helps(tmp_path: Path) -> None:
    config, subject, gallery = job(tmp_path, [0] * 60 + [1] * 60)
    with pytest.raises(UserError, match="no training image") as raised:
        require_trainable(config, subject, gallery, [0])
    assert "on the 30 calibration images: name others with --train" in str(raised.value)
    assert "--calibration" in str(raised.value)


def test_a_number_to_train_on_may_stand_in_toml_as_it_is(tmp_path: Path) -> None:
    config, _, gallery = job(tmp_path, [0, 1, 2] * 40, train=80)
    assert (config.train, gallery.trained_on) == ("80", 80)
    with pytest.raises(UserError, match="train: Input should be a valid string"):
        job(tmp_path, [0, 1, 2], train=True)


def test_a_command_that_makes_a_point_again_is_judged_by_the_same_images(tmp_path: Path) -> None:
    def commands(train: object) -> dict[str, str]:
        config, _, _ = job(tmp_path, [0, 1, 2] * 40, train=train, methods=("ttmpd", "kd"), budgets=("0.7x",))
        (choice,) = config.setting_choices()
        recipes = recipes_of(config, choice, 0, tmp_path, tmp_path, config.pairs())
        return {recipe.method: recipe.command for recipe in recipes}

    assert all("--train 80" in command for command in commands(80).values())
    others = commands("npz:more.npz")
    assert "--train npz:more.npz" in others["kd"]
    assert "--train" not in others["ttmpd"]


@pytest.mark.parametrize(
    ("images", "labelled", "expected"),
    [
        (10_000, True, "8000"),
        (10_000, False, None),
        (60_000, True, str(MOST_TRAINED_ON)),
        (600, True, None),
        (1797, True, "1437"),
    ],
)
def test_a_sweep_by_default_trains_on_the_larger_share(
    images: int, labelled: bool, expected: str | None
) -> None:
    labels = np.zeros(images, np.int64) if labelled else None
    assert (
        share_to_train_on(Images(np.zeros((images, 1, 1, 3), np.uint8), labels, "made up"), 500) == expected
    )


@pytest.mark.parametrize(
    ("source", "side", "expected"),
    [
        ("npz:cifar10_train.npz", 32, "crop-flip"),
        ("npz:tiny.npz", SMALL_PX, "crop-flip"),
        ("folder:photographs", 224, "resized-crop-flip"),
        ("digits", 32, "crop"),  # a mirrored 2 is none
        ("digits", 224, "crop"),
    ],
)
def test_images_are_augmented_as_is_usual_for_them(source: str, side: int, expected: str) -> None:
    assert usual_augmentation(source, (side, side)) == expected
