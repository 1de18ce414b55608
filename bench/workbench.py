"""Everything that the points of one job share: the network, its outline, the images, the unpruned outputs."""

from __future__ import annotations

import copy
import shlex
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from bench import evaluation
from bench.runtimes import make_setting
from bench.workloads import (
    Images,
    Network,
    apply_shift,
    load_images,
    parse_input_shape,
    parse_shift,
    resolve,
    split,
)
from bench.workloads.images import require_apart, require_enough
from latency_tables.errors import UserError
from latency_tables.setting import Setting
from latency_tables.table import LatencyTable
from pruning.outline import Outline, outline
from pruning.search import Progress
from pruning.widths import with_groups


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """Which network, as named on the command line.

    Attributes:
        name: as `bench.workloads.resolve` takes it.
        weights: file with trained weights, or None.
        input_shape: channels, height, width; None for the network's own.
    """

    name: str
    weights: Path | None = None
    input_shape: tuple[int, int, int] | None = None

    @classmethod
    def read(cls, name: str, weights: Path | None, input_shape: str | None) -> NetworkChoice:
        """From words, the input as in 3x224x224.

        Raises:
            UserError: that is no shape.
        """
        return cls(name, weights, None if input_shape is None else parse_input_shape(input_shape))

    def arguments(self) -> list[str]:
        """The command line's words for it."""
        words = [self.name]
        if self.weights is not None:
            words += ["--weights", str(self.weights)]
        if self.input_shape is not None:
            words += ["--input", "x".join(map(str, self.input_shape))]
        return words


@dataclass(frozen=True, slots=True)
class SettingChoice:
    """Where and how to measure, as named on the command line; see `latency_tables.setting.Setting`."""

    runtime: str = "onnxruntime"
    device: str = "cpu"
    threads: int = 1
    batch: int = 1
    precision: str = "fp32"
    options: tuple[tuple[str, str], ...] = ()

    def make(self) -> Setting:
        """The setting, on this machine.

        Raises:
            UserError: the runtime is not known, not usable, or cannot do this.
        """
        return make_setting(
            self.runtime,
            device_kind=self.device,
            threads=self.threads,
            batch=self.batch,
            precision=self.precision,
            asked=dict(self.options),
        )

    def arguments(self) -> list[str]:
        """The command line's words for it."""
        default = SettingChoice()
        words = ["--runtime", self.runtime]
        for name in ("device", "threads", "batch", "precision"):
            if getattr(self, name) != getattr(default, name):
                words += [f"--{name}", str(getattr(self, name))]
        for name, value in self.options:
            words += ["--option", f"{name}={value}"]
        return words


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """Which images, as named on the command line.

    Attributes:
        source: as `bench.workloads.load_images` takes it.
        shift: corruption and severity, or None.
        calibration: images to prune and heal on.
        train: what to train from scratch on: images of their own, as ``source``; or a number, so many of the
            images themselves, the calibration images first; None: the calibration images. Images that are neither
            calibrated nor trained on are reported on.
    """

    source: str
    shift: str | None = None
    calibration: int = 500
    train: str | None = None

    @property
    def train_count(self) -> int | None:
        """How many of the images themselves are trained on, where that is named as a number."""
        return int(self.train) if self.train is not None and self.train.isdecimal() else None

    @property
    def train_source(self) -> str | None:
        """Where images to train on are read from, where they are others."""
        return None if self.train_count is not None else self.train

    @property
    def training_shift(self) -> str:
        """Whether what is trained on is shifted as what judges, as a clause; empty where nothing is shifted."""
        if self.shift is None:
            return ""
        return f", under {self.shift}" if self.train_source is None else f", clean and not under {self.shift}"

    def arguments(self) -> list[str]:
        """The command line's words for it, those for training left out."""
        words = ["--images", self.source]
        if self.shift is not None:
            words += ["--shift", self.shift]
        return [*words, "--calibration", str(self.calibration)]


class Subject:
    """A network taken apart for one batch size.

    Args:
        choice: the network.
        batch: images in one forward pass when it is timed.

    Raises:
        UserError: see `bench.workloads.resolve` and `pruning.outline.outline`.
    """

    def __init__(self, choice: NetworkChoice, batch: int) -> None:
        self.choice = choice
        self.network: Network = resolve(choice.name, weights=choice.weights, input_shape=choice.input_shape)
        model = self.network.build()
        self.outline: Outline = outline(choice.name, model, self.network.input_shape, batch)
        self.model: nn.Module = channels_last(model, self.network.input_shape)
        self._batch = batch

    @cached_property
    def classes(self) -> int:
        """How many outputs the network has for an image."""
        with torch.no_grad():
            return int(self.model(torch.zeros(1, *self.network.input_shape)).shape[1])

    def with_weights_of(self, model: nn.Module) -> Subject:
        """The same network, of other weights; its parts and its tables stay what they are."""
        other = copy.copy(self)
        other.model = model
        return other

    @cached_property
    def wide(self) -> Outline:
        """The outline with channel groups; finding them takes a few more captures of the network.

        Raises:
            UserError: the network cannot be traced, so that nothing is known of its channels.
        """
        return with_groups(self.outline, self.model, self.network.input_shape, self._batch)

    def outline_for(self, *tables: LatencyTable, widths: bool = False) -> Outline:
        """The outline to predict with: with channel groups where a table holds narrower forms of the network.

        Without groups the fit would have to do without these, and the same plan would be predicted otherwise, and
        less surely.

        Args:
            tables: to predict from.
            widths: whether groups are asked for in any case.

        Raises:
            UserError: as `wide`.
        """
        known = any(table.over_widths(self.outline.skeleton) for table in tables)
        return self.wide if widths or known else self.outline


