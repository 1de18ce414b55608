"""The features before the final pooling, found by running the network and not by any layer's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from latency_tables.errors import UserError


def forward_with_features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Runs the network once and keeps what entered its final pooling.

    The features are the last tensor that enters a global pooling after which nothing spatial happens any more:
    an average over the whole map (adaptive pooling to 1x1, average pooling with a window as large as the map, a
    mean over both spatial dimensions) or over all tokens. The pooling may be a module or a function. Pooling
    inside a squeeze-and-excitation block does not count, because convolutions over the map follow it. Where a
    network pools nothing (a vision transformer with a class token), they are the input of its last linear layer.

    Args:
        model: maps images to logits; its mode (training, evaluation) is left as it is.
        x: images of shape (n, channels, height, width).

    Returns:
        Features of shape (n, channels, h, w), (n, h, w, channels), (n, tokens, channels) or (n, channels), and
        logits of shape (n, classes). Gradients flow through both.

    Raises:
        UserError: the output is no matrix of logits, or the network has neither a global pooling nor a linear
            layer.
    """
    watch = _Watch()
    with watch:
        logits = _forward(model, x)
    features = watch.linear_input if watch.pooled is None else watch.pooled
    if features is None:
        raise UserError(
            f"{type(model).__name__} has neither a global average pooling nor a linear layer, so there are no "
            "features to compare. End the network with nn.AdaptiveAvgPool2d(1) or nn.Linear."
        )
    return features, logits


def forward(model: nn.Module, x: Tensor, *, keep_features: bool) -> tuple[Tensor | None, Tensor]:
    """Runs the network once; without features a network needs neither a pooling nor a linear layer.

    Args:
        model: as `forward_with_features` takes it.
        x: as there.
        keep_features: whether they are wanted.

    Returns:
        Features, None where they are not wanted, and logits, as there.

    Raises:
        UserError: the output is no matrix of logits, or features are wanted and there are none.
    """
    return forward_with_features(model, x) if keep_features else (None, _forward(model, x))


def _forward(model: nn.Module, x: Tensor) -> Tensor:
    logits = model(x)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(
            f"{type(model).__name__} must return logits of shape (images, classes), got {shape}. Wrap it in a "
            "module that returns the logits alone."
        )
    return logits


class _Watch(TorchFunctionMode):
    """Remembers the input of the last global pooling and of the last linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.pooled: Tensor | None = None
        self.linear_input: Tensor | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        tensor = args[0] if args else kwargs.get("input")
        if isinstance(tensor, Tensor):
            if func is F.linear:
                self.linear_input = tensor
            elif _is_spatial(func, tensor):
                self.pooled = None
            elif _is_global_pooling(func, tensor, args[1:], kwargs):
                self.pooled = tensor
        return func(*args, **kwargs)


def _is_spatial(func: Callable[..., Any], tensor: Tensor) -> bool:
    """Whether the call mixes positions: a pooling seen before it was not the final one."""
    if func is F.conv2d:
        return tensor.shape[-2:].numel() > 1
    return func is F.scaled_dot_product_attention


def _is_global_pooling(
    func: Callable[..., Any], tensor: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    if func is F.adaptive_avg_pool2d:
        return tensor.ndim == 4 and _pair(_argument(args, kwargs, "output_size")) == (1, 1)
    if func is F.avg_pool2d:
        return tensor.ndim == 4 and _pair(_argument(args, kwargs, "kernel_size")) == tuple(tensor.shape[-2:])
    if func in (torch.mean, Tensor.mean):
        dims = _argument(args, kwargs, "dim")
        if isinstance(dims, int):
            dims = (dims,)
        if not isinstance(dims, (tuple, list)):
            return False
        averaged = {dim % tensor.ndim for dim in dims}
        # (n, channels, h, w), (n, h, w, channels) and (n, tokens, channels)
        return (tensor.ndim == 4 and averaged in ({2, 3}, {1, 2})) or (tensor.ndim == 3 and averaged == {1})
    return False


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Any:
    return args[0] if args else kwargs.get(name)


def _pair(size: Any) -> tuple[Any, ...]:
    return tuple(size) * (2 if len(size) == 1 else 1) if isinstance(size, (tuple, list)) else (size, size)
