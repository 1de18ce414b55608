"""A short finetuning without labels: the pruned network learns back what the unpruned one said."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latency_tables.errors import LatheError, UserError
from pruning.adaptation import batch_norms
from pruning.recovery.objective import Batch, Objective, Second
from pruning.search import Progress
from pruning.targets import device_of


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to finetune: stochastic gradient descent, a tenth of the rate at 40 and at 80 %.

    Attributes:
        iterations: steps, at least 1.
        learning_rate: the first rate, positive; what is a good one depends on the loss.
        batch_size: images in one step; all images where there are fewer.
        momentum: 0 to 1.
        weight_decay: at least 0.
    """

    iterations: int
    learning_rate: float
    batch_size: int = 64
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def rate(self, iteration: int) -> float:
        """The learning rate of a step, counted from 0."""
        passed = sum(iteration >= share * self.iterations for share in (0.4, 0.8))
        return self.learning_rate * 0.1**passed


@dataclass(frozen=True, slots=True)
class Finetuned:
    """What happened while finetuning.

    Attributes:
        losses: the loss of each step before its update, in order.
    """

    losses: tuple[float, ...]


def finetune(
    student: nn.Module,
    images: Tensor,
    objective: Objective,
    *,
    schedule: Schedule,
    generator: torch.Generator,
    progress: Progress | None = None,
) -> Finetuned:
    """Pulls the pruned network towards what an objective wants, as `pruning.recovery.teachers.Stored` does.

    Batch norm is in training mode (frozen statistics collapsed or diverged), so the student ends with statistics
    of its own for these images: estimating them once more afterwards moved accuracy by at most 0.5 points (27
    students of ResNet-20 and ResNet-56), and mixing in those of the unpruned network ruined it. Everything else
    (dropout) is in evaluation mode, as when the targets were made.
    Images are not augmented, because a target belongs to the image as it is.

    Args:
        student: the pruned network; all its parameters are trained in place, and it is left in evaluation mode.
        images: preprocessed, shape (n, channels, height, width), n at least 2.
        objective: what to make small, without labels and without a second view; fresh.
        schedule: how long and how fast.
        generator: draws the order of the images (on the CPU); every image is seen once before any is seen again.
        progress: told after each step.

    Returns:
        The loss of each step.

    Raises:
        UserError: fewer than two images, an objective that needs more than images, or one that student and targets
            do not compare by.
        LatheError: the loss is not finite; the message names the step.
    """
    if len(images) < 2:
        raise UserError(f"finetuning needs at least 2 images, got {len(images)}. Give more images.")
    if objective.needs_labels or objective.second is not Second.NONE:
        raise UserError(
            f"finetuning has images alone, and {objective.name} needs labels or a second view of each. Choose an "
            "objective that learns from pseudo labels or a teacher."
        )
    device = device_of(student)
    student.eval().requires_grad_(True)
    for norm in batch_norms(student):
        norm.train()
    optimiser = torch.optim.SGD(
        student.parameters(),
        lr=schedule.learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )
    losses: list[float] = []
    order = shuffled_batches(len(images), min(schedule.batch_size, len(images)), generator)
    for iteration in range(schedule.iterations):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(iteration)
        index = next(order)
        batch = Batch(images[index].to(device), None, index)
        value = objective.loss(student, batch, (iteration + 1) / schedule.iterations)
        losses.append(float(value.detach()))
        if not math.isfinite(losses[-1]):
            raise LatheError(
                f"finetuning diverged: the loss is {losses[-1]} at iteration {iteration + 1} of "
                f"{schedule.iterations}, learning rate {schedule.rate(iteration):g}. Remove fewer "
                "blocks, or take fewer steps (--iterations)."
            )
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if progress is not None:
            progress(iteration + 1, schedule.iterations, "finetuning")
    student.eval()
    return Finetuned(tuple(losses))


def shuffled_batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of full batches for ever, from one permutation after the other.

    Args:
        count: how many items there are.
        batch_size: at most `count`.
        generator: draws the permutations, on the CPU.

    Yields:
        int64, shape (batch_size,), on the CPU.
    """
    rest = torch.empty(0, dtype=torch.int64)
    while True:
        if len(rest) < batch_size:
            rest = torch.cat([rest, torch.randperm(count, generator=generator)])
        yield rest[:batch_size]
        rest = rest[batch_size:]
