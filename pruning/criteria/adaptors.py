"""PRACTISE's adaptors: where 1x1 convolutions stand in for a lost block, and how they are hung in.

After Wang and Wu, "Practical network acceleration with tiny sets" (2022), and the code released with it, which
finds the places by the module names of ResNet and MobileNetV2. Here they are found in what the network computes:
the same places in those two, and defined in their relatives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from latency_tables.errors import UserError
from latency_tables.graph import Graph
from latency_tables.skeleton import Block, Skeleton

_CONVOLUTION = "conv2d"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the adaptors of one lost block stand.

    Attributes:
        outputs: paths of the convolutions whose output is adapted (before their batch norm), last block first.
        inputs: paths of the convolutions whose input is adapted, in the order of the network.
        first: position of the first operator of the network's graph that the loss of the block or an adaptor
            changes; what stands before it computes the same as in the unpruned network.
    """

    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    first: int


def find_places(skeleton: Skeleton, name: str) -> Places:
    """The places of the adaptors that stand in for a block.

    A stage is a chain of blocks, each reading what the one before it gave and adding to it unchanged. Adapted are
    the output of each convolution that feeds the sum of an earlier block of the stage, or the sum with which the
    stage begins (the last convolution of its first block and that of the downsample path), and the input of each
    convolution that reads what a later block of the stage reads or what the stage hands on (the first convolution
    of each later block, and of the next stage's first block with its downsample path).

    As in the released code, a stem followed by batch norm and ReLU gets no adaptor. Our reading, where the
    description is silent: a stage that begins with a bare convolution (the linear projection of MobileNetV2; also
    the stem of a network that normalises inside its blocks alone) has that one adapted; a shortcut that has no
    convolution (padded with zeros) has nothing to adapt; the head's convolution, where it reads a stage directly,
    counts as the next stage's first.

    Args:
        skeleton: the unpruned network.
        name: a removable block.

    Returns:
        The places; none at all where a block stands alone between stem and head.

    Raises:
        UserError: the block may not be removed, it has no convolution at its entry or in front of its sum (as in a
            transformer), or a convolution to be adapted is called several times.
    """
    skeleton.check([name])
    graph = skeleton.graph
    block = next(block for block in skeleton.blocks if block.name == name)
    if not (_feeding(graph, block.exit, block.entry) and _reading(graph, block.entry)):
        raise UserError(
            f"PRACTISE adapts the first and the last convolution of each block, and block {name!r} of "
            f"{skeleton.name} has no convolution there. Choose a convolutional network, or another method."
        )
    outputs = _before(skeleton, block)
    inputs = _after(skeleton, block)
    inside = [position for layer in skeleton.layers if layer.block == name for position in layer.operators]
    return Places(
        outputs=_paths(skeleton, outputs),
        inputs=_paths(skeleton, inputs),
        first=min([*outputs, *inputs, *inside]),
    )


def _before(skeleton: Skeleton, block: Block) -> list[int]:
    """Positions of the convolutions that make what enters the block."""
    graph = skeleton.graph
    made_by = {other.exit: other for other in skeleton.blocks}
    found: list[int] = []
    value = block.entry
    while value in made_by:
        maker = made_by[value]
        found += _feeding(graph, value, maker.entry)
        if not maker.removable:
            return found
        value = maker.entry
    origin = value - graph.first_result
    if origin >= 0 and graph.operators[origin].short_name == _CONVOLUTION:
        found.append(origin)
    return found


def _after(skeleton: Skeleton, block: Block) -> list[int]:
    """Positions of the convolutions that read what leaves the block, up to the next stage's first."""
    read_by = {other.entry: other for other in skeleton.blocks if other.removable}
    value = block.exit
    found = _reading(skeleton.graph, value)
    while value in read_by:
        value = read_by[value].exit
        found += _reading(skeleton.graph, value)
    return found


def _feeding(graph: Graph, value: int, entry: int) -> list[int]:
    """Positions of the last convolutions on the way to a value, as far as the way keeps its shape.

    A gate (squeeze and excitation) or a batch norm after the last convolution keeps the shape; zero padding of a
    shortcut does not.
    """
    found: list[int] = []
    waiting, seen = [value], {entry}
    while waiting:
        current = waiting.pop()
        position = current - graph.first_result
        if current in seen or position < 0:
            continue
        seen.add(current)
        operator = graph.operators[position]
        if operator.short_name == _CONVOLUTION:
            found.append(position)
            continue
        waiting += [
            operand
            for operand in operator.values()
            if operand not in seen and _shape(graph, operand) == _shape(graph, value)
        ]
    return sorted(found, reverse=True)


