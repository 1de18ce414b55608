"""Where this process computes: the device on which networks are adapted, scored, healed, trained and judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from latency_tables.errors import LatheError, UserError


def workplace(kind: str) -> torch.device:
    """Where a setting's networks are adapted, scored, healed, trained and judged: on the device they are timed on.

    Whoever names a GPU to time on has it at hand, and it would stand idle while the CPU does that work. The two
    never meet: the process that measures waits for requests meanwhile, and this one for its answers.

    Args:
        kind: of the setting's device.
    """
    return torch.device(kind)


@contextmanager
def at(place: torch.device, model: nn.Module) -> Iterator[None]:
    """While open, a network is at a place; then it is back on the CPU, where it is captured, saved and delivered.

    Args:
        place: as `workplace` gives it.
        model: on the CPU; moved itself, so that it stays the network that others know.

    Raises:
        LatheError: the place has too little memory for what was done there.
    """
    try:
        model.to(place)
        # fp32 means fp32, as where it is timed; cuDNN's convolutions would be in TensorFloat-32.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    except torch.OutOfMemoryError as error:
        raise LatheError(
            f"{place} has too little memory for {type(model).__name__}: {str(error)[:200]}. Take a smaller network "
            "or smaller images, a method that keeps less (snip, epsd-first-order), or a setting on the CPU."
        ) from error
    finally:
        model.to("cpu")
        if place.type == "cuda":
            torch.cuda.empty_cache()  # what this process keeps for later, the one that measures would lack


def require_portable(place: torch.device, model: nn.Module, example: torch.Tensor) -> None:
    """Makes sure that a network computes at its workplace, before anything is measured for it.

    Args:
        place: as `workplace` gives it.
        model: on the CPU, in evaluation mode.
        example: preprocessed, shape (n, channels, height, width).

    Raises:
        UserError: it does not, as one that makes tensors on the CPU while it runs.
        LatheError: the place has too little memory.
    """
    if place.type == "cpu":
        return
    with at(place, model), torch.no_grad():
        try:
            model(example.to(place))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise UserError(
                f"{type(model).__name__} does not run on {place}: {str(error)[:200]}. Keep its tensors as "
                "parameters or buffers, and make new ones on the device of its input."
            ) from error
