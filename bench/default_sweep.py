"""What a sweep compares where only a network and images are named: methods and training images that fit these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.requirements import require_free_groups
from bench.scratch_training import require_trainable
from bench.sweep_config import CHANNEL_METHODS, MIXED_METHODS, SweepConfig
from bench.workbench import Gallery, Material, Subject
from bench.workloads import Images
from bench.workloads.training_images import Augmentation
from latency_tables.errors import LatheError

_JUDGING = 5
"""One image of so many at least is kept to judge by, where networks are trained from scratch on the others."""
MOST_TRAINED_ON = 10_000
"""More are trained on only where they are asked for: a training takes minutes, and there are dozens."""
SMALL_PX = 64
"""Images of at most so many pixels a side are augmented as small ones."""
_NOT_MIRRORED = ("digits",)
"""Sources whose images mirroring makes another class of, or none."""


def default_sweep(config: SweepConfig, say: Callable[[str], None]) -> tuple[SweepConfig, Material]:
    """Chooses what fits the network and its images; what the network cannot do is left out, and said.

    Args:
        config: of the sweep, with the default methods, which take blocks out.
        say: told in words why something is left out.

    Returns:
        The sweep to run, with its network and images.

    Raises:
        UserError: the network or the images cannot be read, or the images that ``config`` names to train on do not
            fit the network.
    """
    subject = Subject(config.network_choice(), config.batch)
    gallery = Gallery(config.image_choice(), subject.network)
    gallery.require_enough()
    chosen = _chosen(config, subject, gallery, say)
    return chosen, Material(subject, gallery.training_on(chosen.train))


def _chosen(
    config: SweepConfig, subject: Subject, gallery: Gallery, say: Callable[[str], None]
) -> SweepConfig:
    train = config.train or share_to_train_on(gallery.clean, config.calibration)
    update: dict[str, Any] = {"train": train}
    if "augmentation" not in config.model_fields_set:
        source = config.image_choice().train_source or config.images
        update["augmentation"] = usual_augmentation(source, subject.network.input_shape[1:])
    if not subject.outline.skeleton.removable:
        say(f"no block of {config.network} may be removed: channels go, before training from scratch")
        return config.model_copy(update={"methods": CHANNEL_METHODS, **update})
    if not subject.network.draws_weights():
        say(
            f"blocks alone go, since the factory of {config.network} loads its weights: to train from scratch as "
            "well, give one that does not, trained weights with --weights, and labelled images with --train"
        )
        return config
    if config.weights is not None and config.train is None:
        say(
            "blocks alone go, since weights are given: with labelled images after --train, networks trained from "
            "scratch stand beside"
        )
        return config
    mixed = config.model_copy(update={"methods": MIXED_METHODS, **update})
    try:
        require_free_groups(subject.wide.skeleton)
    except LatheError as error:
        say(f"blocks alone go: {error}")
        return config
    if config.train is not None:
        return mixed  # training was asked for, so what it misses is an error, which the sweep raises
    try:
        require_trainable(mixed, subject, gallery.training_on(train), config.seeds)
    except LatheError as error:
        say(f"blocks alone go, since nothing can be trained from scratch: {error}")
        return config
    return mixed


def usual_augmentation(source: str, size: tuple[int, int]) -> Augmentation:
    """What is usual for training images where nobody says what to do with them.

    Args:
        source: of the images, as `load_images` takes it.
        size: height and width that the network sees them at, in pixels.
    """
    if source in _NOT_MIRRORED:
        return "crop"
    return "crop-flip" if max(size) <= SMALL_PX else "resized-crop-flip"


def share_to_train_on(images: Images, calibration: int) -> str | None:
    """How many of the images to train from scratch on where no others are named, as `ImageChoice.train` says it.

    Args:
        images: with labels, or without.
        calibration: so many of them are calibrated on.

    Returns:
        The number; None: the calibration images, since there are no labels, or few images beside them.
    """
    count = min(len(images) - -(-len(images) // _JUDGING), MOST_TRAINED_ON)
    return str(count) if images.labels is not None and count > calibration else None
