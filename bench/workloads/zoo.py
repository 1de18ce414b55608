"""Networks of the timm library, built without downloading anything."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.workloads.torchvision_operators import declare_operators
from latency_tables.errors import UserError, unknown

_REMEDY = "Install them with: pip install 'lathe[zoo]'"


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What a timm network wants to be fed.

    Attributes:
        input_shape: (channels, height, width).
        mean: subtracted from pixels scaled to 0..1, one a channel.
        std: divided by afterwards, one a channel.
        is_size_fixed: whether another image size needs another network (position embeddings), as in ViTs.
    """

    input_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_size_fixed: bool


def data_config(name: str) -> DataConfig:
    """Looks up how images must be prepared for a network.

    Args:
        name: timm's name, with or without the tag after the dot (``resnet18`` or ``resnet18.a1_in1k``).

    Returns:
        timm's own data configuration.

    Raises:
        UserError: timm or torchvision is not installed or does not load, or timm has no such network or tag.
    """
    timm = _import_timm()
    _check_name(timm, name)
    pretrained = timm.models.get_pretrained_cfg(name).to_dict()
    config = timm.data.resolve_data_config(pretrained_cfg=pretrained, verbose=False)
    return DataConfig(
        input_shape=tuple(config["input_size"]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        is_size_fixed=bool(pretrained.get("fixed_input_size", False)),
    )


def create(name: str, image_size: tuple[int, int] | None = None) -> nn.Module:
    """Builds a network with random weights.

    Args:
        name: timm's name, with or without the tag after the dot.
        image_size: (height, width) for networks whose size is fixed when they are built; None for timm's own.

    Returns:
        The network, as timm initialises it.

    Raises:
        UserError: as in `data_config`, or timm cannot build the network for this image size.
    """
    timm = _import_timm()
    _check_name(timm, name)
    if image_size is None:
        return timm.create_model(name, pretrained=False)  # type: ignore[no-any-return]
    try:
        return timm.create_model(name, pretrained=False, img_size=image_size)  # type: ignore[no-any-return]
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"timm cannot build {name} for images of {image_size[0]}x{image_size[1]} ({error}); leave "
            "--input out "
            f"for its own size {'x'.join(map(str, data_config(name).input_shape))}."
        ) from error


def _check_name(timm: Any, name: str) -> None:
    architecture, _, tag = name.partition(".")
    models = timm.list_models()
    if architecture not in models:
        if difflib.get_close_matches(architecture, models, cutoff=0.5):
            raise unknown("timm network", architecture, models)
        raise UserError(
            f"unknown timm network {architecture!r}; timm {timm.__version__} has {len(models)}, and none is "
            "named nearly so. timm.list_models() lists them."
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise unknown(f"tag of timm network {architecture}", tag, tags)


def _import_timm() -> Any:
    for package in ("timm", "torchvision"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"timm/ networks need the packages timm and torchvision; {package} is missing. {_REMEDY}"
            )
    declare_operators()
    try:
        # timm imports torchvision. A torchvision built for another torch fails with RuntimeError.
        return importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"timm or torchvision does not load beside torch {torch.__version__}: {error}. {_REMEDY}"
        ) from error
