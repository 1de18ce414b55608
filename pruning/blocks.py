"""Which modules of a network are its blocks, found in what they compute."""

from __future__ import annotations

from collections.abc import Collection
from math import prod

from latency_tables.graph import Graph
from latency_tables.part import Grain, Part
from latency_tables.skeleton import Block
from pruning.capture import Capture
from pruning.kinds import MOVES, NORMS, SUMS, is_pointwise

#: A candidate gives way to those within it that may be removed if they hold at least this share of its weights.
_GIVES_WAY = 0.5


def find_blocks(captured: Capture) -> list[tuple[Block, frozenset[int]]]:
    """The blocks of a network.

    A candidate is a module that is called once, has one tensor in and one out, holds weights, and in which two
    paths from its input are added. It may be removed if its input passes to its output through nothing but sums and
    views and, after the first sum, activations and norms (``relu(x + f(x))``), and both are of one type and shape.

    Of nested candidates, the inner ones are the blocks: a stage gives way to its blocks. The outer one is the block
    if it may be removed and those within it that may be removed hold less than half of its weights: a transformer's
    block is one block although its position encoding has a shortcut of its own, or its attention adds rotated
    halves. A transformer's block with the two sums ``x + attention(x)`` and ``x + mlp(x)`` in its own code is one
    block, since neither branch is a module that an identity could replace; where each branch is a module with its
    own sum, both are blocks.

    Args:
        captured: the network.

    Returns:
        Each block with the positions of its operators, in the order of execution; none inside another.
    """
    members: dict[str, list[int]] = {}
    for position, modules in enumerate(captured.modules):
        for path in modules:
            members.setdefault(path, []).append(position)
    # A module that is called twice has operators under "path" and "path@1": it cannot be one block.
    repeated = {path.split("@")[0] for path in members if "@" in path}
    candidates: dict[str, tuple[Block, frozenset[int]]] = {}
    for path, positions in members.items():
        if path in repeated or "@" in path:
            continue
        block = _as_block(captured.graph, path, frozenset(positions))
        if block is not None:
            candidates[path] = (block, frozenset(positions))
    return sorted(_choose(captured.graph, candidates), key=lambda entry: min(entry[1]))


def _choose(
    graph: Graph, candidates: dict[str, tuple[Block, frozenset[int]]]
) -> list[tuple[Block, frozenset[int]]]:
    chosen: dict[str, tuple[Block, frozenset[int]]] = {}
    inside_out = sorted(candidates, key=lambda path: (len(candidates[path][1]), -path.count(".")))
    for path in inside_out:
        block, positions = candidates[path]
        touched = [other for other in chosen if chosen[other][1] & positions]
        if touched:
            removable = [p for other in touched if chosen[other][0].removable for p in chosen[other][1]]
            share = _held(graph, removable) / _held(graph, positions)
            nested = all(chosen[other][1] <= positions for other in touched)
            if not (block.removable and nested and share < _GIVES_WAY):
                continue
        for other in touched:
            del chosen[other]
        chosen[path] = candidates[path]
    return list(chosen.values())


def _held(graph: Graph, positions: Collection[int]) -> int:
    """How many numbers the weights that some operators read consist of."""
    weights = range(len(graph.inputs), graph.first_result)
    read = {value for position in positions for value in graph.operators[position].values()}
    return sum(prod(graph.type_of(value).shape) for value in read if value in weights)


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
    if not (_is_residual(graph, positions, entry) and _held(graph, positions)):
        return None
    if len(graph.operators[exit_ - graph.first_result].types) != 1:
        return None
    removable = exit_ in _carried(graph, positions, entry) and graph.type_of(entry) == graph.type_of(exit_)
    part_graph, _ = graph.select(positions)
    kind = path.rsplit(".", 1)[0] if "." in path else path
    return Block(path, Part(kind, Grain.BLOCK, part_graph), entry, exit_, removable)


def _is_residual(graph: Graph, positions: Collection[int], entry: int) -> bool:
    """Whether two paths from the entry are added somewhere."""
    reached = {entry}
    for position in sorted(positions):
        operator = graph.operators[position]
        operands = [value for value in operator.values() if value in reached]
        if operator.short_name in SUMS and len(operands) == 2:
            return True
        if operands:
            reached.add(graph.first_result + position)
    return False


def _carried(graph: Graph, positions: Collection[int], entry: int) -> set[int]:
    """The values that hold the entry with something added to it."""
    weights = range(len(graph.inputs), graph.first_result)
    plain = {entry}  # the entry itself, perhaps viewed in another way
    summed: set[int] = set()
    for position in sorted(positions):
        operator = graph.operators[position]
        result = graph.first_result + position
        activations = [value for value in operator.values() if value not in weights]
        if operator.short_name in SUMS and len(activations) == 2:
            if (plain | summed).intersection(activations):
                summed.add(result)
        elif len(activations) == 1 and operator.short_name in MOVES:
            plain |= {result} if activations[0] in plain else set()
            summed |= {result} if activations[0] in summed else set()
        elif len(activations) == 1 and activations[0] in summed:
            weightless = len(list(operator.values())) == 1
            if operator.short_name in NORMS or (weightless and is_pointwise(operator)):
                summed.add(result)
    return summed
