"""A sweep as its TOML file says it, checked field by field."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
)

from bench.budget import parse_budget
from bench.runtimes import get_runtime
from bench.workbench import ImageChoice, NetworkChoice, SettingChoice
from bench.workloads import parse_input_shape, parse_shift
from latency_tables.errors import UserError, unknown
from pruning.methods import get_method


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
    methods: tuple[str, ...] = ("ttmpd", "ttmpd-no-latency", "random", "last")
    budgets: tuple[str, ...] = ("0.8x", "0.6x", "0.4x")
    seeds: tuple[NonNegativeInt, ...] = (0,)
    runtimes: tuple[str, ...] = ("onnxruntime",)
    device: str = "cpu"
    threads: PositiveInt = 1
    batch: PositiveInt = 1
    precision: str = "fp32"
    iterations: PositiveInt = 200
    rounds: PositiveInt = 4
    controls: bool = Field(True, description="finetune the controls as well")

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
            UserError: an unknown method, runtime or shift, or a budget that is none.
        """
        for method in self.methods:
            get_method(method)
        for runtime in self.runtimes:
            get_runtime(runtime)
        for budget in self.budgets:
            parse_budget(budget)
        if self.shift is not None:
            parse_shift(self.shift)

    def network_choice(self) -> NetworkChoice:
        """The network."""
        shape = None if self.input is None else parse_input_shape(self.input)
        return NetworkChoice(self.network, self.weights, shape)

    def image_choice(self) -> ImageChoice:
        """The images."""
        return ImageChoice(self.images, self.shift, self.calibration)

    def setting_choices(self) -> tuple[SettingChoice, ...]:
        """One setting for each runtime."""
        return tuple(
            SettingChoice(runtime, self.device, self.threads, self.batch, self.precision)
            for runtime in self.runtimes
        )


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
