"""A device of paper: what is on it is computed for real, on the CPU, and refuses to meet what is not on it.

It goes by the name "meta", which is a device everywhere (only autocast does not know it), or by another.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")

_aten: Any = torch.ops.aten
#: What a device does with tensors of the CPU: copies them, and looks up places of its own by them.
_COPIES, _LOOKS_UP = {_aten.copy_, _aten._to_copy}, {_aten.index, _aten.index_put, _aten.index_put_}


class Sheet(Tensor):
    """A tensor on that device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor, device: torch.device = DEVICE) -> Sheet:
        sheet: Sheet = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=device
        )
        sheet.inner = inner
        return sheet

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any, **__: Any) -> Any:
        raise RuntimeError(f"{func} on a device that is not there")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)  # what is loaded is on the CPU, as by `map_location`


class Paper(TorchDispatchMode):
    """While open, the device is there.

    Args:
        device: what it goes by.
    """

    def __init__(self, device: torch.device = DEVICE) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [isinstance(tensor, Sheet) for tensor in tensors]
        asked = kwargs.get("device")
        if not any(there) and asked != self.device:
            return func(*args, **kwargs)
        strangers = [t for t, is_there in zip(tensors, there, strict=True) if not is_there and t.ndim]
        does = func.overloadpacket
        meets = does in _COPIES or (does in _LOOKS_UP and isinstance(args[0], Sheet))
        if any(there) and strangers and not meets:
            raise RuntimeError(f"{func} expected all tensors on the same device, found {self.device} and cpu")
        if asked is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        given = tree_map_only(Sheet, lambda sheet: sheet.inner, (args, kwargs))
        found = func(*given[0], **given[1])
        returns = func._schema.returns
        if returns and returns[0].alias_info is not None and returns[0].alias_info.is_write:
            return args[0]  # it was worked on in place
        if asked not in (None, self.device):
            return found
        return tree_map_only(Tensor, lambda tensor: Sheet(tensor, self.device), found)
