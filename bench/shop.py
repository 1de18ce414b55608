"""What the points of one seed in one setting share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from bench import evaluation
from bench.session import Session
from bench.terminal import Terminal
from bench.workbench import GalleryPart, Subject
from latency_tables.estimate import Estimate
from latency_tables.slow_minutes import quick_latency_s
from latency_tables.store import Store
from pruning.methods import heal
from pruning.recovery.finetune import Schedule
from pruning.search import Progress
from pruning.targets import Targets


@dataclass(frozen=True)
class Shop:
    """What the points of one seed in one setting share.

    Attributes:
        subject: the unpruned network.
        images: calibration and report images.
        unpruned_outputs: the unpruned network's outputs on the report images.
        session: where to time.
        store: the tables.
        terminal: where progress is drawn.
        folder: where the files of each point are made, in a folder of the point's name.
        teacher: the unpruned network with its batch-norm statistics adapted to the calibration images.
        labels: its pseudo labels for them, made once.
        stages_s: seconds that profiling, adapting and making the labels took; every point has its share in them.
        controls: accuracy of networks that every point must stand beside, by name.
    """

    subject: Subject
    images: GalleryPart
    unpruned_outputs: torch.Tensor
    session: Session
    store: Store
    terminal: Terminal
    folder: Path
    teacher: nn.Module
    labels: Targets
    stages_s: Mapping[str, float]
    controls: Mapping[str, Estimate]

    def quick_s(self) -> float | None:
        """What the unpruned network takes when the machine is quick, as far as the table knows."""
        return quick_latency_s(self.subject.outline.skeleton, self.store.table(self.session.setting))

    def accuracy(self, outputs: torch.Tensor) -> Estimate | None:
        """Accuracy on the report images; None where they have no labels."""
        return evaluation.accuracy(outputs, self.images.report.labels)

    def heal(
        self,
        student: nn.Module,
        iterations: int,
        seed: int,
        progress: Progress,
        labels: Targets | None = None,
    ) -> None:
        """Finetunes a network in place, on the shop's pseudo labels unless others are given."""
        heal(
            student,
            self.images.calibration,
            labels or self.labels,
            seed=seed,
            schedule=Schedule(iterations=iterations),
            progress=progress,
        )
