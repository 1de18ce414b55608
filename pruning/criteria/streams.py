"""Second moments of what flows between neighbouring blocks, from one pass: the ground of closed-form criteria."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning.adaptation import BATCH_SIZE, batch_statistics, batches
from pruning.targets import device_of

RIDGE = 1e-3
"""Ridge of a linear map, as a share of the mean variance of its input's channels."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring blocks, each fed by the one before it alone.

    Attributes:
        blocks: their names, at least one.
        chain: which chain of the network they stand in.
        entry: the chain's stream that enters the first of them.
        exit: the stream that leaves the last.
    """

    blocks: tuple[str, ...]
    chain: int
    entry: int
    exit: int


@dataclass(frozen=True, slots=True, eq=False)
class ChannelMap:
    """The best linear map from one stream's channels to another's: y = weight x + bias at every position.

    Attributes:
        weight: shape (channels, channels).
        bias: shape (channels,).
        unexplained: share of the target's variance that the map leaves, 0 to 1 but for rounding; NaN where there is
            none.
    """

    weight: Tensor
    bias: Tensor
    unexplained: float


class Streams:
    """Second moments between the streams of each chain of blocks.

    A chain is a sequence of removable blocks in which each takes what the one before it gave; its streams are
    the first one's input and every one's output. Batch norm uses the statistics of each batch, as in scoring.

    Args:
        model: the unpruned network; as it was afterwards.
        images: preprocessed, shape (n, channels, height, width), n at least 2.
        blocks: the removable blocks in the order in which they run, each with as many channels out as in.
        batch_size: most images in one pass.
    """

    def __init__(
        self, model: nn.Module, images: Tensor, blocks: Sequence[str], *, batch_size: int = BATCH_SIZE
    ) -> None:
        self._model = model
        self._modules = {name: model.get_submodule(name) for name in blocks}
        self.place: dict[str, tuple[int, int]] = {}
        self._moments: list[_Moments] = []
        device = device_of(model)
        with torch.no_grad(), batch_statistics(model):
            for batch in batches(images, batch_size):
                self._add(batch.to(device))

    def runs(self, removed: frozenset[str]) -> list[Run]:
        """The removed blocks, neighbours joined, in the network's order."""
        found: list[Run] = []
        for name, (chain, position) in self.place.items():
            if name not in removed:
                continue
            last = found[-1] if found else None
            if last is not None and (last.chain, last.exit) == (chain, position):
                found[-1] = Run((*last.blocks, name), chain, last.entry, position + 1)
            else:
                found.append(Run((name,), chain, position, position + 1))
        return found

    def change(self, run: Run) -> float:
        """||exit - entry||^2 / ||entry||^2 over images and positions; NaN where they get zeros alone."""
        moments = self._moments[run.chain]
        before = float(moments.product(run.entry, run.entry).trace())
        across = float(moments.product(run.entry, run.exit).trace())
        after = float(moments.product(run.exit, run.exit).trace())
        return (after - 2 * across + before) / before if before > 0 else float("nan")

    def best_map(self, run: Run) -> ChannelMap:
        """The ridge regression of the stream behind the blocks on the stream before them (a 1x1 convolution)."""
        return self._moments[run.chain].regression(run.entry, run.exit)

    def module(self, run: Run) -> nn.Module:
        """The best map as a module that fits in the place of the blocks."""
        return _ChannelMapModule(self.best_map(run), convolves=_convolves(self._modules[run.blocks[0]]))

    def _add(self, batch: Tensor) -> None:
        chains: list[list[Tensor]] = []
        last: list[
            tuple[Tensor, int]
        ] = []  # what the block before gave, and its version: nobody wrote over it

        def enter(convolves: bool) -> Any:
            def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                entry = inputs[0]
                if not (last and last[0][0] is entry and last[0][1] == entry._version):
                    chains.append([_rows(entry, _channel_dim(entry, convolves))])

            return hook

        def leave(name: str, convolves: bool) -> Any:
            def hook(_: nn.Module, __: Any, output: Tensor) -> None:
                self.place[name] = (len(chains) - 1, len(chains[-1]) - 1)
                chains[-1].append(_rows(output, _channel_dim(output, convolves)))
                last[:] = [(output, output._version)]

            return hook

        with ExitStack() as hooks:
            for name, module in self._modules.items():
                convolves = _convolves(module)
                hooks.callback(module.register_forward_pre_hook(enter(convolves)).remove)
                hooks.callback(module.register_forward_hook(leave(name, convolves)).remove)
            self._model(batch)
        while len(self._moments) < len(chains):
            self._moments.append(_Moments())
        for moments, streams in zip(self._moments, chains, strict=True):
            moments.add(streams)


class _Moments:
    """Sums of products between the streams of one chain."""

    def __init__(self) -> None:
        self._count = 0
        self._sums: dict[int, Tensor] = {}
        self._products: dict[tuple[int, int], Tensor] = {}

    def add(self, streams: Sequence[Tensor]) -> None:
        """Takes in rows (positions) of channels, shape (rows, channels) each."""
        self._count += len(streams[0])
        for i, first in enumerate(streams):
            self._sums[i] = self._sums.get(i, 0) + first.sum(0).double()
            for j, second in enumerate(streams[i:], start=i):
                self._products[i, j] = self._products.get((i, j), 0) + (first.T @ second).double()

    def product(self, i: int, j: int) -> Tensor:
        """Mean of x_i x_j^T over the rows."""
        return self._products[i, j] / self._count

    def regression(self, i: int, j: int) -> ChannelMap:
        mean_i, mean_j = self._sums[i] / self._count, self._sums[j] / self._count
        inner = self.product(i, i) - torch.outer(mean_i, mean_i)
        across = self.product(i, j) - torch.outer(mean_i, mean_j)
        target = float((self.product(j, j) - torch.outer(mean_j, mean_j)).trace())
        ridge = RIDGE * float(inner.trace()) / len(inner) or 1.0  # a constant explains nothing
        solved = torch.linalg.solve(inner + ridge * torch.eye(len(inner)).to(inner), across)
        left = target - 2 * float((solved * across).sum()) + float((solved * (inner @ solved)).sum())
        unexplained = left / target if target > 0 else float("nan")
        return ChannelMap(solved.T, mean_j - solved.T @ mean_i, unexplained)


class _ChannelMapModule(nn.Module):
    def __init__(self, found: ChannelMap, *, convolves: bool) -> None:
        super().__init__()
        self._weight, self._bias = found.weight, found.bias
        self._convolves = convolves

    def forward(self, x: Tensor) -> Tensor:
        dim = _channel_dim(x, self._convolves)
        mapped = x.movedim(dim, -1) @ self._weight.to(x).T + self._bias.to(x)
        return mapped.movedim(-1, dim)


def _convolves(block: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in block.modules())


def _channel_dim(stream: Tensor, convolves: bool) -> int:
    """Where channels are in what goes through a block: last in tokens, and in maps where it convolves nothing."""
    return 1 if stream.ndim == 4 and convolves else -1


def _rows(stream: Tensor, channel_dim: int) -> Tensor:
    """Positions of channels, as they are now: what follows may work in place."""
    moved = stream.movedim(channel_dim, -1)
    return moved.reshape(-1, moved.shape[-1]).to(torch.float32, copy=True)
