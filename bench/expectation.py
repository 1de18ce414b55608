"""How long a sweep will take, told before it starts: from two steps of what it does most, and what tables lack."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.budget import Sparsity
from bench.outlook import Outlook
from bench.points import Recipe
from bench.school import computes_in_bf16
from bench.sweep_config import SweepConfig
from bench.workbench import Gallery, Subject
from bench.workloads.training_images import AugmentedImages
from bench.workplace import at, workplace
from pruning.adaptation import batch_norms
from pruning.criteria.variables import SCORING_IMAGES
from pruning.from_scratch import SCRATCH_METHODS
from pruning.methods import Method, Scored, get_method
from pruning.targets import device_of

_BATCH = 64
#: How much of a network a score runs through, behind the unchanged front.
_SHARE_RUN = 0.5
#: Steps of training that a step forward is, and that one with a self-distillation is: another image of the class is
#: run through for a target, predictions are stored, the last batch is trained on once more.
_FORWARD = 1 / 3
_SECOND_VIEW = {"cs-kd": 1 + _FORWARD, "ps-kd": 1.0, "dlb": 2.0, "none": 1.0}
#: They draw a second view of each image, augmented as the first.
_DRAWN_TWICE = ("cs-kd", "dlb")
#: Seconds for timing, writing and judging a point.
_AROUND_S = 10.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What decides how long a point takes.

    Attributes:
        step_s: seconds of a step of finetuning with `_BATCH` images.
        training_step_s: the same of training from scratch, which computes in bfloat16 where the device does.
        blocks: that may go.
        epochs: of training from scratch.
        training_images: to train from scratch on.
        self_distillation: that it is trained with.
        judges: whether the images that judge have labels, without which no control is made.
        drawing_s: seconds to draw and augment `_BATCH` images to train from scratch on.
    """

    step_s: float
    training_step_s: float
    blocks: int
    epochs: int
    training_images: int
    self_distillation: str
    judges: bool
    drawing_s: float = 0.0

    def training_s(self, *, taught: bool = False) -> float:
        """Seconds of one training from scratch, with a teacher or by self-distillation."""
        if taught:
            return self._steps_s(1 + _FORWARD, 1)
        return self._steps_s(
            _SECOND_VIEW[self.self_distillation], 1 + (self.self_distillation in _DRAWN_TWICE)
        )

    @property
    def _plain_s(self) -> float:
        return self._steps_s(1, 1)

    def _steps_s(self, passes: float, draws: int) -> float:
        step_s = passes * self.training_step_s + draws * self.drawing_s
        return self.epochs * self.training_images / _BATCH * step_s

    def seconds(self, recipe: Recipe) -> float:
        """What a point will take, within a factor of two or so."""
        method = SCRATCH_METHODS.get(recipe.method)
        if method is not None:
            own_s = self.training_s(taught=method.taught)
            controls_s = 0.0
            if recipe.controls and self.judges:
                # What is taught stands beside plain training, the others beside five trainings like their own.
                controls_s = self._plain_s if method.taught else 5 * own_s
            return _AROUND_S + own_s + controls_s
        chosen = get_method(recipe.method)
        heals = 1 + 2 * (chosen.needs_controls and recipe.controls and self.judges)
        return _AROUND_S + heals * recipe.iterations * self.step_s + self._scoring_s(recipe, chosen)

    def _scoring_s(self, recipe: Recipe, method: Method) -> float:
        if method.scored is Scored.NOTHING:
            return 0.0
        sets = float(self.blocks)
        if method.scored is Scored.SETS:
            gone = 1.0 - (_ratio(recipe) or 0.5)
            sets = self.blocks**2 * (gone - gone**2 / 2)
        steps = method.block_steps or SCORING_IMAGES / _BATCH * _FORWARD
        return sets * steps * self.step_s * _SHARE_RUN


def _ratio(recipe: Recipe) -> float | None:
    return None if isinstance(recipe.budget, Sparsity) else recipe.budget.ratio


def workload(subject: Subject, gallery: Gallery, config: SweepConfig) -> Workload:
    """What decides how long the points of a sweep take; a few steps of training are timed for it.

    Args:
        subject: the network.
        gallery: its images.
        config: of the sweep.
    """
    drawn = torch.Generator().manual_seed(0)
    example = torch.randn(_BATCH, *subject.network.input_shape, generator=drawn)
    place = workplace(config.device)
    with at(place, subject.model):
        training_step_s = step_s = step_seconds(subject.model, example)
        if config.scratch_methods and computes_in_bf16(place):
            training_step_s = step_seconds(subject.model, example, bf16=True)
    return Workload(
        step_s=step_s,
        training_step_s=training_step_s,
        blocks=len(subject.outline.skeleton.removable),
        epochs=config.epochs,
        training_images=gallery.trained_on if config.scratch_methods else 0,
        self_distillation=config.self_distillation,
        judges=gallery.clean.labels is not None,
        drawing_s=_drawing_seconds(subject, gallery, config) if config.scratch_methods else 0.0,
    )


def _drawing_seconds(subject: Subject, gallery: Gallery, config: SweepConfig) -> float:
    """Of `_BATCH` images, as training draws them; those that judge have the same size."""
    few = gallery.clean.first(_BATCH)
    images = AugmentedImages(few, subject.network.preprocess, config.augmentation)
    index = torch.arange(_BATCH) % len(few)
    images.take(index, 0)  # the first one loads what it needs
    started_s = time.perf_counter()
    images.take(index, 0)
    return time.perf_counter() - started_s


def step_seconds(
    model: nn.Module,
    images: Tensor,
    now_s: Callable[[], float] = time.perf_counter,
    *,
    bf16: bool = False,
) -> float:
    """Seconds of a training step where the network is, the quicker of two after one that warms up.

    Args:
        model: left as it is.
        images: preprocessed, shape (n, channels, height, width), n at least 2.
        now_s: a monotonic clock.
        bf16: whether to compute in bfloat16, as `pruning.recovery.training.Regime` says it.
    """
    trained = copy.deepcopy(model).requires_grad_(True)
    for norm in batch_norms(trained):
        norm.train()
    device = device_of(trained)
    batch = images[torch.arange(_BATCH) % len(images)].to(device)
    spent = []
    for _ in range(3):
        started_s = now_s()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = trained(batch).square().mean()
        loss.backward()
        trained.zero_grad()
        loss.item()  # waits for a device that works on by itself
        spent.append(now_s() - started_s)
    return min(spent[1:])


def words(
    recipes: Sequence[Recipe], workload: Workload, trained_first: int = 0, lacking: Outlook | None = None
) -> str:
    """As in "12 points, about 9 minutes; 4 minutes of them to time 300 parts and 16 networks for the tables".

    Args:
        recipes: what is to be made.
        workload: what decides how long each takes.
        trained_first: how many unpruned networks are trained before.
        lacking: what the tables lack; None: nothing.
    """
    lacking = lacking or Outlook()
    apart = {
        recipe.lessons: recipe for recipe in recipes
    }.values()  # what several runtimes share is trained once
    seconds = sum(workload.seconds(recipe) for recipe in apart) + trained_first * workload.training_s()
    said = f"{_count(len(recipes), 'point')}, about {_length(seconds + lacking.seconds)}"
    if lacking == Outlook():
        return said
    timed = f"{_count(lacking.parts, 'part')} and {_count(lacking.networks, 'network')}"
    return f"{said}; {_length(lacking.seconds)} of them to time {timed} for the tables"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _length(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
