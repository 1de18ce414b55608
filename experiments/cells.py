"""What the experiments on block choice share: cells (a network, a shift, a seed), their truths, their workers.

A truth is what a pruned network is worth after it was really finetuned, on features before pooling: lathe healed so
when the first pages were written, and heals on more since (`healing.py`). It is kept in a file of its own as soon as
it is known, under the folder of results, so that every experiment resumes and none asks for the same twice.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.allocator import keep_large_blocks
from bench.host import cpu_device
from bench.workbench import Gallery, GalleryPart, ImageChoice, NetworkChoice, Subject
from latency_tables.errors import LatheError
from latency_tables.files import write_json
from pruning.adaptation import adapt_statistics
from pruning.criteria.variables import Workpiece
from pruning.recovery.finetune import Schedule, finetune
from pruning.recovery.losses import StoredFeatures
from pruning.recovery.teachers import Stored
from pruning.surgery import remove_blocks
from pruning.targets import Targets, pseudo_labels

RESULTS = Path(__file__).parents[1] / "docs" / "results"


@dataclass(frozen=True)
class Source:
    """A trained network with the images it is tried on.

    Attributes:
        network: as `lathe` names it.
        weights: file of its weights.
        images: as `lathe` names them.
        input_shape: None for the network's own.
        report: how many images judge.
    """

    network: str
    weights: str
    images: str
    input_shape: tuple[int, int, int] | None
    report: int


@dataclass(frozen=True)
class Cell:
    """Where choices are compared: one network under one shift, with one split and order of the images.

    Attributes:
        source: network and images.
        shift: corruption and severity.
        seed: of the split, of the noise and of the order of finetuning.
        calibration: images to score and finetune on.
    """

    source: Source
    shift: str
    seed: int
    calibration: int = 500

    @property
    def name(self) -> str:
        """Fit for a folder."""
        network = self.source.network.rpartition("/")[2]
        few = "" if self.calibration == 500 else f"-n{self.calibration}"
        return f"{network}-{self.shift.replace(':', '_')}{few}-s{self.seed}"


@dataclass(frozen=True)
class Ground:
    """A cell opened.

    Attributes:
        subject: the network.
        images: calibration and report images.
        teacher: the network with re-estimated statistics.
        labels: its pseudo labels.
        reference: its log-probabilities on the report images, shape (n, classes).
        classes: of the report images, shape (n,).
        cost_s: processor seconds of re-estimating, and of making the pseudo labels.
        cell: which.
    """

    subject: Subject
    images: GalleryPart
    teacher: nn.Module
    labels: Targets
    reference: Tensor
    classes: Tensor
    cost_s: dict[str, float]
    cell: Cell

    @property
    def piece(self) -> Workpiece:
        """Made anew each time, so that what criteria share within it is paid for."""
        skeleton = self.subject.outline.skeleton
        return Workpiece(self.teacher, self.images.calibration, self.labels, skeleton, self.cell.seed)

    @property
    def candidates(self) -> tuple[str, ...]:
        """The removable blocks in the network's order."""
        return self.subject.outline.skeleton.removable

    def judge(self, model: nn.Module) -> dict[str, float]:
        """Accuracy (0 to 1) and mean KL to the teacher's outputs (nats) on the report images."""
        logits = self.images.outputs(model, "the pruned network")
        right = logits.argmax(1) == self.classes
        kl = (self.reference.exp() * (self.reference - logits.log_softmax(1))).sum(1)
        return {"accuracy": float(right.float().mean()), "kl": float(kl.mean())}


def sources(weights: Path, cifar: str, imagenet: str) -> dict[str, Source]:
    """The three networks by their short name."""
    return {
        "resnet20": Source(
            "cifar/resnet20", str(weights / "cifar10_resnet20_akamaster.safetensors"), cifar, None, 1000
        ),
        "resnet56": Source(
            "cifar/resnet56", str(weights / "cifar10_resnet56_akamaster.safetensors"), cifar, None, 1000
        ),
        # At 128 pixels a step costs a third of one at 224, and the accuracy is 61 instead of 86 %.
        "mobilenet_v2": Source(
            "imagenet/mobilenet_v2",
            str(weights / "imagenet_mobilenet_v2_1.0_224_dequantised.safetensors"),
            imagenet,
            (3, 128, 128),
            1000,
        ),
    }


@lru_cache(maxsize=1)
def open_cell(cell: Cell) -> Ground:
    """Loads, shifts, splits, adapts and asks the teacher; kept for the next question on the same cell."""
    source = cell.source
    subject = Subject(NetworkChoice(source.network, Path(source.weights), source.input_shape), 1)
    images = Gallery(ImageChoice(source.images, cell.shift, cell.calibration), subject.network).part(
        cell.seed
    )
    keep = np.arange(min(source.report, len(images.report)))
    images.report = images.report.take(keep)
    with processor_time() as adapt_s:
        teacher = adapt_statistics(subject.model, images.calibration).model
    with processor_time() as label_s:
        labels = pseudo_labels(teacher, images.calibration, keep_features=True)
    outputs = images.outputs(teacher, "the unpruned network")
    assert images.report.labels is not None  # noqa: S101  real data has labels
    return Ground(
        subject,
        images,
        teacher,
        labels,
        outputs.log_softmax(1),
        torch.as_tensor(images.report.labels),
        {"adapt": adapt_s(), "pseudo labels": label_s()},
        cell,
    )


