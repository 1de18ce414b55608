"""What stands in front of a change computes the same every time: run it once, then play it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latency_tables.skeleton import Skeleton
from pruning.adaptation import BATCH_SIZE, batches
from pruning.idle import Front, keeper, listening, standing_idle
from pruning.targets import FEATURE_LIMIT_BYTES, device_of


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The outputs of a block for all images, and what need not run to get them.

    Attributes:
        front: the block, through whose output everything behind it goes, and what runs in front of it.
        outputs: shape (n, ...), on the network's device.
    """

    front: Front
    outputs: Tensor


def last_unchanged(skeleton: Skeleton, first: int) -> str | None:
    """The last block whose output is all that the rest of the network reads of what stands in front of a change.

    Args:
        skeleton: the unpruned network.
        first: position of the first operator that changes.

    Returns:
        The block's name; None where there is none in front, or where a path leads around each.
    """
    graph = skeleton.graph
    for block in reversed(skeleton.blocks):
        position = block.exit - graph.first_result
        if position >= first:
            continue
        behind = graph.operators[position + 1 :]
        earlier = {*range(len(graph.inputs)), *range(graph.first_result, block.exit)}
        if not any(value in earlier for operator in behind for value in operator.values()):
            return block.name
    return None


@torch.no_grad()
def remember(
    model: nn.Module,
    block: str,
    images: Tensor,
    *,
    batch_size: int = BATCH_SIZE,
    limit_bytes: int = FEATURE_LIMIT_BYTES,
) -> Prefix | None:
    """Runs the network once over the images and keeps what a block gives.

    Args:
        model: the unpruned network in evaluation mode; left as it is.
        block: from `last_unchanged`.
        images: shape (n, channels, height, width), n at least 2.
        batch_size: most images in one forward pass.
        limit_bytes: most memory that the outputs may take.

    Returns:
        The prefix; None where its outputs would take more memory.
    """
    module = model.get_submodule(block)
    outputs: list[Tensor] = []
    with ExitStack() as hooks:
        calls = hooks.enter_context(listening(model))
        hooks.callback(module.register_forward_hook(keeper(outputs)).remove)
        for batch in batches(images, batch_size):
            model(batch.to(device_of(model)))
            if outputs[0][0].nbytes * len(images) > limit_bytes:
                return None
    return Prefix(calls.front(module), torch.cat(outputs))


@contextmanager
def played_back(prefix: Prefix | None) -> Iterator[Callable[[Tensor], None]]:
    """While open, the prefix does not run: its last block gives what is remembered.

    Args:
        prefix: of the network, which is changed in place until the context closes; None leaves it as it is.

    Yields:
        What must be told, before each forward pass, the indices of the images in it: shape (batch,), int64.
    """
    if prefix is None:
        yield lambda _: None
        return
    outputs = prefix.outputs
    last = outputs.ndim == 4 and outputs.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    with standing_idle(prefix.front) as show:
        yield lambda index: show(outputs[index].contiguous(memory_format=layout))
