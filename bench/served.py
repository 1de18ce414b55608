"""A network as its runtime computes it, to be judged by what comes out there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.runtimes import get_runtime
from bench.runtimes.onnx_int8 import MAX_CALIBRATION, MIN_CALIBRATION
from bench.session import Handle, Session
from latency_tables.errors import UserError
from latency_tables.setting import Setting
from pruning.outline import outline


class Served(nn.Module):
    """A loaded network that takes any number of images.

    Args:
        session: where it is loaded.
        handle: of it.
        batch: images that it takes at once.
    """

    def __init__(self, session: Session, handle: Handle, batch: int) -> None:
        super().__init__()
        self._session, self._handle, self._batch = session, handle, batch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (n, classes), for images of shape (n, channels, height, width)."""
        rows = []
        for some in torch.split(images, self._batch):
            places = torch.arange(self._batch).clamp(max=len(some) - 1)
            (output,) = self._session.infer(self._handle, [some[places].contiguous().numpy()])
            rows.append(torch.from_numpy(output[: len(some)]))
        return torch.cat(rows)


@contextmanager
def served(
    name: str, model: nn.Module, input_shape: tuple[int, int, int], session: Session, images: torch.Tensor
) -> Iterator[Served]:
    """Loads a network where it will be timed.

    Args:
        name: of the network.
        model: in evaluation mode.
        input_shape: channels, height, width of one image.
        session: where.
        images: preprocessed, to calibrate on where the setting's precision needs that.

    Yields:
        The network as that runtime computes it.

    Raises:
        MeasurementFailed: the runtime refuses it.
    """
    batch = session.setting.batch
    taken = outline(name, model, input_shape, batch)
    handle = session.load(
        taken.skeleton.graph, taken.weights, calibration=calibration_for(session.setting, images)
    )
    try:
        yield Served(session, handle, batch)
    finally:
        session.unload(handle)


def calibration_for(setting: Setting, images: torch.Tensor) -> list[NDArray[np.float32]] | None:
    """The images that a network of a setting is calibrated on; None where its precision needs none."""
    if setting.precision not in get_runtime(setting.runtime).calibrated:
        return None
    return [images[:MAX_CALIBRATION].contiguous().numpy()]


def require_calibration(setting: Setting, count: int) -> None:
    """Refuses too few images before anything is measured.

    Raises:
        UserError: the setting's precision needs more calibration images.
    """
    if setting.precision in get_runtime(setting.runtime).calibrated and count < MIN_CALIBRATION:
        raise UserError(
            f"{setting.precision} in {setting.runtime} needs at least {MIN_CALIBRATION} calibration images to see "
            f"the ranges of activations, got {count}. Give more with --calibration."
        )