class Gallery:
    """Images prepared for one network: shifted, then split by seed.

    Args:
        choice: the images.
        network: the network that they are for.

    Attributes:
        clean: all of them, as they were before any shift.

    Raises:
        UserError: see `bench.workloads.load_images` and `apply_shift`.
    """

    def __init__(self, choice: ImageChoice, network: Network) -> None:
        if choice.shift is not None:
            parse_shift(choice.shift)  # a wrong word is said before minutes are spent
        self.choice = choice
        self._network = network
        self.clean = load_images(choice.source, size=network.input_shape[1:])
        self._training: Images | None = None

    def training_on(self, train: str | None) -> Gallery:
        """The same images, others of them to train on; nothing is read anew.

        Args:
            train: as in `ImageChoice`.
        """
        other = copy.copy(self)
        other.choice = replace(self.choice, train=train)
        other._training = self._training if train == self.choice.train else None
        return other

    def training(self) -> Images:
        """Images to train from scratch on, of a source of their own; read once.

        Raises:
            UserError: none is named, it cannot be read, or some of its images are among those that judge.
        """
        source = self.choice.train_source
        if source is None:
            raise UserError("no source of training images is named; name one with --train")
        if self._training is None:
            found = load_images(source, size=self._network.input_shape[1:], training=True)
            require_apart(found, self.clean)
            self._training = found
        return self._training

    @property
    def trained_on(self) -> int:
        """How many images networks are trained from scratch on.

        Raises:
            UserError: as `training`, where a source of its own is named.
        """
        return self._share if self.choice.train_source is None else len(self.training())

    def require_enough(self) -> None:
        """Makes sure that images are left to judge by.

        Raises:
            UserError: all are calibrated or trained on.
        """
        require_enough(self.clean, self._seen)

    def to_train_on(self, seed: int) -> Images:
        """What networks of a seed are trained on, as it was before any shift.

        Raises:
            UserError: as `training`, where a source of its own is named.
        """
        if self.choice.train_source is not None:
            return self.training()
        return self._split(self.clean, seed)[0].first(self._share)

    def part(self, seed: int) -> GalleryPart:
        """Images to calibrate, to train and to report on for one seed, shifted with that seed."""
        images = self.clean
        if self.choice.shift is not None:
            images = apply_shift(images, self.choice.shift, seed)
        seen, report = self._split(images, seed)
        training = seen.first(self._share)
        return GalleryPart(self._network, seen.first(self.choice.calibration), training, report)

    @property
    def _share(self) -> int:
        """How many of the images themselves may be trained on."""
        count = self.choice.train_count
        return self.choice.calibration if count is None else count

    @property
    def _seen(self) -> int:
        """How many of the images do not judge."""
        return max(self.choice.calibration, self._share)

    def _split(self, images: Images, seed: int) -> tuple[Images, Images]:
        """What may be seen, the calibration images first, and what is reported on."""
        return split(images, self._seen, seed)


class GalleryPart:
    """One seed's images.

    Attributes:
        calibration: preprocessed, shape (n, channels, height, width); without labels.
        training: pixels with their labels, for methods that train from scratch and have no source of their own.
        report: images to judge on, none of them among the others.
    """

    def __init__(self, network: Network, calibration: Images, training: Images, report: Images) -> None:
        self._network = network
        self.calibration: torch.Tensor = network.preprocess(calibration.pixels).contiguous(
            memory_format=torch.channels_last
        )
        self.training = training
        self.report = report

    def outputs(self, model: nn.Module, what: str, progress: Progress | None = None) -> torch.Tensor:
        """A network's outputs on the report images, shape (n, classes).

        Raises:
            UserError: there are classes among the labels that the network does not know.
            LatheError: an output is not finite.
        """
        logits = evaluation.logits_of(model, self.report, self._network.preprocess, what, progress)
        labels = self.report.labels
        if labels is not None and int(labels.max()) >= logits.shape[1]:
            raise UserError(
                f"the images have classes up to {int(labels.max())}, but {self._network.name} has only "
                f"{logits.shape[1]} outputs; the images belong to another network"
            )
        return logits


@dataclass(frozen=True, slots=True)
class Material:
    """What a sweep works on. Whoever has it already hands it on: on a large network both take minutes.

    Attributes:
        subject: the network.
        gallery: its images.
    """

    subject: Subject
    gallery: Gallery


def channels_last(model: nn.Module, input_shape: tuple[int, int, int]) -> nn.Module:
    """Lays a network's weights out for this process's own passes; what is timed has the setting's layout.

    Scoring and finetuning gain 1.2 to 1.7 times on such CPUs: 205 to 167 ms a step of 64 images (ResNet-56).

    Args:
        model: in evaluation mode; laid out in place.
        input_shape: channels, height, width of one image.

    Returns:
        The network; in PyTorch's own layout where it cannot run in the other, as one that views a convolution's
        output as a vector.
    """
    typed = cast(Any, model)
    example = torch.zeros(2, *input_shape).contiguous(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            typed.to(memory_format=torch.channels_last)(example)
    except RuntimeError:
        typed.to(memory_format=torch.contiguous_format)
    return model


def command_line(verb: str, *parts: list[str]) -> str:
    """The command line that does something again."""
    return shlex.join(["lathe", verb, *(word for part in parts for word in part)])
