"""Whether a scoring fits into memory, said before the kernel ends the process for it."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import torch
from torch import Tensor

from latency_tables.errors import UserError

_FEW, _MORE = 2, 4
"""Images of the two looks: what is kept grows with the images, beside what does not, as weights."""

_PEAK = 1.25
"""What is taken at most over what is kept, by gradients on their way back and by the allocator: 1.06 to 1.25 for
ResNet-20 and ResNet-18, MobileNetV2 and three losses, 0.8 to 2.5 GB."""


def free_bytes() -> int:
    """Memory that the host can give without taking it from another process."""
    return int(psutil.virtual_memory().available)


def kept_bytes(compute: Callable[[], object]) -> int:
    """What autograd keeps for the derivatives of something, each tensor's memory counted once.

    Args:
        compute: computes it; its answer holds on to all that is kept.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold on to its own history

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answer = compute()
    del answer
    return sum(kept.values())


def foreseen_bytes(step: Callable[[int], object], images: int, steps: int) -> float:
    """What several steps will keep, from a look at one of them with a few images.

    Args:
        step: computes one step on so many images; its answer holds on to all that later derivatives need.
        images: of every step.
        steps: that are kept at once.
    """
    few = kept_bytes(lambda: step(_FEW))
    more = kept_bytes(lambda: step(_MORE))
    return steps * (few + (more - few) / (_MORE - _FEW) * (images - _FEW))


def require_room(name: str, step: Callable[[int], object], images: int, steps: int) -> None:
    """Makes sure that a derivative through several steps fits into the memory that is free.

    Args:
        name: of the criterion, for the message.
        step: as for `foreseen_bytes`, like the other two.
        images: of every step.
        steps: that are kept at once.

    Raises:
        UserError: they need more than is free.
    """
    if images <= _MORE:
        return  # as much as a look at it takes
    needed, free = _PEAK * foreseen_bytes(step, images, steps), free_bytes()
    if needed > free:
        raise UserError(
            f"{name} keeps {steps} passes over {images} images with their derivatives, which takes about "
            f"{needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free. Score on fewer or smaller images, "
            "take the first-order form (epsd-first-order, Inner(first_order=True) in Python), or choose a "
            "criterion that keeps one pass, as snip."
        )
