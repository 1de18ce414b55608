"""What stands in front of a change computes the same every time: run it once, then play it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from latency_tables.skeleton import Skeleton
from pruning.adaptation import BATCH_SIZE, batches
from pruning.targets import FEATURE_LIMIT_BYTES, device_of


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The outputs of a block for all images, and what need not run to get them.

    Attributes:
        block: path of the block, through whose output everything behind it goes.
        outputs: shape (n, ...), on the network's device.
        idle: modules that run in front of it and nowhere else, with the shape of their output for one image.
    """

    block: str
    outputs: Tensor
    idle: dict[str, tuple[int, ...]]


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
    calls: list[
        tuple[str, tuple[int, ...]]
    ] = []  # in the order in which they end; shapes alone, to save memory
    outputs: list[Tensor] = []

    def watch(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            calls.append((path, tuple(output.shape) if isinstance(output, Tensor) else ()))
            if path == block:
                outputs.append(output)

        return note

    with ExitStack() as hooks:
        for path, module in model.named_modules():
            hooks.callback(module.register_forward_hook(watch(path)).remove)
        for batch in batches(images, batch_size):
            calls.clear()
            model(batch.to(device_of(model)))
            if outputs[0][0].nbytes * len(images) > limit_bytes:
                return None
    end = next(place for place, (path, _) in enumerate(calls) if path == block)
    later = {path for path, _ in calls[end:]}
    idle = {
        path: shape[1:]
        for path, shape in calls[:end]
        if path not in later and shape[:1] == (len(outputs[-1]),)
    }
    return Prefix(block, torch.cat(outputs), idle)


@contextmanager
def played_back(model: nn.Module, prefix: Prefix | None) -> Iterator[Callable[[Tensor], None]]:
    """While open, the prefix does not run: its last block gives what is remembered, all else in it zeros.

    Nothing reads the zeros but other parts of the prefix, whose results are not used.

    Args:
        model: the network, changed in place (the ``forward`` of single modules) until the context closes.
        prefix: of the same network; None leaves the network as it is.

    Yields:
        What must be told, before each forward pass, the indices of the images in it: shape (batch,), int64.
    """
    shown: list[Tensor] = []

    def show(index: Tensor) -> None:
        shown[:] = [index]

    with ExitStack() as undo:
        if prefix is not None:
            modules = dict(model.named_modules())
            layout = _layout(prefix.outputs)
            outputs = prefix.outputs
            for path, shape in prefix.idle.items():
                undo.enter_context(_giving(modules[path], partial(_zeros, outputs, shown, shape)))
            undo.enter_context(
                _giving(modules[prefix.block], lambda: outputs[shown[0]].contiguous(memory_format=layout))
            )
        yield show


def _layout(tensor: Tensor) -> torch.memory_format:
    last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _zeros(like: Tensor, shown: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    return like.new_zeros(len(shown[0]), *shape)


@contextmanager
def _giving(module: nn.Module, output: Callable[[], Tensor]) -> Iterator[None]:
    """Lets a module give something else; its attributes, hooks and place in the network stay."""
    before = dict(module.__dict__)
    module.__dict__["forward"] = lambda *_args, **_kwargs: output()
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if "forward" in before:  # a network may have given the instance a forward of its own
            module.__dict__["forward"] = before["forward"]