class processor_time:  # noqa: N801  reads as a statement
    """Seconds of processor time of this process; with one thread they hardly depend on what else runs."""

    def __enter__(self) -> Callable[[], float]:
        self._start = time.process_time()
        self._stop: float | None = None
        return lambda: (self._stop or time.process_time()) - self._start

    def __exit__(self, *_: object) -> None:
        self._stop = time.process_time()


def truth(cell: Cell, removed: Iterable[str], schedule: Schedule, folder: Path) -> dict[str, Any]:
    """Really prunes, finetunes and judges, unless that was done before.

    Returns:
        ``accuracy``, ``kl`` and ``seconds`` (processor time of finetuning), or ``failed`` with the reason where
        finetuning diverged.
    """
    path = truth_path(cell, removed, schedule, folder)
    if path.exists():
        return read(path)
    ground = open_cell(cell)
    student = remove_blocks(ground.teacher, sorted(removed))
    record: dict[str, Any] = {"removed": sorted(removed), "iterations": schedule.iterations}
    with processor_time() as spent:
        try:
            finetune(
                student,
                ground.images.calibration,
                Stored(ground.labels, StoredFeatures()),
                schedule=schedule,
                generator=torch.Generator().manual_seed(cell.seed),
            )
            failure = None
        except LatheError as error:
            failure = str(error)
    record["seconds"] = spent()
    if failure is None:
        record |= ground.judge(student)
    else:
        record["failed"] = failure
    write_json(path, record)
    return record


def truth_path(cell: Cell, removed: Iterable[str], schedule: Schedule, folder: Path) -> Path:
    """Where a truth is kept."""
    words = f"{sorted(removed)} {schedule}"
    return folder / cell.name / "truth" / f"{hashlib.sha256(words.encode()).hexdigest()[:16]}.json"


def read(path: Path) -> dict[str, Any]:
    """A record as it was written."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def run_all(
    work: Callable[[Any], object],
    tasks: Sequence[Any],
    jobs: int,
    what: str,
    *,
    deadline_s: float = math.inf,
) -> None:
    """Runs tasks in worker processes of one thread each, and says how far it is.

    Args:
        work: a function of this or the calling module; its result is not used.
        tasks: its arguments.
        jobs: processes.
        what: for the progress line.
        deadline_s: no task is begun after this moment of `time.monotonic`, the same for all processes.
    """
    start = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, initializer=_one_thread) as pool:
        for done, _ in enumerate(pool.imap_unordered(_Until(work, deadline_s), tasks), start=1):
            spent = time.monotonic() - start
            left = spent / done * (len(tasks) - done)
            print(
                f"{what}: {done}/{len(tasks)}, {spent / 60:.1f} min, about {left / 60:.1f} left", flush=True
            )


@dataclass(frozen=True)
class _Until:
    work: Callable[[Any], object]
    deadline_s: float

    def __call__(self, task: Any) -> None:
        if time.monotonic() < self.deadline_s:
            self.work(task)


def _one_thread() -> None:
    torch.set_num_threads(1)
    keep_large_blocks()


class Practised:
    """PRACTISE's recoverabilities, trained once for all experiments and kept; a `Criterion`.

    Args:
        cell: where.
        piece: the cell's workpiece.
        iterations: steps of adaptor training for each block.
        folder: of all experiments.
    """

    name = "practise"
    needs_images = True

    def __init__(self, cell: Cell, piece: Workpiece, iterations: int, folder: Path) -> None:
        path = folder / "practise" / cell.name / f"{iterations}.json"
        if not path.exists():
            with processor_time() as spent:
                criterion = piece.practise(iterations)
                scores = {block: criterion.recoverability(block) for block in piece.candidates}
            write_json(path, {"scores": scores, "seconds": spent()})
        record = read(path)
        self.scores: dict[str, float] = record["scores"]
        self.seconds: float = record["seconds"]

    def expect(self, removed: frozenset[str]) -> None:
        """Nothing to prepare."""

    def hurt(self, removed: frozenset[str]) -> float:
        """The sum over the blocks."""
        return sum(self.scores[block] for block in removed)


def chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Pieces of at most this size, in order."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def page_path(script: str, scale: str) -> Path:
    """Where a script's page goes: that of the short run, on which the claims rest, is never another scale's."""
    return RESULTS / (f"{script}.md" if scale == "short" else f"{script}-{scale}.md")


def read_off(reading: str, scale: str) -> str:
    """What a run said in plain words; a reading is one of the short run, and nobody has read the others yet."""
    return (reading.strip() if scale == "short" else "") or "Not read yet."


def origin(script: str, scale: str) -> str:
    """One paragraph: what wrote a page, when, on which machine, with which versions."""
    extra = ("openvino",) if find_spec("openvino") else ()
    packages = ("torch", "numpy", "scipy", "onnxruntime", *extra, "lathe")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cpu = cpu_device().name
    return (
        f"Written by `experiments/{script}.py --scale {scale}` on {datetime.now(UTC).date().isoformat()}, "
        f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}."
    )
