"""Training from scratch as the bench does it: images, schedule, and a file that each training goes on from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.failure import FAILURES, reason
from bench.host import cpu_device
from bench.workbench import Subject, channels_last
from bench.workloads import Network
from bench.workloads.training_images import AugmentedImages
from bench.workloads.weights import load_into, load_state, saved
from bench.workplace import at
from latency_tables.errors import LatheError, StorageError, UserError
from latency_tables.files import write_atomically, write_json
from pruning.branches import open_branches
from pruning.early.criterion import Scores, scored
from pruning.from_scratch import SCORING_BATCH, ScratchMethod, Training
from pruning.recovery.batches import balanced_batch, mixed_seed, require_fit
from pruning.recovery.checkpoint import FORMAT
from pruning.recovery.objective import Objective
from pruning.recovery.training import Regime, train
from pruning.search import Progress
from reports.results import UNPRUNED

_HISTORY = ".history.json"


@dataclass(frozen=True, slots=True)
class Schooling:
    """How long and how fast, as a user says it; see `pruning.recovery.training.Regime`."""

    epochs: int
    learning_rate: float
    schedule: Literal["cosine", "step"]
    average: float


@dataclass(frozen=True)
class School:
    """What all trainings of a sweep share.

    Attributes:
        network: what is trained.
        images: what it is trained on.
        regime: how long and how fast.
        training: what for, with the seed.
        folder: where trainings that are not over keep their state.
        device: where weights are scored and networks trained; what comes out of it is on the CPU.
    """

    network: Network
    images: AugmentedImages
    regime: Regime
    training: Training
    folder: Path
    device: torch.device

    @property
    def example(self) -> Tensor:
        """What dependencies are traced on, shape (1, channels, height, width)."""
        drawn = torch.Generator().manual_seed(0)
        return torch.randn(1, *self.network.input_shape, generator=drawn)

    def untrained(self, luck: int = 0) -> nn.Module:
        """The unpruned network with its first weights, its branches open; see `open_branches`.

        Args:
            luck: other numbers draw other weights.
        """
        model = self.network.untrained(mixed_seed("first weights", self.training.seed, luck))
        return channels_last(open_branches(model), self.network.input_shape)

    def scores(self, method: ScratchMethod, model: nn.Module, density: float) -> Scores:
        """What a method's criterion says of each weight.

        Raises:
            UserError: it misses labels, or a class has no image.
            LatheError: a score is not finite.
        """
        if method.criterion is None:
            raise ValueError(f"{method.name} ranks no weights")
        objective, seed = self.training.objective(), self.training.seed
        criterion = method.criterion(self.training)
        if criterion.needs_labels:
            require_fit(self.images, objective, self.training.classes)
        batch = balanced_batch(self.images, objective, SCORING_BATCH, seed)
        with at(self.device, model):
            return scored(criterion, model, batch.to(self.device, torch.contiguous_format), density, seed)

    def teach(
        self,
        model: nn.Module,
        objective: Objective,
        what: str,
        progress: Progress,
        masks: Mapping[str, Tensor] | None = None,
        apart: str = "",
    ) -> nn.Module:
        """Trains a network in place, and hands it back in evaluation mode.

        Args:
            model: with its first weights.
            objective: what for; fresh.
            what: which training it is, in words; one that was stopped goes on if they are the same.
            progress: told after each step.
            masks: which weights may differ from zero.
            apart: more that must be the same for that.

        Raises:
            UserError: the objective misses something, or the images do not have the network's classes.
            LatheError: the loss is not finite.
        """
        require_fit(self.images, objective, self.training.classes)
        name = _name(what, apart)
        # Stays until the point is written, so that a kill during a later training loses none.
        file = self.folder / f"{name}.checkpoint"
        with at(self.device, model):
            trained = train(
                model,
                self.images,
                objective,
                regime=self.regime,
                seed=self.training.seed,
                masks=masks,
                checkpoint=file,
                progress=progress,
            )
        epochs = [asdict(epoch) for epoch in trained.epochs]
        write_json(self.folder / f"{name}{_HISTORY}", {"training": what, "epochs": epochs})
        return model

    def knows(self, what: str, apart: str = "") -> bool:
        """Whether a training was finished before, so that `teach` only reads what came of it; words as there."""
        return (self.folder / f"{_name(what, apart)}{_HISTORY}").exists()


def _name(what: str, apart: str) -> str:
    return hashlib.sha256(f"{FORMAT} {what} {apart}".encode()).hexdigest()[:16]


def histories(folder: Path) -> list[Any]:
    """Loss and accuracy by epoch of the trainings that kept their state in a folder, the first to end first.

    Of several of one name, as where a network missed its budget and another was trained, the last one.
    """
    last: dict[str, Any] = {}
    for file in sorted(folder.glob(f"*{_HISTORY}"), key=lambda file: file.stat().st_mtime_ns):
        told = json.loads(file.read_text(encoding="utf-8"))
        last.pop(told["training"], None)
        last[told["training"]] = told
    return list(last.values())


def trained_file(folder: Path, seed: int) -> Path:
    """Where a run keeps the unpruned network that it trained for a seed."""
    return folder / f"{UNPRUNED}-s{seed}.safetensors"


class UntrainedError(LatheError):
    """The unpruned network of one seed could not be trained; another seed may fare better."""


def trained_first(school: School, file: Path, progress: Progress) -> School:
    """Trains the unpruned network as the small ones will be, so that it can be their measure and their teacher.

    Args:
        school: how.
        file: where its weights are, or go; one that is there is trusted to be of this school.
        progress: told after each step.

    Returns:
        The school with that network as the teacher.

    Raises:
        UserError: as `School.teach`, or the file cannot be read.
        UntrainedError: the training failed.
    """
    model = school.untrained()
    if file.exists():
        load_into(model, load_state(file))
    else:
        alone = replace(school, folder=school.folder / file.stem)
        try:
            alone.teach(model, school.training.objective(), "the unpruned network", progress)
        except (UserError, StorageError):
            raise  # what is wrong with the request, or the disk, is so for every seed
        except FAILURES as error:
            raise UntrainedError(
                f"the unpruned network could not be trained with seed {school.training.seed}, so nothing stands to "
                f"compare with: {reason(error)}"
            ) from error
        write_json(file.with_suffix(".trainings.json"), histories(alone.folder))
        write_atomically(file, saved(model))
        shutil.rmtree(alone.folder, ignore_errors=True)
    return replace(school, training=replace(school.training, teacher=model))


def computes_in_bf16(device: torch.device) -> bool:
    """Whether it does, so that training in bfloat16 is quicker than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return "avx512_bf16" in cpu_device().features


def open_school(
    subject: Subject,
    images: AugmentedImages,
    training: Training,
    schedule: Schooling,
    folder: Path,
    device: torch.device,
) -> School:
    """How a device trains best: in bfloat16 where it computes in it, channels innermost if the network can.

    A ResNet-20 on CPUs with bfloat16 took 28 seconds for an epoch of CIFAR-10 in place of 69.

    Args:
        subject: the unpruned network.
        images: what to train on.
        training: what for.
        schedule: how long and how fast.
        folder: for what trainings keep.
        device: where.
    """
    laid_out = any(
        weight.ndim == 4
        and not weight.is_contiguous()
        and weight.is_contiguous(memory_format=torch.channels_last)
        for weight in subject.model.parameters()
    )
    regime = Regime(
        epochs=schedule.epochs,
        learning_rate=schedule.learning_rate,
        schedule=schedule.schedule,
        average=schedule.average,
        bf16=computes_in_bf16(device),
        channels_last=laid_out,
    )
    return School(subject.network, images, regime, training, folder, device)
