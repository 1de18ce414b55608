"""What the points of one seed in one setting share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from bench import evaluation
from bench.failure import reason
from bench.judging import NO_LABELS, Judged
from bench.school import School
from bench.served import served
from bench.session import Session
from bench.terminal import Terminal
from bench.workbench import GalleryPart, Subject
from bench.workplace import at, workplace
from latency_tables.errors import StorageError
from latency_tables.estimate import Estimate
from latency_tables.slow_minutes import quick_latency_s
from latency_tables.store import Store
from pruning.methods import heal
from pruning.search import Progress
from pruning.targets import Targets


@dataclass(frozen=True)
class Shop:
    """What the points of one seed in one setting share.

    Attributes:
        subject: the unpruned network.
        images: calibration and report images.
        unpruned_outputs: the unpruned network's outputs on the report images, as PyTorch computes them in fp32.
        session: where to time.
        store: the tables.
        terminal: where progress is drawn.
        folder: where the files of each point are made, in a folder of the point's name.
        teacher: the unpruned network with its batch-norm statistics adapted to the calibration images.
        labels: its pseudo labels for them, made once and kept on the device; None where no method asked for heals.
        stages_s: seconds that profiling, adapting and making the labels took; every point has its share in them.
        controls: the networks that every point must stand beside.
        school: how networks are trained from scratch; None where no method asked for does.
    """

    subject: Subject
    images: GalleryPart
    unpruned_outputs: torch.Tensor
    session: Session
    store: Store
    terminal: Terminal
    folder: Path
    teacher: nn.Module
    labels: Targets | None
    stages_s: Mapping[str, float]
    controls: Judged
    school: School | None = None

    def teaching(self, lessons: str) -> School:
        """How networks are trained from scratch.

        Args:
            lessons: the name of the folder in which these trainings keep their state.

        Raises:
            ValueError: nobody opened a school, since no method of the sweep was known to need one.
        """
        if self.school is None:
            raise ValueError("the shop has no school")
        return replace(self.school, folder=self.school.folder / lessons)

    def pseudo_labels(self) -> Targets:
        """What the teacher says of the calibration images.

        Raises:
            ValueError: they were not made, since no method of the sweep was known to need them.
        """
        if self.labels is None:
            raise ValueError("the shop has no pseudo labels")
        return self.labels

    @property
    def device(self) -> torch.device:
        """Where networks are scored, healed and judged by PyTorch; between that they are on the CPU."""
        return workplace(self.session.setting.device.kind)

    def quick_s(self) -> float | None:
        """What the unpruned network takes when the machine is quick, as far as the table knows."""
        return quick_latency_s(self.subject.outline.skeleton, self.store.table(self.session.setting))

    def accuracy(self, outputs: torch.Tensor) -> Estimate | None:
        """Accuracy on the report images; None where they have no labels."""
        return evaluation.accuracy(outputs, self.images.report.labels)

    @cached_property
    def unpruned_served(self) -> torch.Tensor:
        """The unpruned network's outputs as the setting computes them, asked for once; else as `outputs`."""
        return self.outputs(self.subject.model, "the unpruned network")

    def outputs(self, network: nn.Module, what: str, progress: Progress | None = None) -> torch.Tensor:
        """A network's outputs on the report images, as the setting computes them, shape (n, classes).

        In fp32 a runtime gives what PyTorch gives, which is checked on delivery, so PyTorch is asked. In any other
        precision the runtime is.

        Raises:
            UserError or LatheError: as `GalleryPart.outputs`.
            MeasurementFailed: the runtime refuses it.
        """
        if self.session.setting.precision == "fp32":
            if network is self.subject.model:
                return self.unpruned_outputs
            with at(self.device, network):
                return self.images.outputs(network, what, progress)
        subject = self.subject
        shape, images = subject.network.input_shape, self.images.calibration
        with served(subject.outline.skeleton.name, network, shape, self.session, images) as loaded:
            return self.images.outputs(loaded, what, progress)

    def judge(self, networks: Mapping[str, nn.Module], progress: Progress) -> dict[str, Estimate]:
        """Accuracy of several networks on the report images, by name; nothing where these have no labels."""
        found = {
            name: self.accuracy(self.outputs(network, name, progress)) for name, network in networks.items()
        }
        return {name: accuracy for name, accuracy in found.items() if accuracy is not None}

    def judged(self, makers: Mapping[str, Callable[[], nn.Module]], progress: Progress) -> Judged:
        """Makes and judges controls one after the other; one that fails costs itself alone.

        Args:
            makers: what makes each network, by name.
            progress: told of the passes.

        Returns:
            Accuracies and reasons; where the report images have no labels nothing is made, and that is the reason.

        Raises:
            StorageError: nothing can be written any more.
        """
        if self.images.report.labels is None:
            return Judged(failed=dict.fromkeys(makers, NO_LABELS))
        found = Judged()
        for name, make in makers.items():
            try:
                found.accuracies.update(self.judge({name: make()}, progress))
            except StorageError:
                raise
            except Exception as error:  # noqa: BLE001  the result itself is whole, whatever became of its control
                found.failed[name] = reason(error)
        return found

    def heal(
        self,
        student: nn.Module,
        iterations: int,
        seed: int,
        progress: Progress,
        labels: Targets | None = None,
    ) -> None:
        """Finetunes a network in place, on the shop's pseudo labels unless others are given."""
        with at(self.device, student):
            heal(
                student,
                self.images.calibration,
                labels or self.pseudo_labels(),
                seed=seed,
                iterations=iterations,
                progress=progress,
            )
