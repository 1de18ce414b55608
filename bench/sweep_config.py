"""A sweep as its TOML file says it, checked field by field."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)

from bench.budget import parse_budget, parse_sparsity
from bench.runtimes import get_runtime
from bench.school import Schooling
from bench.workbench import ImageChoice, NetworkChoice, SettingChoice
from bench.workloads import parse_shift
from bench.workloads.training_images import Augmentation
from latency_tables.errors import UserError, unknown
from pruning.from_scratch import SCRATCH_METHODS, SELF_DISTILLATIONS, ScratchMethod
from pruning.methods import get_method

#: What a sweep compares where nothing else is said: of a trained network, of one to train, of one without blocks.
BLOCK_METHODS = ("ttmpd", "ttmpd-no-latency", "random", "last")
MIXED_METHODS = ("ttmpd", "random", "epsd-structured", "kd")
CHANNEL_METHODS = ("epsd-structured", "magnitude-structured", "random-weights-structured", "kd")


def takes_single_weights(method: str) -> bool:
    """Whether a method takes weights out one by one, so that its budget is a sparsity."""
    return method in SCRATCH_METHODS and not SCRATCH_METHODS[method].structured


class SweepConfig(BaseModel):
    """What a sweep runs: every method at every budget with every seed, in every setting.

    Paths are taken from the folder in which the command is given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = Field(description="as on the command line, e.g. cifar/resnet56 or net.py:make")
    weights: Path | None = None
    input: str | None = Field(None, description='as in "3x224x224"')
    images: str = Field(description="digits, folder:PATH, npz:PATH or cifar10:PATH")
    shift: str | None = Field(None, description='as in "gaussian_noise:3"')
    calibration: PositiveInt = 500
    train: str | None = Field(
        default=None,
        description="images to train from scratch on, or a number: so many of `images`, which then do not judge; "
        "without, the calibration images with their labels",
    )
    methods: tuple[str, ...] = BLOCK_METHODS
    budgets: tuple[str, ...] = ("0.8x", "0.6x", "0.4x")
    seeds: tuple[NonNegativeInt, ...] = (0,)
    runtimes: tuple[str, ...] = Field(
        default=("onnxruntime",), description='each alone, or with a precision of its own: "onnxruntime int8"'
    )
    device: str = "cpu"
    threads: PositiveInt = 1
    batch: PositiveInt = 1
    precision: str = Field(default="fp32", description="of the runtimes that stand without one")
    options: dict[str, str] = Field(
        default_factory=dict, description="of those runtimes that have them, as launch = 'graph'"
    )
    iterations: PositiveInt = 200
    rounds: PositiveInt = 4
    epochs: PositiveInt = Field(default=30, description="of training from scratch")
    learning_rate: PositiveFloat = Field(default=0.1, description="the highest, of training from scratch")
    schedule: Literal["cosine", "step"] = "cosine"
    average: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="decay of the moving average of the weights; 0: none"
    )
    self_distillation: str = Field(default="cs-kd", description="cs-kd, ps-kd, dlb or none")
    augmentation: Augmentation = "crop-flip"
    controls: bool = Field(True, description="finetune the controls as well")

    @field_validator("train", mode="before")
    @classmethod
    def _number_as_text(cls, value: object) -> object:
        """A number may stand in a TOML file without quotes."""
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("runtimes")
    @classmethod
    def _runtime_and_precision(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if len(entry.split()) not in (1, 2):
                raise ValueError(
                    f'a runtime, or one with its precision as in "onnxruntime int8", not {entry!r}'
                )
        return tuple(" ".join(entry.split()) for entry in value)

    @field_validator("methods", "budgets", "seeds", "runtimes")
    @classmethod
    def _not_empty(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if not value:
            raise ValueError("at least one is needed")
        if len(set(value)) != len(value):
            raise ValueError("one stands there twice")
        return value

    def check_names(self) -> None:
        """Says a wrong word before anything is measured.

        Raises:
            UserError: an unknown method, runtime, precision, option, shift or self-distillation, a setting that is
                asked for twice, a budget that is none, or a method and a budget without a counterpart.
        """
        for method in self.methods:
            if method not in SCRATCH_METHODS:
                get_method(method)
        if self.self_distillation not in SELF_DISTILLATIONS:
            raise unknown("self-distillation", self.self_distillation, SELF_DISTILLATIONS)
        self._check_settings()
        self._check_pairs()
        if self.shift is not None:
            parse_shift(self.shift)

    @property
    def default_budgets(self) -> bool:
        """Whether nobody named a budget."""
        return "budgets" not in self.model_fields_set

    def pairs(self) -> list[tuple[str, str]]:
        """Every budget with every method that it makes sense for: sparsities for those that take single weights."""
        return [
            (budget, method)
            for budget in self.budgets
            for method in self.methods
            if (parse_sparsity(budget) is not None) == takes_single_weights(method)
        ]

    @property
    def narrows(self) -> bool:
        """Whether a method takes whole channels out."""
        return any(method.structured for method in self.scratch_methods)

    @property
    def takes_blocks(self) -> bool:
        """Whether a method takes blocks out of the trained network, and heals what is left."""
        return len(self.scratch_methods) < len(self.methods)

    @property
    def scratch_methods(self) -> list[ScratchMethod]:
        """Those of the methods that train from scratch."""
        return [SCRATCH_METHODS[method] for method in self.methods if method in SCRATCH_METHODS]

    @property
    def trains_unpruned(self) -> bool:
        """Whether the unpruned network has no trained weights, and images are there to train it on first."""
        return self.weights is None and bool(self.scratch_methods)

    def _check_pairs(self) -> None:
        for budget in self.budgets:
            if parse_sparsity(budget) is None:
                parse_budget(budget)
        paired = self.pairs()
        for method in self.methods:
            if method not in {other for _, other in paired}:
                wanted = "a sparsity, as in 90%" if takes_single_weights(method) else "a latency, as in 0.7x"
                raise UserError(f"{method} needs {wanted}, among the budgets; got {', '.join(self.budgets)}")
        for budget in self.budgets:
            if budget not in {other for other, _ in paired}:
                raise UserError(f"no method here knows what to do with the budget {budget}")

    def _check_settings(self) -> None:
        choices = self.setting_choices()
        asked: dict[SettingChoice, str] = {}
        for entry, choice in zip(self.runtimes, choices, strict=True):
            runtime = get_runtime(choice.runtime)
            if choice.precision not in runtime.precisions:
                raise unknown(f"precision for {choice.runtime}", choice.precision, runtime.precisions)
            if self.device not in runtime.device_kinds:
                raise unknown(f"kind of device for {choice.runtime}", self.device, runtime.device_kinds)
            if choice in asked:
                raise UserError(
                    f"{asked[choice]!r} and {entry!r} among the runtimes are the same setting, since the sweep's "
                    f"precision is {self.precision!r}. Leave one out, or give it another precision."
                )
            asked[choice] = entry
        default = SweepConfig.model_fields["precision"].default
        if self.precision not in (default, *(choice.precision for choice in choices)):
            raise UserError(
                f"precision {self.precision!r} holds for none of the runtimes, since each names its own "
                f"({', '.join(self.runtimes)}). Leave it out, or name a runtime without one."
            )
        known = {name for choice in choices for name in self._options_of(choice.runtime)}
        for name in self.options:
            if name not in known:
                runtimes = ", ".join(dict.fromkeys(choice.runtime for choice in choices))
                raise unknown(f"option of {runtimes} ({self.device})", name, known)

    def _options_of(self, runtime: str) -> Collection[str]:
        return get_runtime(runtime).choices(self.device)

    def schooling(self) -> Schooling:
        """How long and how fast networks are trained from scratch."""
        return Schooling(self.epochs, self.learning_rate, self.schedule, self.average)

    def network_choice(self) -> NetworkChoice:
        """The network."""
        return NetworkChoice.read(self.network, self.weights, self.input)

    def image_choice(self) -> ImageChoice:
        """The images."""
        return ImageChoice(self.images, self.shift, self.calibration, self.train)

    def setting_choices(self) -> tuple[SettingChoice, ...]:
        """One setting for each of the runtimes, with those of the options that it has.

        Raises:
            UserError: there is no such runtime.
        """
        return tuple(self._choice(*entry.split()) for entry in self.runtimes)

    def _choice(self, runtime: str, precision: str | None = None) -> SettingChoice:
        has = self._options_of(runtime)
        options = tuple(sorted((name, value) for name, value in self.options.items() if name in has))
        return SettingChoice(
            runtime, self.device, self.threads, self.batch, precision or self.precision, options
        )

    def name_of(self, choice: SettingChoice) -> str:
        """What one of the settings is called in the names of points.

        In the sweep's own precision that is the runtime alone, as it was before there could be others.
        """
        if choice.precision == self.precision:
            return choice.runtime
        return f"{choice.runtime}-{choice.precision}"

    def left_out(self) -> list[str]:
        """In words, which runtimes run without which of the options, since they have none of that name."""
        said = []
        for name in self.options:
            without = [c.runtime for c in self.setting_choices() if name not in self._options_of(c.runtime)]
            if without:
                said.append(f"{', '.join(dict.fromkeys(without))}: no option {name}, so timed without it")
        return said


def read_config(path: Path) -> SweepConfig:
    """Reads a sweep's TOML file.

    Raises:
        UserError: the file cannot be read, is no TOML, or a field is missing, unknown or wrong; all wrong fields
            are named.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the sweep {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    return make_config(data, str(path))


def make_config(data: Mapping[str, Any], where: str) -> SweepConfig:
    """Checks a sweep's fields.

    Args:
        data: field → value.
        where: what said so, for messages.

    Raises:
        UserError: a field is missing, unknown or wrong; all wrong fields are named.
    """
    for name in data:
        if name not in SweepConfig.model_fields:
            raise unknown(f"field of a sweep ({where})", name, SweepConfig.model_fields)
    try:
        config = SweepConfig.model_validate(data)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']} (got {item['input']!r})"
            for item in error.errors()
        ]
        raise UserError(f"{where} cannot be run. " + "; ".join(wrong)) from error
    config.check_names()
    return config
