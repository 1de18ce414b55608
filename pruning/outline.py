"""Network → skeleton: which operators form a layer, which modules form a block, which blocks may go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from latency_tables.graph import Graph
from latency_tables.skeleton import Skeleton
from pruning.blocks import find_blocks
from pruning.capture import capture
from pruning.layers import find_layers


@dataclass(frozen=True)
class Outline:
    """A network taken apart.

    Attributes:
        skeleton: the network as plain data.
        weights: one array for each weight of the skeleton's graph.
        norms: dotted paths of the batch norms that stand in the graph, folded into no convolution.
    """

    skeleton: Skeleton
    weights: tuple[np.ndarray, ...]
    norms: frozenset[str] = frozenset()

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


def outline(
    name: str,
    model: nn.Module,
    input_shape: tuple[int, int, int],
    batch: int,
    norms_kept: Collection[str] = (),
) -> Outline:
    """Takes a network apart.

    Args:
        name: the network's name, kept in the skeleton.
        model: in evaluation mode.
        input_shape: channels, height, width of one image.
        batch: images in one forward pass.
        norms_kept: see `pruning.capture.capture`; of a network with blocks taken out those of the whole one, which
            may stand behind a convolution now.

    Returns:
        The outline. Layers are made by one rule for all runtimes (`pruning.layers.find_layers`). Blocks are found
        in what the network computes when it is run, not by class or name (`pruning.blocks.find_blocks`).

    Raises:
        UserError: the network cannot be captured.
    """
    captured = capture(model, torch.zeros(batch, *input_shape), norms_kept)
    blocks = find_blocks(captured)
    home = {position: block.name for block, positions in blocks for position in positions}
    layers = find_layers(captured, home)
    skeleton = Skeleton(
        name=name, graph=captured.graph, layers=layers, blocks=tuple(block for block, _ in blocks)
    )
    return Outline(skeleton, captured.weights, captured.norms)