def _reading(graph: Graph, value: int) -> list[int]:
    """Positions of the first convolutions that read a value, itself or normalised, activated, padded or pooled.

    The way ends at an operator that joins two values (a sum), changes the channels or gives up the map.
    """
    consumers = graph.consumers()
    channels = _shape(graph, value)[1:2]
    found: list[int] = []
    waiting = [value]
    while waiting:
        for position in consumers.get(waiting.pop(), []):
            operator = graph.operators[position]
            if operator.short_name == _CONVOLUTION:
                found.append(position)
                continue
            weights = range(len(graph.inputs), graph.first_result)
            joins = len({operand for operand in operator.values() if operand not in weights}) > 1
            shape = _shape(graph, graph.first_result + position)
            if not joins and len(shape) == 4 and shape[1:2] == channels and max(shape[2:]) > 1:
                waiting.append(graph.first_result + position)
    return sorted(set(found))


def _shape(graph: Graph, value: int) -> tuple[int, ...]:
    """Shape of a tensor; empty for a list of tensors."""
    position = value - graph.first_result
    if position >= 0 and len(graph.operators[position].types) != 1:
        return ()
    return graph.type_of(value).shape


def _paths(skeleton: Skeleton, positions: Collection[int]) -> tuple[str, ...]:
    # A layer begins with its convolution and is called after it.
    names = {position: layer.name for layer in skeleton.layers for position in layer.operators}
    called = Counter(
        names[position].partition("@")[0]  # how the exporter marks a later call, if it does
        for position, operator in enumerate(skeleton.graph.operators)
        if operator.short_name == _CONVOLUTION
    )
    paths = tuple(names[position] for position in positions)
    for path in paths:
        if called[path] != 1:
            raise UserError(
                f"PRACTISE adapts convolutions that are called once in a forward pass, and {path!r} of "
                f"{skeleton.name} is called several times. Choose another method."
            )
    return paths


@contextmanager
def adaptors_in_place(model: nn.Module, places: Places) -> Iterator[nn.ModuleList]:
    """Hangs bias-free 1x1 convolutions that begin as the identity before and behind convolutions.

    Args:
        model: the network without the block; the adaptors hang on hooks, no module of it changes, and they are gone
            when the context closes.
        places: from `find_places` on the same network.

    Yields:
        The adaptors, on the network's device, of which nothing else holds the parameters.

    Raises:
        UserError: a place is no ``nn.Conv2d``.
    """
    adaptors = nn.ModuleList()
    with ExitStack() as hooks:
        for path in places.outputs:
            convolution = _convolution(model, path)
            adaptor = _identity(convolution.weight, convolution.out_channels)
            hooks.callback(convolution.register_forward_hook(_behind(adaptor)).remove)
            adaptors.append(adaptor)
        for path in places.inputs:
            convolution = _convolution(model, path)
            adaptor = _identity(convolution.weight, convolution.in_channels)
            hooks.callback(convolution.register_forward_pre_hook(_in_front(adaptor)).remove)
            adaptors.append(adaptor)
        yield adaptors


def _convolution(model: nn.Module, path: str) -> nn.Conv2d:
    module = dict(model.named_modules(remove_duplicate=False)).get(path)
    if not isinstance(module, nn.Conv2d):
        raise UserError(
            f"PRACTISE adapts convolutions that are modules, and {path!r} of {type(model).__name__} is none. Make "
            "it an nn.Conv2d, or choose another method."
        )
    return module


def _identity(like: Tensor, channels: int) -> nn.Conv2d:
    with torch.random.fork_rng([]):  # drawn and not used: leave the caller's random numbers alone
        adaptor = nn.Conv2d(channels, channels, 1, bias=False)
    with torch.no_grad():
        adaptor.weight.copy_(torch.eye(channels).view(channels, channels, 1, 1))
    return adaptor.to(like.device, like.dtype)


def _behind(adaptor: nn.Module) -> Any:
    return lambda _module, _inputs, output: adaptor(output)


def _in_front(adaptor: nn.Module) -> Any:
    return lambda _module, inputs: (adaptor(inputs[0]), *inputs[1:])
