"""Network → skeleton: which operators form a layer, which modules form a block, which blocks may go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from latency_tables.graph import Graph, Operator
from latency_tables.part import Grain, Part
from latency_tables.skeleton import Block, Layer, Skeleton
from pruning.capture import Capture, capture

# Operators that compute nothing: they rename, view or move. They stand in the layer that feeds them, or, at a
# block's entry, in the layer that they feed.
_MOVES = {
    "chunk", "clone", "contiguous", "expand", "expand_as", "flatten", "getitem", "movedim", "narrow", "permute",
    "repeat", "reshape", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind",
    "unflatten", "unsqueeze", "view", "roll",
}  # fmt: skip
# Padding in front of a convolution or a pooling: runtimes merge it into the operator that it serves.
_PADS = {"constant_pad_nd", "pad", "zero_pad2d"}
_SUMS = {"add"}
# Pointwise, though PyTorch does not tag them so.
_UNTAGGED_POINTWISE = {"hardswish"}


@dataclass(frozen=True)
class Outline:
    """A network taken apart.

    Attributes:
        skeleton: the network as plain data.
        weights: one array for each weight of the skeleton's graph.
    """

    skeleton: Skeleton
    weights: tuple[np.ndarray, ...]

    def without(
        self, removed: Iterable[str], widths: Mapping[str, int] | None = None
    ) -> tuple[Graph, tuple[np.ndarray, ...]]:
        """Graph and weights of the network with some blocks and channels taken out.

        Args:
            removed: blocks that go.
            widths: for some channel groups, by name, how many channels stay; of the weights the first ones are
                taken, which serves timing and nothing else.

        Raises:
            UserError: a block or a channel may not go.
        """
        skeleton = self.skeleton.narrowed(widths or {})
        graph, kept = skeleton.without(tuple(removed))
        weights = tuple(
            self.weights[index][tuple(slice(0, size) for size in type_.shape)]
            for index, type_ in zip(kept, graph.weights, strict=True)
        )
        return graph, weights


def outline(name: str, model: nn.Module, input_shape: tuple[int, int, int], batch: int) -> Outline:
    """Takes a network apart.

    Args:
        name: the network's name, kept in the skeleton.
        model: in evaluation mode.
        input_shape: channels, height, width of one image.
        batch: images in one forward pass.

    Returns:
        The outline. Blocks are found in what the network computes when it is run, not by class or name: a block
        is the innermost module with one tensor in and one out whose output contains a sum of two paths from
        its input; it may be removed when one of these paths is the input itself and the shapes agree.

    Raises:
        UserError: the network cannot be captured.
    """
    captured = capture(model, torch.zeros(batch, *input_shape))
    blocks = _find_blocks(captured)
    home = {position: block.name for block, positions in blocks for position in positions}
    layers = _find_layers(captured, home)
    skeleton = Skeleton(
        name=name, graph=captured.graph, layers=layers, blocks=tuple(block for block, _ in blocks)
    )
    return Outline(skeleton, captured.weights)


def _find_blocks(captured: Capture) -> list[tuple[Block, frozenset[int]]]:
    members: dict[str, list[int]] = {}
    for position, modules in enumerate(captured.modules):
        for path in modules:
            members.setdefault(path, []).append(position)
    # A module that is called twice has operators under "path" and "path@1": it cannot be one block.
    repeated = {path.split("@")[0] for path in members if "@" in path}
    found: dict[str, tuple[Block, frozenset[int]]] = {}
    for path, positions in members.items():
        if path in repeated or "@" in path:
            continue
        block = _as_block(captured.graph, path, frozenset(positions))
        if block is not None:
            found[path] = (block, frozenset(positions))
    innermost = [
        entry for path, entry in found.items() if not any(other.startswith(f"{path}.") for other in found)
    ]
    return sorted(innermost, key=lambda entry: min(entry[1]))


def _as_block(graph: Graph, path: str, positions: frozenset[int]) -> Block | None:
    inner = {graph.first_result + position for position in positions}
    weights = range(len(graph.inputs), graph.first_result)
    outside = {
        value
        for position in positions
        for value in graph.operators[position].values()
        if value not in inner and value not in weights
    }
    read_elsewhere = {
        value
        for position, operator in enumerate(graph.operators)
        if position not in positions
        for value in operator.values()
    } | set(graph.outputs)
    exits = inner & read_elsewhere
    if len(outside) != 1 or len(exits) != 1:
        return None
    entry, exit_ = outside.pop(), exits.pop()
    reached = {entry}
    residual = identity = has_weights = False
    for position in sorted(positions):
        operator = graph.operators[position]
        values = list(operator.values())
        has_weights |= any(value in weights for value in values)
        operands = [value for value in values if value in reached]
        if operands:
            reached.add(graph.first_result + position)
        if operator.short_name in _SUMS and len(operands) == 2:
            residual = True
            identity |= entry in operands
    if not (residual and has_weights and len(graph.operators[exit_ - graph.first_result].types) == 1):
        return None
    removable = identity and graph.type_of(entry) == graph.type_of(exit_)
    part_graph, _ = graph.select(positions)
    kind = path.rsplit(".", 1)[0] if "." in path else path
    return Block(path, Part(kind, Grain.BLOCK, part_graph), entry, exit_, removable)


def _find_layers(captured: Capture, home: dict[int, str]) -> tuple[Layer, ...]:
    graph = captured.graph
    consumers = graph.consumers()
    weights = range(len(graph.inputs), graph.first_result)
    groups: list[list[int]] = []
    group_of: dict[int, int] = {}  # operator's position -> its group
    waiting: set[int] = set()  # groups of moves and pads only, that wait for the operator they serve

    def producer(value: int, position: int) -> int | None:
        """The operator that made a value, if it stands in the same block."""
        made_by = value - graph.first_result
        return made_by if made_by >= 0 and home.get(made_by) == home.get(position) else None

    for position, operator in enumerate(graph.operators):
        activations = [value for value in dict.fromkeys(operator.values()) if value not in weights]
        makers = [producer(value, position) for value in activations]
        joins: int | None = None
        if len(activations) == 1 and makers[0] is not None:
            alone = consumers[activations[0]] == [position]
            group = group_of[makers[0]]
            moves = operator.short_name in _MOVES
            if moves or (alone and group not in waiting and _is_pointwise(operator)):
                joins = group
        if joins is None:
            joins = len(groups)
            groups.append([])
            if operator.short_name in _MOVES | _PADS:
                waiting.add(joins)
        if operator.short_name not in _MOVES | _PADS:
            for maker in makers:
                if maker is not None and group_of[maker] in waiting and group_of[maker] != joins:
                    joins = _absorb(groups, group_of, waiting, group_of[maker], joins)
            waiting.discard(joins)
        groups[joins].append(position)
        group_of[position] = joins
    return tuple(_as_layer(captured, sorted(group), home) for group in sorted(g for g in groups if g))


def _absorb(
    groups: list[list[int]], group_of: dict[int, int], waiting: set[int], source: int, target: int
) -> int:
    for position in groups[source]:
        group_of[position] = target
    groups[target].extend(groups[source])
    groups[source] = []
    waiting.discard(source)
    return target


def _is_pointwise(operator: Operator) -> bool:
    """Whether each output element depends on one element of each operand (PyTorch's own tag says so)."""
    if operator.short_name in _UNTAGGED_POINTWISE:
        return True
    namespace, name, overload = operator.name.split(".") if operator.name.count(".") == 2 else ("", "", "")
    packet = getattr(getattr(torch.ops, namespace, None), name, None) if namespace else None
    target = getattr(packet, overload, None)
    return target is not None and torch.Tag.pointwise in target.tags


def _as_layer(captured: Capture, positions: list[int], home: dict[int, str]) -> Layer:
    graph = captured.graph
    part_graph, _ = graph.select(positions)
    names = [graph.operators[position].short_name for position in positions]
    working = [name for name in names if name not in _MOVES | _PADS]
    kind = "+".join(dict.fromkeys(working)) or names[0]
    first = next((p for p in positions if graph.operators[p].short_name in working), positions[0])
    modules = captured.modules[first]
    block = home.get(positions[0])
    name = modules[-1] if modules else kind
    return Layer(name, Part(kind, Grain.LAYER, part_graph), tuple(positions), block)
