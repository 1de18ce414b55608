"""Branches that start closed: how untrained weights behind them are told apart."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
_SMALL = 1e-3
"""Below it, a scale hides what it scales: ConvNeXt's start at one millionth."""


def open_branches(model: nn.Module) -> nn.Module:
    """Sets scales to one, in place, that start so small that nothing passes them.

    Networks are often built with the last norm of each residual branch at zero, so that the branch gives nothing at
    first (Goyal et al., "Accurate, Large Minibatch SGD", 2017), or with a layer scale of a millionth (ConvNeXt). No
    gradient reaches the weights behind one then, and next to none those behind the other, so before the first step
    of training no criterion tells them from each other, or would take all of them before any other. Zeros in norms
    count, and vectors of one small number.

    Args:
        model: untrained.

    Returns:
        The same network.
    """
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _NORMS) and module.weight is not None and not bool(module.weight.any()):
                module.weight.fill_(1.0)
        for parameter in model.parameters():
            if _is_vector(parameter) and 0.0 < float(parameter.min()) == float(parameter.max()) < _SMALL:
                parameter.fill_(1.0)
    return model


def told_apart(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy in which every channel counts and no two are alike, for trying what hangs together.

    Parameters that are next to zero throughout are drawn anew: behind them nothing could be seen of what channels
    are for.

    Args:
        model: left as it is.
        seed: of the draw.
    """
    drawn = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            if not parameter.is_floating_point() or bool((parameter.abs() >= _SMALL).any()):
                continue
            if _is_vector(parameter):  # a scale or a shift
                parameter.copy_(torch.rand(parameter.shape, generator=drawn) + 0.5)
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=drawn) / math.sqrt(fan_in))
    return other


def _is_vector(parameter: nn.Parameter) -> bool:
    """Whether at most one of its dimensions is longer than one, and that one is."""
    return parameter.is_floating_point() and 1 < parameter.numel() == max(parameter.shape, default=1)
