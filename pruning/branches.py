"""Branches that start closed: how untrained weights behind them are told apart."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
_SMALL = 1e-3
"""Below it, a scale hides what it scales: ConvNeXt's start at one millionth."""


def open_branches(model: nn.Module) -> nn.Module:
    """Sets norms' scales that are zero throughout to one, in place.

    Networks are often built with the last norm of each residual branch at zero, so that the branch gives nothing at
    first (Goyal et al., "Accurate, Large Minibatch SGD", 2017). No gradient reaches its weights then, so before the
    first step of training no criterion tells one of them from another.

    Args:
        model: untrained.

    Returns:
        The same network.
    """
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _NORMS) and module.weight is not None and not bool(module.weight.any()):
                module.weight.fill_(1.0)
    return model


def told_apart(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy in which every channel counts and no two are alike, for trying what hangs together.

    Scales and shifts (parameters with one dimension) that are next to zero throughout are drawn anew: behind them
    nothing could be seen of what their channels are for.

    Args:
        model: left as it is.
        seed: of the draw.
    """
    drawn = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            flat = parameter.numel() == max(parameter.shape, default=1)
            if flat and parameter.is_floating_point() and bool((parameter.abs() < _SMALL).all()):
                parameter.copy_(torch.rand(parameter.shape, generator=drawn) + 0.5)
    return other
