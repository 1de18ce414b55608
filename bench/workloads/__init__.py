"""What the bench works on: networks by name, images by source, and the shifts they may suffer.

The names below are imported on first use, so that asking for images does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.workloads.corruptions import Shift, apply_shift, parse_shift
    from bench.workloads.images import Images, load_images, split
    from bench.workloads.network import Network, Preprocess, parse_input_shape, resolve

__all__ = [
    "Images",
    "Network",
    "Preprocess",
    "Shift",
    "apply_shift",
    "load_images",
    "parse_input_shape",
    "parse_shift",
    "resolve",
    "split",
]

_HOME = {
    "Images": "images",
    "Network": "network",
    "Preprocess": "network",
    "Shift": "corruptions",
    "apply_shift": "corruptions",
    "load_images": "images",
    "parse_input_shape": "network",
    "parse_shift": "corruptions",
    "resolve": "network",
    "split": "images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
