"""How the networks of a sweep are trained from scratch: on which images, for how long, and whether that can be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.school import School, open_school
from bench.sweep_config import SweepConfig
from bench.workbench import Gallery, Subject
from bench.workloads import Images
from bench.workloads.training_images import AugmentedImages
from bench.workplace import workplace
from latency_tables.errors import UserError
from pruning.from_scratch import SCORING_BATCH, Training
from pruning.recovery.batches import require_fit
from pruning.recovery.training import Regime

FEW_STEPS = 1000
"""After fewer steps a network's accuracy says little of what it could learn: a ResNet for CIFAR-10 is usually given
64,000 of them (He et al., CVPR 2016)."""


def school_of(config: SweepConfig, subject: Subject, source: Images, seed: int, folder: Path) -> School:
    """How the trainings of one seed go.

    Args:
        config: of the sweep.
        subject: the unpruned network.
        source: what to train on.
        seed: of everything random.
        folder: for what trainings keep.
    """
    images, training = _lessons(config, subject, source, seed)
    return open_school(subject, images, training, config.schooling(), folder, workplace(config.device))


def require_trainable(config: SweepConfig, subject: Subject, gallery: Gallery, seeds: Iterable[int]) -> None:
    """Says what trainings would miss, before anything is measured for them.

    Args:
        config: of the sweep.
        subject: the network.
        gallery: its images.
        seeds: with which networks are trained.

    Raises:
        UserError: the network comes with weights of its own, so that nothing of it is untrained; or the images
            miss labels or a class, have one class alone, or do not have the network's classes.
    """
    network = subject.network
    if not network.draws_weights():
        raise UserError(
            f"{network.name} has the same weights whatever the seed, so they are not drawn but loaded by its "
            "factory. To train from scratch, name a factory that leaves its network untrained, and give trained "
            "weights with --weights."
        )
    for seed in seeds:
        images, training = _lessons(config, subject, gallery.to_train_on(seed), seed)
        for method in config.scratch_methods:
            try:
                require_fit(images, method.objective(training), subject.classes)
            except UserError as error:
                if gallery.choice.train_source is not None:
                    raise
                raise UserError(
                    f"{error} Networks are trained from scratch on {_where(gallery)}: name others with --train, or "
                    "with a number more of these; without --train a larger --calibration does the same."
                ) from error


def training_words(config: SweepConfig, subject: Subject, gallery: Gallery) -> list[str]:
    """What networks are trained on and for how long, and what that cannot tell; a sentence each.

    Args:
        config: of the sweep.
        subject: the network.
        gallery: its images.
    """
    steps = config.epochs * Regime().steps(gallery.trained_on)
    epochs = f"{config.epochs} epoch{'' if config.epochs == 1 else 's'}"
    changed = "not augmented" if config.augmentation == "none" else f"augmented by {config.augmentation}"
    where = f"{_where(gallery)}{gallery.choice.training_shift}"
    said = [f"networks are trained from scratch on {where}, {changed}: {epochs}, {steps} steps in all"]
    if steps < FEW_STEPS:
        said.append(
            f"that is little: below {FEW_STEPS} steps the accuracies of networks trained from scratch say hardly "
            "what these could learn; name more images with --train, or more --epochs"
        )
    if subject.classes > SCORING_BATCH:
        said.append(
            f"weights are scored on {SCORING_BATCH} images, so not all of the {subject.classes} classes are among "
            "them"
        )
    return said


def _lessons(
    config: SweepConfig, subject: Subject, source: Images, seed: int
) -> tuple[AugmentedImages, Training]:
    images = AugmentedImages(source, subject.network.preprocess, config.augmentation)
    return images, Training(config.self_distillation, len(source), subject.classes, subject.model, seed)


def _where(gallery: Gallery) -> str:
    choice, count = gallery.choice, gallery.trained_on
    if choice.train_source is not None:
        return f"the {count} images of {choice.train_source}"
    if choice.train_count is not None:
        return f"{count} of the images, which do not judge"
    return f"the {count} calibration images"
