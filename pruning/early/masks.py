"""Masks over weights: from scores to what stays, and the masks that a criterion must beat."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from latency_tables.errors import LatheError, UserError
from pruning.early.criterion import Scores, prunable

Masks: TypeAlias = dict[str, Tensor]
"""By weight, whether each entry stays, bool, of the weight's shape."""


def keep_best(scores: Scores, density: float) -> Masks:
    """Keeps the ceil(density * count) highest scores of one ranking over all weights.

    Ties go to what stands first in the network.

    Args:
        scores: by weight.
        density: share of all entries that stays, above 0 to 1.

    Raises:
        UserError: the density is none.
        CollapseError: nothing would be left of a weight.
    """
    if not 0.0 < density <= 1.0:
        raise UserError(f"density is the share of the weights that stays, above 0 to 1, got {density}.")
    every = torch.cat([score.flatten().cpu() for score in scores.values()])
    best = every.argsort(descending=True, stable=True)[: math.ceil(density * len(every))]
    stays = torch.zeros(len(every), dtype=torch.bool)
    stays[best] = True
    masks, start = {}, 0
    for name, score in scores.items():
        masks[name] = stays[start : start + score.numel()].view(score.shape)
        start += score.numel()
    require_alive(masks)
    return masks


class CollapseError(LatheError):
    """A ranking would empty a layer, so that no signal passes."""


def require_alive(masks: Mapping[str, Tensor]) -> None:
    """Makes sure that something is left of every weight.

    Raises:
        CollapseError: a layer lost all; the message names it.
    """
    for name, mask in masks.items():
        if not bool(mask.any()):
            raise CollapseError(
                f"{name} would lose all {mask.numel()} weights, so that no signal passes: the ranking collapses at "
                "this sparsity. Keep more weights, or choose another criterion; SynFlow is made to avoid this."
            )


def sparsity(masks: Mapping[str, Tensor]) -> float:
    """Share of the entries that go, 0 to 1."""
    total = sum(mask.numel() for mask in masks.values())
    return 1.0 - sum(int(mask.sum()) for mask in masks.values()) / total


def shuffled(masks: Mapping[str, Tensor], generator: torch.Generator) -> Masks:
    """The same masks with their entries shuffled within each weight.

    After Frankle et al., "Pruning neural networks at initialization: why are we missing the mark?" (2020): a
    criterion that is no better than this chose how many weights each layer keeps, not which.
    """
    return {
        name: mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view(mask.shape)
        for name, mask in masks.items()
    }


def random_like(masks: Mapping[str, Tensor], generator: torch.Generator) -> Masks:
    """Drawn entry by entry, each weight at the density that it has in ``masks``; at least one entry of each stays.

    As `shuffled`, but that the number of entries is only kept in the mean.
    """
    drawn = {}
    for name, mask in masks.items():
        draw = torch.rand(mask.shape, generator=generator)
        density = float(mask.float().mean())
        drawn[name] = draw <= max(density, float(draw.min()))
    return drawn


def smart_ratio(
    model: nn.Module, density: float, generator: torch.Generator, among: Collection[str] | None = None
) -> Masks:
    """Random masks whose densities depend on depth alone, falling towards the output.

    After Su et al., "Sanity-checking pruning methods" (NeurIPS 2020): layer k counted from the output keeps a share
    in proportion to k^2 + k, the last linear layer 30 %. Where a layer would keep more than all, it keeps all and
    the others share the rest; where all of them do, the last linear layer keeps what is left to keep.

    Args:
        model: the network.
        density: of all together, above 0 to 1.
        generator: draws the entries.
        among: names of the weights that count; None: all.

    Raises:
        UserError: the linear layers alone keep more than the density allows.
    """
    weights = {name: w for name, w in prunable(model).items() if among is None or name in among}
    modules = dict(model.named_modules())
    count = {name: weight.numel() for name, weight in weights.items()}
    linear = [name for name in weights if isinstance(modules[name.removesuffix(".weight")], nn.Linear)]
    share = dict.fromkeys(linear[-1:], 0.3)
    open_ = [name for name in weights if name not in share]
    left = density * sum(count.values()) - sum(share[name] * count[name] for name in share)
    if left <= 0:
        raise UserError(
            f"the smart density profile keeps 30 % of the last linear layer, which is more than a density of "
            f"{density:.2%} of all weights allows; keep more weights."
        )
    depth = {name: len(open_) - place for place, name in enumerate(open_)}
    full: set[str] = set()
    while True:
        rest = [name for name in open_ if name not in full]
        free = left - sum(count[name] for name in full)
        whole = sum((depth[name] ** 2 + depth[name]) * count[name] for name in rest)
        over = {name for name in rest if (depth[name] ** 2 + depth[name]) * free / whole > 1.0}
        if not over:
            break
        full |= over
    if not rest:
        share |= {name: share[name] + free / count[name] for name in linear[-1:]}
    share |= dict.fromkeys(full, 1.0)
    share |= {name: (depth[name] ** 2 + depth[name]) * free / whole for name in rest}
    masks = {}
    for name, weight in weights.items():
        mask = torch.zeros(weight.numel(), dtype=torch.bool)
        kept = max(1, round(share[name] * weight.numel()))
        mask[torch.randperm(weight.numel(), generator=generator)[:kept]] = True
        masks[name] = mask.view(weight.shape)
    return masks
